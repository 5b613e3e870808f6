/* Rows of length one: y = x / max(|x|, 1e-12), |x| being each row's Euclidean norm. Backwards, with
 * u = x / |x|: dx = (dy - u <dy, u>) / |x|; a row shorter than 1e-12 is divided by that number alone. */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input forward_inputs[] = {{.name = "x"}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"}, {.name = "x"}};

static const double shortest = 1e-12;

static int unit_rows_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    if (t->in[0]->shape.rank != 2 || !graft_rule_is_batched(&t->in[0]->shape))
        return graft_rule_fail(t, forward_inputs, err, "x must be (N,D)");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int unit_rows_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    if (t->in[1]->shape.rank != 2 || !graft_rule_is_batched(&t->in[1]->shape) || !graft_rule_same(t, 0, 1))
        return graft_rule_fail(t, grad_inputs, err, "dy and x must be (N,D)");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void unit_rows_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                               const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_unit_rows_grad, NULL, (graft_value[]){dout[0], n->in[0]}, 2, &din[0]);
}

static double length_of(const double *x, int64_t n) {
    double squares = 0;
    for (int64_t d = 0; d < n; d++) squares += x[d] * x[d];
    return sqrt(squares);
}

static void unit_rows_reference(const graft_op_call *c) {
    const int64_t width = c->in_shape[0].dims[1];
    for (int64_t n = 0; n < c->in_shape[0].dims[0]; n++) {
        const double *x = c->in[0] + n * width;
        const double length = fmax(length_of(x, width), shortest);
        for (int64_t d = 0; d < width; d++) c->out[0][n * width + d] = x[d] / length;
    }
}

static void unit_rows_grad_reference(const graft_op_call *c) {
    const int64_t width = c->in_shape[1].dims[1];
    for (int64_t n = 0; n < c->in_shape[1].dims[0]; n++) {
        const double *dy = c->in[0] + n * width, *x = c->in[1] + n * width;
        const double length = length_of(x, width);
        double along = 0;
        for (int64_t d = 0; d < width; d++) along += dy[d] * x[d];
        along = length < shortest ? 0 : along / (length * length);
        for (int64_t d = 0; d < width; d++)
            c->out[0][n * width + d] = (dy[d] - along * x[d]) / fmax(length, shortest);
    }
}

static const double a_zero_row[] = {1, -2, 2, 0, 0, 0, 3, 0, 4};

static const graft_op_case unit_rows_cases[] = {
    {.name = "odd", .n_in = 1, .in = {{2, {3, 7}}}},
    {.name = "long rows", .n_in = 1, .in = {{2, {70, 384}}}, .low = {-30}, .high = {30}},
    {.name = "a row of zeros", .n_in = 1, .in = {{2, {3, 3}}}, .data = {a_zero_row}, .whole = 1},
};
const graft_op graft_op_unit_rows = {
    .name = "unit_rows",
    .n_out = 1,
    .shape = unit_rows_shape,
    .grad = unit_rows_gradient,
    .reference = unit_rows_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = unit_rows_cases,
    .n_cases = GRAFT_COUNT(unit_rows_cases),
};

static const graft_op_case unit_rows_grad_cases[] = {
    {.name = "odd", .n_in = 2, .in = {{2, {3, 7}}, {2, {3, 7}}}},
    {.name = "long rows",
     .n_in = 2,
     .in = {{2, {70, 384}}, {2, {70, 384}}},
     .low = {0, -30},
     .high = {1, 30}},
};
const graft_op graft_op_unit_rows_grad = {
    .name = "unit_rows_grad",
    .n_out = 1,
    .shape = unit_rows_grad_shape,
    .reference = unit_rows_grad_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = unit_rows_grad_cases,
    .n_cases = GRAFT_COUNT(unit_rows_grad_cases),
};

graft_value graft_unit_rows(graft_graph *g, graft_value x) {
    graft_value y;
    graft_graph_node(g, &graft_op_unit_rows, NULL, &x, 1, &y);
    return y;
}
