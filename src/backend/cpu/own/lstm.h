/* The recurrence of an LSTM over a group of samples in step: at each token the products with w_hh of all
 * samples that are not done yet are one small product of matrices, then the gates are computed row by row.
 * One version an instruction set, chosen once a program. graph/op/lstm.c has the equations. */
#ifndef GRAFT_CPU_LSTM_H
#define GRAFT_CPU_LSTM_H

#include "graph/op.h"

#include <stdbool.h>
#include <stddef.h>

/** Samples of a group at most. */
enum { GRAFT_LSTM_GROUP = 32 };

/** A group. Matrices over tokens are as the op has them, C order, float32. */
typedef struct graft_lstm_group {
    size_t size; /* H */
    graft_tokens spans[GRAFT_LSTM_GROUP];
    size_t n; /* samples */
    bool reverse;
    const float *packed; /* by pack or grad_pack */
    float *scratch;
    /* forward */
    const float *pre;
    float *y, *gates, *cells;
    /* backward */
    const float *dy, *y_in, *gates_in, *cells_in;
    float *dpre, *before;
} graft_lstm_group;

typedef struct graft_lstm_kernels {
    const char *name, *grad_name;
    size_t (*packed)(size_t size);  /* floats of the packed weights of either direction */
    size_t (*scratch)(size_t size); /* floats of a group's scratch */
    void (*pack)(float *out, const float *w_hh, const float *b_hh, size_t size); /* b_hh may be NULL */
    void (*grad_pack)(float *out, const float *w_hh, size_t size);
    void (*forward)(const graft_lstm_group *g);
    void (*backward)(const graft_lstm_group *g);
} graft_lstm_kernels;

extern const graft_lstm_kernels graft_lstm_base, graft_lstm_avx2, graft_lstm_avx512;

#endif
