/* Elementwise ops by oneDNN, in whatever layout the first operand lies, in place where the op allows. */
#include "backend/cpu/cpu.h"

/* The first operand as it lies, in the dtype of the result. */
static int want_as_is(graft_lowering *l, graft_value x, graft_dtype dtype, const_dnnl_memory_desc_t *md,
                      graft_buffer *out, graft_err *err) {
    int rc = graft_cpu_md_as_is(md, l, x, dtype, err);
    return rc < 0 ? rc : graft_cpu_want(l, x, *md, dtype, out, err);
}

/* y = kind(x), with oneDNN's alpha. */
static int eltwise(graft_lowering *l, const graft_node *n, dnnl_alg_kind_t kind, float alpha,
                   const char *what, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value x = n->in[0], y = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, y);
    const_dnnl_memory_desc_t md;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, yb;
    int rc = want_as_is(l, x, dtype, &md, &xb, err);
    if (rc == 0) rc = graft_cpu_take(l, n, 0, xb, md, dtype, &yb, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_eltwise_forward_primitive_desc_create(&pd, cpu->engine,
                                                                         dnnl_forward_inference, kind, md, md,
                                                                         alpha, 0.0F, cpu->attr),
                              what, err);
    }
    if (rc < 0) return rc;
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, md}, {DNNL_ARG_DST, yb, md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

int graft_cpu_relu(graft_lowering *l, const graft_node *n, graft_err *err) {
    return eltwise(l, n, dnnl_eltwise_relu, 0.0F, "a relu", err);
}

int graft_cpu_scale(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_scale_attr *a = n->attr;
    return eltwise(l, n, dnnl_eltwise_linear, (float)a->factor, "a scaling", err);
}

int graft_cpu_relu_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value dy = n->in[0], y = n->in[1], dx = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, dx);
    const_dnnl_memory_desc_t md;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    graft_buffer yb, dyb, dxb;
    int rc = want_as_is(l, y, dtype, &md, &yb, err);
    if (rc == 0) rc = graft_cpu_want(l, dy, md, dtype, &dyb, err);
    if (rc == 0) rc = graft_cpu_take(l, n, 0, dyb, md, dtype, &dxb, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_eltwise_forward_primitive_desc_create(
                                  &hint, cpu->engine, dnnl_forward_training,
                                  dnnl_eltwise_relu_use_dst_for_bwd, md, md, 0.0F, 0.0F, cpu->attr),
                              "a relu", err);
    }
    if (rc == 0) {
        rc = graft_cpu_status(
            dnnl_eltwise_backward_primitive_desc_create(&pd, cpu->engine, dnnl_eltwise_relu_use_dst_for_bwd,
                                                        md, md, md, 0.0F, 0.0F, hint, cpu->attr),
            "a relu's gradient", err);
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    graft_cpu_arg args[] = {
        {DNNL_ARG_DST, yb, md}, {DNNL_ARG_DIFF_DST, dyb, md}, {DNNL_ARG_DIFF_SRC, dxb, md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

static int add(graft_lowering *l, const graft_node *n, int32_t act, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value a = n->in[0], b = n->in[1], y = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, y);
    const_dnnl_memory_desc_t md;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer ab, bb, yb;
    int rc = want_as_is(l, a, dtype, &md, &ab, err);
    if (rc == 0) rc = graft_cpu_want(l, b, md, dtype, &bb, err);
    if (rc == 0) rc = graft_cpu_take(l, n, 0, ab, md, dtype, &yb, err);
    if (rc == 0) rc = graft_cpu_attr(&attr, (graft_cpu_joined){.act = act}, err);
    if (rc == 0) {
        rc = graft_cpu_status(
            dnnl_binary_primitive_desc_create(&pd, cpu->engine, dnnl_binary_add, md, md, md, attr),
            "an addition", err);
    }
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    graft_cpu_arg args[] = {{DNNL_ARG_SRC_0, ab, md}, {DNNL_ARG_SRC_1, bb, md}, {DNNL_ARG_DST, yb, md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

int graft_cpu_add(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_add_attr *a = n->attr;
    return add(l, n, a->relu ? GRAFT_ACT_RELU : GRAFT_ACT_NONE, err);
}

int graft_cpu_sum_into(graft_lowering *l, const graft_node *n, graft_err *err) {
    return add(l, n, GRAFT_ACT_NONE, err);
}
