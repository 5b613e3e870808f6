/* A weight with a low-rank addition, and its gradient: small matrix products of oneDNN in C order. */
#include "backend/cpu/cpu.h"

/* The buffer of a value in C order as a matrix of so many rows and columns, or as its transpose. */
static int matrix(dnnl_memory_desc_t *out, graft_lowering *l, int64_t rows, int64_t columns, bool is_turned,
                  graft_err *err) {
    const int exchange[] = {1, 0};
    const graft_shape shape = {2, {rows, columns}};
    dnnl_memory_desc_t md;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), GRAFT_F32, &shape, false, err);
    if (rc == 0 && is_turned) return graft_cpu_md_permute(out, graft_lower_arena(l), md, exchange, err);
    *out = md;
    return rc;
}

/* Attributes of scale times a product, and `added` to that where it is not NULL. The caller destroys them,
 * after an error too. */
static int make_attr(dnnl_primitive_attr_t *out, double scale, const_dnnl_memory_desc_t added,
                     graft_err *err) {
    dnnl_post_ops_t ops = NULL;
    int rc = graft_cpu_status(dnnl_primitive_attr_create(out), "attributes", err);
    if (rc == 0) rc = graft_cpu_status(dnnl_post_ops_create(&ops), "post-ops", err);
    if (rc < 0) return rc;
    dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    rc = graft_cpu_status(dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_linear, (float)scale, 0.0F),
                          "post-ops", err);
    if (rc == 0 && added)
        rc = graft_cpu_status(dnnl_post_ops_append_binary(ops, dnnl_binary_add, added), "post-ops", err);
    if (rc == 0) rc = graft_cpu_status(dnnl_primitive_attr_set_post_ops(*out, ops), "post-ops", err);
    dnnl_post_ops_destroy(ops);
    return rc;
}

/* c = scale a b, plus what `added` holds where it is a buffer. */
static int emit_product(graft_lowering *l, double scale, graft_cpu_arg a, graft_cpu_arg b, graft_cpu_arg c,
                        graft_buffer added, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int rc = make_attr(&attr, scale, added == GRAFT_NONE ? NULL : c.md, err);
    if (rc == 0)
        rc = graft_cpu_status(
            dnnl_matmul_primitive_desc_create(&pd, cpu->engine, a.md, b.md, NULL, c.md, attr),
            "an adapter's product", err);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    graft_cpu_arg args[] = {a, b, c, {DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1, added, c.md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

/* O, R, K and the matrices that inputs 1 and 2 are. */
typedef struct parts {
    int64_t outs, r, ins;
    graft_buffer first, a, b; /* first: w, or its gradient */
} parts;

static int want_parts(parts *p, graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *w = graft_lower_shape(l, n->in[0]);
    *p = (parts){.outs = w->dims[0], .r = graft_lower_shape(l, n->in[1])->dims[0], .ins = 1};
    for (int d = 1; d < w->rank; d++) p->ins *= w->dims[d];
    int rc = graft_cpu_want_plain(l, n->in[0], &p->first, err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[1], &p->a, err);
    return rc < 0 ? rc : graft_cpu_want_plain(l, n->in[2], &p->b, err);
}

int graft_cpu_merged_weight(graft_lowering *l, const graft_node *n, graft_err *err) {
    const double scale = ((const graft_scale_attr *)n->attr)->factor;
    dnnl_memory_desc_t a, b, y;
    graft_buffer to;
    parts p;
    int rc = want_parts(&p, l, n, err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[0], &to, err);
    if (rc == 0) rc = matrix(&b, l, p.outs, p.r, false, err);
    if (rc == 0) rc = matrix(&a, l, p.r, p.ins, false, err);
    if (rc == 0) rc = matrix(&y, l, p.outs, p.ins, false, err);
    if (rc < 0) return rc;
    return emit_product(l, scale, (graft_cpu_arg){DNNL_ARG_SRC, p.b, b},
                        (graft_cpu_arg){DNNL_ARG_WEIGHTS, p.a, a}, (graft_cpu_arg){DNNL_ARG_DST, to, y},
                        p.first, err);
}

/* da (R,K) = scale b^T dy */
static int emit_da(graft_lowering *l, const graft_node *n, const parts *p, double scale, graft_err *err) {
    dnnl_memory_desc_t b, dy, da;
    graft_buffer to;
    int rc = graft_cpu_new_plain(l, n->out[0], &to, err);
    if (rc == 0) rc = matrix(&b, l, p->outs, p->r, true, err);
    if (rc == 0) rc = matrix(&dy, l, p->outs, p->ins, false, err);
    if (rc == 0) rc = matrix(&da, l, p->r, p->ins, false, err);
    if (rc < 0) return rc;
    return emit_product(l, scale, (graft_cpu_arg){DNNL_ARG_SRC, p->b, b},
                        (graft_cpu_arg){DNNL_ARG_WEIGHTS, p->first, dy},
                        (graft_cpu_arg){DNNL_ARG_DST, to, da}, GRAFT_NONE, err);
}

/* db (O,R) = scale dy a^T */
static int emit_db(graft_lowering *l, const graft_node *n, const parts *p, double scale, graft_err *err) {
    dnnl_memory_desc_t dy, a, db;
    graft_buffer to;
    int rc = graft_cpu_new_plain(l, n->out[1], &to, err);
    if (rc == 0) rc = matrix(&dy, l, p->outs, p->ins, false, err);
    if (rc == 0) rc = matrix(&a, l, p->r, p->ins, true, err);
    if (rc == 0) rc = matrix(&db, l, p->outs, p->r, false, err);
    if (rc < 0) return rc;
    return emit_product(l, scale, (graft_cpu_arg){DNNL_ARG_SRC, p->first, dy},
                        (graft_cpu_arg){DNNL_ARG_WEIGHTS, p->a, a}, (graft_cpu_arg){DNNL_ARG_DST, to, db},
                        GRAFT_NONE, err);
}

int graft_cpu_merged_weight_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const double scale = ((const graft_scale_attr *)n->attr)->factor;
    parts p;
    int rc = want_parts(&p, l, n, err);
    if (rc == 0 && graft_lower_is_used(l, n->out[0])) rc = emit_da(l, n, &p, scale, err);
    if (rc == 0 && graft_lower_is_used(l, n->out[1])) rc = emit_db(l, n, &p, scale, err);
    return rc;
}

/* ---- Rows times factors ----------------------------------------------------------------------------------- */

/* buffers: x, factor, y; as small as an adapter is, and so left to one thread */
static int run_scale_rows(void *self) {
    const graft_cpu_own *own = self;
    const size_t width = *(const size_t *)own->attr;
    const float *x = own->data[0], *factor = own->data[1];
    float *y = own->data[2];
    for (size_t o = 0; o < own->count / width; o++)
        for (size_t i = 0; i < width; i++) y[o * width + i] = factor[o] * x[o * width + i];
    return 0;
}

int graft_cpu_scale_rows(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *shape = graft_lower_shape(l, n->in[0]);
    size_t width = 1;
    for (int d = 1; d < shape->rank; d++) width *= (size_t)shape->dims[d];
    graft_cpu_own own = {.n_buffers = 3, .count = (size_t)shape->dims[0] * width, .attr = &width};
    int rc = graft_cpu_want_plain(l, n->in[0], &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[1], &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[0], &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "scale_rows", run_scale_rows, own, sizeof width, err);
}
