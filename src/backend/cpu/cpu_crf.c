/* A conditional random field's loss and gradient (graph/op/crf.c has the equations). A step over K tags is a
 * product with exp(A - max A), so that it costs K exponentials and not K^2; where such a sum is too small to
 * trust it is taken again in logarithms. Rows are kept as they are needed: probabilities for the product,
 * logarithms for the exact sum. Samples are cut into a fixed number of pieces, each with sums of its own that
 * are added in order, so that results do not depend on the thread count. */
#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* Buffers of a step, in the order of the op's inputs; results of the forward op take the places of a gradient
 * step's `filtered` and dloss. */
enum {
    EMISSIONS,
    TRANSITIONS,
    START,
    END,
    ALLOWED,
    TAGS,
    WEIGHT,
    SPANS,
    FILTERED,
    LOSS,
    DEMISSIONS,
    DTRANSITIONS,
    DSTART,
    DEND,
    WORK,
    N_BUFFERS
};
enum { MOST_PIECES = 16, ROWS = 5 };

/* Below, terms of a sum may have vanished. */
static const double tiny = 1e-200;

typedef struct crf_dims {
    int64_t n_tokens, k, n_samples;
    size_t n_pieces;
} crf_dims;

/* What a piece works with, all in `work`:
 * | A (K,K) | exp(A - top) (K,K) | start | end | nll (N) | piece 0: rows, dA (K,K), dstart, dend | piece 1
 * ... */
typedef struct crf_run {
    const crf_dims *d;
    void *const *data;
    double *step, *product, *start, *end, *nll, *pieces;
    double top, dloss;
} crf_run;

static size_t piece_size(const crf_dims *d) {
    size_t k = (size_t)d->k;
    return ROWS * k + k * k + 2 * k;
}

static size_t work_size(const crf_dims *d) {
    size_t k = (size_t)d->k;
    return 2 * k * k + 2 * k + (size_t)d->n_samples + d->n_pieces * piece_size(d);
}

static bool is_allowed(const crf_run *r, int64_t i, int64_t j) {
    const float *allowed = r->data[ALLOWED];
    return !allowed || allowed[i * r->d->k + j] > 0.0F;
}

static double score(const crf_run *r, const float *values, int64_t at, int64_t i, int64_t j) {
    return is_allowed(r, i, j) ? (double)values[at] : (double)GRAFT_CRF_FORBIDDEN;
}

static crf_run begin(const graft_cpu_own *own) {
    const crf_dims *d = own->attr;
    int64_t k = d->k;
    crf_run r = {.d = d, .data = own->data, .step = own->data[WORK], .top = -INFINITY};
    r.product = r.step + k * k;
    r.start = r.product + k * k;
    r.end = r.start + k;
    r.nll = r.end + k;
    r.pieces = r.nll + d->n_samples;
    for (int64_t i = 0; i < k; i++) {
        r.end[i] = score(&r, own->data[END], i, k + 1, i);
        for (int64_t j = 0; j < k; j++) {
            double a = score(&r, own->data[TRANSITIONS], i * k + j, i, j);
            r.step[i * k + j] = a;
            r.top = a > r.top ? a : r.top;
        }
    }
    for (int64_t i = 0; i < k * k; i++) r.product[i] = exp(r.step[i] - r.top);
    return r;
}

static void piece_samples(const crf_run *r, size_t piece, int64_t *from, int64_t *to) {
    int64_t n = (int64_t)r->d->n_pieces, p = (int64_t)piece;
    *from = r->d->n_samples * p / n;
    *to = r->d->n_samples * (p + 1) / n;
}

static void bounds(const crf_run *r, int64_t sample, int64_t *first, int64_t *stop) {
    const int32_t *span = (const int32_t *)r->data[SPANS] + 2 * sample;
    graft_tokens rows = graft_tokens_of(span[0], span[1], r->d->n_tokens);
    *first = rows.first;
    *stop = rows.first + rows.count;
}

static bool in_chain(const crf_run *r, int64_t t) {
    int32_t tag = ((const int32_t *)r->data[TAGS])[t];
    return tag >= 0 && tag < r->d->k;
}

static int64_t tag_of(const crf_run *r, int64_t t) {
    return ((const int32_t *)r->data[TAGS])[t];
}

static double largest(const double *x, int64_t n) {
    double top = x[0];
    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* log sum_i exp(x_i + y_(i stride)); the caller's sum had lost its terms. */
static double exact_sum(const double *x, const double *y, int64_t stride, int64_t n) {
    double top = x[0] + y[0], sum = 0.0;
    for (int64_t i = 1; i < n; i++) top = x[i] + y[i * stride] > top ? x[i] + y[i * stride] : top;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] + y[i * stride] - top);
    return top + log(sum);
}

/* p = softmax(x), x -= its log sum; returns that. */
static double normalise(double *x, double *p, int64_t n) {
    double top = largest(x, n), sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += p[i] = exp(x[i] - top);
    double all = top + log(sum);
    for (int64_t i = 0; i < n; i++) {
        x[i] -= all;
        p[i] /= sum;
    }
    return all;
}

/* ---- Forward
 * ---------------------------------------------------------------------------------------------------------
 */

/* next_j = log sum_i p_i exp(A_ij), p_i = exp(before_i) */
static void advance(const crf_run *r, const double *before, const double *p, double *restrict next) {
    const int64_t k = r->d->k;
    for (int64_t j = 0; j < k; j++) next[j] = 0.0;
    for (int64_t i = 0; i < k; i++) {
        const double *row = r->product + i * k, pi = p[i];
#pragma omp simd
        for (int64_t j = 0; j < k; j++) next[j] += pi * row[j];
    }
    for (int64_t j = 0; j < k; j++)
        next[j] = next[j] > tiny ? log(next[j]) + r->top : exact_sum(before, r->step + j, k, k);
}

static double chain_nll(const crf_run *r, double *rows, int64_t first, int64_t stop) {
    const int64_t k = r->d->k;
    double *now = rows, *before = rows + k, *p = rows + 2 * k, log_z = 0.0, gold = 0.0;
    float *filtered = r->data[FILTERED];
    int64_t last = -1;
    for (int64_t t = first; t < stop; t++) {
        if (!in_chain(r, t)) continue;
        const float *e = (const float *)r->data[EMISSIONS] + t * k;
        const int64_t tag = tag_of(r, t);
        gold += (double)e[tag] + (last < 0 ? r->start[tag] : r->step[tag_of(r, last) * k + tag]);
        if (last < 0) {
            memcpy(now, r->start, (size_t)k * sizeof *now);
        } else {
            advance(r, before, p, now);
        }
        for (int64_t j = 0; j < k; j++) now[j] += (double)e[j];
        log_z += normalise(now, p, k);
        for (int64_t j = 0; j < k; j++) filtered[t * k + j] = (float)now[j];
        double *swap = before;
        before = now;
        now = swap;
        last = t;
    }
    if (last < 0) return 0.0;
    return log_z + exact_sum(before, r->end, 1, k) - gold - r->end[tag_of(r, last)];
}

static void nll_piece(void *self, size_t piece) {
    const crf_run *r = self;
    int64_t from, to, first, stop;
    piece_samples(r, piece, &from, &to);
    for (int64_t n = from; n < to; n++) {
        bounds(r, n, &first, &stop);
        r->nll[n] = chain_nll(r, r->pieces + piece * piece_size(r->d), first, stop);
    }
}

static int run_nll(void *self) {
    const graft_cpu_own *own = self;
    const crf_dims *d = own->attr;
    crf_run r = begin(own);
    for (int64_t i = 0; i < d->k; i++) r.start[i] = score(&r, own->data[START], i, d->k, i);
    memset(own->data[FILTERED], 0, (size_t)(d->n_tokens * d->k) * sizeof(float));
    graft_cpu_parallel(&r, d->n_pieces, nll_piece);
    const float *weight = own->data[WEIGHT];
    double loss = 0.0;
    for (int64_t n = 0; n < d->n_samples; n++) loss += (double)weight[n] * r.nll[n];
    *(float *)own->data[LOSS] = (float)loss;
    return 0;
}

/* ---- Backward
 * -------------------------------------------------------------------------------------------------------- */

typedef struct crf_sums {
    double *beta, *y, *r, *u, *p; /* rows */
    double *transitions, *start, *end;
} crf_sums;

static crf_sums sums_of(const crf_run *r, size_t piece) {
    const int64_t k = r->d->k;
    double *at = r->pieces + piece * piece_size(r->d), *sums = at + ROWS * k;
    return (crf_sums){.beta = at,
                      .y = at + k,
                      .r = at + 2 * k,
                      .u = at + 3 * k,
                      .p = at + 4 * k,
                      .transitions = sums,
                      .start = sums + k * k,
                      .end = sums + k * k + k};
}

/* Adds weight times the probabilities of the steps from a (logarithms) over A to y, in logarithms throughout.
 */
static void add_steps_exactly(const crf_run *r, const crf_sums *s, const float *a, double weight) {
    const int64_t k = r->d->k;
    double top = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < k; i++) s->u[i] = (double)a[i] + exact_sum(s->y, r->step + i * k, 1, k);
    top = largest(s->u, k);
    for (int64_t i = 0; i < k; i++) sum += exp(s->u[i] - top);
    const double all = top + log(sum);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++)
            s->transitions[i * k + j] += weight * exp((double)a[i] + r->step[i * k + j] + s->y[j] - all);
}

/* beta of the token before, from beta of t; the probabilities of the steps between are added. */
static void retreat(const crf_run *r, const crf_sums *s, int64_t before, int64_t t, double weight) {
    const int64_t k = r->d->k;
    const float *e = (const float *)r->data[EMISSIONS] + t * k;
    const float *a = (const float *)r->data[FILTERED] + before * k;
    for (int64_t j = 0; j < k; j++) s->y[j] = s->beta[j] + (double)e[j];
    const double top = largest(s->y, k);
    double total = 0.0;
    for (int64_t j = 0; j < k; j++) s->r[j] = exp(s->y[j] - top);
    for (int64_t i = 0; i < k; i++) {
        const double *row = r->product + i * k;
        double u = 0.0;
#pragma omp simd reduction(+ : u)
        for (int64_t j = 0; j < k; j++) u += row[j] * s->r[j];
        s->u[i] = u;
        s->p[i] = exp((double)a[i]);
        total += s->p[i] * u;
    }
    for (int64_t i = 0; i < k; i++)
        s->beta[i] = s->u[i] > tiny ? log(s->u[i]) : exact_sum(s->y, r->step + i * k, 1, k) - top - r->top;
    if (!(total > tiny)) {
        add_steps_exactly(r, s, a, weight);
    } else {
        for (int64_t i = 0; i < k; i++) {
            const double *row = r->product + i * k, share = weight * s->p[i] / total;
            double *d = s->transitions + i * k;
#pragma omp simd
            for (int64_t j = 0; j < k; j++) d[j] += share * row[j] * s->r[j];
        }
    }
    s->transitions[tag_of(r, before) * k + tag_of(r, t)] -= weight;
}

/* demissions of t; leaves them in y. */
static void write_marginals(const crf_run *r, const crf_sums *s, int64_t t, double weight) {
    const int64_t k = r->d->k;
    const float *a = (const float *)r->data[FILTERED] + t * k;
    float *out = (float *)r->data[DEMISSIONS] + t * k;
    for (int64_t j = 0; j < k; j++) s->u[j] = (double)a[j] + s->beta[j];
    normalise(s->u, s->y, k);
    s->y[tag_of(r, t)] -= 1.0;
    for (int64_t j = 0; j < k; j++) {
        s->y[j] *= weight;
        out[j] = (float)s->y[j];
    }
}

static int64_t previous_in_chain(const crf_run *r, int64_t t, int64_t first) {
    while (t >= first && !in_chain(r, t)) t--;
    return t;
}

static void add_row(double *restrict to, const double *restrict row, int64_t k) {
    for (int64_t j = 0; j < k; j++) to[j] += row[j];
}

static void chain_gradient(const crf_run *r, const crf_sums *s, int64_t first, int64_t stop, double weight) {
    const int64_t k = r->d->k;
    int64_t t = previous_in_chain(r, stop - 1, first);
    if (t < first) return;
    memcpy(s->beta, r->end, (size_t)k * sizeof(double));
    write_marginals(r, s, t, weight);
    add_row(s->end, s->y, k);
    for (int64_t before; (before = previous_in_chain(r, t - 1, first)) >= first; t = before) {
        retreat(r, s, before, t, weight);
        write_marginals(r, s, before, weight);
    }
    add_row(s->start, s->y, k);
}

static void grad_piece(void *self, size_t piece) {
    const crf_run *r = self;
    const int64_t k = r->d->k;
    const float *weight = r->data[WEIGHT];
    crf_sums s = sums_of(r, piece);
    memset(s.transitions, 0, (size_t)(k * k + 2 * k) * sizeof(double));
    int64_t from, to, first, stop;
    piece_samples(r, piece, &from, &to);
    for (int64_t n = from; n < to; n++) {
        bounds(r, n, &first, &stop);
        chain_gradient(r, &s, first, stop, r->dloss * (double)weight[n]);
    }
}

static int run_grad(void *self) {
    const graft_cpu_own *own = self;
    const crf_dims *d = own->attr;
    const int64_t k = d->k;
    const float *dloss = own->data[LOSS];
    crf_run r = begin(own);
    r.dloss = dloss ? (double)*dloss : 1.0;
    memset(own->data[DEMISSIONS], 0, (size_t)(d->n_tokens * k) * sizeof(float));
    graft_cpu_parallel(&r, d->n_pieces, grad_piece);
    float *dstart = own->data[DSTART], *dend = own->data[DEND], *dtransitions = own->data[DTRANSITIONS];
    crf_sums all = sums_of(&r, 0);
    for (size_t p = 1; p < d->n_pieces; p++)
        add_row(all.transitions, sums_of(&r, p).transitions, k * k + 2 * k);
    for (int64_t i = 0; i < k; i++) {
        dstart[i] = is_allowed(&r, k, i) ? (float)all.start[i] : 0.0F;
        dend[i] = is_allowed(&r, k + 1, i) ? (float)all.end[i] : 0.0F;
        for (int64_t j = 0; j < k; j++)
            dtransitions[i * k + j] = is_allowed(&r, i, j) ? (float)all.transitions[i * k + j] : 0.0F;
    }
    return 0;
}

/* ---- Lowering
 * -------------------------------------------------------------------------------------------------------- */

static int want_input(graft_lowering *l, graft_value v, graft_dtype dtype, graft_buffer *out,
                      graft_err *err) {
    dnnl_memory_desc_t md;
    if (v == GRAFT_NONE) return 0;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, graft_lower_shape(l, v), false, err);
    return rc < 0 ? rc : graft_cpu_want(l, v, md, dtype, out, err);
}

/* Inputs of both ops into own.buffers, and the dims. */
static int want_inputs(graft_lowering *l, const graft_node *n, graft_cpu_own *own, crf_dims *d,
                       graft_err *err) {
    const graft_shape *emissions = graft_lower_shape(l, n->in[EMISSIONS]);
    *d = (crf_dims){.n_tokens = emissions->dims[0],
                    .k = emissions->dims[1],
                    .n_samples = graft_lower_shape(l, n->in[SPANS])->dims[0]};
    d->n_pieces = d->n_samples < MOST_PIECES ? (size_t)d->n_samples : MOST_PIECES;
    *own = (graft_cpu_own){.n_buffers = N_BUFFERS, .attr = d};
    for (size_t i = 0; i < N_BUFFERS; i++) own->buffers[i] = GRAFT_NONE;
    int rc = 0;
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        if (n->op->shape_only >> i & 1u) continue;
        rc = want_input(l, n->in[i], i == TAGS || i == SPANS ? GRAFT_I32 : GRAFT_F32, &own->buffers[i], err);
    }
    return rc < 0 ? rc : graft_lower_scratch(l, work_size(d) * sizeof(double), &own->buffers[WORK], err);
}

int graft_cpu_crf_nll(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own;
    crf_dims d;
    int rc = want_inputs(l, n, &own, &d, err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[0], &own.buffers[LOSS], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[1], &own.buffers[FILTERED], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "crf", run_nll, own, sizeof d, err);
}

int graft_cpu_crf_nll_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own;
    crf_dims d;
    int rc = want_inputs(l, n, &own, &d, err);
    for (size_t o = 0; o < n->n_out && rc == 0; o++)
        rc = graft_cpu_new_plain(l, n->out[o], &own.buffers[DEMISSIONS + o], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "crf", run_grad, own, sizeof d, err);
}
