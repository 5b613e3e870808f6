/* A batch in which each sample stands twice, one after the other, for terms that compare two answers to it.
 */
#include "learn/run.h"

#include <stdlib.h>
#include <string.h>

/* Room of `size` bytes in the place `slot`, kept from batch to batch. */
static void *room(graft_twins *t, size_t slot, size_t size) {
    if (size > t->sizes[slot]) {
        free(t->data[slot]);
        t->data[slot] = malloc(size);
        t->sizes[slot] = t->data[slot] ? size : 0;
    }
    return t->data[slot];
}

/* Rows of `size` bytes, each twice. */
static void *double_rows(graft_twins *t, size_t slot, const void *from, int64_t n, size_t size) {
    unsigned char *to = room(t, slot, 2 * (size_t)n * size + 1);
    for (int64_t i = 0; to && i < 2 * n; i++)
        memcpy(to + (size_t)i * size, (const unsigned char *)from + (size_t)(i / 2) * size, size);
    return to;
}

/* Rows of tokens: those of each sample, twice. */
static void *double_tokens(graft_twins *t, size_t slot, const graft_batch *b, const void *from, size_t size) {
    unsigned char *to = room(t, slot, 2 * (size_t)b->n_tokens * size + 1), *at = to;
    for (int64_t i = 0; to && i < 2 * b->n; i++) {
        const int32_t *span = b->spans + 2 * (i / 2);
        size_t bytes = (size_t)span[1] * size;
        memcpy(at, (const unsigned char *)from + (size_t)span[0] * size, bytes);
        at += bytes;
    }
    return to;
}

static int put_inputs(graft_twins *t, graft_batch *out, const graft_batch *b, graft_err *err) {
    if (b->n_inputs + b->n_token_inputs > GRAFT_TWIN_INPUTS)
        return graft_err_set(err, GRAFT_EINTERNAL, "more inputs than a twin has room for");
    for (size_t i = 0; i < b->n_inputs; i++) {
        graft_tensor *x = &t->inputs[i];
        *x = b->inputs[i];
        size_t row = b->n ? x->size / (size_t)b->n : 0;
        x->data = double_rows(t, i, b->inputs[i].data, b->n, row);
        x->shape.dims[0] *= 2;
        x->size *= 2;
        if (!x->data) return graft_err_nomem(err);
    }
    for (size_t i = 0; i < b->n_token_inputs; i++) {
        graft_tensor *x = &t->inputs[b->n_inputs + i];
        *x = b->token_inputs[i];
        size_t row = b->n_tokens ? x->size / (size_t)b->n_tokens : 0;
        x->data = double_tokens(t, b->n_inputs + i, b, b->token_inputs[i].data, row);
        x->shape.dims[0] *= 2;
        x->size *= 2;
        if (!x->data) return graft_err_nomem(err);
    }
    out->inputs = t->inputs;
    out->token_inputs = t->inputs + b->n_inputs;
    return 0;
}

static int put_spans(graft_twins *t, graft_batch *out, const graft_batch *b, size_t slot, graft_err *err) {
    int32_t *spans = room(t, slot, 4 * (size_t)b->n * sizeof *spans + 1), at = 0;
    if (!spans) return graft_err_nomem(err);
    for (int64_t i = 0; i < 2 * b->n; i++) {
        spans[2 * i] = at;
        spans[2 * i + 1] = b->spans[2 * (i / 2) + 1];
        at += spans[2 * i + 1];
    }
    out->spans = spans;
    return 0;
}

int graft_twins_put(graft_twins *t, graft_batch *out, const graft_batch *b, int64_t n_classes,
                    graft_err *err) {
    enum { LABELS = GRAFT_TWIN_INPUTS, TARGETS, SAMPLES, SPANS };
    *out = *b;
    out->n = 2 * b->n;
    out->n_tokens = 2 * b->n_tokens;
    int rc = put_inputs(t, out, b, err);
    if (rc == 0 && b->spans) rc = put_spans(t, out, b, SPANS, err);
    if (rc < 0) return rc;
    if (b->labels) out->labels = double_rows(t, LABELS, b->labels, b->n, sizeof *b->labels);
    if (b->targets)
        out->targets = double_rows(t, TARGETS, b->targets, b->n, (size_t)n_classes * sizeof *b->targets);
    if (b->samples) out->samples = double_rows(t, SAMPLES, b->samples, b->n, sizeof *b->samples);
    bool ok = (out->labels || !b->labels) && (out->targets || !b->targets) && (out->samples || !b->samples);
    return ok ? 0 : graft_err_nomem(err);
}

void graft_twins_done(graft_twins *t) {
    for (size_t i = 0; i < GRAFT_COUNT(t->data); i++) free(t->data[i]);
}
