/* What program.c and a backend share while a graph is lowered. Every value of the graph gets one or more
 * representations: a layout (the backend's own notion) and the buffer that holds it. A kernel's `prepare`
 * asks for its inputs in the layouts it likes (`want` adds a layout change when none fits, once for all
 * readers), declares its outputs, books scratch, and emits steps. Nothing is allocated meanwhile: buffers get
 * their place when the last step is known, and each step is bound to its addresses then. */
#ifndef GRAFT_BACKEND_LOWER_H
#define GRAFT_BACKEND_LOWER_H

#include "backend/backend.h"
#include "graph/op.h"

typedef struct graft_layout graft_layout;     /* how a value lies in memory; defined by the backend */
typedef struct graft_lowering graft_lowering; /* a compilation under way */
typedef int32_t graft_buffer;                 /* index of a buffer in its program */

typedef struct graft_step {
    const char *impl; /* implementation, for traces */
    int32_t node;     /* the graph's node it belongs to */
    bool is_reorder, is_reference;
    void *self; /* the kernel's own data, in the program's arena */
    int (*bind)(void *self, const graft_program *p, graft_err *err); /* takes its addresses; once */
    int (*run)(void *self); /* 0, or negative when the library failed */
} graft_step;

/** A device's functions. Everything is asked while compiling but `run` of the steps. */
typedef struct graft_backend {
    const char *name;
    int (*open)(void **device, graft_arena *arena, int threads, graft_err *err);
    /** C order with the dtype of the value. */
    int (*plain)(graft_layout **out, graft_arena *arena, graft_dtype dtype, const graft_shape *shape,
                 graft_err *err);
    int (*clone)(graft_layout **out, graft_arena *arena, const graft_layout *layout, graft_err *err);
    bool (*same)(const graft_layout *a, const graft_layout *b);
    size_t (*size)(const graft_layout *layout);
    graft_dtype (*dtype)(const graft_layout *layout);
    /** Emits a step that rewrites one buffer into another layout or dtype. */
    int (*reorder)(graft_lowering *l, graft_buffer from, const graft_layout *from_layout, graft_buffer to,
                   const graft_layout *to_layout, graft_err *err);
    /** The same at once, outside a program. */
    int (*convert)(void *device, const void *from, const graft_layout *from_layout, void *to,
                   const graft_layout *to_layout, graft_err *err);
    /** Emits the steps of one node. */
    int (*prepare)(graft_lowering *l, const graft_node *n, graft_err *err);
    void (*run_begin)(void *device); /* before a program's steps, on the thread that runs them */
    void (*run_end)(void *device);
} graft_backend;

extern const graft_backend graft_backend_cpu;

/* ---- For prepare
 * ------------------------------------------------------------------------------------------- */

graft_arena *graft_lower_arena(graft_lowering *l);
void *graft_lower_device(graft_lowering *l);
/** Shape with the batch bound. */
const graft_shape *graft_lower_shape(const graft_lowering *l, graft_value v);
graft_dtype graft_lower_dtype(const graft_lowering *l, graft_value v);
/** The layout that v has (its first representation), or NULL when it is a parameter that no program has
 * placed. */
const graft_layout *graft_lower_layout(const graft_lowering *l, graft_value v);
/** The buffer that holds v in `layout`, after a layout change if need be. */
int graft_lower_want(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer *out,
                     graft_err *err);
/** The same, made in every step from `from`, which v has: for frozen values that are not to be kept in both.
 */
int graft_lower_derive(graft_lowering *l, graft_value v, const graft_layout *from, const graft_layout *layout,
                       graft_buffer *out, graft_err *err);
/** Proposes the layout in which a changing value stays; nothing when it has a place already. */
int graft_lower_home(graft_lowering *l, graft_value v, const graft_layout *layout, graft_err *err);
/** A new buffer for the node's result v. */
int graft_lower_new(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer *out,
                    graft_err *err);
/** v lives in buffer `b` too: a view of the value there, or what takes its place (graft_lower_may_take). */
int graft_lower_reuse(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer b,
                      graft_err *err);
/** Whether result o of n, the node being lowered, may be computed in `b`, where the input lies that the op's
 * row names in alias[o]: no later node and no output reads anything there, no other input of n lies there,
 * and what lies in the state is replaced only by what is assigned to it. */
bool graft_lower_may_take(const graft_lowering *l, const graft_node *n, size_t o, graft_buffer b);
/** Whether anything at all reads v. */
bool graft_lower_is_used(const graft_lowering *l, graft_value v);
/** Whether v is a parameter that this graph does not change: packed once, in any layout. */
bool graft_lower_is_frozen(const graft_lowering *l, graft_value v);
/** Whether frozen v lies in `layout` in the state already, for this program or another. */
bool graft_lower_is_packed(const graft_lowering *l, graft_value v, const graft_layout *layout);
/** Whether a node of `op` reads v. */
bool graft_lower_is_read_by(const graft_lowering *l, graft_value v, const graft_op *op);
/** Whether the graph has a node of `op`. */
bool graft_lower_has(const graft_lowering *l, const graft_op *op);
/** A buffer that lives for the steps that name it. */
int graft_lower_scratch(graft_lowering *l, size_t size, graft_buffer *out, graft_err *err);
/** Adds a step; buffers (GRAFT_NONE allowed) are all it touches. */
int graft_lower_emit(graft_lowering *l, const graft_step *step, const graft_buffer *buffers, size_t n_buffers,
                     graft_err *err);

/* ---- For bind
 * ---------------------------------------------------------------------------------------------- */

void *graft_program_buffer(const graft_program *p, graft_buffer b);
void *graft_program_device(const graft_program *p);

/* ---- State, as the lowering sees it (state.c)
 * ---------------------------------------------------------------- */

typedef struct graft_slot {
    const char *name;
    bool changes; /* trained parameter or state: one slot a name; else a packed frozen weight: one a layout */
    graft_shape shape;
    graft_layout *layout;
    graft_source source;
    void *data;     /* NULL until filled */
    float *pending; /* value written before there was a layout */
} graft_slot;

const graft_backend *graft_state_backend(const graft_state *s);
void *graft_state_device(const graft_state *s);
/** The slot of a changing value, or NULL. */
graft_slot *graft_state_find(const graft_state *s, const char *name);
/** The slot that holds frozen `info` in `layout`, or NULL. */
graft_slot *graft_state_find_packed(const graft_state *s, const graft_value_info *info,
                                    const graft_layout *layout);
/** The slot that holds `info` in `layout`, made if need be (changing values: `layout` only counts when new).
 */
int graft_state_slot(graft_state *s, graft_slot **out, const graft_value_info *info,
                     const graft_layout *layout, bool *is_new, graft_err *err);
/** Memory for the steps of all programs of this state, of which one runs at a time: at least `size` bytes. It
 * moves when it grows; `generation` then changes and programs take their addresses anew. */
int graft_state_reserve(graft_state *s, size_t size, graft_err *err);
unsigned char *graft_state_memory(const graft_state *s, uint64_t *generation);
/** Allocates and fills a slot that has no data yet, from its pending value or its source. */
int graft_slot_fill(graft_state *s, graft_slot *slot, graft_err *err);

#endif
