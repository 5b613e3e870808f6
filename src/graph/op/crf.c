/* Negative log-likelihood of a linear-chain conditional random field (Lafferty et al. 2001; Lample et al.
 * 2016) over packed texts. The chain of a span are its tokens t_1 < ... < t_L whose tag lies in [0,K); the
 * others are passed over. With emissions e, transitions A[from,to], start s and end f, a path y scores S(y) =
 * s_y1 + sum_k e_tk,yk + sum_k A_y(k-1),yk + f_yL      nll = log sum_y exp S(y) - S(tags) and a chain without
 * tokens has nll 0. `allowed` (K+2,K) says which steps exist: row i of the first K those from i, row K those
 * from the start, row K+1 those to the end; what is not above 0 scores GRAFT_CRF_FORBIDDEN in place of the
 * parameter, so that sums stay finite, also for tags that break the rule, and the parameter has no gradient.
 *   forward    filtered_k = log P(y_k | t_1..t_k): alpha, each row made to sum to 1; log Z adds up what was
 *              divided away, so no row grows with the text
 *   backward   beta_k = log of the scores of all that follows, up to a factor a row;
 *              P(y_(k-1)=i, y_k=j) ~ exp(filtered_(k-1),i + A_ij + e_kj + beta_kj), made to sum to 1
 * A gradient is the probability less the tags' own part, times the sample's weight. */
#include "graph/op/rule.h"
#include "graph/op/span.h"

#include <math.h>
#include <string.h>

static const graft_rule_input forward_inputs[] = {
    {.name = "emissions"},
    {.name = "transitions"},
    {.name = "start"},
    {.name = "end"},
    {.name = "allowed", .optional = true},
    {.name = "tags", .dtype = GRAFT_I32},
    {.name = "weight"},
    {.name = "spans", .dtype = GRAFT_I32},
};
static const graft_rule_input grad_inputs[] = {
    {.name = "emissions"},
    {.name = "transitions"},
    {.name = "start"},
    {.name = "end"},
    {.name = "allowed", .optional = true},
    {.name = "tags", .dtype = GRAFT_I32},
    {.name = "weight"},
    {.name = "spans", .dtype = GRAFT_I32},
    {.name = "filtered"},
    {.name = "dloss", .optional = true},
};
enum {
    EMISSIONS,
    TRANSITIONS,
    START,
    END,
    ALLOWED,
    TAGS,
    WEIGHT,
    SPANS,
    N_FORWARD,
    FILTERED = N_FORWARD,
    DLOSS,
    N_GRAD
};

static int parameters_shape(const graft_op_types *t, const graft_rule_input *in, graft_err *err) {
    const graft_shape *e = &t->in[EMISSIONS]->shape, *a = &t->in[TRANSITIONS]->shape;
    if (e->rank != 2 || !graft_rule_is_batched(e))
        return graft_rule_fail(t, in, err, "emissions must be (T,K)");
    int64_t k = e->dims[1];
    if (a->rank != 2 || a->dims[0] != k || a->dims[1] != k)
        return graft_rule_fail(t, in, err, "transitions must be (K,K)");
    if (!graft_rule_is_vector(t, START, k) || !graft_rule_is_vector(t, END, k))
        return graft_rule_fail(t, in, err, "start and end must be (K)");
    if (t->in[ALLOWED] == NULL) return 0;
    const graft_shape *mask = &t->in[ALLOWED]->shape;
    if (mask->rank != 2 || mask->dims[0] != k + 2 || mask->dims[1] != k)
        return graft_rule_fail(t, in, err, "allowed must be (K+2,K)");
    return 0;
}

static int chain_shape(const graft_op_types *t, const graft_rule_input *in, size_t n_in, graft_err *err) {
    int rc = graft_rule_inputs(t, in, n_in, err);
    if (rc == 0) rc = parameters_shape(t, in, err);
    if (rc < 0) return rc;
    const graft_shape *spans = &t->in[SPANS]->shape;
    if (!graft_rule_is_vector(t, TAGS, t->in[EMISSIONS]->shape.dims[0]))
        return graft_rule_fail(t, in, err, "tags must be (T)");
    if (spans->rank != 2 || spans->dims[1] != 2 || !graft_rule_is_batched(spans))
        return graft_rule_fail(t, in, err, "spans must be (N,2)");
    if (!graft_rule_is_vector(t, WEIGHT, spans->dims[0]))
        return graft_rule_fail(t, in, err, "weight must be (N)");
    return 0;
}

static int crf_nll_shape(const graft_op_types *t, graft_err *err) {
    int rc = chain_shape(t, forward_inputs, N_FORWARD, err);
    if (rc < 0) return rc;
    graft_rule_copy(t, 1, EMISSIONS);
    return 0;
}

static int crf_nll_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = chain_shape(t, grad_inputs, N_GRAD, err);
    if (rc < 0) return rc;
    if (!graft_rule_same(t, FILTERED, EMISSIONS))
        return graft_rule_fail(t, grad_inputs, err, "filtered must have emissions' shape");
    if (t->in[DLOSS] != NULL && t->in[DLOSS]->shape.rank != 0)
        return graft_rule_fail(t, grad_inputs, err, "dloss must be a scalar");
    for (size_t i = EMISSIONS; i <= END; i++) graft_rule_copy(t, i, i);
    return 0;
}

static void crf_nll_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    if (dout[1] != GRAFT_NONE || wanted[ALLOWED] || wanted[WEIGHT]) {
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient of crf_nll with respect to %s",
                         dout[1] != GRAFT_NONE ? "what it keeps"
                         : wanted[ALLOWED]     ? "allowed"
                                               : "weight");
        return;
    }
    graft_value in[N_GRAD], out[4];
    memcpy(in, n->in, N_FORWARD * sizeof *in);
    in[FILTERED] = n->out[1];
    in[DLOSS] = dout[0];
    graft_graph_node(g, &graft_op_crf_nll_grad, NULL, in, N_GRAD, out);
    for (size_t i = EMISSIONS; i <= END; i++)
        if (wanted[i]) din[i] = out[i];
}

/* ---- References
 * ------------------------------------------------------------------------------------------------------------
 */

/* Where the next token of the chain lies after `at` and below `stop`; `stop` when there is none. */
static int64_t next_in_chain(const graft_op_call *c, int64_t at, int64_t stop) {
    double k = (double)c->in_shape[EMISSIONS].dims[1];
    while (at < stop && !(c->in[TAGS][at] >= 0 && c->in[TAGS][at] < k)) at++;
    return at;
}

static int64_t previous_in_chain(const graft_op_call *c, int64_t at, int64_t first) {
    double k = (double)c->in_shape[EMISSIONS].dims[1];
    while (at >= first && !(c->in[TAGS][at] >= 0 && c->in[TAGS][at] < k)) at--;
    return at;
}

static void span_of(const graft_op_call *c, int64_t sample, int64_t *first, int64_t *stop) {
    const double *span = c->in[SPANS] + 2 * sample;
    graft_tokens rows = graft_tokens_of((int64_t)span[0], (int64_t)span[1], c->in_shape[EMISSIONS].dims[0]);
    *first = rows.first;
    *stop = rows.first + rows.count;
}

/* Score of the step from i to j: i = K is the start. */
static double step_score(const graft_op_call *c, int64_t i, int64_t j) {
    int64_t k = c->in_shape[EMISSIONS].dims[1];
    if (c->in[ALLOWED] != NULL && !(c->in[ALLOWED][i * k + j] > 0)) return GRAFT_CRF_FORBIDDEN;
    return i < k ? c->in[TRANSITIONS][i * k + j] : c->in[START][j];
}

static double end_score(const graft_op_call *c, int64_t i) {
    int64_t k = c->in_shape[EMISSIONS].dims[1];
    if (c->in[ALLOWED] != NULL && !(c->in[ALLOWED][(k + 1) * k + i] > 0)) return GRAFT_CRF_FORBIDDEN;
    return c->in[END][i];
}

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b) {
    double top = a > b ? a : b;
    return isinf(a) || isinf(b) ? top : top + log1p(exp(-fabs(a - b)));
}

static double log_sum(const double *x, int64_t n) {
    double sum = -INFINITY;
    for (int64_t i = 0; i < n; i++) sum = log_add(sum, x[i]);
    return sum;
}

/* Rows of `filtered` of one chain; returns its nll. */
static double chain_nll(const graft_op_call *c, int64_t first, int64_t stop) {
    int64_t k = c->in_shape[EMISSIONS].dims[1], previous = -1;
    double log_z = 0, gold = 0, last = -INFINITY;
    for (int64_t t = next_in_chain(c, first, stop); t < stop; t = next_in_chain(c, t + 1, stop)) {
        const double *e = c->in[EMISSIONS] + t * k, *before = c->out[1] + previous * k;
        double *row = c->out[1] + t * k;
        int64_t tag = (int64_t)c->in[TAGS][t], from = previous < 0 ? k : (int64_t)c->in[TAGS][previous];
        for (int64_t j = 0; j < k; j++) {
            double sum = previous < 0 ? step_score(c, k, j) : -INFINITY;
            for (int64_t i = 0; previous >= 0 && i < k; i++)
                sum = log_add(sum, before[i] + step_score(c, i, j));
            row[j] = sum + e[j];
        }
        double norm = log_sum(row, k);
        for (int64_t j = 0; j < k; j++) row[j] -= norm;
        log_z += norm;
        gold += step_score(c, from, tag) + e[tag];
        previous = t;
    }
    if (previous < 0) return 0;
    for (int64_t i = 0; i < k; i++) last = log_add(last, c->out[1][previous * k + i] + end_score(c, i));
    return log_z + last - gold - end_score(c, (int64_t)c->in[TAGS][previous]);
}

static void crf_nll_reference(const graft_op_call *c) {
    int64_t first, stop, n_samples = c->in_shape[SPANS].dims[0];
    memset(c->out[1], 0, (size_t)graft_rule_count(&c->out_shape[1]) * sizeof(double));
    c->out[0][0] = 0;
    for (int64_t n = 0; n < n_samples; n++) {
        span_of(c, n, &first, &stop);
        c->out[0][0] += c->in[WEIGHT][n] * chain_nll(c, first, stop);
    }
}

/* The step into token t: row t of demissions holds beta_t and row `before` gets its own; then row t becomes
 * the probabilities of t less its tag's part. */
static void step_back(const graft_op_call *c, int64_t before, int64_t t, double u) {
    int64_t k = c->in_shape[EMISSIONS].dims[1];
    const double *a = c->in[FILTERED] + before * k, *e = c->in[EMISSIONS] + t * k;
    double *beta = c->out[EMISSIONS] + t * k, *row = c->out[EMISSIONS] + before * k, all = -INFINITY;
    for (int64_t i = 0; i < k; i++) {
        row[i] = -INFINITY;
        for (int64_t j = 0; j < k; j++) row[i] = log_add(row[i], step_score(c, i, j) + e[j] + beta[j]);
        all = log_add(all, a[i] + row[i]);
    }
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j < k; j++)
            c->out[TRANSITIONS][i * k + j] += u * exp(a[i] + step_score(c, i, j) + e[j] + beta[j] - all);
    }
    c->out[TRANSITIONS][(int64_t)c->in[TAGS][before] * k + (int64_t)c->in[TAGS][t]] -= u;
    double top = log_sum(row, k);
    for (int64_t i = 0; i < k; i++) row[i] -= top;
}

static void become_marginals(const graft_op_call *c, int64_t t, double u) {
    int64_t k = c->in_shape[EMISSIONS].dims[1];
    double *row = c->out[EMISSIONS] + t * k;
    for (int64_t j = 0; j < k; j++) row[j] += c->in[FILTERED][t * k + j];
    double all = log_sum(row, k);
    for (int64_t j = 0; j < k; j++) row[j] = u * exp(row[j] - all);
    row[(int64_t)c->in[TAGS][t]] -= u;
}

static void chain_gradient(const graft_op_call *c, int64_t first, int64_t stop, double u) {
    int64_t k = c->in_shape[EMISSIONS].dims[1], t = previous_in_chain(c, stop - 1, first);
    if (t < first) return;
    for (int64_t j = 0; j < k; j++) c->out[EMISSIONS][t * k + j] = end_score(c, j);
    bool is_last = true;
    while (t >= first) {
        int64_t before = previous_in_chain(c, t - 1, first);
        if (before >= first) step_back(c, before, t, u);
        become_marginals(c, t, u);
        for (int64_t j = 0; j < k; j++) {
            if (is_last) c->out[END][j] += c->out[EMISSIONS][t * k + j];
            if (before < first) c->out[START][j] += c->out[EMISSIONS][t * k + j];
        }
        is_last = false;
        t = before;
    }
}

static void crf_nll_grad_reference(const graft_op_call *c) {
    int64_t first, stop, n_samples = c->in_shape[SPANS].dims[0], k = c->in_shape[EMISSIONS].dims[1];
    double dloss = c->in[DLOSS] != NULL ? c->in[DLOSS][0] : 1;
    for (size_t o = 0; o < 4; o++)
        memset(c->out[o], 0, (size_t)graft_rule_count(&c->out_shape[o]) * sizeof(double));
    for (int64_t n = 0; n < n_samples; n++) {
        span_of(c, n, &first, &stop);
        chain_gradient(c, first, stop, dloss * c->in[WEIGHT][n]);
    }
    for (int64_t i = 0; c->in[ALLOWED] != NULL && i < (k + 2) * k; i++) {
        double *d = i < k * k         ? c->out[TRANSITIONS] + i
                    : i < (k + 1) * k ? c->out[START] + (i - k * k)
                                      : c->out[END] + (i - (k + 1) * k);
        if (!(c->in[ALLOWED][i] > 0)) *d = 0;
    }
}

/* ---- Cases
 * ------------------------------------------------------------------------------------------------------------
 */

static const double three_spans[] = {0, 5, 5, 0, 5, 4}, one_span[] = {0, 1}, gaps[] = {1, 3, 6, 30},
                    many_spans[] = {0, 7, 7, 1, 8, 30, 38, 2, 40, 13, 53, 0};
static const double no_tag[] = {-1, -1, -1, -1, 2, 0, 1, -1, 2, -1};

#define CHAINS(t, k, n)                                                                                      \
    {2, {t, k}}, {2, {k, k}}, {1, {k}}, {1, {k}}, {2, {k + 2, k}}, {1, {t}}, {1, {n}}, {                     \
        2, {                                                                                                 \
            n, 2                                                                                             \
        }                                                                                                    \
    }
#define TYPES .dtype = {[TAGS] = GRAFT_I32, [SPANS] = GRAFT_I32}, .whole = 1u << TAGS

static const graft_op_case forward_cases[] = {
    {.name = "an empty text, padding",
     .n_in = N_FORWARD,
     .in = {CHAINS(11, 4, 3)},
     TYPES,
     .low = {-3, [TAGS] = -0.5},
     .high = {3, [TAGS] = 4, [WEIGHT] = 1},
     .data = {[SPANS] = three_spans}},
    {.name = "one token",
     .n_in = N_FORWARD,
     .in = {CHAINS(1, 3, 1)},
     TYPES,
     .low = {[TAGS] = 1},
     .high = {[TAGS] = 2, [WEIGHT] = 1},
     .data = {[SPANS] = one_span}},
    {.name = "tokens outside the chain",
     .n_in = N_FORWARD,
     .in = {CHAINS(10, 3, 2)},
     TYPES,
     .high = {[WEIGHT] = 1},
     .data = {[TAGS] = no_tag, [SPANS] = gaps}},
    {.name = "many",
     .n_in = N_FORWARD,
     .in = {CHAINS(55, 19, 6)},
     TYPES,
     .low = {-9, [TAGS] = -4, [ALLOWED] = -0.3},
     .high = {9, [TAGS] = 19, [ALLOWED] = 1, [WEIGHT] = 1},
     .data = {[SPANS] = many_spans}},
    {.name = "extreme scores",
     .n_in = N_FORWARD,
     .in = {CHAINS(55, 5, 6)},
     TYPES,
     .low = {-3000, -900, -500, -500, [TAGS] = -2},
     .high = {3000, 900, 500, 500, [TAGS] = 5, [WEIGHT] = 1},
     .data = {[SPANS] = many_spans}},
};
const graft_op graft_op_crf_nll = {
    .name = "crf_nll",
    .n_out = 2,
    .shape = crf_nll_shape,
    .grad = crf_nll_gradient,
    .reference = crf_nll_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = forward_cases,
    .n_cases = GRAFT_COUNT(forward_cases),
};

static const graft_op_case grad_cases[] = {
    {.name = "root",
     .n_in = N_GRAD,
     .in = {CHAINS(11, 4, 3), {2, {11, 4}}, {-1, {0}}},
     TYPES,
     .low = {-3, [TAGS] = -0.5, [FILTERED] = -6},
     .high = {3, [TAGS] = 4, [WEIGHT] = 1},
     .data = {[SPANS] = three_spans}},
    {.name = "one token",
     .n_in = N_GRAD,
     .in = {CHAINS(1, 3, 1), {2, {1, 3}}, {0, {0}}},
     TYPES,
     .low = {[TAGS] = 1, [FILTERED] = -6},
     .high = {[TAGS] = 2, [WEIGHT] = 1},
     .data = {[SPANS] = one_span}},
    {.name = "tokens outside the chain",
     .n_in = N_GRAD,
     .in = {CHAINS(10, 3, 2), {2, {10, 3}}, {0, {0}}},
     TYPES,
     .low = {[FILTERED] = -6},
     .high = {[WEIGHT] = 1},
     .data = {[TAGS] = no_tag, [SPANS] = gaps}},
    {.name = "many",
     .n_in = N_GRAD,
     .in = {CHAINS(55, 19, 6), {2, {55, 19}}, {-1, {0}}},
     TYPES,
     .low = {-9, [TAGS] = -4, [ALLOWED] = -0.3, [FILTERED] = -20},
     .high = {9, [TAGS] = 19, [ALLOWED] = 1, [WEIGHT] = 1},
     .data = {[SPANS] = many_spans}},
    {.name = "extreme scores",
     .n_in = N_GRAD,
     .in = {CHAINS(55, 5, 6), {2, {55, 5}}, {-1, {0}}},
     TYPES,
     .low = {-3000, -900, -500, -500, [TAGS] = -2, [FILTERED] = -9000},
     .high = {3000, 900, 500, 500, [TAGS] = 5, [WEIGHT] = 1},
     .data = {[SPANS] = many_spans}},
};
const graft_op graft_op_crf_nll_grad = {
    .name = "crf_nll_grad",
    .n_out = 4,
    .shape = crf_nll_grad_shape,
    .reference = crf_nll_grad_reference,
    .shape_only = 1u << START,
    .alias = {-1, -1, -1, -1},
    .cases = grad_cases,
    .n_cases = GRAFT_COUNT(grad_cases),
};

graft_value graft_crf_nll(graft_graph *g, graft_value emissions, graft_crf_values crf, graft_value tags,
                          graft_value weight, graft_value spans) {
    graft_value out[2];
    graft_graph_node(
        g, &graft_op_crf_nll, NULL,
        (graft_value[]){emissions, crf.transitions, crf.start, crf.end, crf.allowed, tags, weight, spans},
        N_FORWARD, out);
    return out[0];
}
