/* What the tests share that replay PyTorch's training steps: the recipe of a case's JSON, its batches of
 * pictures, and the weights after a step. */
#ifndef GRAFT_TESTS_GOLDEN_STEPS_H
#define GRAFT_TESTS_GOLDEN_STEPS_H

#include "learn/run.h"
#include "model/model_room.h"

static inline double golden_number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : 0.0;
}

/* Optimiser, rate and clipping as the case's script had them, for batches of n; classes, targets, and what
 * differs by parameter are the caller's. */
static inline graft_recipe golden_recipe(const json_t *json, int64_t n) {
    const json_t *o = json_object_get(json, "optimizer"), *betas = json_object_get(o, "betas");
    graft_recipe out = {
        .loss = graft_loss_find("cross_entropy"),
        .optimiser = graft_optimiser_find(json_string_value(json_object_get(o, "kind"))),
        .schedule = graft_schedule_find("constant"),
        .lr = golden_number(o, "lr"),
        .momentum = golden_number(o, "momentum"),
        .nesterov = json_is_true(json_object_get(o, "nesterov")),
        .beta1 = json_number_value(json_array_get(betas, 0)),
        .beta2 = json_number_value(json_array_get(betas, 1)),
        .eps = golden_number(o, "eps"),
        .clip_norm = golden_number(json, "clip_norm"),
        .label_smoothing = golden_number(json, "label_smoothing"),
        .epochs = 1,
        .batch = n,
        .micro_batch = n,
        .dtype = GRAFT_PRECISION_FP32,
    };
    assert_non_null(out.optimiser);
    return out;
}

static inline double golden_decay(const json_t *json) {
    return golden_number(json_object_get(json, "optimizer"), "weight_decay");
}

/* n labels of int64 from `first` on, in the arena. */
static inline int32_t *golden_labels(room *r, const graft_tensor *t, int64_t first, int64_t n) {
    int32_t *out = graft_arena_array(r->arena, (size_t)n, sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        int64_t label;
        memcpy(&label, (const char *)t->data + (size_t)(first + i) * sizeof label, sizeof label);
        out[i] = (int32_t)label;
    }
    return out;
}

/* Batch s of "inputs" (S,N,C,H,W) and "labels" (S,N), begun again at their end; everything lives in the
 * arena. */
static inline graft_batch golden_pictures(room *r, const graft_tensors *batches, int64_t s) {
    const graft_tensor *x = tensor_named(batches, "inputs");
    int64_t n = x->shape.dims[1], at = s % x->shape.dims[0];
    size_t size = x->size / (size_t)x->shape.dims[0];
    graft_tensor *input = graft_arena_alloc(r->arena, sizeof *input);
    *input = (graft_tensor){.name = "pixel_values",
                            .dtype = GRAFT_F32,
                            .shape = {4, {n, x->shape.dims[2], x->shape.dims[3], x->shape.dims[4]}},
                            .data = (const char *)x->data + (size_t)at * size,
                            .size = size};
    return (graft_batch){.n = n,
                         .inputs = input,
                         .n_inputs = 1,
                         .labels = golden_labels(r, tensor_named(batches, "labels"), at * n, n)};
}

static inline float *golden_state(room *r, const graft_state *state, const char *name, size_t *count) {
    graft_err err = {0};
    int64_t n = 0;
    const graft_shape *shape = graft_state_shape(state, name);
    if (!shape || !graft_shape_count(shape, &n)) fail_msg("the state has no '%s'", name);
    float *values = graft_arena_array(r->arena, (size_t)n + 1, sizeof *values);
    assert_ok(graft_state_read(state, name, values, (size_t)n, &err));
    *count = (size_t)n;
    return values;
}

/* Every "after.<param>" of gold against the state: the largest difference; says each that is not right and
 * counts it in *n_bad. There have to be n_trained of them: all that is trained is compared. */
static inline double golden_compare(room *r, const char *name, const graft_tensors *gold,
                                    const graft_state *state, size_t n_trained, size_t *n_bad) {
    double largest = 0;
    size_t n_seen = 0;
    for (size_t i = 0; i < gold->n_items; i++) {
        const graft_tensor *t = &gold->items[i];
        const char *end = strrchr(t->name, '.');
        if (strncmp(t->name, "after.", 6) != 0 || !strcmp(end, ".num_batches_tracked")) continue;
        size_t n = 0;
        const float *values = golden_state(r, state, t->name + 6, &n);
        assert_int_equal(n * sizeof(float), t->size);
        double d = room_worst(values, t->data, n);
        n_seen++;
        largest = fmax(largest, d);
        if (d < 1e-4) continue;
        ++*n_bad;
        print_error("%s: %s differs by %.2e\n", name, t->name + 6, d);
    }
    assert_int_equal(n_seen, n_trained);
    return largest;
}

#endif
