/* Attention of one head within one sample, one version an instruction set, chosen once a program. Nothing of
 * size tokens^2 is kept: keys are taken in blocks, whose scores lie in the caller's scratch for a few rows at
 * a time, and a row's maximum and sum are carried from block to block (Milakov and Gimelshein 2018, "Online
 * normalizer calculation for softmax"; Dao et al. 2022, "FlashAttention"). */
#ifndef GRAFT_CPU_ATTENTION_H
#define GRAFT_CPU_ATTENTION_H

#include "graph/op.h"

#include <stddef.h>

/** Rows of a sample that one task of the forward pass computes. */
enum { GRAFT_ATTENTION_ROWS = 256 };

/** One head of one sample. Matrices are (n, width) with `stride` elements from row to row, float32 or bf16.
 */
typedef struct graft_attention_head {
    const void *q, *k, *v;
    size_t n, width, stride, lse_stride;
    bool narrow; /* bf16 */
    bool causal;
    float scale;
    double p; /* dropout */
    graft_dropout_key key;
    size_t index; /* the head's number */
    void *scratch;
    /* forward: rows [first, last) */
    void *y;
    float *lse;
    size_t first, last;
    /* backward */
    const void *y_in, *dy;
    const float *lse_in;
    void *dq, *dk, *dv;
    float
        *dq_sum; /* where dq is summed over blocks of keys, strides as q's: dq itself when that is float32 */
} graft_attention_head;

typedef struct graft_attention_kernels graft_attention_kernels;
struct graft_attention_kernels {
    const char *name, *grad_name;
    /** Bytes of scratch for samples of up to n tokens; a multiple of 64. */
    size_t (*scratch)(size_t n, size_t width);
    size_t (*grad_scratch)(size_t n, size_t width);
    void (*forward)(const graft_attention_head *h);
    void (*backward)(const graft_attention_head *h);
    size_t grad_keys; /* samples of more tokens than this need dq_sum */
    /* Another version that is faster for samples of up to so many tokens; NULL where there is none. */
    const graft_attention_kernels *few;
    size_t few_tokens, grad_few_tokens;
};

/* float32, and bf16 by widening it. */
extern const graft_attention_kernels graft_attention_base, graft_attention_avx2, graft_attention_avx512;
/* bf16 alone. */
extern const graft_attention_kernels graft_attention_avx512bf16, graft_attention_amx;

#endif
