/* What the runs of a comparison say. Dozens of runs would say the same dozens of times: their notes are left
 * out, and a warning is told once. */
#include "transfer/compare/compare.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct graft_voice {
    graft_env *outer, *inner;
    pthread_mutex_t lock; /* lines come from several threads */
    graft_arena *arena;
    graft_map *told;
    bool tells;
    char what[96];
};

static void voice_log(void *user, graft_log_level level, const char *line) {
    graft_voice *r = user;
    if (level != GRAFT_LOG_WARNING) return;
    pthread_mutex_lock(&r->lock);
    bool is_new =
        r->tells && graft_map_get_str(r->told, line) < 0 && graft_map_put_str(r->told, line, 1) == 0;
    pthread_mutex_unlock(&r->lock);
    if (is_new) graft_env_log(r->outer, level, "%s", line);
}

static void voice_progress(void *user, const graft_progress *p) {
    graft_voice *r = user;
    char phase[192];
    graft_progress named = *p;
    snprintf(phase, sizeof phase, "%s: %s", r->what, p->phase);
    named.phase = phase;
    named.epoch = NULL; /* the curves of many runs would be drawn as one */
    graft_env_progress(r->outer, &named);
    if (graft_env_is_cancelled(r->outer)) graft_env_cancel(r->inner);
}

int graft_voice_new(graft_voice **out, graft_env *env, graft_err *err) {
    graft_voice *r = calloc(1, sizeof *r);
    if (!r) return graft_err_nomem(err);
    const graft_env_options o = {graft_env_threads(env), voice_log, voice_progress, r};
    r->outer = env;
    pthread_mutex_init(&r->lock, NULL);
    r->arena = graft_arena_new(NULL);
    r->told = r->arena ? graft_map_new(r->arena) : NULL;
    int rc = r->told ? graft_env_new(&r->inner, &o, err) : graft_err_nomem(err);
    if (rc < 0) {
        graft_voice_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void graft_voice_free(graft_voice *r) {
    if (!r) return;
    graft_env_free(r->inner);
    graft_arena_free(r->arena);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

graft_env *graft_voice_env(graft_voice *r) {
    return r->inner;
}

void graft_voice_set(graft_voice *r, const char *what, bool tells) {
    snprintf(r->what, sizeof r->what, "%s", what);
    r->tells = tells;
}
