/* The loops of activation.h; included by one file an instruction set, which names the table ACTIVATION_TABLE
 * and its ISA. No include guard: it is a body, not a declaration.
 *
 * All stands on e^x to 1e-7 of it, without branches, so that compilers make vectors of the loops:
 *   e^x        2^n e^r with n = round(x / ln 2), and e^r - 1 - r = r^2 P4(r) for |r| <= ln(2) / 2
 *   P(-|x|)    e^(-x^2 / 2) Q8(t), t = 1 / (1 + 0.3 |x|): the form of Hastings 1955, "Approximations for
 *              digital computers", so that the tail is as accurate as the middle
 *   tanh |x|   m / (m + 2) with m = e^(2|x|) - 1 computed without cancellation
 * The polynomials have the least relative error on their intervals (found by reweighted least squares):
 * 3e-9 and 6e-8. */
#include "backend/cpu/own/activation.h"
#include "backend/cpu/own/narrow.h"
#include "graph/graph.h"

#include <math.h>

#if defined(__FMA__)
#define MULTIPLY_ADD(a, b, c) __builtin_fmaf(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

NARROW_INLINE float within(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

typedef struct power {
    float scale, rest; /* e^x = scale (1 + rest), scale a power of two */
} power;

/* |x| <= 87 */
NARROW_INLINE power power_of(float x) {
    const float shift = 12582912.0F; /* 1.5 2^23: what is added to it loses its fraction */
    const float shifted = MULTIPLY_ADD(x, 1.44269504F, shift), n = shifted - shift;
    float r = MULTIPLY_ADD(n, -0.693145752F, x); /* n times the first 16 bits of ln 2 is exact */
    r = MULTIPLY_ADD(n, -1.42860677e-6F, r);
    float p = MULTIPLY_ADD(r, 0.00138144669F, 0.00836878042F);
    p = MULTIPLY_ADD(r, p, 0.0416683942F);
    p = MULTIPLY_ADD(r, p, 0.166665201F);
    p = MULTIPLY_ADD(r, p, 0.499999934F);
    const uint32_t exponent = (narrow_bits){.f = shifted}.u + 127u; /* n in the lowest bits */
    return (power){(narrow_bits){.u = exponent << 23}.f, MULTIPLY_ADD(r * r, p, r)};
}

/* Beyond e^-60 nothing is seen of it here, and what is multiplied with it stays clear of the numbers near
 * 1e-38 that processors are slow with. */
NARROW_INLINE float exp_of(float x) {
    const power e = power_of(within(x, -60.0F, 60.0F));
    return MULTIPLY_ADD(e.scale, e.rest, e.scale);
}

/* P(-|x|), given |x| and e^(-x^2 / 2). */
NARROW_INLINE float tail_of(float size, float density) {
    const float t = 1.0F / MULTIPLY_ADD(size, 0.3F, 1.0F);
    float q = MULTIPLY_ADD(t, 0.0383119127F, -0.168842983F);
    q = MULTIPLY_ADD(t, q, 0.227991452F);
    q = MULTIPLY_ADD(t, q, -0.0757403229F);
    q = MULTIPLY_ADD(t, q, 0.142005223F);
    q = MULTIPLY_ADD(t, q, 0.0949099497F);
    q = MULTIPLY_ADD(t, q, 0.121862252F);
    q = MULTIPLY_ADD(t, q, 0.119495857F);
    q = MULTIPLY_ADD(t, q, 6.68776891e-6F);
    return q * density;
}

NARROW_INLINE float gelu(float x) {
    const float tail = tail_of(fabsf(x), exp_of(-0.5F * x * x));
    return x * (x < 0.0F ? tail : 1.0F - tail);
}

NARROW_INLINE float gelu_slope(float x) {
    const float density = exp_of(-0.5F * x * x), tail = tail_of(fabsf(x), density);
    return (x < 0.0F ? tail : 1.0F - tail) + x * density * 0.398942280F;
}

NARROW_INLINE float tanh_of(float x) {
    const power e = power_of(within(2.0F * fabsf(x), 0.0F, 20.0F));
    const float m = MULTIPLY_ADD(e.scale, e.rest, e.scale - 1.0F);
    return copysignf(m / (m + 2.0F), x) + 0.0F * x; /* the last: not a number stays so */
}

/* 1 - tanh^2 = 4 e s^2 with e = e^(-2|x|), s = 1 / (1 + e) */
NARROW_INLINE float tanh_slope(float x) {
    const float e = exp_of(-2.0F * fabsf(x)), s = 1.0F / (1.0F + e);
    return 4.0F * e * s * s;
}

/* x s(k) = x / (1 + e^-k) */
NARROW_INLINE float gated(float x, float k) {
    return x / (1.0F + exp_of(-k));
}

/* s + x s (1 - s) k', where 1 - s = e s */
NARROW_INLINE float gated_slope(float x, float k, float dk) {
    const float e = exp_of(-k), s = 1.0F / (1.0F + e);
    return s + x * s * (e * s) * dk;
}

NARROW_INLINE float cubic(float x) {
    return x * MULTIPLY_ADD(x * x, 0.0713548163F, 1.59576912F);
}

NARROW_INLINE float value_of(float x, int32_t act) {
    switch (act) {
    case GRAFT_ACT_GELU:
        return gelu(x);
    case GRAFT_ACT_GELU_TANH:
        return gated(x, cubic(x));
    case GRAFT_ACT_TANH:
        return tanh_of(x);
    case GRAFT_ACT_QUICK_GELU:
        return gated(x, 1.702F * x);
    default:
        return gated(x, x);
    }
}

NARROW_INLINE float slope_of(float at, int32_t act) {
    const float x = within(at, -100.0F, 100.0F); /* beyond, slopes are 0 or 1 */
    switch (act) {
    case GRAFT_ACT_GELU:
        return gelu_slope(x);
    case GRAFT_ACT_GELU_TANH:
        return gated_slope(x, cubic(x), MULTIPLY_ADD(x * x, 0.214064449F, 1.59576912F));
    case GRAFT_ACT_TANH:
        return tanh_slope(x);
    case GRAFT_ACT_QUICK_GELU:
        return gated_slope(x, 1.702F * x, 1.702F);
    default:
        return gated_slope(x, x, 1.0F);
    }
}

NARROW_INLINE void forward_as(const graft_activation_span *s, size_t begin, size_t end, int32_t act,
                              bool is_narrow) {
    const void *x = s->x;
    void *y = s->y;
#pragma omp simd
    for (size_t i = begin; i < end; i++)
        narrow_store(y, i, value_of(narrow_load(x, i, is_narrow), act), is_narrow);
}

NARROW_INLINE void backward_as(const graft_activation_span *s, size_t begin, size_t end, int32_t act,
                               bool is_narrow) {
    const void *x = s->x, *dy = s->dy;
    void *dx = s->y;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float slope = slope_of(narrow_load(x, i, is_narrow), act);
        narrow_store(dx, i, narrow_load(dy, i, is_narrow) * slope, is_narrow);
    }
}

/* A loop of its own for each activation and type. */
#define EACH(way)                                                                                            \
    NARROW_INLINE void way##_typed(const graft_activation_span *s, size_t begin, size_t end,                 \
                                   bool is_narrow) {                                                         \
        switch (s->act) {                                                                                    \
        case GRAFT_ACT_GELU:                                                                                 \
            way##_as(s, begin, end, GRAFT_ACT_GELU, is_narrow);                                              \
            break;                                                                                           \
        case GRAFT_ACT_GELU_TANH:                                                                            \
            way##_as(s, begin, end, GRAFT_ACT_GELU_TANH, is_narrow);                                         \
            break;                                                                                           \
        case GRAFT_ACT_TANH:                                                                                 \
            way##_as(s, begin, end, GRAFT_ACT_TANH, is_narrow);                                              \
            break;                                                                                           \
        case GRAFT_ACT_QUICK_GELU:                                                                           \
            way##_as(s, begin, end, GRAFT_ACT_QUICK_GELU, is_narrow);                                        \
            break;                                                                                           \
        default:                                                                                             \
            way##_as(s, begin, end, GRAFT_ACT_SILU, is_narrow);                                              \
        }                                                                                                    \
    }                                                                                                        \
    static void way(const graft_activation_span *s, size_t begin, size_t end) {                              \
        if (s->is_narrow) {                                                                                  \
            way##_typed(s, begin, end, true);                                                                \
        } else {                                                                                             \
            way##_typed(s, begin, end, false);                                                               \
        }                                                                                                    \
    }
EACH(forward)
EACH(backward)

const graft_activation_kernels ACTIVATION_TABLE = {"activation:" ACTIVATION_ISA,
                                                   "activation_grad:" ACTIVATION_ISA, forward, backward};
