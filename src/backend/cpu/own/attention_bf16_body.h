/* The loops of attention.h where all matrices are bf16: products of bf16, sums, softmax and what is carried
 * in float32. Included by the files for AVX512_BF16 and AMX, which name the table ATTENTION_TABLE, its ISA
 * and what is faster for few tokens, ATTENTION_FEW. No include guard: it is a body, not a declaration. */
#include "backend/cpu/own/attention_parts.h"
#include "backend/cpu/own/product_bf16.h"

/* Keys of a block; rows whose scores are computed together; rows whose part of the gradients of keys and
 * values is summed at once. A block of the gradient begins where a group does, so that causal rows are
 * complete when their block is. */
enum { KEYS = 512, ROWS = 32, GROUP = 64, GRAD_KEYS = 4 * GROUP };

static uint16_t *carve_narrow(scratch *s, size_t n) {
    return carve(s, n * sizeof(uint16_t));
}

static rows_of part(const graft_attention_head *h, const void *from, size_t first, size_t n) {
    return (rows_of){(const uint16_t *)from + first * h->stride, n, h->width, h->stride};
}

VEC_INLINE __m256i narrow(vec x) {
    return (__m256i)_mm512_cvtneps_pbh(x);
}

VEC_INLINE vec widen(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

static __mmask16 first_16(size_t n) {
    return (__mmask16)(n < 16 ? (1u << n) - 1u : 0xffffu);
}

static void store_row(const graft_attention_head *h, void *to, size_t row, const float *x, float factor) {
    uint16_t *y = (uint16_t *)to + row * h->stride;
    for (size_t c = 0; c < h->width; c += VEC)
        _mm256_mask_storeu_epi16(y + c, first_16(h->width - c), narrow(vec_load(x + c) * vec_all(factor)));
}

/* ---- Forward ------------------------------------------------------------------------------------------------- */

typedef struct forward_scratch {
    uint16_t *keys, *values, *rows, *powers; /* k^T and v as B; q as A; (ROWS, keys) as A */
    float *scores, *sums;                    /* (ROWS, keys), (rows, cols) */
    row_state *state;
    size_t cols, cols_k, score_row, power_row, value_ks; /* cols_k: width to whole tiles of k */
} forward_scratch;

static forward_scratch forward_places(scratch *at, size_t n, size_t width) {
    size_t keys = round_up(smaller(n, KEYS), TILE_K), rows = round_up(smaller(n, GRAFT_ATTENTION_ROWS), ROWS);
    forward_scratch s = {.cols = round_up(width, TILE), .cols_k = round_up(width, TILE_K)};
    s.score_row = keys + TILE;
    s.power_row = keys + TILE_K;
    s.value_ks = keys / TILE_K;
    s.keys = carve_narrow(at, keys * s.cols_k);
    s.values = carve_narrow(at, keys * s.cols);
    s.rows = carve_narrow(at, ROWS * s.cols_k);
    s.powers = carve_narrow(at, ROWS * s.power_row);
    s.scores = carve_floats(at, ROWS * s.score_row);
    s.sums = carve_floats(at, rows * s.cols);
    s.state = carve(at, rows * sizeof *s.state);
    return s;
}

static size_t forward_size(size_t n, size_t width) {
    scratch all = {0};
    forward_places(&all, n, width);
    return all.size;
}

/* Powers of the n scores of one row, as bf16, zeros up to whole tiles of k below `padded`. */
static void soften(const graft_attention_head *h, size_t row, size_t begin, const float *s, uint16_t *p,
                   size_t n, size_t padded, row_state *state) {
    const float factor = h->scale * log2_e;
    const vec zero = vec_all(0.0F), scale = vec_all(factor), shift = vec_all(-state->largest * factor);
    const uint32_t threshold = graft_dropout_threshold(h->p), element = element_of(h, row, begin);
    vec sum = zero, more = zero;
    for (size_t j = round_up(n, TILE_K); j < padded; j += TILE_K)
        _mm512_storeu_si512(p + j, _mm512_setzero_si512());
    for (size_t j = 0; j < n; j += 2 * VEC) {
        vec low = vec_exp2_rough(vec_fma(vec_load(s + j), scale, shift));
        vec high = vec_exp2_rough(vec_fma(vec_load(s + j + VEC), scale, shift));
        if (n - j < 2 * VEC) {
            if (n - j < VEC) low = vec_first(low, n - j, zero);
            high = vec_first(high, n - j > VEC ? n - j - VEC : 0, zero);
        }
        sum += low;
        more += high;
        if (threshold > 0) {
            low = keep(h, element + (uint32_t)j, threshold, low);
            high = keep(h, element + (uint32_t)(j + VEC), threshold, high);
        }
        _mm512_storeu_si512(p + j, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    state->sum = state->sum * state->old + vec_sum(sum + more);
}

/* Rows [row, row + rows) with the block of keys from `begin` on. What lies in rows past the last, up to a
 * whole tile, stays in its rows. */
static void attend_rows(const graft_attention_head *h, const forward_scratch *s, size_t row, size_t rows,
                        size_t begin, size_t n_keys) {
    size_t most = seen(h, row + rows - 1, begin, n_keys), padded = round_up(most, TILE_K);
    if (most == 0) return;
    rows_of q = part(h, h->q, row, rows);
    pack_a(&q, s->rows, s->cols_k);
    product to_scores = {.a = s->rows,
                         .b = s->keys,
                         .c = s->scores,
                         .a_row = s->cols_k,
                         .c_row = s->score_row,
                         .rows = round_up(rows, TILE) / TILE,
                         .cols = round_up(most, TILE) / TILE,
                         .k = s->cols_k / TILE_K,
                         .b_ks = s->cols_k / TILE_K};
    multiply(&to_scores);
    float *sums = s->sums + (row - h->first) * s->cols;
    row_state *state = s->state + (row - h->first);
    for (size_t i = 0; i < rows; i++)
        raise_largest(h, &state[i], s->scores + i * s->score_row, seen(h, row + i, begin, n_keys));
    for (size_t i = 0; i < rows; i++) {
        soften(h, row + i, begin, s->scores + i * s->score_row, s->powers + i * s->power_row,
               seen(h, row + i, begin, n_keys), padded, &state[i]);
        if (begin > 0) rescale(sums + i * s->cols, s->cols, &state[i]);
    }
    product to_sums = {.a = s->powers,
                       .b = s->values,
                       .c = sums,
                       .a_row = s->power_row,
                       .c_row = s->cols,
                       .rows = to_scores.rows,
                       .cols = s->cols / TILE,
                       .k = padded / TILE_K,
                       .b_ks = s->value_ks,
                       .add = begin > 0};
    multiply(&to_sums);
}

static void finish_rows(const graft_attention_head *h, const forward_scratch *s, size_t row, size_t rows) {
    for (size_t i = row - h->first; i < row - h->first + rows; i++) {
        const row_state *state = &s->state[i];
        float factor = (float)(1.0 / ((1.0 - h->p) * (double)state->sum));
        store_row(h, h->y, h->first + i, s->sums + i * s->cols, factor);
        h->lse[(h->first + i) * h->lse_stride] = state->largest * h->scale + logf(state->sum);
    }
}

static void forward(const graft_attention_head *h) {
    scratch all = {.base = h->scratch};
    forward_scratch s = forward_places(&all, h->n, h->width);
    size_t end = h->causal ? h->last : h->n;
    begin_products();
    for (size_t i = 0; i < h->last - h->first; i++) s.state[i] = (row_state){.largest = -INFINITY};
    for (size_t begin = 0; begin < end; begin += KEYS) {
        size_t n_keys = smaller(KEYS, end - begin);
        rows_of k = part(h, h->k, begin, n_keys), v = part(h, h->v, begin, n_keys);
        pack_b_columns(&k, s.keys);
        pack_b_rows(&v, s.values, s.value_ks);
        for (size_t row = h->first; row < h->last; row += ROWS) {
            size_t rows = smaller(ROWS, h->last - row);
            attend_rows(h, &s, row, rows, begin, n_keys);
            if (begin + n_keys == end) finish_rows(h, &s, row, rows);
        }
    }
    end_products();
}

/* ---- Backward ------------------------------------------------------------------------------------------------ */

typedef struct backward_scratch {
    uint16_t *keys, *values, *key_pairs;         /* of a block: k^T, v^T and k as B */
    uint16_t *rows, *d_outs, *rows_t, *d_outs_t; /* of a group: q, dy, q^T and dy^T as A */
    uint16_t *grads, *power_pairs, *grad_pairs;  /* of a group: scale g as A; c P and scale g as B */
    float *scores, *d_powers;                    /* (ROWS, keys) */
    float *d_keys, *d_values, *d_rows;           /* transposed: (cols, keys); (GROUP, cols) */
    size_t cols, cols_k, keys_k, score_row, grad_row;
} backward_scratch;

static backward_scratch backward_places(scratch *at, size_t n, size_t width) {
    size_t keys = round_up(smaller(n, GRAD_KEYS), TILE_K);
    backward_scratch s = {.cols = round_up(width, TILE), .cols_k = round_up(width, TILE_K), .keys_k = keys};
    s.score_row = keys + TILE;
    s.grad_row = keys + TILE_K;
    s.keys = carve_narrow(at, keys * s.cols_k);
    s.values = carve_narrow(at, keys * s.cols_k);
    s.key_pairs = carve_narrow(at, keys * s.cols);
    s.rows = carve_narrow(at, GROUP * s.cols_k);
    s.d_outs = carve_narrow(at, GROUP * s.cols_k);
    s.rows_t = carve_narrow(at, GROUP * s.cols);
    s.d_outs_t = carve_narrow(at, GROUP * s.cols);
    s.grads = carve_narrow(at, GROUP * s.grad_row);
    s.power_pairs = carve_narrow(at, GROUP * keys);
    s.grad_pairs = carve_narrow(at, GROUP * keys);
    s.scores = carve_floats(at, ROWS * s.score_row);
    s.d_powers = carve_floats(at, ROWS * s.score_row);
    s.d_keys = carve_floats(at, s.cols * s.score_row);
    s.d_values = carve_floats(at, s.cols * s.score_row);
    s.d_rows = carve_floats(at, GROUP * s.cols);
    return s;
}

static size_t backward_size(size_t n, size_t width) {
    scratch all = {0};
    backward_places(&all, n, width);
    return all.size;
}

/* <dy, y> of a row. */
static float inner(const graft_attention_head *h, size_t row) {
    const uint16_t *y = (const uint16_t *)h->y_in + row * h->stride;
    const uint16_t *dy = (const uint16_t *)h->dy + row * h->stride;
    vec sum = vec_all(0.0F);
    for (size_t c = 0; c < h->width; c += VEC) {
        __mmask16 all = first_16(h->width - c);
        sum = vec_fma(widen(_mm256_maskz_loadu_epi16(all, y + c)),
                      widen(_mm256_maskz_loadu_epi16(all, dy + c)), sum);
    }
    return vec_sum(sum);
}

/* What is constant in a row: scores s become powers 2^(scale s + shift), d is <dy, y>. */
typedef struct back_row {
    vec shift, d;
    const float *scores, *d_powers;
    size_t n; /* keys that count */
    uint32_t element;
} back_row;

static back_row back_row_of(const graft_attention_head *h, const backward_scratch *s, size_t i, size_t row,
                            size_t begin, size_t n_keys) {
    back_row r = {.scores = s->scores + i % ROWS * s->score_row,
                  .d_powers = s->d_powers + i % ROWS * s->score_row};
    if (row >= h->n) return r;
    r.shift = vec_all(-h->lse_in[row * h->lse_stride] * log2_e);
    r.d = vec_all(inner(h, row));
    r.n = seen(h, row, begin, n_keys);
    r.element = element_of(h, row, begin);
    return r;
}

/* Sixteen keys of a row from j on: c P and scale g. */
VEC_INLINE void soften_keys(const graft_attention_head *h, const back_row *r, size_t j, uint32_t threshold,
                            vec *weight, vec *g) {
    if (j >= r->n) {
        *weight = *g = vec_all(0.0F);
        return;
    }
    vec power = vec_exp2_rough(vec_fma(vec_load(r->scores + j), vec_all(h->scale * log2_e), r->shift));
    vec dp = vec_load(r->d_powers + j);
    if (r->n - j < VEC) power = vec_first(power, r->n - j, vec_all(0.0F));
    *weight = power;
    if (threshold > 0) {
        vec kept = vec_all((float)(1.0 / (1.0 - h->p)));
        dp = keep(h, r->element + (uint32_t)j, threshold, dp * kept);
        *weight = keep(h, r->element + (uint32_t)j, threshold, power * kept);
    }
    *g = vec_all(h->scale) * power * (dp - r->d);
}

/* bf16 of a and b in turn: a row of a tile of B. */
VEC_INLINE void store_pairs(uint16_t *to, vec a, vec b) {
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(b, a), pairs, unused;
    zip(both, _mm512_castsi256_si512(_mm512_extracti64x4_epi64(both, 1)), &pairs, &unused);
    (void)unused;
    _mm512_storeu_si512(to, pairs);
}

/* Rows i and i + 1 of the group: c P and scale g in their layouts, zeros where there is no row or key. */
static void soften_back(const graft_attention_head *h, const backward_scratch *s, size_t group, size_t i,
                        size_t begin, size_t n_keys, size_t padded) {
    back_row upper = back_row_of(h, s, i, group + i, begin, n_keys);
    back_row lower = back_row_of(h, s, i + 1, group + i + 1, begin, n_keys);
    const uint32_t threshold = graft_dropout_threshold(h->p);
    uint16_t *grads = s->grads + i * s->grad_row;
    for (size_t j = 0; j < padded; j += VEC) {
        vec weight[2], g[2];
        soften_keys(h, &upper, j, threshold, &weight[0], &g[0]);
        soften_keys(h, &lower, j, threshold, &weight[1], &g[1]);
        size_t at = (j / TILE * (GROUP / TILE_K) + i / TILE_K) * TILE_SIZE + i % TILE_K * TILE;
        store_pairs(s->power_pairs + at, weight[0], weight[1]);
        store_pairs(s->grad_pairs + at, g[0], g[1]);
        _mm256_storeu_si256((__m256i *)(void *)(grads + j), narrow(g[0]));
        _mm256_storeu_si256((__m256i *)(void *)(grads + s->grad_row + j), narrow(g[1]));
    }
}

/* Scores and <dy, v> of rows [i, i + ROWS) of the group, then their powers and gradients. */
static void back_rows(const graft_attention_head *h, const backward_scratch *s, size_t group, size_t i,
                      size_t begin, size_t n_keys, size_t padded) {
    product p = {.a = s->rows + i * s->cols_k,
                 .b = s->keys,
                 .c = s->scores,
                 .a_row = s->cols_k,
                 .c_row = s->score_row,
                 .rows = ROWS / TILE,
                 .cols = round_up(smaller(padded, n_keys), TILE) / TILE,
                 .k = s->cols_k / TILE_K,
                 .b_ks = s->cols_k / TILE_K};
    multiply(&p);
    p.a = s->d_outs + i * s->cols_k;
    p.b = s->values;
    p.c = s->d_powers;
    multiply(&p);
    for (size_t r = i; r < i + ROWS; r += 2) soften_back(h, s, group, r, begin, n_keys, padded);
}

/* Adds what a group of rows gives to the gradients of the keys and values of the block, and computes the
 * block's part of their own. */
static void back_group(const graft_attention_head *h, const backward_scratch *s, size_t group, size_t rows,
                       size_t begin, size_t n_keys) {
    size_t padded = round_up(seen(h, group + rows - 1, begin, n_keys), TILE_K);
    size_t ks = round_up(rows, TILE_K) / TILE_K;
    rows_of q = part(h, h->q, group, rows), dy = part(h, h->dy, group, rows);
    pack_a(&q, s->rows, s->cols_k);
    pack_a(&dy, s->d_outs, s->cols_k);
    pack_a_columns(&q, s->rows_t, GROUP);
    pack_a_columns(&dy, s->d_outs_t, GROUP);
    for (size_t i = 0; i < rows; i += ROWS) back_rows(h, s, group, i, begin, n_keys, padded);
    product p = {.a = s->d_outs_t,
                 .b = s->power_pairs,
                 .c = s->d_values,
                 .a_row = GROUP,
                 .c_row = s->score_row,
                 .rows = s->cols / TILE,
                 .cols = padded / TILE,
                 .k = ks,
                 .b_ks = GROUP / TILE_K,
                 .add = true};
    multiply(&p);
    p.a = s->rows_t;
    p.b = s->grad_pairs;
    p.c = s->d_keys;
    multiply(&p);
    product to_rows = {.a = s->grads,
                       .b = s->key_pairs,
                       .c = s->d_rows,
                       .a_row = s->grad_row,
                       .c_row = s->cols,
                       .rows = round_up(rows, TILE) / TILE,
                       .cols = s->cols / TILE,
                       .k = padded / TILE_K,
                       .b_ks = s->keys_k / TILE_K};
    multiply(&to_rows);
}

/* dq of the rows: what blocks of keys before have given is in dq_sum. */
static void store_rows(const graft_attention_head *h, const backward_scratch *s, size_t row, size_t rows,
                       bool is_first, bool is_last) {
    for (size_t i = 0; i < rows; i++) {
        float *x = s->d_rows + i * s->cols;
        float *sum = is_first && is_last ? NULL : h->dq_sum + (row + i) * h->stride;
        for (size_t c = 0; !is_first && c < h->width; c++) x[c] += sum[c];
        if (is_last) {
            store_row(h, h->dq, row + i, x, 1.0F);
        } else {
            memcpy(sum, x, h->width * sizeof *x);
        }
    }
}

/* Rows [first, first + n) of a result from its transposed float32 sums. */
static void store_columns(const graft_attention_head *h, void *to, size_t first, size_t n, const float *from,
                          size_t from_row) {
    for (size_t j = 0; j < n; j += VEC) {
        for (size_t c = 0; c < h->width; c += VEC) {
            vec r[VEC];
            for (size_t l = 0; l < VEC; l++) r[l] = vec_load(from + (c + l) * from_row + j);
            vec_transpose(r);
            uint16_t *at = (uint16_t *)to + (first + j) * h->stride + c;
            for (size_t l = 0; l < smaller(VEC, n - j); l++)
                _mm256_mask_storeu_epi16(at + l * h->stride, first_16(h->width - c), narrow(r[l]));
        }
    }
}

static void backward(const graft_attention_head *h) {
    scratch all = {.base = h->scratch};
    backward_scratch s = backward_places(&all, h->n, h->width);
    begin_products();
    for (size_t begin = 0; begin < h->n; begin += GRAD_KEYS) {
        size_t n_keys = smaller(GRAD_KEYS, h->n - begin), after = begin + n_keys;
        rows_of k = part(h, h->k, begin, n_keys), v = part(h, h->v, begin, n_keys);
        pack_b_columns(&k, s.keys);
        pack_b_columns(&v, s.values);
        pack_b_rows(&k, s.key_pairs, s.keys_k / TILE_K);
        memset(s.d_keys, 0, s.cols * s.score_row * sizeof(float));
        memset(s.d_values, 0, s.cols * s.score_row * sizeof(float));
        for (size_t row = h->causal ? begin : 0; row < h->n; row += GROUP) {
            size_t rows = smaller(GROUP, h->n - row);
            back_group(h, &s, row, rows, begin, n_keys);
            bool is_last = after == h->n || (h->causal && row + rows <= after);
            store_rows(h, &s, row, rows, begin == 0, is_last);
        }
        store_columns(h, h->dk, begin, n_keys, s.d_keys, s.score_row);
        store_columns(h, h->dv, begin, n_keys, s.d_values, s.score_row);
    }
    end_products();
}

const graft_attention_kernels ATTENTION_TABLE = {"attention:" ATTENTION_ISA,
                                                 "attention_grad:" ATTENTION_ISA,
                                                 forward_size,
                                                 backward_size,
                                                 forward,
                                                 backward,
                                                 GRAD_KEYS,
                                                 ATTENTION_FEW};
