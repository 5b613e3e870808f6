/* The loops of lstm.h; included by one file an instruction set, which names the table LSTM_TABLE and its ISA.
 * Rows of H floats are padded to whole vectors where they are columns of a product. No include guard: it is a
 * body, not a declaration. */
#include "backend/cpu/own/lstm.h"
#include "backend/cpu/own/product.h"

static size_t padded(size_t size) {
    return (size + VEC - 1) / VEC * VEC;
}

/* forward: w_hh^T (H, 4 x padded H), then b_hh; backward: w_hh (4H, padded H) */
static size_t packed(size_t size) {
    return 4 * padded(size) * (size + 1);
}

/* forward: rows of h (n, H), then pre-activations (n, 4 x padded H); backward: rows of dpre (n, 4H), their
 * product with w_hh (n, padded H), dc f of each sample (n, padded H) */
static size_t scratch(size_t size) {
    return (size_t)GRAFT_LSTM_GROUP * 6 * padded(size);
}

static void pack(float *out, const float *w_hh, const float *b_hh, size_t size) {
    const size_t pad = padded(size), row = 4 * pad;
    memset(out, 0, packed(size) * sizeof *out);
    for (size_t gate = 0; gate < 4; gate++) {
        for (size_t j = 0; j < size; j++) {
            const float *w = w_hh + (gate * size + j) * size;
            float *column = out + gate * pad + j;
            for (size_t k = 0; k < size; k++) column[k * row] = w[k];
            if (b_hh) column[size * row] = b_hh[gate * size + j];
        }
    }
}

static void grad_pack(float *out, const float *w_hh, size_t size) {
    const size_t pad = padded(size);
    memset(out, 0, packed(size) * sizeof *out);
    for (size_t k = 0; k < 4 * size; k++) memcpy(out + k * pad, w_hh + k * size, size * sizeof *out);
}

VEC_INLINE vec load(const float *p, size_t n) {
    return n < VEC ? vec_load_part(p, n) : vec_load(p);
}

VEC_INLINE void store(float *p, vec x, size_t n) {
    if (n < VEC)
        vec_store_part(p, x, n);
    else
        vec_store(p, x);
}

/* (1 - e) / (1 + e) with e = exp(-2 |x|), and the sign of x: off by 2e-7 at most. */
VEC_INLINE vec vec_tanh(vec x) {
    const ivec sign = (ivec)x & INT32_MIN;
    const vec e = vec_exp2((vec)((ivec)x & INT32_MAX) * vec_all(-2.0F * 1.44269504F));
    const vec one = vec_all(1.0F);
    return (vec)((ivec)((one - e) / (one + e)) | sign);
}

VEC_INLINE vec vec_sigmoid(vec x) {
    const vec half = vec_all(0.5F);
    return vec_fma(vec_tanh(x * half), half, half);
}

static size_t token_at(const graft_lstm_group *g, size_t sample, size_t step) {
    const graft_tokens *t = &g->spans[sample];
    return (size_t)(g->reverse ? t->first + t->count - 1 - (int64_t)step : t->first + (int64_t)step);
}

static bool has_step(const graft_lstm_group *g, size_t sample, size_t step) {
    return (int64_t)step < g->spans[sample].count;
}

static size_t n_steps(const graft_lstm_group *g) {
    int64_t most = 0;
    for (size_t s = 0; s < g->n; s++) most = g->spans[s].count > most ? g->spans[s].count : most;
    return (size_t)most;
}

/* ---- Forward
 * ---------------------------------------------------------------------------------------------------------
 */

/* Gates of token t from its sums; c_before is NULL at the first of a span. */
static void activate(const graft_lstm_group *g, size_t t, const float *sums, const float *c_before) {
    const size_t size = g->size, pad = padded(size);
    float *gates = g->gates + t * 4 * size, *cells = g->cells + t * size, *y = g->y + t * size;
    for (size_t j = 0; j < size; j += VEC) {
        const size_t n = size - j;
        const vec i = vec_sigmoid(vec_load(sums + j)), f = vec_sigmoid(vec_load(sums + pad + j));
        const vec new = vec_tanh(vec_load(sums + 2 * pad + j)), o = vec_sigmoid(vec_load(sums + 3 * pad + j));
        vec c = i * new;
        if (c_before) c = vec_fma(f, load(c_before + j, n), c);
        store(gates + j, i, n);
        store(gates + size + j, f, n);
        store(gates + 2 * size + j, new, n);
        store(gates + 3 * size + j, o, n);
        store(cells + j, c, n);
        store(y + j, o * vec_tanh(c), n);
    }
}

/* sums = pre + b_hh */
static void begin_sums(const graft_lstm_group *g, size_t t, float *sums) {
    const size_t size = g->size, pad = padded(size);
    const float *bias = g->packed + size * 4 * pad;
    for (size_t gate = 0; gate < 4; gate++) {
        const float *pre = g->pre + t * 4 * size + gate * size;
        for (size_t j = 0; j < size; j += VEC)
            vec_store(sums + gate * pad + j, load(pre + j, size - j) + vec_load(bias + gate * pad + j));
    }
}

static void forward(const graft_lstm_group *g) {
    const size_t size = g->size, row = 4 * padded(size), last = n_steps(g);
    float *h = g->scratch, *sums = h + GRAFT_LSTM_GROUP * padded(size);
    for (size_t step = 0; step < last; step++) {
        size_t m = 0;
        for (size_t s = 0; s < g->n; s++) {
            if (!has_step(g, s, step)) continue;
            begin_sums(g, token_at(g, s, step), sums + m * row);
            if (step > 0) memcpy(h + m * size, g->y + token_at(g, s, step - 1) * size, size * sizeof *h);
            m++;
        }
        const product p = {.a = h,
                           .b = g->packed,
                           .c = sums,
                           .k = size,
                           .a_row = size,
                           .a_k = 1,
                           .b_row = row,
                           .c_row = row,
                           .add = true};
        if (step > 0) multiply(&p, m, row);
        m = 0;
        for (size_t s = 0; s < g->n; s++) {
            if (!has_step(g, s, step)) continue;
            const float *c_before = step > 0 ? g->cells + token_at(g, s, step - 1) * size : NULL;
            activate(g, token_at(g, s, step), sums + m++ * row, c_before);
        }
    }
}

/* ---- Backward
 * -------------------------------------------------------------------------------------------------------- */

/* dpre of token t. dh: what comes from the token after, NULL at the last; dcf: dc f of that, then of t. */
static void differentiate(const graft_lstm_group *g, size_t t, const float *dh_after, float *dcf,
                          const float *c_before) {
    const size_t size = g->size;
    const float *gates = g->gates_in + t * 4 * size, *cells = g->cells_in + t * size, *dy = g->dy + t * size;
    const vec one = vec_all(1.0F);
    float *d = g->dpre + t * 4 * size;
    for (size_t j = 0; j < size; j += VEC) {
        const size_t n = size - j;
        const vec i = load(gates + j, n), f = load(gates + size + j, n), new = load(gates + 2 * size + j, n);
        const vec o = load(gates + 3 * size + j, n), th = vec_tanh(load(cells + j, n));
        vec dh = load(dy + j, n);
        if (dh_after) dh = dh + vec_load(dh_after + j);
        const vec dc = vec_fma(dh * o, one - th * th, vec_load(dcf + j));
        const vec c = c_before ? load(c_before + j, n) : vec_all(0.0F);
        store(d + j, dc * new *i *(one - i), n);
        store(d + size + j, dc * c * f * (one - f), n);
        store(d + 2 * size + j, dc * i * (one - new *new), n);
        store(d + 3 * size + j, dh * th * o * (one - o), n);
        vec_store(dcf + j, dc * f);
    }
}

static void backward(const graft_lstm_group *g) {
    const size_t size = g->size, pad = padded(size);
    float *after = g->scratch, *dh = after + GRAFT_LSTM_GROUP * 4 * pad, *dcf = dh + GRAFT_LSTM_GROUP * pad;
    memset(dcf, 0, g->n * pad * sizeof *dcf);
    for (size_t step = n_steps(g); step-- > 0;) {
        size_t m = 0;
        for (size_t s = 0; s < g->n; s++) {
            if (!has_step(g, s, step + 1)) continue;
            memcpy(after + m++ * 4 * size, g->dpre + token_at(g, s, step + 1) * 4 * size,
                   4 * size * sizeof *after);
        }
        const product p = {.a = after,
                           .b = g->packed,
                           .c = dh,
                           .k = 4 * size,
                           .a_row = 4 * size,
                           .a_k = 1,
                           .b_row = pad,
                           .c_row = pad};
        multiply(&p, m, pad);
        m = 0;
        for (size_t s = 0; s < g->n; s++) {
            if (!has_step(g, s, step)) continue;
            const size_t t = token_at(g, s, step), t_before = step > 0 ? token_at(g, s, step - 1) : 0;
            const float *dh_after = has_step(g, s, step + 1) ? dh + m++ * pad : NULL;
            differentiate(g, t, dh_after, dcf + s * pad, step > 0 ? g->cells_in + t_before * size : NULL);
            if (step > 0) memcpy(g->before + t * size, g->y_in + t_before * size, size * sizeof *g->before);
        }
    }
}

const graft_lstm_kernels LSTM_TABLE = {
    "lstm:" LSTM_ISA, "lstm_grad:" LSTM_ISA, packed, scratch, pack, grad_pack, forward, backward};
