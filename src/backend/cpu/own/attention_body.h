/* The loops of attention.h in float32; included by one file an instruction set, which names the table
 * ATTENTION_TABLE and its ISA. bf16 is widened when a block is copied, and rounded when a result is. No
 * include guard: it is a body, not a declaration. */
#include "backend/cpu/own/attention_parts.h"
#include "backend/cpu/own/product.h"

#include <math.h>

/* Keys of a block; rows whose scores are computed together, a multiple of every tile's rows. A block of the
 * gradient begins where a group of rows does, so that causal rows are complete when their block is. */
enum { KEYS = 512, ROWS = 48, GRAD_KEYS = 6 * ROWS };

/* ---- Rows between memory and scratch -------------------------------------------------------------------- */

static float widen(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* To the nearest, ties to even. */
static uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + UINT32_C(0x7fff) + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)(x == x ? rounded : bits >> 16 | 0x40u);
}

/* Rows [first, first + n) of a matrix of the head as float32 with `to_row` columns, zeros past the width. */
static void copy_rows(const graft_attention_head *h, const void *from, size_t first, size_t n, float *to,
                      size_t to_row) {
    for (size_t i = 0; i < n; i++, to += to_row) {
        size_t at = (first + i) * h->stride;
        if (h->narrow) {
            const uint16_t *x = (const uint16_t *)from + at;
            for (size_t c = 0; c < h->width; c++) to[c] = widen(x[c]);
        } else {
            const float *x = (const float *)from + at;
            size_t c = 0;
            for (; c + VEC <= h->width; c += VEC) vec_store(to + c, vec_load(x + c));
            for (; c < h->width; c++) to[c] = x[c];
        }
        for (size_t c = h->width; c < to_row; c++) to[c] = 0.0F;
    }
}

static void store_row(const graft_attention_head *h, void *to, size_t row, const float *x, float factor) {
    if (h->narrow) {
        uint16_t *y = (uint16_t *)to + row * h->stride;
        for (size_t c = 0; c < h->width; c++) y[c] = narrow(x[c] * factor);
        return;
    }
    float *y = (float *)to + row * h->stride;
    size_t c = 0;
    for (; c + VEC <= h->width; c += VEC) vec_store(y + c, vec_load(x + c) * vec_all(factor));
    for (; c < h->width; c++) y[c] = x[c] * factor;
}

/* A block of n rows, `width` floats of each, transposed into panels of TILE_COLS columns: panel p holds
 * [width][columns], its last columns zero where rows end. Columns of the last panel are whole vectors. */
static void transpose(const float *from, size_t from_row, size_t n, size_t width, float *to) {
    for (size_t panel = 0; panel < n; panel += TILE_COLS) {
        size_t cols = smaller(TILE_COLS, round_up(n - panel, VEC));
        for (size_t j = 0; j < cols; j += VEC) {
            const float *x = from + (panel + j) * from_row;
            size_t rows = smaller(n - panel - j, VEC);
            for (size_t c = 0; c < width; c += VEC) {
                vec r[VEC];
                size_t count = smaller(width - c, VEC);
                for (size_t l = 0; l < VEC; l++) {
                    r[l] = l >= rows      ? vec_all(0.0F)
                           : count == VEC ? vec_load(x + l * from_row + c)
                                          : vec_load_part(x + l * from_row + c, count);
                }
                vec_transpose(r);
                for (size_t l = 0; l < count; l++) vec_store(to + (c + l) * cols + j, r[l]);
            }
        }
        to += cols * width;
    }
}

/* S (rows, cols) = A (rows, width) times panels; cols a multiple of VEC. */
static void multiply_panels(const float *a, size_t a_row, const float *panels, size_t width, float *s,
                            size_t s_row, size_t rows, size_t cols, size_t n_keys) {
    for (size_t col = 0; col < cols; col += TILE_COLS) {
        size_t in_panel = smaller(TILE_COLS, round_up(n_keys - col, VEC));
        product p = {.a = a,
                     .b = panels,
                     .c = s + col,
                     .k = width,
                     .a_row = a_row,
                     .a_k = 1,
                     .b_row = in_panel,
                     .c_row = s_row};
        multiply_strip(&p, rows, 0, smaller(in_panel, round_up(cols - col, VEC)) / VEC);
        panels += in_panel * width;
    }
}

/* ---- Forward ------------------------------------------------------------------------------------------------- */

typedef struct forward_scratch {
    float *keys, *values, *scores, *rows,
        *sums; /* panels; (keys, cols); (ROWS, keys); (ROWS, cols); (rows, cols) */
    row_state *state;
    size_t cols, score_row;
} forward_scratch;

static forward_scratch forward_places(scratch *at, size_t n, size_t width) {
    size_t keys = round_up(smaller(n, KEYS), VEC), rows = smaller(n, GRAFT_ATTENTION_ROWS);
    forward_scratch s = {.cols = round_up(width, VEC), .score_row = keys + VEC};
    s.keys = carve_floats(at, keys * s.cols);
    s.values = carve_floats(at, keys * s.cols);
    s.scores = carve_floats(at, ROWS * s.score_row);
    s.rows = carve_floats(at, ROWS * s.cols);
    s.sums = carve_floats(at, rows * s.cols);
    s.state = carve(at, rows * sizeof *s.state);
    return s;
}

static size_t forward_size(size_t n, size_t width) {
    scratch all = {0};
    forward_places(&all, n, width);
    return all.size;
}

/* The scores of one row become powers, of which the first n count; zeros up to `padded`. */
static void soften(const graft_attention_head *h, size_t row, size_t begin, float *s, size_t n, size_t padded,
                   row_state *state) {
    const float factor = h->scale * log2_e;
    size_t whole = n / VEC * VEC;
    for (size_t j = n == whole ? n : whole + VEC; j < padded; j += VEC) vec_store(s + j, vec_all(0.0F));
    if (n == 0) return;
    vec shift = vec_all(-state->largest * factor), scale = vec_all(factor), sum = vec_all(0.0F);
    const uint32_t threshold = graft_dropout_threshold(h->p), element = element_of(h, row, begin);
    for (size_t j = 0; j < n; j += VEC) {
        vec power = vec_exp2(vec_fma(vec_load(s + j), scale, shift));
        if (j == whole) power = vec_first(power, n - whole, vec_all(0.0F));
        sum += power;
        if (threshold > 0) power = keep(h, element + (uint32_t)j, threshold, power);
        vec_store(s + j, power);
    }
    state->sum = state->sum * state->old + vec_sum(sum);
}

/* Rows [row, row + rows) with the block of keys from `begin` on. */
static void attend_rows(const graft_attention_head *h, const forward_scratch *s, size_t row, size_t rows,
                        size_t begin, size_t n_keys) {
    size_t most = seen(h, row + rows - 1, begin, n_keys), padded = round_up(most, VEC);
    if (most == 0) return;
    const float *q = (const float *)h->q + row * h->stride;
    size_t q_row = h->stride;
    if (h->narrow) {
        copy_rows(h, h->q, row, rows, s->rows, s->cols);
        q = s->rows;
        q_row = s->cols;
    }
    multiply_panels(q, q_row, s->keys, h->width, s->scores, s->score_row, rows, padded, n_keys);
    float *sums = s->sums + (row - h->first) * s->cols;
    row_state *state = s->state + (row - h->first);
    for (size_t i = 0; i < rows; i++)
        raise_largest(h, &state[i], s->scores + i * s->score_row, seen(h, row + i, begin, n_keys));
    for (size_t i = 0; i < rows; i++) {
        soften(h, row + i, begin, s->scores + i * s->score_row, seen(h, row + i, begin, n_keys), padded,
               &state[i]);
        if (begin > 0) rescale(sums + i * s->cols, s->cols, &state[i]);
    }
    product p = {.a = s->scores,
                 .b = s->values,
                 .c = sums,
                 .k = most,
                 .a_row = s->score_row,
                 .a_k = 1,
                 .b_row = s->cols,
                 .c_row = s->cols,
                 .add = begin > 0};
    multiply(&p, rows, s->cols);
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
    for (size_t i = 0; i < h->last - h->first; i++) s.state[i] = (row_state){.largest = -INFINITY};
    for (size_t begin = 0; begin < end; begin += KEYS) {
        size_t n_keys = smaller(KEYS, end - begin);
        const float *k = (const float *)h->k + begin * h->stride;
        size_t k_row = h->stride;
        if (h->narrow) {
            copy_rows(h, h->k, begin, n_keys, s.values, s.cols);
            k = s.values;
            k_row = s.cols;
        }
        transpose(k, k_row, n_keys, h->width, s.keys);
        copy_rows(h, h->v, begin, n_keys, s.values, s.cols);
        for (size_t row = h->first; row < h->last; row += ROWS) {
            size_t rows = smaller(ROWS, h->last - row);
            attend_rows(h, &s, row, rows, begin, n_keys);
            if (begin + n_keys == end) finish_rows(h, &s, row, rows);
        }
    }
}

/* ---- Backward ------------------------------------------------------------------------------------------------ */

typedef struct backward_scratch {
    float *keys, *values;                  /* panels of k and v, transposed */
    float *key_rows, *d_keys, *d_values;   /* (keys, cols) */
    float *powers, *grads;                 /* (ROWS, keys): c P and scale g */
    float *rows, *d_outs, *d_rows, *y_row; /* (ROWS, cols): q, dy, dq; one row of y */
    size_t cols, score_row;
} backward_scratch;

static backward_scratch backward_places(scratch *at, size_t n, size_t width) {
    size_t keys = round_up(smaller(n, GRAD_KEYS), VEC);
    backward_scratch s = {.cols = round_up(width, VEC), .score_row = keys + VEC};
    s.keys = carve_floats(at, keys * s.cols);
    s.values = carve_floats(at, keys * s.cols);
    s.key_rows = carve_floats(at, keys * s.cols);
    s.d_keys = carve_floats(at, keys * s.cols);
    s.d_values = carve_floats(at, keys * s.cols);
    s.powers = carve_floats(at, ROWS * s.score_row);
    s.grads = carve_floats(at, ROWS * s.score_row);
    s.rows = carve_floats(at, ROWS * s.cols);
    s.d_outs = carve_floats(at, ROWS * s.cols);
    s.d_rows = carve_floats(at, ROWS * s.cols);
    s.y_row = carve_floats(at, s.cols);
    return s;
}

static size_t backward_size(size_t n, size_t width) {
    scratch all = {0};
    backward_places(&all, n, width);
    return all.size;
}

/* <dy, y> of a row whose dy is copied already. */
static float inner(const graft_attention_head *h, const backward_scratch *s, size_t row, const float *dy) {
    copy_rows(h, h->y_in, row, 1, s->y_row, s->cols);
    vec sum = vec_all(0.0F);
    for (size_t c = 0; c < s->cols; c += VEC) sum = vec_fma(vec_load(dy + c), vec_load(s->y_row + c), sum);
    return vec_sum(sum);
}

/* One row's scores become c P, and its <dy, v> scale g; n keys count, zeros up to `padded`. */
static void soften_back(const graft_attention_head *h, const backward_scratch *s, size_t i, size_t row,
                        size_t begin, size_t n, size_t padded) {
    float *p = s->powers + i * s->score_row, *g = s->grads + i * s->score_row;
    const float d = inner(h, s, row, s->d_outs + i * s->cols);
    const vec scale = vec_all(h->scale * log2_e), shift = vec_all(-h->lse_in[row * h->lse_stride] * log2_e);
    const vec all_scale = vec_all(h->scale), zero = vec_all(0.0F),
              kept = vec_all((float)(1.0 / (1.0 - h->p)));
    const uint32_t threshold = graft_dropout_threshold(h->p), element = element_of(h, row, begin);
    for (size_t j = 0; j < n; j += VEC) {
        vec power = vec_exp2(vec_fma(vec_load(p + j), scale, shift)), dp = vec_load(g + j), weight = power;
        if (n - j < VEC) power = weight = vec_first(power, n - j, zero);
        if (threshold > 0) {
            dp = keep(h, element + (uint32_t)j, threshold, dp * kept);
            weight = keep(h, element + (uint32_t)j, threshold, power * kept);
        }
        vec_store(p + j, weight);
        vec_store(g + j, all_scale * power * (dp - vec_all(d)));
    }
    for (size_t j = round_up(n, VEC); j < padded; j += VEC) {
        vec_store(p + j, zero);
        vec_store(g + j, zero);
    }
}

/* Adds what rows [row, row + rows) give to the gradients of the keys and values of the block, and the block's
 * part to their own. */
static void back_rows(const graft_attention_head *h, const backward_scratch *s, size_t row, size_t rows,
                      size_t begin, size_t n_keys) {
    size_t most = seen(h, row + rows - 1, begin, n_keys), padded = round_up(most, VEC), cols = s->cols;
    copy_rows(h, h->q, row, rows, s->rows, cols);
    copy_rows(h, h->dy, row, rows, s->d_outs, cols);
    multiply_panels(s->rows, cols, s->keys, h->width, s->powers, s->score_row, rows, padded, n_keys);
    multiply_panels(s->d_outs, cols, s->values, h->width, s->grads, s->score_row, rows, padded, n_keys);
    for (size_t i = 0; i < rows; i++)
        soften_back(h, s, i, row + i, begin, seen(h, row + i, begin, n_keys), padded);
    product to_values = {.a = s->powers,
                         .b = s->d_outs,
                         .c = s->d_values,
                         .k = rows,
                         .a_row = 1,
                         .a_k = s->score_row,
                         .b_row = cols,
                         .c_row = cols,
                         .add = true};
    product to_keys = {.a = s->grads,
                       .b = s->rows,
                       .c = s->d_keys,
                       .k = rows,
                       .a_row = 1,
                       .a_k = s->score_row,
                       .b_row = cols,
                       .c_row = cols,
                       .add = true};
    product to_rows = {.a = s->grads,
                       .b = s->key_rows,
                       .c = s->d_rows,
                       .k = most,
                       .a_row = s->score_row,
                       .a_k = 1,
                       .b_row = cols,
                       .c_row = cols};
    multiply(&to_values, most, cols);
    multiply(&to_keys, most, cols);
    multiply(&to_rows, rows, cols);
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

static void backward(const graft_attention_head *h) {
    scratch all = {.base = h->scratch};
    backward_scratch s = backward_places(&all, h->n, h->width);
    for (size_t begin = 0; begin < h->n; begin += GRAD_KEYS) {
        size_t n_keys = smaller(GRAD_KEYS, h->n - begin), size = n_keys * s.cols * sizeof(float);
        copy_rows(h, h->v, begin, n_keys, s.key_rows, s.cols);
        transpose(s.key_rows, s.cols, n_keys, h->width, s.values);
        copy_rows(h, h->k, begin, n_keys, s.key_rows, s.cols);
        transpose(s.key_rows, s.cols, n_keys, h->width, s.keys);
        memset(s.d_keys, 0, size);
        memset(s.d_values, 0, size);
        for (size_t row = h->causal ? begin : 0; row < h->n; row += ROWS) {
            size_t rows = smaller(ROWS, h->n - row), after = begin + n_keys;
            back_rows(h, &s, row, rows, begin, n_keys);
            bool is_last = after == h->n || (h->causal && row + rows <= after);
            store_rows(h, &s, row, rows, begin == 0, is_last);
        }
        for (size_t j = 0; j < n_keys; j++) {
            store_row(h, h->dk, begin + j, s.d_keys + j * s.cols, 1.0F);
            store_row(h, h->dv, begin + j, s.d_values + j * s.cols, 1.0F);
        }
    }
}

const graft_attention_kernels ATTENTION_TABLE = {"attention:" ATTENTION_ISA,
                                                 "attention_grad:" ATTENTION_ISA,
                                                 forward_size,
                                                 backward_size,
                                                 forward,
                                                 backward,
                                                 GRAD_KEYS};
