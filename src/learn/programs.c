/* One graph, several batch sizes. */
#include "learn/run.h"

#include <string.h>

int graft_shapes_get(graft_program **out, graft_shapes *s, int64_t batch, graft_err *err) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->batch[i] != batch) continue;
        *out = s->programs[i];
        return 0;
    }
    if (s->n == GRAFT_MAX_SHAPES) { /* the oldest goes: batches come in few sizes, so this is rare */
        graft_program_free(s->programs[0]);
        s->n--;
        memmove(s->programs, s->programs + 1, s->n * sizeof s->programs[0]);
        memmove(s->batch, s->batch + 1, s->n * sizeof s->batch[0]);
    }
    graft_compile_options options = {.batch = batch};
    int rc = graft_program_compile(&s->programs[s->n], s->graph, s->state, &options, err);
    if (rc < 0) return rc;
    s->batch[s->n] = batch;
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

int graft_batch_copy(const graft_program *p, const graft_batch *b, int64_t first, int64_t n, graft_err *err) {
    for (size_t i = 0; i < b->n_inputs; i++) {
        const graft_tensor *t = &b->inputs[i];
        size_t row = t->size / (size_t)b->n, size = 0;
        void *to = graft_program_input(p, t->name, &size);
        if (!to) return graft_err_set(err, GRAFT_EINTERNAL, "the program has no input '%s'", t->name);
        if (size != row * (size_t)n) {
            return graft_err_set(err, GRAFT_ESHAPE,
                                 "input '%s' has %zu bytes a sample, the program reads %zu", t->name, row,
                                 size / (size_t)n);
        }
        memcpy(to, (const unsigned char *)t->data + (size_t)first * row, size);
    }
    return 0;
}
