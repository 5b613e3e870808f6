/* Batch norm with given statistics by oneDNN, in the layout that the convolution before it chose; running
 * statistics. These stay float32. */
#include "backend/cpu/cpu.h"

static int forward_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, const_dnnl_memory_desc_t xm, double eps,
                      dnnl_prop_kind_t kind, unsigned flags, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    return graft_cpu_status(dnnl_batch_normalization_forward_primitive_desc_create(
                                pd, cpu->engine, kind, xm, xm, (float)eps, flags, cpu->attr),
                            "a batch norm", err);
}

/* Parameters and statistics are vectors of C float32. */
static int want_vectors(graft_lowering *l, const graft_value *v, size_t n, graft_buffer *out,
                        graft_err *err) {
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) rc = graft_cpu_want_plain(l, v[i], &out[i], err);
    return rc;
}

static int vector_md(dnnl_memory_desc_t *out, graft_lowering *l, graft_value v, graft_err *err) {
    return graft_cpu_md(out, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, v), false, err);
}

int graft_cpu_batch_norm(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_norm_attr *a = n->attr;
    graft_value x = n->in[0], y = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, y);
    unsigned flags =
        dnnl_use_global_stats | dnnl_use_scale | dnnl_use_shift | (a->relu ? dnnl_fuse_norm_relu : 0U);
    const_dnnl_memory_desc_t xm;
    dnnl_memory_desc_t vm;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, yb, v[4];
    int rc = graft_cpu_md_as_is(&xm, l, x, dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, x, xm, dtype, &xb, err);
    if (rc == 0) rc = want_vectors(l, n->in + 1, 4, v, err);
    if (rc == 0) rc = vector_md(&vm, l, n->in[1], err);
    if (rc == 0) rc = forward_pd(&pd, l, xm, a->eps, dnnl_forward_inference, flags, err);
    if (rc < 0) return rc;
    rc = graft_cpu_take(l, n, 0, xb, xm, dtype, &yb, err);
    if (rc < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xm},        {DNNL_ARG_SCALE, v[0], vm},
                            {DNNL_ARG_SHIFT, v[1], vm},    {DNNL_ARG_MEAN, v[2], vm},
                            {DNNL_ARG_VARIANCE, v[3], vm}, {DNNL_ARG_DST, yb, xm}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

/* dx, dgamma, dbeta from x, dy, gamma, beta, mean, variance. */
int graft_cpu_batch_norm_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    const graft_norm_attr *a = n->attr;
    graft_value x = n->in[0], dy = n->in[1], dx = n->out[0];
    bool weights = graft_lower_is_used(l, n->out[1]) || graft_lower_is_used(l, n->out[2]);
    unsigned flags = dnnl_use_global_stats | dnnl_use_scale | (weights ? dnnl_use_shift : 0U);
    graft_dtype dtype = graft_cpu_compute_dtype(l, dy, dx);
    const_dnnl_memory_desc_t xm;
    dnnl_memory_desc_t vm;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    graft_buffer xb, dyb, dxb, v[4], dscale = GRAFT_NONE, dshift = GRAFT_NONE;
    int rc = graft_cpu_md_as_is(&xm, l, x, dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, x, xm, dtype, &xb, err);
    if (rc == 0) rc = graft_cpu_want(l, dy, xm, dtype, &dyb, err);
    if (rc == 0) rc = want_vectors(l, n->in + 2, 4, v, err);
    if (rc == 0) rc = vector_md(&vm, l, n->in[2], err);
    if (rc == 0) rc = forward_pd(&hint, l, xm, a->eps, dnnl_forward_training, flags, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_batch_normalization_backward_primitive_desc_create(
                                  &pd, cpu->engine, weights ? dnnl_backward : dnnl_backward_data, xm, xm, xm,
                                  (float)a->eps, flags, hint, cpu->attr),
                              "a batch norm's gradient", err);
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    rc = graft_cpu_take(l, n, 0, dyb, xm, dtype, &dxb, err);
    /* oneDNN wants a place for the scale's gradient even where it computes dx alone */
    if (rc == 0) rc = graft_cpu_new(l, n->out[1], vm, GRAFT_F32, &dscale, err);
    if (rc == 0 && weights) rc = graft_cpu_new(l, n->out[2], vm, GRAFT_F32, &dshift, err);
    if (rc < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xm},
                            {DNNL_ARG_DIFF_DST, dyb, xm},
                            {DNNL_ARG_SCALE, v[0], vm},
                            {DNNL_ARG_MEAN, v[2], vm},
                            {DNNL_ARG_VARIANCE, v[3], vm},
                            {DNNL_ARG_DIFF_SRC, dxb, xm},
                            {DNNL_ARG_DIFF_SCALE, dscale, vm},
                            {DNNL_ARG_DIFF_SHIFT, dshift, vm}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

/* ---- Running statistics ------------------------------------------------------------------------------------- */

typedef struct running_attr {
    double momentum, factor; /* factor: n / (n - 1) of a variance, else 1 */
    int64_t count;
} running_attr;

/* buffers: running, batch, result */
static int run_running(void *self) {
    const graft_cpu_own *own = self;
    const running_attr *a = own->attr;
    const float *running = own->data[0], *batch = own->data[1];
    float *out = own->data[2];
    for (int64_t c = 0; c < a->count; c++)
        out[c] =
            (float)((1.0 - a->momentum) * (double)running[c] + a->momentum * a->factor * (double)batch[c]);
    return 0;
}

int graft_cpu_running_update(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_running_attr *attr = n->attr;
    const graft_shape *x = graft_lower_shape(l, n->in[2]), *c = graft_lower_shape(l, n->in[0]);
    int64_t values = 1;
    graft_shape_count(x, &values);
    values /= c->dims[0];
    running_attr a = {.momentum = attr->momentum, .factor = 1.0, .count = c->dims[0]};
    if (attr->is_variance && values > 1) a.factor = (double)values / (double)(values - 1);
    graft_cpu_own own = {.n_buffers = 3, .attr = &a};
    dnnl_memory_desc_t md;
    int rc = vector_md(&md, l, n->in[0], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[0], &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[1], &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_take(l, n, 0, own.buffers[0], md, GRAFT_F32, &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "running_update", run_running, own, sizeof a, err);
}
