/* Weights drawn towards others of the same shape.
 *   lerp  y = (1 - s) a + s b, s an input (1): a running average of b is drawn towards it. s 1 gives b's
 * bits. pull  d = dw + alpha (w - w0): the gradient of alpha / 2 |w - w0|^2 joins that of the loss (L2-SP; Li
 * et al. 2018, "Explicit inductive bias for transfer learning with convolutional networks") */
#include "graph/op/rule.h"

static const graft_rule_input lerp_inputs[] = {{.name = "a"}, {.name = "b"}, {.name = "share"}};
static const graft_rule_input pull_inputs[] = {{.name = "dw"}, {.name = "w"}, {.name = "w0"}};

static int lerp_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, lerp_inputs, GRAFT_COUNT(lerp_inputs), err);
    if (rc < 0) return rc;
    if (!graft_rule_same(t, 0, 1)) return graft_rule_fail(t, lerp_inputs, err, "b must have a's shape");
    if (!graft_rule_is_vector(t, 2, 1)) return graft_rule_fail(t, lerp_inputs, err, "share must be (1)");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int pull_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, pull_inputs, GRAFT_COUNT(pull_inputs), err);
    if (rc < 0) return rc;
    if (!graft_rule_same(t, 0, 1) || !graft_rule_same(t, 0, 2))
        return graft_rule_fail(t, pull_inputs, err, "w and w0 must have dw's shape");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static void lerp_reference(const graft_op_call *c) {
    double share = c->in[2][0];
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++)
        c->out[0][i] = (1 - share) * c->in[0][i] + share * c->in[1][i];
}

static void pull_reference(const graft_op_call *c) {
    const graft_pull_attr *a = c->attr;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++)
        c->out[0][i] = c->in[0][i] + a->alpha * (c->in[1][i] - c->in[2][i]);
}

static const graft_op_case lerp_cases[] = {
    {.name = "filter", .n_in = 3, .in = {{4, {5, 3, 3, 3}}, {4, {5, 3, 3, 3}}, {1, {1}}}, .high = {[2] = 1}},
    {.name = "matrix", .n_in = 3, .in = {{2, {16, 33}}, {2, {16, 33}}, {1, {1}}}, .high = {[2] = 0.01}},
    {.name = "all of it",
     .n_in = 3,
     .in = {{1, {67}}, {1, {67}}, {1, {1}}},
     .low = {[2] = 1},
     .high = {[2] = 1}},
};
const graft_op graft_op_lerp = {
    .name = "lerp",
    .n_out = 1,
    .shape = lerp_shape,
    .reference = lerp_reference,
    .alias = {0, -1, -1, -1},
    .cases = lerp_cases,
    .n_cases = GRAFT_COUNT(lerp_cases),
};

static const graft_op_case pull_cases[] = {
    {.name = "filter",
     .attr = &(const graft_pull_attr){0.1},
     .n_in = 3,
     .in = {{4, {5, 3, 3, 3}}, {4, {5, 3, 3, 3}}, {4, {5, 3, 3, 3}}}},
    {.name = "matrix",
     .attr = &(const graft_pull_attr){2.5},
     .n_in = 3,
     .in = {{2, {16, 33}}, {2, {16, 33}}, {2, {16, 33}}}},
};
const graft_op graft_op_pull = {
    .name = "pull",
    .attr_size = sizeof(graft_pull_attr),
    .n_out = 1,
    .shape = pull_shape,
    .reference = pull_reference,
    .alias = {0, -1, -1, -1},
    .cases = pull_cases,
    .n_cases = GRAFT_COUNT(pull_cases),
};

graft_value graft_lerp(graft_graph *g, graft_value a, graft_value b, graft_value share) {
    graft_value y;
    graft_graph_node(g, &graft_op_lerp, NULL, (graft_value[]){a, b, share}, 3, &y);
    return y;
}

graft_value graft_pull(graft_graph *g, graft_value dw, graft_value w, graft_value w0, double alpha) {
    graft_value y;
    graft_graph_node(g, &graft_op_pull, &(graft_pull_attr){alpha}, (graft_value[]){dw, w, w0}, 3, &y);
    return y;
}
