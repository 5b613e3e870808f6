/* What the parity tests share: golden folders, largest relative differences, lists of cases. */
#ifndef GRAFT_TESTS_PARITY_H
#define GRAFT_TESTS_PARITY_H

#include "model/model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "tests/parity/resnet"

/* The golden files at full size, made by `make.py --full`. */
static inline const char *full_size(void) {
    return getenv("GRAFT_PARITY_DIR");
}

typedef struct parity {
    graft_arena *arena;
    graft_env *env;
} parity;

static inline int parity_setup(void **state) {
    parity *p = calloc(1, sizeof *p);
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    if (!p) return -1;
    *state = p;
    o.threads = 2;
    p->arena = graft_arena_new(NULL);
    return p->arena ? graft_env_new(&p->env, &o, NULL) : -1;
}

static inline int parity_teardown(void **state) {
    parity *p = *state;
    graft_env_free(p->env);
    graft_arena_free(p->arena);
    free(p);
    return 0;
}

#define parity_test(f) cmocka_unit_test_setup_teardown(f, parity_setup, parity_teardown)

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) < 0) fail_msg("%s: %s", #call, err.message);                                              \
    } while (0)

static inline const char *path_in(parity *p, const char *folder, const char *name) {
    return graft_path_join(p->arena, folder, name);
}

static inline graft_tensors tensors_of(parity *p, const char *path) {
    graft_tensors out;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&out, p->arena, path, &err));
    return out;
}

static inline const graft_tensor *tensor_named(const graft_tensors *ts, const char *name) {
    const graft_tensor *t = graft_tensors_find(ts, name);
    if (!t) fail_msg("no tensor '%s'", name);
    return t;
}

static inline graft_model *open_model(parity *p, const char *path) {
    graft_model *m = NULL;
    graft_err err = {0};
    assert_ok(graft_model_open(&m, p->env, path, NULL, &err));
    return m;
}

/* The largest |a - b| relative to the largest |b|; NaN when a value is. */
static inline double difference(const float *a, const graft_tensor *b) {
    const float *y = b->data;
    double most = 0.0, scale = 1e-30;
    for (size_t i = 0; i < b->size / sizeof *y; i++) {
        double d = fabs((double)a[i] - (double)y[i]);
        if (!(d <= most)) most = d;
        scale = fmax(scale, fabs((double)y[i]));
    }
    return most / scale;
}

/* Names in a folder that end with `suffix`, without it, in order; NULL at the end. */
static inline char **names_in(parity *p, const char *folder, const char *suffix) {
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, NULL, alphasort);
    char **out = graft_arena_array(p->arena, (size_t)(n < 0 ? 0 : n) + 1, sizeof *out);
    size_t kept = 0;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        size_t length = strlen(name), end = strlen(suffix);
        if (length > end && !strcmp(name + length - end, suffix))
            out[kept++] = graft_arena_strndup(p->arena, name, length - end);
        free(entries[i]);
    }
    free(entries);
    return out;
}

#endif
