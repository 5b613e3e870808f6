/* Elementwise ops of any shape: relu, y = max(0, x); the sum of two values of equal shape, which is also how
 * gradients that arrive on several paths accumulate. */
#include "graph/op/rule.h"

static const graft_rule_input x_only[] = {{.name = "x"}};
static const graft_rule_input a_and_b[] = {{.name = "a"}, {.name = "b"}};
static const graft_rule_input dy_and_y[] = {{.name = "dy"}, {.name = "y"}};

static int relu_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int pair_shape(const graft_op_types *t, const graft_rule_input *in, graft_err *err) {
    int rc = graft_rule_inputs(t, in, 2, err);
    if (rc < 0) return rc;
    if (!graft_rule_same(t, 0, 1))
        return graft_rule_fail(t, in, err, "%s and %s differ in shape", in[0].name, in[1].name);
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int relu_grad_shape(const graft_op_types *t, graft_err *err) {
    return pair_shape(t, dy_and_y, err);
}

static int add_shape(const graft_op_types *t, graft_err *err) {
    return pair_shape(t, a_and_b, err);
}

/* Gradients of weights stay float32; those of activations have the type that the activations were given. */
static int sum_into_shape(const graft_op_types *t, graft_err *err) {
    int rc = pair_shape(t, a_and_b, err);
    if (rc < 0) return rc;
    if (t->in[0]->dtype == GRAFT_BF16 && t->in[1]->dtype == GRAFT_BF16) t->out_dtype[0] = GRAFT_BF16;
    return 0;
}

static graft_value relu_grad_node(graft_graph *g, graft_value dy, graft_value y) {
    graft_value dx;
    graft_graph_node(g, &graft_op_relu_grad, NULL, (graft_value[]){dy, y}, 2, &dx);
    return dx;
}

static void relu_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                          graft_value *din) {
    if (wanted[0]) din[0] = relu_grad_node(g, dout[0], n->out[0]);
}

static void add_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                         graft_value *din) {
    const graft_add_attr *a = n->attr;
    graft_value d = a->relu ? relu_grad_node(g, dout[0], n->out[0]) : dout[0];
    if (wanted[0]) din[0] = d;
    if (wanted[1]) din[1] = d;
}

static void sum_into_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                              const bool *wanted, graft_value *din) {
    (void)g;
    (void)n;
    if (wanted[0]) din[0] = dout[0];
    if (wanted[1]) din[1] = dout[0];
}

static double positive(double x) {
    return x > 0 || x != x ? x : 0; /* a NaN stays one, so that it is seen */
}

static void relu_reference(const graft_op_call *c) {
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = positive(c->in[0][i]);
}

static void relu_grad_reference(const graft_op_call *c) {
    const double *dy = c->in[0], *y = c->in[1];
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = y[i] > 0 ? dy[i] : 0;
}

static void add_reference(const graft_op_call *c) {
    const graft_add_attr *attr = c->attr;
    const double *a = c->in[0], *b = c->in[1];
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) {
        double sum = a[i] + b[i];
        c->out[0][i] = attr->relu ? positive(sum) : sum;
    }
}

static void sum_into_reference(const graft_op_call *c) {
    const double *a = c->in[0], *b = c->in[1];
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = a[i] + b[i];
}

static const graft_op_case relu_cases[] = {
    {.name = "odd picture", .n_in = 1, .in = {{4, {3, 5, 7, 3}}}},
    {.name = "whole blocks", .n_in = 1, .in = {{4, {1, 32, 4, 4}}}},
    {.name = "features", .n_in = 1, .in = {{2, {3, 17}}}, .low = {-1e4}, .high = {1e4}},
    {.name = "exact zeros", .n_in = 1, .in = {{2, {4, 9}}}, .low = {-2}, .high = {3}, .whole = 1},
};
const graft_op graft_op_relu = {
    .name = "relu",
    .n_out = 1,
    .shape = relu_shape,
    .grad = relu_gradient,
    .reference = relu_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = relu_cases,
    .n_cases = GRAFT_COUNT(relu_cases),
};

static const graft_op_case relu_grad_cases[] = {
    {.name = "odd picture", .n_in = 2, .in = {{4, {3, 5, 7, 3}}, {4, {3, 5, 7, 3}}}},
    {.name = "whole blocks", .n_in = 2, .in = {{4, {1, 32, 4, 4}}, {4, {1, 32, 4, 4}}}},
    {.name = "zeros pass nothing",
     .n_in = 2,
     .in = {{2, {5, 7}}, {2, {5, 7}}},
     .low = {-1, -1},
     .high = {1, 2},
     .whole = 2},
};
const graft_op graft_op_relu_grad = {
    .name = "relu_grad",
    .n_out = 1,
    .shape = relu_grad_shape,
    .reference = relu_grad_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = relu_grad_cases,
    .n_cases = GRAFT_COUNT(relu_grad_cases),
};

static const graft_op_case add_cases[] = {
    {.name = "odd picture",
     .attr = &(const graft_add_attr){0},
     .n_in = 2,
     .in = {{4, {3, 5, 7, 3}}, {4, {3, 5, 7, 3}}}},
    {.name = "whole blocks",
     .attr = &(const graft_add_attr){0},
     .n_in = 2,
     .in = {{4, {1, 32, 4, 4}}, {4, {1, 32, 4, 4}}}},
    {.name = "odd picture, relu",
     .attr = &(const graft_add_attr){1},
     .n_in = 2,
     .in = {{4, {3, 5, 7, 3}}, {4, {3, 5, 7, 3}}}},
    {.name = "features, relu",
     .attr = &(const graft_add_attr){1},
     .n_in = 2,
     .in = {{2, {2, 33}}, {2, {2, 33}}}},
};
const graft_op graft_op_add = {
    .name = "add",
    .attr_size = sizeof(graft_add_attr),
    .n_out = 1,
    .shape = add_shape,
    .grad = add_gradient,
    .reference = add_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = add_cases,
    .n_cases = GRAFT_COUNT(add_cases),
};

static const graft_op_case sum_into_cases[] = {
    {.name = "weights", .n_in = 2, .in = {{4, {5, 3, 3, 3}}, {4, {5, 3, 3, 3}}}},
    {.name = "activations", .n_in = 2, .in = {{4, {3, 16, 5, 5}}, {4, {3, 16, 5, 5}}}},
    {.name = "bias", .n_in = 2, .in = {{1, {7}}, {1, {7}}}},
};
const graft_op graft_op_sum_into = {
    .name = "sum_into",
    .n_out = 1,
    .shape = sum_into_shape,
    .grad = sum_into_gradient,
    .reference = sum_into_reference,
    .alias = {0, -1, -1, -1},
    .cases = sum_into_cases,
    .n_cases = GRAFT_COUNT(sum_into_cases),
};

graft_value graft_relu(graft_graph *g, graft_value x) {
    graft_value y;
    graft_graph_node(g, &graft_op_relu, NULL, &x, 1, &y);
    return y;
}

graft_value graft_add(graft_graph *g, graft_value a, graft_value b, int32_t relu) {
    graft_value y;
    graft_graph_node(g, &graft_op_add, &(graft_add_attr){relu}, (graft_value[]){a, b}, 2, &y);
    return y;
}

graft_value graft_sum_into(graft_graph *g, graft_value a, graft_value b) {
    graft_value y;
    graft_graph_node(g, &graft_op_sum_into, NULL, (graft_value[]){a, b}, 2, &y);
    return y;
}
