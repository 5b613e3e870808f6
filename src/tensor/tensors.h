/* Building a graft_tensors: what the readers of tensor/ share. */
#ifndef GRAFT_TENSOR_TENSORS_H
#define GRAFT_TENSOR_TENSORS_H

#include "tensor/tensor.h"

/** An empty list with room for `capacity` tensors. */
int graft_tensors_init(graft_tensors *out, graft_arena *arena, size_t capacity, const char *format,
                       graft_err *err);
/** Appends; the name (may not be NULL) must live in the arena. EFORMAT when it is there already. */
int graft_tensors_add(graft_tensors *ts, const graft_tensor *t, const char *origin, graft_err *err);
/** Takes `prefix` from all names when every one starts with it. */
int graft_tensors_strip(graft_tensors *ts, graft_arena *arena, const char *prefix, graft_err *err);

/** Bytes of a shape of that type; false when they do not fit. */
bool graft_tensor_bytes(graft_dtype t, const graft_shape *s, size_t *out);

#endif
