/* Losses of z (N,K) against target t (N,K), each sample i weighted by u_i (N), summed to a scalar:
 *   cross_entropy  sum_i u_i sum_c -t_ic log softmax(z_i)_c      dz = u_i (p_ic sum_k t_ik - t_ic)
 *   bce_logits     sum_i u_i / K sum_c max(z,0) - z t + log(1 + exp(-|z|))      dz = u_i / K (sigmoid(z) - t)
 *   mse            sum_i u_i / K sum_c (z - t)^2                 dz = u_i / K 2 (z - t)
 * Targets of a row need not sum to 1: they carry label smoothing (Szegedy et al. 2016) and class weights.
 * Gradients reach z alone, times dloss where the loss is not the root. */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input forward_inputs[] = {{.name = "logits"}, {.name = "target"}, {.name = "weight"}};
static const graft_rule_input mse_inputs[] = {{.name = "y"}, {.name = "target"}, {.name = "weight"}};
static const graft_rule_input entropy_grad_inputs[] = {
    {.name = "dloss", .optional = true}, {.name = "probabilities"}, {.name = "target"}, {.name = "weight"}};
static const graft_rule_input bce_grad_inputs[] = {
    {.name = "dloss", .optional = true}, {.name = "logits"}, {.name = "target"}, {.name = "weight"}};
static const graft_rule_input mse_grad_inputs[] = {
    {.name = "dloss", .optional = true}, {.name = "y"}, {.name = "target"}, {.name = "weight"}};

/* z, target, weight are inputs first, first + 1, first + 2. */
static int rows_shape(const graft_op_types *t, const graft_rule_input *in, size_t first, graft_err *err) {
    int rc = graft_rule_inputs(t, in, first + 3, err);
    if (rc < 0) return rc;
    const graft_shape *z = &t->in[first]->shape;
    if (z->rank != 2 || !graft_rule_is_batched(z) || !graft_rule_same(t, first, first + 1))
        return graft_rule_fail(t, in, err, "%s and target must be (N,K)", in[first].name);
    if (!graft_rule_is_vector(t, first + 2, z->dims[0]))
        return graft_rule_fail(t, in, err, "weight must be (N)");
    return 0;
}

static int grad_shape(const graft_op_types *t, const graft_rule_input *in, graft_err *err) {
    int rc = rows_shape(t, in, 1, err);
    if (rc < 0) return rc;
    if (t->in[0] != NULL && t->in[0]->shape.rank != 0)
        return graft_rule_fail(t, in, err, "dloss must be a scalar");
    graft_rule_copy(t, 0, 1);
    return 0;
}

static int cross_entropy_shape(const graft_op_types *t, graft_err *err) {
    int rc = rows_shape(t, forward_inputs, 0, err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 1, 0);
    return 0;
}

static int bce_logits_shape(const graft_op_types *t, graft_err *err) {
    return rows_shape(t, forward_inputs, 0, err);
}

static int mse_shape(const graft_op_types *t, graft_err *err) {
    return rows_shape(t, mse_inputs, 0, err);
}

static int cross_entropy_grad_shape(const graft_op_types *t, graft_err *err) {
    return grad_shape(t, entropy_grad_inputs, err);
}

static int bce_logits_grad_shape(const graft_op_types *t, graft_err *err) {
    return grad_shape(t, bce_grad_inputs, err);
}

static int mse_grad_shape(const graft_op_types *t, graft_err *err) {
    return grad_shape(t, mse_grad_inputs, err);
}

static void loss_gradient(graft_graph *g, const graft_node *n, const graft_op *op, graft_value kept,
                          graft_value dloss, const bool *wanted, graft_value *din) {
    if (wanted[1] || wanted[2]) {
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient of %s with respect to its target or weight",
                         n->op->name);
        return;
    }
    if (wanted[0])
        graft_graph_node(g, op, NULL, (graft_value[]){dloss, kept, n->in[1], n->in[2]}, 4, &din[0]);
}

static void cross_entropy_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                   const bool *wanted, graft_value *din) {
    if (dout[1] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient through the probabilities of cross_entropy");
        return;
    }
    loss_gradient(g, n, &graft_op_cross_entropy_grad, n->out[1], dout[0], wanted, din);
}

static void bce_logits_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    loss_gradient(g, n, &graft_op_bce_logits_grad, n->in[0], dout[0], wanted, din);
}

static void mse_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                         graft_value *din) {
    loss_gradient(g, n, &graft_op_mse_grad, n->in[0], dout[0], wanted, din);
}

/* log softmax(z)_c = z_c - max - log sum exp(z - max): no exponent overflows and no logarithm sees 0. */
static void cross_entropy_reference(const graft_op_call *c) {
    int64_t n_rows = c->in_shape[0].dims[0], n_classes = c->in_shape[0].dims[1];
    double loss = 0;
    for (int64_t n = 0; n < n_rows; n++) {
        const double *z = c->in[0] + n * n_classes, *t = c->in[1] + n * n_classes;
        double *p = c->out[1] + n * n_classes, top = z[0], sum = 0;
        for (int64_t k = 1; k < n_classes; k++) top = z[k] > top ? z[k] : top;
        for (int64_t k = 0; k < n_classes; k++) sum += exp(z[k] - top);
        for (int64_t k = 0; k < n_classes; k++) {
            loss += c->in[2][n] * t[k] * (top + log(sum) - z[k]);
            p[k] = exp(z[k] - top) / sum;
        }
    }
    c->out[0][0] = loss;
}

static void cross_entropy_grad_reference(const graft_op_call *c) {
    int64_t n_rows = c->in_shape[1].dims[0], n_classes = c->in_shape[1].dims[1];
    double dloss = c->in[0] != NULL ? c->in[0][0] : 1;
    for (int64_t n = 0; n < n_rows; n++) {
        const double *p = c->in[1] + n * n_classes, *t = c->in[2] + n * n_classes;
        double total = 0;
        for (int64_t k = 0; k < n_classes; k++) total += t[k];
        for (int64_t k = 0; k < n_classes; k++)
            c->out[0][n * n_classes + k] = dloss * c->in[3][n] * (p[k] * total - t[k]);
    }
}

static void bce_logits_reference(const graft_op_call *c) {
    int64_t n_classes = c->in_shape[0].dims[1];
    double loss = 0;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[0]); i++) {
        double z = c->in[0][i], t = c->in[1][i];
        loss +=
            c->in[2][i / n_classes] / (double)n_classes * ((z > 0 ? z : 0) - z * t + log1p(exp(-fabs(z))));
    }
    c->out[0][0] = loss;
}

static void bce_logits_grad_reference(const graft_op_call *c) {
    int64_t n_classes = c->in_shape[1].dims[1];
    double dloss = c->in[0] != NULL ? c->in[0][0] : 1;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[1]); i++) {
        double e = exp(-fabs(c->in[1][i])), sigmoid = c->in[1][i] >= 0 ? 1 / (1 + e) : e / (1 + e);
        c->out[0][i] = dloss * c->in[3][i / n_classes] / (double)n_classes * (sigmoid - c->in[2][i]);
    }
}

static void mse_reference(const graft_op_call *c) {
    int64_t n_columns = c->in_shape[0].dims[1];
    double loss = 0;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[0]); i++) {
        double d = c->in[0][i] - c->in[1][i];
        loss += c->in[2][i / n_columns] / (double)n_columns * d * d;
    }
    c->out[0][0] = loss;
}

static void mse_grad_reference(const graft_op_call *c) {
    int64_t n_columns = c->in_shape[1].dims[1];
    double dloss = c->in[0] != NULL ? c->in[0][0] : 1;
    for (int64_t i = 0; i < graft_rule_count(&c->in_shape[1]); i++)
        c->out[0][i] = dloss * c->in[3][i / n_columns] / (double)n_columns * 2 * (c->in[1][i] - c->in[2][i]);
}

#define ROWS(n, k)                                                                                           \
    {2, {n, k}}, {2, {n, k}}, {                                                                              \
        1, {                                                                                                 \
            n                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case entropy_cases[] = {
    {.name = "few classes", .n_in = 3, .in = {ROWS(3, 5)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "one sample", .n_in = 3, .in = {ROWS(1, 16)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "many classes", .n_in = 3, .in = {ROWS(3, 101)}, .low = {-4}, .high = {4, 0.01, 1}},
    {.name = "extreme logits", .n_in = 3, .in = {ROWS(7, 4)}, .low = {-1e4}, .high = {1e4, 1, 1}},
    {.name = "two classes", .n_in = 3, .in = {ROWS(9, 2)}, .low = {-90}, .high = {90, 1, 0.1}},
};
const graft_op graft_op_cross_entropy = {
    .name = "cross_entropy",
    .n_out = 2,
    .shape = cross_entropy_shape,
    .grad = cross_entropy_gradient,
    .reference = cross_entropy_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = entropy_cases,
    .n_cases = GRAFT_COUNT(entropy_cases),
};

static const graft_op_case entropy_grad_cases[] = {
    {.name = "root", .n_in = 4, .in = {{-1, {0}}, ROWS(3, 5)}, .high = {[1] = 1, [2] = 1, [3] = 1}},
    {.name = "one sample", .n_in = 4, .in = {{-1, {0}}, ROWS(1, 16)}, .high = {[1] = 1, [2] = 1, [3] = 1}},
    {.name = "within a sum", .n_in = 4, .in = {{0, {0}}, ROWS(3, 101)}, .high = {[1] = 1, [2] = 1, [3] = 1}},
};
const graft_op graft_op_cross_entropy_grad = {
    .name = "cross_entropy_grad",
    .n_out = 1,
    .shape = cross_entropy_grad_shape,
    .reference = cross_entropy_grad_reference,
    .alias = {1, -1, -1, -1},
    .cases = entropy_grad_cases,
    .n_cases = GRAFT_COUNT(entropy_grad_cases),
};

static const graft_op_case bce_cases[] = {
    {.name = "few classes", .n_in = 3, .in = {ROWS(3, 5)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "one class", .n_in = 3, .in = {ROWS(7, 1)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "extreme logits", .n_in = 3, .in = {ROWS(3, 16)}, .low = {-1e4}, .high = {1e4, 1, 1}},
};
const graft_op graft_op_bce_logits = {
    .name = "bce_logits",
    .n_out = 1,
    .shape = bce_logits_shape,
    .grad = bce_logits_gradient,
    .reference = bce_logits_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = bce_cases,
    .n_cases = GRAFT_COUNT(bce_cases),
};

static const graft_op_case bce_grad_cases[] = {
    {.name = "root",
     .n_in = 4,
     .in = {{-1, {0}}, ROWS(3, 5)},
     .low = {[1] = -4},
     .high = {[1] = 4, [2] = 1, [3] = 1}},
    {.name = "extreme logits",
     .n_in = 4,
     .in = {{-1, {0}}, ROWS(3, 16)},
     .low = {[1] = -1e4},
     .high = {[1] = 1e4, [2] = 1, [3] = 1}},
    {.name = "within a sum",
     .n_in = 4,
     .in = {{0, {0}}, ROWS(1, 7)},
     .low = {[1] = -4},
     .high = {[1] = 4, [2] = 1, [3] = 1}},
};
const graft_op graft_op_bce_logits_grad = {
    .name = "bce_logits_grad",
    .n_out = 1,
    .shape = bce_logits_grad_shape,
    .reference = bce_logits_grad_reference,
    .alias = {1, -1, -1, -1},
    .cases = bce_grad_cases,
    .n_cases = GRAFT_COUNT(bce_grad_cases),
};

static const graft_op_case mse_cases[] = {
    {.name = "few columns", .n_in = 3, .in = {ROWS(3, 5)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "one column", .n_in = 3, .in = {ROWS(7, 1)}, .low = {-4}, .high = {4, 1, 1}},
    {.name = "one sample", .n_in = 3, .in = {ROWS(1, 33)}, .low = {-100}, .high = {100, 1, 1}},
};
const graft_op graft_op_mse = {
    .name = "mse",
    .n_out = 1,
    .shape = mse_shape,
    .grad = mse_gradient,
    .reference = mse_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = mse_cases,
    .n_cases = GRAFT_COUNT(mse_cases),
};

static const graft_op_case mse_grad_cases[] = {
    {.name = "root", .n_in = 4, .in = {{-1, {0}}, ROWS(3, 5)}},
    {.name = "one column", .n_in = 4, .in = {{-1, {0}}, ROWS(7, 1)}},
    {.name = "within a sum", .n_in = 4, .in = {{0, {0}}, ROWS(1, 33)}},
};
const graft_op graft_op_mse_grad = {
    .name = "mse_grad",
    .n_out = 1,
    .shape = mse_grad_shape,
    .reference = mse_grad_reference,
    .alias = {1, -1, -1, -1},
    .cases = mse_grad_cases,
    .n_cases = GRAFT_COUNT(mse_grad_cases),
};

static graft_value loss_node(graft_graph *g, const graft_op *op, graft_value z, graft_value target,
                             graft_value weight) {
    graft_value out[2];
    graft_graph_node(g, op, NULL, (graft_value[]){z, target, weight}, 3, out);
    return out[0];
}

graft_value graft_cross_entropy(graft_graph *g, graft_value logits, graft_value target, graft_value weight) {
    return loss_node(g, &graft_op_cross_entropy, logits, target, weight);
}

graft_value graft_bce_logits(graft_graph *g, graft_value logits, graft_value target, graft_value weight) {
    return loss_node(g, &graft_op_bce_logits, logits, target, weight);
}

graft_value graft_mse(graft_graph *g, graft_value y, graft_value target, graft_value weight) {
    return loss_node(g, &graft_op_mse, y, target, weight);
}
