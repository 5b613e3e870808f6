/* Smooth activations over a span of elements, one version an instruction set. */
#ifndef GRAFT_CPU_ACTIVATION_H
#define GRAFT_CPU_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct graft_activation_span {
    const void *x, *dy; /* dy: of the gradient alone */
    void *y;            /* y or dx; may be x or dy itself */
    int32_t act;        /* a graft_act but NONE and RELU */
    bool is_narrow;     /* all of them are bf16, else float32 */
} graft_activation_span;

typedef struct graft_activation_kernels {
    const char *name, *grad_name;
    void (*forward)(const graft_activation_span *s, size_t begin, size_t end);
    void (*backward)(const graft_activation_span *s, size_t begin, size_t end); /* y = dy act'(x) */
} graft_activation_kernels;

extern const graft_activation_kernels graft_activation_base, graft_activation_avx2, graft_activation_avx512;

#endif
