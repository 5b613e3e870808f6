/* What every target of a tensor format asks: bytes parse or are refused, and what parsed can be read to its
 * end. */
#ifndef GRAFT_FUZZ_TENSORS_H
#define GRAFT_FUZZ_TENSORS_H

#include "tensor/tensor.h"

#include <stdlib.h>

typedef int (*graft_fuzz_parser)(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                                 const char *origin, graft_err *err);

static inline void graft_fuzz_read(const graft_tensors *ts) {
    for (size_t i = 0; i < ts->n_items; i++) {
        const graft_tensor *t = &ts->items[i];
        int64_t count;
        if (!graft_shape_count(&t->shape, &count)) abort();
        if (t->size != (size_t)count * graft_dtype_size(t->dtype)) abort();
        if (graft_tensors_find(ts, t->name) != t) abort();
        float *x = malloc(((size_t)count + 1) * sizeof *x);
        if (x) graft_tensor_to_f32(t, x);
        free(x);
    }
}

static inline int graft_fuzz_tensors(graft_fuzz_parser parse, const uint8_t *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    graft_err err = {0};
    int rc = parse(&ts, arena, data, size, "fuzz", &err);
    if ((rc == 0) != (err.code == 0) || (rc < 0 && (err.message[0] == '\0' || ts.n_items))) abort();
    graft_fuzz_read(&ts);
    graft_arena_free(arena);
    return 0;
}

#endif
