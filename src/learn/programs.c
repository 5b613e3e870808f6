/* One graph, several sizes. */
#include "learn/run.h"

#include <string.h>

int graft_shapes_get(graft_program **out, graft_shapes *s, int64_t batch, int64_t tokens, graft_err *err) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->batch[i] != batch || s->tokens[i] != tokens) continue;
        *out = s->programs[i];
        return 0;
    }
    if (s->n == GRAFT_MAX_SHAPES) { /* the oldest goes: batches come in few sizes, so this is rare */
        graft_program_free(s->programs[0]);
        s->n--;
        memmove(s->programs, s->programs + 1, s->n * sizeof s->programs[0]);
        memmove(s->batch, s->batch + 1, s->n * sizeof s->batch[0]);
        memmove(s->tokens, s->tokens + 1, s->n * sizeof s->tokens[0]);
    }
    graft_compile_options options = {.batch = batch, .tokens = tokens};
    int rc = graft_program_compile(&s->programs[s->n], s->graph, s->state, &options, err);
    if (rc < 0) return rc;
    s->batch[s->n] = batch;
    s->tokens[s->n] = tokens;
    *out = s->programs[s->n++];
    return 0;
}

size_t graft_shapes_arena(const graft_shapes *s) {
    size_t largest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t arena = graft_program_needs(s->programs[i]).arena;
        if (arena > largest) largest = arena;
    }
    return largest;
}

void graft_shapes_done(graft_shapes *s) {
    for (size_t i = 0; i < s->n; i++) graft_program_free(s->programs[i]);
    s->n = 0;
}

int graft_shapes_feed(graft_program **out, graft_shapes *s, const graft_batch *b, int64_t first, int64_t n,
                      int64_t rows, graft_err *err) {
    const graft_feed feed = graft_batch_feed(b);
    bool texts = b->n_tokens > 0;
    int64_t tokens = texts ? graft_tokens_room(graft_feed_tokens(&feed, first, n)) : 0;
    int rc = graft_shapes_get(out, s, texts ? rows : n, tokens, err);
    return rc < 0 ? rc : graft_program_feed(*out, &feed, first, n, err);
}
