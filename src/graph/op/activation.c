/* Smooth activations of any shape, one op with a kind (P is the normal distribution's, s the logistic
 * function):
 *   gelu        x P(x) = x (1 + erf(x / sqrt 2)) / 2           Hendrycks and Gimpel 2016
 *   gelu_tanh   x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the same paper's approximation
 *   tanh
 *   quick_gelu  x s(1.702 x), its other approximation
 *   silu        x s(x)                                         Elfwing et al. 2017
 * The gradient reads x. relu is an op of its own (eltwise.c): its gradient reads y, and more ops join it. */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input x_only[] = {{.name = "x"}};
static const graft_rule_input dy_and_x[] = {{.name = "dy"}, {.name = "x"}};

static const double root_2 = 1.4142135623730951, root_2_pi = 2.5066282746310002,
                    tanh_slope = 0.7978845608028654, tanh_cube = 0.044715;

static double logistic(double x) {
    return 1 / (1 + exp(-x));
}

static double normal_below(double x) {
    return erfc(-x / root_2) / 2;
}

double graft_rule_activate(int32_t act, double x) {
    switch (act) {
    case GRAFT_ACT_RELU:
        return x > 0 || x != x ? x : 0;
    case GRAFT_ACT_GELU:
        return x * normal_below(x);
    case GRAFT_ACT_GELU_TANH:
        return x * logistic(2 * tanh_slope * (x + tanh_cube * x * x * x));
    case GRAFT_ACT_TANH:
        return tanh(x);
    case GRAFT_ACT_QUICK_GELU:
        return x * logistic(1.702 * x);
    case GRAFT_ACT_SILU:
        return x * logistic(x);
    default:
        return x;
    }
}

/* d/dx of x s(k(x)) is s + x s (1 - s) k'. */
static double gated_slope(double x, double k, double dk) {
    double s = logistic(k);
    return s + x * s * (1 - s) * dk;
}

static double slope(int32_t act, double x) {
    switch (act) {
    case GRAFT_ACT_GELU:
        return normal_below(x) + x * exp(-x * x / 2) / root_2_pi;
    case GRAFT_ACT_GELU_TANH:
        return gated_slope(x, 2 * tanh_slope * (x + tanh_cube * x * x * x),
                           2 * tanh_slope * (1 + 3 * tanh_cube * x * x));
    case GRAFT_ACT_TANH:
        return 1 - tanh(x) * tanh(x);
    case GRAFT_ACT_QUICK_GELU:
        return gated_slope(x, 1.702 * x, 1.702);
    default:
        return gated_slope(x, x, 1);
    }
}

static int check_kind(const graft_op_types *t, const graft_rule_input *in, graft_err *err) {
    const graft_activation_attr *a = t->attr;
    if (a->act < GRAFT_ACT_GELU || a->act > GRAFT_ACT_SILU)
        return graft_rule_fail(t, in, err, "%d is no activation of this op", a->act);
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int activation_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, x_only, GRAFT_COUNT(x_only), err);
    return rc < 0 ? rc : check_kind(t, x_only, err);
}

static int activation_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, dy_and_x, GRAFT_COUNT(dy_and_x), err);
    if (rc < 0) return rc;
    if (!graft_rule_same(t, 0, 1)) return graft_rule_fail(t, dy_and_x, err, "dy and x differ in shape");
    return check_kind(t, dy_and_x, err);
}

static void activation_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    if (wanted[0])
        graft_graph_node(g, &graft_op_activation_grad, n->attr, (graft_value[]){dout[0], n->in[0]}, 2,
                         &din[0]);
}

static void activation_reference(const graft_op_call *c) {
    const graft_activation_attr *a = c->attr;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++)
        c->out[0][i] = graft_rule_activate(a->act, c->in[0][i]);
}

static void activation_grad_reference(const graft_op_call *c) {
    const graft_activation_attr *a = c->attr;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++)
        c->out[0][i] = c->in[0][i] * slope(a->act, c->in[1][i]);
}

static const graft_activation_attr gelu = {GRAFT_ACT_GELU}, gelu_tanh = {GRAFT_ACT_GELU_TANH},
                                   tanh_itself = {GRAFT_ACT_TANH}, quick_gelu = {GRAFT_ACT_QUICK_GELU},
                                   silu = {GRAFT_ACT_SILU};

#define FORWARD(what, kind, ...)                                                                             \
    { .name = what, .attr = &(kind), .n_in = 1, .in = {{2, {5, 37}}}, .tolerance = 3e-7, __VA_ARGS__ }
static const graft_op_case activation_cases[] = {
    FORWARD("gelu", gelu, .low = {-6}, .high = {6}),
    FORWARD("gelu near zero", gelu),
    FORWARD("gelu_tanh", gelu_tanh, .low = {-6}, .high = {6}),
    FORWARD("gelu_tanh near zero", gelu_tanh),
    FORWARD("tanh", tanh_itself, .low = {-10}, .high = {10}),
    FORWARD("tanh near zero", tanh_itself, .low = {-1e-3}, .high = {1e-3}),
    FORWARD("quick_gelu", quick_gelu, .low = {-6}, .high = {6}),
    FORWARD("silu", silu, .low = {-6}, .high = {6}),
    FORWARD("gelu far out", gelu, .low = {-1e4}, .high = {1e4}),
    FORWARD("gelu_tanh far out", gelu_tanh, .low = {-1e4}, .high = {1e4}),
    FORWARD("tanh far out", tanh_itself, .low = {-1e4}, .high = {1e4}),
    FORWARD("silu far out", silu, .low = {-1e4}, .high = {1e4}),
    {.name = "picture", .attr = &silu, .n_in = 1, .in = {{4, {3, 5, 7, 3}}}},
};
const graft_op graft_op_activation = {
    .name = "activation",
    .attr_size = sizeof(graft_activation_attr),
    .n_out = 1,
    .shape = activation_shape,
    .grad = activation_gradient,
    .reference = activation_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = activation_cases,
    .n_cases = GRAFT_COUNT(activation_cases),
};

#define BACKWARD(what, kind, ...)                                                                            \
    {                                                                                                        \
        .name = what, .attr = &(kind), .n_in = 2, .in = {{2, {5, 37}}, {2, {5, 37}}}, .tolerance = 5e-7,     \
        __VA_ARGS__                                                                                          \
    }
static const graft_op_case activation_grad_cases[] = {
    BACKWARD("gelu", gelu, .low = {-1, -6}, .high = {1, 6}),
    BACKWARD("gelu_tanh", gelu_tanh, .low = {-1, -6}, .high = {1, 6}),
    BACKWARD("tanh", tanh_itself, .low = {-1, -6}, .high = {1, 6}),
    BACKWARD("quick_gelu", quick_gelu, .low = {-1, -6}, .high = {1, 6}),
    BACKWARD("silu", silu, .low = {-1, -6}, .high = {1, 6}),
    BACKWARD("gelu far out", gelu, .low = {-1, -1e4}, .high = {1, 1e4}),
    BACKWARD("gelu_tanh far out", gelu_tanh, .low = {-1, -1e4}, .high = {1, 1e4}),
    BACKWARD("tanh far out", tanh_itself, .low = {-1, -1e4}, .high = {1, 1e4}),
    BACKWARD("silu far out", silu, .low = {-1, -1e4}, .high = {1, 1e4}),
};
const graft_op graft_op_activation_grad = {
    .name = "activation_grad",
    .attr_size = sizeof(graft_activation_attr),
    .n_out = 1,
    .shape = activation_grad_shape,
    .reference = activation_grad_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = activation_grad_cases,
    .n_cases = GRAFT_COUNT(activation_grad_cases),
};

graft_value graft_activate(graft_graph *g, graft_value x, int32_t act) {
    graft_value y;
    if (act == GRAFT_ACT_NONE) return x;
    if (act == GRAFT_ACT_RELU) return graft_relu(g, x);
    graft_graph_node(g, &graft_op_activation, &(graft_activation_attr){act}, &x, 1, &y);
    return y;
}

graft_value graft_gelu(graft_graph *g, graft_value x) {
    return graft_activate(g, x, GRAFT_ACT_GELU);
}

graft_value graft_gelu_tanh(graft_graph *g, graft_value x) {
    return graft_activate(g, x, GRAFT_ACT_GELU_TANH);
}

graft_value graft_tanh(graft_graph *g, graft_value x) {
    return graft_activate(g, x, GRAFT_ACT_TANH);
}
