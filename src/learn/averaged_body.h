/* The loops of averaged_kernels; included by one file an instruction set, which names the table
 * AVERAGED_TABLE. Sums have their lanes and order in the source and nothing is contracted, so that every
 * table gives the same bits. No include guard: it is a body, not a declaration. */
#include "learn/averaged_impl.h"

#include <string.h>

static void mean(float *restrict out, const float *matrix, size_t stride, const uint32_t *rows, int64_t n) {
    memset(out, 0, stride * sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        const float *restrict x = matrix + rows[i] * stride;
        for (size_t j = 0; j < stride; j++) out[j] += x[j];
    }
    float share = n ? 1.0F / (float)n : 0.0F;
    for (size_t j = 0; j < stride; j++) out[j] *= share;
}

static void dots(float *restrict z, const float *matrix, size_t stride, const float *restrict x, int64_t n) {
    for (int64_t c = 0; c < n; c++, matrix += stride) {
        float sums[GRAFT_AVERAGED_LANES] = {0};
        for (size_t i = 0; i < stride; i += GRAFT_AVERAGED_LANES)
            for (size_t k = 0; k < GRAFT_AVERAGED_LANES; k++) sums[k] += x[i + k] * matrix[i + k];
        for (size_t half = GRAFT_AVERAGED_LANES / 2; half; half /= 2)
            for (size_t k = 0; k < half; k++) sums[k] += sums[k + half];
        z[c] = sums[0];
    }
}

static void step(float *matrix, size_t stride, int64_t n, const float *restrict e, float share,
                 const float *restrict x, float *restrict gradient) {
    memset(gradient, 0, stride * sizeof *gradient);
    for (int64_t c = 0; c < n; c++) {
        float *restrict w = matrix + (size_t)c * stride;
        const float own = e[c], shared = own * share;
        for (size_t j = 0; j < stride; j++) {
            gradient[j] += shared * w[j];
            w[j] += own * x[j];
        }
    }
}

static void add(float *restrict row, const float *restrict x, size_t stride) {
    for (size_t j = 0; j < stride; j++) row[j] += x[j];
}

const graft_averaged_kernels AVERAGED_TABLE = {mean, dots, step, add};
