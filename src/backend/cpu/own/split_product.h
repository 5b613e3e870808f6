/* Products of float32 matrices on bf16 tiles: each number x is split into hi + lo, hi = bf16(x) and lo =
 * bf16(x - hi), which keeps 16 bits of it, and the product is the sum of hi hi, hi lo and lo hi in float32;
 * what is left out, lo lo, is 2^-16 of |x||y| or less. Henry, Tang and Heinecke 2019, "Leveraging the
 * bfloat16 artificial intelligence datatype for higher-precision computations"; MKL calls it float_to_bf16x3.
 *
 * An operand is packed once and read by any number of products: panels of 32 rows (of A) or columns (of B),
 * the last filled up with zeros; in a panel, for every 32 of k, four tiles of 1 KB: hi of the first 16 and of
 * the other 16, lo of both.
 *
 *     A   a tile is 16 rows of 32 elements of k
 *     B   a tile is 16 rows of 16 pairs: row r has, for each of 16 columns, the elements 2 r and 2 r + 1 of k
 *
 * What is infinite or rounds to it has no lo, so that it does not hide: a sum that it goes into is not finite
 * either. */
#ifndef GRAFT_CPU_SPLIT_PRODUCT_H
#define GRAFT_CPU_SPLIT_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GRAFT_SPLIT_PANEL = 32, GRAFT_SPLIT_STEP = 4 * 512 /* elements of a panel's 32 of k */ };

/** How a matrix in C order becomes an operand: its rows are A's rows, its columns are A's rows, its rows are
 * k of B, its columns are k of B. */
typedef enum graft_split_way {
    GRAFT_SPLIT_NONE,
    GRAFT_SPLIT_A,
    GRAFT_SPLIT_A_TURNED,
    GRAFT_SPLIT_B,
    GRAFT_SPLIT_B_TURNED,
} graft_split_way;

/** Steps of 32 of k, and panels, of a matrix (rows, columns) as an operand. */
static inline size_t graft_split_steps(graft_split_way way, size_t rows, size_t columns) {
    return ((way == GRAFT_SPLIT_A || way == GRAFT_SPLIT_B_TURNED ? columns : rows) + 31) / 32;
}
static inline size_t graft_split_panels(graft_split_way way, size_t rows, size_t columns) {
    return ((way == GRAFT_SPLIT_A || way == GRAFT_SPLIT_B_TURNED ? rows : columns) + 31) / 32;
}

typedef struct graft_split_pack {
    const float *from; /* (rows, columns) in C order */
    size_t rows, columns;
    graft_split_way way;
    uint16_t *to; /* panels x steps x GRAFT_SPLIT_STEP, aligned to 64 bytes */
} graft_split_pack;

/** C (m, n) = act(A B + bias + residual); steps are those of both operands. */
typedef struct graft_split_product {
    const uint16_t *a, *b;
    float *c;              /* (m, n) in C order */
    const float *bias;     /* (n) or NULL */
    const float *residual; /* (m, n), not c, or NULL */
    bool onto;             /* the residual lies in c */
    size_t m, n, steps;
    int32_t act; /* a graft_act */
} graft_split_product;

typedef struct graft_split_kernels {
    const char *name, *pack_name;
    /** Packs rows [32 group, 32 group + 32) of the matrix: a panel, or a step of all panels. */
    void (*pack)(const graft_split_pack *p, size_t group);
    /** Rows of panels [row, row_end) and columns of panels [col, col_end) of C, which no other part of the
     * work touches; every element is the same sum however C is cut. */
    void (*multiply)(const graft_split_product *p, size_t row, size_t row_end, size_t col, size_t col_end);
} graft_split_kernels;

extern const graft_split_kernels graft_split_amx;

#endif
