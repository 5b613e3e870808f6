/* Elements of rows that lie as float32 or as bf16 in memory and are computed with in float32. Own kernels
 * take `is_narrow` as a constant, so that each type gets loops of its own. */
#ifndef GRAFT_CPU_NARROW_H
#define GRAFT_CPU_NARROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NARROW_INLINE static inline __attribute__((always_inline, unused))

typedef union narrow_bits {
    uint32_t u;
    float f;
} narrow_bits;

NARROW_INLINE float narrow_widened(uint16_t half) {
    return (narrow_bits){.u = (uint32_t)half << 16}.f;
}

/** Rounded to nearest, ties to even; what is not a number stays so. */
NARROW_INLINE uint16_t narrow_rounded(float x) {
    const uint32_t u = (narrow_bits){.f = x}.u;
    const uint32_t rounded = u + 0x7fffu + (u >> 16 & 1u);
    return (uint16_t)(((u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : rounded) >> 16);
}

NARROW_INLINE float narrow_load(const void *x, size_t i, bool is_narrow) {
    return is_narrow ? narrow_widened(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

NARROW_INLINE void narrow_store(void *y, size_t i, float value, bool is_narrow) {
    if (is_narrow) {
        ((uint16_t *)y)[i] = narrow_rounded(value);
    } else {
        ((float *)y)[i] = value;
    }
}

/** Element i of what begins at x. */
NARROW_INLINE const void *narrow_at(const void *x, size_t i, bool is_narrow) {
    return (const char *)x + i * (is_narrow ? sizeof(uint16_t) : sizeof(float));
}

NARROW_INLINE void *narrow_at_mut(void *x, size_t i, bool is_narrow) {
    return (char *)x + i * (is_narrow ? sizeof(uint16_t) : sizeof(float));
}

#endif
