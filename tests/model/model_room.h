/* What the tests of model/ share: a scratch folder, an environment whose log is kept, the golden folders, and
 * copies of them with one thing changed. */
#ifndef GRAFT_TESTS_MODEL_ROOM_H
#define GRAFT_TESTS_MODEL_ROOM_H

#include "model/model.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN "tests/parity/resnet/"

static const char *const golden_folders[] = {"hf_basic",           "hf_basic_first", "hf_bottleneck",
                                             "hf_bottleneck_down", "hf_grey",        "timm_basic",
                                             "timm_bottleneck"};

typedef struct room {
    graft_arena *arena;
    graft_env *env;
    graft_buf log;
    char dir[64];
} room;

static inline void room_log(void *user, graft_log_level level, const char *line) {
    room *r = user;
    graft_buf_printf(&r->log, "%s%s\n", level == GRAFT_LOG_WARNING ? "warning: " : "", line);
}

static inline int room_setup(void **state) {
    room *r = calloc(1, sizeof *r);
    if (!r) return -1;
    snprintf(r->dir, sizeof r->dir, "/tmp/graft-test-XXXXXX");
    r->arena = graft_arena_new(NULL);
    graft_buf_init(&r->log, 0);
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    o.threads = 2;
    o.log = room_log;
    o.user = r;
    *state = r;
    return r->arena && mkdtemp(r->dir) ? graft_env_new(&r->env, &o, NULL) : -1;
}

static inline int room_teardown(void **state) {
    room *r = *state;
    int rc = graft_dir_remove(r->dir, NULL);
    graft_env_free(r->env);
    graft_buf_done(&r->log);
    graft_arena_free(r->arena);
    free(r);
    return rc;
}

#define room_test(f) cmocka_unit_test_setup_teardown(f, room_setup, room_teardown)

static inline const char *in_room(room *r, const char *name) {
    return graft_path_join(r->arena, r->dir, name);
}

static inline const char *golden(room *r, const char *name) {
    return graft_arena_printf(r->arena, GOLDEN "%s", name);
}

static inline const char *file_of(room *r, const char *folder, const char *name) {
    return graft_path_join(r->arena, folder, name);
}

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) < 0) fail_msg("%s: %s", #call, err.message);                                              \
    } while (0)

#define assert_error(call, expected, text)                                                                   \
    do {                                                                                                     \
        graft_err_set(&err, 0, "no error");                                                                  \
        assert_int_equal((call), (expected));                                                                \
        assert_int_equal(err.code, (expected));                                                              \
        if (!strstr(err.message, (text))) fail_msg("'%s' is not in '%s'", (text), err.message);              \
    } while (0)

static inline graft_model *open_model(room *r, const char *path, const graft_model_options *o) {
    graft_err err = {0};
    graft_model *m = NULL;
    if (graft_model_open(&m, r->env, path, o, &err) < 0) fail_msg("%s", err.message);
    return m;
}

static inline json_t *read_json(room *r, const char *path) {
    json_t *out = NULL;
    graft_err err = {0};
    if (graft_json_read(&out, r->arena, path, &err) < 0) fail_msg("%s", err.message);
    return out;
}

/* A copy of a golden folder without its golden outputs, to be damaged. */
static inline const char *copy_folder(room *r, const char *name) {
    static const char *const files[] = {"config.json", "preprocessor_config.json", "model.safetensors"};
    const char *from = golden(r, name), *to = in_room(r, name);
    graft_err err = {0};
    assert_ok(graft_dir_make(to, &err));
    for (size_t i = 0; i < GRAFT_COUNT(files); i++) {
        const char *path = file_of(r, from, files[i]);
        if (graft_path_is_file(path)) assert_ok(graft_file_copy(path, file_of(r, to, files[i]), &err));
    }
    return to;
}

/* Sets config.json's key to a value (consumed; NULL removes the key). */
static inline void set_config(room *r, const char *folder, const char *key, json_t *value) {
    const char *path = file_of(r, folder, "config.json");
    graft_err err = {0};
    json_t *config = read_json(r, path);
    if (value)
        json_object_set_new(config, key, value);
    else
        json_object_del(config, key);
    assert_ok(graft_json_write(path, config, &err));
}

/* The tensors of a checkpoint, with room for `more`; names and shapes may be changed, then put_tensors writes
 * them. */
static inline graft_tensors get_tensors(room *r, const char *folder, size_t more) {
    graft_tensors ts;
    graft_err err = {0};
    assert_ok(graft_tensors_open(&ts, r->arena, folder, &err));
    graft_tensor *items = graft_arena_array(r->arena, ts.n_items + more, sizeof *items);
    memcpy(items, ts.items, ts.n_items * sizeof *items);
    ts.items = items;
    return ts;
}

static inline void put_tensors(room *r, const char *folder, const graft_tensors *ts) {
    graft_err err = {0};
    assert_ok(
        graft_safetensors_write(file_of(r, folder, "model.safetensors"), ts->items, ts->n_items, NULL, &err));
}

static inline graft_tensor *tensor_named(const graft_tensors *ts, const char *name) {
    for (size_t i = 0; i < ts->n_items; i++)
        if (!strcmp(ts->items[i].name, name)) return &ts->items[i];
    fail_msg("no tensor '%s'", name);
    return NULL;
}

static inline void drop_tensor(graft_tensors *ts, const char *name) {
    *tensor_named(ts, name) = ts->items[ts->n_items - 1];
    ts->n_items--;
}

static inline float *values_of(room *r, const graft_model *m, const char *name, size_t *count) {
    const graft_param *p = graft_model_find_param(m, name);
    graft_err err = {0};
    int64_t n = 0;
    if (!p) fail_msg("no parameter '%s'", name);
    graft_shape_count(&p->shape, &n);
    *count = (size_t)n;
    float *out = graft_arena_array(r->arena, *count, sizeof *out);
    assert_ok(graft_model_get(m, name, out, *count, &err));
    return out;
}

/* Largest difference in units of the second's largest magnitude. */
static inline double room_worst(const float *a, const void *golden, size_t n) {
    double difference = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        float b;
        memcpy(&b, (const char *)golden + i * sizeof b, sizeof b);
        double d = fabs((double)a[i] - (double)b);
        if (!(d <= difference)) difference = isnan(d) ? INFINITY : d;
        scale = fmax(scale, fabs((double)b));
    }
    return scale > 0 ? difference / scale : difference;
}

#endif
