/* y = factor x, of any shape; its gradient is itself. */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input x_only[] = {{.name = "x"}};

static int scale_shape(const graft_op_types *t, graft_err *err) {
    const graft_scale_attr *a = t->attr;
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    if (rc < 0) return rc;
    if (!isfinite(a->factor)) return graft_rule_fail(t, x_only, err, "the factor is not finite");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static void scale_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                           graft_value *din) {
    if (wanted[0]) graft_graph_node(g, &graft_op_scale, n->attr, &dout[0], 1, &din[0]);
}

static void scale_reference(const graft_op_call *c) {
    const graft_scale_attr *a = c->attr;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = a->factor * c->in[0][i];
}

static const graft_scale_attr twice = {2}, less = {-0.35355339059327373};

static const graft_op_case scale_cases[] = {
    {.name = "number", .attr = &less, .n_in = 1, .in = {{0, {0}}}},
    {.name = "features", .attr = &twice, .n_in = 1, .in = {{2, {33, 8}}}},
    {.name = "odd picture", .attr = &less, .n_in = 1, .in = {{4, {3, 5, 7, 3}}}},
    {.name = "whole blocks", .attr = &twice, .n_in = 1, .in = {{4, {2, 16, 4, 4}}}},
};
const graft_op graft_op_scale = {
    .name = "scale",
    .attr_size = sizeof(graft_scale_attr),
    .n_out = 1,
    .shape = scale_shape,
    .grad = scale_gradient,
    .reference = scale_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = scale_cases,
    .n_cases = GRAFT_COUNT(scale_cases),
};

graft_value graft_scale(graft_graph *g, graft_value x, double factor) {
    graft_value y;
    graft_graph_node(g, &graft_op_scale, &(graft_scale_attr){factor}, &x, 1, &y);
    return y;
}
