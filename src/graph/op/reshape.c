/* Ops that only move values: flatten, and the parameter-free shortcut of CIFAR ResNets (He et al. 2016,
 * option A): y[n, front + c, h, w] = x[n, c, stride h, stride w], zero in the `front` and `back` channels
 * added. */
#include "graph/op/rule.h"

static const graft_rule_input x_only[] = {{.name = "x"}};
static const graft_rule_input dy_and_x[] = {{.name = "dy"}, {.name = "x"}};

static int subsampled_shape(const graft_op_types *t, const graft_rule_input *in, size_t ix, graft_shape *y,
                            graft_err *err) {
    const graft_subsample_attr *a = t->attr;
    const graft_shape *x = &t->in[ix]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x)) return graft_rule_fail(t, in, err, "x must be (N,C,H,W)");
    if (a->front < 0 || a->back < 0)
        return graft_rule_fail(t, in, err, "%d and %d channels cannot be added", (int)a->front, (int)a->back);
    *y = (graft_shape){.rank = 4, .dims = {x->dims[0], x->dims[1] + a->front + a->back}};
    for (int d = 2; d < 4; d++) {
        if (!graft_rule_window(x->dims[d], 1, a->stride, 0, 1, &y->dims[d]))
            return graft_rule_fail(t, in, err, "stride %d is not possible", (int)a->stride);
    }
    return 0;
}

static int subsample_pad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    return rc < 0 ? rc : subsampled_shape(t, x_only, 0, &t->out_shape[0], err);
}

static int subsample_pad_grad_shape(const graft_op_types *t, graft_err *err) {
    graft_shape y;
    int rc = graft_rule_inputs(t, dy_and_x, GRAFT_COUNT(dy_and_x), err);
    if (rc == 0) rc = subsampled_shape(t, dy_and_x, 1, &y, err);
    if (rc < 0) return rc;
    if (!graft_shape_equal(&t->in[0]->shape, &y))
        return graft_rule_fail(t, dy_and_x, err, "dy must have the result's shape");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static int flat_shape(const graft_op_types *t, const graft_rule_input *in, size_t ix, graft_shape *y,
                      graft_err *err) {
    const graft_shape *x = &t->in[ix]->shape;
    if (x->rank < 2 || !graft_rule_is_batched(x)) return graft_rule_fail(t, in, err, "x must be (N,C,...)");
    graft_shape rest = {.rank = x->rank - 1};
    for (int d = 1; d < x->rank; d++) rest.dims[d - 1] = x->dims[d];
    *y = (graft_shape){.rank = 2, .dims = {x->dims[0]}};
    if (!graft_shape_count(&rest, &y->dims[1])) return graft_rule_fail(t, in, err, "x has too many elements");
    return 0;
}

static int flatten_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    return rc < 0 ? rc : flat_shape(t, x_only, 0, &t->out_shape[0], err);
}

static int flatten_grad_shape(const graft_op_types *t, graft_err *err) {
    graft_shape y;
    int rc = graft_rule_inputs(t, dy_and_x, GRAFT_COUNT(dy_and_x), err);
    if (rc == 0) rc = flat_shape(t, dy_and_x, 1, &y, err);
    if (rc < 0) return rc;
    if (!graft_shape_equal(&t->in[0]->shape, &y))
        return graft_rule_fail(t, dy_and_x, err, "dy must have the result's shape");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void subsample_pad_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                   const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_subsample_pad_grad, n->attr, (graft_value[]){dout[0], n->in[0]}, 2,
                         &din[0]);
}

static void flatten_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_flatten_grad, NULL, (graft_value[]){dout[0], n->in[0]}, 2, &din[0]);
}

static void subsample_pad_reference(const graft_op_call *c) {
    const graft_subsample_attr *a = c->attr;
    const graft_shape *xs = &c->in_shape[0], *ys = &c->out_shape[0];
    for (int64_t n = 0; n < ys->dims[0]; n++)
        for (int64_t k = 0; k < ys->dims[1]; k++)
            for (int64_t h = 0; h < ys->dims[2]; h++)
                for (int64_t w = 0; w < ys->dims[3]; w++) {
                    bool inside = k >= a->front && k < a->front + xs->dims[1];
                    c->out[0][graft_rule_at(ys, n, k, h, w)] =
                        inside ? c->in[0][graft_rule_at(xs, n, k - a->front, h * a->stride, w * a->stride)]
                               : 0;
                }
}

static void subsample_pad_grad_reference(const graft_op_call *c) {
    const graft_subsample_attr *a = c->attr;
    const graft_shape *xs = &c->out_shape[0], *ys = &c->in_shape[0];
    for (int64_t n = 0; n < xs->dims[0]; n++)
        for (int64_t k = 0; k < xs->dims[1]; k++)
            for (int64_t h = 0; h < xs->dims[2]; h++)
                for (int64_t w = 0; w < xs->dims[3]; w++) {
                    bool taken = h % a->stride == 0 && w % a->stride == 0;
                    c->out[0][graft_rule_at(xs, n, k, h, w)] =
                        taken ? c->in[0][graft_rule_at(ys, n, k + a->front, h / a->stride, w / a->stride)]
                              : 0;
                }
}

static void copy_reference(const graft_op_call *c) {
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = c->in[0][i];
}

static const graft_subsample_attr cifar = {.stride = 2, .front = 8, .back = 8},
                                  uneven = {.stride = 3, .front = 1, .back = 2};
static const graft_subsample_attr crop_only = {.stride = 2};

static const graft_op_case subsample_pad_cases[] = {
    {.name = "cifar", .attr = &cifar, .n_in = 1, .in = {{4, {3, 16, 8, 8}}}},
    {.name = "uneven", .attr = &uneven, .n_in = 1, .in = {{4, {1, 5, 7, 9}}}},
    {.name = "no channels added", .attr = &crop_only, .n_in = 1, .in = {{4, {3, 16, 5, 4}}}},
};
const graft_op graft_op_subsample_pad = {
    .name = "subsample_pad",
    .attr_size = sizeof(graft_subsample_attr),
    .n_out = 1,
    .shape = subsample_pad_shape,
    .grad = subsample_pad_gradient,
    .reference = subsample_pad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = subsample_pad_cases,
    .n_cases = GRAFT_COUNT(subsample_pad_cases),
};

static const graft_op_case subsample_pad_grad_cases[] = {
    {.name = "cifar", .attr = &cifar, .n_in = 2, .in = {{4, {3, 32, 4, 4}}, {4, {3, 16, 8, 8}}}},
    {.name = "uneven", .attr = &uneven, .n_in = 2, .in = {{4, {1, 8, 3, 3}}, {4, {1, 5, 7, 9}}}},
};
const graft_op graft_op_subsample_pad_grad = {
    .name = "subsample_pad_grad",
    .attr_size = sizeof(graft_subsample_attr),
    .n_out = 1,
    .shape = subsample_pad_grad_shape,
    .reference = subsample_pad_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = subsample_pad_grad_cases,
    .n_cases = GRAFT_COUNT(subsample_pad_grad_cases),
};

static const graft_op_case flatten_cases[] = {
    {.name = "odd picture", .n_in = 1, .in = {{4, {3, 5, 2, 3}}}},
    {.name = "whole blocks", .n_in = 1, .in = {{4, {1, 16, 4, 4}}}},
    {.name = "flat already", .n_in = 1, .in = {{2, {3, 7}}}},
};
const graft_op graft_op_flatten = {
    .name = "flatten",
    .n_out = 1,
    .shape = flatten_shape,
    .grad = flatten_gradient,
    .reference = copy_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .view = true,
    .cases = flatten_cases,
    .n_cases = GRAFT_COUNT(flatten_cases),
};

static const graft_op_case flatten_grad_cases[] = {
    {.name = "odd picture", .n_in = 2, .in = {{2, {3, 30}}, {4, {3, 5, 2, 3}}}},
    {.name = "whole blocks", .n_in = 2, .in = {{2, {1, 256}}, {4, {1, 16, 4, 4}}}},
};
const graft_op graft_op_flatten_grad = {
    .name = "flatten_grad",
    .n_out = 1,
    .shape = flatten_grad_shape,
    .reference = copy_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .view = true,
    .shape_only = 1u << 1,
    .cases = flatten_grad_cases,
    .n_cases = GRAFT_COUNT(flatten_grad_cases),
};

graft_value graft_subsample_pad(graft_graph *g, graft_value x, int32_t stride, int32_t front, int32_t back) {
    graft_value y;
    graft_graph_node(g, &graft_op_subsample_pad, &(graft_subsample_attr){stride, front, back}, &x, 1, &y);
    return y;
}

graft_value graft_flatten(graft_graph *g, graft_value x) {
    graft_value y;
    graft_graph_node(g, &graft_op_flatten, NULL, &x, 1, &y);
    return y;
}
