/* What the tests of programs share: an environment with a state, a compiled program, a network that trains.
 */
#ifndef GRAFT_TESTS_PROGRAMS_H
#define GRAFT_TESTS_PROGRAMS_H

#include "support/small_net.h"

#include "backend/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PICTURE = SMALL_NET_CHANNELS * SMALL_NET_SIDE * SMALL_NET_SIDE, MOST_TRAINED = 64 };

typedef struct bench {
    graft_arena *arena;
    graft_env *env;
    graft_state *state;
    graft_err err;
} bench;

static inline graft_state *bench_state(bench *b) {
    graft_state *s = NULL;
    if (graft_state_new(&s, b->env, &b->err) < 0) fail_msg("%s", b->err.message);
    return s;
}

static inline bench bench_new(int threads) {
    bench b = {.arena = graft_arena_new(NULL)};
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    o.threads = threads;
    assert_non_null(b.arena);
    assert_int_equal(graft_env_new(&b.env, &o, &b.err), 0);
    b.state = bench_state(&b);
    return b;
}

static inline void bench_free(bench *b) {
    graft_state_free(b->state);
    graft_env_free(b->env);
    graft_arena_free(b->arena);
}

static inline graft_program *bench_compile(bench *b, const graft_graph *g, graft_state *s, int64_t batch) {
    graft_program *p = NULL;
    if (graft_program_compile(&p, g, s, &(graft_compile_options){.batch = batch}, &b->err) < 0)
        fail_msg("%s", b->err.message);
    return p;
}

static inline void bench_run(bench *b, graft_program *p) {
    if (graft_program_run(p, &b->err) < 0) fail_msg("%s", b->err.message);
}

/* Writes floats into an input, from the beginning. */
static inline void bench_set(graft_program *p, const char *name, const float *from, size_t count) {
    size_t size = 0;
    void *to = graft_program_input(p, name, &size);
    assert_non_null(to);
    assert_int_equal(size, count * sizeof *from);
    memcpy(to, from, size);
}

static inline float *bench_random(bench *b, size_t count, double low, double high, uint64_t stream) {
    const double *wide = small_net_random(b->arena, (int64_t)count, low, high, stream);
    float *x = graft_arena_array(b->arena, count, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) x[i] = (float)wide[i];
    return x;
}

typedef enum bench_optimiser { BENCH_SGD, BENCH_ADAM, BENCH_ADAMW } bench_optimiser;

static inline size_t bench_trained(const graft_graph *g, graft_value *out) {
    size_t n = 0;
    for (size_t v = 0; v < graft_graph_n_values(g); v++) {
        const graft_value_info *info = graft_graph_value(g, (graft_value)v);
        if (info->kind != GRAFT_PARAM || !info->trained || strstr(info->name, "running_")) continue;
        assert_true(n < MOST_TRAINED);
        out[n++] = (graft_value)v;
    }
    return n;
}

static inline void bench_update(graft_graph *g, bench_optimiser kind, graft_value w, graft_value dw,
                                graft_value lr, graft_value step, graft_value scale) {
    if (kind == BENCH_SGD) {
        graft_sgd(g, w, dw, lr, scale,
                  (graft_sgd_attr){.momentum = 0.9, .weight_decay = 0.01, .lr_scale = 1.0, .nesterov = 1});
        return;
    }
    graft_adam(g, w, dw, lr, step, scale,
               (graft_adam_attr){.beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8,
                                 .weight_decay = 0.05,
                                 .lr_scale = 1.0,
                                 .decoupled = kind == BENCH_ADAMW});
}

/* The small network from loss to update, its gradients clipped: inputs x, target, weight, lr and step. */
static inline graft_graph *bench_training(bench *b, bench_optimiser kind) {
    graft_graph *g = small_net_new(b->arena), *normed = NULL, *t = NULL;
    small_net_mark(g, "", true);
    if (graft_graph_train_norms(&normed, b->arena, g, &b->err) < 0) fail_msg("%s", b->err.message);
    if (graft_graph_fuse_training(&t, b->arena, normed, &b->err) < 0) fail_msg("%s", b->err.message);
    graft_value loss = small_net_loss(t), wrt[MOST_TRAINED], grads[MOST_TRAINED];
    graft_value lr = graft_graph_input(t, "lr", GRAFT_F32, (graft_shape){1, {1}});
    graft_value step = graft_graph_input(t, "step", GRAFT_F32, (graft_shape){1, {1}});
    size_t n = bench_trained(t, wrt);
    if (graft_graph_grad(t, loss, wrt, n, grads, &b->err) < 0) fail_msg("%s", b->err.message);
    graft_value scale = graft_clip_scale(t, grads, n, 1.0);
    for (size_t i = 0; i < n; i++) bench_update(t, kind, wrt[i], grads[i], lr, step, scale);
    if (graft_graph_check(t, &b->err) < 0) fail_msg("%s", b->err.message);
    return t;
}

/* One step of `batch` samples, a function of `number`. Returns the loss. */
static inline float bench_step(bench *b, graft_program *p, size_t batch, int number) {
    uint64_t stream = 1000 + 10 * (uint64_t)number;
    float lr = 0.01F, step = (float)(number + 1);
    bench_set(p, "x", bench_random(b, batch * PICTURE, -1, 1, stream), batch * PICTURE);
    bench_set(p, "target", bench_random(b, batch * SMALL_NET_CLASSES, 0, 1, stream + 1),
              batch * SMALL_NET_CLASSES);
    bench_set(p, "weight", bench_random(b, batch, 0.1, 0.5, stream + 2), batch);
    bench_set(p, "lr", &lr, 1);
    if (graft_program_input(p, "step", NULL)) bench_set(p, "step", &step, 1);
    bench_run(b, p);
    return *graft_program_output(p, "loss", NULL);
}

/* The inference network over the weights that a training program of the same state changes. */
static inline graft_graph *bench_inference(bench *b) {
    graft_graph *g = small_net_new(b->arena);
    small_net_mark(g, "", true);
    return g;
}

static inline size_t bench_count(const graft_shape *shape) {
    int64_t n = 0;
    assert_true(graft_shape_count(shape, &n));
    return (size_t)n;
}

/* A changing value of the state, C order. */
static inline float *bench_read(bench *b, const graft_state *s, const char *name, size_t *count) {
    const graft_shape *shape = graft_state_shape(s, name);
    assert_non_null(shape);
    *count = bench_count(shape);
    float *x = graft_arena_array(b->arena, *count, sizeof *x);
    if (graft_state_read(s, name, x, *count, &b->err) < 0) fail_msg("%s", b->err.message);
    return x;
}

#endif
