/* Values behind each other along one axis, and a part of such an axis, each the other's gradient:
 * y[..., first_i + k, ...] = x_i[..., k, ...] with first_i the lengths of the inputs before i. */
#include "graph/op/rule.h"

static const graft_rule_input slice_inputs[] = {{.name = "x"}};
static const graft_rule_input slice_grad_inputs[] = {{.name = "dy"}, {.name = "x"}};

/* ---- All parts ------------------------------------------------------------------------------------------ */

static int concat_fail(const graft_op_types *t, size_t i, graft_err *err) {
    const graft_concat_attr *a = t->attr;
    char first[96], other[96];
    return graft_err_set(err, GRAFT_ESHAPE,
                         "input %zu is %s: of the first, %s, it may differ along axis %lld alone, "
                         "whose length is known",
                         i, graft_shape_print(&t->in[i]->shape, other, sizeof other),
                         graft_shape_print(&t->in[0]->shape, first, sizeof first), (long long)a->axis);
}

static bool fits(const graft_shape *first, const graft_shape *x, int64_t axis) {
    if (x->rank != first->rank || axis < 0 || axis >= x->rank || !graft_rule_is_batched(x)) return false;
    for (int d = 0; d < x->rank; d++)
        if (d == axis ? graft_dim_is_open(x->dims[d]) : x->dims[d] != first->dims[d]) return false;
    return true;
}

static int concat_shape(const graft_op_types *t, graft_err *err) {
    const graft_concat_attr *a = t->attr;
    if (t->n_in < 2)
        return graft_err_set(err, GRAFT_ESHAPE, "%zu inputs given where it takes 2 or more", t->n_in);
    for (size_t i = 0; i < t->n_in; i++) {
        if (t->in[i] == NULL) return graft_err_set(err, GRAFT_ESHAPE, "input %zu is missing", i);
        if (t->in[i]->dtype != GRAFT_F32 && t->in[i]->dtype != GRAFT_BF16)
            return graft_err_set(err, GRAFT_EDTYPE, "input %zu has element type %s where the op takes F32", i,
                                 graft_dtype_name(t->in[i]->dtype));
    }
    graft_rule_copy(t, 0, 0);
    for (size_t i = 0; i < t->n_in; i++) {
        const graft_shape *x = &t->in[i]->shape;
        if (!fits(&t->in[0]->shape, x, a->axis)) return concat_fail(t, i, err);
        if (i == 0) continue;
        int64_t *length = &t->out_shape[0].dims[a->axis];
        if (*length > INT64_MAX / 8 - x->dims[a->axis])
            return graft_err_set(err, GRAFT_ESHAPE, "axis %lld would be too long", (long long)a->axis);
        *length += x->dims[a->axis];
    }
    return 0;
}

static void concat_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                            graft_value *din) {
    const int64_t axis = ((const graft_concat_attr *)n->attr)->axis;
    int64_t first = 0;
    for (size_t i = 0; i < n->n_in; i++) {
        const graft_value_info *x = graft_graph_value(g, n->in[i]);
        if (x == NULL) return;
        const int64_t length = x->shape.dims[axis];
        if (wanted[i]) din[i] = graft_slice(g, dout[0], axis, first, length);
        first += length;
    }
}

/* Elements between two neighbours along the axis. */
static int64_t step_of(const graft_shape *s, int64_t axis) {
    int64_t step = 1;
    for (int d = (int)axis + 1; d < s->rank; d++) step *= s->dims[d];
    return step;
}

/* Where element i of a part (outer, count, step) lies in the whole (outer, length, step), the part beginning
 * at `first`. */
static int64_t place_of(const graft_shape *part, const graft_shape *whole, int64_t axis, int64_t first,
                        int64_t i) {
    const int64_t step = step_of(whole, axis), run = part->dims[axis] * step;
    return i / run * whole->dims[axis] * step + first * step + i % run;
}

static void concat_reference(const graft_op_call *c) {
    const graft_concat_attr *a = c->attr;
    int64_t first = 0;
    for (size_t i = 0; i < c->n_in; i++) {
        const graft_shape *x = &c->in_shape[i];
        for (int64_t k = 0; k < graft_rule_count(x); k++)
            c->out[0][place_of(x, &c->out_shape[0], a->axis, first, k)] = c->in[i][k];
        first += x->dims[a->axis];
    }
}

static const graft_concat_attr samples = {0}, channels = {1}, rows = {2}, columns = {3};

static const graft_op_case concat_cases[] = {
    {.name = "matrices", .attr = &channels, .n_in = 2, .in = {{2, {3, 2}}, {2, {3, 5}}}},
    {.name = "one row", .attr = &channels, .n_in = 2, .in = {{2, {1, 33}}, {2, {1, 1}}}},
    {.name = "many rows", .attr = &channels, .n_in = 2, .in = {{2, {133, 16}}, {2, {133, 17}}}},
    {.name = "channels in blocks",
     .attr = &channels,
     .n_in = 2,
     .in = {{4, {2, 16, 5, 7}}, {4, {2, 32, 5, 7}}}},
    {.name = "three of odd channels",
     .attr = &channels,
     .n_in = 3,
     .in = {{4, {2, 3, 4, 3}}, {4, {2, 16, 4, 3}}, {4, {2, 1, 4, 3}}}},
    {.name = "a token before others", .attr = &channels, .n_in = 2, .in = {{3, {3, 1, 6}}, {3, {3, 9, 6}}}},
    {.name = "rows of pictures", .attr = &rows, .n_in = 2, .in = {{4, {2, 3, 4, 5}}, {4, {2, 3, 1, 5}}}},
    {.name = "the last axis", .attr = &columns, .n_in = 2, .in = {{4, {2, 3, 2, 5}}, {4, {2, 3, 2, 2}}}},
    {.name = "vectors", .attr = &samples, .n_in = 4, .in = {{1, {5}}, {1, {1}}, {1, {2}}, {1, {16}}}},
};
const graft_op graft_op_concat = {
    .name = "concat",
    .attr_size = sizeof(graft_concat_attr),
    .n_out = 1,
    .shape = concat_shape,
    .grad = concat_gradient,
    .reference = concat_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = concat_cases,
    .n_cases = GRAFT_COUNT(concat_cases),
};

/* ---- A part --------------------------------------------------------------------------------------------- */

static bool lies_in(const graft_slice_attr *a, const graft_shape *x) {
    if (a->axis < 0 || a->axis >= x->rank || !graft_rule_is_batched(x)) return false;
    return a->first >= 0 && a->count >= 1 && a->first <= x->dims[a->axis] &&
           a->count <= x->dims[a->axis] - a->first;
}

static graft_shape part_of(const graft_slice_attr *a, const graft_shape *x) {
    graft_shape part = *x;
    part.dims[a->axis] = a->count;
    return part;
}

static int slice_shape(const graft_op_types *t, graft_err *err) {
    const graft_slice_attr *a = t->attr;
    int rc = graft_rule_inputs(t, slice_inputs, GRAFT_COUNT(slice_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (!lies_in(a, x))
        return graft_rule_fail(t, slice_inputs, err, "axis %lld has no %lld elements from %lld",
                               (long long)a->axis, (long long)a->count, (long long)a->first);
    t->out_shape[0] = part_of(a, x);
    return 0;
}

static int slice_grad_shape(const graft_op_types *t, graft_err *err) {
    const graft_slice_attr *a = t->attr;
    int rc = graft_rule_inputs(t, slice_grad_inputs, GRAFT_COUNT(slice_grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[1]->shape;
    if (!lies_in(a, x)) return graft_rule_fail(t, slice_grad_inputs, err, "x has no such part");
    const graft_shape part = part_of(a, x);
    if (!graft_shape_equal(&t->in[0]->shape, &part))
        return graft_rule_fail(t, slice_grad_inputs, err, "dy must have the part's shape");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void slice_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                           graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_slice_grad, n->attr, (graft_value[]){dout[0], n->in[0]}, 2, &din[0]);
}

static void slice_reference(const graft_op_call *c) {
    const graft_slice_attr *a = c->attr;
    for (int64_t k = 0; k < graft_rule_count(&c->out_shape[0]); k++)
        c->out[0][k] = c->in[0][place_of(&c->out_shape[0], &c->in_shape[0], a->axis, a->first, k)];
}

static void slice_grad_reference(const graft_op_call *c) {
    const graft_slice_attr *a = c->attr;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = 0;
    for (int64_t k = 0; k < graft_rule_count(&c->in_shape[0]); k++)
        c->out[0][place_of(&c->in_shape[0], &c->out_shape[0], a->axis, a->first, k)] = c->in[0][k];
}

static const graft_slice_attr first = {1, 0, 3}, middle = {1, 2, 16}, last = {1, 30, 3}, all = {1, 0, 5};
static const graft_slice_attr block = {1, 16, 16}, token = {1, 0, 1}, odd = {1, 5, 13}, height = {2, 1, 2};
static const graft_slice_attr some = {0, 1, 2};

static const graft_op_case slice_cases[] = {
    {.name = "first", .attr = &first, .n_in = 1, .in = {{2, {3, 7}}}},
    {.name = "middle", .attr = &middle, .n_in = 1, .in = {{2, {5, 33}}}},
    {.name = "last", .attr = &last, .n_in = 1, .in = {{2, {4, 33}}}},
    {.name = "all", .attr = &all, .n_in = 1, .in = {{2, {2, 5}}}},
    {.name = "a block of channels", .attr = &block, .n_in = 1, .in = {{4, {2, 48, 5, 3}}}},
    {.name = "odd channels", .attr = &odd, .n_in = 1, .in = {{4, {2, 20, 5, 3}}}},
    {.name = "the first token", .attr = &token, .n_in = 1, .in = {{3, {3, 9, 6}}}},
    {.name = "rows of pictures", .attr = &height, .n_in = 1, .in = {{4, {2, 3, 4, 5}}}},
    {.name = "samples", .attr = &some, .n_in = 1, .in = {{2, {4, 5}}}},
};
const graft_op graft_op_slice = {
    .name = "slice",
    .attr_size = sizeof(graft_slice_attr),
    .n_out = 1,
    .shape = slice_shape,
    .grad = slice_gradient,
    .reference = slice_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .cases = slice_cases,
    .n_cases = GRAFT_COUNT(slice_cases),
};

static const graft_op_case slice_grad_cases[] = {
    {.name = "first", .attr = &first, .n_in = 2, .in = {{2, {3, 3}}, {2, {3, 7}}}},
    {.name = "middle", .attr = &middle, .n_in = 2, .in = {{2, {5, 16}}, {2, {5, 33}}}},
    {.name = "last", .attr = &last, .n_in = 2, .in = {{2, {4, 3}}, {2, {4, 33}}}},
    {.name = "a block of channels",
     .attr = &block,
     .n_in = 2,
     .in = {{4, {2, 16, 5, 3}}, {4, {2, 48, 5, 3}}}},
    {.name = "the first token", .attr = &token, .n_in = 2, .in = {{3, {3, 1, 6}}, {3, {3, 9, 6}}}},
    {.name = "rows of pictures", .attr = &height, .n_in = 2, .in = {{4, {2, 3, 2, 5}}, {4, {2, 3, 4, 5}}}},
    {.name = "samples", .attr = &some, .n_in = 2, .in = {{2, {2, 5}}, {2, {4, 5}}}},
};
const graft_op graft_op_slice_grad = {
    .name = "slice_grad",
    .attr_size = sizeof(graft_slice_attr),
    .n_out = 1,
    .shape = slice_grad_shape,
    .reference = slice_grad_reference,
    .alias = {-1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 1,
    .cases = slice_grad_cases,
    .n_cases = GRAFT_COUNT(slice_grad_cases),
};

graft_value graft_concat(graft_graph *g, const graft_value *parts, size_t n_parts, int64_t axis) {
    graft_value y;
    graft_graph_node(g, &graft_op_concat, &(graft_concat_attr){axis}, parts, n_parts, &y);
    return y;
}

graft_value graft_beside(graft_graph *g, graft_value a, graft_value b) {
    return graft_concat(g, (graft_value[]){a, b}, 2, 1);
}

graft_value graft_slice(graft_graph *g, graft_value x, int64_t axis, int64_t from, int64_t count) {
    graft_value y;
    graft_graph_node(g, &graft_op_slice, &(graft_slice_attr){axis, from, count}, &x, 1, &y);
    return y;
}

graft_value graft_columns(graft_graph *g, graft_value x, int64_t from, int64_t count) {
    const graft_value_info *info = graft_graph_value(g, x);
    return graft_slice(g, x, info ? info->shape.rank - 1 : 1, from, count);
}
