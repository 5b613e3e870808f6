/* From a picture's patches to tokens (Dosovitskiy et al. 2021, "An image is worth 16x16 words"): x (N,D,H,W),
 * one vector a patch, becomes rows
 *
 *     y[n,r] = p[r] + first (r = 0), second (r = 1, where there is one), x[n, :, place r - k] (r >= k)
 *
 * with k = 1 or 2 tokens that are the same in every sample, and places counted row by row. Shapes of the
 * parameters are those in files: positions p (1,L,D), tokens (1,1,D). */
#include "graph/op/rule.h"

#include <string.h>

static const graft_rule_input forward_inputs[] = {
    {.name = "x"}, {.name = "positions"}, {.name = "first"}, {.name = "second", .optional = true}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"}, {.name = "x"}};

/* Places of a picture; -1 when there are too many. */
static int64_t places_of(const graft_shape *x) {
    const graft_shape plane = {2, {x->dims[2], x->dims[3]}};
    int64_t n = 0;
    return graft_shape_count(&plane, &n) && n < INT64_MAX / 8 ? n : -1;
}

static bool is_token(const graft_shape *s, int64_t width) {
    return s->rank == 3 && s->dims[0] == 1 && s->dims[1] == 1 && s->dims[2] == width;
}

static int patches_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape, *p = &t->in[1]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x))
        return graft_rule_fail(t, forward_inputs, err, "x must be (N,D,H,W)");
    const int64_t width = x->dims[1], places = places_of(x), n_rows = places + (t->in[3] ? 2 : 1);
    if (!is_token(&t->in[2]->shape, width) || (t->in[3] && !is_token(&t->in[3]->shape, width)))
        return graft_rule_fail(t, forward_inputs, err, "first and second must be (1,1,D)");
    if (places < 0 || p->rank != 3 || p->dims[0] != 1 || p->dims[1] != n_rows || p->dims[2] != width)
        return graft_rule_fail(t, forward_inputs, err, "positions must be (1,L,D) with L = %lld",
                               (long long)n_rows);
    t->out_shape[0] = (graft_shape){.rank = 3, .dims = {x->dims[0], n_rows, width}};
    return 0;
}

static int patches_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *x = &t->in[1]->shape;
    if (x->rank != 4 || !graft_rule_is_batched(x) || dy->rank != 3 || dy->dims[0] != x->dims[0] ||
        dy->dims[2] != x->dims[1])
        return graft_rule_fail(t, grad_inputs, err, "dy must be (N,L,D) and x (N,D,H,W)");
    const int64_t places = places_of(x), k = dy->dims[1] - places;
    if (places < 0 || k < 1 || k > 2)
        return graft_rule_fail(t, grad_inputs, err, "dy must have a row a place, and one or two before them");
    graft_rule_copy(t, 0, 1);
    t->out_shape[1] = (graft_shape){.rank = 3, .dims = {1, dy->dims[1], dy->dims[2]}};
    t->out_shape[2] = t->out_shape[3] = (graft_shape){.rank = 3, .dims = {1, 1, dy->dims[2]}};
    return 0;
}

static void patches_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    graft_value out[4];
    if (!wanted[0] && !wanted[1] && !wanted[2] && !wanted[3]) return;
    graft_graph_node(g, &graft_op_patches_grad, NULL, (graft_value[]){dout[0], n->in[0]}, 2, out);
    for (size_t i = 0; i < 4; i++)
        if (wanted[i] && n->in[i] != GRAFT_NONE) din[i] = out[i];
}

static void patches_reference(const graft_op_call *c) {
    const double *x = c->in[0], *p = c->in[1], *first = c->in[2], *second = c->in[3];
    const int64_t n_rows = c->out_shape[0].dims[1], width = c->out_shape[0].dims[2], k = second ? 2 : 1,
                  places = n_rows - k;
    for (int64_t n = 0; n < c->out_shape[0].dims[0]; n++)
        for (int64_t r = 0; r < n_rows; r++)
            for (int64_t d = 0; d < width; d++) {
                double value = r >= k ? x[(n * width + d) * places + r - k] : r == 0 ? first[d] : second[d];
                c->out[0][(n * n_rows + r) * width + d] = value + p[r * width + d];
            }
}

static void patches_grad_reference(const graft_op_call *c) {
    const double *dy = c->in[0];
    double *dx = c->out[0], *dp = c->out[1];
    const graft_shape *shape = &c->in_shape[0];
    const int64_t n_rows = shape->dims[1], width = shape->dims[2], places = places_of(&c->in_shape[1]),
                  k = n_rows - places;
    memset(dp, 0, (size_t)(n_rows * width) * sizeof *dp);
    for (int64_t n = 0; n < shape->dims[0]; n++)
        for (int64_t r = 0; r < n_rows; r++)
            for (int64_t d = 0; d < width; d++) {
                const double value = dy[(n * n_rows + r) * width + d];
                dp[r * width + d] += value;
                if (r >= k) dx[(n * width + d) * places + r - k] = value;
            }
    for (int64_t d = 0; d < width; d++) {
        c->out[2][d] = dp[d];
        c->out[3][d] = k == 2 ? dp[width + d] : 0;
    }
}

static const graft_op_case patches_cases[] = {
    {.name = "one token", .n_in = 4, .in = {{4, {3, 7, 2, 3}}, {3, {1, 7, 7}}, {3, {1, 1, 7}}, {-1, {0}}}},
    {.name = "two tokens",
     .n_in = 4,
     .in = {{4, {2, 32, 4, 3}}, {3, {1, 14, 32}}, {3, {1, 1, 32}}, {3, {1, 1, 32}}}},
    {.name = "one patch", .n_in = 4, .in = {{4, {1, 16, 1, 1}}, {3, {1, 2, 16}}, {3, {1, 1, 16}}, {-1, {0}}}},
};
const graft_op graft_op_patches = {
    .name = "patches",
    .n_out = 1,
    .shape = patches_shape,
    .grad = patches_gradient,
    .reference = patches_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = patches_cases,
    .n_cases = GRAFT_COUNT(patches_cases),
};

static const graft_op_case patches_grad_cases[] = {
    {.name = "one token", .n_in = 2, .in = {{3, {3, 7, 7}}, {4, {3, 7, 2, 3}}}},
    {.name = "two tokens", .n_in = 2, .in = {{3, {2, 14, 32}}, {4, {2, 32, 4, 3}}}},
    {.name = "one patch", .n_in = 2, .in = {{3, {1, 2, 16}}, {4, {1, 16, 1, 1}}}},
};
const graft_op graft_op_patches_grad = {
    .name = "patches_grad",
    .n_out = 4,
    .shape = patches_grad_shape,
    .reference = patches_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = patches_grad_cases,
    .n_cases = GRAFT_COUNT(patches_grad_cases),
};

graft_value graft_patches(graft_graph *g, graft_value x, graft_value positions, graft_value first,
                          graft_value second) {
    graft_value y;
    graft_graph_node(g, &graft_op_patches, NULL, (graft_value[]){x, positions, first, second}, 4, &y);
    return y;
}
