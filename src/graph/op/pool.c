/* Pooling over the windows of each channel of x (N,C,H,W): the largest value (padding never wins; of equals
 * the first in row order, whose offset within the window is kept for the gradient), the mean (padding counts
 * as zeros), the mean of everything. */
#include "graph/op/rule.h"

static const graft_rule_input x_only[] = {{.name = "x"}};
static const graft_rule_input dy_and_x[] = {{.name = "dy"}, {.name = "x"}};
static const graft_rule_input max_grad_inputs[] = {
    {.name = "dy"}, {.name = "index", .dtype = GRAFT_I32}, {.name = "x"}};

/* PyTorch's ceil_mode: ceil in place of floor, but no window begins behind the picture and its left padding.
 */
static int64_t with_last(const graft_pool_attr *a, int d, int64_t n, int64_t y) {
    const int64_t rest = (n + 2 * (int64_t)a->pad[d] - a->kernel[d]) % a->stride[d];
    return rest > 0 && y * a->stride[d] < n + a->pad[d] ? y + 1 : y;
}

static int pooled_shape(const graft_op_types *t, const graft_rule_input *in, size_t ix, graft_shape *y,
                        graft_err *err) {
    const graft_pool_attr *a = t->attr;
    const graft_shape *x = &t->in[ix]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x)) return graft_rule_fail(t, in, err, "x must be (N,C,H,W)");
    *y = *x;
    for (int d = 0; d < 2; d++) {
        if (a->pad[d] > a->kernel[d] / 2)
            return graft_rule_fail(t, in, err, "pad %d is more than half the window %d", (int)a->pad[d],
                                   (int)a->kernel[d]);
        if (!graft_rule_window(x->dims[2 + d], a->kernel[d], a->stride[d], a->pad[d], 1, &y->dims[2 + d]))
            return graft_rule_fail(t, in, err, "the window does not fit (kernel %d, stride %d, pad %d)",
                                   (int)a->kernel[d], (int)a->stride[d], (int)a->pad[d]);
        if (a->ceil) y->dims[2 + d] = with_last(a, d, x->dims[2 + d], y->dims[2 + d]);
    }
    return 0;
}

static int max_pool2d_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    if (rc == 0) rc = pooled_shape(t, x_only, 0, &t->out_shape[0], err);
    if (rc < 0) return rc;
    t->out_shape[1] = t->out_shape[0];
    t->out_dtype[1] = GRAFT_I32;
    return 0;
}

static int max_pool2d_grad_shape(const graft_op_types *t, graft_err *err) {
    graft_shape y;
    int rc = graft_rule_inputs(t, max_grad_inputs, GRAFT_COUNT(max_grad_inputs), err);
    if (rc == 0) rc = pooled_shape(t, max_grad_inputs, 2, &y, err);
    if (rc < 0) return rc;
    if (!graft_shape_equal(&t->in[0]->shape, &y) || !graft_rule_same(t, 0, 1))
        return graft_rule_fail(t, max_grad_inputs, err, "dy and index must have the result's shape");
    graft_rule_copy(t, 0, 2);
    return 0;
}

static int avg_pool2d_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    if (rc == 0 && ((const graft_pool_attr *)t->attr)->ceil)
        rc = graft_rule_fail(t, x_only, err, "a mean takes no window that reaches past the padding");
    return rc < 0 ? rc : pooled_shape(t, x_only, 0, &t->out_shape[0], err);
}

static int avg_pool2d_grad_shape(const graft_op_types *t, graft_err *err) {
    graft_shape y;
    int rc = graft_rule_inputs(t, dy_and_x, GRAFT_COUNT(dy_and_x), err);
    if (rc == 0) rc = pooled_shape(t, dy_and_x, 1, &y, err);
    if (rc < 0) return rc;
    if (!graft_shape_equal(&t->in[0]->shape, &y))
        return graft_rule_fail(t, dy_and_x, err, "dy must have the result's shape");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static int global_avg_pool_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x))
        return graft_rule_fail(t, x_only, err, "x must be (N,C,H,W)");
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {x->dims[0], x->dims[1]}};
    return 0;
}

static int global_avg_pool_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, dy_and_x, GRAFT_COUNT(dy_and_x), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *x = &t->in[1]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x) || dy->rank != 2 || dy->dims[0] != x->dims[0] ||
        dy->dims[1] != x->dims[1])
        return graft_rule_fail(t, dy_and_x, err, "x must be (N,C,H,W) and dy (N,C)");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void max_pool2d_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_max_pool2d_grad, n->attr, (graft_value[]){dout[0], n->out[1], n->in[0]},
                         3, &din[0]);
}

static void avg_pool2d_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_avg_pool2d_grad, n->attr, (graft_value[]){dout[0], n->in[0]}, 2,
                         &din[0]);
}

static void global_avg_pool_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                     const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_global_avg_pool_grad, NULL, (graft_value[]){dout[0], n->in[0]}, 2,
                         &din[0]);
}

/* The part of x (one plane H by W) that the window of y[p, q] covers. */
typedef struct window {
    int64_t top, left; /* of the whole window, may lie in the padding */
    int64_t h0, h1, w0, w1;
} window;

static window window_at(const graft_pool_attr *a, const graft_shape *x, int64_t p, int64_t q) {
    window v = {.top = p * a->stride[0] - a->pad[0], .left = q * a->stride[1] - a->pad[1]};
    v.h0 = v.top < 0 ? 0 : v.top;
    v.w0 = v.left < 0 ? 0 : v.left;
    v.h1 = v.top + a->kernel[0] > x->dims[2] ? x->dims[2] : v.top + a->kernel[0];
    v.w1 = v.left + a->kernel[1] > x->dims[3] ? x->dims[3] : v.left + a->kernel[1];
    return v;
}

static void max_pool2d_reference(const graft_op_call *c) {
    const graft_pool_attr *a = c->attr;
    const graft_shape *xs = &c->in_shape[0], *ys = &c->out_shape[0];
    int64_t n_planes = xs->dims[0] * xs->dims[1], x_plane = graft_rule_inner(xs),
            y_plane = graft_rule_inner(ys);
    for (int64_t plane = 0; plane < n_planes; plane++) {
        const double *x = c->in[0] + plane * x_plane;
        for (int64_t i = 0; i < y_plane; i++) {
            window v = window_at(a, xs, i / ys->dims[3], i % ys->dims[3]);
            double best = x[v.h0 * xs->dims[3] + v.w0];
            int64_t at = (v.h0 - v.top) * a->kernel[1] + (v.w0 - v.left);
            for (int64_t h = v.h0; h < v.h1; h++) {
                for (int64_t w = v.w0; w < v.w1; w++) {
                    double value = x[h * xs->dims[3] + w];
                    if (!(value > best || value != value)) continue; /* a NaN wins, so that it is seen */
                    best = value;
                    at = (h - v.top) * a->kernel[1] + (w - v.left);
                }
            }
            c->out[0][plane * y_plane + i] = best;
            c->out[1][plane * y_plane + i] = (double)at;
        }
    }
}

static void max_pool2d_grad_reference(const graft_op_call *c) {
    const graft_pool_attr *a = c->attr;
    const graft_shape *xs = &c->out_shape[0], *ys = &c->in_shape[0];
    int64_t x_plane = graft_rule_inner(xs), y_plane = graft_rule_inner(ys);
    for (int64_t i = 0; i < graft_rule_count(xs); i++) c->out[0][i] = 0;
    for (int64_t i = 0; i < graft_rule_count(ys); i++) {
        int64_t at = (int64_t)c->in[1][i], q = i % ys->dims[3], p = i % y_plane / ys->dims[3];
        int64_t h = p * a->stride[0] - a->pad[0] + at / a->kernel[1],
                w = q * a->stride[1] - a->pad[1] + at % a->kernel[1];
        c->out[0][i / y_plane * x_plane + h * xs->dims[3] + w] += c->in[0][i];
    }
}

static void avg_pool2d_reference(const graft_op_call *c) {
    const graft_pool_attr *a = c->attr;
    const graft_shape *xs = &c->in_shape[0], *ys = &c->out_shape[0];
    int64_t x_plane = graft_rule_inner(xs), y_plane = graft_rule_inner(ys);
    for (int64_t i = 0; i < graft_rule_count(ys); i++) {
        window v = window_at(a, xs, i % y_plane / ys->dims[3], i % ys->dims[3]);
        double sum = 0;
        for (int64_t h = v.h0; h < v.h1; h++)
            for (int64_t w = v.w0; w < v.w1; w++)
                sum += c->in[0][i / y_plane * x_plane + h * xs->dims[3] + w];
        c->out[0][i] = sum / (double)a->kernel[0] / (double)a->kernel[1];
    }
}

static void avg_pool2d_grad_reference(const graft_op_call *c) {
    const graft_pool_attr *a = c->attr;
    const graft_shape *xs = &c->out_shape[0], *ys = &c->in_shape[0];
    int64_t x_plane = graft_rule_inner(xs), y_plane = graft_rule_inner(ys);
    for (int64_t i = 0; i < graft_rule_count(xs); i++) c->out[0][i] = 0;
    for (int64_t i = 0; i < graft_rule_count(ys); i++) {
        window v = window_at(a, xs, i % y_plane / ys->dims[3], i % ys->dims[3]);
        double part = c->in[0][i] / (double)a->kernel[0] / (double)a->kernel[1];
        for (int64_t h = v.h0; h < v.h1; h++)
            for (int64_t w = v.w0; w < v.w1; w++)
                c->out[0][i / y_plane * x_plane + h * xs->dims[3] + w] += part;
    }
}

static void global_avg_pool_reference(const graft_op_call *c) {
    int64_t plane = graft_rule_inner(&c->in_shape[0]);
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) {
        double sum = 0;
        for (int64_t j = 0; j < plane; j++) sum += c->in[0][i * plane + j];
        c->out[0][i] = sum / (double)plane;
    }
}

static void global_avg_pool_grad_reference(const graft_op_call *c) {
    int64_t plane = graft_rule_inner(&c->out_shape[0]);
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++)
        c->out[0][i] = c->in[0][i / plane] / (double)plane;
}

static const graft_pool_attr stem = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}};
static const graft_pool_attr halves = {.kernel = {2, 2}, .stride = {2, 2}};
static const graft_pool_attr overlapping = {.kernel = {3, 3}, .stride = {1, 1}};
static const graft_pool_attr lopsided = {.kernel = {3, 2}, .stride = {2, 3}, .pad = {1, 0}};

static const graft_pool_attr up = {.kernel = {3, 3}, .stride = {2, 2}, .ceil = 1};
static const graft_pool_attr up_padded = {.kernel = {2, 3}, .stride = {3, 2}, .pad = {1, 1}, .ceil = 1};

static const graft_op_case max_pool2d_cases[] = {
    {.name = "a last window past the end", .attr = &up, .n_in = 1, .in = {{4, {2, 16, 8, 6}}}},
    {.name = "none is left over", .attr = &up, .n_in = 1, .in = {{4, {2, 5, 9, 7}}}},
    {.name = "a last window and padding", .attr = &up_padded, .n_in = 1, .in = {{4, {2, 5, 7, 8}}}},
    {.name = "none begins in the padding", .attr = &up_padded, .n_in = 1, .in = {{4, {2, 5, 8, 7}}}},
    {.name = "stem", .attr = &stem, .n_in = 1, .in = {{4, {1, 16, 8, 8}}}},
    {.name = "stem of odd sizes", .attr = &stem, .n_in = 1, .in = {{4, {3, 5, 9, 7}}}},
    {.name = "halves", .attr = &halves, .n_in = 1, .in = {{4, {3, 16, 6, 7}}}},
    {.name = "all equal",
     .attr = &stem,
     .n_in = 1,
     .in = {{4, {1, 3, 7, 7}}},
     .low = {1},
     .high = {1},
     .whole = 1},
    {.name = "many ties",
     .attr = &stem,
     .n_in = 1,
     .in = {{4, {3, 16, 8, 8}}},
     .low = {0},
     .high = {3},
     .whole = 1},
    {.name = "all negative", .attr = &stem, .n_in = 1, .in = {{4, {1, 5, 6, 6}}}, .low = {-9}, .high = {-8}},
    {.name = "lopsided", .attr = &lopsided, .n_in = 1, .in = {{4, {3, 4, 9, 8}}}},
};
const graft_op graft_op_max_pool2d = {
    .name = "max_pool2d",
    .attr_size = sizeof(graft_pool_attr),
    .n_out = 2,
    .shape = max_pool2d_shape,
    .grad = max_pool2d_gradient,
    .reference = max_pool2d_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = max_pool2d_cases,
    .n_cases = GRAFT_COUNT(max_pool2d_cases),
};

/* Without padding every offset within the window is one that the forward op may give. */
static const graft_op_case max_pool2d_grad_cases[] = {
    {.name = "halves",
     .attr = &halves,
     .n_in = 3,
     .in = {{4, {3, 16, 3, 3}}, {4, {3, 16, 3, 3}}, {4, {3, 16, 6, 7}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 4},
     .whole = 2},
    {.name = "overlapping",
     .attr = &overlapping,
     .n_in = 3,
     .in = {{4, {1, 5, 4, 6}}, {4, {1, 5, 4, 6}}, {4, {1, 5, 6, 8}}},
     .dtype = {[1] = GRAFT_I32},
     .high = {[1] = 9},
     .whole = 2},
    {.name = "overlapping at one offset",
     .attr = &overlapping,
     .n_in = 3,
     .in = {{4, {3, 16, 3, 3}}, {4, {3, 16, 3, 3}}, {4, {3, 16, 5, 5}}},
     .dtype = {[1] = GRAFT_I32},
     .low = {[1] = 4},
     .high = {[1] = 5},
     .whole = 2},
    {.name = "stem at the middle",
     .attr = &stem,
     .n_in = 3,
     .in = {{4, {3, 16, 4, 4}}, {4, {3, 16, 4, 4}}, {4, {3, 16, 8, 7}}},
     .dtype = {[1] = GRAFT_I32},
     .low = {[1] = 4},
     .high = {[1] = 5},
     .whole = 2},
};
const graft_op graft_op_max_pool2d_grad = {
    .name = "max_pool2d_grad",
    .attr_size = sizeof(graft_pool_attr),
    .n_out = 1,
    .shape = max_pool2d_grad_shape,
    .reference = max_pool2d_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 2,
    .cases = max_pool2d_grad_cases,
    .n_cases = GRAFT_COUNT(max_pool2d_grad_cases),
};

static const graft_op_case avg_pool2d_cases[] = {
    {.name = "halves", .attr = &halves, .n_in = 1, .in = {{4, {1, 16, 6, 6}}}},
    {.name = "with padding", .attr = &stem, .n_in = 1, .in = {{4, {3, 5, 7, 8}}}},
    {.name = "lopsided", .attr = &lopsided, .n_in = 1, .in = {{4, {3, 4, 9, 8}}}},
};
const graft_op graft_op_avg_pool2d = {
    .name = "avg_pool2d",
    .attr_size = sizeof(graft_pool_attr),
    .n_out = 1,
    .shape = avg_pool2d_shape,
    .grad = avg_pool2d_gradient,
    .reference = avg_pool2d_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = avg_pool2d_cases,
    .n_cases = GRAFT_COUNT(avg_pool2d_cases),
};

static const graft_op_case avg_pool2d_grad_cases[] = {
    {.name = "halves", .attr = &halves, .n_in = 2, .in = {{4, {1, 16, 3, 3}}, {4, {1, 16, 6, 6}}}},
    {.name = "with padding", .attr = &stem, .n_in = 2, .in = {{4, {3, 5, 4, 4}}, {4, {3, 5, 7, 8}}}},
    {.name = "lopsided", .attr = &lopsided, .n_in = 2, .in = {{4, {3, 4, 5, 3}}, {4, {3, 4, 9, 8}}}},
};
const graft_op graft_op_avg_pool2d_grad = {
    .name = "avg_pool2d_grad",
    .attr_size = sizeof(graft_pool_attr),
    .n_out = 1,
    .shape = avg_pool2d_grad_shape,
    .reference = avg_pool2d_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = avg_pool2d_grad_cases,
    .n_cases = GRAFT_COUNT(avg_pool2d_grad_cases),
};

static const graft_op_case global_avg_pool_cases[] = {
    {.name = "7x7", .n_in = 1, .in = {{4, {1, 32, 7, 7}}}},
    {.name = "odd", .n_in = 1, .in = {{4, {3, 5, 4, 3}}}},
    {.name = "one pixel", .n_in = 1, .in = {{4, {3, 17, 1, 1}}}},
};
const graft_op graft_op_global_avg_pool = {
    .name = "global_avg_pool",
    .n_out = 1,
    .shape = global_avg_pool_shape,
    .grad = global_avg_pool_gradient,
    .reference = global_avg_pool_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = global_avg_pool_cases,
    .n_cases = GRAFT_COUNT(global_avg_pool_cases),
};

static const graft_op_case global_avg_pool_grad_cases[] = {
    {.name = "7x7", .n_in = 2, .in = {{2, {1, 32}}, {4, {1, 32, 7, 7}}}},
    {.name = "odd", .n_in = 2, .in = {{2, {3, 5}}, {4, {3, 5, 4, 3}}}},
};
const graft_op graft_op_global_avg_pool_grad = {
    .name = "global_avg_pool_grad",
    .n_out = 1,
    .shape = global_avg_pool_grad_shape,
    .reference = global_avg_pool_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = global_avg_pool_grad_cases,
    .n_cases = GRAFT_COUNT(global_avg_pool_grad_cases),
};

graft_value graft_max_pool2d(graft_graph *g, graft_value x, graft_pool_attr a) {
    graft_value out[2];
    graft_graph_node(g, &graft_op_max_pool2d, &a, &x, 1, out);
    return out[0];
}

graft_value graft_avg_pool2d(graft_graph *g, graft_value x, graft_pool_attr a) {
    graft_value y;
    graft_graph_node(g, &graft_op_avg_pool2d, &a, &x, 1, &y);
    return y;
}

graft_value graft_global_avg_pool(graft_graph *g, graft_value x) {
    graft_value y;
    graft_graph_node(g, &graft_op_global_avg_pool, NULL, &x, 1, &y);
    return y;
}
