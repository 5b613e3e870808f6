/* Optimiser updates over a span of elements, one version an instruction set, chosen once a program. */
#ifndef GRAFT_CPU_UPDATE_H
#define GRAFT_CPU_UPDATE_H

#include <stddef.h>

typedef struct graft_sgd_span {
    float *restrict w, *restrict velocity; /* velocity NULL without momentum */
    const float *restrict dw;
    float rate, decay, momentum, scale; /* scale multiplies the gradient */
    int nesterov;
} graft_sgd_span;

typedef struct graft_adam_span {
    float *restrict w, *restrict m, *restrict v;
    const float *restrict dw;
    float beta1, beta2, eps, scale;
    float decay;                 /* added to the gradient (Adam) */
    float shrink;                /* multiplies w first (AdamW: 1 - lr decay; else 1) */
    float rate, root_correction; /* lr / (1 - beta1^t) and sqrt(1 - beta2^t) */
} graft_adam_span;

typedef struct graft_update_kernels {
    const char *sgd_name, *adam_name, *norm_name;
    void (*sgd)(const graft_sgd_span *s, size_t begin, size_t end);
    void (*adam)(const graft_adam_span *s, size_t begin, size_t end);
    double (*sum_squares)(const float *x, size_t begin, size_t end);
} graft_update_kernels;

extern const graft_update_kernels graft_update_base, graft_update_avx2, graft_update_avx512;

#endif
