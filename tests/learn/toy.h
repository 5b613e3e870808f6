/* What the tests of learn/ share: a small network, samples made from numbers, a recipe, and a run of them. */
#ifndef GRAFT_TESTS_LEARN_TOY_H
#define GRAFT_TESTS_LEARN_TOY_H

#include "learn/run.h"
#include "model/model_room.h"
#include "support/small_net.h"

enum { TOY_PIXELS = SMALL_NET_CHANNELS * SMALL_NET_SIDE * SMALL_NET_SIDE, TOY_BATCH = 8 };

/* A source of batches: sample i of class c is noise around that class's picture; the order is the epoch's. */
typedef struct toy_data {
    int64_t n, at, epoch;
    int64_t *order;
    float *pixels, *batch; /* [n, pixels], [TOY_BATCH, pixels] */
    int32_t *labels, batch_labels[TOY_BATCH];
    int64_t batch_samples[TOY_BATCH];
    graft_tensor input;
    bool shuffled;
    unsigned delay; /* microseconds a batch */
} toy_data;

static inline int toy_begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    toy_data *d = self;
    (void)err;
    d->epoch = epoch;
    d->at = first_batch * TOY_BATCH;
    for (int64_t i = 0; i < d->n; i++) d->order[i] = i;
    graft_rng rng = graft_rng_at(5, (uint64_t)epoch, 0, GRAFT_RNG_ORDER);
    if (d->shuffled) graft_rng_shuffle(&rng, d->order, (size_t)d->n);
    return 0;
}

static inline int toy_next(void *self, graft_batch *out, graft_err *err) {
    toy_data *d = self;
    (void)err;
    if (d->at >= d->n) return 0;
    if (d->delay) usleep(d->delay);
    int64_t n = d->n - d->at < TOY_BATCH ? d->n - d->at : TOY_BATCH;
    for (int64_t i = 0; i < n; i++) {
        int64_t s = d->order[d->at + i];
        memcpy(d->batch + i * TOY_PIXELS, d->pixels + s * TOY_PIXELS, TOY_PIXELS * sizeof(float));
        d->batch_labels[i] = d->labels[s];
        d->batch_samples[i] = s;
    }
    d->at += n;
    d->input = (graft_tensor){.name = "x",
                              .dtype = GRAFT_F32,
                              .shape = {4, {n, SMALL_NET_CHANNELS, SMALL_NET_SIDE, SMALL_NET_SIDE}},
                              .data = d->batch,
                              .size = (size_t)n * TOY_PIXELS * sizeof(float)};
    *out = (graft_batch){
        .n = n, .inputs = &d->input, .n_inputs = 1, .samples = d->batch_samples, .labels = d->batch_labels};
    return 1;
}

static inline graft_batches toy_batches(graft_arena *arena, int64_t n, bool is_training) {
    toy_data *d = graft_arena_alloc(arena, sizeof *d);
    size_t count = (size_t)n;
    d->n = n;
    d->shuffled = is_training;
    d->order = graft_arena_array(arena, count, sizeof *d->order);
    d->pixels = graft_arena_array(arena, count * TOY_PIXELS, sizeof *d->pixels);
    d->batch = graft_arena_array(arena, (size_t)TOY_BATCH * TOY_PIXELS, sizeof *d->batch);
    d->labels = graft_arena_array(arena, count, sizeof *d->labels);
    const double *means = small_net_random(arena, (int64_t)SMALL_NET_CLASSES * TOY_PIXELS, -0.9, 0.9, 900);
    const double *noise = small_net_random(arena, n * TOY_PIXELS, -1, 1, is_training ? 901 : 902);
    for (int64_t i = 0; i < n; i++) {
        d->labels[i] = (int32_t)(i % SMALL_NET_CLASSES);
        for (int64_t p = 0; p < TOY_PIXELS; p++)
            d->pixels[i * TOY_PIXELS + p] =
                (float)(means[d->labels[i] * TOY_PIXELS + p] + noise[i * TOY_PIXELS + p]);
    }
    return (graft_batches){.self = d,
                           .n_samples = n,
                           .n_batches = (n + TOY_BATCH - 1) / TOY_BATCH,
                           .batch = TOY_BATCH,
                           .begin = toy_begin,
                           .next = toy_next};
}

static inline graft_param_group toy_group(void *user, const char *param) {
    (void)user;
    return (graft_param_group){1.0, strstr(param, "weight") ? 0.01 : 0.0};
}

static inline graft_recipe toy_recipe(void) {
    return (graft_recipe){.loss = graft_loss_find("cross_entropy"),
                          .optimiser = graft_optimiser_find("adamw"),
                          .schedule = graft_schedule_find("cosine"),
                          .lr = 0.01,
                          .momentum = 0.9,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .warmup = 0.1,
                          .clip_norm = 1.0,
                          .label_smoothing = 0.1,
                          .epochs = 6,
                          .n_classes = SMALL_NET_CLASSES,
                          .batch = TOY_BATCH,
                          .micro_batch = TOY_BATCH,
                          .dtype = GRAFT_PRECISION_FP32,
                          .seed = 3,
                          .group = toy_group};
}

/* Everything a run needs. All but `env` lives in `arena`; `state` is made by toy_run. */
typedef struct toy {
    graft_arena *arena;
    graft_graph *graph;
    graft_batches train, validation;
    graft_recipe recipe;
    graft_trainer_io io;
    graft_training result;
    graft_state *state;
} toy;

static inline toy toy_new(graft_arena *arena, const graft_env *env) {
    toy t = {.arena = arena, .graph = small_net_new(arena), .recipe = toy_recipe()};
    t.train = toy_batches(arena, 30, true);
    t.validation = toy_batches(arena, 21, false);
    small_net_mark(t.graph, "", true);
    t.io = (graft_trainer_io){.env = env, .suffix = t.graph, .identity = {11, 22}};
    return t;
}

/* Runs from fresh state; t must not move between this and toy_done. */
static inline int toy_run(toy *t, graft_err *err) {
    graft_state_free(t->state);
    t->state = NULL;
    int rc = graft_state_new(&t->state, t->io.env, err);
    t->io.state = t->state;
    t->io.train = &t->train;
    t->io.validation = &t->validation;
    return rc < 0 ? rc : graft_trainer_run(&t->result, t->arena, &t->io, &t->recipe, err);
}

static inline void toy_done(toy *t) {
    graft_state_free(t->state);
    t->state = NULL;
}

/* Every value that changes (weights, statistics, moments) and what the history says, but for seconds. */
static inline void toy_bytes(const toy *t, graft_buf *out) {
    const char *const *names;
    size_t n = graft_state_names(t->state, &names);
    for (size_t i = 0; i < n; i++) {
        int64_t count = 0;
        graft_shape_count(graft_state_shape(t->state, names[i]), &count);
        float *values = calloc((size_t)count + 1, sizeof *values);
        if (!values || graft_state_read(t->state, names[i], values, (size_t)count, NULL) < 0) abort();
        graft_buf_printf(out, "%s\n", names[i]);
        graft_buf_append(out, values, (size_t)count * sizeof *values);
        free(values);
    }
    for (int64_t i = 0; i < t->result.n_epochs; i++) {
        const graft_epoch *e = &t->result.history[i];
        graft_buf_printf(out, "epoch %d %a %a %a %d %a %a\n", (int)e->epoch, e->lr, e->train_loss,
                         e->train_accuracy, e->evaluated, e->loss, e->score);
    }
    graft_buf_printf(out, "best %d %a %a, %d updates\n", (int)t->result.best_epoch, t->result.best.score,
                     t->result.best.loss, (int)t->result.n_steps);
}

#endif
