/* Speaking to oneDNN (v3 C API): status, descriptors, primitives as steps, layout changes. */
#include "backend/cpu/cpu.h"

#include <string.h>

int graft_cpu_status(dnnl_status_t status, const char *doing, graft_err *err) {
    switch (status) {
    case dnnl_success:
        return 0;
    case dnnl_out_of_memory:
        return graft_err_nomem(err);
    case dnnl_unimplemented:
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "oneDNN has no kernel for %s on this processor", doing);
    default:
        return graft_err_set(err, GRAFT_EINTERNAL, "oneDNN refused %s (status %d)", doing, (int)status);
    }
}

/* ---- Descriptors
 * -------------------------------------------------------------------------------------------- */

static void destroy_md(void *md) {
    dnnl_memory_desc_destroy(md);
}

dnnl_data_type_t graft_cpu_dtype(graft_dtype t) {
    switch (t) {
    case GRAFT_BF16:
        return dnnl_bf16;
    case GRAFT_I32:
        return dnnl_s32;
    case GRAFT_U8:
    case GRAFT_BOOL:
        return dnnl_u8;
    case GRAFT_I8:
        return dnnl_s8;
    default:
        return dnnl_f32;
    }
}

int graft_cpu_md(dnnl_memory_desc_t *out, graft_arena *arena, graft_dtype dtype, const graft_shape *shape,
                 bool any, graft_err *err) {
    dnnl_dims_t dims, strides;
    int rank = shape->rank ? shape->rank : 1;
    dims[0] = 1;
    for (int i = 0; i < shape->rank; i++) dims[i] = shape->dims[i];
    if (rank == 3) { /* rows of samples are rows */
        dims[0] *= dims[1];
        dims[1] = dims[2];
        rank = 2;
    }
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= dims[i];
    }
    dnnl_status_t st =
        any ? dnnl_memory_desc_create_with_tag(out, rank, dims, graft_cpu_dtype(dtype), dnnl_format_tag_any)
            : dnnl_memory_desc_create_with_strides(out, rank, dims, graft_cpu_dtype(dtype), strides);
    int rc = graft_cpu_status(st, "a memory descriptor", err);
    if (rc == 0 && graft_arena_defer(arena, destroy_md, *out) < 0) rc = graft_err_nomem(err);
    return rc;
}

graft_layout graft_cpu_layout(const_dnnl_memory_desc_t md, graft_dtype dtype) {
    return (graft_layout){.md = (dnnl_memory_desc_t)(uintptr_t)md, .dtype = dtype};
}

static bool is_layout_dtype(const graft_layout *layout, graft_dtype dtype) {
    return layout && layout->dtype == dtype;
}

int graft_cpu_md_clone(dnnl_memory_desc_t *out, graft_arena *arena, const_dnnl_memory_desc_t md,
                       graft_err *err) {
    int rc = graft_cpu_status(dnnl_memory_desc_clone(out, md), "a memory descriptor", err);
    if (rc == 0 && graft_arena_defer(arena, destroy_md, *out) < 0) rc = graft_err_nomem(err);
    return rc;
}

int graft_cpu_md_permute(dnnl_memory_desc_t *out, graft_arena *arena, const_dnnl_memory_desc_t md,
                         const int *axes, graft_err *err) {
    int rc = graft_cpu_status(dnnl_memory_desc_permute_axes(out, md, axes), "an exchange of axes", err);
    if (rc == 0 && graft_arena_defer(arena, destroy_md, *out) < 0) rc = graft_err_nomem(err);
    return rc;
}

graft_dtype graft_cpu_compute_dtype(const graft_lowering *l, graft_value a, graft_value b) {
    bool bf16 = graft_lower_dtype(l, a) == GRAFT_BF16 || graft_lower_dtype(l, b) == GRAFT_BF16;
    return bf16 ? GRAFT_BF16 : GRAFT_F32;
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, int32_t act) {
    switch (act) {
    case GRAFT_ACT_RELU:
        return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0F, 0.0F);
    case GRAFT_ACT_GELU:
        return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_gelu_erf, 0.0F, 0.0F);
    case GRAFT_ACT_GELU_TANH:
        return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_gelu_tanh, 0.0F, 0.0F);
    case GRAFT_ACT_TANH:
        return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_tanh, 0.0F, 0.0F);
    case GRAFT_ACT_QUICK_GELU: /* swish: x s(alpha x) */
        return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_swish, 1.702F, 0.0F);
    case GRAFT_ACT_SILU:
        return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_swish, 1.0F, 0.0F);
    default:
        return dnnl_success;
    }
}

int graft_cpu_attr(dnnl_primitive_attr_t *out, graft_cpu_joined joined, graft_err *err) {
    dnnl_post_ops_t ops = NULL;
    int rc = graft_cpu_status(dnnl_primitive_attr_create(out), "attributes", err);
    if (rc == 0) rc = graft_cpu_status(dnnl_post_ops_create(&ops), "post-ops", err);
    if (rc < 0) return rc;
    dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (joined.sum) dnnl_post_ops_append_sum(ops, 1.0F, 0, dnnl_data_type_undef);
    if (joined.added)
        rc = graft_cpu_status(dnnl_post_ops_append_binary(ops, dnnl_binary_add, joined.added), "post-ops",
                              err);
    if (rc == 0) rc = graft_cpu_status(append_act(ops, joined.act), "post-ops", err);
    if (rc == 0) rc = graft_cpu_status(dnnl_primitive_attr_set_post_ops(*out, ops), "post-ops", err);
    dnnl_post_ops_destroy(ops);
    return rc;
}

const_dnnl_memory_desc_t graft_cpu_md_of(const graft_lowering *l, graft_value v, graft_dtype dtype) {
    const graft_layout *layout = graft_lower_layout(l, v);
    return is_layout_dtype(layout, dtype) ? layout->md : NULL;
}

int graft_cpu_md_as_is(const_dnnl_memory_desc_t *out, graft_lowering *l, graft_value v, graft_dtype dtype,
                       graft_err *err) {
    dnnl_memory_desc_t md = NULL;
    *out = graft_cpu_md_of(l, v, dtype);
    if (*out) return 0;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, graft_lower_shape(l, v), false, err);
    *out = md;
    return rc;
}

int graft_cpu_want(graft_lowering *l, graft_value v, const_dnnl_memory_desc_t md, graft_dtype dtype,
                   graft_buffer *out, graft_err *err) {
    graft_layout layout = graft_cpu_layout(md, dtype);
    return graft_lower_want(l, v, &layout, out, err);
}

int graft_cpu_new(graft_lowering *l, graft_value v, const_dnnl_memory_desc_t md, graft_dtype dtype,
                  graft_buffer *out, graft_err *err) {
    graft_layout layout = graft_cpu_layout(md, dtype);
    return graft_lower_new(l, v, &layout, out, err);
}

int graft_cpu_take(graft_lowering *l, const graft_node *n, size_t o, graft_buffer from,
                   const_dnnl_memory_desc_t md, graft_dtype dtype, graft_buffer *out, graft_err *err) {
    if (!graft_lower_may_take(l, n, o, from)) return graft_cpu_new(l, n->out[o], md, dtype, out, err);
    graft_layout layout = graft_cpu_layout(md, dtype);
    *out = from;
    return graft_lower_reuse(l, n->out[o], &layout, from, err);
}

int graft_cpu_take_over(graft_lowering *l, const graft_node *n, size_t o, graft_buffer from,
                        const_dnnl_memory_desc_t md, graft_dtype dtype, graft_buffer *out, graft_err *err) {
    graft_layout layout = graft_cpu_layout(md, dtype);
    int rc = graft_cpu_take(l, n, o, from, md, dtype, out, err);
    return rc < 0 || *out == from ? rc : graft_backend_cpu.reorder(l, from, &layout, *out, &layout, err);
}

graft_shape graft_cpu_matrix(const graft_lowering *l, graft_value v) {
    const graft_shape *s = graft_lower_shape(l, v);
    if (s->rank != 3) return *s;
    return (graft_shape){2, {s->dims[0] * s->dims[1], s->dims[2]}};
}

int graft_cpu_want_plain(graft_lowering *l, graft_value v, graft_buffer *out, graft_err *err) {
    return graft_cpu_want_rows(l, v, GRAFT_F32, out, err);
}

int graft_cpu_new_plain(graft_lowering *l, graft_value v, graft_buffer *out, graft_err *err) {
    return graft_cpu_new_rows(l, v, GRAFT_F32, out, err);
}

int graft_cpu_want_rows(graft_lowering *l, graft_value v, graft_dtype dtype, graft_buffer *out,
                        graft_err *err) {
    dnnl_memory_desc_t md;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, graft_lower_shape(l, v), false, err);
    return rc < 0 ? rc : graft_cpu_want(l, v, md, dtype, out, err);
}

int graft_cpu_new_rows(graft_lowering *l, graft_value v, graft_dtype dtype, graft_buffer *out,
                       graft_err *err) {
    dnnl_memory_desc_t md;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, graft_lower_shape(l, v), false, err);
    return rc < 0 ? rc : graft_cpu_new(l, v, md, dtype, out, err);
}

int graft_cpu_take_rows(graft_lowering *l, const graft_node *n, size_t o, graft_buffer from,
                        graft_dtype dtype, graft_buffer *out, graft_err *err) {
    dnnl_memory_desc_t md;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, graft_lower_shape(l, n->out[o]), false, err);
    return rc < 0 ? rc : graft_cpu_take(l, n, o, from, md, dtype, out, err);
}

/* ---- Primitives
 * ---------------------------------------------------------------------------------------------- */

typedef struct primitive_step {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    int n_args;
    dnnl_exec_arg_t args[GRAFT_CPU_MAX_ARGS];
    graft_buffer buffers[GRAFT_CPU_MAX_ARGS];
} primitive_step;

static void destroy_step(void *self) {
    primitive_step *s = self;
    for (int i = 0; i < s->n_args; i++) dnnl_memory_destroy(s->args[i].memory);
    dnnl_primitive_destroy(s->primitive);
}

static int bind_step(void *self, const graft_program *p, graft_err *err) {
    primitive_step *s = self;
    int rc = 0;
    for (int i = 0; i < s->n_args && rc == 0; i++) {
        void *at = graft_program_buffer(p, s->buffers[i]);
        rc = graft_cpu_status(dnnl_memory_set_data_handle(s->args[i].memory, at), "an address", err);
    }
    return rc;
}

static int run_step(void *self) {
    primitive_step *s = self;
    return dnnl_primitive_execute(s->primitive, s->stream, s->n_args, s->args) == dnnl_success ? 0 : -1;
}

const_dnnl_memory_desc_t graft_cpu_query(const_dnnl_primitive_desc_t pd, dnnl_query_t what, int index) {
    return dnnl_primitive_desc_query_md(pd, what, index);
}

static int add_arg(primitive_step *s, const graft_cpu *cpu, int arg, graft_buffer b,
                   const_dnnl_memory_desc_t md, graft_err *err) {
    dnnl_memory_t memory = NULL;
    int rc = graft_cpu_status(dnnl_memory_create(&memory, md, cpu->engine, DNNL_MEMORY_NONE),
                              "a memory object", err);
    if (rc < 0) return rc;
    s->args[s->n_args] = (dnnl_exec_arg_t){.arg = arg, .memory = memory};
    s->buffers[s->n_args++] = b;
    return 0;
}

int graft_cpu_emit(graft_lowering *l, dnnl_primitive_desc_t pd, const graft_cpu_arg *args, size_t n_args,
                   graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_arena *arena = graft_lower_arena(l);
    primitive_step *s = graft_arena_alloc(arena, sizeof *s);
    const char *impl = NULL;
    int rc = 0;
    if (!s) {
        rc = graft_err_nomem(err);
        goto done;
    }
    s->stream = cpu->stream;
    rc = graft_cpu_status(dnnl_primitive_create(&s->primitive, pd), "a primitive", err);
    if (rc < 0) goto done;
    if (graft_arena_defer(arena, destroy_step, s) < 0) {
        rc = graft_err_nomem(err);
        goto done;
    }
    for (size_t i = 0; i < n_args && rc == 0; i++) {
        if (args[i].buffer != GRAFT_NONE) rc = add_arg(s, cpu, args[i].arg, args[i].buffer, args[i].md, err);
    }
    const_dnnl_memory_desc_t scratch = graft_cpu_query(pd, dnnl_query_scratchpad_md, 0);
    size_t scratch_size = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    graft_buffer b = GRAFT_NONE;
    if (rc == 0) rc = graft_lower_scratch(l, scratch_size, &b, err);
    if (rc == 0 && scratch_size) rc = add_arg(s, cpu, DNNL_ARG_SCRATCHPAD, b, scratch, err);
    if (rc < 0) goto done;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&impl);
    graft_step step = {.impl = graft_arena_strdup(arena, impl ? impl : "oneDNN"),
                       .self = s,
                       .bind = bind_step,
                       .run = run_step};
    dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
    dnnl_primitive_desc_query(pd, dnnl_query_primitive_kind, 0, &kind);
    step.is_reorder = kind == dnnl_reorder;
    rc = step.impl ? graft_lower_emit(l, &step, s->buffers, (size_t)s->n_args, err) : graft_err_nomem(err);
done:
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

/* ---- Own kernels
 * ----------------------------------------------------------------------------------------------- */

static int bind_own(void *self, const graft_program *p, graft_err *err) {
    graft_cpu_own *own = self;
    (void)err;
    for (size_t i = 0; i < own->n_buffers; i++) own->data[i] = graft_program_buffer(p, own->buffers[i]);
    return 0;
}

int graft_cpu_emit_own(graft_lowering *l, const char *impl, int (*run)(void *self), graft_cpu_own own,
                       size_t attr_size, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_cpu_own *self = graft_arena_alloc(graft_lower_arena(l), sizeof *self);
    void *attr = graft_arena_alloc(graft_lower_arena(l), attr_size);
    if (!self || !attr) return graft_err_nomem(err);
    *self = own;
    self->threads = cpu->threads;
    if (attr_size) memcpy(attr, own.attr, attr_size);
    self->attr = attr;
    graft_step step = {.impl = impl, .self = self, .bind = bind_own, .run = run};
    return graft_lower_emit(l, &step, self->buffers, self->n_buffers, err);
}
