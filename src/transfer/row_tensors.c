/* Rows in place of a batch's inputs: value by value, as the suffix reads them. */
#include "transfer/prefix.h"

#include <stdlib.h>
#include <string.h>

int graft_row_tensors_init(graft_row_tensors *t, const graft_prefix *p, graft_err *err) {
    *t = (graft_row_tensors){.prefix = p};
    t->inputs = calloc(p->n_values + 1, sizeof *t->inputs);
    t->token_inputs = calloc(p->n_values + 1, sizeof *t->token_inputs);
    return t->inputs && t->token_inputs ? 0 : graft_err_nomem(err);
}

void graft_row_tensors_done(graft_row_tensors *t) {
    free(t->inputs);
    free(t->token_inputs);
    free(t->values);
}

static int make_room(graft_row_tensors *t, size_t count, graft_err *err) {
    if (count <= t->room) return 0;
    float *values = malloc(count * sizeof *values);
    if (!values) return graft_err_nomem(err);
    free(t->values);
    t->values = values;
    t->room = count;
    return 0;
}

/* Value v of all samples, from `from` floats into each row on. Moves `at` past what it took of every row. */
static void gather(const graft_boundary *v, const graft_batch *b, const float *const *rows, size_t *at,
                   float *to) {
    for (int64_t i = 0; i < b->n; i++) {
        size_t count = v->count * (v->by_token ? (size_t)b->spans[2 * i + 1] : 1);
        memcpy(to, rows[i] + at[i], count * sizeof *to);
        at[i] += count;
        to += count;
    }
}

int graft_row_tensors_put(graft_row_tensors *t, graft_batch *b, const float *const *rows, graft_err *err) {
    const graft_prefix *p = t->prefix;
    size_t total = 0, *at = calloc((size_t)b->n + 1, sizeof *at);
    for (int64_t i = 0; i < b->n; i++) total += graft_prefix_row(p, b->spans ? b->spans[2 * i + 1] : 0);
    int rc = at ? make_room(t, total, err) : graft_err_nomem(err);
    float *to = t->values;
    t->n_inputs = t->n_token_inputs = 0;
    for (size_t v = 0; v < p->n_values && rc == 0; v++) {
        const graft_boundary *value = &p->values[v];
        int64_t n = value->by_token ? b->n_tokens : b->n;
        graft_tensor *x = value->by_token ? &t->token_inputs[t->n_token_inputs++] : &t->inputs[t->n_inputs++];
        *x = (graft_tensor){.name = value->name,
                            .dtype = GRAFT_F32,
                            .shape = value->shape,
                            .data = to,
                            .size = (size_t)n * value->count * sizeof *to};
        x->shape.dims[0] = n;
        gather(value, b, rows, at, to);
        to += (size_t)n * value->count;
    }
    free(at);
    b->inputs = t->inputs;
    b->n_inputs = t->n_inputs;
    b->token_inputs = t->token_inputs;
    b->n_token_inputs = t->n_token_inputs;
    return rc;
}
