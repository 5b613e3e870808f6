/* Ops that know where each sample's tokens lie: `spans` (BATCH, 2) holds [start, length], spans do not
 * overlap, an empty one belongs to an absent sample, and tokens outside all spans are padding. What of a span
 * lies outside x is cut off. Pooling goes without spans where each sample has as many rows, x (N,L,D). */
#include "graph/op/span.h"
#include "graph/op/rule.h"

#include <string.h>

static const graft_rule_input pool_inputs[] = {{.name = "x"},
                                               {.name = "spans", .dtype = GRAFT_I32, .optional = true}};
static const graft_rule_input pool_grad_inputs[] = {
    {.name = "dy"}, {.name = "spans", .dtype = GRAFT_I32, .optional = true}, {.name = "x"}};
static const graft_rule_input window_inputs[] = {{.name = "x"}, {.name = "spans", .dtype = GRAFT_I32}};
static const graft_rule_input window_grad_inputs[] = {{.name = "dy"}, {.name = "spans", .dtype = GRAFT_I32}};

static bool is_matrix(const graft_shape *s) {
    return s->rank == 2 && graft_rule_is_batched(s);
}

static bool has_spans(const graft_op_types *t) {
    return is_matrix(&t->in[0]->shape) && is_matrix(&t->in[1]->shape) && t->in[1]->shape.dims[1] == 2;
}

static graft_tokens tokens_of(const graft_op_call *c, int64_t sample, int64_t n_tokens) {
    return graft_tokens_of((int64_t)c->in[1][2 * sample], (int64_t)c->in[1][2 * sample + 1], n_tokens);
}

/* Samples of pooling. */
static int64_t n_samples_of(const graft_op_call *c, const graft_shape *x) {
    return c->in[1] ? c->in_shape[1].dims[0] : x->dims[0];
}

/* The rows of x that a kind of pooling looks at. */
static graft_tokens rows_of(const graft_op_call *c, int32_t kind, int64_t sample, const graft_shape *x) {
    if (!c->in[1]) return (graft_tokens){sample * x->dims[1], x->dims[1]};
    if (kind != GRAFT_SPAN_PRESENT) return tokens_of(c, sample, x->dims[0]);
    return graft_tokens_own((int64_t)c->in[1][2 * sample], (int64_t)c->in[1][2 * sample + 1], sample);
}

static void fill_zero(double *x, const graft_shape *shape) {
    memset(x, 0, (size_t)graft_rule_count(shape) * sizeof *x);
}

/* ---- Pooling ---------------------------------------------------------------------------------------------- */

static const char what_is_pooled[] = "x must be (T,D) and spans (N,2), or x (N,L,D) without spans";

static bool is_pooled(const graft_op_types *t, const graft_shape *x) {
    if (!t->in[1]) return x->rank == 3 && graft_rule_is_batched(x);
    return is_matrix(x) && is_matrix(&t->in[1]->shape) && t->in[1]->shape.dims[1] == 2;
}

/* x has one row a sample already. */
static bool has_own_rows(const graft_op_types *t, const graft_shape *x) {
    return t->in[1] && x->dims[0] == t->in[1]->shape.dims[0];
}

static graft_shape pooled_shape(const graft_op_types *t, const graft_shape *x) {
    return (graft_shape){.rank = 2,
                         .dims = {t->in[1] ? t->in[1]->shape.dims[0] : x->dims[0], graft_rule_width(x)}};
}

static int span_pool_shape(const graft_op_types *t, graft_err *err) {
    const graft_span_pool_attr *a = t->attr;
    int rc = graft_rule_inputs(t, pool_inputs, GRAFT_COUNT(pool_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (!is_pooled(t, x)) return graft_rule_fail(t, pool_inputs, err, "%s", what_is_pooled);
    if (a->kind < GRAFT_SPAN_MEAN || a->kind > GRAFT_SPAN_PRESENT)
        return graft_rule_fail(t, pool_inputs, err, "%d is no kind of pooling", a->kind);
    if (a->kind == GRAFT_SPAN_PRESENT && !has_own_rows(t, x))
        return graft_rule_fail(t, pool_inputs, err, "x must be (N,D) and spans (N,2)");
    t->out_shape[0] = pooled_shape(t, x);
    return 0;
}

static int span_pool_grad_shape(const graft_op_types *t, graft_err *err) {
    const graft_span_pool_attr *a = t->attr; /* NULL: span_max_grad */
    int rc = graft_rule_inputs(t, pool_grad_inputs, GRAFT_COUNT(pool_grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[2]->shape;
    if (!is_pooled(t, x)) return graft_rule_fail(t, pool_grad_inputs, err, "%s", what_is_pooled);
    const graft_shape y = pooled_shape(t, x);
    if (!graft_shape_equal(&t->in[0]->shape, &y))
        return graft_rule_fail(t, pool_grad_inputs, err, "dy must be (N,D)");
    if (a && a->kind == GRAFT_SPAN_PRESENT && !has_own_rows(t, x))
        return graft_rule_fail(t, pool_grad_inputs, err, "x must be (N,D) and spans (N,2)");
    graft_rule_copy(t, 0, 2);
    return 0;
}

static void span_pool_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                               const bool *wanted, graft_value *din) {
    const graft_span_pool_attr *a = n->attr;
    const graft_value in[] = {dout[0], n->in[1], n->in[0]};
    if (!wanted[0]) return;
    if (a->kind == GRAFT_SPAN_MAX) {
        graft_graph_node(g, &graft_op_span_max_grad, NULL, in, 3, &din[0]);
    } else {
        graft_graph_node(g, &graft_op_span_pool_grad, a, in, 3, &din[0]);
    }
}

/* The row of column d's largest value, the first of equals. */
static int64_t row_of_largest(const double *x, int64_t width, graft_tokens s, int64_t d) {
    int64_t best = s.first;
    for (int64_t t = s.first + 1; t < s.first + s.count; t++)
        if (x[t * width + d] > x[best * width + d]) best = t;
    return best;
}

static double pool_column(const double *x, int64_t width, graft_tokens s, int64_t d, int32_t kind) {
    double sum = 0;
    switch (kind) {
    case GRAFT_SPAN_FIRST:
    case GRAFT_SPAN_PRESENT:
        return x[s.first * width + d];
    case GRAFT_SPAN_LAST:
        return x[(s.first + s.count - 1) * width + d];
    case GRAFT_SPAN_MAX:
        return x[row_of_largest(x, width, s, d) * width + d];
    default:
        for (int64_t t = s.first; t < s.first + s.count; t++) sum += x[t * width + d];
        return sum / (double)s.count;
    }
}

static void span_pool_reference(const graft_op_call *c) {
    const graft_span_pool_attr *a = c->attr;
    const graft_shape *x = &c->in_shape[0];
    const int64_t width = graft_rule_width(x);
    fill_zero(c->out[0], &c->out_shape[0]);
    for (int64_t n = 0; n < n_samples_of(c, x); n++) {
        const graft_tokens s = rows_of(c, a->kind, n, x);
        for (int64_t d = 0; s.count > 0 && d < width; d++)
            c->out[0][n * width + d] = pool_column(c->in[0], width, s, d, a->kind);
    }
}

static void span_pool_grad_reference(const graft_op_call *c) {
    const graft_span_pool_attr *a = c->attr;
    const graft_shape *x = &c->out_shape[0];
    const int64_t width = graft_rule_width(x);
    fill_zero(c->out[0], &c->out_shape[0]);
    for (int64_t n = 0; n < n_samples_of(c, x); n++) {
        const graft_tokens s = rows_of(c, a->kind, n, x);
        const double *dy = c->in[0] + n * width;
        const int64_t begin = a->kind == GRAFT_SPAN_LAST ? s.first + s.count - 1 : s.first,
                      end = a->kind == GRAFT_SPAN_FIRST ? s.first + 1 : s.first + s.count;
        const double part = a->kind == GRAFT_SPAN_MEAN ? (double)s.count : 1;
        for (int64_t t = begin; s.count > 0 && t < end; t++)
            for (int64_t d = 0; d < width; d++) c->out[0][t * width + d] = dy[d] / part;
    }
}

static void span_max_grad_reference(const graft_op_call *c) {
    const graft_shape *x = &c->out_shape[0];
    const int64_t width = graft_rule_width(x);
    fill_zero(c->out[0], &c->out_shape[0]);
    for (int64_t n = 0; n < n_samples_of(c, x); n++) {
        const graft_tokens s = rows_of(c, GRAFT_SPAN_MAX, n, x);
        for (int64_t d = 0; s.count > 0 && d < width; d++)
            c->out[0][row_of_largest(c->in[2], width, s, d) * width + d] = c->in[0][n * width + d];
    }
}

/* Of nine tokens: three samples, one of them absent, and two rows of padding; and one sample alone. */
static const double three_spans[] = {0, 4, 4, 0, 4, 3}, one_span[] = {0, 5};

static const graft_span_pool_attr mean = {GRAFT_SPAN_MEAN}, first = {GRAFT_SPAN_FIRST},
                                  last = {GRAFT_SPAN_LAST}, largest = {GRAFT_SPAN_MAX},
                                  present = {GRAFT_SPAN_PRESENT};

#define THREE(what, a, d)                                                                                    \
    {                                                                                                        \
        .name = what, .attr = &(a), .n_in = 2, .in = {{2, {9, d}}, {2, {3, 2}}}, .dtype = {[1] = GRAFT_I32}, \
        .data = {                                                                                            \
            [1] = three_spans                                                                                \
        }                                                                                                    \
    }
static const graft_op_case span_pool_cases[] = {
    THREE("mean", mean, 7),
    THREE("mean of whole vectors", mean, 64),
    THREE("first", first, 33),
    THREE("last", last, 33),
    THREE("max", largest, 7),
    THREE("max of whole vectors", largest, 64),
    {.name = "present",
     .attr = &present,
     .n_in = 2,
     .in = {{2, {3, 33}}, {2, {3, 2}}},
     .dtype = {[1] = GRAFT_I32},
     .data = {[1] = three_spans}},
    {.name = "mean of one sample",
     .attr = &mean,
     .n_in = 2,
     .in = {{2, {5, 16}}, {2, {1, 2}}},
     .dtype = {[1] = GRAFT_I32},
     .data = {[1] = one_span}},
    {.name = "first, without spans", .attr = &first, .n_in = 2, .in = {{3, {3, 5, 33}}, {-1, {0}}}},
    {.name = "mean, without spans", .attr = &mean, .n_in = 2, .in = {{3, {3, 5, 33}}, {-1, {0}}}},
    {.name = "max with equals",
     .attr = &largest,
     .n_in = 2,
     .in = {{2, {9, 17}}, {2, {3, 2}}},
     .dtype = {[1] = GRAFT_I32},
     .data = {[1] = three_spans},
     .low = {-2},
     .high = {2},
     .whole = 1},
};
const graft_op graft_op_span_pool = {
    .name = "span_pool",
    .attr_size = sizeof(graft_span_pool_attr),
    .n_out = 1,
    .shape = span_pool_shape,
    .grad = span_pool_gradient,
    .reference = span_pool_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = span_pool_cases,
    .n_cases = GRAFT_COUNT(span_pool_cases),
};

#define THREE_BACK(what, a, d, whole_values)                                                                 \
    {                                                                                                        \
        .name = what, .attr = a, .n_in = 3, .in = {{2, {3, d}}, {2, {3, 2}}, {2, {9, d}}},                   \
        .dtype = {[1] = GRAFT_I32}, .data = {[1] = three_spans}, .low = {[2] = -2}, .high = {[2] = 2},       \
        .whole = (whole_values)                                                                              \
    }
static const graft_op_case span_pool_grad_cases[] = {
    THREE_BACK("mean", &mean, 7, 0),
    THREE_BACK("mean of whole vectors", &mean, 64, 0),
    THREE_BACK("first", &first, 33, 0),
    THREE_BACK("last", &last, 33, 0),
    {.name = "present",
     .attr = &present,
     .n_in = 3,
     .in = {{2, {3, 33}}, {2, {3, 2}}, {2, {3, 33}}},
     .dtype = {[1] = GRAFT_I32},
     .data = {[1] = three_spans}},
    {.name = "first, without spans",
     .attr = &first,
     .n_in = 3,
     .in = {{2, {3, 33}}, {-1, {0}}, {3, {3, 5, 33}}}},
};
const graft_op graft_op_span_pool_grad = {
    .name = "span_pool_grad",
    .attr_size = sizeof(graft_span_pool_attr),
    .n_out = 1,
    .shape = span_pool_grad_shape,
    .reference = span_pool_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 2,
    .cases = span_pool_grad_cases,
    .n_cases = GRAFT_COUNT(span_pool_grad_cases),
};

static const graft_op_case span_max_grad_cases[] = {
    THREE_BACK("odd", NULL, 7, 0),
    THREE_BACK("whole vectors", NULL, 64, 0),
    THREE_BACK("the first of equals", NULL, 17, 4),
    {.name = "without spans", .n_in = 3, .in = {{2, {3, 33}}, {-1, {0}}, {3, {3, 5, 33}}}},
};
const graft_op graft_op_span_max_grad = {
    .name = "span_max_grad",
    .n_out = 1,
    .shape = span_pool_grad_shape,
    .reference = span_max_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = span_max_grad_cases,
    .n_cases = GRAFT_COUNT(span_max_grad_cases),
};

graft_value graft_span_pool(graft_graph *g, graft_value x, graft_value spans, int32_t kind) {
    graft_value y;
    graft_graph_node(g, &graft_op_span_pool, &(graft_span_pool_attr){kind}, (graft_value[]){x, spans}, 2, &y);
    return y;
}

/* ---- Windows ---------------------------------------------------------------------------------------------- */

static int token_window_shape(const graft_op_types *t, graft_err *err) {
    const graft_token_window_attr *a = t->attr;
    int rc = graft_rule_inputs(t, window_inputs, GRAFT_COUNT(window_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (!has_spans(t)) return graft_rule_fail(t, window_inputs, err, "x must be (T,D) and spans (N,2)");
    if (a->width < 1 || x->dims[1] > INT32_MAX)
        return graft_rule_fail(t, window_inputs, err, "a window of %d tokens", a->width);
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {x->dims[0], a->width * x->dims[1]}};
    return 0;
}

static int token_window_grad_shape(const graft_op_types *t, graft_err *err) {
    const graft_token_window_attr *a = t->attr;
    int rc = graft_rule_inputs(t, window_grad_inputs, GRAFT_COUNT(window_grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape;
    if (!has_spans(t) || a->width < 1 || dy->dims[1] % a->width != 0)
        return graft_rule_fail(t, window_grad_inputs, err, "dy must be (T,%d D) and spans (N,2)", a->width);
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {dy->dims[0], dy->dims[1] / a->width}};
    return 0;
}

static void token_window_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                  const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_token_window_grad, n->attr, (graft_value[]){dout[0], n->in[1]}, 2,
                         &din[0]);
}

static bool is_within(graft_tokens s, int64_t t) {
    return t >= s.first && t < s.first + s.count;
}

static void token_window_reference(const graft_op_call *c) {
    const graft_token_window_attr *a = c->attr;
    const int64_t n_tokens = c->in_shape[0].dims[0], size = c->in_shape[0].dims[1], row = size * a->width,
                  before = (a->width - 1) / 2;
    fill_zero(c->out[0], &c->out_shape[0]);
    for (int64_t n = 0; n < c->in_shape[1].dims[0]; n++) {
        const graft_tokens s = tokens_of(c, n, n_tokens);
        for (int64_t t = s.first; t < s.first + s.count; t++)
            for (int64_t k = 0; k < a->width; k++)
                for (int64_t d = 0; is_within(s, t + k - before) && d < size; d++)
                    c->out[0][t * row + k * size + d] = c->in[0][(t + k - before) * size + d];
    }
}

static void token_window_grad_reference(const graft_op_call *c) {
    const graft_token_window_attr *a = c->attr;
    const int64_t n_tokens = c->out_shape[0].dims[0], size = c->out_shape[0].dims[1], row = size * a->width,
                  before = (a->width - 1) / 2;
    fill_zero(c->out[0], &c->out_shape[0]);
    for (int64_t n = 0; n < c->in_shape[1].dims[0]; n++) {
        const graft_tokens s = tokens_of(c, n, n_tokens);
        for (int64_t t = s.first; t < s.first + s.count; t++)
            for (int64_t k = 0; k < a->width; k++)
                for (int64_t d = 0; is_within(s, t + k - before) && d < size; d++)
                    c->out[0][(t + k - before) * size + d] += c->in[0][t * row + k * size + d];
    }
}

static const graft_token_window_attr three = {3}, four = {4}, one = {1}, seven = {7};

#define WINDOW(what, a, d)                                                                                   \
    {                                                                                                        \
        .name = what, .attr = &(a), .n_in = 2, .in = {{2, {9, d}}, {2, {3, 2}}}, .dtype = {[1] = GRAFT_I32}, \
        .data = {                                                                                            \
            [1] = three_spans                                                                                \
        }                                                                                                    \
    }
static const graft_op_case token_window_cases[] = {
    WINDOW("three", three, 5),
    WINDOW("an even number", four, 16),
    WINDOW("one", one, 3),
    WINDOW("wider than a sample", seven, 2),
};
const graft_op graft_op_token_window = {
    .name = "token_window",
    .attr_size = sizeof(graft_token_window_attr),
    .n_out = 1,
    .shape = token_window_shape,
    .grad = token_window_gradient,
    .reference = token_window_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = token_window_cases,
    .n_cases = GRAFT_COUNT(token_window_cases),
};

static const graft_op_case token_window_grad_cases[] = {
    WINDOW("three", three, 15),
    WINDOW("an even number", four, 64),
    WINDOW("one", one, 3),
    WINDOW("wider than a sample", seven, 14),
};
const graft_op graft_op_token_window_grad = {
    .name = "token_window_grad",
    .attr_size = sizeof(graft_token_window_attr),
    .n_out = 1,
    .shape = token_window_grad_shape,
    .reference = token_window_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = token_window_grad_cases,
    .n_cases = GRAFT_COUNT(token_window_grad_cases),
};

graft_value graft_token_window(graft_graph *g, graft_value x, graft_value spans, int32_t width) {
    graft_value y;
    graft_graph_node(g, &graft_op_token_window, &(graft_token_window_attr){width}, (graft_value[]){x, spans},
                     2, &y);
    return y;
}
