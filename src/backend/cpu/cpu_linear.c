/* Linear layers as oneDNN inner products; x and y stay in C order, weights in the layout that forward likes.
 */
#include "backend/cpu/cpu.h"

/* x (N,I), w (O,I), y (N,O); y in `y_dtype`. */
static int forward_pd(dnnl_primitive_desc_t *pd, graft_lowering *l, graft_dtype dtype, graft_dtype y_dtype,
                      const graft_shape *x, const graft_shape *w, const graft_shape *y, bool bias,
                      const_dnnl_primitive_attr_t attr, bool training, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_arena *arena = graft_lower_arena(l);
    graft_shape bias_shape = {1, {w->dims[0]}};
    dnnl_memory_desc_t xm, wm, bm = NULL, ym;
    int rc = graft_cpu_md(&xm, arena, dtype, x, false, err);
    if (rc == 0) rc = graft_cpu_md(&wm, arena, dtype, w, true, err);
    if (rc == 0) rc = graft_cpu_md(&ym, arena, y_dtype, y, false, err);
    if (rc == 0 && bias) rc = graft_cpu_md(&bm, arena, GRAFT_F32, &bias_shape, false, err);
    if (rc < 0) return rc;
    return graft_cpu_status(
        dnnl_inner_product_forward_primitive_desc_create(
            pd, cpu->engine, training ? dnnl_forward_training : dnnl_forward_inference, xm, wm, bm, ym, attr),
        "a linear layer", err);
}

/* Weights as the file has them, (I,O), are the same numbers with the axes exchanged. */
static int turned(const_dnnl_memory_desc_t *md, graft_lowering *l, const graft_linear_attr *a,
                  graft_err *err) {
    const int axes[] = {1, 0};
    dnnl_memory_desc_t made = NULL;
    if (!a->in_out) return 0;
    int rc = graft_cpu_md_permute(&made, graft_lower_arena(l), *md, axes, err);
    *md = made;
    return rc;
}

/* w's shape as (O,I). */
static graft_shape weight_shape(const graft_lowering *l, const graft_linear_attr *a, graft_value w) {
    const graft_shape *s = graft_lower_shape(l, w);
    return a->in_out ? (graft_shape){2, {s->dims[1], s->dims[0]}} : *s;
}

/* The residual becomes the place of the result: taken over when nothing reads it again, else copied. */
static int place_result(graft_lowering *l, const graft_node *n, const_dnnl_memory_desc_t md,
                        graft_dtype dtype, graft_buffer *out, graft_err *err) {
    graft_buffer residual;
    if (n->in[3] == GRAFT_NONE) return graft_cpu_new(l, n->out[0], md, dtype, out, err);
    int rc = graft_cpu_want(l, n->in[3], md, dtype, &residual, err);
    return rc < 0 ? rc : graft_cpu_take_over(l, n, 0, residual, md, dtype, out, err);
}

int graft_cpu_linear(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_linear_attr *a = n->attr;
    graft_value x = n->in[0], w = n->in[1], b = n->in[2], y = n->out[0];
    graft_dtype dtype = graft_cpu_compute_dtype(l, x, y), y_dtype = graft_lower_dtype(l, y);
    graft_shape ws = weight_shape(l, a, w);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, wb, bb = GRAFT_NONE, yb;
    int rc = graft_cpu_attr(&attr, n->in[3] != GRAFT_NONE, a->act, err);
    if (rc == 0) {
        rc = forward_pd(&pd, l, dtype, y_dtype, graft_lower_shape(l, x), &ws, graft_lower_shape(l, y),
                        b != GRAFT_NONE, attr, false, err);
    }
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t xm = graft_cpu_query(pd, dnnl_query_src_md, 0);
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0), stored = wm;
    const_dnnl_memory_desc_t bm = graft_cpu_query(pd, dnnl_query_weights_md, 1);
    const_dnnl_memory_desc_t ym = graft_cpu_query(pd, dnnl_query_dst_md, 0);
    if ((rc = graft_cpu_want(l, x, xm, dtype, &xb, err)) < 0 || (rc = turned(&stored, l, a, err)) < 0 ||
        (rc = graft_cpu_want(l, w, stored, dtype, &wb, err)) < 0 ||
        (b != GRAFT_NONE && (rc = graft_cpu_want(l, b, bm, GRAFT_F32, &bb, err)) < 0) ||
        (rc = place_result(l, n, ym, y_dtype, &yb, err)) < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {
        {DNNL_ARG_SRC, xb, xm}, {DNNL_ARG_WEIGHTS, wb, wm}, {DNNL_ARG_BIAS, bb, bm}, {DNNL_ARG_DST, yb, ym}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

int graft_cpu_linear_dx(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value dy = n->in[0], w = n->in[1], dx = n->out[0];
    graft_dtype dtype = graft_cpu_compute_dtype(l, dy, dx);
    graft_arena *arena = graft_lower_arena(l);
    const graft_linear_attr *a = n->attr;
    const graft_shape *dxs = graft_lower_shape(l, dx), *dys = graft_lower_shape(l, dy);
    graft_shape ws = weight_shape(l, a, w);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_memory_desc_t dxa, wa, dya;
    graft_buffer dyb, wb, dxb;
    int rc = forward_pd(&hint, l, dtype, dtype, dxs, &ws, dys, false, cpu->attr, true, err);
    if (rc == 0) rc = graft_cpu_md(&dxa, arena, dtype, dxs, false, err);
    if (rc == 0) rc = graft_cpu_md(&wa, arena, dtype, &ws, true, err);
    if (rc == 0) rc = graft_cpu_md(&dya, arena, dtype, dys, false, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_inner_product_backward_data_primitive_desc_create(
                                  &pd, cpu->engine, dxa, wa, dya, hint, cpu->attr),
                              "a linear layer's input gradient", err);
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0), stored = wm;
    if ((rc = graft_cpu_want(l, dy, dya, dtype, &dyb, err)) < 0 || (rc = turned(&stored, l, a, err)) < 0 ||
        (rc = graft_cpu_want(l, w, stored, dtype, &wb, err)) < 0 ||
        (rc = graft_cpu_new(l, dx, dxa, dtype, &dxb, err)) < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {
        {DNNL_ARG_DIFF_DST, dyb, dya}, {DNNL_ARG_WEIGHTS, wb, wm}, {DNNL_ARG_DIFF_SRC, dxb, dxa}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

int graft_cpu_linear_dw(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    graft_value x = n->in[0], dy = n->in[1], dw = n->out[0], db = n->out[1];
    graft_dtype dtype = graft_cpu_compute_dtype(l, x, dy);
    graft_arena *arena = graft_lower_arena(l);
    const graft_linear_attr *a = n->attr;
    bool has_db = graft_lower_is_used(l, db);
    const graft_shape *xs = graft_lower_shape(l, x), *dys = graft_lower_shape(l, dy);
    graft_shape ws = weight_shape(l, a, dw);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    dnnl_memory_desc_t xa, dwa, dba = NULL, dya;
    graft_buffer xb, dyb, dwb, dbb = GRAFT_NONE;
    int rc = forward_pd(&hint, l, dtype, dtype, xs, &ws, dys, has_db, cpu->attr, true, err);
    if (rc == 0) rc = graft_cpu_md(&xa, arena, dtype, xs, false, err);
    if (rc == 0) rc = graft_cpu_md(&dwa, arena, GRAFT_F32, &ws, true, err);
    if (rc == 0) rc = graft_cpu_md(&dya, arena, dtype, dys, false, err);
    if (rc == 0 && has_db) rc = graft_cpu_md(&dba, arena, GRAFT_F32, graft_lower_shape(l, db), false, err);
    if (rc == 0) {
        rc = graft_cpu_status(dnnl_inner_product_backward_weights_primitive_desc_create(
                                  &pd, cpu->engine, xa, dwa, dba, dya, hint, cpu->attr),
                              "a linear layer's weight gradient", err);
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t dwm = graft_cpu_query(pd, dnnl_query_diff_weights_md, 0), stored = dwm;
    if ((rc = graft_cpu_want(l, x, xa, dtype, &xb, err)) < 0 || (rc = turned(&stored, l, a, err)) < 0 ||
        (rc = graft_cpu_want(l, dy, dya, dtype, &dyb, err)) < 0 ||
        (rc = graft_cpu_new(l, dw, stored, GRAFT_F32, &dwb, err)) < 0 ||
        (has_db && (rc = graft_cpu_new(l, db, dba, GRAFT_F32, &dbb, err)) < 0)) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xa},
                            {DNNL_ARG_DIFF_DST, dyb, dya},
                            {DNNL_ARG_DIFF_WEIGHTS, dwb, dwm},
                            {DNNL_ARG_DIFF_BIAS, dbb, dba}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}
