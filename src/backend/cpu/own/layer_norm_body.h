/* The loops of layer_norm.h; included by one file an instruction set, which names the table LAYER_NORM_TABLE
 * and its ISA. No include guard: it is a body, not a declaration. A row stays in the first cache while it is
 * read twice or three times, so memory sees one pass. */
#include "backend/cpu/own/layer_norm.h"
#include "backend/cpu/own/narrow.h"

#include <math.h>
#include <string.h>

NARROW_INLINE void forward_row(const graft_layer_norm_rows *r, size_t row, bool is_narrow) {
    const size_t width = r->width;
    const void *x = narrow_at(r->x, row * width, is_narrow);
    void *y = narrow_at_mut(r->y, row * width, is_narrow);
    const float *gamma = r->gamma, *beta = r->beta;
    float sum = 0.0F, squares = 0.0F;
#pragma omp simd reduction(+ : sum)
    for (size_t d = 0; d < width; d++) sum += narrow_load(x, d, is_narrow);
    const float mean = sum / (float)width;
#pragma omp simd reduction(+ : squares)
    for (size_t d = 0; d < width; d++) {
        const float apart = narrow_load(x, d, is_narrow) - mean;
        squares += apart * apart;
    }
    const float rstd = 1.0F / sqrtf(squares / (float)width + r->eps);
    if (beta) {
#pragma omp simd
        for (size_t d = 0; d < width; d++)
            narrow_store(y, d, (narrow_load(x, d, is_narrow) - mean) * rstd * gamma[d] + beta[d], is_narrow);
    } else {
#pragma omp simd
        for (size_t d = 0; d < width; d++)
            narrow_store(y, d, (narrow_load(x, d, is_narrow) - mean) * rstd * gamma[d], is_narrow);
    }
    r->mean[row] = mean;
    r->rstd[row] = rstd;
}

static void forward(const graft_layer_norm_rows *r, size_t begin, size_t end) {
    if (r->is_narrow) {
        for (size_t row = begin; row < end; row++) forward_row(r, row, true);
    } else {
        for (size_t row = begin; row < end; row++) forward_row(r, row, false);
    }
}

NARROW_INLINE void add_row(const graft_layer_norm_rows *r, size_t row, float *restrict dgamma,
                           float *restrict dbeta, bool is_narrow) {
    const size_t width = r->width;
    const void *x = narrow_at(r->x, row * width, is_narrow), *dy = narrow_at(r->dy, row * width, is_narrow);
    const float mean = r->mean[row], rstd = r->rstd[row];
#pragma omp simd
    for (size_t d = 0; d < width; d++) {
        const float e = narrow_load(dy, d, is_narrow);
        dgamma[d] += e * (narrow_load(x, d, is_narrow) - mean) * rstd;
        dbeta[d] += e;
    }
}

/* dx = r (e - mean(e) - h mean(e h)), e = dy gamma, h = (x - m) r */
NARROW_INLINE void backward_row(const graft_layer_norm_rows *r, size_t row, bool is_narrow) {
    const size_t width = r->width;
    const void *x = narrow_at(r->x, row * width, is_narrow), *dy = narrow_at(r->dy, row * width, is_narrow);
    void *dx = narrow_at_mut(r->y, row * width, is_narrow);
    const float *gamma = r->gamma;
    const float mean = r->mean[row], rstd = r->rstd[row];
    float all = 0.0F, along = 0.0F;
#pragma omp simd reduction(+ : all, along)
    for (size_t d = 0; d < width; d++) {
        const float e = narrow_load(dy, d, is_narrow) * gamma[d];
        all += e;
        along += e * (narrow_load(x, d, is_narrow) - mean);
    }
    const float shift = all / (float)width, tilt = along * rstd * rstd / (float)width;
#pragma omp simd
    for (size_t d = 0; d < width; d++) {
        const float e = narrow_load(dy, d, is_narrow) * gamma[d];
        const float apart = narrow_load(x, d, is_narrow) - mean;
        narrow_store(dx, d, rstd * (e - shift - apart * tilt), is_narrow);
    }
}

NARROW_INLINE void backward_rows(const graft_layer_norm_rows *r, size_t begin, size_t end, float *dgamma,
                                 float *dbeta, bool is_narrow) {
    if (dgamma) {
        memset(dgamma, 0, r->width * sizeof *dgamma);
        memset(dbeta, 0, r->width * sizeof *dbeta);
    }
    for (size_t row = begin; row < end; row++) {
        if (dgamma) add_row(r, row, dgamma, dbeta, is_narrow); /* before dx takes dy's place */
        if (r->y) backward_row(r, row, is_narrow);
    }
}

static void backward(const graft_layer_norm_rows *r, size_t begin, size_t end, float *dgamma, float *dbeta) {
    if (r->is_narrow) {
        backward_rows(r, begin, end, dgamma, dbeta, true);
    } else {
        backward_rows(r, begin, end, dgamma, dbeta, false);
    }
}

NARROW_INLINE void sum_rows(const void *x, size_t width, size_t begin, size_t end, float *restrict sums,
                            bool is_narrow) {
    memset(sums, 0, width * sizeof *sums);
    for (size_t row = begin; row < end; row++) {
        const void *at = narrow_at(x, row * width, is_narrow);
#pragma omp simd
        for (size_t d = 0; d < width; d++) sums[d] += narrow_load(at, d, is_narrow);
    }
}

static void column_sums(const void *x, size_t width, size_t begin, size_t end, float *sums, bool is_narrow) {
    if (is_narrow) {
        sum_rows(x, width, begin, end, sums, true);
    } else {
        sum_rows(x, width, begin, end, sums, false);
    }
}

const graft_layer_norm_kernels LAYER_NORM_TABLE = {"layer_norm:" LAYER_NORM_ISA,
                                                   "layer_norm_grad:" LAYER_NORM_ISA,
                                                   "column_sums:" LAYER_NORM_ISA,
                                                   forward,
                                                   backward,
                                                   column_sums};
