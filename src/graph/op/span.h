/* Which rows of a (TOKENS, ...) value are a sample's. Spans are inputs of a program, so the reference and
 * every kernel cut them to the rows there are by the same function. */
#ifndef GRAFT_GRAPH_OP_SPAN_H
#define GRAFT_GRAPH_OP_SPAN_H

#include <stdint.h>

typedef struct graft_tokens {
    int64_t first, count;
} graft_tokens;

/** The part of a span that lies within `n_tokens` rows. */
static inline graft_tokens graft_tokens_of(int64_t first, int64_t count, int64_t n_tokens) {
    if (first < 0 || first >= n_tokens || count < 0) return (graft_tokens){0, 0};
    return (graft_tokens){first, count < n_tokens - first ? count : n_tokens - first};
}

/** The same where x has a row a sample: the sample's, or none where its span is empty. */
static inline graft_tokens graft_tokens_own(int64_t first, int64_t count, int64_t sample) {
    return (graft_tokens){sample, first >= 0 && count > 0};
}

#endif
