/* What resize.c shares with its paths by instruction set. */
#ifndef GRAFT_DATA_RESIZE_PRIVATE_H
#define GRAFT_DATA_RESIZE_PRIVATE_H

#include "data/resize.h"

/* Fixed point: a coefficient has 22 bits after the point, so that 8 bits of value and 2 of headroom fill 32.
 */
enum { GRAFT_RESIZE_BITS = 32 - 8 - 2, GRAFT_RESIZE_HALF = 1 << (GRAFT_RESIZE_BITS - 1) };

/* The vector paths multiply 16-bit halves: k = high * 4096 + low, 0 <= low < 4096. Their partial sums of at
 * most GRAFT_RESIZE_VECTOR_TAPS products of a half and a grey level stay within 31 bits. */
enum { GRAFT_RESIZE_SPLIT = 12, GRAFT_RESIZE_VECTOR_TAPS = 1024 };

static inline int16_t graft_tap_low(int32_t k) {
    return (int16_t)(k & ((1 << GRAFT_RESIZE_SPLIT) - 1));
}

static inline int16_t graft_tap_high(int32_t k) {
    return (int16_t)(k >> GRAFT_RESIZE_SPLIT);
}

/** One axis: output i is the sum of taps[i * stride + j] * input[first[i] + j] for j < count[i]; taps beyond
 * count are 0. stride is a multiple of 8. */
typedef struct graft_taps {
    int n, stride, most;
    int *first;
    const int *count;
    const int32_t *taps;
} graft_taps;

/** Rows of one horizontal pass over 3-channel pixels. in_end: one past the last byte that may be read. */
typedef struct graft_rows {
    uint8_t *out;
    size_t out_stride; /* at least 3 n + 16, since a path may write that far */
    const uint8_t *in, *in_end;
    size_t in_stride;
    int n_rows;
} graft_rows;

typedef struct graft_resize_path {
    /** pairs: for each output and group of `group` taps, the split taps in the path's own order. */
    void (*horizontal3)(const graft_rows *rows, const graft_taps *t, const int16_t *pairs);
    /** Fills pairs; NULL when the path needs none. */
    void (*prepare3)(int16_t *pairs, const graft_taps *t);
    int group, pair_count; /* taps a group, int16 a group */
    /** One output row of n bytes out of `count` rows. */
    void (*vertical)(uint8_t *out, size_t n, const uint8_t *in, size_t in_stride, const int32_t *taps,
                     int count);
    void (*normalise3)(float *out, size_t plane_stride, const uint8_t *in, size_t n, const float *scale,
                       const float *shift);
    /** The path for fewer taps than a group of this one has; NULL: none. */
    const struct graft_resize_path *narrow;
} graft_resize_path;

/** The plain loops that the other paths have to equal. */
uint8_t graft_resize_clip(int32_t sum);
void graft_resize_pixel3(uint8_t *out, const uint8_t *in, const int32_t *taps, int count);
void graft_resize_vertical(uint8_t *out, size_t n, const uint8_t *in, size_t in_stride, const int32_t *taps,
                           int count);
void graft_normalise_row3(float *out, size_t plane_stride, const uint8_t *in, size_t n, const float *scale,
                          const float *shift);

#if defined(__x86_64__)
extern const graft_resize_path graft_resize_avx2, graft_resize_avx512;
#endif

#endif
