/* Dropout over part of a sample, one version an instruction set. */
#ifndef GRAFT_CPU_DROPOUT_H
#define GRAFT_CPU_DROPOUT_H

#include "graph/op.h"

#include <stddef.h>

typedef struct graft_dropout_span {
    const void *x; /* of the sample; y may be x itself */
    void *y;
    graft_dropout_key key;
    uint32_t threshold;
    float scale;    /* 1 / (1 - p) */
    bool is_narrow; /* bf16, else float32 */
} graft_dropout_span;

typedef struct graft_dropout_kernels {
    const char *name, *grad_name;
    void (*drop)(const graft_dropout_span *s, size_t begin, size_t end);
} graft_dropout_kernels;

extern const graft_dropout_kernels graft_dropout_base, graft_dropout_avx2, graft_dropout_avx512;

#endif
