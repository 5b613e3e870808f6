/* The CPU backend, inside: layouts are oneDNN memory descriptors, kernels are oneDNN primitives or own loops.
 */
#ifndef GRAFT_CPU_H
#define GRAFT_CPU_H

#include "backend/cpu/own/split_product.h"
#include "backend/lower.h"
#include <oneapi/dnnl/dnnl.h>

/** Instruction sets of own kernels; each implies those before it. */
typedef struct graft_cpu_isa {
    bool avx2, avx512, avx512bf16, amx;
    bool slow_bf16; /* products of pairs (AVX512_BF16) have less than float32's rate, as on Intel's processors
                     */
} graft_cpu_isa;

graft_cpu_isa graft_cpu_find_isa(void);

typedef struct graft_cpu {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* scratchpad given by the caller */
    int threads, threads_before;
    graft_cpu_isa isa; /* found when the device is opened */
    bool splits;       /* linear layers may be split products (cpu_split.c) */
} graft_cpu;

struct graft_layout {
    dnnl_memory_desc_t md;
    graft_dtype dtype;
    graft_split_way split; /* not NONE: an operand of split products made of the float32 matrix `md`; BF16 */
};

/** A row of the kernel table: the op, and how its steps are made. */
typedef struct graft_cpu_kernel {
    const graft_op *op;
    int (*prepare)(graft_lowering *l, const graft_node *n, graft_err *err);
} graft_cpu_kernel;

/** 0, or EUNSUPPORTED / EINTERNAL / ENOMEM with oneDNN's reason. */
int graft_cpu_status(dnnl_status_t status, const char *doing, graft_err *err);

/* ---- Layouts
 * ------------------------------------------------------------------------------------------------ */

dnnl_data_type_t graft_cpu_dtype(graft_dtype t);
/** A descriptor owned by the arena. `any`: the primitive chooses; else C order. Of rank 3, (N,L,D), it is
 * that of a matrix (N L, D), as kernels of rows want it. */
int graft_cpu_md(dnnl_memory_desc_t *out, graft_arena *arena, graft_dtype dtype, const graft_shape *shape,
                 bool any, graft_err *err);
graft_layout graft_cpu_layout(const_dnnl_memory_desc_t md, graft_dtype dtype);
/** The descriptor of v's first representation with `dtype`, or NULL. */
const_dnnl_memory_desc_t graft_cpu_md_of(const graft_lowering *l, graft_value v, graft_dtype dtype);
/** A copy owned by the arena. */
int graft_cpu_md_clone(dnnl_memory_desc_t *out, graft_arena *arena, const_dnnl_memory_desc_t md,
                       graft_err *err);
/** The same bytes with the axes in another order: axis i becomes axis axes[i]. Owned by the arena. */
int graft_cpu_md_permute(dnnl_memory_desc_t *out, graft_arena *arena, const_dnnl_memory_desc_t md,
                         const int *axes, graft_err *err);
/** The descriptor with which v lies in `dtype`, or C order where it lies nowhere so. */
int graft_cpu_md_as_is(const_dnnl_memory_desc_t *out, graft_lowering *l, graft_value v, graft_dtype dtype,
                       graft_err *err);
/** How many channels of a pixel of the activation (N,C,...) lie together, pixel after pixel, block of
 * channels after block, sample after sample: C in channels last, 4, 8 or 16 in blocked layouts; 0: otherwise.
 */
int64_t graft_cpu_block(const_dnnl_memory_desc_t md);
/** The dense descriptor of that kind, owned by the arena: `block` is C, or of rank 4 4, 8 or 16. */
int graft_cpu_md_blocked(dnnl_memory_desc_t *out, graft_lowering *l, const graft_shape *shape, int64_t block,
                         graft_dtype dtype, graft_err *err);
/** What a product of a and b is computed in: BF16 when either is. */
graft_dtype graft_cpu_compute_dtype(const graft_lowering *l, graft_value a, graft_value b);
/** v's shape, (N L, D) of rank 3. */
graft_shape graft_cpu_matrix(const graft_lowering *l, graft_value v);
/** Wants v in C order as float32. */
int graft_cpu_want_plain(graft_lowering *l, graft_value v, graft_buffer *out, graft_err *err);
/** A new C-ordered float32 buffer for v. */
int graft_cpu_new_plain(graft_lowering *l, graft_value v, graft_buffer *out, graft_err *err);
/** The same three for any dtype, of a value or of result o of n in the place of the input that its row names.
 */
int graft_cpu_want_rows(graft_lowering *l, graft_value v, graft_dtype dtype, graft_buffer *out,
                        graft_err *err);
int graft_cpu_new_rows(graft_lowering *l, graft_value v, graft_dtype dtype, graft_buffer *out,
                       graft_err *err);
int graft_cpu_take_rows(graft_lowering *l, const graft_node *n, size_t o, graft_buffer from,
                        graft_dtype dtype, graft_buffer *out, graft_err *err);
/** Wants v as a primitive descriptor's `what` argument asks for it. */
int graft_cpu_want(graft_lowering *l, graft_value v, const_dnnl_memory_desc_t md, graft_dtype dtype,
                   graft_buffer *out, graft_err *err);
int graft_cpu_new(graft_lowering *l, graft_value v, const_dnnl_memory_desc_t md, graft_dtype dtype,
                  graft_buffer *out, graft_err *err);
/** Result o of n in the buffer `from` of the input that the op's row permits (alias[o]), wanted as `md`
 * before, when that may be overwritten; else in a new buffer. */
int graft_cpu_take(graft_lowering *l, const graft_node *n, size_t o, graft_buffer from,
                   const_dnnl_memory_desc_t md, graft_dtype dtype, graft_buffer *out, graft_err *err);
/** The same for a kernel that changes its input in place: a new buffer starts as a copy of `from`. */
int graft_cpu_take_over(graft_lowering *l, const graft_node *n, size_t o, graft_buffer from,
                        const_dnnl_memory_desc_t md, graft_dtype dtype, graft_buffer *out, graft_err *err);

/* ---- oneDNN primitives
 * ----------------------------------------------------------------------------------------- */

/** The steps that are joined to a primitive, in this order. */
typedef struct graft_cpu_joined {
    bool sum;                       /* into what the result's place holds */
    const_dnnl_memory_desc_t added; /* what argument GRAFT_CPU_ADDED holds, or NULL */
    int32_t act;                    /* a graft_act */
} graft_cpu_joined;
enum { GRAFT_CPU_ADDED = DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1 };

/** Attributes with what is joined. The caller destroys *out, after an error too. */
int graft_cpu_attr(dnnl_primitive_attr_t *out, graft_cpu_joined joined, graft_err *err);

typedef struct graft_cpu_arg {
    int arg; /* DNNL_ARG_... */
    graft_buffer buffer;
    const_dnnl_memory_desc_t md;
} graft_cpu_arg;

/** Emits a step that runs the primitive of `pd`, and takes `pd` over. Scratch is booked here. */
int graft_cpu_emit(graft_lowering *l, dnnl_primitive_desc_t pd, const graft_cpu_arg *args, size_t n_args,
                   graft_err *err);
/** A descriptor of `pd`; borrowed. */
const_dnnl_memory_desc_t graft_cpu_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what, int index);

/* ---- Split products (cpu_split.c)
 * ------------------------------------------------------------------------------------------------ */

/** Whether the processor has what they need, and oneDNN has not been told to do without it. */
bool graft_cpu_has_splits(void);
/** Whether a product (m, k) (k, n) for a node that asks for bf16x3 gains by it here. */
bool graft_cpu_split_pays(const graft_lowering *l, int64_t m, int64_t n, int64_t k);
/** Whether v, a matrix, can become an operand: it lies in C order as float32, or has no place yet. */
bool graft_cpu_can_split(graft_lowering *l, graft_value v);
/** Wants v as an operand: frozen weights are packed once, all else once a step for all its readers. */
int graft_cpu_want_split(graft_lowering *l, graft_value v, graft_split_way way, graft_buffer *out,
                         graft_err *err);
/** The same for frozen weights that are kept in C order and packed in each step. */
int graft_cpu_want_split_anew(graft_lowering *l, graft_value v, graft_split_way way, graft_buffer *out,
                              graft_err *err);

/** c (m, n) = act(a b + bias + residual): operands, then float32 in C order; GRAFT_NONE: there is none. */
typedef struct graft_cpu_split {
    graft_buffer a, b, bias, residual, c; /* residual may be c */
    int64_t m, n, k;
    int32_t act;
} graft_cpu_split;
int graft_cpu_emit_split(graft_lowering *l, const graft_cpu_split *product, graft_err *err);

/** Bytes of the operand that `layout` is. */
size_t graft_cpu_split_size(const graft_layout *layout);
/** Emits the packing of the float32 matrix in `from`; the same at once. */
int graft_cpu_emit_pack(graft_lowering *l, graft_buffer from, const graft_layout *layout, graft_buffer to,
                        graft_err *err);
int graft_cpu_pack_now(const float *from, const graft_layout *layout, void *to, graft_err *err);

/* ---- Own kernels
 * ------------------------------------------------------------------------------------------------- */

enum { GRAFT_CPU_MAX_ARGS = 16 };

/** An own kernel's step: addresses come in the order of `buffers`. */
typedef struct graft_cpu_own {
    graft_buffer buffers[GRAFT_CPU_MAX_ARGS];
    void *data[GRAFT_CPU_MAX_ARGS];
    size_t n_buffers, count; /* elements, padding included */
    const void *attr;        /* copied into the program's arena */
    int threads;
    const void *kernel; /* function chosen for this processor, where there is a choice */
} graft_cpu_own;

int graft_cpu_emit_own(graft_lowering *l, const char *impl, int (*run)(void *self), graft_cpu_own own,
                       size_t attr_size, graft_err *err);

/** piece(self, i) for every i below n, in equal runs over the threads of the step. */
void graft_cpu_parallel(void *self, size_t n, void (*piece)(void *self, size_t i));
/** The same for pieces of unequal length: a thread takes the next one when it is free. `thread` is below the
 * step's number of threads; what a piece computes may not depend on it. */
void graft_cpu_parallel_uneven(void *self, size_t n, void (*piece)(void *self, size_t i, size_t thread));

/** Clears the rows of a result (`rows`, row_size bytes each) that belong to no sample's span. Where spans are
 * not in order, rows that are computed later are cleared too. */
void graft_cpu_clear_rest(void *result, size_t row_size, const graft_cpu_own *own,
                          graft_tokens (*tokens_of)(const graft_cpu_own *own, size_t sample), size_t samples,
                          size_t rows);

/** The version of own kernels that the processor of a lowering runs: `kernels` names the tables
 * <kernels>_base, _avx2 and _avx512; elsewhere than on x86-64 there is the first alone. */
#if defined(__x86_64__)
#define GRAFT_CPU_CHOOSE(l, kernels)                                                                         \
    (((const graft_cpu *)graft_lower_device(l))->isa.avx512 ? &kernels##_avx512                              \
     : ((const graft_cpu *)graft_lower_device(l))->isa.avx2 ? &kernels##_avx2                                \
                                                            : &kernels##_base)
#else
#define GRAFT_CPU_CHOOSE(l, kernels) (&kernels##_base)
#endif

/** Emits the sums of the columns of x (N,D), which lies in `from` as C order in `dtype`, into the float32
 * vector `to`; the order of additions does not depend on the threads. */
int graft_cpu_emit_column_sums(graft_lowering *l, graft_buffer from, graft_dtype dtype,
                               const graft_shape *shape, graft_buffer to, graft_err *err);

int graft_cpu_reference(graft_lowering *l, const graft_node *n, graft_err *err);

#define GRAFT_CPU_KERNEL(name) int graft_cpu_##name(graft_lowering *l, const graft_node *n, graft_err *err);
#include "backend/cpu/list.h"
#undef GRAFT_CPU_KERNEL

#endif
