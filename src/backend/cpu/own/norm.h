/* Batch norm with the batch's statistics over a span of an activation, one version an instruction set, chosen
 * once a program. A span is a number of rows of channels that lie together: the whole picture in channels
 * last, one block of channels of one sample in a blocked layout. Values are float32 or bf16, sums float32; a
 * caller puts spans together in double (Chan et al. 1979). Vectors of a channel each are padded with zeros to
 * whole lanes. */
#ifndef GRAFT_CPU_NORM_H
#define GRAFT_CPU_NORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct graft_norm_span {
    size_t rows, width, stride;     /* rows of `width` channels, `stride` elements apart */
    size_t first;                   /* element of the first row */
    size_t mask_first, mask_stride; /* bytes; a bit a channel, a row begins a byte */
    size_t channel;                 /* of the first column */
} graft_norm_span;

typedef struct graft_norm_data {
    bool bf16, relu;
    const void *x, *residual; /* residual, or NULL */
    const void *dy, *dy2;     /* dy2, or NULL */
    void *y;                  /* y, or dx */
    void *d;                  /* (dy + dy2) where the mask is set, kept for the residual; or NULL */
    uint8_t *mask;            /* written forward, read backward; of relu alone */
    const float *mean, *scale, *shift, *slope;
} graft_norm_data;

typedef struct graft_norm_kernels {
    const char *forward_name, *backward_name;
    size_t lanes;
    /** Mean of the span's channels, and the sum of squared distances from it. `work`: `width` floats. */
    void (*moments)(const graft_norm_data *d, const graft_norm_span *s, float *mean, float *squares,
                    float *work);
    /** y = (x - mean) scale + shift + residual, then max(0, y) and the mask. */
    void (*apply)(const graft_norm_data *d, const graft_norm_span *s);
    /** d, and of the span's channels sum d and sum d (x - mean). */
    void (*grad_sums)(const graft_norm_data *d, const graft_norm_span *s, float *sum, float *product);
    /** dx = d scale + (x - mean) slope + shift. */
    void (*grad_apply)(const graft_norm_data *d, const graft_norm_span *s);
} graft_norm_kernels;

extern const graft_norm_kernels graft_norm_base, graft_norm_avx2, graft_norm_avx512;

#endif
