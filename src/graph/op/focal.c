/* Focal losses (Lin et al. 2017, "Focal loss for dense object detection"): what is answered well weighs less.
 * z (N,K) against target t (N,K), each sample i weighted by u_i (N), summed to a scalar:
 *   focal          sum_i u_i sum_c -t_ic (1 - p_ic)^g log p_ic,  p = softmax(z_i)
 *                  dz_j = u_i (h_j - p_j sum_c h_c),  h_c = t_c (g (1 - p_c)^(g-1) p_c log p_c - (1 - p_c)^g)
 *   focal_logits   sum_i u_i / K sum_c -t (1 - p)^g log p - (1 - t) p^g log(1 - p),  p = sigmoid(z)
 *                  dz = u_i / K [t (g p (1-p)^g log p - (1-p)^(g+1)) + (1-t) (p^(g+1) - g (1-p) p^g
 * log(1-p))] With g = 0 they are cross_entropy and bce_logits. Targets carry label smoothing and class
 * weights. And what logit adjustment needs (Menon et al. 2021, "Long-tail learning via logit adjustment"):
 * the same row added to every row. */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input forward_inputs[] = {{.name = "logits"}, {.name = "target"}, {.name = "weight"}};
static const graft_rule_input grad_inputs[] = {
    {.name = "dloss", .optional = true}, {.name = "logits"}, {.name = "target"}, {.name = "weight"}};
static const graft_rule_input add_row_inputs[] = {{.name = "x"}, {.name = "row"}};

/* z, target, weight are inputs first, first + 1, first + 2. */
static int rows_shape(const graft_op_types *t, const graft_rule_input *in, size_t first, graft_err *err) {
    const graft_focal_attr *a = t->attr;
    int rc = graft_rule_inputs(t, in, first + 3, err);
    if (rc < 0) return rc;
    const graft_shape *z = &t->in[first]->shape;
    if (z->rank != 2 || !graft_rule_is_batched(z) || !graft_rule_same(t, first, first + 1))
        return graft_rule_fail(t, in, err, "logits and target must be (N,K)");
    if (!graft_rule_is_vector(t, first + 2, z->dims[0]))
        return graft_rule_fail(t, in, err, "weight must be (N)");
    if (!(a->gamma >= 0))
        return graft_err_set(err, GRAFT_EUSAGE, "the focal exponent is %g, not 0 or more", a->gamma);
    return 0;
}

static int forward_shape(const graft_op_types *t, graft_err *err) {
    return rows_shape(t, forward_inputs, 0, err);
}

static int grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = rows_shape(t, grad_inputs, 1, err);
    if (rc < 0) return rc;
    if (t->in[0] != NULL && t->in[0]->shape.rank != 0)
        return graft_rule_fail(t, grad_inputs, err, "dloss must be a scalar");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static void gradient(graft_graph *g, const graft_node *n, const graft_op *op, graft_value dloss,
                     const bool *wanted, graft_value *din) {
    if (wanted[1] || wanted[2]) {
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient of %s with respect to its target or weight",
                         n->op->name);
    } else if (wanted[0]) {
        graft_graph_node(g, op, n->attr, (graft_value[]){dloss, n->in[0], n->in[1], n->in[2]}, 4, &din[0]);
    }
}

static void focal_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                           graft_value *din) {
    gradient(g, n, &graft_op_focal_grad, dout[0], wanted, din);
}

static void focal_logits_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                  const bool *wanted, graft_value *din) {
    gradient(g, n, &graft_op_focal_logits_grad, dout[0], wanted, din);
}

/* log sum exp(z). */
static double log_sum(const double *z, int64_t n) {
    double top = z[0], sum = 0;
    for (int64_t k = 1; k < n; k++) top = z[k] > top ? z[k] : top;
    for (int64_t k = 0; k < n; k++) sum += exp(z[k] - top);
    return top + log(sum);
}

static void focal_reference(const graft_op_call *c) {
    const graft_focal_attr *a = c->attr;
    int64_t n_classes = c->in_shape[0].dims[1];
    double loss = 0;
    for (int64_t n = 0; n < c->in_shape[0].dims[0]; n++) {
        const double *z = c->in[0] + n * n_classes, *t = c->in[1] + n * n_classes;
        double whole = log_sum(z, n_classes);
        for (int64_t k = 0; k < n_classes; k++)
            loss += c->in[2][n] * t[k] * pow(-expm1(z[k] - whole), a->gamma) * (whole - z[k]);
    }
    c->out[0][0] = loss;
}

/* h_c above. (1 - p)^(g-1) log p stays finite: where p is 1 the logarithm is 0. */
static double focal_slope(double log_p, double t, double gamma) {
    double rest = -expm1(log_p), pulled = 0;
    if (gamma > 0 && rest > 0) pulled = gamma * pow(rest, gamma - 1) * exp(log_p) * log_p;
    return t * (pulled - pow(rest, gamma));
}

static void focal_grad_reference(const graft_op_call *c) {
    const graft_focal_attr *a = c->attr;
    int64_t n_classes = c->in_shape[1].dims[1];
    double dloss = c->in[0] != NULL ? c->in[0][0] : 1;
    for (int64_t n = 0; n < c->in_shape[1].dims[0]; n++) {
        const double *z = c->in[1] + n * n_classes, *t = c->in[2] + n * n_classes;
        double *dz = c->out[0] + n * n_classes, whole = log_sum(z, n_classes), total = 0;
        for (int64_t k = 0; k < n_classes; k++) total += focal_slope(z[k] - whole, t[k], a->gamma);
        for (int64_t k = 0; k < n_classes; k++)
            dz[k] =
                dloss * c->in[3][n] * (focal_slope(z[k] - whole, t[k], a->gamma) - exp(z[k] - whole) * total);
    }
}

/* log(1 + exp(x)) */
static double softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static void focal_logits_reference(const graft_op_call *c) {
    const graft_focal_attr *a = c->attr;
    int64_t n_classes = c->in_shape[0].dims[1];
    double loss = 0;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[0]); i++) {
        double z = c->in[0][i], t = c->in[1][i], log_p = -softplus(-z), log_q = -softplus(z);
        double one = -exp(a->gamma * log_q) * log_p, none = -exp(a->gamma * log_p) * log_q;
        loss += c->in[2][i / n_classes] / (double)n_classes * (t * one + (1 - t) * none);
    }
    c->out[0][0] = loss;
}

static void focal_logits_grad_reference(const graft_op_call *c) {
    const graft_focal_attr *a = c->attr;
    int64_t n_classes = c->in_shape[1].dims[1];
    double dloss = c->in[0] != NULL ? c->in[0][0] : 1;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[1]); i++) {
        double z = c->in[1][i], t = c->in[2][i], log_p = -softplus(-z), log_q = -softplus(z);
        double p = exp(log_p), q = exp(log_q);
        double one = exp(a->gamma * log_q) * (a->gamma * p * log_p - q);
        double none = exp(a->gamma * log_p) * (p - a->gamma * q * log_q);
        c->out[0][i] = dloss * c->in[3][i / n_classes] / (double)n_classes * (t * one + (1 - t) * none);
    }
}

static int add_row_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, add_row_inputs, GRAFT_COUNT(add_row_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if (x->rank != 2 || !graft_rule_is_vector(t, 1, x->dims[1]))
        return graft_rule_fail(t, add_row_inputs, err, "x must be (N,K) and row (K)");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static void add_row_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    if (wanted[1])
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient of %s with respect to its row", n->op->name);
    else if (wanted[0])
        din[0] = dout[0];
}

static void add_row_reference(const graft_op_call *c) {
    int64_t n = c->in_shape[0].dims[1];
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[0]); i++)
        c->out[0][i] = c->in[0][i] + c->in[1][i % n];
}

#define ROWS(n, k)                                                                                           \
    {2, {n, k}}, {2, {n, k}}, {                                                                              \
        1, {                                                                                                 \
            n                                                                                                \
        }                                                                                                    \
    }

static const graft_focal_attr usual = {2}, half = {0.5}, none = {0};
static const graft_op_case forward_cases[] = {
    {.name = "few classes", .attr = &usual, .n_in = 3, .in = {ROWS(3, 5)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "one sample", .attr = &half, .n_in = 3, .in = {ROWS(1, 16)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "no exponent", .attr = &none, .n_in = 3, .in = {ROWS(3, 5)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "extreme logits",
     .attr = &usual,
     .n_in = 3,
     .in = {ROWS(7, 4)},
     .low = {-1e4},
     .high = {1e4, 1, 1}},
    {.name = "two classes",
     .attr = &usual,
     .n_in = 3,
     .in = {ROWS(9, 2)},
     .low = {-30},
     .high = {30, 1, 0.1}},
};
static const graft_op_case grad_cases[] = {
    {.name = "root",
     .attr = &usual,
     .n_in = 4,
     .in = {{-1, {0}}, ROWS(3, 5)},
     .low = {[1] = -4},
     .high = {[1] = 4, [2] = 1, [3] = 1}},
    {.name = "extreme logits",
     .attr = &half,
     .n_in = 4,
     .in = {{-1, {0}}, ROWS(3, 16)},
     .low = {[1] = -1e4},
     .high = {[1] = 1e4, [2] = 1, [3] = 1}},
    {.name = "within a sum",
     .attr = &none,
     .n_in = 4,
     .in = {{0, {0}}, ROWS(1, 7)},
     .low = {[1] = -4},
     .high = {[1] = 4, [2] = 1, [3] = 1}},
};
const graft_op graft_op_focal = {
    .name = "focal",
    .attr_size = sizeof(graft_focal_attr),
    .n_out = 1,
    .shape = forward_shape,
    .grad = focal_gradient,
    .reference = focal_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = forward_cases,
    .n_cases = GRAFT_COUNT(forward_cases),
};
const graft_op graft_op_focal_grad = {
    .name = "focal_grad",
    .attr_size = sizeof(graft_focal_attr),
    .n_out = 1,
    .shape = grad_shape,
    .reference = focal_grad_reference,
    .alias = {1, -1, -1, -1},
    .cases = grad_cases,
    .n_cases = GRAFT_COUNT(grad_cases),
};
const graft_op graft_op_focal_logits = {
    .name = "focal_logits",
    .attr_size = sizeof(graft_focal_attr),
    .n_out = 1,
    .shape = forward_shape,
    .grad = focal_logits_gradient,
    .reference = focal_logits_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = forward_cases,
    .n_cases = GRAFT_COUNT(forward_cases),
};
const graft_op graft_op_focal_logits_grad = {
    .name = "focal_logits_grad",
    .attr_size = sizeof(graft_focal_attr),
    .n_out = 1,
    .shape = grad_shape,
    .reference = focal_logits_grad_reference,
    .alias = {1, -1, -1, -1},
    .cases = grad_cases,
    .n_cases = GRAFT_COUNT(grad_cases),
};

static const graft_op_case add_row_cases[] = {
    {.name = "few rows", .n_in = 2, .in = {{2, {3, 5}}, {1, {5}}}},
    {.name = "one row", .n_in = 2, .in = {{2, {1, 33}}, {1, {33}}}, .low = {-100}, .high = {100}},
};
const graft_op graft_op_add_row = {
    .name = "add_row",
    .n_out = 1,
    .shape = add_row_shape,
    .grad = add_row_gradient,
    .reference = add_row_reference,
    .alias = {0, -1, -1, -1},
    .cases = add_row_cases,
    .n_cases = GRAFT_COUNT(add_row_cases),
};

static graft_value focal_node(graft_graph *g, const graft_op *op, graft_value z, graft_value target,
                              graft_value weight, double gamma) {
    graft_value out;
    graft_graph_node(g, op, &(graft_focal_attr){gamma}, (graft_value[]){z, target, weight}, 3, &out);
    return out;
}

graft_value graft_focal(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                        double gamma) {
    return focal_node(g, &graft_op_focal, logits, target, weight, gamma);
}

graft_value graft_focal_logits(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                               double gamma) {
    return focal_node(g, &graft_op_focal_logits, logits, target, weight, gamma);
}

graft_value graft_add_row(graft_graph *g, graft_value x, graft_value row) {
    graft_value out;
    graft_graph_node(g, &graft_op_add_row, NULL, (graft_value[]){x, row}, 2, &out);
    return out;
}
