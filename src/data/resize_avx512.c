/* The resize's inner loops with AVX-512 (byte and word, byte permutes, dot products): as resize_avx2.c, at
 * twice the width, and with the sums inside the product instruction. */
#include "data/resize_private.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))

enum { GROUP = 8, PAIRS = 64 };

/* A group of eight taps is 32 low halves and 32 high halves: four lanes (r, g, b, unused) for each of four
 * pairs. */
static void prepare3(int16_t *pairs, const graft_taps *t) {
    for (int i = 0; i < t->n; i++) {
        const int32_t *k = t->taps + (size_t)i * (size_t)t->stride;
        for (int j = 0; j < t->stride; j += GROUP, pairs += PAIRS)
            for (int lane = 0; lane < 16; lane++)
                for (int e = 0; e < 2; e++) {
                    int32_t tap = k[j + lane / 4 * 2 + e];
                    pairs[lane * 2 + e] = graft_tap_low(tap);
                    pairs[32 + lane * 2 + e] = graft_tap_high(tap);
                }
    }
}

AVX512 static inline __m128i finish(__m512i low, __m512i high) {
    __m512i sum = _mm512_add_epi32(low, _mm512_slli_epi32(high, GRAFT_RESIZE_SPLIT));
    __m256i two = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i one = _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    return _mm_srai_epi32(_mm_add_epi32(one, _mm_set1_epi32(GRAFT_RESIZE_HALF)), GRAFT_RESIZE_BITS);
}

/* Where each byte of 32 spread 16-bit pairs comes from: lane 4 q + c holds channel c of pixels 2 q and 2 q
 * + 1. */
static const uint8_t spread[64] = {0,  0, 3, 0, 1,  0, 4,  0, 2,  0, 5,  0, 0,  0, 0,  0, 6,  0, 9,  0, 7,  0,
                                   10, 0, 8, 0, 11, 0, 0,  0, 0,  0, 12, 0, 15, 0, 13, 0, 16, 0, 14, 0, 17, 0,
                                   0,  0, 0, 0, 18, 0, 21, 0, 19, 0, 22, 0, 20, 0, 23, 0, 0,  0, 0,  0};
#define SPREAD_MASK 0x0555055505550555ull

AVX512 static inline void pixel_of_rows(uint8_t *const out[4], size_t at, const uint8_t *const in[4],
                                        size_t from, const int16_t *pairs, int groups) {
    const __m512i order = _mm512_loadu_si512(spread);
    __m512i low[4], high[4];
    for (int r = 0; r < 4; r++) low[r] = high[r] = _mm512_setzero_si512();
    for (int g = 0; g < groups; g++, pairs += PAIRS) {
        __m512i kl = _mm512_loadu_si512(pairs), kh = _mm512_loadu_si512(pairs + 32);
        for (int r = 0; r < 4; r++) {
            __m256i bytes =
                _mm256_loadu_si256((const __m256i *)(const void *)(in[r] + from + (size_t)g * 24));
            __m512i p = _mm512_maskz_permutexvar_epi8(SPREAD_MASK, order, _mm512_castsi256_si512(bytes));
            low[r] = _mm512_dpwssd_epi32(low[r], p, kl);
            high[r] = _mm512_dpwssd_epi32(high[r], p, kh);
        }
    }
    __m128i a = _mm_packs_epi32(finish(low[0], high[0]), finish(low[1], high[1]));
    __m128i b = _mm_packs_epi32(finish(low[2], high[2]), finish(low[3], high[3]));
    int v[4];
    _mm_storeu_si128((__m128i *)(void *)v, _mm_packus_epi16(a, b));
    for (int r = 0; r < 4; r++) memcpy(out[r] + at, &v[r], 4);
}

AVX512 static void horizontal3(const graft_rows *rows, const graft_taps *t, const int16_t *pairs) {
    size_t per_pixel = (size_t)(t->stride / GROUP) * PAIRS;
    for (int y = 0; y < rows->n_rows; y += 4) {
        uint8_t *out[4];
        const uint8_t *in[4];
        for (int r = 0; r < 4; r++) {
            int row = y + r < rows->n_rows ? y + r : rows->n_rows - 1;
            out[r] = rows->out + (size_t)row * rows->out_stride;
            in[r] = rows->in + (size_t)row * rows->in_stride;
        }
        size_t readable = (size_t)(rows->in_end - in[3]);
        for (int i = 0; i < t->n; i++) {
            size_t from = (size_t)t->first[i] * 3;
            int groups = (t->count[i] + GROUP - 1) / GROUP;
            if (from + (size_t)groups * 24 + 8 <= readable) {
                pixel_of_rows(out, (size_t)i * 3, in, from, pairs + (size_t)i * per_pixel, groups);
                continue;
            }
            for (int r = 0; r < 4; r++)
                graft_resize_pixel3(out[r] + (size_t)i * 3, in[r] + from,
                                    t->taps + (size_t)i * (size_t)t->stride, t->count[i]);
        }
    }
}

AVX512 static inline __m512i settle(__m512i low, __m512i high) {
    __m512i sum = _mm512_add_epi32(low, _mm512_slli_epi32(high, GRAFT_RESIZE_SPLIT));
    return _mm512_srai_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(GRAFT_RESIZE_HALF)), GRAFT_RESIZE_BITS);
}

AVX512 static inline void column64(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *taps,
                                   int count) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i low[4] = {zero, zero, zero, zero}, high[4] = {zero, zero, zero, zero};
    for (int j = 0; j < count; j += 2) {
        bool two = j + 1 < count;
        const uint8_t *row = in + (size_t)j * stride;
        __m512i a = _mm512_loadu_si512(row), b = two ? _mm512_loadu_si512(row + stride) : zero;
        int32_t k0 = taps[j], k1 = two ? taps[j + 1] : 0;
        __m512i kl = _mm512_set1_epi32((uint16_t)graft_tap_low(k0) | (int32_t)graft_tap_low(k1) * 65536);
        __m512i kh = _mm512_set1_epi32((uint16_t)graft_tap_high(k0) | (int32_t)graft_tap_high(k1) * 65536);
        __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpackhi_epi8(a, b);
        __m512i p[4] = {_mm512_unpacklo_epi8(ab, zero), _mm512_unpackhi_epi8(ab, zero),
                        _mm512_unpacklo_epi8(cd, zero), _mm512_unpackhi_epi8(cd, zero)};
        for (int q = 0; q < 4; q++) {
            low[q] = _mm512_dpwssd_epi32(low[q], p[q], kl);
            high[q] = _mm512_dpwssd_epi32(high[q], p[q], kh);
        }
    }
    __m512i x = _mm512_packs_epi32(settle(low[0], high[0]), settle(low[1], high[1]));
    __m512i y = _mm512_packs_epi32(settle(low[2], high[2]), settle(low[3], high[3]));
    _mm512_storeu_si512(out, _mm512_packus_epi16(x, y));
}

AVX512 static void vertical(uint8_t *out, size_t n, const uint8_t *in, size_t in_stride, const int32_t *taps,
                            int count) {
    if (n < 64) {
        graft_resize_vertical(out, n, in, in_stride, taps, count);
        return;
    }
    for (size_t x = 0; x < n; x += 64) {
        if (x > n - 64) x = n - 64; /* the last block overlaps the one before */
        column64(out + x, in + x, in_stride, taps, count);
    }
}

/* Sixteen pixels of 48 bytes at a time; a byte permute spreads a channel to 32 bits. */
AVX512 static void normalise3(float *out, size_t plane_stride, const uint8_t *in, size_t n,
                              const float *scale, const float *shift) {
    const __m512i first = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
    size_t x = 0;
    for (; x + 16 <= n; x += 16) {
        __m512i bytes = _mm512_maskz_loadu_epi8(0xFFFFFFFFFFFFull, in + x * 3);
        for (int c = 0; c < 3; c++) {
            __m512i order = _mm512_add_epi32(first, _mm512_set1_epi32(c));
            __m512 v = _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(0x1111111111111111ull, order, bytes));
            v = _mm512_add_ps(_mm512_mul_ps(v, _mm512_set1_ps(scale[c])), _mm512_set1_ps(shift[c]));
            _mm512_storeu_ps(out + (size_t)c * plane_stride + x, v);
        }
    }
    graft_normalise_row3(out + x, plane_stride, in + x * 3, n - x, scale, shift);
}

const graft_resize_path graft_resize_avx512 = {horizontal3, prepare3,          GROUP, PAIRS, vertical,
                                               normalise3,  &graft_resize_avx2};
#endif
