/* What the files of the averaged classifier share. Private to them. */
#ifndef GRAFT_LEARN_AVERAGED_IMPL_H
#define GRAFT_LEARN_AVERAGED_IMPL_H

#include "learn/averaged.h"

enum { GRAFT_AVERAGED_LANES = 16 };

/** Rows of texts: known words, then n-grams, text after text; starts [n + 1]. */
typedef struct graft_row_lists {
    uint32_t *rows;
    int64_t *starts;
} graft_row_lists;

/** Into the arena; shapes are those of `m`. */
int graft_averaged_rows(graft_row_lists *out, graft_arena *arena, const graft_averaged *m,
                        const graft_texts *texts, graft_err *err);

/** The inner loops, one table an instruction set; strides are whole lanes. */
typedef struct graft_averaged_kernels {
    /** out = the mean of n rows; zero when n is 0. */
    void (*mean)(float *restrict out, const float *matrix, size_t stride, const uint32_t *rows, int64_t n);
    /** z[c] = row c . x, n rows. */
    void (*dots)(float *restrict z, const float *matrix, size_t stride, const float *restrict x, int64_t n);
    /** gradient = share * sum over c of e[c] row c; then row c += e[c] x. */
    void (*step)(float *matrix, size_t stride, int64_t n, const float *restrict e, float share,
                 const float *restrict x, float *restrict gradient);
    /** row += x. */
    void (*add)(float *restrict row, const float *restrict x, size_t stride);
} graft_averaged_kernels;

extern const graft_averaged_kernels graft_averaged_base, graft_averaged_avx2, graft_averaged_avx512;
/** The fastest table that this processor has. */
const graft_averaged_kernels *graft_averaged_choose(void);

#endif
