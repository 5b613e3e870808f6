/* Updates of one parameter w by its gradient g = g_scale dw, with rate r = lr lr_scale, and the scale that
 * clips the norm of all gradients. As PyTorch has them: sgd   g += decay w;  v = momentum v + g (Polyak 1964;
 * v starts at 0);  w -= r v, or r (g + momentum v) (Nesterov) adam  g += decay w, or decoupled w *= 1 - r
 * decay;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2; w -= r m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) +
 * eps)      Kingma and Ba 2015; Loshchilov and Hutter 2019 */
#include "graph/op/rule.h"

#include <math.h>

static const graft_rule_input sgd_inputs[] = {{.name = "w"},
                                              {.name = "dw"},
                                              {.name = "velocity", .optional = true},
                                              {.name = "lr"},
                                              {.name = "g_scale", .optional = true}};
static const graft_rule_input adam_inputs[] = {{.name = "w"},
                                               {.name = "dw"},
                                               {.name = "m"},
                                               {.name = "v"},
                                               {.name = "lr"},
                                               {.name = "step"},
                                               {.name = "g_scale", .optional = true}};

static int numbers_shape(const graft_op_types *t, const graft_rule_input *in, size_t from, graft_err *err) {
    for (size_t i = from; i < t->n_in; i++) {
        if (!graft_rule_is_vector(t, i, 1)) return graft_rule_fail(t, in, err, "%s must be (1)", in[i].name);
    }
    return 0;
}

static int sgd_shape(const graft_op_types *t, graft_err *err) {
    const graft_sgd_attr *a = t->attr;
    int rc = graft_rule_inputs(t, sgd_inputs, GRAFT_COUNT(sgd_inputs), err);
    if (rc == 0) rc = numbers_shape(t, sgd_inputs, 3, err);
    if (rc < 0) return rc;
    if (!graft_rule_same(t, 0, 1)) return graft_rule_fail(t, sgd_inputs, err, "dw must have w's shape");
    if ((t->in[2] != NULL) != (a->momentum != 0))
        return graft_rule_fail(t, sgd_inputs, err, "velocity goes with momentum, which is %g", a->momentum);
    if (t->in[2] != NULL && !graft_rule_same(t, 0, 2))
        return graft_rule_fail(t, sgd_inputs, err, "velocity must have w's shape");
    graft_rule_copy(t, 0, 0);
    t->out_shape[1] = t->in[2] != NULL ? t->in[2]->shape : (graft_shape){.rank = 1, .dims = {1}};
    return 0;
}

static int adam_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, adam_inputs, GRAFT_COUNT(adam_inputs), err);
    if (rc == 0) rc = numbers_shape(t, adam_inputs, 4, err);
    if (rc < 0) return rc;
    for (size_t i = 1; i < 4; i++) {
        if (!graft_rule_same(t, 0, i))
            return graft_rule_fail(t, adam_inputs, err, "%s must have w's shape", adam_inputs[i].name);
    }
    graft_rule_copy(t, 0, 0);
    graft_rule_copy(t, 1, 2);
    graft_rule_copy(t, 2, 3);
    return 0;
}

static int clip_scale_shape(const graft_op_types *t, graft_err *err) {
    const graft_clip_attr *a = t->attr;
    if (t->n_in == 0) return graft_err_set(err, GRAFT_ESHAPE, "no gradients to clip");
    for (size_t i = 0; i < t->n_in; i++) {
        if (t->in[i] == NULL) return graft_err_set(err, GRAFT_ESHAPE, "gradient %zu is missing", i);
        if (t->in[i]->dtype != GRAFT_F32)
            return graft_err_set(err, GRAFT_EDTYPE, "gradient %zu has element type %s where the op takes F32",
                                 i, graft_dtype_name(t->in[i]->dtype));
    }
    if (!(a->max_norm > 0))
        return graft_err_set(err, GRAFT_EUSAGE, "the largest norm is %g, not above 0", a->max_norm);
    t->out_shape[0] = (graft_shape){.rank = 1, .dims = {1}};
    return 0;
}

/* A gradient whose factor is no number is none: the parameter and its moments, the inputs that the results
 * replace, stay as they are. */
static bool refuses(const graft_op_call *c, size_t scale, const size_t *replaced) {
    if (c->in[scale] == NULL || !isnan(c->in[scale][0])) return false;
    for (size_t o = 0; o < c->n_out; o++)
        for (int64_t i = 0; c->in[replaced[o]] != NULL && i < graft_rule_count(&c->out_shape[o]); i++)
            c->out[o][i] = c->in[replaced[o]][i];
    return true;
}

static void sgd_reference(const graft_op_call *c) {
    const graft_sgd_attr *a = c->attr;
    const double *w = c->in[0], *dw = c->in[1], *v = c->in[2];
    double rate = c->in[3][0] * a->lr_scale, scale = c->in[4] != NULL ? c->in[4][0] : 1;
    if (v == NULL) c->out[1][0] = 0;
    if (refuses(c, 4, (const size_t[]){0, 2})) return;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) {
        double step = scale * dw[i] + a->weight_decay * w[i];
        if (v != NULL) {
            double velocity = a->momentum * v[i] + step;
            c->out[1][i] = velocity;
            step = a->nesterov ? step + a->momentum * velocity : velocity;
        }
        c->out[0][i] = w[i] - rate * step;
    }
}

static void adam_reference(const graft_op_call *c) {
    const graft_adam_attr *a = c->attr;
    const double *dw = c->in[1];
    double rate = c->in[4][0] * a->lr_scale, t = c->in[5][0] + a->steps_before,
           scale = c->in[6] != NULL ? c->in[6][0] : 1;
    if (refuses(c, 6, (const size_t[]){0, 2, 3})) return;
    double correct1 = 1 - pow(a->beta1, t), correct2 = 1 - pow(a->beta2, t);
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) {
        double w = c->in[0][i], g = scale * dw[i];
        if (a->decoupled)
            w *= 1 - rate * a->weight_decay;
        else
            g += a->weight_decay * w;
        double m = a->beta1 * c->in[2][i] + (1 - a->beta1) * g;
        double v = a->beta2 * c->in[3][i] + (1 - a->beta2) * g * g;
        c->out[0][i] = w - rate * (m / correct1) / (sqrt(v / correct2) + a->eps);
        c->out[1][i] = m;
        c->out[2][i] = v;
    }
}

/* Pascanu et al. 2013, "On the difficulty of training recurrent neural networks"; 1e-6 as PyTorch's
 * clip_grad_norm_. */
static void clip_scale_reference(const graft_op_call *c) {
    const graft_clip_attr *a = c->attr;
    double sum = 0;
    for (size_t k = 0; k < c->n_in; k++)
        for (int64_t i = 0; i < graft_rule_count(&c->in_shape[k]); i++) sum += c->in[k][i] * c->in[k][i];
    double scale = a->max_norm / (sqrt(sum) + 1e-6);
    c->out[0][0] = !isfinite(sum) ? NAN : scale > 1 ? 1 : scale;
}

static const graft_sgd_attr sgd_plain = {.lr_scale = 1}, sgd_decay = {.weight_decay = 1e-2, .lr_scale = 0.1};
static const graft_sgd_attr sgd_momentum = {.momentum = 0.9, .weight_decay = 1e-4, .lr_scale = 1};
static const graft_sgd_attr sgd_nesterov = {
    .momentum = 0.9, .weight_decay = 1e-2, .lr_scale = 0.5, .nesterov = 1};
#define FILTER                                                                                               \
    {                                                                                                        \
        4, {                                                                                                 \
            5, 3, 3, 3                                                                                       \
        }                                                                                                    \
    }
#define ONE                                                                                                  \
    {                                                                                                        \
        1, {                                                                                                 \
            1                                                                                                \
        }                                                                                                    \
    }
#define NOTHING                                                                                              \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case sgd_cases[] = {
    {.name = "plain",
     .attr = &sgd_plain,
     .n_in = 5,
     .in = {FILTER, FILTER, NOTHING, ONE, NOTHING},
     .high = {[3] = 0.1}},
    {.name = "plain with decay and clipping",
     .attr = &sgd_decay,
     .n_in = 5,
     .in = {{2, {16, 33}}, {2, {16, 33}}, NOTHING, ONE, ONE},
     .high = {[3] = 0.1, [4] = 1}},
    {.name = "momentum",
     .attr = &sgd_momentum,
     .n_in = 5,
     .in = {FILTER, FILTER, FILTER, ONE, NOTHING},
     .high = {[3] = 0.1}},
    {.name = "nesterov with clipping",
     .attr = &sgd_nesterov,
     .n_in = 5,
     .in = {{1, {67}}, {1, {67}}, {1, {67}}, ONE, ONE},
     .high = {[3] = 0.1, [4] = 1}},
};
const graft_op graft_op_sgd = {
    .name = "sgd",
    .attr_size = sizeof(graft_sgd_attr),
    .n_out = 2,
    .shape = sgd_shape,
    .reference = sgd_reference,
    .alias = {0, 2, -1, -1},
    .cases = sgd_cases,
    .n_cases = GRAFT_COUNT(sgd_cases),
};

static const graft_adam_attr adam_plain = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .lr_scale = 1};
static const graft_adam_attr adam_decay = {
    .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 1e-2, .lr_scale = 0.1};
static const graft_adam_attr adam_w = {
    .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .weight_decay = 0.1, .lr_scale = 1, .decoupled = 1};

static const graft_adam_attr adam_later = {
    .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .lr_scale = 1, .steps_before = 12};

static const graft_op_case adam_cases[] = {
    {.name = "first step",
     .attr = &adam_plain,
     .n_in = 7,
     .in = {FILTER, FILTER, FILTER, FILTER, ONE, ONE, NOTHING},
     .low = {[5] = 1},
     .high = {[3] = 1, [4] = 0.01, [5] = 1}},
    {.name = "first step of a later phase",
     .attr = &adam_later,
     .n_in = 7,
     .in = {FILTER, FILTER, FILTER, FILTER, ONE, ONE, NOTHING},
     .low = {[5] = 1},
     .high = {[3] = 1, [4] = 0.01, [5] = 1}},
    {.name = "decay",
     .attr = &adam_decay,
     .n_in = 7,
     .in = {{2, {16, 33}}, {2, {16, 33}}, {2, {16, 33}}, {2, {16, 33}}, ONE, ONE, NOTHING},
     .low = {[3] = 0.1, [5] = 7},
     .high = {[3] = 1, [4] = 0.01, [5] = 7}},
    {.name = "decoupled with clipping",
     .attr = &adam_w,
     .n_in = 7,
     .in = {{1, {67}}, {1, {67}}, {1, {67}}, {1, {67}}, ONE, ONE, ONE},
     .low = {[5] = 1000},
     .high = {[3] = 1, [4] = 0.01, [5] = 1000, [6] = 1}},
};
const graft_op graft_op_adam = {
    .name = "adam",
    .attr_size = sizeof(graft_adam_attr),
    .n_out = 3,
    .shape = adam_shape,
    .reference = adam_reference,
    .alias = {0, 2, 3, -1},
    .cases = adam_cases,
    .n_cases = GRAFT_COUNT(adam_cases),
};

static const graft_op_case clip_scale_cases[] = {
    {.name = "one gradient", .attr = &(const graft_clip_attr){1}, .n_in = 1, .in = {FILTER}},
    {.name = "several",
     .attr = &(const graft_clip_attr){0.5},
     .n_in = 4,
     .in = {FILTER, {1, {5}}, {2, {16, 33}}, {1, {16}}}},
    {.name = "within the norm", .attr = &(const graft_clip_attr){100}, .n_in = 2, .in = {FILTER, {1, {5}}}},
};
const graft_op graft_op_clip_scale = {
    .name = "clip_scale",
    .attr_size = sizeof(graft_clip_attr),
    .n_out = 1,
    .shape = clip_scale_shape,
    .reference = clip_scale_reference,
    .alias = {-1, -1, -1, -1},
    .cases = clip_scale_cases,
    .n_cases = GRAFT_COUNT(clip_scale_cases),
};

/* A state of w's shape, named after it. */
static graft_value moment(graft_graph *g, graft_value w, const char *what) {
    if (graft_graph_failed(g)) return GRAFT_NONE;
    const graft_value_info *info = w >= 0 ? graft_graph_value(g, w) : NULL;
    if (info == NULL || info->name == NULL) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "an optimiser updates a value without a name");
        return GRAFT_NONE;
    }
    graft_shape shape = info->shape;
    char *name = graft_arena_printf(graft_graph_arena(g), "%s/%s", info->name, what);
    if (name == NULL) {
        graft_graph_fail(g, GRAFT_ENOMEM, "out of memory");
        return GRAFT_NONE;
    }
    return graft_graph_state(g, name, shape);
}

void graft_sgd(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value g_scale,
               graft_sgd_attr a) {
    graft_value velocity = a.momentum != 0 ? moment(g, w, "momentum") : GRAFT_NONE, out[2];
    graft_graph_node(g, &graft_op_sgd, &a, (graft_value[]){w, dw, velocity, lr, g_scale}, 5, out);
    graft_graph_assign(g, w, out[0]);
    if (velocity != GRAFT_NONE) graft_graph_assign(g, velocity, out[1]);
}

void graft_adam(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value step,
                graft_value g_scale, graft_adam_attr a) {
    graft_value m = moment(g, w, "exp_avg"), v = moment(g, w, "exp_avg_sq"), out[3];
    graft_graph_node(g, &graft_op_adam, &a, (graft_value[]){w, dw, m, v, lr, step, g_scale}, 7, out);
    graft_graph_assign(g, w, out[0]);
    graft_graph_assign(g, m, out[1]);
    graft_graph_assign(g, v, out[2]);
}

graft_value graft_clip_scale(graft_graph *g, const graft_value *grads, size_t n_grads, double max_norm) {
    graft_value scale;
    graft_graph_node(g, &graft_op_clip_scale, &(graft_clip_attr){max_norm}, grads, n_grads, &scale);
    return scale;
}
