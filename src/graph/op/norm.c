/* Batch norm over x (N,C,H,W) or (N,C), Ioffe and Szegedy 2015: with m and v the mean and the variance of
 * each channel, y = (x - m) / sqrt(v + eps) gamma + beta, then max(0, y) if asked. batch_norm has m and v
 * given and constant; batch_norm_train computes them from the batch (v divides by n, the number of values of
 * a channel) and may add a residual before the max, and running_update moves the running statistics, whose
 * variance divides by n - 1. */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input forward_inputs[] = {
    {.name = "x"}, {.name = "gamma"}, {.name = "beta"}, {.name = "mean"}, {.name = "var"}};
static const graft_rule_input grad_inputs[] = {{.name = "x"},    {.name = "dy"},   {.name = "gamma"},
                                               {.name = "beta"}, {.name = "mean"}, {.name = "var"}};
static const graft_rule_input train_inputs[] = {
    {.name = "x"}, {.name = "gamma"}, {.name = "beta"}, {.name = "residual", .optional = true}};
static const graft_rule_input train_grad_inputs[] = {{.name = "x"},
                                                     {.name = "dy"},
                                                     {.name = "gamma"},
                                                     {.name = "beta"},
                                                     {.name = "mean"},
                                                     {.name = "var"},
                                                     {.name = "mask", .optional = true, .dtype = GRAFT_U8},
                                                     {.name = "dy2", .optional = true}};
static const graft_rule_input running_inputs[] = {{.name = "running"}, {.name = "batch"}, {.name = "x"}};

/* x first, then vectors of a channel each from `vectors` to `end`; with dy (1) of x's shape when vectors
 * is 2. */
static int channels_shape(const graft_op_types *t, const graft_rule_input *in, size_t n_in, size_t vectors,
                          size_t end, graft_err *err) {
    int rc = graft_rule_inputs(t, in, n_in, err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[0]->shape;
    if ((x->rank != 2 && x->rank != 4) || !graft_rule_is_batched(x))
        return graft_rule_fail(t, in, err, "x must be (N,C) or (N,C,H,W)");
    if (vectors == 2 && !graft_rule_same(t, 0, 1))
        return graft_rule_fail(t, in, err, "dy must have x's shape");
    for (size_t i = vectors; i < end; i++) {
        if (!graft_rule_is_vector(t, i, x->dims[1]))
            return graft_rule_fail(t, in, err, "%s must have one number a channel", in[i].name);
    }
    graft_rule_copy(t, 0, 0);
    return 0;
}

static int batch_norm_shape(const graft_op_types *t, graft_err *err) {
    return channels_shape(t, forward_inputs, GRAFT_COUNT(forward_inputs), 1, 5, err);
}

static int batch_norm_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = channels_shape(t, grad_inputs, GRAFT_COUNT(grad_inputs), 2, 6, err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 1, 2);
    graft_rule_copy(t, 2, 2);
    return 0;
}

static int batch_norm_train_shape(const graft_op_types *t, graft_err *err) {
    const graft_norm_attr *a = t->attr;
    int rc = channels_shape(t, train_inputs, GRAFT_COUNT(train_inputs), 1, 3, err);
    if (rc < 0) return rc;
    if (t->in[3] != NULL && !graft_rule_same(t, 0, 3))
        return graft_rule_fail(t, train_inputs, err, "residual must have x's shape");
    graft_rule_copy(t, 1, 1);
    graft_rule_copy(t, 2, 1);
    t->out_shape[3] = a->relu ? t->in[0]->shape : (graft_shape){.rank = 1, .dims = {1}};
    t->out_dtype[3] = GRAFT_U8;
    return 0;
}

static int batch_norm_train_grad_shape(const graft_op_types *t, graft_err *err) {
    const graft_norm_attr *a = t->attr;
    int rc = channels_shape(t, train_grad_inputs, GRAFT_COUNT(train_grad_inputs), 2, 6, err);
    if (rc < 0) return rc;
    if ((t->in[6] != NULL) != (a->relu != 0))
        return graft_rule_fail(t, train_grad_inputs, err, "mask goes with relu, and relu with mask");
    if (t->in[6] != NULL && !graft_rule_same(t, 0, 6))
        return graft_rule_fail(t, train_grad_inputs, err, "mask must have x's shape");
    if (t->in[7] != NULL && !graft_rule_same(t, 0, 7))
        return graft_rule_fail(t, train_grad_inputs, err, "dy2 must have x's shape");
    graft_rule_copy(t, 1, 2);
    graft_rule_copy(t, 2, 2);
    graft_rule_copy(t, 3, 0);
    return 0;
}

static int running_update_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, running_inputs, GRAFT_COUNT(running_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *x = &t->in[2]->shape;
    if (x->rank < 2 || !graft_rule_is_batched(x) || !graft_rule_is_vector(t, 0, x->dims[1]) ||
        !graft_rule_is_vector(t, 1, x->dims[1]))
        return graft_rule_fail(t, running_inputs, err,
                               "running and batch must have one number a channel of x");
    graft_rule_copy(t, 0, 0);
    return 0;
}

static bool only_activations(graft_graph *g, const graft_node *n, const bool *wanted, size_t from) {
    for (size_t i = from; i < n->n_in; i++) {
        if (!wanted[i]) continue;
        graft_graph_fail(g, GRAFT_EINTERNAL, "gradient of %s with respect to its statistics", n->op->name);
        return false;
    }
    return true;
}

static void take(const bool *wanted, const graft_value *out, graft_value *din) {
    for (size_t i = 0; i < 3; i++) {
        if (wanted[i]) din[i] = out[i];
    }
}

static void batch_norm_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                const bool *wanted, graft_value *din) {
    graft_norm_attr a = *(const graft_norm_attr *)n->attr;
    if (!only_activations(g, n, wanted, 3)) return;
    graft_value dy = dout[0], out[3];
    if (a.relu) graft_graph_node(g, &graft_op_relu_grad, NULL, (graft_value[]){dout[0], n->out[0]}, 2, &dy);
    a.relu = 0;
    graft_graph_node(g, &graft_op_batch_norm_grad, &a,
                     (graft_value[]){n->in[0], dy, n->in[1], n->in[2], n->in[3], n->in[4]}, 6, out);
    take(wanted, out, din);
}

static void batch_norm_train_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                      const bool *wanted, graft_value *din) {
    const graft_norm_attr *a = n->attr;
    if (dout[1] != GRAFT_NONE || dout[2] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "gradient through the statistics of batch_norm_train");
        return;
    }
    graft_value mask = a->relu ? n->out[3] : GRAFT_NONE, out[4];
    graft_graph_node(
        g, &graft_op_batch_norm_train_grad, a,
        (graft_value[]){n->in[0], dout[0], n->in[1], n->in[2], n->out[1], n->out[2], mask, GRAFT_NONE}, 8,
        out);
    take(wanted, out, din);
    if (wanted[3]) din[3] = a->relu ? out[3] : dout[0];
}

/* One channel of a bound (N,C,...): n samples, `inner` values each, `apart` from one sample to the next. */
typedef struct channel {
    int64_t n, inner, apart, first;
} channel;

static channel channel_of(const graft_shape *x, int64_t c) {
    int64_t inner = graft_rule_inner(x);
    return (channel){x->dims[0], inner, x->dims[1] * inner, c * inner};
}

/* for each value of channel c of x, with offset i */
#define EACH(ch, i)                                                                                          \
    for (int64_t n_ = 0; n_ < (ch).n; n_++)                                                                  \
        for (int64_t i = (ch).first + n_ * (ch).apart; i < (ch).first + n_ * (ch).apart + (ch).inner; i++)

static void batch_norm_reference(const graft_op_call *c) {
    const graft_norm_attr *a = c->attr;
    const double *x = c->in[0], *gamma = c->in[1], *beta = c->in[2], *mean = c->in[3], *var = c->in[4];
    for (int64_t k = 0; k < c->in_shape[0].dims[1]; k++) {
        channel ch = channel_of(&c->in_shape[0], k);
        double scale = gamma[k] / sqrt(var[k] + a->eps);
        EACH(ch, i) {
            double y = (x[i] - mean[k]) * scale + beta[k];
            c->out[0][i] = a->relu && y < 0 ? 0 : y;
        }
    }
}

/* dx = dy gamma / sqrt(v + eps); dgamma = sum dy (x - m) / sqrt(v + eps); dbeta = sum dy */
static void batch_norm_grad_reference(const graft_op_call *c) {
    const graft_norm_attr *a = c->attr;
    const double *x = c->in[0], *dy = c->in[1], *gamma = c->in[2], *mean = c->in[4], *var = c->in[5];
    for (int64_t k = 0; k < c->in_shape[0].dims[1]; k++) {
        channel ch = channel_of(&c->in_shape[0], k);
        double inverse = 1 / sqrt(var[k] + a->eps), dgamma = 0, dbeta = 0;
        EACH(ch, i) {
            double d = dy[i];
            dgamma += d * (x[i] - mean[k]) * inverse;
            dbeta += d;
            c->out[0][i] = d * gamma[k] * inverse;
        }
        c->out[1][k] = dgamma;
        c->out[2][k] = dbeta;
    }
}

static void batch_norm_train_reference(const graft_op_call *c) {
    const graft_norm_attr *a = c->attr;
    const double *x = c->in[0], *gamma = c->in[1], *beta = c->in[2], *residual = c->in[3];
    if (!a->relu) c->out[3][0] = 1;
    for (int64_t k = 0; k < c->in_shape[0].dims[1]; k++) {
        channel ch = channel_of(&c->in_shape[0], k);
        double n = (double)(ch.n * ch.inner), mean = 0, var = 0;
        EACH(ch, i) mean += x[i] / n;
        EACH(ch, i) var += (x[i] - mean) * (x[i] - mean) / n;
        double scale = gamma[k] / sqrt(var + a->eps);
        EACH(ch, i) {
            double y = (x[i] - mean) * scale + beta[k] + (residual != NULL ? residual[i] : 0);
            c->out[0][i] = a->relu && y < 0 ? 0 : y;
            if (a->relu) c->out[3][i] = y > 0 ? 1 : 0;
        }
        c->out[1][k] = mean;
        c->out[2][k] = var;
    }
}

/* With xhat = (x - m) / sqrt(v + eps), d = dy + dy2 where the mask is set, and n values a channel:
 * dbeta = sum d, dgamma = sum d xhat, dx = gamma / sqrt(v + eps) (d - dbeta / n - xhat dgamma / n); the
 * residual's gradient is d. */
static void batch_norm_train_grad_reference(const graft_op_call *c) {
    const graft_norm_attr *a = c->attr;
    const double *x = c->in[0], *dy = c->in[1], *gamma = c->in[2], *mean = c->in[4], *var = c->in[5],
                 *mask = c->in[6], *dy2 = c->in[7];
    for (int64_t k = 0; k < c->in_shape[0].dims[1]; k++) {
        channel ch = channel_of(&c->in_shape[0], k);
        double n = (double)(ch.n * ch.inner), inverse = 1 / sqrt(var[k] + a->eps), dgamma = 0, dbeta = 0;
        EACH(ch, i) {
            double d = mask != NULL && mask[i] == 0 ? 0 : dy[i] + (dy2 != NULL ? dy2[i] : 0);
            dgamma += d * (x[i] - mean[k]) * inverse;
            dbeta += d;
        }
        EACH(ch, i) {
            double d = mask != NULL && mask[i] == 0 ? 0 : dy[i] + (dy2 != NULL ? dy2[i] : 0);
            double xhat = (x[i] - mean[k]) * inverse;
            c->out[3][i] = d;
            c->out[0][i] = gamma[k] * inverse * (d - dbeta / n - xhat * dgamma / n);
        }
        c->out[1][k] = dgamma;
        c->out[2][k] = dbeta;
    }
}

/* running' = (1 - momentum) running + momentum batch n / (n - 1), the last factor for variances alone; with
 * one value a channel there is no unbiased variance, and the biased one (0) is taken. */
static void running_update_reference(const graft_op_call *c) {
    const graft_running_attr *a = c->attr;
    const double *running = c->in[0], *batch = c->in[1];
    int64_t n = c->in_shape[2].dims[0] * graft_rule_inner(&c->in_shape[2]);
    double factor = a->is_variance && n > 1 ? (double)n / (double)(n - 1) : 1;
    for (int64_t k = 0; k < c->out_shape[0].dims[0]; k++)
        c->out[0][k] = (1 - a->momentum) * running[k] + a->momentum * batch[k] * factor;
}

static const graft_norm_attr plain = {.eps = 1e-5, .momentum = 0.1},
                             with_relu = {.eps = 1e-5, .momentum = 0.1, .relu = 1};
static const graft_norm_attr large_eps = {.eps = 1e-3, .momentum = 0.01};
#define V(c)                                                                                                 \
    {                                                                                                        \
        1, {                                                                                                 \
            c                                                                                                \
        }                                                                                                    \
    }
#define NONE                                                                                                 \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }
#define PICTURE                                                                                              \
    {                                                                                                        \
        4, {                                                                                                 \
            3, 5, 7, 3                                                                                       \
        }                                                                                                    \
    }
#define BLOCKS                                                                                               \
    {                                                                                                        \
        4, {                                                                                                 \
            1, 32, 4, 5                                                                                      \
        }                                                                                                    \
    }
#define FEATURES                                                                                             \
    {                                                                                                        \
        2, {                                                                                                 \
            7, 18                                                                                            \
        }                                                                                                    \
    }

static const graft_op_case batch_norm_cases[] = {
    {.name = "odd picture",
     .attr = &plain,
     .n_in = 5,
     .in = {PICTURE, V(5), V(5), V(5), V(5)},
     .low = {[4] = 0.2},
     .high = {[4] = 2}},
    {.name = "whole blocks, relu",
     .attr = &with_relu,
     .n_in = 5,
     .in = {BLOCKS, V(32), V(32), V(32), V(32)},
     .low = {[4] = 0.2},
     .high = {[4] = 2}},
    {.name = "features",
     .attr = &large_eps,
     .n_in = 5,
     .in = {FEATURES, V(18), V(18), V(18), V(18)},
     .low = {[4] = 0.2},
     .high = {[4] = 2}},
    {.name = "small variance",
     .attr = &large_eps,
     .n_in = 5,
     .in = {PICTURE, V(5), V(5), V(5), V(5)},
     .high = {[4] = 1e-4},
     .tolerance = 1e-4},
};
const graft_op graft_op_batch_norm = {
    .name = "batch_norm",
    .attr_size = sizeof(graft_norm_attr),
    .n_out = 1,
    .shape = batch_norm_shape,
    .grad = batch_norm_gradient,
    .reference = batch_norm_reference,
    .alias = {0, -1, -1, -1},
    .bf16 = 1,
    .cases = batch_norm_cases,
    .n_cases = GRAFT_COUNT(batch_norm_cases),
};

static const graft_op_case batch_norm_grad_cases[] = {
    {.name = "odd picture",
     .attr = &plain,
     .n_in = 6,
     .in = {PICTURE, PICTURE, V(5), V(5), V(5), V(5)},
     .low = {[5] = 0.2},
     .high = {[5] = 2}},
    {.name = "whole blocks",
     .attr = &plain,
     .n_in = 6,
     .in = {BLOCKS, BLOCKS, V(32), V(32), V(32), V(32)},
     .low = {[5] = 0.2},
     .high = {[5] = 2}},
    {.name = "features",
     .attr = &large_eps,
     .n_in = 6,
     .in = {FEATURES, FEATURES, V(18), V(18), V(18), V(18)},
     .low = {[5] = 0.2},
     .high = {[5] = 2}},
};
const graft_op graft_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .attr_size = sizeof(graft_norm_attr),
    .n_out = 3,
    .shape = batch_norm_grad_shape,
    .reference = batch_norm_grad_reference,
    .alias = {1, -1, -1, -1},
    .bf16 = 1,
    .shape_only = 1u << 3,
    .cases = batch_norm_grad_cases,
    .n_cases = GRAFT_COUNT(batch_norm_grad_cases),
};

static const graft_op_case batch_norm_train_cases[] = {
    {.name = "odd picture", .attr = &plain, .n_in = 4, .in = {PICTURE, V(5), V(5), NONE}},
    {.name = "odd picture, relu", .attr = &with_relu, .n_in = 4, .in = {PICTURE, V(5), V(5), NONE}},
    {.name = "whole blocks", .attr = &plain, .n_in = 4, .in = {BLOCKS, V(32), V(32), NONE}},
    {.name = "whole blocks, relu",
     .attr = &with_relu,
     .n_in = 4,
     .in = {{4, {3, 32, 4, 5}}, V(32), V(32), NONE}},
    {.name = "odd picture, residual and relu",
     .attr = &with_relu,
     .n_in = 4,
     .in = {PICTURE, V(5), V(5), PICTURE}},
    {.name = "whole blocks, residual and relu",
     .attr = &with_relu,
     .n_in = 4,
     .in = {BLOCKS, V(32), V(32), BLOCKS}},
    {.name = "many rows, residual",
     .attr = &plain,
     .n_in = 4,
     .in = {{4, {5, 80, 23, 21}}, V(80), V(80), {4, {5, 80, 23, 21}}}},
    {.name = "features", .attr = &large_eps, .n_in = 4, .in = {FEATURES, V(18), V(18), NONE}},
    {.name = "far from zero",
     .attr = &plain,
     .n_in = 4,
     .in = {PICTURE, V(5), V(5), NONE},
     .low = {50},
     .high = {52},
     .tolerance = 1e-4},
};
const graft_op graft_op_batch_norm_train = {
    .name = "batch_norm_train",
    .attr_size = sizeof(graft_norm_attr),
    .n_out = 4,
    .shape = batch_norm_train_shape,
    .grad = batch_norm_train_gradient,
    .reference = batch_norm_train_reference,
    .alias = {3, -1, -1, -1},
    .bf16 = 1,
    .cases = batch_norm_train_cases,
    .n_cases = GRAFT_COUNT(batch_norm_train_cases),
};

/* Statistics here are near those of uniform values, though not exactly: any are allowed. */
static const graft_op_case batch_norm_train_grad_cases[] = {
    {.name = "odd picture",
     .attr = &plain,
     .n_in = 8,
     .in = {PICTURE, PICTURE, V(5), V(5), V(5), V(5), NONE, NONE},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4}},
    {.name = "whole blocks",
     .attr = &plain,
     .n_in = 8,
     .in = {BLOCKS, BLOCKS, V(32), V(32), V(32), V(32), NONE, NONE},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4}},
    {.name = "odd picture, mask",
     .attr = &with_relu,
     .n_in = 8,
     .in = {PICTURE, PICTURE, V(5), V(5), V(5), V(5), PICTURE, NONE},
     .dtype = {[6] = GRAFT_U8},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4, [6] = 2},
     .whole = 1u << 6},
    {.name = "whole blocks, mask",
     .attr = &with_relu,
     .n_in = 8,
     .in = {BLOCKS, BLOCKS, V(32), V(32), V(32), V(32), BLOCKS, NONE},
     .dtype = {[6] = GRAFT_U8},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4, [6] = 2},
     .whole = 1u << 6},
    {.name = "odd picture, dy2",
     .attr = &plain,
     .n_in = 8,
     .in = {PICTURE, PICTURE, V(5), V(5), V(5), V(5), NONE, PICTURE},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4}},
    {.name = "many rows, dy2",
     .attr = &plain,
     .n_in = 8,
     .in =
         {{4, {5, 80, 23, 21}}, {4, {5, 80, 23, 21}}, V(80), V(80), V(80), V(80), NONE, {4, {5, 80, 23, 21}}},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4}},
    {.name = "whole blocks, mask, dy2",
     .attr = &with_relu,
     .n_in = 8,
     .in = {BLOCKS, BLOCKS, V(32), V(32), V(32), V(32), BLOCKS, BLOCKS},
     .dtype = {[6] = GRAFT_U8},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4, [6] = 2},
     .whole = 1u << 6},
    {.name = "features",
     .attr = &large_eps,
     .n_in = 8,
     .in = {FEATURES, FEATURES, V(18), V(18), V(18), V(18), NONE, NONE},
     .low = {[4] = -0.1, [5] = 0.3},
     .high = {[4] = 0.1, [5] = 0.4}},
};
const graft_op graft_op_batch_norm_train_grad = {
    .name = "batch_norm_train_grad",
    .attr_size = sizeof(graft_norm_attr),
    .n_out = 4,
    .shape = batch_norm_train_grad_shape,
    .reference = batch_norm_train_grad_reference,
    .alias = {1, -1, -1, 7},
    .bf16 = 1u << 0 | 1u << 3,
    .shape_only = 1u << 3,
    .cases = batch_norm_train_grad_cases,
    .n_cases = GRAFT_COUNT(batch_norm_train_grad_cases),
};

static const graft_op_case running_update_cases[] = {
    {.name = "mean",
     .attr = &(const graft_running_attr){.momentum = 0.1},
     .n_in = 3,
     .in = {V(5), V(5), PICTURE}},
    {.name = "variance",
     .attr = &(const graft_running_attr){.momentum = 0.1, .is_variance = 1},
     .n_in = 3,
     .in = {V(5), V(5), PICTURE},
     .low = {0.5, 0.5},
     .high = {2, 2}},
    {.name = "variance of features",
     .attr = &(const graft_running_attr){.momentum = 0.3, .is_variance = 1},
     .n_in = 3,
     .in = {V(18), V(18), FEATURES},
     .low = {0.5, 0.5},
     .high = {2, 2}},
    {.name = "variance of one value",
     .attr = &(const graft_running_attr){.momentum = 1, .is_variance = 1},
     .n_in = 3,
     .in = {V(16), V(16), {4, {1, 16, 1, 1}}},
     .low = {0.5, 0.5},
     .high = {2, 2}},
};
const graft_op graft_op_running_update = {
    .name = "running_update",
    .attr_size = sizeof(graft_running_attr),
    .n_out = 1,
    .shape = running_update_shape,
    .reference = running_update_reference,
    .alias = {0, -1, -1, -1},
    .shape_only = 1u << 2,
    .cases = running_update_cases,
    .n_cases = GRAFT_COUNT(running_update_cases),
};

graft_value graft_batch_norm(graft_graph *g, graft_value x, graft_value gamma, graft_value beta,
                             graft_value mean, graft_value variance, graft_norm_attr a) {
    graft_value y;
    graft_graph_node(g, &graft_op_batch_norm, &a, (graft_value[]){x, gamma, beta, mean, variance}, 5, &y);
    return y;
}

graft_value graft_batch_norm_train(graft_graph *g, graft_value x, graft_value gamma, graft_value beta,
                                   graft_value mean, graft_value variance, graft_norm_attr a) {
    graft_value out[4], running[2] = {mean, variance};
    graft_graph_node(g, &graft_op_batch_norm_train, &a, (graft_value[]){x, gamma, beta, GRAFT_NONE}, 4, out);
    for (int i = 0; i < 2; i++) {
        graft_value moved;
        graft_graph_node(g, &graft_op_running_update, &(graft_running_attr){a.momentum, i},
                         (graft_value[]){running[i], out[1 + i], x}, 3, &moved);
        graft_graph_assign(g, running[i], moved);
    }
    return out[0];
}
