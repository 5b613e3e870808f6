/* Resampling that gives the bytes that PIL's Image.resize gives: two passes over 8-bit grey levels, filters
 * widened by the shrink factor, coefficients in 22-bit fixed point. Any window of the result can be asked for
 * alone, which is how a centre crop is computed without the rows and columns that it drops. */
#ifndef GRAFT_DATA_RESIZE_H
#define GRAFT_DATA_RESIZE_H

#include "data/image.h"
#include "model/model.h"

typedef enum graft_simd { GRAFT_SIMD_AUTO, GRAFT_SIMD_SCALAR, GRAFT_SIMD_AVX2, GRAFT_SIMD_AVX512 } graft_simd;

/** Whether this processor runs the path (AUTO and SCALAR: always). */
bool graft_simd_runs(graft_simd level);

/** A resize to width x height of which only the window [x, x + w) x [y, y + h) is wanted; it lies within. */
typedef struct graft_resize_job {
    int width, height;
    int x, y, w, h;
    graft_resample resample;
    graft_simd simd;
    /* The part of the input that the whole result shows, in pixels; from_width 0: all. It is not whole pixels
     * where a JPEG was decoded at reduced scale. Not for GRAFT_RESAMPLE_NEAREST. */
    double from_x, from_y, from_width, from_height;
} graft_resize_job;

/** Fills dst (h rows of w pixels of in->channels bytes, rows dst_stride bytes apart). Every path gives the
 * same bytes. dst may not overlap the input. Errors: ENOMEM, EUSAGE (sizes out of range). */
int graft_resize(uint8_t *dst, size_t dst_stride, const graft_image *in, const graft_resize_job *job,
                 graft_image_scratch *s, graft_err *err);

/** out[c][y][x] = in[y][x][c] * scale[c] + shift[c]: a picture into its place in a batch, channels first,
 * planes plane_stride floats apart, rows row_stride floats apart. */
void graft_normalise(float *out, size_t plane_stride, size_t row_stride, const graft_image *in,
                     const float *scale, const float *shift, graft_simd simd);

#endif
