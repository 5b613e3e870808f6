/* Conversions between element types. Data may be unaligned, so every element is read through memcpy. */
#include "tensor/tensor.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string.h>

static float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float bf16_to_f32(uint16_t h) {
    return float_of_bits((uint32_t)h << 16);
}

/* IEEE 754 binary16: sign, 5 bits of exponent (bias 15), 10 of fraction. */
static float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float x = (float)fraction * 0x1p-24f; /* zero and subnormals: exact, as 10 bits fit */
    return sign ? -x : x;
}

static uint16_t f32_to_f16(float x) {
    uint32_t bits = bits_of_float(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 65536 or more */
    if (magnitude >= 0x38800000u) {                                  /* normal: drop 13 bits, nearest even */
        uint32_t rounded = magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u);
        return (uint16_t)(sign | rounded >> 13);
    }
    if (magnitude < 0x33000000u) return (uint16_t)sign; /* below half the least subnormal */
    uint32_t exponent = magnitude >> 23, fraction = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t shift = 126 - exponent; /* 14 to 24 bits go */
    uint32_t kept = fraction >> shift, rest = fraction & ((1u << shift) - 1), half = 1u << (shift - 1);
    kept += rest > half || (rest == half && (kept & 1u));
    return (uint16_t)(sign | kept);
}

static uint16_t f32_to_bf16(float x) {
    uint32_t bits = bits_of_float(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void graft_f32_to_bf16(const float *in, uint16_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = f32_to_bf16(in[i]);
}

void graft_f32_to_f16(const float *in, uint16_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = f32_to_f16(in[i]);
}

#define CONVERT(type, expression)                                                                            \
    for (size_t i = 0; i < n; i++) {                                                                         \
        type x;                                                                                              \
        memcpy(&x, in + i * sizeof x, sizeof x);                                                             \
        out[i] = (expression);                                                                               \
    }                                                                                                        \
    break

void graft_tensor_to_f32(const graft_tensor *t, float *out) {
    const unsigned char *in = t->data;
    size_t n = t->size / graft_dtype_size(t->dtype);
    if (n == 0) return;
    switch (t->dtype) {
    case GRAFT_F32:
        memcpy(out, in, n * sizeof *out);
        break;
    case GRAFT_F64:
        CONVERT(double, (float)x);
    case GRAFT_F16:
        CONVERT(uint16_t, f16_to_f32(x));
    case GRAFT_BF16:
        CONVERT(uint16_t, bf16_to_f32(x));
    case GRAFT_I64:
        CONVERT(int64_t, (float)x);
    case GRAFT_I32:
        CONVERT(int32_t, (float)x);
    case GRAFT_I16:
        CONVERT(int16_t, (float)x);
    case GRAFT_I8:
        CONVERT(int8_t, (float)x);
    case GRAFT_U64:
        CONVERT(uint64_t, (float)x);
    case GRAFT_U32:
        CONVERT(uint32_t, (float)x);
    case GRAFT_U16:
        CONVERT(uint16_t, (float)x);
    case GRAFT_U8:
        CONVERT(uint8_t, (float)x);
    case GRAFT_BOOL:
        CONVERT(uint8_t, x ? 1.0f : 0.0f);
    case GRAFT_N_DTYPES:
        break;
    }
}

void graft_tensor_drop(const graft_tensor *t) {
    if (!t->mapped) return;
    /* whole pages within the tensor: its neighbours share the first and the last */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)t->data, end = begin + t->size;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}
