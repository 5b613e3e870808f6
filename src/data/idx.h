/* IDX, the format of MNIST: two zero bytes, the element type, the rank, big-endian sizes, C-ordered data. */
#ifndef GRAFT_DATA_IDX_H
#define GRAFT_DATA_IDX_H

#include "tensor/tensor.h"

/** One IDX file. `data` points into the bytes that were parsed; elements wider than a byte are big-endian. */
typedef struct graft_idx {
    graft_dtype dtype; /* U8, I8, I16, I32, F32 or F64 */
    graft_shape shape;
    const unsigned char *data;
} graft_idx;

/** Parses a whole file's bytes. EFORMAT with `origin` when header and size do not agree. */
int graft_idx_parse(graft_idx *out, const void *bytes, size_t size, const char *origin, graft_err *err);
/** Parses a file, gzipped or not; its bytes live in the arena. Inflates no more than the header asks for. */
int graft_idx_open(graft_idx *out, graft_arena *arena, const char *path, graft_err *err);
/** The same from gzipped bytes in memory. */
int graft_idx_inflate(graft_idx *out, graft_arena *arena, const void *bytes, size_t size, const char *origin,
                      graft_err *err);

#endif
