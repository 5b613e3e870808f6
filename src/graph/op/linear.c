/* Fully connected layer: y (N,O) = act(x (N,I) w^T + b + residual) with w (O,I), or (I,O) as the attribute
 * in_out says; x may have several rows a sample, (N,L,I), and so has y. An activation other than relu is
 * joined for inference only (fuse.c): its gradient reads what comes before it, and that is not kept. */
#include "graph/op/rule.h"

static const graft_rule_input forward_inputs[] = {
    {.name = "x"}, {.name = "w"}, {.name = "b", .optional = true}, {.name = "residual", .optional = true}};
static const graft_rule_input dx_inputs[] = {
    {.name = "dy"}, {.name = "w"}, {.name = "sum", .optional = true}};
static const graft_rule_input dw_inputs[] = {{.name = "x"}, {.name = "dy"}};

static bool is_matrix(const graft_shape *s) {
    return s->rank == 2 && graft_rule_is_batched(s);
}

static int64_t outs_of(const graft_linear_attr *a, const graft_shape *w) {
    return w->dims[a->in_out ? 1 : 0];
}

static int64_t ins_of(const graft_linear_attr *a, const graft_shape *w) {
    return w->dims[a->in_out ? 0 : 1];
}

static const char *order_of(const graft_linear_attr *a) {
    return a->in_out ? "(I,O)" : "(O,I)";
}

/* w as a matrix of the layer's numbers, however it lies. */
static double weight_at(const graft_linear_attr *a, const graft_shape *w_shape, const double *w, int64_t o,
                        int64_t i) {
    return a->in_out ? w[i * w_shape->dims[1] + o] : w[o * w_shape->dims[1] + i];
}

static int linear_shape(const graft_op_types *t, graft_err *err) {
    const graft_linear_attr *a = t->attr;
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape, *w = &t->in[1]->shape;
    if (!graft_rule_is_rows(x) || !is_matrix(w) || w->dims[0] < 1 || ins_of(a, w) != graft_rule_width(x))
        return graft_rule_fail(t, forward_inputs, err, "x must be (N,I) or (N,L,I), and w %s", order_of(a));
    if (!graft_rule_is_vector(t, 2, outs_of(a, w)))
        return graft_rule_fail(t, forward_inputs, err, "b must be (O)");
    if (a->act < GRAFT_ACT_NONE || a->act > GRAFT_ACT_SILU)
        return graft_rule_fail(t, forward_inputs, err, "%d is no activation", a->act);
    t->out_shape[0] = graft_rule_with_width(x, outs_of(a, w));
    if (t->in[3] && !graft_shape_equal(&t->in[3]->shape, &t->out_shape[0]))
        return graft_rule_fail(t, forward_inputs, err, "residual must have the result's shape");
    return 0;
}

static int linear_dx_shape(const graft_op_types *t, graft_err *err) {
    const graft_linear_attr *a = t->attr;
    int rc = graft_rule_inputs(t, dx_inputs, GRAFT_COUNT(dx_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *w = &t->in[1]->shape;
    if (!graft_rule_is_rows(dy) || !is_matrix(w) || w->dims[0] < 1 || outs_of(a, w) != graft_rule_width(dy))
        return graft_rule_fail(t, dx_inputs, err, "dy must be (N,O) or (N,L,O), and w %s", order_of(a));
    t->out_shape[0] = graft_rule_with_width(dy, ins_of(a, w));
    if (t->in[2] && !graft_shape_equal(&t->in[2]->shape, &t->out_shape[0]))
        return graft_rule_fail(t, dx_inputs, err, "sum must be as the result, (N,I) or (N,L,I)");
    return 0;
}

static int linear_dw_shape(const graft_op_types *t, graft_err *err) {
    const graft_linear_attr *a = t->attr;
    int rc = graft_rule_inputs(t, dw_inputs, GRAFT_COUNT(dw_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape, *dy = &t->in[1]->shape;
    const graft_shape rows = graft_rule_with_width(x, graft_rule_width(dy));
    if (!graft_rule_is_rows(x) || !graft_shape_equal(dy, &rows))
        return graft_rule_fail(t, dw_inputs, err, "x must be (N,I) and dy (N,O), or (N,L,I) and (N,L,O)");
    int64_t ins = graft_rule_width(x), outs = graft_rule_width(dy);
    t->out_shape[0] = (graft_shape){.rank = 2, .dims = {a->in_out ? ins : outs, a->in_out ? outs : ins}};
    t->out_shape[1] = (graft_shape){.rank = 1, .dims = {outs}};
    return 0;
}

static void linear_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                            graft_value *din) {
    const graft_linear_attr *a = n->attr, bare = {.in_out = a->in_out};
    graft_value dy = dout[0];
    if (a->act != GRAFT_ACT_NONE && a->act != GRAFT_ACT_RELU) {
        graft_graph_fail(g, GRAFT_EINTERNAL,
                         "gradient of a fused linear layer: fuse only what is not trained");
        return;
    }
    if (a->act == GRAFT_ACT_RELU)
        graft_graph_node(g, &graft_op_relu_grad, NULL, (graft_value[]){dout[0], n->out[0]}, 2, &dy);
    if (wanted[0])
        graft_graph_node(g, &graft_op_linear_dx, &bare, (graft_value[]){dy, n->in[1], GRAFT_NONE}, 3,
                         &din[0]);
    if (wanted[1] || wanted[2]) {
        graft_value out[2];
        graft_graph_node(g, &graft_op_linear_dw, &bare, (graft_value[]){n->in[0], dy}, 2, out);
        if (wanted[1]) din[1] = out[0];
        if (wanted[2]) din[2] = out[1];
    }
    if (wanted[3]) din[3] = dy;
}

static void linear_reference(const graft_op_call *c) {
    const graft_linear_attr *a = c->attr;
    const double *x = c->in[0], *w = c->in[1], *b = c->in[2], *residual = c->in[3];
    int64_t n_rows = graft_rule_n_rows(&c->out_shape[0]), n_outs = graft_rule_width(&c->out_shape[0]),
            n_ins = graft_rule_width(&c->in_shape[0]);
    for (int64_t n = 0; n < n_rows; n++) {
        for (int64_t o = 0; o < n_outs; o++) {
            double sum = b != NULL ? b[o] : 0;
            for (int64_t i = 0; i < n_ins; i++)
                sum += x[n * n_ins + i] * weight_at(a, &c->in_shape[1], w, o, i);
            if (residual != NULL) sum += residual[n * n_outs + o];
            c->out[0][n * n_outs + o] = graft_rule_activate(a->act, sum);
        }
    }
}

static void linear_dx_reference(const graft_op_call *c) {
    const graft_linear_attr *a = c->attr;
    const double *dy = c->in[0], *w = c->in[1];
    int64_t n_rows = graft_rule_n_rows(&c->in_shape[0]), n_outs = graft_rule_width(&c->in_shape[0]),
            n_ins = graft_rule_width(&c->out_shape[0]);
    for (int64_t n = 0; n < n_rows; n++) {
        for (int64_t i = 0; i < n_ins; i++) {
            double sum = c->in[2] != NULL ? c->in[2][n * n_ins + i] : 0;
            for (int64_t o = 0; o < n_outs; o++)
                sum += dy[n * n_outs + o] * weight_at(a, &c->in_shape[1], w, o, i);
            c->out[0][n * n_ins + i] = sum;
        }
    }
}

static void linear_dw_reference(const graft_op_call *c) {
    const graft_linear_attr *a = c->attr;
    const double *x = c->in[0], *dy = c->in[1];
    int64_t n_rows = graft_rule_n_rows(&c->in_shape[0]), n_ins = graft_rule_width(&c->in_shape[0]),
            n_outs = graft_rule_width(&c->in_shape[1]);
    for (int64_t o = 0; o < n_outs; o++) {
        for (int64_t i = 0; i < n_ins; i++) {
            double sum = 0;
            for (int64_t n = 0; n < n_rows; n++) sum += dy[n * n_outs + o] * x[n * n_ins + i];
            c->out[0][a->in_out ? i * n_outs + o : o * n_ins + i] = sum;
        }
        double sum = 0;
        for (int64_t n = 0; n < n_rows; n++) sum += dy[n * n_outs + o];
        c->out[1][o] = sum;
    }
}

static const graft_linear_attr plain = {0}, with_relu = {.act = GRAFT_ACT_RELU}, in_out = {.in_out = 1};

#define ACT(kind)                                                                                            \
    &(const graft_linear_attr) {                                                                             \
        .act = (kind)                                                                                        \
    }
#define NO_INPUT                                                                                             \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case linear_cases[] = {
    {.name = "odd", .attr = &plain, .n_in = 4, .in = {{2, {3, 7}}, {2, {5, 7}}, {1, {5}}, NO_INPUT}},
    {.name = "one row", .attr = &plain, .n_in = 4, .in = {{2, {1, 64}}, {2, {32, 64}}, {1, {32}}, NO_INPUT}},
    {.name = "without b", .attr = &plain, .n_in = 4, .in = {{2, {3, 33}}, {2, {17, 33}}, NO_INPUT, NO_INPUT}},
    {.name = "relu", .attr = &with_relu, .n_in = 4, .in = {{2, {3, 16}}, {2, {10, 16}}, {1, {10}}, NO_INPUT}},
    {.name = "one output", .attr = &plain, .n_in = 4, .in = {{2, {9, 16}}, {2, {1, 16}}, {1, {1}}, NO_INPUT}},
    {.name = "residual",
     .attr = &plain,
     .n_in = 4,
     .in = {{2, {33, 24}}, {2, {40, 24}}, {1, {40}}, {2, {33, 40}}}},
    {.name = "residual and relu, without b",
     .attr = &with_relu,
     .n_in = 4,
     .in = {{2, {3, 7}}, {2, {5, 7}}, NO_INPUT, {2, {3, 5}}}},
    {.name = "gelu",
     .attr = ACT(GRAFT_ACT_GELU),
     .n_in = 4,
     .in = {{2, {33, 24}}, {2, {40, 24}}, {1, {40}}, NO_INPUT}},
    {.name = "gelu_tanh",
     .attr = ACT(GRAFT_ACT_GELU_TANH),
     .n_in = 4,
     .in = {{2, {33, 24}}, {2, {40, 24}}, {1, {40}}, NO_INPUT}},
    {.name = "tanh",
     .attr = ACT(GRAFT_ACT_TANH),
     .n_in = 4,
     .in = {{2, {9, 64}}, {2, {64, 64}}, {1, {64}}, NO_INPUT}},
    {.name = "quick_gelu",
     .attr = ACT(GRAFT_ACT_QUICK_GELU),
     .n_in = 4,
     .in = {{2, {3, 7}}, {2, {5, 7}}, {1, {5}}, NO_INPUT}},
    {.name = "silu with a residual",
     .attr = ACT(GRAFT_ACT_SILU),
     .n_in = 4,
     .in = {{2, {3, 7}}, {2, {5, 7}}, {1, {5}}, {2, {3, 5}}}},
    {.name = "in_out", .attr = &in_out, .n_in = 4, .in = {{2, {3, 7}}, {2, {7, 5}}, {1, {5}}, NO_INPUT}},
    {.name = "in_out with gelu_tanh",
     .attr = &(const graft_linear_attr){.act = GRAFT_ACT_GELU_TANH, .in_out = 1},
     .n_in = 4,
     .in = {{2, {33, 64}}, {2, {64, 96}}, {1, {96}}, NO_INPUT}},
    {.name = "in_out with a residual",
     .attr = &in_out,
     .n_in = 4,
     .in = {{2, {9, 32}}, {2, {32, 16}}, NO_INPUT, {2, {9, 16}}}},
    {.name = "several rows a sample",
     .attr = ACT(GRAFT_ACT_GELU),
     .n_in = 4,
     .in = {{3, {3, 5, 24}}, {2, {40, 24}}, {1, {40}}, {3, {3, 5, 40}}}},
    {.name = "large", .attr = &plain, .n_in = 4, .in = {{2, {90, 70}}, {2, {100, 70}}, {1, {100}}, NO_INPUT}},
    {.name = "large, with gelu and a residual",
     .attr = ACT(GRAFT_ACT_GELU),
     .n_in = 4,
     .in = {{2, {65, 300}}, {2, {64, 300}}, {1, {64}}, {2, {65, 64}}}},
    {.name = "large, in_out with relu",
     .attr = &(const graft_linear_attr){.act = GRAFT_ACT_RELU, .in_out = 1},
     .n_in = 4,
     .in = {{2, {90, 70}}, {2, {70, 100}}, NO_INPUT, NO_INPUT}},
};
const graft_op graft_op_linear = {
    .name = "linear",
    .attr_size = sizeof(graft_linear_attr),
    .n_out = 1,
    .shape = linear_shape,
    .grad = linear_gradient,
    .reference = linear_reference,
    .alias = {3, -1, -1, -1},
    .bf16 = 1,
    .cases = linear_cases,
    .n_cases = GRAFT_COUNT(linear_cases),
};

static const graft_op_case linear_dx_cases[] = {
    {.name = "odd", .attr = &plain, .n_in = 3, .in = {{2, {3, 5}}, {2, {5, 7}}, NO_INPUT}},
    {.name = "one row", .attr = &plain, .n_in = 3, .in = {{2, {1, 32}}, {2, {32, 64}}, NO_INPUT}},
    {.name = "one output", .attr = &plain, .n_in = 3, .in = {{2, {9, 1}}, {2, {1, 16}}, NO_INPUT}},
    {.name = "several rows a sample",
     .attr = &plain,
     .n_in = 3,
     .in = {{3, {3, 5, 40}}, {2, {40, 24}}, NO_INPUT}},
    {.name = "several rows a sample, added to a sum",
     .attr = &plain,
     .n_in = 3,
     .in = {{3, {3, 5, 40}}, {2, {40, 24}}, {3, {3, 5, 24}}}},
    {.name = "in_out", .attr = &in_out, .n_in = 3, .in = {{2, {3, 5}}, {2, {7, 5}}, NO_INPUT}},
    {.name = "in_out, whole vectors",
     .attr = &in_out,
     .n_in = 3,
     .in = {{2, {33, 48}}, {2, {64, 48}}, NO_INPUT}},
    {.name = "large", .attr = &plain, .n_in = 3, .in = {{2, {90, 100}}, {2, {100, 70}}, NO_INPUT}},
    {.name = "large, in_out", .attr = &in_out, .n_in = 3, .in = {{2, {90, 100}}, {2, {70, 100}}, NO_INPUT}},
    {.name = "added to a sum",
     .attr = &plain,
     .n_in = 3,
     .in = {{2, {33, 24}}, {2, {24, 40}}, {2, {33, 40}}}},
    {.name = "large, in_out, added to a sum",
     .attr = &in_out,
     .n_in = 3,
     .in = {{2, {90, 100}}, {2, {70, 100}}, {2, {90, 70}}}},
};
const graft_op graft_op_linear_dx = {
    .name = "linear_dx",
    .attr_size = sizeof(graft_linear_attr),
    .n_out = 1,
    .shape = linear_dx_shape,
    .reference = linear_dx_reference,
    .alias = {2, -1, -1, -1},
    .bf16 = 1,
    .cases = linear_dx_cases,
    .n_cases = GRAFT_COUNT(linear_dx_cases),
};

static const graft_op_case linear_dw_cases[] = {
    {.name = "odd", .attr = &plain, .n_in = 2, .in = {{2, {3, 7}}, {2, {3, 5}}}},
    {.name = "one row", .attr = &plain, .n_in = 2, .in = {{2, {1, 64}}, {2, {1, 32}}}},
    {.name = "one output", .attr = &plain, .n_in = 2, .in = {{2, {9, 16}}, {2, {9, 1}}}},
    {.name = "several rows a sample", .attr = &plain, .n_in = 2, .in = {{3, {3, 5, 24}}, {3, {3, 5, 40}}}},
    {.name = "in_out", .attr = &in_out, .n_in = 2, .in = {{2, {3, 7}}, {2, {3, 5}}}},
    {.name = "in_out, whole vectors", .attr = &in_out, .n_in = 2, .in = {{2, {65, 48}}, {2, {65, 64}}}},
    {.name = "large", .attr = &plain, .n_in = 2, .in = {{2, {90, 70}}, {2, {90, 100}}}},
    {.name = "large, in_out", .attr = &in_out, .n_in = 2, .in = {{2, {300, 70}}, {2, {300, 100}}}},
};
const graft_op graft_op_linear_dw = {
    .name = "linear_dw",
    .attr_size = sizeof(graft_linear_attr),
    .n_out = 2,
    .shape = linear_dw_shape,
    .reference = linear_dw_reference,
    .alias = {-1, -1, -1, -1},
    .cases = linear_dw_cases,
    .n_cases = GRAFT_COUNT(linear_dw_cases),
};

static graft_value layer(graft_graph *g, graft_value x, graft_value w, graft_value b, int32_t is_in_out) {
    graft_value y;
    graft_graph_node(g, &graft_op_linear, &(graft_linear_attr){.in_out = is_in_out},
                     (graft_value[]){x, w, b, GRAFT_NONE}, 4, &y);
    return y;
}

graft_value graft_linear(graft_graph *g, graft_value x, graft_value w, graft_value b) {
    return layer(g, x, w, b, 0);
}

graft_value graft_linear_in_out(graft_graph *g, graft_value x, graft_value w, graft_value b) {
    return layer(g, x, w, b, 1);
}
