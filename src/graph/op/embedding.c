/* Rows of a table, one for each token: y[t] = table[ids[t]]. The gradient of the table is dense: every token
 * adds its dy to the row that it read, in the order of the tokens. */
#include "graph/op/rule.h"

#include <string.h>

static const graft_rule_input forward_inputs[] = {{.name = "table"}, {.name = "ids", .dtype = GRAFT_I32}};
static const graft_rule_input dw_inputs[] = {
    {.name = "dy"}, {.name = "ids", .dtype = GRAFT_I32}, {.name = "table"}};

static bool is_matrix(const graft_shape *s) {
    return s->rank == 2 && graft_rule_is_batched(s);
}

static int embedding_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *table = &t->in[0]->shape, *ids = &t->in[1]->shape;
    if (!is_matrix(table) || table->dims[0] < 1 || ids->rank != 1 || !graft_rule_is_batched(ids))
        return graft_rule_fail(t, forward_inputs, err, "table must be (V,D) and ids (T)");
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {ids->dims[0], table->dims[1]}};
    return 0;
}

static int embedding_dw_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, dw_inputs, GRAFT_COUNT(dw_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *ids = &t->in[1]->shape, *table = &t->in[2]->shape;
    if (!is_matrix(dy) || !is_matrix(table) || ids->rank != 1 || ids->dims[0] != dy->dims[0] ||
        table->dims[1] != dy->dims[1])
        return graft_rule_fail(t, dw_inputs, err, "dy must be (T,D), ids (T) and table (V,D)");
    graft_rule_copy(t, 0, 2);
    return 0;
}

static void embedding_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                               const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_embedding_dw, NULL, (graft_value[]){dout[0], n->in[1], n->in[0]}, 3,
                         &din[0]);
}

static void embedding_reference(const graft_op_call *c) {
    const int64_t width = c->out_shape[0].dims[1];
    for (int64_t t = 0; t < c->out_shape[0].dims[0]; t++) {
        const double *row = c->in[0] + (int64_t)c->in[1][t] * width;
        for (int64_t d = 0; d < width; d++) c->out[0][t * width + d] = row[d];
    }
}

static void embedding_dw_reference(const graft_op_call *c) {
    const int64_t width = c->out_shape[0].dims[1];
    memset(c->out[0], 0, (size_t)graft_rule_count(&c->out_shape[0]) * sizeof(double));
    for (int64_t t = 0; t < c->in_shape[0].dims[0]; t++) {
        double *row = c->out[0] + (int64_t)c->in[1][t] * width;
        for (int64_t d = 0; d < width; d++) row[d] += c->in[0][t * width + d];
    }
}

static const double repeated[] = {4, 0, 4, 4, 2};

static const graft_op_case embedding_cases[] = {
    {.name = "odd",
     .n_in = 2,
     .in = {{2, {5, 7}}, {1, {9}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 5},
     .whole = 2},
    {.name = "a token several times",
     .n_in = 2,
     .in = {{2, {6, 33}}, {1, {5}}},
     .dtype = {[1] = GRAFT_I32},
     .data = {[1] = repeated}},
    {.name = "one token",
     .n_in = 2,
     .in = {{2, {3, 64}}, {1, {1}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 3},
     .whole = 2},
};
const graft_op graft_op_embedding = {
    .name = "embedding",
    .n_out = 1,
    .shape = embedding_shape,
    .grad = embedding_gradient,
    .reference = embedding_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = embedding_cases,
    .n_cases = GRAFT_COUNT(embedding_cases),
};

static const graft_op_case embedding_dw_cases[] = {
    {.name = "odd",
     .n_in = 3,
     .in = {{2, {9, 7}}, {1, {9}}, {2, {5, 7}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 5},
     .whole = 2},
    {.name = "a token several times, others never",
     .n_in = 3,
     .in = {{2, {5, 33}}, {1, {5}}, {2, {6, 33}}},
     .dtype = {[1] = GRAFT_I32},
     .data = {[1] = repeated}},
    {.name = "many rows",
     .n_in = 3,
     .in = {{2, {40, 16}}, {1, {40}}, {2, {300, 16}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 300},
     .whole = 2},
};
const graft_op graft_op_embedding_dw = {
    .name = "embedding_dw",
    .n_out = 1,
    .shape = embedding_dw_shape,
    .reference = embedding_dw_reference,
    .alias = {-1, -1, -1, -1},
    .shape_only = 1u << 2,
    .cases = embedding_dw_cases,
    .n_cases = GRAFT_COUNT(embedding_dw_cases),
};

graft_value graft_embedding(graft_graph *g, graft_value table, graft_value ids) {
    graft_value y;
    graft_graph_node(g, &graft_op_embedding, NULL, (graft_value[]){table, ids}, 2, &y);
    return y;
}
