#include <immintrin.h>

#define NORM_TABLE        graft_norm_avx2
#define NORM_ISA          "avx2"
#define NORM_LANES        8
#define NORM_BITS(mask)   ((unsigned)_mm256_movemask_ps((__m256)(mask)))
#define NORM_FMA(a, b, c) ((norm_floats)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define NORM_WIDEN(h)     ((norm_words)_mm256_cvtepu16_epi32((__m128i)(h)))
#define NORM_NARROW(w)                                                                                       \
    ((norm_halves)_mm_packus_epi32(_mm256_castsi256_si128((__m256i)(w)),                                     \
                                   _mm256_extracti128_si256((__m256i)(w), 1)))
#include "backend/cpu/own/norm_body.h"
