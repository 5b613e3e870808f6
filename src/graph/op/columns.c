/* Some of the columns of rows: y[t, c] = x[t, first + c]. The gradient puts them back among zeros. And two
 * matrices beside each other, whose gradients are columns. */
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {{.name = "x"}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"}, {.name = "x"}};

static bool lie_in(const graft_columns_attr *a, const graft_shape *x) {
    return graft_rule_is_rows(x) && a->first >= 0 && a->count >= 1 && a->first <= graft_rule_width(x) &&
           a->count <= graft_rule_width(x) - a->first;
}

static int columns_shape(const graft_op_types *t, graft_err *err) {
    const graft_columns_attr *a = t->attr;
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (!lie_in(a, x))
        return graft_rule_fail(t, forward_inputs, err,
                               "x must be (T,D) or (N,L,D) and has no %lld columns from %lld",
                               (long long)a->count, (long long)a->first);
    t->out_shape[0] = graft_rule_with_width(x, a->count);
    return 0;
}

static int columns_grad_shape(const graft_op_types *t, graft_err *err) {
    const graft_columns_attr *a = t->attr;
    int rc = graft_rule_inputs(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *x = &t->in[1]->shape, y = graft_rule_with_width(x, a->count);
    if (!lie_in(a, x) || !graft_shape_equal(dy, &y))
        return graft_rule_fail(t, grad_inputs, err, "dy must have x's rows, of %lld columns",
                               (long long)a->count);
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void columns_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_columns_grad, n->attr, (graft_value[]){dout[0], n->in[0]}, 2, &din[0]);
}

static void columns_reference(const graft_op_call *c) {
    const graft_columns_attr *a = c->attr;
    const int64_t width = graft_rule_width(&c->in_shape[0]);
    for (int64_t t = 0; t < graft_rule_n_rows(&c->in_shape[0]); t++)
        for (int64_t d = 0; d < a->count; d++)
            c->out[0][t * a->count + d] = c->in[0][t * width + a->first + d];
}

static void columns_grad_reference(const graft_op_call *c) {
    const graft_columns_attr *a = c->attr;
    const int64_t width = graft_rule_width(&c->out_shape[0]);
    for (int64_t t = 0; t < graft_rule_n_rows(&c->out_shape[0]); t++) {
        for (int64_t d = 0; d < width; d++) {
            bool taken = d >= a->first && d < a->first + a->count;
            c->out[0][t * width + d] = taken ? c->in[0][t * a->count + d - a->first] : 0;
        }
    }
}

static const graft_columns_attr first = {0, 3}, middle = {2, 16}, last = {30, 3}, all = {0, 5};

static const graft_op_case columns_cases[] = {
    {.name = "first", .attr = &first, .n_in = 1, .in = {{2, {3, 7}}}},
    {.name = "middle", .attr = &middle, .n_in = 1, .in = {{2, {5, 33}}}},
    {.name = "last", .attr = &last, .n_in = 1, .in = {{2, {4, 33}}}},
    {.name = "all", .attr = &all, .n_in = 1, .in = {{2, {2, 5}}}},
    {.name = "several rows a sample", .attr = &middle, .n_in = 1, .in = {{3, {3, 5, 33}}}},
};
const graft_op graft_op_columns = {
    .name = "columns",
    .attr_size = sizeof(graft_columns_attr),
    .n_out = 1,
    .shape = columns_shape,
    .grad = columns_gradient,
    .reference = columns_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = columns_cases,
    .n_cases = GRAFT_COUNT(columns_cases),
};

static const graft_op_case columns_grad_cases[] = {
    {.name = "first", .attr = &first, .n_in = 2, .in = {{2, {3, 3}}, {2, {3, 7}}}},
    {.name = "middle", .attr = &middle, .n_in = 2, .in = {{2, {5, 16}}, {2, {5, 33}}}},
    {.name = "last", .attr = &last, .n_in = 2, .in = {{2, {4, 3}}, {2, {4, 33}}}},
    {.name = "several rows a sample", .attr = &middle, .n_in = 2, .in = {{3, {3, 5, 16}}, {3, {3, 5, 33}}}},
};
const graft_op graft_op_columns_grad = {
    .name = "columns_grad",
    .attr_size = sizeof(graft_columns_attr),
    .n_out = 1,
    .shape = columns_grad_shape,
    .reference = columns_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = columns_grad_cases,
    .n_cases = GRAFT_COUNT(columns_grad_cases),
};

/* ---- Two matrices beside each other: y[t] = [a[t] b[t]]
 * ---------------------------------------------------------- */

static const graft_rule_input beside_inputs[] = {{.name = "a"}, {.name = "b"}};

static int beside_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, beside_inputs, GRAFT_COUNT(beside_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *a = &t->in[0]->shape, *b = &t->in[1]->shape;
    if (a->rank != 2 || b->rank != 2 || !graft_rule_is_batched(a) || a->dims[0] != b->dims[0] ||
        a->dims[1] < 1 || b->dims[1] < 1 || a->dims[1] > INT64_MAX / 8 - b->dims[1])
        return graft_rule_fail(t, beside_inputs, err, "a must be (T,A) and b (T,B)");
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {a->dims[0], a->dims[1] + b->dims[1]}};
    return 0;
}

static void beside_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                            graft_value *din) {
    const int64_t widths[2] = {graft_graph_value(g, n->in[0])->shape.dims[1],
                               graft_graph_value(g, n->in[1])->shape.dims[1]};
    for (int i = 0; i < 2; i++)
        if (wanted[i]) din[i] = graft_columns(g, dout[0], i ? widths[0] : 0, widths[i]);
}

static void beside_reference(const graft_op_call *c) {
    const int64_t a = c->in_shape[0].dims[1], b = c->in_shape[1].dims[1];
    for (int64_t t = 0; t < c->in_shape[0].dims[0]; t++)
        for (int64_t d = 0; d < a + b; d++)
            c->out[0][t * (a + b) + d] = d < a ? c->in[0][t * a + d] : c->in[1][t * b + d - a];
}

static const graft_op_case beside_cases[] = {
    {.name = "small", .n_in = 2, .in = {{2, {3, 2}}, {2, {3, 5}}}},
    {.name = "one row", .n_in = 2, .in = {{2, {1, 33}}, {2, {1, 1}}}},
    {.name = "many rows", .n_in = 2, .in = {{2, {133, 16}}, {2, {133, 17}}}},
};
const graft_op graft_op_beside = {
    .name = "beside",
    .n_out = 1,
    .shape = beside_shape,
    .grad = beside_gradient,
    .reference = beside_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = beside_cases,
    .n_cases = GRAFT_COUNT(beside_cases),
};

graft_value graft_beside(graft_graph *g, graft_value a, graft_value b) {
    graft_value y;
    graft_graph_node(g, &graft_op_beside, NULL, (graft_value[]){a, b}, 2, &y);
    return y;
}

graft_value graft_columns(graft_graph *g, graft_value x, int64_t from, int64_t count) {
    graft_value y;
    graft_graph_node(g, &graft_op_columns, &(graft_columns_attr){from, count}, &x, 1, &y);
    return y;
}
