/* Pooling by oneDNN. The index of max pooling is oneDNN's workspace, read by its gradient alone. */
#include "backend/cpu/cpu.h"

typedef struct pool_dims {
    dnnl_dims_t kernel, stride, dilation, pad_low, pad_high;
    dnnl_alg_kind_t algorithm;
} pool_dims;

static pool_dims dims_of(const graft_pool_attr *a, const graft_shape *x, const graft_shape *y,
                         dnnl_alg_kind_t algorithm) {
    pool_dims d = {.algorithm = algorithm};
    for (int i = 0; i < 2; i++) {
        d.kernel[i] = a->kernel[i];
        d.stride[i] = a->stride[i];
        d.pad_low[i] = a->pad[i];
        d.pad_high[i] = (y->dims[2 + i] - 1) * a->stride[i] + a->kernel[i] - x->dims[2 + i] - a->pad[i];
    }
    return d;
}

static pool_dims global_dims(const graft_shape *x) {
    pool_dims d = {.algorithm = dnnl_pooling_avg_exclude_padding};
    for (int i = 0; i < 2; i++) {
        d.kernel[i] = x->dims[2 + i];
        d.stride[i] = 1;
    }
    return d;
}

static int forward_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, const pool_dims *d,
                      const_dnnl_memory_desc_t xm, graft_dtype dtype, const graft_shape *y, bool training,
                      graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    dnnl_memory_desc_t ym;
    int rc = graft_cpu_md(&ym, graft_lower_arena(l), dtype, y, true, err);
    if (rc < 0) return rc;
    return graft_cpu_status(dnnl_pooling_forward_primitive_desc_create(
                                pd, cpu->engine, training ? dnnl_forward_training : dnnl_forward_inference,
                                d->algorithm, xm, ym, d->stride, d->kernel, d->dilation, d->pad_low,
                                d->pad_high, cpu->attr),
                            "a pooling", err);
}

static int pool_forward(graft_lowering *l, const graft_node *n, dnnl_alg_kind_t algorithm, graft_err *err) {
    graft_value x = n->in[0], y = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, y);
    pool_dims d = dims_of(n->attr, graft_lower_shape(l, x), graft_lower_shape(l, y), algorithm);
    bool indexed = n->n_out > 1 && graft_lower_is_used(l, n->out[1]);
    const_dnnl_memory_desc_t xm;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, yb, wb = GRAFT_NONE;
    int rc = graft_cpu_md_as_is(&xm, l, x, dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, x, xm, dtype, &xb, err);
    if (rc == 0) rc = forward_pd(&pd, l, &d, xm, dtype, graft_lower_shape(l, y), indexed, err);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t ym = graft_cpu_query(pd, dnnl_query_dst_md, 0);
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_workspace_md, 0);
    rc = graft_cpu_new(l, y, ym, dtype, &yb, err);
    if (rc == 0 && indexed) rc = graft_cpu_new(l, n->out[1], wm, GRAFT_I32, &wb, err);
    if (rc < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xm}, {DNNL_ARG_DST, yb, ym}, {DNNL_ARG_WORKSPACE, wb, wm}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

int graft_cpu_max_pool2d(graft_lowering *l, const graft_node *n, graft_err *err) {
    return pool_forward(l, n, dnnl_pooling_max, err);
}

int graft_cpu_avg_pool2d(graft_lowering *l, const graft_node *n, graft_err *err) {
    return pool_forward(l, n, dnnl_pooling_avg_include_padding, err);
}

/* Gradient of the input. The forward descriptor is made again as the hint that oneDNN asks for; `y` is the
 * shape of dy as a picture. */
static int pool_backward(graft_lowering *l, graft_value dy, graft_value index, graft_value x, graft_value dx,
                         const pool_dims *d, const graft_shape *y, bool flat, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_dtype dtype = graft_lower_dtype(l, dx);
    const_dnnl_memory_desc_t xm;
    dnnl_memory_desc_t plain = NULL;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    graft_buffer dyb, wb = GRAFT_NONE, dxb;
    int rc = graft_cpu_md_as_is(&xm, l, x, dtype, err);
    if (rc == 0) rc = forward_pd(&hint, l, d, xm, dtype, y, true, err);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t ym = graft_cpu_query(hint, dnnl_query_dst_md, 0);
    if (flat &&
        dnnl_memory_desc_get_size(ym) != (size_t)(y->dims[0] * y->dims[1]) * graft_dtype_size(dtype)) {
        rc = graft_cpu_md(&plain, graft_lower_arena(l), dtype, y, false, err);
        ym = plain;
    }
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_pooling_backward_primitive_desc_create(
                                  &pd, cpu->engine, d->algorithm, xm, ym, d->stride, d->kernel, d->dilation,
                                  d->pad_low, d->pad_high, hint, cpu->attr),
                              "a pooling's gradient", err);
    }
    if (rc < 0) goto done;
    if (flat) {
        dnnl_memory_desc_t rows;
        rc = graft_cpu_md(&rows, graft_lower_arena(l), dtype, graft_lower_shape(l, dy), false, err);
        if (rc == 0) rc = graft_cpu_want(l, dy, rows, dtype, &dyb, err);
    } else {
        rc = graft_cpu_want(l, dy, ym, dtype, &dyb, err);
    }
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_workspace_md, 0);
    if (rc == 0 && index != GRAFT_NONE) rc = graft_cpu_want(l, index, wm, GRAFT_I32, &wb, err);
    if (rc == 0) rc = graft_cpu_new(l, dx, xm, dtype, &dxb, err);
    if (rc < 0) goto done;
    graft_cpu_arg args[] = {
        {DNNL_ARG_DIFF_DST, dyb, ym}, {DNNL_ARG_WORKSPACE, wb, wm}, {DNNL_ARG_DIFF_SRC, dxb, xm}};
    rc = graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
    pd = NULL;
done:
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (pd) dnnl_primitive_desc_destroy(pd);
    return rc;
}

int graft_cpu_max_pool2d_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *y = graft_lower_shape(l, n->in[0]);
    pool_dims d = dims_of(n->attr, graft_lower_shape(l, n->out[0]), y, dnnl_pooling_max);
    return pool_backward(l, n->in[0], n->in[1], n->in[2], n->out[0], &d, y, false, err);
}

int graft_cpu_avg_pool2d_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *y = graft_lower_shape(l, n->in[0]);
    pool_dims d = dims_of(n->attr, graft_lower_shape(l, n->out[0]), y, dnnl_pooling_avg_include_padding);
    return pool_backward(l, n->in[0], GRAFT_NONE, n->in[1], n->out[0], &d, y, false, err);
}

/* With one pixel a picture, every dense layout without padding holds (n, c) at n C + c: that is what the size
 * tells, and then the pooled picture is the (N,C) matrix as it lies. */
int graft_cpu_global_avg_pool(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_value x = n->in[0], y = n->out[0];
    const graft_shape *xs = graft_lower_shape(l, x);
    graft_shape picture = {4, {xs->dims[0], xs->dims[1], 1, 1}};
    graft_dtype dtype = graft_lower_dtype(l, x) == GRAFT_BF16 ? GRAFT_BF16 : GRAFT_F32;
    pool_dims d = global_dims(xs);
    const_dnnl_memory_desc_t xm;
    dnnl_memory_desc_t rows, plain;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, pooled, yb = 0;
    int rc = graft_cpu_md_as_is(&xm, l, x, dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, x, xm, dtype, &xb, err);
    if (rc == 0) rc = forward_pd(&pd, l, &d, xm, dtype, &picture, false, err);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t ym = graft_cpu_query(pd, dnnl_query_dst_md, 0);
    bool dense =
        dnnl_memory_desc_get_size(ym) == (size_t)(xs->dims[0] * xs->dims[1]) * graft_dtype_size(dtype);
    rc = graft_cpu_md(&rows, graft_lower_arena(l), dtype, graft_lower_shape(l, y), false, err);
    if (rc == 0) rc = graft_cpu_md(&plain, graft_lower_arena(l), dtype, &picture, false, err);
    if (rc == 0) rc = graft_cpu_new(l, y, rows, dtype, &yb, err);
    pooled = yb;
    if (rc == 0 && !dense) rc = graft_lower_scratch(l, dnnl_memory_desc_get_size(ym), &pooled, err);
    if (rc < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_layout from = {0}, to = graft_cpu_layout(plain, dtype);
    dnnl_memory_desc_t copy = NULL;
    if (!dense && (rc = graft_cpu_status(dnnl_memory_desc_clone(&copy, ym), "a memory descriptor", err)) < 0)
        return rc;
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xm}, {DNNL_ARG_DST, pooled, ym}};
    rc = graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
    if (rc == 0 && !dense) {
        from = graft_cpu_layout(copy, dtype);
        rc = graft_backend_cpu.reorder(l, pooled, &from, yb, &to, err);
    }
    if (copy) dnnl_memory_desc_destroy(copy);
    return rc;
}

int graft_cpu_global_avg_pool_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *xs = graft_lower_shape(l, n->out[0]);
    graft_shape picture = {4, {xs->dims[0], xs->dims[1], 1, 1}};
    pool_dims d = global_dims(xs);
    return pool_backward(l, n->in[0], GRAFT_NONE, n->in[1], n->out[0], &d, &picture, true, err);
}
