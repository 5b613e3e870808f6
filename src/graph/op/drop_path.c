/* Stochastic depth (Huang et al. 2016, "Deep networks with stochastic depth"), sample by sample: a residual
 * branch x of a sample is x / (1 - p) where it is kept, and 0 where not. Whether is a function of the seeds
 * and the sample (mix.h), so the gradient is the same op over dy. Of packed texts `spans` says which rows are
 * a sample's; rows of none are 0. */
#include "graph/op/mix.h"
#include "graph/op/rule.h"

static const graft_rule_input inputs[] = {{.name = "x"},
                                          {.name = "seed", .dtype = GRAFT_I32},
                                          {.name = "spans", .optional = true, .dtype = GRAFT_I32}};

static int drop_path_shape(const graft_op_types *t, graft_err *err) {
    const graft_dropout_attr *a = t->attr;
    int rc = graft_rule_inputs(t, inputs, GRAFT_COUNT(inputs), err);
    if (rc < 0) return rc;
    if (!graft_rule_is_batched(&t->in[0]->shape)) return graft_rule_fail(t, inputs, err, "x must be (N,...)");
    if (!graft_rule_is_vector(t, 1, 2)) return graft_rule_fail(t, inputs, err, "seed must be (2)");
    if (t->in[2] && (t->in[2]->shape.rank != 2 || t->in[2]->shape.dims[1] != 2))
        return graft_rule_fail(t, inputs, err, "spans must be (N,2)");
    if (!(a->p >= 0 && a->p < 1)) return graft_rule_fail(t, inputs, err, "p is %g, not in 0 <= p < 1", a->p);
    graft_rule_copy(t, 0, 0);
    return 0;
}

static void drop_path_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                               const bool *wanted, graft_value *din) {
    const graft_value in[] = {dout[0], n->in[1], n->in[2]};
    if (wanted[0]) graft_graph_node(g, &graft_op_drop_path, n->attr, in, GRAFT_COUNT(in), &din[0]);
}

static void drop_path_reference(const graft_op_call *c) {
    const graft_dropout_attr *a = c->attr;
    const double *spans = c->in[2];
    int32_t seed[2] = {(int32_t)c->in[1][0], (int32_t)c->in[1][1]};
    int64_t rows = c->in_shape[0].dims[0], size = graft_rule_count(&c->in_shape[0]) / rows;
    int64_t n_samples = spans ? c->in_shape[2].dims[0] : rows;
    for (int64_t i = 0; i < rows * size; i++) c->out[0][i] = 0;
    for (int64_t n = 0; n < n_samples; n++) {
        graft_tokens at = {n, 1};
        if (spans) at = graft_tokens_of((int64_t)spans[2 * n], (int64_t)spans[2 * n + 1], rows);
        if (!graft_path_keeps(seed, a->salt, n, a->p)) continue;
        for (int64_t i = at.first * size; i < (at.first + at.count) * size; i++)
            c->out[0][i] = c->in[0][i] / (1 - a->p);
    }
}

static const graft_dropout_attr half = {.p = 0.5, .salt = 2}, fifth = {.p = 0.2, .salt = 3}, none = {.p = 0};
static const double spans[] = {0, 3, 5, 1, 3, 2, 6, 0};

static const graft_op_case drop_path_cases[] = {
    {.name = "features",
     .attr = &half,
     .n_in = 3,
     .in = {{2, {9, 33}}, {1, {2}}, {-1, {0}}},
     .dtype = {[1] = GRAFT_I32},
     .low = {[1] = -9e8},
     .high = {[1] = 9e8},
     .whole = 2},
    {.name = "pictures",
     .attr = &fifth,
     .n_in = 3,
     .in = {{4, {5, 6, 4, 3}}, {1, {2}}, {-1, {0}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 99},
     .whole = 2},
    {.name = "texts and padding",
     .attr = &half,
     .n_in = 3,
     .in = {{2, {8, 17}}, {1, {2}}, {2, {4, 2}}},
     .dtype = {[1] = GRAFT_I32, [2] = GRAFT_I32},
     .data = {[2] = spans},
     .high = {[1] = 99},
     .whole = 2},
    {.name = "nothing dropped",
     .attr = &none,
     .n_in = 3,
     .in = {{2, {3, 16}}, {1, {2}}, {-1, {0}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 99},
     .whole = 2},
};
const graft_op graft_op_drop_path = {
    .name = "drop_path",
    .attr_size = sizeof(graft_dropout_attr),
    .n_out = 1,
    .shape = drop_path_shape,
    .grad = drop_path_gradient,
    .reference = drop_path_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = drop_path_cases,
    .n_cases = GRAFT_COUNT(drop_path_cases),
};

graft_value graft_drop_path(graft_graph *g, graft_value x, graft_value seed, graft_value spans_of_x,
                            double p) {
    graft_dropout_attr a = {.p = p};
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++)
        a.salt += graft_graph_node_at(g, i)->op == &graft_op_drop_path;
    graft_value y;
    graft_graph_node(g, &graft_op_drop_path, &a, (graft_value[]){x, seed, spans_of_x}, 3, &y);
    return y;
}
