/* The CPU's row of device functions and its kernel table. */
#include "backend/cpu/cpu.h"

#include <omp.h>
#include <stdlib.h>

#define GRAFT_CPU_KERNEL(name) {&graft_op_##name, graft_cpu_##name},
static const graft_cpu_kernel kernels[] = {
#include "backend/cpu/list.h"
};
#undef GRAFT_CPU_KERNEL

static int prepare(graft_lowering *l, const graft_node *n, graft_err *err) {
    for (size_t i = 0; i < GRAFT_COUNT(kernels); i++)
        if (kernels[i].op == n->op) return kernels[i].prepare(l, n, err);
    return graft_cpu_reference(l, n, err);
}

static void close_device(void *device) {
    graft_cpu *cpu = device;
    if (cpu->attr) dnnl_primitive_attr_destroy(cpu->attr);
    if (cpu->stream) dnnl_stream_destroy(cpu->stream);
    if (cpu->engine) dnnl_engine_destroy(cpu->engine);
}

static int open_device(void **device, graft_arena *arena, int threads, graft_err *err) {
    graft_cpu *cpu = graft_arena_alloc(arena, sizeof *cpu);
    if (!cpu || graft_arena_defer(arena, close_device, cpu) < 0) return graft_err_nomem(err);
    cpu->threads = threads;
    cpu->isa = graft_cpu_find_isa();
    cpu->splits = graft_cpu_has_splits();
    int rc = graft_cpu_status(dnnl_engine_create(&cpu->engine, dnnl_cpu, 0), "an engine", err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags),
                              "a stream", err);
    }
    if (rc == 0) rc = graft_cpu_status(dnnl_primitive_attr_create(&cpu->attr), "attributes", err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_primitive_attr_set_scratchpad_mode(cpu->attr, dnnl_scratchpad_mode_user),
                              "a scratchpad mode", err);
    }
    *device = cpu;
    return rc;
}

/* ---- Layouts ---------------------------------------------------------------------------------------------
 */

static int plain(graft_layout **out, graft_arena *arena, graft_dtype dtype, const graft_shape *shape,
                 graft_err *err) {
    graft_layout *layout = graft_arena_alloc(arena, sizeof *layout);
    if (!layout) return graft_err_nomem(err);
    layout->dtype = dtype;
    *out = layout;
    return graft_cpu_md(&layout->md, arena, dtype, shape, false, err);
}

static int clone(graft_layout **out, graft_arena *arena, const graft_layout *from, graft_err *err) {
    graft_layout *layout = graft_arena_alloc(arena, sizeof *layout);
    if (!layout) return graft_err_nomem(err);
    layout->dtype = from->dtype;
    layout->split = from->split;
    *out = layout;
    return graft_cpu_md_clone(&layout->md, arena, from->md, err);
}

static bool same(const graft_layout *a, const graft_layout *b) {
    return a->split == b->split && dnnl_memory_desc_equal(a->md, b->md) != 0;
}

static size_t size(const graft_layout *layout) {
    return layout->split ? graft_cpu_split_size(layout) : dnnl_memory_desc_get_size(layout->md);
}

static graft_dtype dtype(const graft_layout *layout) {
    return layout->dtype;
}

/* A grouped convolution's weights have five dims where the parameter has four: C order is the same bytes, so
 * the plain side of a layout change takes the other's dims. */
static int match_rank(dnnl_memory_desc_t *a, dnnl_memory_desc_t *b, graft_arena *arena, graft_dtype a_dtype,
                      graft_dtype b_dtype, graft_err *err) {
    int a_rank = 0, b_rank = 0;
    dnnl_memory_desc_query(*a, dnnl_query_ndims_s32, &a_rank);
    dnnl_memory_desc_query(*b, dnnl_query_ndims_s32, &b_rank);
    if (a_rank == b_rank) return 0;
    dnnl_memory_desc_t *narrow = a_rank < b_rank ? a : b, *wide = a_rank < b_rank ? b : a;
    dnnl_dims_t *dims;
    graft_shape shape = {.rank = a_rank > b_rank ? a_rank : b_rank};
    dnnl_memory_desc_query(*wide, dnnl_query_dims, (void *)&dims);
    for (int i = 0; i < shape.rank && i < GRAFT_MAX_RANK; i++) shape.dims[i] = (*dims)[i];
    return graft_cpu_md(narrow, arena, narrow == a ? a_dtype : b_dtype, &shape, false, err);
}

static int reorder(graft_lowering *l, graft_buffer from, const graft_layout *from_layout, graft_buffer to,
                   const graft_layout *to_layout, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    dnnl_memory_desc_t a = from_layout->md, b = to_layout->md;
    dnnl_primitive_desc_t pd = NULL;
    if (to_layout->split) return graft_cpu_emit_pack(l, from, to_layout, to, err);
    int rc = match_rank(&a, &b, graft_lower_arena(l), from_layout->dtype, to_layout->dtype, err);
    if (rc < 0) return rc;
    rc = graft_cpu_status(dnnl_reorder_primitive_desc_create(&pd, a, cpu->engine, b, cpu->engine, cpu->attr),
                          "a layout change", err);
    if (rc < 0) return rc;
    graft_cpu_arg args[] = {{DNNL_ARG_FROM, from, a}, {DNNL_ARG_TO, to, b}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

static int convert(void *device, const void *from, const graft_layout *from_layout, void *to,
                   const graft_layout *to_layout, graft_err *err) {
    const graft_cpu *cpu = device;
    if (to_layout->split) return graft_cpu_pack_now(from, to_layout, to, err);
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    dnnl_memory_desc_t a = from_layout->md, b = to_layout->md;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    int rc = match_rank(&a, &b, arena, from_layout->dtype, to_layout->dtype, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_reorder_primitive_desc_create(&pd, a, cpu->engine, b, cpu->engine, NULL),
                              "a layout change", err);
    }
    if (rc == 0) rc = graft_cpu_status(dnnl_primitive_create(&primitive, pd), "a primitive", err);
    void *readable = (void *)(uintptr_t)from; /* oneDNN has one kind of memory; FROM is only read */
    if (rc == 0)
        rc = graft_cpu_status(dnnl_memory_create(&source, a, cpu->engine, readable), "a memory object", err);
    if (rc == 0)
        rc = graft_cpu_status(dnnl_memory_create(&target, b, cpu->engine, to), "a memory object", err);
    if (rc == 0) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
        rc =
            graft_cpu_status(dnnl_primitive_execute(primitive, cpu->stream, 2, args), "a layout change", err);
    }
    if (source) dnnl_memory_destroy(source);
    if (target) dnnl_memory_destroy(target);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (pd) dnnl_primitive_desc_destroy(pd);
    graft_arena_free(arena);
    return rc;
}

/* ---- Threads ----------------------------------------------------------------------------------------------
 */

static void run_begin(void *device) {
    graft_cpu *cpu = device;
    cpu->threads_before = omp_get_max_threads();
    omp_set_num_threads(cpu->threads);
}

static void run_end(void *device) {
    const graft_cpu *cpu = device;
    omp_set_num_threads(cpu->threads_before);
}

const graft_backend graft_backend_cpu = {
    .name = "cpu",
    .open = open_device,
    .plain = plain,
    .clone = clone,
    .same = same,
    .size = size,
    .dtype = dtype,
    .reorder = reorder,
    .convert = convert,
    .prepare = prepare,
    .run_begin = run_begin,
    .run_end = run_end,
};

graft_precision graft_backend_precision(graft_precision asked) {
    bool has_it = asked == GRAFT_PRECISION_BF16     ? graft_backend_has_bf16()
                  : asked == GRAFT_PRECISION_BF16X3 ? graft_cpu_has_splits()
                                                    : false;
    return has_it ? asked : GRAFT_PRECISION_FP32;
}

bool graft_backend_has_bf16(void) {
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}
