#include <immintrin.h>

#define NORM_TABLE         graft_norm_avx512
#define NORM_ISA           "avx512"
#define NORM_LANES         16
#define NORM_BITS(mask)    ((unsigned)_mm512_movepi32_mask((__m512i)(mask)))
#define NORM_KEEP(v, bits) ((norm_floats)_mm512_maskz_mov_ps((__mmask16)(bits), (__m512)(v)))
#define NORM_FMA(a, b, c)  ((norm_floats)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define NORM_WIDEN(h)      ((norm_words)_mm512_cvtepu16_epi32((__m256i)(h)))
#define NORM_NARROW(w)     ((norm_halves)_mm512_cvtepi32_epi16((__m512i)(w)))
#include "backend/cpu/own/norm_body.h"
