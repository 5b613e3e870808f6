/* Attention of one token of each text, its first or its last: what is left of a layer's attention where
 * nothing but that token is read of what comes after it (chosen_rows.c). The equations are those of
 * attention.c for one i a text; the same probabilities are dropped there and here. */
#include "graph/op/rule.h"
#include "graph/op/span.h"

#include <math.h>
#include <string.h>

enum { Q, K, V, SPANS, SEED, Y, LSE, DY };

static const graft_rule_input forward_inputs[] = {{.name = "q"},
                                                  {.name = "k"},
                                                  {.name = "v"},
                                                  {.name = "spans", .dtype = GRAFT_I32},
                                                  {.name = "seed", .dtype = GRAFT_I32, .optional = true}};
static const graft_rule_input grad_inputs[] = {{.name = "q"},
                                               {.name = "k"},
                                               {.name = "v"},
                                               {.name = "spans", .dtype = GRAFT_I32},
                                               {.name = "seed", .dtype = GRAFT_I32, .optional = true},
                                               {.name = "y"},
                                               {.name = "lse"},
                                               {.name = "dy"}};

static int verify(const graft_op_types *t, const graft_rule_input *in, size_t n_in, graft_err *err) {
    const graft_attention_one_attr *a = t->attr;
    int rc = graft_rule_inputs(t, in, n_in, err);
    if (rc < 0) return rc;
    const graft_shape *q = &t->in[Q]->shape, *k = &t->in[K]->shape, *spans = &t->in[SPANS]->shape;
    if (k->rank != 2 || !graft_rule_is_batched(k) || !graft_rule_same(t, K, V))
        return graft_rule_fail(t, in, err, "k and v must be one (T,D)");
    if (spans->rank != 2 || !graft_rule_is_batched(spans) || spans->dims[1] != 2)
        return graft_rule_fail(t, in, err, "spans must be (N,2)");
    if (q->rank != 2 || q->dims[0] != spans->dims[0] || q->dims[1] != k->dims[1])
        return graft_rule_fail(t, in, err, "q must be (N,D)");
    if (a->heads < 1 || q->dims[1] % a->heads != 0)
        return graft_rule_fail(t, in, err, "%lld heads do not divide D", (long long)a->heads);
    if (a->kind != GRAFT_SPAN_FIRST && a->kind != GRAFT_SPAN_LAST)
        return graft_rule_fail(t, in, err, "%lld is neither the first token nor the last",
                               (long long)a->kind);
    if (!(a->scale > 0 && a->scale < (double)INFINITY))
        return graft_rule_fail(t, in, err, "scale is %g, not a number above 0", a->scale);
    if (!(a->p >= 0 && a->p < 1)) return graft_rule_fail(t, in, err, "p is %g, not in 0 <= p < 1", a->p);
    if (a->p > 0 && t->in[SEED] == NULL) return graft_rule_fail(t, in, err, "dropout needs a seed");
    if (!graft_rule_is_vector(t, SEED, 2)) return graft_rule_fail(t, in, err, "seed must be (2)");
    return 0;
}

static graft_shape lse_shape(const graft_op_types *t) {
    const graft_attention_one_attr *a = t->attr;
    return (graft_shape){.rank = 2, .dims = {t->in[Q]->shape.dims[0], a->heads}};
}

static int attention_one_shape(const graft_op_types *t, graft_err *err) {
    int rc = verify(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 0, Q);
    t->out_shape[1] = lse_shape(t);
    return 0;
}

static int attention_one_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = verify(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    graft_shape lse = lse_shape(t);
    if (!graft_rule_same(t, Q, Y) || !graft_rule_same(t, Q, DY))
        return graft_rule_fail(t, grad_inputs, err, "y and dy must have q's shape");
    if (!graft_shape_equal(&t->in[LSE]->shape, &lse))
        return graft_rule_fail(t, grad_inputs, err, "lse must be (N,heads)");
    for (size_t o = 0; o < 3; o++) graft_rule_copy(t, o, o);
    return 0;
}

static void attention_one_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                   const bool *wanted, graft_value *din) {
    graft_value out[3];
    if (dout[1] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "gradient through the log-sum-exp of attention");
        return;
    }
    graft_graph_node(g, &graft_op_attention_one_grad, n->attr,
                     (graft_value[]){n->in[Q], n->in[K], n->in[V], n->in[SPANS], n->in[SEED], n->out[0],
                                     n->out[1], dout[0]},
                     8, out);
    for (size_t i = 0; i < 3; i++)
        if (wanted[i]) din[i] = out[i];
}

/* One head of one sample: its token's row of (N,D), the rows of (T,D), the keys that the token sees. */
typedef struct head {
    const graft_attention_one_attr *attr;
    int64_t index, width, d, sample, first, count, row, seen;
    graft_dropout_key key;
} head;

static double dot(const head *h, const double *a, int64_t a_row, const double *b, int64_t b_row) {
    double sum = 0;
    for (int64_t c = h->index * h->width; c < (h->index + 1) * h->width; c++)
        sum += a[a_row * h->d + c] * b[b_row * h->d + c];
    return sum;
}

static double kept(const head *h, int64_t j) {
    if (h->attr->p == 0) return 1;
    uint32_t element = (uint32_t)((h->index * h->count + h->row) * h->count + j);
    bool keeps = graft_dropout_keeps(h->key, element, graft_dropout_threshold(h->attr->p));
    return keeps ? 1 / (1 - h->attr->p) : 0;
}

static void each_head(const graft_op_call *c, void (*run)(const graft_op_call *c, const head *h)) {
    const graft_attention_one_attr *a = c->attr;
    for (size_t o = 0; o < c->n_out; o++)
        memset(c->out[o], 0, (size_t)graft_rule_count(&c->out_shape[o]) * sizeof(double));
    for (int64_t n = 0; n < c->in_shape[SPANS].dims[0]; n++) {
        const double *span = c->in[SPANS] + 2 * n;
        head h = {.attr = a, .d = c->in_shape[K].dims[1], .width = c->in_shape[K].dims[1] / a->heads};
        graft_tokens t = graft_tokens_of((int64_t)span[0], (int64_t)span[1], c->in_shape[K].dims[0]);
        if (t.count == 0) continue;
        h.sample = n;
        h.first = t.first;
        h.count = t.count;
        h.row = a->kind == GRAFT_SPAN_LAST ? t.count - 1 : 0;
        h.seen = a->causal ? h.row + 1 : t.count;
        if (c->in[SEED] != NULL) {
            int32_t seed[2] = {(int32_t)c->in[SEED][0], (int32_t)c->in[SEED][1]};
            h.key = graft_dropout_key_of(seed, a->salt, n);
        }
        for (h.index = 0; h.index < a->heads; h.index++) run(c, &h);
    }
}

static double score(const graft_op_call *c, const head *h, int64_t j) {
    return h->attr->scale * dot(h, c->in[Q], h->sample, c->in[K], h->first + j);
}

static void attend(const graft_op_call *c, const head *h) {
    double largest = -(double)INFINITY, sum = 0;
    for (int64_t j = 0; j < h->seen; j++) largest = fmax(largest, score(c, h, j));
    for (int64_t j = 0; j < h->seen; j++) sum += exp(score(c, h, j) - largest);
    double lse = c->out[1][h->sample * h->attr->heads + h->index] = largest + log(sum);
    for (int64_t j = 0; j < h->seen; j++) {
        double weight = kept(h, j) * exp(score(c, h, j) - lse);
        for (int64_t x = h->index * h->width; x < (h->index + 1) * h->width; x++)
            c->out[0][h->sample * h->d + x] += weight * c->in[V][(h->first + j) * h->d + x];
    }
}

static void attention_one_reference(const graft_op_call *c) {
    each_head(c, attend);
}

static void attend_back(const graft_op_call *c, const head *h) {
    const double *dy = c->in[DY], d = dot(h, dy, h->sample, c->in[Y], h->sample),
                 lse = c->in[LSE][h->sample * h->attr->heads + h->index];
    for (int64_t j = 0; j < h->seen; j++) {
        double probability = exp(score(c, h, j) - lse), keep = kept(h, j);
        double g = h->attr->scale * probability * (keep * dot(h, dy, h->sample, c->in[V], h->first + j) - d);
        for (int64_t x = h->index * h->width; x < (h->index + 1) * h->width; x++) {
            const int64_t own = h->sample * h->d + x, other = (h->first + j) * h->d + x;
            c->out[0][own] += g * c->in[K][other];
            c->out[1][other] += g * c->in[Q][own];
            c->out[2][other] += keep * probability * dy[own];
        }
    }
}

static void attention_one_grad_reference(const graft_op_call *c) {
    each_head(c, attend_back);
}

static const graft_attention_one_attr
    first_of_four = {.heads = 4, .scale = 0.25, .kind = GRAFT_SPAN_FIRST},
    last_of_one = {.heads = 1, .scale = 0.5, .kind = GRAFT_SPAN_LAST},
    first_causal = {.heads = 2, .causal = 1, .scale = 0.2, .kind = GRAFT_SPAN_FIRST},
    last_dropped = {.heads = 3, .causal = 1, .scale = 0.3, .p = 0.3, .salt = -2, .kind = GRAFT_SPAN_LAST};
/* Rows that belong to no span before, between and after them, and a text without tokens. */
static const double sentences[] = {0, 15, 15, 2, 17, 0, 17, 17, 35, 1}, words[] = {1, 1, 2, 3, 6, 5};

#define ROWS(t, d)                                                                                           \
    {                                                                                                        \
        2, {                                                                                                 \
            t, d                                                                                             \
        }                                                                                                    \
    }
#define SHAPES(n, t, d, seed) ROWS(n, d), ROWS(t, d), ROWS(t, d), ROWS(n, 2), seed
#define NO_SEED                                                                                              \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }
#define TWO                                                                                                  \
    {                                                                                                        \
        1, {                                                                                                 \
            2                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case attention_one_cases[] = {
    {.name = "first",
     .attr = &first_of_four,
     .n_in = 5,
     .in = {SHAPES(5, 40, 64, NO_SEED)},
     .dtype = {[SPANS] = GRAFT_I32},
     .data = {[SPANS] = sentences}},
    {.name = "last, one odd head",
     .attr = &last_of_one,
     .n_in = 5,
     .in = {SHAPES(3, 12, 5, NO_SEED)},
     .dtype = {[SPANS] = GRAFT_I32},
     .data = {[SPANS] = words}},
    {.name = "first, causal",
     .attr = &first_causal,
     .n_in = 5,
     .in = {SHAPES(5, 40, 48, NO_SEED)},
     .dtype = {[SPANS] = GRAFT_I32},
     .data = {[SPANS] = sentences}},
    {.name = "last, causal, dropout",
     .attr = &last_dropped,
     .n_in = 5,
     .in = {SHAPES(5, 40, 60, TWO)},
     .dtype = {[SPANS] = GRAFT_I32, [SEED] = GRAFT_I32},
     .data = {[SPANS] = sentences},
     .low = {[SEED] = -9e8},
     .high = {[SEED] = 9e8},
     .whole = 1u << SEED},
    {.name = "large scores",
     .attr = &last_of_one,
     .n_in = 5,
     .in = {SHAPES(3, 12, 16, NO_SEED)},
     .dtype = {[SPANS] = GRAFT_I32},
     .data = {[SPANS] = words},
     .low = {-4, -4},
     .high = {4, 4}},
};
const graft_op graft_op_attention_one = {
    .name = "attention_one",
    .attr_size = sizeof(graft_attention_one_attr),
    .n_out = 2,
    .shape = attention_one_shape,
    .grad = attention_one_gradient,
    .reference = attention_one_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = attention_one_cases,
    .n_cases = GRAFT_COUNT(attention_one_cases),
};

static const graft_op_case attention_one_grad_cases[] = {
    {.name = "first",
     .attr = &first_of_four,
     .n_in = 8,
     .in = {SHAPES(5, 40, 64, NO_SEED), ROWS(5, 64), ROWS(5, 4), ROWS(5, 64)},
     .dtype = {[SPANS] = GRAFT_I32},
     .data = {[SPANS] = sentences},
     .low = {[LSE] = 1},
     .high = {[LSE] = 3}},
    {.name = "first, causal",
     .attr = &first_causal,
     .n_in = 8,
     .in = {SHAPES(3, 12, 6, NO_SEED), ROWS(3, 6), ROWS(3, 2), ROWS(3, 6)},
     .dtype = {[SPANS] = GRAFT_I32},
     .data = {[SPANS] = words},
     .high = {[LSE] = 2}},
    {.name = "last, causal, dropout",
     .attr = &last_dropped,
     .n_in = 8,
     .in = {SHAPES(5, 40, 60, TWO), ROWS(5, 60), ROWS(5, 3), ROWS(5, 60)},
     .dtype = {[SPANS] = GRAFT_I32, [SEED] = GRAFT_I32},
     .data = {[SPANS] = sentences},
     .low = {[SEED] = -9e8, [LSE] = 2},
     .high = {[SEED] = 9e8, [LSE] = 3},
     .whole = 1u << SEED},
};
const graft_op graft_op_attention_one_grad = {
    .name = "attention_one_grad",
    .attr_size = sizeof(graft_attention_one_attr),
    .n_out = 3,
    .shape = attention_one_grad_shape,
    .reference = attention_one_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 7,
    .cases = attention_one_grad_cases,
    .n_cases = GRAFT_COUNT(attention_one_grad_cases),
};
