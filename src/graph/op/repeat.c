/* What all samples share, once for each: y[b, ...] = x[0, ...]. How many samples there are, another value
 * says. The gradient is the sum over the samples. */
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {{.name = "x"}, {.name = "like"}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"}, {.name = "x"}};

static bool is_one(const graft_shape *x) {
    return x->rank >= 2 && graft_rule_is_batched(x) && x->dims[0] == 1;
}

static int repeat_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape, *like = &t->in[1]->shape;
    if (!is_one(x) || !graft_rule_is_batched(like))
        return graft_rule_fail(t, forward_inputs, err, "x must be (1,...) and like (N,...)");
    graft_rule_copy(t, 0, 0);
    t->out_shape[0].dims[0] = like->dims[0];
    return 0;
}

static int repeat_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *x = &t->in[1]->shape;
    bool fits = is_one(x) && dy->rank == x->rank && graft_rule_is_batched(dy);
    for (int d = 1; fits && d < x->rank; d++) fits = dy->dims[d] == x->dims[d];
    if (!fits) return graft_rule_fail(t, grad_inputs, err, "x must be (1,...) and dy (N,...)");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void repeat_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                            graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_repeat_grad, NULL, (graft_value[]){dout[0], n->in[0]}, 2, &din[0]);
}

static void repeat_reference(const graft_op_call *c) {
    const int64_t n = graft_rule_count(&c->in_shape[0]);
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = c->in[0][i % n];
}

static void repeat_grad_reference(const graft_op_call *c) {
    const int64_t n = graft_rule_count(&c->out_shape[0]);
    for (int64_t i = 0; i < n; i++) c->out[0][i] = 0;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[0]); i++) c->out[0][i % n] += c->in[0][i];
}

static const graft_op_case repeat_cases[] = {
    {.name = "row", .n_in = 2, .in = {{2, {1, 5}}, {2, {3, 7}}}},
    {.name = "token", .n_in = 2, .in = {{3, {1, 1, 33}}, {4, {5, 3, 2, 2}}}},
    {.name = "positions", .n_in = 2, .in = {{3, {1, 9, 6}}, {3, {4, 9, 6}}}},
    {.name = "one sample", .n_in = 2, .in = {{2, {1, 16}}, {1, {1}}}},
};
const graft_op graft_op_repeat = {
    .name = "repeat",
    .n_out = 1,
    .shape = repeat_shape,
    .grad = repeat_gradient,
    .reference = repeat_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = repeat_cases,
    .n_cases = GRAFT_COUNT(repeat_cases),
};

static const graft_op_case repeat_grad_cases[] = {
    {.name = "row", .n_in = 2, .in = {{2, {3, 5}}, {2, {1, 5}}}},
    {.name = "token", .n_in = 2, .in = {{3, {133, 1, 33}}, {3, {1, 1, 33}}}},
    {.name = "positions", .n_in = 2, .in = {{3, {4, 9, 6}}, {3, {1, 9, 6}}}},
};
const graft_op graft_op_repeat_grad = {
    .name = "repeat_grad",
    .n_out = 1,
    .shape = repeat_grad_shape,
    .reference = repeat_grad_reference,
    .alias = {-1, -1, -1, -1},
    .shape_only = 1u << 1,
    .cases = repeat_grad_cases,
    .n_cases = GRAFT_COUNT(repeat_grad_cases),
};

graft_value graft_repeat(graft_graph *g, graft_value x, graft_value like) {
    graft_value y;
    graft_graph_node(g, &graft_op_repeat, NULL, (graft_value[]){x, like}, 2, &y);
    return y;
}
