/* Places buffers with known lifetimes in one arena so that those alive at the same time do not overlap. */
#ifndef GRAFT_BACKEND_MEMORY_H
#define GRAFT_BACKEND_MEMORY_H

#include "base/base.h"

typedef struct graft_span {
    size_t size;
    int32_t first, last; /* steps, inclusive; first > last: never used, gets no place */
    size_t offset;       /* out: a multiple of 64 */
} graft_span;

/** Greedy by size: the largest first, each at the lowest offset where nothing alive at the same time lies
 * (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference"). Writes the offsets
 * and returns the arena's size in *total. */
int graft_memory_plan(graft_span *spans, size_t n, size_t *total, graft_err *err);

#endif
