/* Vectors of float32 for own kernels that are written once and compiled for several instruction sets: the
 * file's flags decide how wide they are. Arithmetic is the compilers' own on vector types; what it has no
 * operator for stands here. */
#ifndef GRAFT_CPU_VECTOR_H
#define GRAFT_CPU_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { VEC = 16 };
typedef __m512 vec;
#elif defined(__AVX2__)
enum { VEC = 8 };
typedef __m256 vec;
#else
enum { VEC = 4 };
typedef float vec __attribute__((vector_size(16)));
#endif
typedef int32_t ivec __attribute__((vector_size(VEC * 4)));
typedef uint32_t uvec __attribute__((vector_size(VEC * 4)));

#define VEC_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define VEC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VEC_UNROLL _Pragma("GCC unroll 16")
#endif

VEC_INLINE vec vec_load(const float *p) {
    vec x;
    memcpy(&x, p, sizeof x);
    return x;
}

VEC_INLINE void vec_store(float *p, vec x) {
    memcpy(p, &x, sizeof x);
}

VEC_INLINE vec vec_all(float x) {
#if defined(__AVX512F__)
    return _mm512_set1_ps(x);
#elif defined(__AVX2__)
    return _mm256_set1_ps(x);
#else
    return (vec){x, x, x, x};
#endif
}

/** a b + c, rounded once where the processor can. */
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

/** b where a or b is not a number. */
VEC_INLINE vec vec_max(vec a, vec b) {
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#else
    ivec above = a > b;
    return (vec)(((ivec)a & above) | ((ivec)b & ~above));
#endif
}

VEC_INLINE ivec vec_lanes(void) {
    ivec i;
    for (int l = 0; l < VEC; l++) i[l] = l;
    return i;
}

/** The first n lanes of a, the others of b. */
VEC_INLINE vec vec_first(vec a, size_t n, vec b) {
#if defined(__AVX512F__)
    return _mm512_mask_mov_ps(b, (__mmask16)((1u << n) - 1u), a);
#else
    ivec first = vec_lanes() < (int32_t)n;
    return (vec)(((ivec)a & first) | ((ivec)b & ~first));
#endif
}

/** n < VEC floats, then zeros. */
VEC_INLINE vec vec_load_part(const float *p, size_t n) {
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
    float x[VEC] = {0};
    for (size_t l = 0; l < n; l++) x[l] = p[l];
    return vec_load(x);
#endif
}

VEC_INLINE void vec_store_part(float *p, vec x, size_t n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), x);
#else
    float all[VEC];
    vec_store(all, x);
    for (size_t l = 0; l < n; l++) p[l] = all[l];
#endif
}

/* Halves are folded onto each other. */
VEC_INLINE float vec_sum(vec x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps(x);
#elif defined(__AVX2__)
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
    return (x[0] + x[2]) + (x[1] + x[3]);
#endif
}

VEC_INLINE float vec_largest(vec x) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps(x);
#elif defined(__AVX2__)
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
#else
    float a = x[0] > x[1] ? x[0] : x[1], b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
#endif
}

/* 2^x for x <= 0, and nearly 0 below -126: x is a whole number and a rest in [-1/2, 1/2], whose power is the
 * polynomial of degree 5, or 3 when rough, with the least relative error there. Not a number stays so. */
VEC_INLINE vec power_of_two(vec x, const bool rough) {
#if defined(__AVX512F__)
    vec whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const vec round = vec_all(12582912.0F); /* 1.5 2^23: what is added to it loses its fraction */
    x = vec_max(vec_all(-126.0F), x);
    vec shifted = x + round, whole = shifted - round;
#endif
    vec r = x - whole;
    vec y;
    if (rough) {
        y = vec_fma(r, vec_all(0.055171669F), vec_all(0.24261113F));
        y = vec_fma(r, y, vec_all(0.69326097F));
        y = vec_fma(r, y, vec_all(0.99992806F));
    } else {
        y = vec_fma(r, vec_all(0.0013276472F), vec_all(0.0096755419F));
        y = vec_fma(r, y, vec_all(0.055507131F));
        y = vec_fma(r, y, vec_all(0.24022120F));
        y = vec_fma(r, y, vec_all(0.69314694F));
        y = vec_fma(r, y, vec_all(1.0F));
    }
#if defined(__AVX512F__)
    return _mm512_scalef_ps(y, whole);
#else
    ivec power = ((ivec)shifted - (ivec)round) * (1 << 23);
    ivec is_number = x == x;
    return (vec)((((ivec)y + power) & is_number) | ((ivec)x & ~is_number));
#endif
}

/** 2^x for x <= 0 to 2e-7 of it. */
VEC_INLINE vec vec_exp2(vec x) {
    return power_of_two(x, false);
}

/** 2^x for x <= 0 to 8e-5 of it: a twentieth of what bf16 rounds away. */
VEC_INLINE vec vec_exp2_rough(vec x) {
    return power_of_two(x, true);
}

/** Lanes become columns: r[i] lane j <-> r[j] lane i. */
VEC_INLINE void vec_transpose(vec r[VEC]) {
#if defined(__AVX512F__)
    vec t[VEC];
    VEC_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    VEC_UNROLL
    for (int i = 0; i < 16; i += 4) { /* r[i + k]: column 4 b + k of four rows in each quarter b */
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        vec a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        vec c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        vec d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        t[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
    VEC_UNROLL
    for (int i = 0; i < 16; i++) r[i] = t[i];
#elif defined(__AVX2__)
    vec t[VEC];
    VEC_UNROLL
    for (int i = 0; i < 8; i += 4) {
        vec a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        vec c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
#else
    for (int i = 0; i < VEC; i++) {
        for (int j = 0; j < i; j++) {
            float x = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = x;
        }
    }
#endif
}

#endif
