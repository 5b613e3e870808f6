/* What the tests of whole runs share: a scratch folder with a cache of its own, an environment of one thread
 * whose log is kept, and a small model with pictures for it. */
#ifndef GRAFT_TESTS_TRANSFER_FIT_ROOM_H
#define GRAFT_TESTS_TRANSFER_FIT_ROOM_H

#include "transfer/transfer.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL    "tests/parity/resnet/hf_basic"
#define PICTURES "tests/cli/pictures"

typedef struct room {
    char folder[64], out[96], cache[96], log[8192];
    int cancel_after; /* runs of a comparison; 0: never */
    graft_env *env;
    graft_arena *arena;
} room;

static inline void keep_log(void *user, graft_log_level level, const char *line) {
    room *r = user;
    (void)level;
    size_t used = strlen(r->log);
    snprintf(r->log + used, sizeof r->log - used, "%s\n", line);
    if (r->cancel_after && strstr(line, ", seed ") && --r->cancel_after == 0) graft_env_cancel(r->env);
}

static inline int enter(void **state) {
    room *r = calloc(1, sizeof *r);
    if (!r) return -1;
    snprintf(r->folder, sizeof r->folder, "/tmp/graft-fit.XXXXXX");
    if (!mkdtemp(r->folder)) return -1;
    snprintf(r->out, sizeof r->out, "%s/out", r->folder);
    snprintf(r->cache, sizeof r->cache, "%s/cache", r->folder);
    setenv("GRAFT_CACHE", r->cache, 1);
    const graft_env_options options = {.threads = 1, .log = keep_log, .user = r};
    *state = r;
    r->arena = graft_arena_new(NULL);
    return graft_env_new(&r->env, &options, NULL);
}

static inline int leave(void **state) {
    room *r = *state;
    graft_arena_free(r->arena);
    graft_env_free(r->env);
    graft_dir_remove(r->folder, NULL);
    free(r);
    return 0;
}

#define fit_test(f) cmocka_unit_test_setup_teardown(f, enter, leave)

#endif
