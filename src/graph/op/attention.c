/* Attention of several heads within each text of a batch (Vaswani et al. 2017, "Attention is all you need"):
 * for the tokens i, j of one span and the columns of one head, with c = 1 / (1 - p) where a hash keeps (i, j)
 * and 0 elsewhere (mix.h),
 *
 *     s_ij = scale <q_i, k_j>   l_i = log sum_j exp s_ij   P_ij = exp(s_ij - l_i)   y_i = sum_j c_ij P_ij v_j
 *
 * where causal attention sums over j <= i alone. The gradient computes P again from l (Dao et al. 2022,
 * "FlashAttention"), so that nothing of size tokens^2 is kept: with d_i = <dy_i, y_i>,
 *
 *     dv_j = sum_i c_ij P_ij dy_i       g_ij = P_ij (c_ij <dy_i, v_j> - d_i)
 *     dq_i = scale sum_j g_ij k_j       dk_j = scale sum_i g_ij q_i
 *
 * Rows that belong to no span are 0 in every result. Without spans each sample has as many rows, (N,L,D). */
#include "graph/op/rule.h"
#include "graph/op/span.h"

#include <math.h>
#include <string.h>

static const graft_rule_input forward_inputs[] = {{.name = "q"},
                                                  {.name = "k"},
                                                  {.name = "v"},
                                                  {.name = "spans", .dtype = GRAFT_I32, .optional = true},
                                                  {.name = "seed", .dtype = GRAFT_I32, .optional = true}};
static const graft_rule_input grad_inputs[] = {{.name = "q"},
                                               {.name = "k"},
                                               {.name = "v"},
                                               {.name = "spans", .dtype = GRAFT_I32, .optional = true},
                                               {.name = "seed", .dtype = GRAFT_I32, .optional = true},
                                               {.name = "y"},
                                               {.name = "lse"},
                                               {.name = "dy"}};

/* What forward and gradient have in common: the first five inputs and the attributes. */
static int verify(const graft_op_types *t, const graft_rule_input *in, size_t n_in, graft_err *err) {
    const graft_attention_attr *a = t->attr;
    int rc = graft_rule_inputs(t, in, n_in, err);
    if (rc < 0) return rc;
    const graft_shape *q = &t->in[0]->shape, *spans = t->in[3] ? &t->in[3]->shape : NULL;
    if (q->rank != (spans ? 2 : 3) || !graft_rule_is_batched(q) || !graft_rule_same(t, 0, 1) ||
        !graft_rule_same(t, 0, 2))
        return graft_rule_fail(t, in, err, "q, k and v must be one %s", spans ? "(T,D)" : "(N,L,D)");
    if (spans && (spans->rank != 2 || !graft_rule_is_batched(spans) || spans->dims[1] != 2))
        return graft_rule_fail(t, in, err, "spans must be (N,2)");
    if (a->heads < 1 || graft_rule_width(q) % a->heads != 0)
        return graft_rule_fail(t, in, err, "%lld heads do not divide D", (long long)a->heads);
    if (!(a->scale > 0 && a->scale < (double)INFINITY))
        return graft_rule_fail(t, in, err, "scale is %g, not a number above 0", a->scale);
    if (!(a->p >= 0 && a->p < 1)) return graft_rule_fail(t, in, err, "p is %g, not in 0 <= p < 1", a->p);
    if (a->p > 0 && t->in[4] == NULL) return graft_rule_fail(t, in, err, "dropout needs a seed");
    if (!graft_rule_is_vector(t, 4, 2)) return graft_rule_fail(t, in, err, "seed must be (2)");
    return 0;
}

static graft_shape lse_shape(const graft_op_types *t) {
    const graft_attention_attr *a = t->attr;
    return graft_rule_with_width(&t->in[0]->shape, a->heads);
}

static int attention_shape(const graft_op_types *t, graft_err *err) {
    int rc = verify(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 0, 0);
    t->out_shape[1] = lse_shape(t);
    return 0;
}

static int attention_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = verify(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    graft_shape lse = lse_shape(t);
    if (!graft_rule_same(t, 0, 5) || !graft_rule_same(t, 0, 7))
        return graft_rule_fail(t, grad_inputs, err, "y and dy must have q's shape");
    if (!graft_shape_equal(&t->in[6]->shape, &lse))
        return graft_rule_fail(t, grad_inputs, err, "lse must have one number a row and head");
    for (size_t o = 0; o < 3; o++) graft_rule_copy(t, o, 0);
    return 0;
}

static void attention_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                               const bool *wanted, graft_value *din) {
    graft_value out[3];
    if (dout[1] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "gradient through the log-sum-exp of attention");
        return;
    }
    graft_graph_node(
        g, &graft_op_attention_grad, n->attr,
        (graft_value[]){n->in[0], n->in[1], n->in[2], n->in[3], n->in[4], n->out[0], n->out[1], dout[0]}, 8,
        out);
    for (size_t i = 0; i < 3; i++)
        if (wanted[i]) din[i] = out[i];
}

/* One head of one sample. */
typedef struct head {
    const graft_attention_attr *attr;
    graft_tokens tokens;
    int64_t index, width, d; /* number, columns, columns of all heads */
    graft_dropout_key key;
} head;

static int64_t at(const head *h, int64_t i) {
    return (h->tokens.first + i) * h->d + h->index * h->width;
}

static int64_t lse_at(const head *h, int64_t i) {
    return (h->tokens.first + i) * h->attr->heads + h->index;
}

static double dot(const head *h, const double *a, int64_t i, const double *b, int64_t j) {
    double sum = 0;
    for (int64_t c = 0; c < h->width; c++) sum += a[at(h, i) + c] * b[at(h, j) + c];
    return sum;
}

static int64_t n_keys(const head *h, int64_t i) {
    return h->attr->causal ? i + 1 : h->tokens.count;
}

/* c_ij */
static double kept(const head *h, int64_t i, int64_t j) {
    if (h->attr->p == 0) return 1;
    int64_t n = h->tokens.count;
    uint32_t element = (uint32_t)((h->index * n + i) * n + j);
    bool keeps = graft_dropout_keeps(h->key, element, graft_dropout_threshold(h->attr->p));
    return keeps ? 1 / (1 - h->attr->p) : 0;
}

static void each_head(const graft_op_call *c, void (*run)(const graft_op_call *c, const head *h)) {
    const graft_attention_attr *a = c->attr;
    const graft_shape *q = &c->in_shape[0];
    const int64_t width = graft_rule_width(q), n_samples = c->in[3] ? c->in_shape[3].dims[0] : q->dims[0];
    for (size_t o = 0; o < c->n_out; o++)
        memset(c->out[o], 0, (size_t)graft_rule_count(&c->out_shape[o]) * sizeof(double));
    for (int64_t n = 0; n < n_samples; n++) {
        const double *span = c->in[3] ? c->in[3] + 2 * n : NULL;
        head h = {.attr = a, .d = width, .width = width / a->heads};
        h.tokens = span ? graft_tokens_of((int64_t)span[0], (int64_t)span[1], q->dims[0])
                        : (graft_tokens){n * q->dims[1], q->dims[1]};
        if (c->in[4] != NULL) {
            int32_t seed[2] = {(int32_t)c->in[4][0], (int32_t)c->in[4][1]};
            h.key = graft_dropout_key_of(seed, a->salt, n);
        }
        for (h.index = 0; h.index < a->heads; h.index++) run(c, &h);
    }
}

static void attend(const graft_op_call *c, const head *h) {
    const double *q = c->in[0], *k = c->in[1], *v = c->in[2], scale = h->attr->scale;
    for (int64_t i = 0; i < h->tokens.count; i++) {
        double largest = -(double)INFINITY, sum = 0;
        for (int64_t j = 0; j < n_keys(h, i); j++) largest = fmax(largest, scale * dot(h, q, i, k, j));
        for (int64_t j = 0; j < n_keys(h, i); j++) sum += exp(scale * dot(h, q, i, k, j) - largest);
        double lse = c->out[1][lse_at(h, i)] = largest + log(sum);
        for (int64_t j = 0; j < n_keys(h, i); j++) {
            double weight = kept(h, i, j) * exp(scale * dot(h, q, i, k, j) - lse);
            for (int64_t x = 0; x < h->width; x++) c->out[0][at(h, i) + x] += weight * v[at(h, j) + x];
        }
    }
}

static void attention_reference(const graft_op_call *c) {
    each_head(c, attend);
}

static void attend_back(const graft_op_call *c, const head *h) {
    const double *q = c->in[0], *k = c->in[1], *v = c->in[2], *y = c->in[5], *lse = c->in[6], *dy = c->in[7];
    double *dq = c->out[0], *dk = c->out[1], *dv = c->out[2], scale = h->attr->scale;
    for (int64_t i = 0; i < h->tokens.count; i++) {
        double d = dot(h, dy, i, y, i);
        for (int64_t j = 0; j < n_keys(h, i); j++) {
            double probability = exp(scale * dot(h, q, i, k, j) - lse[lse_at(h, i)]), keep = kept(h, i, j);
            double g = scale * probability * (keep * dot(h, dy, i, v, j) - d);
            for (int64_t x = 0; x < h->width; x++) {
                dq[at(h, i) + x] += g * k[at(h, j) + x];
                dk[at(h, j) + x] += g * q[at(h, i) + x];
                dv[at(h, j) + x] += keep * probability * dy[at(h, i) + x];
            }
        }
    }
}

static void attention_grad_reference(const graft_op_call *c) {
    each_head(c, attend_back);
}

static const graft_attention_attr four = {.heads = 4, .scale = 0.25}, one = {.heads = 1, .scale = 0.5},
                                  two_causal = {.heads = 2, .causal = 1, .scale = 0.2},
                                  two_dropped = {.heads = 2, .scale = 0.3, .p = 0.3, .salt = -2},
                                  causal_dropped = {
                                      .heads = 3, .causal = 1, .scale = 0.2, .p = 0.1, .salt = -1};
/* Rows that belong to no span before, between and after them, and a text without tokens. */
static const double sentences[] = {0, 15, 15, 2, 17, 0, 17, 17, 35, 1}, words[] = {1, 1, 2, 3, 6, 5};
static const double pair[] = {0, 33, 33, 16};

#define NONE                                                                                                 \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }
#define ROWS(t, d)                                                                                           \
    {                                                                                                        \
        2, {                                                                                                 \
            t, d                                                                                             \
        }                                                                                                    \
    }
#define SAMPLES(n, l, d)                                                                                     \
    {                                                                                                        \
        3, {                                                                                                 \
            n, l, d                                                                                          \
        }                                                                                                    \
    }
#define SEED                                                                                                 \
    {                                                                                                        \
        1, {                                                                                                 \
            2                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case attention_cases[] = {
    {.name = "sentences",
     .attr = &four,
     .n_in = 5,
     .in = {ROWS(40, 64), ROWS(40, 64), ROWS(40, 64), ROWS(5, 2), NONE},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = sentences}},
    {.name = "one odd head",
     .attr = &one,
     .n_in = 5,
     .in = {ROWS(12, 5), ROWS(12, 5), ROWS(12, 5), ROWS(3, 2), NONE},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = words}},
    {.name = "samples of as many rows",
     .attr = &four,
     .n_in = 5,
     .in = {SAMPLES(3, 17, 64), SAMPLES(3, 17, 64), SAMPLES(3, 17, 64), NONE, NONE}},
    {.name = "samples of as many rows, dropout",
     .attr = &two_dropped,
     .n_in = 5,
     .in = {SAMPLES(2, 9, 32), SAMPLES(2, 9, 32), SAMPLES(2, 9, 32), NONE, SEED},
     .dtype = {[4] = GRAFT_I32},
     .low = {[4] = -9e8},
     .high = {[4] = 9e8},
     .whole = 1u << 4},
    {.name = "causal",
     .attr = &two_causal,
     .n_in = 5,
     .in = {ROWS(50, 48), ROWS(50, 48), ROWS(50, 48), ROWS(2, 2), NONE},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = pair}},
    {.name = "dropout",
     .attr = &two_dropped,
     .n_in = 5,
     .in = {ROWS(40, 32), ROWS(40, 32), ROWS(40, 32), ROWS(5, 2), SEED},
     .dtype = {[3] = GRAFT_I32, [4] = GRAFT_I32},
     .data = {[3] = sentences},
     .low = {[4] = -9e8},
     .high = {[4] = 9e8},
     .whole = 1u << 4},
    {.name = "causal, dropout",
     .attr = &causal_dropped,
     .n_in = 5,
     .in = {ROWS(50, 60), ROWS(50, 60), ROWS(50, 60), ROWS(2, 2), SEED},
     .dtype = {[3] = GRAFT_I32, [4] = GRAFT_I32},
     .data = {[3] = pair},
     .low = {[4] = -9e8},
     .high = {[4] = 9e8},
     .whole = 1u << 4},
    {.name = "large scores",
     .attr = &one,
     .n_in = 5,
     .in = {ROWS(12, 16), ROWS(12, 16), ROWS(12, 16), ROWS(3, 2), NONE},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = words},
     .low = {-4, -4},
     .high = {4, 4}},
};
const graft_op graft_op_attention = {
    .name = "attention",
    .attr_size = sizeof(graft_attention_attr),
    .n_out = 2,
    .shape = attention_shape,
    .grad = attention_gradient,
    .reference = attention_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = attention_cases,
    .n_cases = GRAFT_COUNT(attention_cases),
};

/* The log-sum-exp here is near what such values give, though not exactly: any is allowed. */
#define SAME(t, d) ROWS(t, d), ROWS(t, d), ROWS(t, d)
static const graft_op_case attention_grad_cases[] = {
    {.name = "sentences",
     .attr = &four,
     .n_in = 8,
     .in = {SAME(40, 64), ROWS(5, 2), NONE, ROWS(40, 64), ROWS(40, 4), ROWS(40, 64)},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = sentences},
     .low = {[6] = 1},
     .high = {[6] = 3}},
    {.name = "one odd head",
     .attr = &one,
     .n_in = 8,
     .in = {SAME(12, 5), ROWS(3, 2), NONE, ROWS(12, 5), ROWS(12, 1), ROWS(12, 5)},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = words},
     .high = {[6] = 2}},
    {.name = "samples of as many rows",
     .attr = &four,
     .n_in = 8,
     .in = {SAMPLES(3, 17, 64), SAMPLES(3, 17, 64), SAMPLES(3, 17, 64), NONE, NONE, SAMPLES(3, 17, 64),
            SAMPLES(3, 17, 4), SAMPLES(3, 17, 64)},
     .low = {[6] = 1},
     .high = {[6] = 3}},
    {.name = "causal, dropout",
     .attr = &causal_dropped,
     .n_in = 8,
     .in = {SAME(50, 60), ROWS(2, 2), SEED, ROWS(50, 60), ROWS(50, 3), ROWS(50, 60)},
     .dtype = {[3] = GRAFT_I32, [4] = GRAFT_I32},
     .data = {[3] = pair},
     .low = {[4] = -9e8, [6] = 2},
     .high = {[4] = 9e8, [6] = 3},
     .whole = 1u << 4},
};
const graft_op graft_op_attention_grad = {
    .name = "attention_grad",
    .attr_size = sizeof(graft_attention_attr),
    .n_out = 3,
    .shape = attention_grad_shape,
    .reference = attention_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 7,
    .cases = attention_grad_cases,
    .n_cases = GRAFT_COUNT(attention_grad_cases),
};

graft_value graft_attention(graft_graph *g, graft_value q, graft_value k, graft_value v, graft_value spans,
                            graft_value seed, graft_attention_attr a) {
    a.salt = -1; /* dropouts count from 0 upwards, so no two nodes of a graph drop alike */
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        if (graft_graph_node_at(g, i)->op == &graft_op_attention) a.salt--;
    }
    graft_value out[2];
    graft_graph_node(g, &graft_op_attention, &a, (graft_value[]){q, k, v, spans, seed}, 5, out);
    return out[0];
}
