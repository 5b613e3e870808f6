/* Products of matrices that lie in the cache: C (rows, cols) = A (rows, k) B (k, cols), or added to C. B and
 * C have rows of whole vectors; A is read element by element with any strides, so it may be a transposed
 * matrix. A tile of C stays in registers while k runs. Included by kernels that are compiled once an
 * instruction set. */
#ifndef GRAFT_CPU_PRODUCT_H
#define GRAFT_CPU_PRODUCT_H

#include "backend/cpu/own/vector.h"

/* Vectors across a tile, and its rows: as many sums as registers hold besides what is read. */
#if defined(__AVX512F__)
enum { TILE_VECS = 4 };
#define TILE_ROWS(vecs) ((vecs) == 4 ? 6 : (vecs) == 3 ? 8 : 12)
#else
enum { TILE_VECS = 2 };
#define TILE_ROWS(vecs) 6
#endif
enum { TILE_COLS = TILE_VECS * VEC };

typedef struct product {
    const float *a, *b;
    float *c;
    size_t k, a_row, a_k, b_row, c_row; /* strides in floats */
    bool add;
} product;

VEC_INLINE void tile(const product *p, size_t row, size_t col, const int rows, const int vecs) {
    const float *a = p->a + row * p->a_row, *b = p->b + col;
    float *c = p->c + row * p->c_row + col;
    const size_t a_row = p->a_row, a_k = p->a_k, b_row = p->b_row, c_row = p->c_row;
    vec sum[12][TILE_VECS];
    VEC_UNROLL
    for (int i = 0; i < rows; i++) {
        VEC_UNROLL
        for (int j = 0; j < vecs; j++)
            sum[i][j] = p->add ? vec_load(c + (size_t)i * c_row + (size_t)j * VEC) : vec_all(0.0F);
    }
    for (size_t k = p->k; k > 0; k--, a += a_k, b += b_row) {
        vec of_b[TILE_VECS];
        VEC_UNROLL
        for (int j = 0; j < vecs; j++) of_b[j] = vec_load(b + (size_t)j * VEC);
        VEC_UNROLL
        for (int i = 0; i < rows; i++) {
            vec of_a = vec_all(a[(size_t)i * a_row]);
            VEC_UNROLL
            for (int j = 0; j < vecs; j++) sum[i][j] = vec_fma(of_a, of_b[j], sum[i][j]);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < rows; i++) {
        VEC_UNROLL
        for (int j = 0; j < vecs; j++) vec_store(c + (size_t)i * c_row + (size_t)j * VEC, sum[i][j]);
    }
}

/* The tiles of one strip of columns: full ones, then what is left in parts of 8, 6, 4, 3, 2 and 1. */
#define STRIP(vecs)                                                                                          \
    static void strip_##vecs(const product *p, size_t rows, size_t col) {                                    \
        size_t row = 0;                                                                                      \
        for (; rows - row >= TILE_ROWS(vecs); row += TILE_ROWS(vecs))                                        \
            tile(p, row, col, TILE_ROWS(vecs), vecs);                                                        \
        if (TILE_ROWS(vecs) > 8 && rows - row >= 8) tile(p, row, col, 8, vecs), row += 8;                    \
        if (TILE_ROWS(vecs) > 6 && rows - row >= 6) tile(p, row, col, 6, vecs), row += 6;                    \
        if (rows - row >= 4) tile(p, row, col, 4, vecs), row += 4;                                           \
        if (rows - row == 3) tile(p, row, col, 3, vecs);                                                     \
        if (rows - row == 2) tile(p, row, col, 2, vecs);                                                     \
        if (rows - row == 1) tile(p, row, col, 1, vecs);                                                     \
    }
STRIP(1)
STRIP(2)
#if defined(__AVX512F__)
STRIP(3)
STRIP(4)
#endif

/* Columns [col, col + vecs VEC) of C, at most a strip of them. */
static void multiply_strip(const product *p, size_t rows, size_t col, size_t vecs) {
    switch (vecs) {
    case 1:
        strip_1(p, rows, col);
        break;
    case 2:
        strip_2(p, rows, col);
        break;
#if defined(__AVX512F__)
    case 3:
        strip_3(p, rows, col);
        break;
    case 4:
        strip_4(p, rows, col);
        break;
#endif
    default:
        break;
    }
}

/** All of C: `cols` is a multiple of VEC. */
static void multiply(const product *p, size_t rows, size_t cols) {
    for (size_t col = 0; col < cols; col += TILE_COLS) {
        size_t left = (cols - col) / VEC;
        multiply_strip(p, rows, col, left < TILE_VECS ? left : TILE_VECS);
    }
}

#endif
