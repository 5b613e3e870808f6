/* A folder of its own for each test of the bottleneck cache, and rows that are a function of their content.
 */
#ifndef GRAFT_TESTS_CACHE_ROOM_H
#define GRAFT_TESTS_CACHE_ROOM_H

#include "transfer/transfer.h"

#include "transfer/cache.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROW = 100, STRIDE = 192 }; /* 100 + 32, to a multiple of 64 */

typedef struct room {
    char dir[64];
    graft_env *env;
    int n_warnings;
    char warning[1024];
} room;

static inline void take_warning(void *user, graft_log_level level, const char *line) {
    room *r = user;
    if (level != GRAFT_LOG_WARNING) return;
    r->n_warnings++;
    snprintf(r->warning, sizeof r->warning, "%s", line);
}

static inline int room_setup(void **state) {
    room *r = calloc(1, sizeof *r);
    if (!r) return -1;
    snprintf(r->dir, sizeof r->dir, "/tmp/graft-test-XXXXXX");
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    o.log = take_warning;
    o.user = r;
    *state = r;
    if (!mkdtemp(r->dir) || graft_env_new(&r->env, &o, NULL) < 0) return -1;
    unsetenv("GRAFT_CACHE_LIMIT");
    return setenv("GRAFT_CACHE", r->dir, 1);
}

static inline int room_teardown(void **state) {
    room *r = *state;
    chmod(r->dir, 0700);
    int rc = graft_dir_remove(r->dir, NULL);
    graft_env_free(r->env);
    free(r);
    return rc;
}

static inline graft_hash key_of(uint64_t i) {
    return graft_cache_key((graft_hash){i, 1}, (graft_hash){2, 3}, GRAFT_PRECISION_FP32, -1);
}

static inline graft_hash content_of(uint64_t i) {
    return graft_hash_bytes(&i, sizeof i);
}

/* A row is a function of its content. */
static inline void fill_row(unsigned char *row, size_t size, uint64_t i) {
    for (size_t k = 0; k < size; k++) row[k] = (unsigned char)((i * 2654435761u + k * 40503u) >> 7);
}

static inline graft_cache *open_cache(room *r, uint64_t key, size_t row_size, uint64_t limit) {
    graft_cache *c = NULL;
    graft_err err = {0};
    int rc = graft_cache_open(&c, r->env, key_of(key), row_size, "a description", limit, &err);
    if (rc < 0) fail_msg("%s", err.message);
    return c;
}

static inline int try_put(graft_cache *c, size_t size, uint64_t i) {
    unsigned char *row = malloc(size);
    fill_row(row, size, i);
    int rc = graft_cache_put(c, content_of(i), row, NULL);
    free(row);
    return rc;
}

static inline void put_row(graft_cache *c, size_t size, uint64_t i) {
    assert_int_equal(try_put(c, size, i), 0);
}

/* Whether the row is there; when it is, it is right and where floats may lie. */
static inline bool has_row(graft_cache *c, size_t size, uint64_t i) {
    const unsigned char *row = graft_cache_get(c, content_of(i));
    if (!row) return false;
    unsigned char *expected = malloc(size);
    fill_row(expected, size, i);
    assert_memory_equal(row, expected, size);
    assert_int_equal((uintptr_t)row % 64, 0);
    free(expected);
    return true;
}

static inline int64_t count_rows(graft_cache *c, size_t size, uint64_t n) {
    int64_t found = 0;
    for (uint64_t i = 0; i < n; i++) found += has_row(c, size, i);
    return found;
}

static inline void fill_store(room *r, uint64_t key, size_t size, uint64_t n) {
    graft_cache *c = open_cache(r, key, size, 0);
    for (uint64_t i = 0; i < n; i++) put_row(c, size, i);
    graft_cache_close(c);
}

static inline void store_path(room *r, uint64_t key, char *path, size_t size) {
    char hex[33];
    graft_hash_hex(key_of(key), hex);
    snprintf(path, size, "%s/%s.rows", r->dir, hex);
}

static inline int64_t store_size(room *r, uint64_t key) {
    char path[128];
    struct stat st;
    store_path(r, key, path, sizeof path);
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static inline void damage(room *r, uint64_t key, int64_t offset) {
    char path[128];
    unsigned char byte;
    store_path(r, key, path, sizeof path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static inline void wait_for(pid_t pid, int expected) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, expected);
}

#endif
