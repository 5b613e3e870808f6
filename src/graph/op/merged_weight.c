/* A weight with a low-rank addition (Hu et al. 2022, "LoRA"), all three seen as matrices of their first dim
 * and the rest:
 *
 *     y (O,K) = w (O,K) + scale b (O,R) a (R,K)
 *     da = scale b^T dy       db = scale dy a^T       dw = dy
 *
 * so that a layer runs once with y, and its adapter costs three small products a step, however many rows or
 * pixels the layer sees. scale_rows, y (O,K) = factor (O) x (O,K), is for b where a batch norm has been
 * folded into w (fold.c). */
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {{.name = "w"}, {.name = "a"}, {.name = "b"}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"}, {.name = "a"}, {.name = "b"}};

/* Input 0 has the weight's shape, in both rows. */
static int verify(const graft_op_types *t, const graft_rule_input *in, graft_err *err) {
    int rc = graft_rule_inputs(t, in, 3, err);
    if (rc < 0) return rc;
    const graft_shape *w = &t->in[0]->shape, *a = &t->in[1]->shape, *b = &t->in[2]->shape;
    int64_t n;
    bool fits = w->rank >= 2 && a->rank == w->rank && b->rank == w->rank && graft_shape_count(w, &n) &&
                graft_shape_count(a, &n) && b->dims[0] == w->dims[0] && b->dims[1] == a->dims[0];
    for (int d = 1; fits && d < w->rank; d++) fits = a->dims[d] == w->dims[d] && (d == 1 || b->dims[d] == 1);
    if (!fits) return graft_rule_fail(t, in, err, "a must be (R,...) and b (O,R,1...) where w is (O,...)");
    return 0;
}

static int merged_weight_shape(const graft_op_types *t, graft_err *err) {
    int rc = verify(t, forward_inputs, err);
    if (rc == 0) graft_rule_copy(t, 0, 0);
    return rc;
}

static int merged_weight_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = verify(t, grad_inputs, err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 0, 1);
    graft_rule_copy(t, 1, 2);
    return 0;
}

static void merged_weight_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                   const bool *wanted, graft_value *din) {
    graft_value out[2];
    if (wanted[0]) din[0] = dout[0];
    if (!wanted[1] && !wanted[2]) return;
    graft_graph_node(g, &graft_op_merged_weight_grad, n->attr, (graft_value[]){dout[0], n->in[1], n->in[2]},
                     3, out);
    for (size_t i = 0; i < 2; i++)
        if (wanted[1 + i]) din[1 + i] = out[i];
}

/* O, R, K of a call. */
typedef struct sizes {
    int64_t outs, r, ins;
} sizes;

static sizes sizes_of(const graft_op_call *c) {
    const int64_t outs = c->in_shape[0].dims[0];
    return (sizes){outs, c->in_shape[1].dims[0], graft_rule_count(&c->in_shape[0]) / outs};
}

static void merged_weight_reference(const graft_op_call *c) {
    const double scale = ((const graft_scale_attr *)c->attr)->factor, *a = c->in[1], *b = c->in[2];
    const sizes s = sizes_of(c);
    for (int64_t o = 0; o < s.outs; o++)
        for (int64_t i = 0; i < s.ins; i++) {
            double sum = 0;
            for (int64_t k = 0; k < s.r; k++) sum += b[o * s.r + k] * a[k * s.ins + i];
            c->out[0][o * s.ins + i] = c->in[0][o * s.ins + i] + scale * sum;
        }
}

static void merged_weight_grad_reference(const graft_op_call *c) {
    const double scale = ((const graft_scale_attr *)c->attr)->factor, *dy = c->in[0], *a = c->in[1],
                 *b = c->in[2];
    const sizes s = sizes_of(c);
    for (int64_t k = 0; k < s.r; k++)
        for (int64_t i = 0; i < s.ins; i++) {
            double sum = 0;
            for (int64_t o = 0; o < s.outs; o++) sum += b[o * s.r + k] * dy[o * s.ins + i];
            c->out[0][k * s.ins + i] = scale * sum;
        }
    for (int64_t o = 0; o < s.outs; o++)
        for (int64_t k = 0; k < s.r; k++) {
            double sum = 0;
            for (int64_t i = 0; i < s.ins; i++) sum += dy[o * s.ins + i] * a[k * s.ins + i];
            c->out[1][o * s.r + k] = scale * sum;
        }
}

static const graft_scale_attr twice = {2}, half = {0.5};

static const graft_op_case merged_weight_cases[] = {
    {.name = "filter",
     .attr = &twice,
     .n_in = 3,
     .in = {{4, {6, 5, 3, 3}}, {4, {2, 5, 3, 3}}, {4, {6, 2, 1, 1}}}},
    {.name = "blocks",
     .attr = &half,
     .n_in = 3,
     .in = {{4, {32, 16, 3, 3}}, {4, {8, 16, 3, 3}}, {4, {32, 8, 1, 1}}}},
    {.name = "matrix", .attr = &half, .n_in = 3, .in = {{2, {7, 33}}, {2, {3, 33}}, {2, {7, 3}}}},
};
const graft_op graft_op_merged_weight = {
    .name = "merged_weight",
    .attr_size = sizeof(graft_scale_attr),
    .n_out = 1,
    .shape = merged_weight_shape,
    .grad = merged_weight_gradient,
    .reference = merged_weight_reference,
    .alias = {-1, -1, -1, -1},
    .cases = merged_weight_cases,
    .n_cases = GRAFT_COUNT(merged_weight_cases),
};

const graft_op graft_op_merged_weight_grad = {
    .name = "merged_weight_grad",
    .attr_size = sizeof(graft_scale_attr),
    .n_out = 2,
    .shape = merged_weight_grad_shape,
    .reference = merged_weight_grad_reference,
    .alias = {-1, -1, -1, -1},
    .cases = merged_weight_cases,
    .n_cases = GRAFT_COUNT(merged_weight_cases),
};

/* ---- Rows times factors ----------------------------------------------------------------------------------- */

static const graft_rule_input rows_inputs[] = {{.name = "x"}, {.name = "factor"}};

static int scale_rows_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, rows_inputs, GRAFT_COUNT(rows_inputs), err);
    if (rc < 0) return rc;
    int64_t n;
    if (t->in[0]->shape.rank < 1 || !graft_shape_count(&t->in[0]->shape, &n) ||
        !graft_rule_is_vector(t, 1, t->in[0]->shape.dims[0]))
        return graft_rule_fail(t, rows_inputs, err, "x must be (O,...) and factor (O)");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static void scale_rows_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    if (wanted[1]) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "gradient of the factors of rows");
        return;
    }
    graft_graph_node(g, &graft_op_scale_rows, NULL, (graft_value[]){dout[0], n->in[1]}, 2, &din[0]);
}

static void scale_rows_reference(const graft_op_call *c) {
    const int64_t rows = c->out_shape[0].dims[0], n = graft_rule_count(&c->out_shape[0]);
    for (int64_t i = 0; i < n; i++) c->out[0][i] = c->in[1][i / (n / rows)] * c->in[0][i];
}

static const graft_op_case scale_rows_cases[] = {
    {.name = "filter", .n_in = 2, .in = {{4, {6, 3, 1, 1}}, {1, {6}}}},
    {.name = "matrix", .n_in = 2, .in = {{2, {33, 8}}, {1, {33}}}},
};
const graft_op graft_op_scale_rows = {
    .name = "scale_rows",
    .n_out = 1,
    .shape = scale_rows_shape,
    .grad = scale_rows_gradient,
    .reference = scale_rows_reference,
    .alias = {-1, -1, -1, -1},
    .cases = scale_rows_cases,
    .n_cases = GRAFT_COUNT(scale_rows_cases),
};

graft_value graft_scale_rows(graft_graph *g, graft_value x, graft_value factor) {
    graft_value y;
    graft_graph_node(g, &graft_op_scale_rows, NULL, (graft_value[]){x, factor}, 2, &y);
    return y;
}

graft_value graft_merged_weight(graft_graph *g, graft_value w, graft_value a, graft_value b, double scale) {
    graft_value y;
    graft_graph_node(g, &graft_op_merged_weight, &(graft_scale_attr){scale}, (graft_value[]){w, a, b}, 3, &y);
    return y;
}
