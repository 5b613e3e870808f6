/* Runs a graph by the references of its ops, in double: what every pass and backend is held against. Fails
 * the running cmocka test when something cannot be run. */
#ifndef GRAFT_TESTS_EVALUATE_H
#define GRAFT_TESTS_EVALUATE_H

#include "graph/graph.h"

/** The values of an input, parameter or state, C order, in place of what its source says. */
typedef struct evaluate_binding {
    const char *name;
    const double *data;
} evaluate_binding;

/** A graph's values after a run. */
typedef struct evaluation {
    double **values;     /* per value of the graph */
    graft_shape *shapes; /* bound */
    int64_t *counts;
} evaluation;

/** Runs all of g with the batch bound to `batch`. Inputs without a binding are zero; folded sources are
 * computed in double. Everything lives in the arena. */
evaluation evaluate(graft_arena *arena, const graft_graph *g, int64_t batch, const evaluate_binding *bindings,
                    size_t n_bindings);
/** The same with a number of tokens too. */
evaluation evaluate_tokens(graft_arena *arena, const graft_graph *g, int64_t batch, int64_t tokens,
                           const evaluate_binding *bindings, size_t n_bindings);
/** The values of an output, input, parameter or state. */
const double *evaluation_of(const evaluation *e, const graft_graph *g, const char *name, int64_t *count);
/** The largest |a - b| of two arrays, relative to the largest |b|. */
double evaluate_difference(const double *a, const double *b, int64_t count);

#endif
