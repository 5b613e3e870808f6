/* Fully connected layer: y (N,O) = x (N,I) w^T + b with w (O,I), then relu if asked. */
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {
    {.name = "x"}, {.name = "w"}, {.name = "b", .optional = true}};
static const graft_rule_input dx_inputs[] = {{.name = "dy"}, {.name = "w"}};
static const graft_rule_input dw_inputs[] = {{.name = "x"}, {.name = "dy"}};

static bool is_matrix(const graft_shape *s) {
    return s->rank == 2 && graft_rule_is_batched(s);
}

static int linear_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape, *w = &t->in[1]->shape;
    if (!is_matrix(x) || !is_matrix(w) || w->dims[0] < 1 || w->dims[1] != x->dims[1])
        return graft_rule_fail(t, forward_inputs, err, "x must be (N,I) and w (O,I)");
    if (!graft_rule_is_vector(t, 2, w->dims[0]))
        return graft_rule_fail(t, forward_inputs, err, "b must be (O)");
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {x->dims[0], w->dims[0]}};
    return 0;
}

static int linear_dx_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, dx_inputs, GRAFT_COUNT(dx_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *w = &t->in[1]->shape;
    if (!is_matrix(dy) || !is_matrix(w) || w->dims[0] != dy->dims[1])
        return graft_rule_fail(t, dx_inputs, err, "dy must be (N,O) and w (O,I)");
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {dy->dims[0], w->dims[1]}};
    return 0;
}

static int linear_dw_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, dw_inputs, GRAFT_COUNT(dw_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape, *dy = &t->in[1]->shape;
    if (!is_matrix(x) || !is_matrix(dy) || x->dims[0] != dy->dims[0])
        return graft_rule_fail(t, dw_inputs, err, "x must be (N,I) and dy (N,O)");
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {dy->dims[1], x->dims[1]}};
    t->out_shape[1] = (graft_shape){.rank = 1, .dims = {dy->dims[1]}};
    return 0;
}

static void linear_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                            graft_value *din) {
    const graft_linear_attr *a = n->attr;
    graft_value dy = dout[0];
    if (a->relu) graft_graph_node(g, &graft_op_relu_grad, NULL, (graft_value[]){dout[0], n->out[0]}, 2, &dy);
    if (wanted[0]) graft_graph_node(g, &graft_op_linear_dx, NULL, (graft_value[]){dy, n->in[1]}, 2, &din[0]);
    if (wanted[1] || wanted[2]) {
        graft_value out[2];
        graft_graph_node(g, &graft_op_linear_dw, NULL, (graft_value[]){n->in[0], dy}, 2, out);
        if (wanted[1]) din[1] = out[0];
        if (wanted[2]) din[2] = out[1];
    }
}

static void linear_reference(const graft_op_call *c) {
    const graft_linear_attr *a = c->attr;
    const double *x = c->in[0], *w = c->in[1], *b = c->in[2];
    int64_t n_rows = c->out_shape[0].dims[0], n_outs = c->out_shape[0].dims[1],
            n_ins = c->in_shape[0].dims[1];
    for (int64_t n = 0; n < n_rows; n++) {
        for (int64_t o = 0; o < n_outs; o++) {
            double sum = b != NULL ? b[o] : 0;
            for (int64_t i = 0; i < n_ins; i++) sum += x[n * n_ins + i] * w[o * n_ins + i];
            c->out[0][n * n_outs + o] = a->relu && sum < 0 ? 0 : sum;
        }
    }
}

static void linear_dx_reference(const graft_op_call *c) {
    const double *dy = c->in[0], *w = c->in[1];
    int64_t n_rows = c->in_shape[0].dims[0], n_outs = c->in_shape[0].dims[1], n_ins = c->in_shape[1].dims[1];
    for (int64_t n = 0; n < n_rows; n++) {
        for (int64_t i = 0; i < n_ins; i++) {
            double sum = 0;
            for (int64_t o = 0; o < n_outs; o++) sum += dy[n * n_outs + o] * w[o * n_ins + i];
            c->out[0][n * n_ins + i] = sum;
        }
    }
}

static void linear_dw_reference(const graft_op_call *c) {
    const double *x = c->in[0], *dy = c->in[1];
    int64_t n_rows = c->in_shape[0].dims[0], n_ins = c->in_shape[0].dims[1], n_outs = c->in_shape[1].dims[1];
    for (int64_t o = 0; o < n_outs; o++) {
        for (int64_t i = 0; i < n_ins; i++) {
            double sum = 0;
            for (int64_t n = 0; n < n_rows; n++) sum += dy[n * n_outs + o] * x[n * n_ins + i];
            c->out[0][o * n_ins + i] = sum;
        }
        double sum = 0;
        for (int64_t n = 0; n < n_rows; n++) sum += dy[n * n_outs + o];
        c->out[1][o] = sum;
    }
}

static const graft_op_case linear_cases[] = {
    {.name = "odd",
     .attr = &(const graft_linear_attr){0},
     .n_in = 3,
     .in = {{2, {3, 7}}, {2, {5, 7}}, {1, {5}}}},
    {.name = "one row",
     .attr = &(const graft_linear_attr){0},
     .n_in = 3,
     .in = {{2, {1, 64}}, {2, {32, 64}}, {1, {32}}}},
    {.name = "without b",
     .attr = &(const graft_linear_attr){0},
     .n_in = 3,
     .in = {{2, {3, 33}}, {2, {17, 33}}, {-1, {0}}}},
    {.name = "relu",
     .attr = &(const graft_linear_attr){1},
     .n_in = 3,
     .in = {{2, {3, 16}}, {2, {10, 16}}, {1, {10}}}},
    {.name = "one output",
     .attr = &(const graft_linear_attr){0},
     .n_in = 3,
     .in = {{2, {9, 16}}, {2, {1, 16}}, {1, {1}}}},
};
const graft_op graft_op_linear = {
    .name = "linear",
    .attr_size = sizeof(graft_linear_attr),
    .n_out = 1,
    .shape = linear_shape,
    .grad = linear_gradient,
    .reference = linear_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = linear_cases,
    .n_cases = GRAFT_COUNT(linear_cases),
};

static const graft_op_case linear_dx_cases[] = {
    {.name = "odd", .n_in = 2, .in = {{2, {3, 5}}, {2, {5, 7}}}},
    {.name = "one row", .n_in = 2, .in = {{2, {1, 32}}, {2, {32, 64}}}},
    {.name = "one output", .n_in = 2, .in = {{2, {9, 1}}, {2, {1, 16}}}},
};
const graft_op graft_op_linear_dx = {
    .name = "linear_dx",
    .n_out = 1,
    .shape = linear_dx_shape,
    .reference = linear_dx_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = linear_dx_cases,
    .n_cases = GRAFT_COUNT(linear_dx_cases),
};

static const graft_op_case linear_dw_cases[] = {
    {.name = "odd", .n_in = 2, .in = {{2, {3, 7}}, {2, {3, 5}}}},
    {.name = "one row", .n_in = 2, .in = {{2, {1, 64}}, {2, {1, 32}}}},
    {.name = "one output", .n_in = 2, .in = {{2, {9, 16}}, {2, {9, 1}}}},
};
const graft_op graft_op_linear_dw = {
    .name = "linear_dw",
    .n_out = 2,
    .shape = linear_dw_shape,
    .reference = linear_dw_reference,
    .alias = {-1, -1, -1, -1},
    .cases = linear_dw_cases,
    .n_cases = GRAFT_COUNT(linear_dw_cases),
};

graft_value graft_linear(graft_graph *g, graft_value x, graft_value w, graft_value b) {
    graft_value y;
    graft_graph_node(g, &graft_op_linear, &(graft_linear_attr){0}, (graft_value[]){x, w, b}, 3, &y);
    return y;
}
