/* PyTorch checkpoints: a pickle that describes tensors, and their storages beside it. The pickle is read by a
 * small machine that builds plain values and runs nothing: names of callables are looked up in a fixed table
 * (torch_call.c), whatever else a pickle wants called is refused. */
#ifndef GRAFT_TENSOR_TORCH_H
#define GRAFT_TENSOR_TORCH_H

#include "tensor/tensor.h"

typedef enum graft_pickle_kind {
    GRAFT_PICKLE_NONE,
    GRAFT_PICKLE_BOOL,
    GRAFT_PICKLE_INT,
    GRAFT_PICKLE_BIG, /* an integer past 64 bits: its little-endian bytes, in `text` */
    GRAFT_PICKLE_REAL,
    GRAFT_PICKLE_TEXT, /* texts and bytes, borrowed from the file */
    GRAFT_PICKLE_TUPLE,
    GRAFT_PICKLE_LIST,
    GRAFT_PICKLE_DICT,   /* items: key, value, key, value... in order of setting */
    GRAFT_PICKLE_GLOBAL, /* "module.name", in `text` */
    GRAFT_PICKLE_STORAGE,
    GRAFT_PICKLE_TENSOR,
    GRAFT_PICKLE_OPAQUE /* anything else that was not looked into; its class in `text` */
} graft_pickle_kind;

typedef struct graft_pickle graft_pickle;

/** A storage as the pickle names it. `dtype` is GRAFT_N_DTYPES when graft has no such type. */
typedef struct graft_torch_storage {
    graft_dtype dtype;
    size_t element_size; /* bytes; 0 when unknown */
    const char *class_name, *key;
    int64_t n_elements, view_offset; /* as said by the pickle, in elements */
} graft_torch_storage;

typedef struct graft_torch_view {
    const graft_torch_storage *storage;
    graft_dtype dtype; /* the storage's, or that of _rebuild_tensor_v3 */
    int64_t offset;    /* elements */
    graft_shape shape;
    int64_t strides[GRAFT_MAX_RANK]; /* elements */
} graft_torch_view;

struct graft_pickle {
    graft_pickle_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const char *data;
            size_t size;
        } text;
        struct {
            graft_pickle **items;
            size_t n, capacity;
        } list;
        graft_torch_storage *storage;
        graft_torch_view *view;
    } as;
};

/** What one pickle held: its value, and every storage named in it, in order. */
typedef struct graft_unpickled {
    graft_pickle *value;
    graft_torch_storage **storages;
    size_t n_storages;
    size_t used; /* bytes of the stream */
} graft_unpickled;

/** Reads one pickle from the start of `data`. Values live in the arena and borrow from `data`. EFORMAT when
 * the stream is broken, EUNSUPPORTED (naming it) when it wants something called that is not on the list. */
int graft_unpickle(graft_unpickled *out, graft_arena *arena, const unsigned char *data, size_t size,
                   const char *origin, graft_err *err);

/* ---- torch_call.c: what the machine may be asked to call
 * ---------------------------------------------------- */

/** The value that callable `name` ("module.name") gives for `args` (a tuple). */
int graft_pickle_call(graft_pickle **out, graft_arena *arena, const char *name, const graft_pickle *args,
                      const char *origin, graft_err *err);
/** The storage of a persistent id: ('storage', class, key, location, elements[, view]). */
int graft_pickle_storage(graft_pickle **out, graft_arena *arena, const graft_pickle *id, const char *origin,
                         graft_err *err);
graft_pickle *graft_pickle_new(graft_arena *arena, graft_pickle_kind kind);
graft_pickle *graft_pickle_text(graft_arena *arena, graft_pickle_kind kind, const char *data, size_t size);
/** Appends to a list, tuple or dict; ENOMEM. */
int graft_pickle_append(graft_arena *arena, graft_pickle *to, graft_pickle *item);
/** true when a text, global or opaque value is exactly `s`. */
bool graft_pickle_is(const graft_pickle *v, graft_pickle_kind kind, const char *s);

/* ---- torch_state.c: from a value to named tensors
 * ----------------------------------------------------------- */

/** Finds the bytes of a storage by its key: *size is what the file really has. */
typedef struct graft_torch_bytes {
    int (*find)(void *user, const graft_torch_storage *storage, const unsigned char **data, size_t *size,
                graft_err *err);
    void *user;
    size_t file_size; /* bounds what strided views may unfold to */
} graft_torch_bytes;

/** The state dict in `value` as tensors; views that are not in C order are copied into the arena. */
int graft_torch_state(graft_tensors *out, graft_arena *arena, const graft_pickle *value,
                      const graft_torch_bytes *bytes, const char *format, const char *origin, graft_err *err);

/* ---- The containers
 * ----------------------------------------------------------------------------------------- */

/** true when the bytes begin like a PyTorch file of either kind. */
bool graft_torch_is(const void *data, size_t size);
int graft_torch_zip(graft_tensors *out, graft_arena *arena, const void *data, size_t size, const char *origin,
                    graft_err *err);
int graft_torch_legacy(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                       const char *origin, graft_err *err);

#endif
