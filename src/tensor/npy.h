/* One .npy stream, for npy.c and npz.c. */
#ifndef GRAFT_TENSOR_NPY_H
#define GRAFT_TENSOR_NPY_H

#include "tensor/tensor.h"

/** Parses one array; `out->name` is left alone. Data are borrowed from `data`, or copied into the arena when
 * they have to be swapped or transposed. */
int graft_npy_array(graft_tensor *out, graft_arena *arena, const unsigned char *data, size_t size,
                    const char *origin, graft_err *err);
bool graft_npy_is(const void *data, size_t size);
int graft_npz_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size, const char *origin,
                    graft_err *err);

#endif
