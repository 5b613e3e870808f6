/* The door of tensor/: host tensors and the files they live in. A tensor is a view: name, element type, shape
 * and a pointer to C-ordered little-endian data that somebody else owns (mostly a mapped file, so the pointer
 * need not be aligned). */
#ifndef GRAFT_TENSOR_H
#define GRAFT_TENSOR_H

#include "base/base.h"

/** name, size in bytes, safetensors' name. */
#define GRAFT_DTYPES(X)                                                                                      \
    X(F32, 4, "F32")                                                                                         \
    X(F64, 8, "F64")                                                                                         \
    X(F16, 2, "F16")                                                                                         \
    X(BF16, 2, "BF16")                                                                                       \
    X(I64, 8, "I64")                                                                                         \
    X(I32, 4, "I32")                                                                                         \
    X(I16, 2, "I16")                                                                                         \
    X(I8, 1, "I8")                                                                                           \
    X(U64, 8, "U64")                                                                                         \
    X(U32, 4, "U32")                                                                                         \
    X(U16, 2, "U16")                                                                                         \
    X(U8, 1, "U8")                                                                                           \
    X(BOOL, 1, "BOOL")

#define GRAFT_DTYPE_ENUM(name, size, text) GRAFT_##name,
typedef enum graft_dtype { GRAFT_DTYPES(GRAFT_DTYPE_ENUM) GRAFT_N_DTYPES } graft_dtype;
#undef GRAFT_DTYPE_ENUM

size_t graft_dtype_size(graft_dtype t);
const char *graft_dtype_name(graft_dtype t);

enum { GRAFT_MAX_RANK = 8 };

typedef struct graft_shape {
    int rank; /* 0: a scalar */
    int64_t dims[GRAFT_MAX_RANK];
} graft_shape;

bool graft_shape_equal(const graft_shape *a, const graft_shape *b);
/** Product of the dims (1 for a scalar); false when it does not fit in int64 or a dim is negative. */
bool graft_shape_count(const graft_shape *s, int64_t *out);
/** "[64, 3, 7, 7]" into `out`, truncated if need be; returns out. */
char *graft_shape_print(const graft_shape *s, char *out, size_t out_size);

/* The order is the one in which tensors are written down: name, dtype, shape, data.
 * NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct graft_tensor {
    const char *name; /* NULL when it has none */
    graft_dtype dtype;
    graft_shape shape;
    const void *data;
    size_t size; /* bytes */
    bool mapped; /* the data are pages of a file: what was read of them may be given back (graft_tensor_drop)
                  */
} graft_tensor;

/** Tells the system that the data will not be read soon: pages of a mapped file leave this process's memory
 * and come back when they are read again. Nothing happens to data that are not mapped. */
void graft_tensor_drop(const graft_tensor *t);
/** Converts any numeric tensor to float32 (round to nearest even); `out` has one float an element. */
void graft_tensor_to_f32(const graft_tensor *t, float *out);
/** Converts n floats to BF16 or F16 bits, round to nearest even, NaN kept. */
void graft_f32_to_bf16(const float *in, uint16_t *out, size_t n);
void graft_f32_to_f16(const float *in, uint16_t *out, size_t n);

/* ---- Named tensors of a file -----------------------------------------------------------------------------
 */

/** The tensors of one checkpoint, in file order. Data stay mapped while the arena lives. */
typedef struct graft_tensors {
    graft_tensor *items;
    size_t n_items;
    const char *format; /* "safetensors", "pytorch zip", "pytorch legacy", "npz", "npy" */
    graft_map *index;   /* name -> position in items */
} graft_tensors;

/** A list of both; the second one's tensors are called `module`.<the last part of their name>. `origin` is
 * the second's, for messages. EFORMAT when a name is there twice. */
int graft_tensors_join(graft_tensors *out, graft_arena *arena, const graft_tensors *a, const graft_tensors *b,
                       const char *module, const char *origin, graft_err *err);
/** NULL when there is none of that name. */
const graft_tensor *graft_tensors_find(const graft_tensors *ts, const char *name);

/** Opens a checkpoint: a folder (model.safetensors, its index, pytorch_model.bin, its index: in that order)
 * or one file (a shard index too), recognised by its first bytes. PyTorch files may hold a state dict, or a
 * dict that has one under "state_dict", "model_state_dict", "model", "net", "network", "weights" or "params";
 * names lose a leading "module." or "_orig_mod." when all have it. Views that are not in C order are copied,
 * what is no tensor is left out, and a pickle that wants anything called but the rebuilding of plain data is
 * refused with EUNSUPPORTED. Errors: EIO, EFORMAT, EUNSUPPORTED, ENOMEM. */
int graft_tensors_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err);

/** One safetensors file. Every rule of the format is checked before any byte is trusted. */
int graft_safetensors_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err);
/** The same over bytes in memory (fuzzing, tests); `origin` is for messages. */
int graft_safetensors_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                            const char *origin, graft_err *err);
/** Writes atomically and byte for byte as the reference writer does: widest types first, then by name, with
 *  `__metadata__` {"format":"pt"} plus `metadata` (pairs key, value, NULL-terminated; may be NULL). EUSAGE
 * when two tensors share a name or a text is not UTF-8. */
int graft_safetensors_write(const char *path, const graft_tensor *items, size_t n_items,
                            const char *const *metadata, graft_err *err);
/** The same, where a tensor without data is made when its turn comes: `make` writes its `size` bytes to
 * `out`, so that one such tensor is in memory at a time. */
int graft_safetensors_stream(const char *path, const graft_tensor *items, size_t n_items,
                             const char *const *metadata,
                             int (*make)(void *user, const graft_tensor *t, void *out, graft_err *err),
                             void *user, graft_err *err);

/** PyTorch's zip format and its legacy stream, through a reader that knows a fixed list of names and runs
 * nothing. */
int graft_torch_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err);
int graft_torch_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                      const char *origin, graft_err *err);

/** NumPy's .npy (one tensor, name "") and .npz (one a member, stored or deflated). Fortran order is
 * transposed. */
int graft_npy_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err);
int graft_npy_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size, const char *origin,
                    graft_err *err);
/** Writes one .npy atomically. */
int graft_npy_write(const char *path, const graft_tensor *t, graft_err *err);

#endif
