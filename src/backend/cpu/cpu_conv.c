/* Convolution by oneDNN: forward (with bias, residual and relu joined), gradient of the input, of the
 * weights. Weights are packed once when frozen, else reordered from their home in a step.
 *
 * In inference each primitive chooses its layouts. In training the three of one convolution would choose
 * differently (forward channels last, backward blocked) and every activation would be rewritten several
 * times; so there the weight gradient, the most particular of them, chooses for all three, unless one has no
 * fast kernel for that. */
#include "backend/cpu/cpu.h"

#include <string.h>

typedef struct conv_dims {
    dnnl_dims_t stride, dilation, pad_low, pad_high;
    graft_shape x, y, w; /* w with the groups as first dim when there are several */
    graft_dtype dtype;
    bool training;
    dnnl_memory_desc_t x_md, y_md; /* asked for: "any", or what training agreed on */
    dnnl_memory_desc_t x_any, y_any, w_any, dw_any;
    dnnl_memory_desc_t
        home; /* of trained weights: the layout in which their gradient comes; NULL: not known */
} conv_dims;

/* ---- Descriptors ------------------------------------------------------------------------------------------ */

static dnnl_status_t forward_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, const conv_dims *d,
                                const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t y,
                                const_dnnl_memory_desc_t bias, const_dnnl_primitive_attr_t attr) {
    const graft_cpu *cpu = graft_lower_device(l);
    return dnnl_convolution_forward_primitive_desc_create(
        pd, cpu->engine, d->training ? dnnl_forward_training : dnnl_forward_inference,
        dnnl_convolution_direct, x, d->w_any, bias, y, d->stride, d->dilation, d->pad_low, d->pad_high, attr);
}

static dnnl_status_t dx_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, const conv_dims *d,
                           const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t y,
                           const_dnnl_primitive_desc_t hint) {
    const graft_cpu *cpu = graft_lower_device(l);
    return dnnl_convolution_backward_data_primitive_desc_create(pd, cpu->engine, dnnl_convolution_direct, x,
                                                                d->w_any, y, d->stride, d->dilation,
                                                                d->pad_low, d->pad_high, hint, cpu->attr);
}

static dnnl_status_t dw_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, const conv_dims *d,
                           const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t y,
                           const_dnnl_memory_desc_t bias, const_dnnl_primitive_desc_t hint) {
    const graft_cpu *cpu = graft_lower_device(l);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, cpu->engine, dnnl_convolution_direct, x, d->dw_any, bias, y, d->stride, d->dilation, d->pad_low,
        d->pad_high, hint, cpu->attr);
}

/* A kernel that oneDNN falls back on when it has none for a layout. */
static bool is_slow(const_dnnl_primitive_desc_t pd) {
    const char *impl = NULL;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&impl);
    return !impl || strncmp(impl, "ref", 3) == 0 || strncmp(impl, "gemm", 4) == 0;
}

/* Whether forward and input gradient have fast kernels for these layouts too. */
static bool suits_all(graft_lowering *l, const conv_dims *d, const_dnnl_memory_desc_t x,
                      const_dnnl_memory_desc_t y) {
    const graft_cpu *cpu = graft_lower_device(l);
    dnnl_primitive_desc_t forward = NULL, back = NULL;
    bool suits = forward_pd(&forward, l, d, x, y, NULL, cpu->attr) == dnnl_success && !is_slow(forward);
    suits = suits && dx_pd(&back, l, d, x, y, forward) == dnnl_success && !is_slow(back);
    if (forward) dnnl_primitive_desc_destroy(forward);
    if (back) dnnl_primitive_desc_destroy(back);
    return suits;
}

/* Training: the layouts that the weight gradient would choose. */
static int agree(graft_lowering *l, conv_dims *d, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    int rc = 0;
    if (forward_pd(&hint, l, d, d->x_any, d->y_any, NULL, cpu->attr) == dnnl_success &&
        dw_pd(&pd, l, d, d->x_any, d->y_any, NULL, hint) == dnnl_success) {
        const_dnnl_memory_desc_t x = graft_cpu_query(pd, dnnl_query_src_md, 0);
        const_dnnl_memory_desc_t y = graft_cpu_query(pd, dnnl_query_diff_dst_md, 0);
        rc = graft_cpu_md_clone(&d->home, graft_lower_arena(l),
                                graft_cpu_query(pd, dnnl_query_diff_weights_md, 0), err);
        if (rc == 0 && suits_all(l, d, x, y)) {
            rc = graft_cpu_md_clone(&d->x_md, graft_lower_arena(l), x, err);
            if (rc == 0) rc = graft_cpu_md_clone(&d->y_md, graft_lower_arena(l), y, err);
        }
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (pd) dnnl_primitive_desc_destroy(pd);
    return rc;
}

static int dims_of(conv_dims *d, graft_lowering *l, const graft_conv_attr *a, graft_value x, graft_value w,
                   graft_value y, graft_err *err) {
    graft_arena *arena = graft_lower_arena(l);
    *d = (conv_dims){.dtype = graft_cpu_compute_dtype(l, x, y),
                     .x = *graft_lower_shape(l, x),
                     .y = *graft_lower_shape(l, y),
                     .w = *graft_lower_shape(l, w),
                     .training =
                         graft_lower_has(l, &graft_op_conv2d_dw) || graft_lower_has(l, &graft_op_conv2d_dx)};
    for (int i = 0; i < 2; i++) {
        int64_t kernel = (d->w.dims[2 + i] - 1) * a->dilation[i] + 1;
        d->stride[i] = a->stride[i];
        d->dilation[i] = a->dilation[i] - 1; /* oneDNN counts the gaps */
        d->pad_low[i] = a->pad[i];
        d->pad_high[i] = (d->y.dims[2 + i] - 1) * a->stride[i] + kernel - d->x.dims[2 + i] - a->pad[i];
    }
    if (a->groups > 1) {
        d->w =
            (graft_shape){5, {a->groups, d->w.dims[0] / a->groups, d->w.dims[1], d->w.dims[2], d->w.dims[3]}};
    }
    int rc = graft_cpu_md(&d->x_any, arena, d->dtype, &d->x, true, err);
    if (rc == 0) rc = graft_cpu_md(&d->y_any, arena, d->dtype, &d->y, true, err);
    if (rc == 0) rc = graft_cpu_md(&d->w_any, arena, d->dtype, &d->w, true, err);
    if (rc == 0) rc = graft_cpu_md(&d->dw_any, arena, GRAFT_F32, &d->w, true, err);
    d->x_md = d->x_any;
    d->y_md = d->y_any;
    return rc == 0 && d->training ? agree(l, d, err) : rc;
}

static int bias_md(dnnl_memory_desc_t *out, graft_lowering *l, graft_value b, graft_err *err) {
    return graft_cpu_md(out, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, b), false, err);
}

/* ---- Forward ----------------------------------------------------------------------------------------------- */

/* The residual becomes the place of the result: taken over when nothing reads it again, else copied. */
static int place_residual(graft_lowering *l, const graft_node *n, const_dnnl_memory_desc_t md,
                          graft_dtype dtype, graft_buffer *out, graft_err *err) {
    graft_buffer r;
    int rc = graft_cpu_want(l, n->in[3], md, dtype, &r, err);
    return rc < 0 ? rc : graft_cpu_take_over(l, n, 0, r, md, dtype, out, err);
}

int graft_cpu_conv2d(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_conv_attr *a = n->attr;
    graft_value x = n->in[0], w = n->in[1], b = n->in[2], residual = n->in[3], y = n->out[0];
    conv_dims d;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_desc_t bm = NULL;
    graft_buffer xb, wb, bb = GRAFT_NONE, yb;
    int rc = dims_of(&d, l, a, x, w, y, err);
    if (rc == 0 && b != GRAFT_NONE) rc = bias_md(&bm, l, b, err);
    graft_cpu_joined joined = {.sum = residual != GRAFT_NONE,
                               .act = a->relu ? GRAFT_ACT_RELU : GRAFT_ACT_NONE};
    if (rc == 0) rc = graft_cpu_attr(&attr, joined, err);
    if (rc == 0)
        rc = graft_cpu_status(forward_pd(&pd, l, &d, d.x_md, d.y_md, bm, attr), "a convolution", err);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t xm = graft_cpu_query(pd, dnnl_query_src_md, 0);
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0);
    const_dnnl_memory_desc_t ym = graft_cpu_query(pd, dnnl_query_dst_md, 0);
    if (d.home) {
        graft_layout home = graft_cpu_layout(d.home, GRAFT_F32);
        if ((rc = graft_lower_home(l, w, &home, err)) < 0) goto fail;
    }
    if ((rc = graft_cpu_want(l, x, xm, d.dtype, &xb, err)) < 0) goto fail;
    if ((rc = graft_cpu_want(l, w, wm, d.dtype, &wb, err)) < 0) goto fail;
    if (b != GRAFT_NONE && (rc = graft_cpu_want(l, b, bm, GRAFT_F32, &bb, err)) < 0) goto fail;
    rc = residual == GRAFT_NONE ? graft_cpu_new(l, y, ym, d.dtype, &yb, err)
                                : place_residual(l, n, ym, d.dtype, &yb, err);
    if (rc < 0) goto fail;
    graft_cpu_arg args[] = {
        {DNNL_ARG_SRC, xb, xm}, {DNNL_ARG_WEIGHTS, wb, wm}, {DNNL_ARG_BIAS, bb, bm}, {DNNL_ARG_DST, yb, ym}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
fail:
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

/* ---- Backward ---------------------------------------------------------------------------------------------- */

/* The gradients' descriptors ask for a forward one as a hint. */
static int make_hint(dnnl_primitive_desc_t *hint, graft_lowering *l, const conv_dims *d,
                     const_dnnl_memory_desc_t bias, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    return graft_cpu_status(forward_pd(hint, l, d, d->x_md, d->y_md, bias, cpu->attr), "a convolution", err);
}

int graft_cpu_conv2d_dx(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_value dy = n->in[0], w = n->in[1], dx = n->out[0];
    conv_dims d;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    graft_buffer dyb, wb, dxb;
    int rc = dims_of(&d, l, n->attr, dx, w, dy, err);
    if (rc == 0) rc = make_hint(&hint, l, &d, NULL, err);
    if (rc == 0)
        rc = graft_cpu_status(dx_pd(&pd, l, &d, d.x_md, d.y_md, hint), "a convolution's input gradient", err);
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t dym = graft_cpu_query(pd, dnnl_query_diff_dst_md, 0);
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0);
    const_dnnl_memory_desc_t dxm = graft_cpu_query(pd, dnnl_query_diff_src_md, 0);
    if ((rc = graft_cpu_want(l, dy, dym, d.dtype, &dyb, err)) < 0 ||
        (rc = graft_cpu_want(l, w, wm, d.dtype, &wb, err)) < 0 ||
        (rc = graft_cpu_new(l, dx, dxm, d.dtype, &dxb, err)) < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {
        {DNNL_ARG_DIFF_DST, dyb, dym}, {DNNL_ARG_WEIGHTS, wb, wm}, {DNNL_ARG_DIFF_SRC, dxb, dxm}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

int graft_cpu_conv2d_dw(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_value x = n->in[0], dy = n->in[1], dw = n->out[0], db = n->out[1];
    bool has_db = graft_lower_is_used(l, db);
    conv_dims d;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_memory_desc_t dbm = NULL;
    graft_buffer xb, dyb, dwb, dbb = GRAFT_NONE;
    int rc = dims_of(&d, l, n->attr, x, dw, dy, err);
    if (rc == 0 && has_db) rc = bias_md(&dbm, l, db, err);
    if (rc == 0) rc = make_hint(&hint, l, &d, dbm, err);
    if (rc == 0)
        rc = graft_cpu_status(dw_pd(&pd, l, &d, d.x_md, d.y_md, dbm, hint), "a convolution's weight gradient",
                              err);
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t xm = graft_cpu_query(pd, dnnl_query_src_md, 0);
    const_dnnl_memory_desc_t dym = graft_cpu_query(pd, dnnl_query_diff_dst_md, 0);
    const_dnnl_memory_desc_t dwm = graft_cpu_query(pd, dnnl_query_diff_weights_md, 0);
    if ((rc = graft_cpu_want(l, x, xm, d.dtype, &xb, err)) < 0 ||
        (rc = graft_cpu_want(l, dy, dym, d.dtype, &dyb, err)) < 0 ||
        (rc = graft_cpu_new(l, dw, dwm, GRAFT_F32, &dwb, err)) < 0 ||
        (has_db && (rc = graft_cpu_new(l, db, dbm, GRAFT_F32, &dbb, err)) < 0)) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xm},
                            {DNNL_ARG_DIFF_DST, dyb, dym},
                            {DNNL_ARG_DIFF_WEIGHTS, dwb, dwm},
                            {DNNL_ARG_DIFF_BIAS, dbb, dbm}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}
