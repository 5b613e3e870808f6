/* Two-dimensional convolution (cross-correlation, as every framework has it):
 *   y[n,o,h,w] = b[o] + sum_{i,r,s} x[n, g I + i, h stride - pad + r dilation, w stride - pad + s dilation]
 * w[o,i,r,s] where I = C / groups, g = o / (O / groups) and x is 0 outside its borders. With a residual fused
 * (fuse.c) it serves inference only. Dumoulin and Visin 2016, "A guide to convolution arithmetic
 * for deep learning". */
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {
    {.name = "x"}, {.name = "w"}, {.name = "b", .optional = true}, {.name = "residual", .optional = true}};
static const graft_rule_input dx_inputs[] = {{.name = "dy"}, {.name = "w"}, {.name = "x"}};
static const graft_rule_input dw_inputs[] = {{.name = "x"}, {.name = "dy"}, {.name = "w"}};

/* Verifies x and w (inputs ix, iw) and gives y's shape. */
static int result_shape(const graft_op_types *t, const graft_rule_input *in, size_t ix, size_t iw,
                        graft_shape *y, graft_err *err) {
    const graft_conv_attr *a = t->attr;
    const graft_shape *x = &t->in[ix]->shape, *w = &t->in[iw]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x)) return graft_rule_fail(t, in, err, "x must be (N,C,H,W)");
    if (w->rank != 4 || w->dims[0] < 1 || !graft_rule_is_batched(w))
        return graft_rule_fail(t, in, err, "w must be (O, C/groups, KH, KW)");
    if (a->groups < 1 || x->dims[1] % a->groups != 0 || w->dims[0] % a->groups != 0)
        return graft_rule_fail(t, in, err, "%d groups do not divide the channels", (int)a->groups);
    if (w->dims[1] != x->dims[1] / a->groups)
        return graft_rule_fail(t, in, err, "w takes %lld channels a group where x has %lld (%d groups)",
                               (long long)w->dims[1], (long long)(x->dims[1] / a->groups), (int)a->groups);
    *y = (graft_shape){.rank = 4, .dims = {x->dims[0], w->dims[0]}};
    for (int d = 0; d < 2; d++) {
        if (!graft_rule_window(x->dims[2 + d], w->dims[2 + d], a->stride[d], a->pad[d], a->dilation[d],
                               &y->dims[2 + d]))
            return graft_rule_fail(t, in, err, "the window does not fit (stride %d, pad %d, dilation %d)",
                                   (int)a->stride[d], (int)a->pad[d], (int)a->dilation[d]);
    }
    return 0;
}

static int conv2d_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc == 0) rc = result_shape(t, forward_inputs, 0, 1, &t->out_shape[0], err);
    if (rc < 0) return rc;
    if (!graft_rule_is_vector(t, 2, t->out_shape[0].dims[1]))
        return graft_rule_fail(t, forward_inputs, err, "b must have one number an output channel");
    if (t->in[3] != NULL && !graft_shape_equal(&t->in[3]->shape, &t->out_shape[0]))
        return graft_rule_fail(t, forward_inputs, err, "residual must have the result's shape");
    return 0;
}

static int conv2d_dx_shape(const graft_op_types *t, graft_err *err) {
    graft_shape y;
    int rc = graft_rule_inputs(t, dx_inputs, GRAFT_COUNT(dx_inputs), err);
    if (rc == 0) rc = result_shape(t, dx_inputs, 2, 1, &y, err);
    if (rc < 0) return rc;
    if (!graft_shape_equal(&t->in[0]->shape, &y))
        return graft_rule_fail(t, dx_inputs, err, "dy must have the result's shape");
    graft_rule_copy(t, 0, 2);
    return 0;
}

static int conv2d_dw_shape(const graft_op_types *t, graft_err *err) {
    graft_shape y;
    int rc = graft_rule_inputs(t, dw_inputs, GRAFT_COUNT(dw_inputs), err);
    if (rc == 0) rc = result_shape(t, dw_inputs, 0, 2, &y, err);
    if (rc < 0) return rc;
    if (!graft_shape_equal(&t->in[1]->shape, &y))
        return graft_rule_fail(t, dw_inputs, err, "dy must have the result's shape");
    graft_rule_copy(t, 0, 2);
    t->out_shape[1] = (graft_shape){.rank = 1, .dims = {y.dims[1]}};
    return 0;
}

static void conv2d_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                            graft_value *din) {
    const graft_conv_attr *a = n->attr;
    graft_conv_attr bare = *a;
    graft_value x = n->in[0], w = n->in[1], dy = dout[0];
    if (n->in[3] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "gradient of a fused conv2d: fuse only what is not trained");
        return;
    }
    bare.relu = 0;
    if (a->relu) graft_graph_node(g, &graft_op_relu_grad, NULL, (graft_value[]){dout[0], n->out[0]}, 2, &dy);
    if (wanted[0]) graft_graph_node(g, &graft_op_conv2d_dx, &bare, (graft_value[]){dy, w, x}, 3, &din[0]);
    if (wanted[1] || wanted[2]) {
        graft_value out[2];
        graft_graph_node(g, &graft_op_conv2d_dw, &bare, (graft_value[]){x, dy, w}, 3, out);
        if (wanted[1]) din[1] = out[0];
        if (wanted[2]) din[2] = out[1];
    }
}

/* A convolution's numbers under short names; x is (N,C,H,W), w (O,I,R,S), y (N,O,P,Q). */
typedef struct conv {
    const graft_conv_attr *a;
    const graft_shape *x, *w, *y;
} conv;

/* Calls tap(context, ix, iw, iy) with offsets for every product x w that goes into y. */
static void each_product(const conv *c, void (*tap)(void *context, int64_t ix, int64_t iw, int64_t iy),
                         void *context) {
    const graft_conv_attr *a = c->a;
    int64_t outs = c->w->dims[0] / a->groups, ins = c->w->dims[1];
    for (int64_t n = 0; n < c->y->dims[0]; n++)
        for (int64_t o = 0; o < c->y->dims[1]; o++)
            for (int64_t p = 0; p < c->y->dims[2]; p++)
                for (int64_t q = 0; q < c->y->dims[3]; q++)
                    for (int64_t i = 0; i < ins; i++)
                        for (int64_t r = 0; r < c->w->dims[2]; r++)
                            for (int64_t s = 0; s < c->w->dims[3]; s++) {
                                int64_t h = p * a->stride[0] - a->pad[0] + r * a->dilation[0];
                                int64_t w = q * a->stride[1] - a->pad[1] + s * a->dilation[1];
                                if (h < 0 || h >= c->x->dims[2] || w < 0 || w >= c->x->dims[3]) continue;
                                tap(context, graft_rule_at(c->x, n, o / outs * ins + i, h, w),
                                    graft_rule_at(c->w, o, i, r, s), graft_rule_at(c->y, n, o, p, q));
                            }
}

typedef struct arrays {
    const double *x, *w, *dy;
    double *y, *dx, *dw;
} arrays;

static void tap_forward(void *context, int64_t ix, int64_t iw, int64_t iy) {
    arrays *v = context;
    v->y[iy] += v->x[ix] * v->w[iw];
}

static void tap_dx(void *context, int64_t ix, int64_t iw, int64_t iy) {
    arrays *v = context;
    v->dx[ix] += v->dy[iy] * v->w[iw];
}

static void tap_dw(void *context, int64_t ix, int64_t iw, int64_t iy) {
    arrays *v = context;
    v->dw[iw] += v->dy[iy] * v->x[ix];
}

static void conv2d_reference(const graft_op_call *c) {
    const graft_shape *y = &c->out_shape[0];
    const double *b = c->in[2], *residual = c->in[3];
    conv numbers = {c->attr, &c->in_shape[0], &c->in_shape[1], y};
    int64_t n = graft_rule_count(y), plane = graft_rule_inner(y);
    for (int64_t i = 0; i < n; i++) {
        double start = b != NULL ? b[i / plane % y->dims[1]] : 0;
        c->out[0][i] = start + (residual != NULL ? residual[i] : 0); /* y may lie where residual does */
    }
    each_product(&numbers, tap_forward, &(arrays){.x = c->in[0], .w = c->in[1], .y = c->out[0]});
    if (!numbers.a->relu) return;
    for (int64_t i = 0; i < n; i++) {
        if (c->out[0][i] < 0) c->out[0][i] = 0;
    }
}

static void conv2d_dx_reference(const graft_op_call *c) {
    conv numbers = {c->attr, &c->in_shape[2], &c->in_shape[1], &c->in_shape[0]};
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = 0;
    each_product(&numbers, tap_dx, &(arrays){.dy = c->in[0], .w = c->in[1], .dx = c->out[0]});
}

static void conv2d_dw_reference(const graft_op_call *c) {
    const graft_shape *y = &c->in_shape[1];
    const double *dy = c->in[1];
    conv numbers = {c->attr, &c->in_shape[0], &c->in_shape[2], y};
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = 0;
    each_product(&numbers, tap_dw, &(arrays){.x = c->in[0], .dy = dy, .dw = c->out[0]});
    for (int64_t o = 0; o < y->dims[1]; o++) c->out[1][o] = 0;
    int64_t plane = graft_rule_inner(y);
    for (int64_t i = 0; i < graft_rule_count(y); i++) c->out[1][i / plane % y->dims[1]] += dy[i];
}

/* The same geometries serve the three ops; X, W, Y name their shapes. */
#define DENSE(s, p)                                                                                          \
    &(const graft_conv_attr) {                                                                               \
        .stride = {s, s}, .pad = {p, p}, .dilation = {1, 1}, .groups = 1                                     \
    }
#define FUSED(s, p)                                                                                          \
    &(const graft_conv_attr) {                                                                               \
        .stride = {s, s}, .pad = {p, p}, .dilation = {1, 1}, .groups = 1, .relu = 1                          \
    }
static const graft_conv_attr grouped = {.stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 2};
static const graft_conv_attr depthwise = {.stride = {2, 2}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 16};
static const graft_conv_attr dilated = {.stride = {1, 1}, .pad = {2, 2}, .dilation = {2, 2}, .groups = 1};
static const graft_conv_attr lopsided = {.stride = {2, 1}, .pad = {0, 2}, .dilation = {1, 3}, .groups = 1};
#define NO_B                                                                                                 \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case conv2d_cases[] = {
    {.name = "3x3",
     .attr = DENSE(1, 1),
     .n_in = 4,
     .in = {{4, {1, 16, 6, 6}}, {4, {16, 16, 3, 3}}, NO_B, NO_B}},
    {.name = "3x3 of odd sizes with b",
     .attr = DENSE(1, 1),
     .n_in = 4,
     .in = {{4, {3, 5, 7, 9}}, {4, {6, 5, 3, 3}}, {1, {6}}, NO_B}},
    {.name = "3x3 stride 2",
     .attr = DENSE(2, 1),
     .n_in = 4,
     .in = {{4, {3, 7, 9, 8}}, {4, {18, 7, 3, 3}}, NO_B, NO_B}},
    {.name = "1x1",
     .attr = DENSE(1, 0),
     .n_in = 4,
     .in = {{4, {3, 32, 5, 5}}, {4, {16, 32, 1, 1}}, {1, {16}}, NO_B}},
    {.name = "1x1 stride 2",
     .attr = DENSE(2, 0),
     .n_in = 4,
     .in = {{4, {1, 16, 7, 7}}, {4, {32, 16, 1, 1}}, NO_B, NO_B}},
    {.name = "7x7 stride 2",
     .attr = DENSE(2, 3),
     .n_in = 4,
     .in = {{4, {1, 3, 17, 16}}, {4, {16, 3, 7, 7}}, NO_B, NO_B}},
    {.name = "windows side by side",
     .attr = DENSE(8, 0),
     .n_in = 4,
     .in = {{4, {3, 3, 32, 32}}, {4, {4, 3, 8, 8}}, NO_B, NO_B}},
    {.name = "grouped",
     .attr = &grouped,
     .n_in = 4,
     .in = {{4, {3, 6, 5, 5}}, {4, {10, 3, 3, 3}}, {1, {10}}, NO_B}},
    {.name = "depthwise",
     .attr = &depthwise,
     .n_in = 4,
     .in = {{4, {1, 16, 7, 7}}, {4, {16, 1, 3, 3}}, {1, {16}}, NO_B}},
    {.name = "dilated",
     .attr = &dilated,
     .n_in = 4,
     .in = {{4, {1, 5, 8, 8}}, {4, {7, 5, 3, 3}}, NO_B, NO_B}},
    {.name = "lopsided",
     .attr = &lopsided,
     .n_in = 4,
     .in = {{4, {3, 4, 9, 7}}, {4, {5, 4, 3, 2}}, {1, {5}}, NO_B}},
    {.name = "kernel as large as x",
     .attr = DENSE(1, 0),
     .n_in = 4,
     .in = {{4, {3, 16, 4, 4}}, {4, {3, 16, 4, 4}}, {1, {3}}, NO_B}},
    {.name = "fused relu",
     .attr = FUSED(1, 1),
     .n_in = 4,
     .in = {{4, {3, 16, 5, 5}}, {4, {16, 16, 3, 3}}, {1, {16}}, NO_B}},
    {.name = "fused residual and relu",
     .attr = FUSED(1, 0),
     .n_in = 4,
     .in = {{4, {1, 16, 5, 5}}, {4, {32, 16, 1, 1}}, {1, {32}}, {4, {1, 32, 5, 5}}}},
    {.name = "fused residual, odd sizes",
     .attr = DENSE(2, 1),
     .n_in = 4,
     .in = {{4, {3, 5, 7, 7}}, {4, {9, 5, 3, 3}}, {1, {9}}, {4, {3, 9, 4, 4}}}},
};
const graft_op graft_op_conv2d = {
    .name = "conv2d",
    .attr_size = sizeof(graft_conv_attr),
    .n_out = 1,
    .shape = conv2d_shape,
    .grad = conv2d_gradient,
    .reference = conv2d_reference,
    .alias = {3, -1, -1, -1}, /* products are summed onto the residual */
    .bf16 = 1,
    .cases = conv2d_cases,
    .n_cases = GRAFT_COUNT(conv2d_cases),
};

static const graft_op_case conv2d_dx_cases[] = {
    {.name = "3x3",
     .attr = DENSE(1, 1),
     .n_in = 3,
     .in = {{4, {1, 16, 6, 6}}, {4, {16, 16, 3, 3}}, {4, {1, 16, 6, 6}}}},
    {.name = "3x3 of odd sizes",
     .attr = DENSE(1, 1),
     .n_in = 3,
     .in = {{4, {3, 6, 7, 9}}, {4, {6, 5, 3, 3}}, {4, {3, 5, 7, 9}}}},
    {.name = "3x3 stride 2",
     .attr = DENSE(2, 1),
     .n_in = 3,
     .in = {{4, {3, 18, 5, 4}}, {4, {18, 7, 3, 3}}, {4, {3, 7, 9, 8}}}},
    {.name = "1x1 stride 2",
     .attr = DENSE(2, 0),
     .n_in = 3,
     .in = {{4, {1, 32, 4, 4}}, {4, {32, 16, 1, 1}}, {4, {1, 16, 7, 7}}}},
    {.name = "7x7 stride 2",
     .attr = DENSE(2, 3),
     .n_in = 3,
     .in = {{4, {1, 16, 9, 8}}, {4, {16, 3, 7, 7}}, {4, {1, 3, 17, 16}}}},
    {.name = "windows side by side",
     .attr = DENSE(8, 0),
     .n_in = 3,
     .in = {{4, {3, 4, 4, 4}}, {4, {4, 3, 8, 8}}, {4, {3, 3, 32, 32}}}},
    {.name = "grouped",
     .attr = &grouped,
     .n_in = 3,
     .in = {{4, {3, 10, 5, 5}}, {4, {10, 3, 3, 3}}, {4, {3, 6, 5, 5}}}},
    {.name = "depthwise",
     .attr = &depthwise,
     .n_in = 3,
     .in = {{4, {1, 16, 4, 4}}, {4, {16, 1, 3, 3}}, {4, {1, 16, 7, 7}}}},
    {.name = "dilated",
     .attr = &dilated,
     .n_in = 3,
     .in = {{4, {1, 7, 8, 8}}, {4, {7, 5, 3, 3}}, {4, {1, 5, 8, 8}}}},
    {.name = "lopsided",
     .attr = &lopsided,
     .n_in = 3,
     .in = {{4, {3, 5, 4, 8}}, {4, {5, 4, 3, 2}}, {4, {3, 4, 9, 7}}}},
};
const graft_op graft_op_conv2d_dx = {
    .name = "conv2d_dx",
    .attr_size = sizeof(graft_conv_attr),
    .n_out = 1,
    .shape = conv2d_dx_shape,
    .reference = conv2d_dx_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 2,
    .cases = conv2d_dx_cases,
    .n_cases = GRAFT_COUNT(conv2d_dx_cases),
};

static const graft_op_case conv2d_dw_cases[] = {
    {.name = "3x3",
     .attr = DENSE(1, 1),
     .n_in = 3,
     .in = {{4, {1, 16, 6, 6}}, {4, {1, 16, 6, 6}}, {4, {16, 16, 3, 3}}}},
    {.name = "3x3 of odd sizes",
     .attr = DENSE(1, 1),
     .n_in = 3,
     .in = {{4, {3, 5, 7, 9}}, {4, {3, 6, 7, 9}}, {4, {6, 5, 3, 3}}}},
    {.name = "3x3 stride 2",
     .attr = DENSE(2, 1),
     .n_in = 3,
     .in = {{4, {3, 7, 9, 8}}, {4, {3, 18, 5, 4}}, {4, {18, 7, 3, 3}}}},
    {.name = "1x1 stride 2",
     .attr = DENSE(2, 0),
     .n_in = 3,
     .in = {{4, {1, 16, 7, 7}}, {4, {1, 32, 4, 4}}, {4, {32, 16, 1, 1}}}},
    {.name = "7x7 stride 2",
     .attr = DENSE(2, 3),
     .n_in = 3,
     .in = {{4, {1, 3, 17, 16}}, {4, {1, 16, 9, 8}}, {4, {16, 3, 7, 7}}}},
    {.name = "windows side by side",
     .attr = DENSE(8, 0),
     .n_in = 3,
     .in = {{4, {3, 3, 32, 32}}, {4, {3, 4, 4, 4}}, {4, {4, 3, 8, 8}}}},
    {.name = "grouped",
     .attr = &grouped,
     .n_in = 3,
     .in = {{4, {3, 6, 5, 5}}, {4, {3, 10, 5, 5}}, {4, {10, 3, 3, 3}}}},
    {.name = "depthwise",
     .attr = &depthwise,
     .n_in = 3,
     .in = {{4, {1, 16, 7, 7}}, {4, {1, 16, 4, 4}}, {4, {16, 1, 3, 3}}}},
    {.name = "dilated",
     .attr = &dilated,
     .n_in = 3,
     .in = {{4, {1, 5, 8, 8}}, {4, {1, 7, 8, 8}}, {4, {7, 5, 3, 3}}}},
    {.name = "lopsided",
     .attr = &lopsided,
     .n_in = 3,
     .in = {{4, {3, 4, 9, 7}}, {4, {3, 5, 4, 8}}, {4, {5, 4, 3, 2}}}},
};
const graft_op graft_op_conv2d_dw = {
    .name = "conv2d_dw",
    .attr_size = sizeof(graft_conv_attr),
    .n_out = 2,
    .shape = conv2d_dw_shape,
    .reference = conv2d_dw_reference,
    .alias = {-1, -1, -1, -1},
    .shape_only = 1u << 2,
    .cases = conv2d_dw_cases,
    .n_cases = GRAFT_COUNT(conv2d_dw_cases),
};

graft_value graft_conv2d(graft_graph *g, graft_value x, graft_value w, graft_value b, graft_value residual,
                         graft_conv_attr a) {
    graft_value y;
    graft_graph_node(g, &graft_op_conv2d, &a, (graft_value[]){x, w, b, residual}, 4, &y);
    return y;
}
