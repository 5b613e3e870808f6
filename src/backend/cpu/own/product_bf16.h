/* Products of bf16 matrices that lie in the cache, summed in float32: C (rows, cols) = A (rows, k) B (k,
 * cols), or added to C. k is in steps of 32, rows and cols in steps of 16: the size of a tile of Intel's AMX,
 * and AVX-512's pair-wise products take the same layout.
 *
 *     A   rows of k elements, the stride a multiple of 32 elements
 *     B   tiles of 1 KB: tile (column / 16, k / 32), the k of one column one after the other, holds 16 rows
 * of 16 pairs; row r has, for each of 16 columns, the elements 2 r and 2 r + 1 of k
 *
 * Included by kernels that are compiled for AVX512_BF16 or for AMX. */
#ifndef GRAFT_CPU_PRODUCT_BF16_H
#define GRAFT_CPU_PRODUCT_BF16_H

#include "backend/cpu/own/vector.h"
#if defined(__AMX_TILE__)
#include "backend/cpu/own/tiles.h"
#endif

enum { TILE = 16, TILE_K = 32, TILE_SIZE = TILE * TILE_K }; /* rows and columns; k; elements of a tile of B */

typedef struct product {
    const uint16_t *a, *b;
    float *c;
    size_t a_row, c_row;        /* strides in elements */
    size_t rows, cols, k, b_ks; /* tiles; b_ks: tiles that B holds of each column, at least k */
    bool add;
} product;

#if defined(__AMX_TILE__)

static void begin_products(void) {
    tiles_begin();
}

static void end_products(void) {
    tiles_end();
}

/* Tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B: up to 2 x 2 tiles of C from (row, col) on. */
VEC_INLINE void multiply_block(const product *p, size_t row, size_t col, const bool two_rows,
                               const bool two_cols) {
    const size_t c_row = p->c_row * sizeof(float), a_row = p->a_row * sizeof(uint16_t);
    float *c = p->c + row * TILE * p->c_row + col * TILE, *c_below = c + TILE * p->c_row;
    const uint16_t *a = p->a + row * TILE * p->a_row, *a_below = a + TILE * p->a_row;
    const uint16_t *b = p->b + col * p->b_ks * TILE_SIZE, *b_beside = b + p->b_ks * TILE_SIZE;
    if (p->add) {
        _tile_loadd(0, c, c_row);
        if (two_cols) _tile_loadd(1, c + TILE, c_row);
        if (two_rows) _tile_loadd(2, c_below, c_row);
        if (two_rows && two_cols) _tile_loadd(3, c_below + TILE, c_row);
    } else {
        _tile_zero(0);
        if (two_cols) _tile_zero(1);
        if (two_rows) _tile_zero(2);
        if (two_rows && two_cols) _tile_zero(3);
    }
    for (size_t k = 0; k < p->k; k++) {
        _tile_loadd(6, b + k * TILE_SIZE, 64);
        _tile_loadd(4, a + k * TILE_K, a_row);
        _tile_dpbf16ps(0, 4, 6);
        if (two_cols) {
            _tile_loadd(7, b_beside + k * TILE_SIZE, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_rows) {
            _tile_loadd(5, a_below + k * TILE_K, a_row);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (two_rows && two_cols) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_row);
    if (two_cols) _tile_stored(1, c + TILE, c_row);
    if (two_rows) _tile_stored(2, c_below, c_row);
    if (two_rows && two_cols) _tile_stored(3, c_below + TILE, c_row);
}

static void multiply(const product *p) {
    for (size_t col = 0; col < p->cols; col += 2) {
        bool two_cols = col + 1 < p->cols;
        size_t row = 0;
        for (; row + 1 < p->rows; row += 2) {
            if (two_cols) {
                multiply_block(p, row, col, true, true);
            } else {
                multiply_block(p, row, col, true, false);
            }
        }
        if (row < p->rows && two_cols) multiply_block(p, row, col, false, true);
        if (row < p->rows && !two_cols) multiply_block(p, row, col, false, false);
    }
}

#else

static void begin_products(void) {}

static void end_products(void) {}

/* `rows` rows, which divide 16, and `cols` tiles of columns, from (row, col) on. */
VEC_INLINE void multiply_block(const product *p, size_t row, size_t col, const int rows, const int cols) {
    const uint16_t *a = p->a + row * p->a_row, *b = p->b + col * p->b_ks * TILE_SIZE;
    const size_t b_col = p->b_ks * TILE_SIZE;
    float *c = p->c + row * p->c_row + col * TILE;
    vec sum[8][4];
    VEC_UNROLL
    for (int i = 0; i < rows; i++) {
        VEC_UNROLL
        for (int j = 0; j < cols; j++)
            sum[i][j] = p->add ? vec_load(c + (size_t)i * p->c_row + (size_t)j * TILE) : vec_all(0.0F);
    }
    for (size_t k = 0; k < p->k * TILE_K; k += 2) {
        __m512bh of_b[4];
        VEC_UNROLL
        for (int j = 0; j < cols; j++) memcpy(&of_b[j], b + (size_t)j * b_col + k * TILE, sizeof of_b[j]);
        VEC_UNROLL
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, a + (size_t)i * p->a_row + k, sizeof pair);
            __m512bh of_a = (__m512bh)_mm512_set1_epi32(pair);
            VEC_UNROLL
            for (int j = 0; j < cols; j++) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], of_a, of_b[j]);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < rows; i++) {
        VEC_UNROLL
        for (int j = 0; j < cols; j++) vec_store(c + (size_t)i * p->c_row + (size_t)j * TILE, sum[i][j]);
    }
}

static void multiply(const product *p) {
    size_t rows = p->rows * TILE, left;
    for (size_t col = 0; col < p->cols; col += left < 4 ? left : 4) {
        left = p->cols - col;
        if (left >= 4) {
            for (size_t row = 0; row < rows; row += 4) multiply_block(p, row, col, 4, 4);
        } else if (left == 3) {
            for (size_t row = 0; row < rows; row += 4) multiply_block(p, row, col, 4, 3);
        } else if (left == 2) {
            for (size_t row = 0; row < rows; row += 8) multiply_block(p, row, col, 8, 2);
        } else {
            for (size_t row = 0; row < rows; row += 8) multiply_block(p, row, col, 8, 1);
        }
    }
}

#endif

/* ---- Layouts ---------------------------------------------------------------------------------------------- */

/** Elements [at, at + 32) of a row of n, zeros from n on. */
VEC_INLINE __m512i load_32(const uint16_t *row, size_t at, size_t n) {
    if (n >= at + 32) return _mm512_loadu_si512(row + at);
    return _mm512_maskz_loadu_epi16((__mmask32)((UINT32_C(1) << (n - at)) - 1), row + at);
}

/** Words of a and b in turn: of their elements [0, 16) and [16, 32). */
VEC_INLINE void zip(__m512i a, __m512i b, __m512i *low, __m512i *high) {
    __m512i lanes = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38,
                                     6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    *low = _mm512_permutex2var_epi16(a, lanes, b);
    *high = _mm512_permutex2var_epi16(a, _mm512_add_epi16(lanes, _mm512_set1_epi16(16)), b);
}

/* Rows of `width` elements, `stride` apart. */
typedef struct rows_of {
    const uint16_t *data;
    size_t n, width, stride;
} rows_of;

/** Row i from element `at` on; zeros where there is none. */
VEC_INLINE __m512i row_part(const rows_of *m, size_t i, size_t at) {
    return i < m->n ? load_32(m->data + i * m->stride, at, m->width) : _mm512_setzero_si512();
}

/** As A: rows and width to whole tiles. to_row is the width in whole tiles. */
static void pack_a(const rows_of *m, uint16_t *to, size_t to_row) {
    for (size_t i = 0; i < (m->n + TILE - 1) / TILE * TILE; i++)
        for (size_t c = 0; c < to_row; c += 32) _mm512_storeu_si512(to + i * to_row + c, row_part(m, i, c));
}

/** The transposed matrix as B: its columns are the rows, k runs along the width. */
static void pack_b_columns(const rows_of *m, uint16_t *to) {
    size_t ks = (m->width + TILE_K - 1) / TILE_K;
    for (size_t i = 0; i < m->n; i += TILE) {
        for (size_t k = 0; k < ks; k++, to += TILE_SIZE) {
            vec r[TILE];
            for (size_t l = 0; l < TILE; l++) r[l] = _mm512_castsi512_ps(row_part(m, i + l, k * TILE_K));
            vec_transpose(r);
            for (size_t l = 0; l < TILE; l++) _mm512_storeu_ps(to + l * TILE_K, r[l]);
        }
    }
}

/** The matrix as B: k runs along the rows, of which `to` has room for ks tiles a column. */
static void pack_b_rows(const rows_of *m, uint16_t *to, size_t ks) {
    for (size_t i = 0; i < m->n; i += 2) {
        for (size_t c = 0; c < m->width; c += 32) {
            __m512i low, high;
            uint16_t *at = to + (c / TILE * ks + i / TILE_K) * TILE_SIZE + i % TILE_K * TILE;
            zip(row_part(m, i, c), row_part(m, i + 1, c), &low, &high);
            _mm512_storeu_si512(at, low);
            if (c + TILE < m->width) _mm512_storeu_si512(at + ks * TILE_SIZE, high);
        }
    }
    for (size_t i = (m->n + 1) / 2 * 2; i % TILE_K != 0; i += 2) { /* the rest of the last tile */
        for (size_t c = 0; c < m->width; c += TILE)
            _mm512_storeu_si512(to + (c / TILE * ks + i / TILE_K) * TILE_SIZE + i % TILE_K * TILE,
                                _mm512_setzero_si512());
    }
}

/** The transposed matrix as A: its rows are the columns, k runs along the rows. */
static void pack_a_columns(const rows_of *m, uint16_t *to, size_t to_row) {
    for (size_t i = 0; i < m->n; i += TILE_K) {
        for (size_t c = 0; c < m->width; c += 32) {
            __m512i low[TILE], high[TILE];
            for (size_t l = 0; l < TILE; l++)
                zip(row_part(m, i + 2 * l, c), row_part(m, i + 2 * l + 1, c), &low[l], &high[l]);
            vec r[TILE];
            for (size_t l = 0; l < TILE; l++) r[l] = _mm512_castsi512_ps(low[l]);
            vec_transpose(r);
            for (size_t l = 0; l < TILE; l++) _mm512_storeu_ps(to + (c + l) * to_row + i, r[l]);
            if (c + TILE >= m->width) continue;
            for (size_t l = 0; l < TILE; l++) r[l] = _mm512_castsi512_ps(high[l]);
            vec_transpose(r);
            for (size_t l = 0; l < TILE; l++) _mm512_storeu_ps(to + (c + TILE + l) * to_row + i, r[l]);
        }
    }
}

#endif
