/* Convolution by oneDNN: forward (with bias, residual and relu joined), gradient of the input, of the
 * weights. The primitive chooses all layouts; weights are packed once when frozen, else reordered from their
 * home in a step. */
#include "backend/cpu/cpu.h"

typedef struct conv_dims {
    dnnl_dims_t stride, dilation, pad_low, pad_high;
    graft_shape w; /* with the groups as first dim when there are several */
    graft_dtype dtype;
} conv_dims;

static graft_dtype compute_dtype(const graft_lowering *l, graft_value a, graft_value b) {
    return graft_lower_dtype(l, a) == GRAFT_BF16 || graft_lower_dtype(l, b) == GRAFT_BF16 ? GRAFT_BF16
                                                                                          : GRAFT_F32;
}

static conv_dims dims_of(const graft_lowering *l, const graft_conv_attr *a, graft_value x, graft_value w,
                         graft_value y) {
    conv_dims d = {.dtype = compute_dtype(l, x, y), .w = *graft_lower_shape(l, w)};
    const graft_shape *xs = graft_lower_shape(l, x), *ys = graft_lower_shape(l, y);
    for (int i = 0; i < 2; i++) {
        int64_t kernel = (d.w.dims[2 + i] - 1) * a->dilation[i] + 1;
        d.stride[i] = a->stride[i];
        d.dilation[i] = a->dilation[i] - 1; /* oneDNN counts the gaps */
        d.pad_low[i] = a->pad[i];
        d.pad_high[i] = (ys->dims[2 + i] - 1) * a->stride[i] + kernel - xs->dims[2 + i] - a->pad[i];
    }
    if (a->groups > 1) {
        d.w = (graft_shape){5, {a->groups, d.w.dims[0] / a->groups, d.w.dims[1], d.w.dims[2], d.w.dims[3]}};
    }
    return d;
}

/* Attributes with the joined steps: sum into the residual, then relu. */
static int make_attr(dnnl_primitive_attr_t *out, bool sum, bool relu, graft_err *err) {
    dnnl_post_ops_t ops = NULL;
    int rc = graft_cpu_status(dnnl_primitive_attr_create(out), "attributes", err);
    if (rc < 0) return rc;
    dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    rc = graft_cpu_status(dnnl_post_ops_create(&ops), "post-ops", err);
    if (rc < 0) return rc;
    if (sum) dnnl_post_ops_append_sum(ops, 1.0F, 0, dnnl_data_type_undef);
    if (relu) dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0F, 0.0F);
    rc = graft_cpu_status(dnnl_primitive_attr_set_post_ops(*out, ops), "post-ops", err);
    dnnl_post_ops_destroy(ops);
    return rc;
}

static int forward_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, const conv_dims *d, graft_value x,
                      graft_value b, graft_value y, const_dnnl_primitive_attr_t attr, bool training,
                      graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_arena *arena = graft_lower_arena(l);
    dnnl_memory_desc_t xm, wm, bm = NULL, ym;
    int rc = graft_cpu_md(&xm, arena, d->dtype, graft_lower_shape(l, x), true, err);
    if (rc == 0) rc = graft_cpu_md(&wm, arena, d->dtype, &d->w, true, err);
    if (rc == 0)
        rc = graft_cpu_md(&ym, arena, graft_lower_dtype(l, y) == GRAFT_BF16 ? GRAFT_BF16 : d->dtype,
                          graft_lower_shape(l, y), true, err);
    if (rc == 0 && b != GRAFT_NONE)
        rc = graft_cpu_md(&bm, arena, GRAFT_F32, graft_lower_shape(l, b), false, err);
    if (rc < 0) return rc;
    return graft_cpu_status(dnnl_convolution_forward_primitive_desc_create(
                                pd, cpu->engine, training ? dnnl_forward_training : dnnl_forward_inference,
                                dnnl_convolution_direct, xm, wm, bm, ym, d->stride, d->dilation, d->pad_low,
                                d->pad_high, attr),
                            "a convolution", err);
}

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
    conv_dims d = dims_of(l, a, x, w, y);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, wb, bb = GRAFT_NONE, yb;
    int rc = make_attr(&attr, residual != GRAFT_NONE, a->relu != 0, err);
    if (rc == 0) rc = forward_pd(&pd, l, &d, x, b, y, attr, false, err);
    dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t xm = graft_cpu_query(pd, dnnl_query_src_md, 0);
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0);
    const_dnnl_memory_desc_t bm = graft_cpu_query(pd, dnnl_query_weights_md, 1);
    const_dnnl_memory_desc_t ym = graft_cpu_query(pd, dnnl_query_dst_md, 0);
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

int graft_cpu_conv2d_dx(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value dy = n->in[0], w = n->in[1], dx = n->out[0];
    conv_dims d = dims_of(l, n->attr, dx, w, dy);
    graft_arena *arena = graft_lower_arena(l);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_memory_desc_t dxa, wa, dya;
    graft_buffer dyb, wb, dxb;
    int rc = forward_pd(&hint, l, &d, dx, GRAFT_NONE, dy, cpu->attr, true, err);
    if (rc == 0) rc = graft_cpu_md(&dxa, arena, d.dtype, graft_lower_shape(l, dx), true, err);
    if (rc == 0) rc = graft_cpu_md(&wa, arena, d.dtype, &d.w, true, err);
    if (rc == 0) rc = graft_cpu_md(&dya, arena, d.dtype, graft_lower_shape(l, dy), true, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_convolution_backward_data_primitive_desc_create(
                                  &pd, cpu->engine, dnnl_convolution_direct, dxa, wa, dya, d.stride,
                                  d.dilation, d.pad_low, d.pad_high, hint, cpu->attr),
                              "a convolution's input gradient", err);
    }
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
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value x = n->in[0], dy = n->in[1], dw = n->out[0], db = n->out[1];
    bool has_db = graft_lower_is_used(l, db);
    conv_dims d = dims_of(l, n->attr, x, dw, dy);
    graft_arena *arena = graft_lower_arena(l);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_memory_desc_t xa, dwa, dba = NULL, dya;
    graft_buffer xb, dyb, dwb, dbb = GRAFT_NONE;
    int rc = forward_pd(&hint, l, &d, x, has_db ? db : GRAFT_NONE, dy, cpu->attr, true, err);
    if (rc == 0) rc = graft_cpu_md(&xa, arena, d.dtype, graft_lower_shape(l, x), true, err);
    if (rc == 0) rc = graft_cpu_md(&dwa, arena, GRAFT_F32, &d.w, true, err);
    if (rc == 0) rc = graft_cpu_md(&dya, arena, d.dtype, graft_lower_shape(l, dy), true, err);
    if (rc == 0 && has_db) rc = graft_cpu_md(&dba, arena, GRAFT_F32, graft_lower_shape(l, db), false, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_convolution_backward_weights_primitive_desc_create(
                                  &pd, cpu->engine, dnnl_convolution_direct, xa, dwa, dba, dya, d.stride,
                                  d.dilation, d.pad_low, d.pad_high, hint, cpu->attr),
                              "a convolution's weight gradient", err);
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t xm = graft_cpu_query(pd, dnnl_query_src_md, 0);
    const_dnnl_memory_desc_t dym = graft_cpu_query(pd, dnnl_query_diff_dst_md, 0);
    const_dnnl_memory_desc_t dwm = graft_cpu_query(pd, dnnl_query_diff_weights_md, 0);
    const_dnnl_memory_desc_t dbm = graft_cpu_query(pd, dnnl_query_diff_weights_md, 1);
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
