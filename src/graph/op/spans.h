/* Where the tokens of each sample of a packed batch lie: `spans` (N,2) I32 holds [start, length]. */
#ifndef GRAFT_GRAPH_OP_SPANS_H
#define GRAFT_GRAPH_OP_SPANS_H

#include <stdint.h>

/** Tokens [*first, *stop) of a span, cut to the n_tokens that there are: no span leads outside a buffer. */
static inline void graft_span_bounds(int64_t start, int64_t length, int64_t n_tokens, int64_t *first,
                                     int64_t *stop) {
    *first = start < 0 ? 0 : start > n_tokens ? n_tokens : start;
    *stop = length < 0 ? *first : length > n_tokens - *first ? n_tokens : *first + length;
}

#endif
