/* A batch of noise as a model reads it: pictures, or texts of one length. */
#ifndef GRAFT_BENCH_INPUTS_H
#define GRAFT_BENCH_INPUTS_H

#include "bench.h"

#include "data/batches.h"
#include "model/model.h"

typedef struct bench_inputs {
    graft_tensor tensors[3];
    graft_batch batch;
} bench_inputs;

static inline int bench_pictures(bench_inputs *x, graft_arena *arena, const graft_model *m, int64_t n,
                                 graft_err *err) {
    int h = 0, w = 0, c = graft_model_channels(m);
    graft_model_input_size(m, &h, &w);
    size_t count = (size_t)n * (size_t)c * (size_t)h * (size_t)w;
    float *pixels = graft_arena_array(arena, count, sizeof *pixels);
    if (!pixels) return graft_err_nomem(err);
    bench_noise(pixels, count);
    x->tensors[0] = (graft_tensor){.name = "pixel_values",
                                   .dtype = GRAFT_F32,
                                   .shape = {4, {n, c, h, w}},
                                   .data = pixels,
                                   .size = count * sizeof *pixels};
    x->batch.inputs = x->tensors;
    x->batch.n_inputs = 1;
    return 0;
}

static inline int bench_texts(bench_inputs *x, graft_arena *arena, const graft_model *m, int64_t n,
                              int64_t length, graft_err *err) {
    static const char *const names[] = {"input_ids", "token_type_ids", "position_ids"};
    const graft_text_rules *rules = graft_model_text(m);
    int64_t tokens = n * length;
    int32_t *spans = graft_arena_array(arena, 2 * (size_t)n, sizeof *spans);
    if (!spans) return graft_err_nomem(err);
    for (int k = 0; k < 3; k++) {
        int32_t *to = graft_arena_array(arena, (size_t)tokens, sizeof *to);
        if (!to) return graft_err_nomem(err);
        for (int64_t t = 0; t < tokens; t++)
            to[t] = k == 0   ? (int32_t)((t * 7919 + 13) % rules->vocabulary)
                    : k == 1 ? 0
                             : (int32_t)(t % length + rules->position_offset);
        x->tensors[k] = (graft_tensor){.name = names[k],
                                       .dtype = GRAFT_I32,
                                       .shape = {1, {tokens}},
                                       .data = to,
                                       .size = (size_t)tokens * sizeof *to};
    }
    for (int64_t i = 0; i < n; i++) {
        spans[2 * i] = (int32_t)(i * length);
        spans[2 * i + 1] = (int32_t)length;
    }
    x->batch.n_tokens = tokens;
    x->batch.token_inputs = x->tensors;
    x->batch.n_token_inputs = 3;
    x->batch.spans = spans;
    return 0;
}

/* Labels go round the classes. */
static inline int bench_inputs_make(bench_inputs *x, graft_arena *arena, const graft_model *m,
                                    const bench_options *o, graft_err *err) {
    size_t k = 0;
    int32_t *labels = graft_arena_array(arena, (size_t)o->batch, sizeof *labels);
    *x = (bench_inputs){.batch = {.n = o->batch, .labels = labels}};
    if (!labels) return graft_err_nomem(err);
    graft_model_labels(m, &k);
    for (int64_t i = 0; i < o->batch; i++) labels[i] = (int32_t)(i % (int64_t)(k ? k : 1));
    return graft_model_modality(m) == GRAFT_TEXTS ? bench_texts(x, arena, m, o->batch, o->length, err)
                                                  : bench_pictures(x, arena, m, o->batch, err);
}

#endif
