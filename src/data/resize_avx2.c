/* The resize's inner loops with AVX2: 16-bit products of grey levels and halves of a tap, summed in 32 bits.
 */
#include "data/resize_private.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum { GROUP = 4, PAIRS = 32 };

/* A group of four taps is 16 low halves and 16 high halves: four lanes (r, g, b, unused) of the pair (0, 1),
 * four of the pair (2, 3). */
static void prepare3(int16_t *pairs, const graft_taps *t) {
    for (int i = 0; i < t->n; i++) {
        const int32_t *k = t->taps + (size_t)i * (size_t)t->stride;
        for (int j = 0; j < t->stride; j += GROUP, pairs += PAIRS)
            for (int lane = 0; lane < 8; lane++)
                for (int e = 0; e < 2; e++) {
                    int32_t tap = k[j + lane / 4 * 2 + e];
                    pairs[lane * 2 + e] = graft_tap_low(tap);
                    pairs[16 + lane * 2 + e] = graft_tap_high(tap);
                }
    }
}

/* The sums of two rows, each in two halves of a register, as one register: row r in the low lanes, q in the
 * high. */
AVX2 static inline __m256i finish(__m256i low_r, __m256i high_r, __m256i low_q, __m256i high_q) {
    __m256i low = _mm256_add_epi32(_mm256_permute2x128_si256(low_r, low_q, 0x20),
                                   _mm256_permute2x128_si256(low_r, low_q, 0x31));
    __m256i high = _mm256_add_epi32(_mm256_permute2x128_si256(high_r, high_q, 0x20),
                                    _mm256_permute2x128_si256(high_r, high_q, 0x31));
    __m256i sum = _mm256_add_epi32(low, _mm256_slli_epi32(high, GRAFT_RESIZE_SPLIT));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(GRAFT_RESIZE_HALF)), GRAFT_RESIZE_BITS);
}

/* One output pixel of four rows: each needs the same taps. */
AVX2 static inline void pixel_of_rows(uint8_t *const out[4], size_t at, const uint8_t *const in[4],
                                      size_t from, const int16_t *pairs, int groups) {
    const __m256i spread = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1,
                                            9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    __m256i low[4], high[4];
    for (int r = 0; r < 4; r++) low[r] = high[r] = _mm256_setzero_si256();
    for (int g = 0; g < groups; g++, pairs += PAIRS) {
        __m256i kl = _mm256_loadu_si256((const __m256i *)(const void *)pairs);
        __m256i kh = _mm256_loadu_si256((const __m256i *)(const void *)(pairs + 16));
        for (int r = 0; r < 4; r++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(in[r] + from + (size_t)g * 12));
            __m256i p = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), spread);
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(p, kl));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(p, kh));
        }
    }
    /* Lanes after packing: rows 0, 2 in the low half, 1, 3 in the high one, four bytes each. */
    __m256i words = _mm256_packs_epi32(finish(low[0], high[0], low[1], high[1]),
                                       finish(low[2], high[2], low[3], high[3]));
    __m256i bytes = _mm256_packus_epi16(words, words);
    int64_t even = _mm256_extract_epi64(bytes, 0), odd = _mm256_extract_epi64(bytes, 2);
    int32_t v[4] = {(int32_t)even, (int32_t)odd, (int32_t)(even >> 32), (int32_t)(odd >> 32)};
    for (int r = 0; r < 4; r++) memcpy(out[r] + at, &v[r], 4);
}

/* The last rows repeat in a block of four; they are then written more than once with the same bytes. */
AVX2 static void horizontal3(const graft_rows *rows, const graft_taps *t, const int16_t *pairs) {
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
            if (from + (size_t)groups * 12 + 4 <= readable) {
                pixel_of_rows(out, (size_t)i * 3, in, from, pairs + (size_t)i * per_pixel, groups);
                continue;
            }
            for (int r = 0; r < 4; r++)
                graft_resize_pixel3(out[r] + (size_t)i * 3, in[r] + from,
                                    t->taps + (size_t)i * (size_t)t->stride, t->count[i]);
        }
    }
}

AVX2 static inline __m256i settle(__m256i low, __m256i high) {
    __m256i sum = _mm256_add_epi32(low, _mm256_slli_epi32(high, GRAFT_RESIZE_SPLIT));
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(GRAFT_RESIZE_HALF)), GRAFT_RESIZE_BITS);
}

/* 32 bytes of an output row: two input rows at a time, their bytes interleaved into pairs. */
AVX2 static inline void column32(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *taps,
                                 int count) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i low[4] = {zero, zero, zero, zero}, high[4] = {zero, zero, zero, zero};
    for (int j = 0; j < count; j += 2) {
        bool two = j + 1 < count;
        const uint8_t *row = in + (size_t)j * stride;
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)row);
        __m256i b = two ? _mm256_loadu_si256((const __m256i *)(const void *)(row + stride)) : zero;
        int32_t k0 = taps[j], k1 = two ? taps[j + 1] : 0;
        __m256i kl = _mm256_set1_epi32((uint16_t)graft_tap_low(k0) | (int32_t)graft_tap_low(k1) * 65536);
        __m256i kh = _mm256_set1_epi32((uint16_t)graft_tap_high(k0) | (int32_t)graft_tap_high(k1) * 65536);
        __m256i ab = _mm256_unpacklo_epi8(a, b), cd = _mm256_unpackhi_epi8(a, b);
        __m256i p[4] = {_mm256_unpacklo_epi8(ab, zero), _mm256_unpackhi_epi8(ab, zero),
                        _mm256_unpacklo_epi8(cd, zero), _mm256_unpackhi_epi8(cd, zero)};
        for (int q = 0; q < 4; q++) {
            low[q] = _mm256_add_epi32(low[q], _mm256_madd_epi16(p[q], kl));
            high[q] = _mm256_add_epi32(high[q], _mm256_madd_epi16(p[q], kh));
        }
    }
    __m256i x = _mm256_packs_epi32(settle(low[0], high[0]), settle(low[1], high[1]));
    __m256i y = _mm256_packs_epi32(settle(low[2], high[2]), settle(low[3], high[3]));
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_packus_epi16(x, y));
}

AVX2 static void vertical(uint8_t *out, size_t n, const uint8_t *in, size_t in_stride, const int32_t *taps,
                          int count) {
    if (n < 32) {
        graft_resize_vertical(out, n, in, in_stride, taps, count);
        return;
    }
    for (size_t x = 0; x < n; x += 32) {
        if (x > n - 32) x = n - 32; /* the last block overlaps the one before */
        column32(out + x, in + x, in_stride, taps, count);
    }
}

/* Eight pixels of 24 bytes: each half register takes four of them and spreads a channel to 32 bits. */
AVX2 static void normalise3(float *out, size_t plane_stride, const uint8_t *in, size_t n, const float *scale,
                            const float *shift) {
    size_t x = 0;
    for (; x + 10 <= n; x += 8) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(in + x * 3));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(in + x * 3 + 12));
        __m256i ab = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
        for (int c = 0; c < 3; c++) {
            __m256i pick =
                _mm256_setr_epi8((char)c, -1, -1, -1, (char)(c + 3), -1, -1, -1, (char)(c + 6), -1, -1, -1,
                                 (char)(c + 9), -1, -1, -1, (char)c, -1, -1, -1, (char)(c + 3), -1, -1, -1,
                                 (char)(c + 6), -1, -1, -1, (char)(c + 9), -1, -1, -1);
            __m256 v = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(ab, pick));
            v = _mm256_add_ps(_mm256_mul_ps(v, _mm256_set1_ps(scale[c])), _mm256_set1_ps(shift[c]));
            _mm256_storeu_ps(out + (size_t)c * plane_stride + x, v);
        }
    }
    graft_normalise_row3(out + x, plane_stride, in + x * 3, n - x, scale, shift);
}

const graft_resize_path graft_resize_avx2 = {horizontal3, prepare3, GROUP, PAIRS, vertical, normalise3, NULL};
#endif
