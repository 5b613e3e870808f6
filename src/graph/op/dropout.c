/* Inverted dropout (Srivastava et al. 2014): y = x / (1 - p) where kept, else 0. Which elements are kept is a
 * function of the seeds (mix.h), so the gradient needs no mask: dx = dy / (1 - p) at the same places. */
#include "graph/op/mix.h"
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {{.name = "x"}, {.name = "seed", .dtype = GRAFT_I32}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"}, {.name = "seed", .dtype = GRAFT_I32}};

static int masked_shape(const graft_op_types *t, const graft_rule_input *in, graft_err *err) {
    const graft_dropout_attr *a = t->attr;
    int rc = graft_rule_inputs(t, in, 2, err);
    if (rc < 0) return rc;
    if (!graft_rule_is_batched(&t->in[0]->shape))
        return graft_rule_fail(t, in, err, "%s must be (N,...)", in[0].name);
    if (!graft_rule_is_vector(t, 1, 2)) return graft_rule_fail(t, in, err, "seed must be (2)");
    if (!(a->p >= 0 && a->p < 1)) return graft_rule_fail(t, in, err, "p is %g, not in 0 <= p < 1", a->p);
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int dropout_shape(const graft_op_types *t, graft_err *err) {
    return masked_shape(t, forward_inputs, err);
}

static int dropout_grad_shape(const graft_op_types *t, graft_err *err) {
    return masked_shape(t, grad_inputs, err);
}

static void dropout_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_dropout_grad, n->attr, (graft_value[]){dout[0], n->in[1]}, 2, &din[0]);
}

static void mask_reference(const graft_op_call *c) {
    const graft_dropout_attr *a = c->attr;
    int32_t seed[2] = {(int32_t)c->in[1][0], (int32_t)c->in[1][1]};
    int64_t n_samples = c->in_shape[0].dims[0], size = graft_rule_count(&c->in_shape[0]) / n_samples;
    for (int64_t n = 0; n < n_samples; n++) {
        graft_dropout_key key = graft_dropout_key_of(seed, a->salt, n);
        for (int64_t i = 0; i < size; i++) {
            bool kept = graft_dropout_keeps(key, (uint32_t)i, graft_dropout_threshold(a->p));
            c->out[0][n * size + i] = kept ? c->in[0][n * size + i] / (1 - a->p) : 0;
        }
    }
}

static const graft_dropout_attr half = {.p = 0.5}, tenth = {.p = 0.1, .salt = 3}, none = {.p = 0};

static const graft_op_case dropout_cases[] = {
    {.name = "features",
     .attr = &half,
     .n_in = 2,
     .in = {{2, {3, 33}}, {1, {2}}},
     .dtype = {[1] = GRAFT_I32},
     .low = {[1] = -9e8},
     .high = {[1] = 9e8},
     .whole = 2},
    {.name = "picture",
     .attr = &tenth,
     .n_in = 2,
     .in = {{4, {3, 5, 4, 3}}, {1, {2}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 99},
     .whole = 2},
    {.name = "nothing dropped",
     .attr = &none,
     .n_in = 2,
     .in = {{2, {1, 64}}, {1, {2}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 99},
     .whole = 2},
};
const graft_op graft_op_dropout = {
    .name = "dropout",
    .attr_size = sizeof(graft_dropout_attr),
    .n_out = 1,
    .shape = dropout_shape,
    .grad = dropout_gradient,
    .reference = mask_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = dropout_cases,
    .n_cases = GRAFT_COUNT(dropout_cases),
};
const graft_op graft_op_dropout_grad = {
    .name = "dropout_grad",
    .attr_size = sizeof(graft_dropout_attr),
    .n_out = 1,
    .shape = dropout_grad_shape,
    .reference = mask_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = dropout_cases,
    .n_cases = GRAFT_COUNT(dropout_cases),
};

static graft_value drop(graft_graph *g, graft_value x, graft_value seed, graft_dropout_attr a) {
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        if (graft_graph_node_at(g, i)->op == &graft_op_dropout) a.salt++;
    }
    graft_value y;
    graft_graph_node(g, &graft_op_dropout, &a, (graft_value[]){x, seed}, 2, &y);
    return y;
}

graft_value graft_dropout(graft_graph *g, graft_value x, graft_value seed, double p) {
    return drop(g, x, seed, (graft_dropout_attr){.p = p});
}

graft_value graft_dropout_lasting(graft_graph *g, graft_value x, graft_value seed, double p) {
    return drop(g, x, seed, (graft_dropout_attr){.p = p, .lasts = 1});
}
