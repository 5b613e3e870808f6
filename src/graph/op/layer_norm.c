/* Layer norm over the last dim of rows (Ba et al. 2016, "Layer normalization"):
 *   y = (x - m) r gamma + beta with m = mean(x), r = 1 / sqrt(mean((x - m)^2) + eps) of each row.
 * Backwards, with h = (x - m) r and e = dy gamma: dx = r (e - mean(e) - h mean(e h)). */
#include "graph/op/rule.h"

#include <math.h>
#include <string.h>

static const graft_rule_input forward_inputs[] = {
    {.name = "x"}, {.name = "gamma"}, {.name = "beta", .optional = true}};
static const graft_rule_input grad_inputs[] = {
    {.name = "dy"}, {.name = "x"}, {.name = "gamma"}, {.name = "mean"}, {.name = "rstd"}};

static int layer_norm_shape(const graft_op_types *t, graft_err *err) {
    const graft_layer_norm_attr *a = t->attr;
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (!graft_rule_is_rows(x)) return graft_rule_fail(t, forward_inputs, err, "x must be (N,D) or (N,L,D)");
    const int64_t width = graft_rule_width(x);
    if (!graft_rule_is_vector(t, 1, width) || !graft_rule_is_vector(t, 2, width))
        return graft_rule_fail(t, forward_inputs, err, "gamma and beta must be (D)");
    if (!(a->eps > 0)) return graft_rule_fail(t, forward_inputs, err, "eps is %g, not above 0", a->eps);
    graft_rule_copy(t, 0, 0);
    for (size_t o = 1; o < 3; o++) t->out_shape[o] = graft_rule_a_row(x);
    return 0;
}

static int layer_norm_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[1]->shape;
    if (!graft_rule_is_rows(x) || !graft_rule_same(t, 0, 1))
        return graft_rule_fail(t, grad_inputs, err, "dy and x must be (N,D) or (N,L,D)");
    if (!graft_rule_is_vector(t, 2, graft_rule_width(x)))
        return graft_rule_fail(t, grad_inputs, err, "gamma must be (D)");
    const graft_shape a_row = graft_rule_a_row(x);
    if (!graft_shape_equal(&t->in[3]->shape, &a_row) || !graft_shape_equal(&t->in[4]->shape, &a_row))
        return graft_rule_fail(t, grad_inputs, err, "mean and rstd must have one number a row");
    graft_rule_copy(t, 0, 1);
    for (size_t o = 1; o < 3; o++) graft_rule_copy(t, o, 2);
    return 0;
}

static void layer_norm_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    graft_value out[3];
    if (dout[1] != GRAFT_NONE || dout[2] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "layer norm has no gradient with respect to its statistics");
        return;
    }
    graft_graph_node(g, &graft_op_layer_norm_grad, NULL,
                     (graft_value[]){dout[0], n->in[0], n->in[1], n->out[1], n->out[2]}, 5, out);
    for (size_t i = 0; i < 3; i++)
        if (wanted[i]) din[i] = out[i];
}

static void layer_norm_reference(const graft_op_call *c) {
    const graft_layer_norm_attr *a = c->attr;
    const double *gamma = c->in[1], *beta = c->in[2];
    const int64_t n_rows = graft_rule_n_rows(&c->in_shape[0]), width = graft_rule_width(&c->in_shape[0]);
    for (int64_t n = 0; n < n_rows; n++) {
        const double *x = c->in[0] + n * width;
        double *y = c->out[0] + n * width, mean = 0, variance = 0;
        for (int64_t d = 0; d < width; d++) mean += x[d] / (double)width;
        for (int64_t d = 0; d < width; d++) variance += (x[d] - mean) * (x[d] - mean) / (double)width;
        double rstd = 1 / sqrt(variance + a->eps);
        for (int64_t d = 0; d < width; d++)
            y[d] = (x[d] - mean) * rstd * gamma[d] + (beta != NULL ? beta[d] : 0);
        c->out[1][n] = mean;
        c->out[2][n] = rstd;
    }
}

static void layer_norm_grad_reference(const graft_op_call *c) {
    const double *gamma = c->in[2];
    const int64_t n_rows = graft_rule_n_rows(&c->in_shape[1]), width = graft_rule_width(&c->in_shape[1]);
    double *dgamma = c->out[1], *dbeta = c->out[2];
    memset(dgamma, 0, (size_t)width * sizeof *dgamma);
    memset(dbeta, 0, (size_t)width * sizeof *dbeta);
    for (int64_t n = 0; n < n_rows; n++) {
        const double *dy = c->in[0] + n * width, *x = c->in[1] + n * width;
        double *dx = c->out[0] + n * width, mean = c->in[3][n], rstd = c->in[4][n], e = 0, eh = 0;
        for (int64_t d = 0; d < width; d++) {
            double h = (x[d] - mean) * rstd;
            dgamma[d] += dy[d] * h;
            dbeta[d] += dy[d];
            e += dy[d] * gamma[d] / (double)width;
            eh += dy[d] * gamma[d] * h / (double)width;
        }
        for (int64_t d = 0; d < width; d++) dx[d] = rstd * (dy[d] * gamma[d] - e - (x[d] - mean) * rstd * eh);
    }
}

static const graft_layer_norm_attr small = {1e-12}, usual = {1e-5};

static const graft_op_case layer_norm_cases[] = {
    {.name = "odd", .attr = &small, .n_in = 3, .in = {{2, {3, 7}}, {1, {7}}, {1, {7}}}},
    {.name = "without beta", .attr = &usual, .n_in = 3, .in = {{2, {5, 33}}, {1, {33}}, {-1, {0}}}},
    {.name = "far from zero",
     .attr = &usual,
     .n_in = 3,
     .in = {{2, {70, 64}}, {1, {64}}, {1, {64}}},
     .low = {20},
     .high = {24}},
    {.name = "wide rows", .attr = &small, .n_in = 3, .in = {{2, {2, 769}}, {1, {769}}, {1, {769}}}},
    {.name = "several rows a sample",
     .attr = &small,
     .n_in = 3,
     .in = {{3, {3, 5, 33}}, {1, {33}}, {1, {33}}}},
};
const graft_op graft_op_layer_norm = {
    .name = "layer_norm",
    .attr_size = sizeof(graft_layer_norm_attr),
    .n_out = 3,
    .shape = layer_norm_shape,
    .grad = layer_norm_gradient,
    .reference = layer_norm_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = layer_norm_cases,
    .n_cases = GRAFT_COUNT(layer_norm_cases),
};

static const graft_op_case layer_norm_grad_cases[] = {
    {.name = "odd",
     .n_in = 5,
     .in = {{2, {3, 7}}, {2, {3, 7}}, {1, {7}}, {1, {3}}, {1, {3}}},
     .low = {[4] = 0.5},
     .high = {[4] = 2}},
    {.name = "more rows than one piece",
     .n_in = 5,
     .in = {{2, {150, 33}}, {2, {150, 33}}, {1, {33}}, {1, {150}}, {1, {150}}},
     .low = {[4] = 0.5},
     .high = {[4] = 2}},
    {.name = "wide rows",
     .n_in = 5,
     .in = {{2, {2, 769}}, {2, {2, 769}}, {1, {769}}, {1, {2}}, {1, {2}}},
     .low = {[4] = 0.5},
     .high = {[4] = 2}},
    {.name = "several rows a sample",
     .n_in = 5,
     .in = {{3, {3, 5, 33}}, {3, {3, 5, 33}}, {1, {33}}, {2, {3, 5}}, {2, {3, 5}}},
     .low = {[4] = 0.5},
     .high = {[4] = 2}},
};
const graft_op graft_op_layer_norm_grad = {
    .name = "layer_norm_grad",
    .n_out = 3,
    .shape = layer_norm_grad_shape,
    .reference = layer_norm_grad_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = layer_norm_grad_cases,
    .n_cases = GRAFT_COUNT(layer_norm_grad_cases),
};

graft_value graft_layer_norm(graft_graph *g, graft_value x, graft_value gamma, graft_value beta, double eps) {
    graft_value out[3];
    graft_graph_node(g, &graft_op_layer_norm, &(graft_layer_norm_attr){eps}, (graft_value[]){x, gamma, beta},
                     3, out);
    return out[0];
}
