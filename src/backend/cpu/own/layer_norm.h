/* Layer norm over rows, and sums of columns, one version an instruction set. */
#ifndef GRAFT_CPU_LAYER_NORM_H
#define GRAFT_CPU_LAYER_NORM_H

#include <stdbool.h>
#include <stddef.h>

typedef struct graft_layer_norm_rows {
    const void *x, *dy;        /* dy: of the gradient alone */
    void *y;                   /* y or dx; may be x or dy itself; NULL where no dx is wanted */
    const float *gamma, *beta; /* beta NULL: zeros */
    float *mean, *rstd;        /* a number a row: written forwards, read backwards */
    size_t width;
    float eps;
    bool is_narrow; /* x, dy and y are bf16, else float32 */
} graft_layer_norm_rows;

typedef struct graft_layer_norm_kernels {
    const char *name, *grad_name, *sums_name;
    void (*forward)(const graft_layer_norm_rows *r, size_t begin, size_t end);
    /** Sets dgamma and dbeta (width) to the sums over the rows, unless they are NULL (both). */
    void (*backward)(const graft_layer_norm_rows *r, size_t begin, size_t end, float *dgamma, float *dbeta);
    /** Sets sums (width) to the sums of x's rows. */
    void (*column_sums)(const void *x, size_t width, size_t begin, size_t end, float *sums, bool is_narrow);
} graft_layer_norm_kernels;

extern const graft_layer_norm_kernels graft_layer_norm_base, graft_layer_norm_avx2, graft_layer_norm_avx512;

#endif
