/* Linear layers as oneDNN matrix products; x and y stay in C order. Frozen weights are packed once in the
 * layout that the product likes, which is the same for any number of rows, so that programs of several sizes
 * share them. Trained ones stay as the file has them, for forward, input gradient and update alike: packing
 * them anew in every step costs more than the products lose (an inner product's weight gradient in a packed
 * layout took two to ten times as long as a matrix product in C order). */
#include "backend/cpu/cpu.h"

/* A matrix as a product takes it. */
typedef struct operand {
    dnnl_memory_desc_t md;
    graft_dtype dtype;
} operand;

/* rows x columns in C order, or in that of the transpose (`is_turned`). */
static int make_operand(operand *out, graft_lowering *l, graft_dtype dtype, int64_t rows, int64_t columns,
                        bool is_turned, graft_err *err) {
    const int exchange[] = {1, 0};
    graft_shape shape = {2, {is_turned ? columns : rows, is_turned ? rows : columns}};
    dnnl_memory_desc_t md;
    out->dtype = dtype;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, &shape, false, err);
    if (rc == 0 && is_turned) return graft_cpu_md_permute(&out->md, graft_lower_arena(l), md, exchange, err);
    out->md = md;
    return rc;
}

/* Rows that lie a multiple of a page apart fall into the same few lines of the first cache, and a product
 * that walks down them runs at half its speed: packing the matrix first is a tenth of what that costs
 * (BERT-base's layers of 3072 in float32). */
static bool is_aliased(graft_dtype dtype, int64_t columns) {
    enum { PAGE = 4096 };
    return columns * (int64_t)graft_dtype_size(dtype) % PAGE == 0;
}

/* A matrix in the layout that the product likes. */
static int make_packed(operand *out, graft_lowering *l, graft_dtype dtype, int64_t rows, int64_t columns,
                       graft_err *err) {
    graft_shape shape = {2, {rows, columns}};
    out->dtype = dtype;
    return graft_cpu_md(&out->md, graft_lower_arena(l), dtype, &shape, true, err);
}

/* Whether frozen weights stay as they are stored for the forward product and the input's gradient alike,
 * which would pack them in two layouts. What they hold is halved, and where no side is long, float32 products
 * lose three to six hundredths; with a side of 3072 it was ten. */
static int is_shared(bool *out, graft_lowering *l, graft_value w, graft_dtype dtype, graft_err *err) {
    enum { LONG = 1024 };
    const graft_shape *s = graft_lower_shape(l, w);
    dnnl_memory_desc_t md;
    *out = false;
    if (dtype != GRAFT_F32 || s->dims[0] >= LONG || s->dims[1] >= LONG) return 0;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, s, false, err);
    if (rc < 0) return rc;
    const graft_layout stored = graft_cpu_layout(md, dtype);
    *out = graft_lower_is_packed(l, w, &stored) || (graft_lower_is_read_by(l, w, &graft_op_linear) &&
                                                    graft_lower_is_read_by(l, w, &graft_op_linear_dx));
    return 0;
}

/* Weights (rows x columns) of a product: in any layout when they are frozen, else as they are stored. */
static int make_weights(operand *out, graft_lowering *l, graft_value w, graft_dtype dtype, bool is_turned,
                        graft_err *err) {
    const graft_shape *s = graft_lower_shape(l, w);
    int64_t rows = s->dims[is_turned ? 1 : 0], columns = s->dims[is_turned ? 0 : 1];
    bool shared = false;
    int rc = graft_lower_is_frozen(l, w) ? is_shared(&shared, l, w, dtype, err) : 0;
    if (rc < 0) return rc;
    bool packed = (graft_lower_is_frozen(l, w) && !shared) || (!is_turned && is_aliased(dtype, columns));
    return packed ? make_packed(out, l, dtype, rows, columns, err)
                  : make_operand(out, l, dtype, rows, columns, is_turned, err);
}

/* Wants w in the layout `md` of a product's weights. */
static int want_weights(graft_lowering *l, graft_value w, const_dnnl_memory_desc_t md, graft_dtype dtype,
                        bool is_turned, graft_buffer *out, graft_err *err) {
    const int exchange[] = {1, 0};
    dnnl_memory_desc_t stored;
    if (!is_turned) return graft_cpu_want(l, w, md, dtype, out, err);
    int rc = graft_cpu_md_permute(&stored, graft_lower_arena(l), md, exchange, err);
    return rc < 0 ? rc : graft_cpu_want(l, w, stored, dtype, out, err);
}

static int make_product(dnnl_primitive_desc_t *out, graft_lowering *l, const operand *a, const operand *b,
                        const_dnnl_memory_desc_t bias, const operand *c, const_dnnl_primitive_attr_t attr,
                        graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    return graft_cpu_status(dnnl_matmul_primitive_desc_create(out, cpu->engine, a->md, b->md, bias, c->md,
                                                              attr ? attr : cpu->attr),
                            "a linear layer", err);
}

/* Whether a layer's product (m, k) (k, n) of `left` and `right` is to be split, and can. */
static bool is_split(graft_lowering *l, const graft_linear_attr *a, graft_value left, graft_value right,
                     int64_t m, int64_t n, int64_t k) {
    return a->bf16x3 && graft_lower_dtype(l, left) == GRAFT_F32 && graft_lower_dtype(l, right) == GRAFT_F32 &&
           graft_cpu_split_pays(l, m, n, k) && graft_cpu_can_split(l, left) && graft_cpu_can_split(l, right);
}

/* The weights of a split product of so many rows. Frozen ones that training reads in two ways, as forward
 * product and input gradient do, would be kept twice; where rows are many they are kept once, in C order, and
 * packed in every step: an element costs as much to pack as it costs to multiply with some thirty rows. */
static int want_split_weights(graft_lowering *l, graft_value w, graft_split_way way, int64_t rows,
                              graft_buffer *out, graft_err *err) {
    enum { MANY = 512 };
    dnnl_memory_desc_t md;
    if (!graft_lower_is_frozen(l, w) || rows < MANY) return graft_cpu_want_split(l, w, way, out, err);
    int rc = graft_cpu_md(&md, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, w), false, err);
    if (rc < 0) return rc;
    const graft_layout stored = graft_cpu_layout(md, GRAFT_F32);
    bool anew = graft_lower_is_packed(l, w, &stored) || (graft_lower_is_read_by(l, w, &graft_op_linear) &&
                                                         graft_lower_is_read_by(l, w, &graft_op_linear_dx));
    return anew ? graft_cpu_want_split_anew(l, w, way, out, err) : graft_cpu_want_split(l, w, way, out, err);
}

/* ---- Forward ---------------------------------------------------------------------------------------------- */

/* Where the result goes. A residual, or the sum that a gradient joins, is summed onto in its own place when
 * that may be overwritten, else read and added. */
static int place_result(graft_lowering *l, const graft_node *n, graft_value with, const operand *y,
                        graft_cpu_joined *joined, graft_buffer *out, graft_buffer *added, graft_err *err) {
    graft_buffer residual = GRAFT_NONE;
    *added = GRAFT_NONE;
    if (with == GRAFT_NONE) return graft_cpu_new(l, n->out[0], y->md, y->dtype, out, err);
    int rc = graft_cpu_want(l, with, y->md, y->dtype, &residual, err);
    if (rc == 0) rc = graft_cpu_take(l, n, 0, residual, y->md, y->dtype, out, err);
    if (rc < 0) return rc;
    joined->sum = *out == residual;
    if (joined->sum) return 0;
    joined->added = y->md;
    *added = residual;
    return 0;
}

static int split_forward(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_linear_attr *a = n->attr;
    const graft_shape xs = graft_cpu_matrix(l, n->in[0]), ys = graft_cpu_matrix(l, n->out[0]);
    graft_cpu_split p = {.bias = GRAFT_NONE,
                         .residual = GRAFT_NONE,
                         .m = xs.dims[0],
                         .n = ys.dims[1],
                         .k = xs.dims[1],
                         .act = a->act};
    int rc = graft_cpu_want_split(l, n->in[0], GRAFT_SPLIT_A, &p.a, err);
    if (rc == 0)
        rc =
            want_split_weights(l, n->in[1], a->in_out ? GRAFT_SPLIT_B : GRAFT_SPLIT_B_TURNED, p.m, &p.b, err);
    if (rc == 0 && n->in[2] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[2], &p.bias, err);
    if (rc == 0 && n->in[3] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[3], &p.residual, err);
    if (rc == 0 && n->in[3] != GRAFT_NONE)
        rc = graft_cpu_take_rows(l, n, 0, p.residual, GRAFT_F32, &p.c, err);
    if (rc == 0 && n->in[3] == GRAFT_NONE) rc = graft_cpu_new_plain(l, n->out[0], &p.c, err);
    return rc < 0 ? rc : graft_cpu_emit_split(l, &p, err);
}

int graft_cpu_linear(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_linear_attr *a = n->attr;
    graft_value x = n->in[0], w = n->in[1], b = n->in[2], y = n->out[0];
    const graft_shape xs = graft_cpu_matrix(l, x), ys = graft_cpu_matrix(l, y);
    if (is_split(l, a, x, w, xs.dims[0], ys.dims[1], xs.dims[1])) return split_forward(l, n, err);
    const graft_shape row = {2, {1, ys.dims[1]}};
    const bool is_turned = !a->in_out;
    graft_dtype dtype = graft_cpu_compute_dtype(l, x, y);
    graft_cpu_joined joined = {.act = a->act};
    operand xo, wo, yo;
    dnnl_memory_desc_t bias = NULL;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer xb, wb = GRAFT_NONE, bb = GRAFT_NONE, yb, added;
    int rc = make_operand(&xo, l, dtype, xs.dims[0], xs.dims[1], false, err);
    if (rc == 0) rc = make_weights(&wo, l, w, dtype, is_turned, err);
    if (rc == 0) rc = make_operand(&yo, l, graft_lower_dtype(l, y), ys.dims[0], ys.dims[1], false, err);
    if (rc == 0) rc = graft_cpu_want(l, x, xo.md, dtype, &xb, err);
    if (rc == 0 && b != GRAFT_NONE) rc = graft_cpu_want_plain(l, b, &bb, err);
    if (rc == 0 && b != GRAFT_NONE)
        rc = graft_cpu_md(&bias, graft_lower_arena(l), GRAFT_F32, &row, false, err);
    if (rc == 0) rc = place_result(l, n, n->in[3], &yo, &joined, &yb, &added, err);
    if (rc == 0) rc = graft_cpu_attr(&attr, joined, err);
    if (rc == 0) rc = make_product(&pd, l, &xo, &wo, bias, &yo, attr, err);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0);
    if ((rc = want_weights(l, w, wm, dtype, is_turned, &wb, err)) < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, xb, xo.md},
                            {DNNL_ARG_WEIGHTS, wb, wm},
                            {DNNL_ARG_BIAS, bb, bias},
                            {DNNL_ARG_DST, yb, yo.md},
                            {GRAFT_CPU_ADDED, added, yo.md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

/* ---- Gradients -------------------------------------------------------------------------------------------- */

static int split_dx(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_linear_attr *a = n->attr;
    const graft_shape dys = graft_cpu_matrix(l, n->in[0]), dxs = graft_cpu_matrix(l, n->out[0]);
    graft_cpu_split p = {
        .bias = GRAFT_NONE, .residual = GRAFT_NONE, .m = dys.dims[0], .n = dxs.dims[1], .k = dys.dims[1]};
    int rc = graft_cpu_want_split(l, n->in[0], GRAFT_SPLIT_A, &p.a, err);
    if (rc == 0)
        rc =
            want_split_weights(l, n->in[1], a->in_out ? GRAFT_SPLIT_B_TURNED : GRAFT_SPLIT_B, p.m, &p.b, err);
    if (rc == 0 && n->in[2] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[2], &p.residual, err);
    if (rc == 0 && n->in[2] != GRAFT_NONE)
        rc = graft_cpu_take_rows(l, n, 0, p.residual, GRAFT_F32, &p.c, err);
    if (rc == 0 && n->in[2] == GRAFT_NONE) rc = graft_cpu_new_plain(l, n->out[0], &p.c, err);
    return rc < 0 ? rc : graft_cpu_emit_split(l, &p, err);
}

static int split_dw(graft_lowering *l, graft_value left, graft_value right, graft_value dw, graft_err *err) {
    const graft_shape ls = graft_cpu_matrix(l, left), rs = graft_cpu_matrix(l, right);
    graft_cpu_split p = {
        .bias = GRAFT_NONE, .residual = GRAFT_NONE, .m = ls.dims[1], .n = rs.dims[1], .k = ls.dims[0]};
    int rc = graft_cpu_want_split(l, left, GRAFT_SPLIT_A_TURNED, &p.a, err);
    if (rc == 0) rc = graft_cpu_want_split(l, right, GRAFT_SPLIT_B, &p.b, err);
    if (rc == 0) rc = graft_cpu_new_plain(l, dw, &p.c, err);
    return rc < 0 ? rc : graft_cpu_emit_split(l, &p, err);
}

/* dx (N,I) = dy (N,O) w (O,I) + sum */
int graft_cpu_linear_dx(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_linear_attr *a = n->attr;
    graft_value dy = n->in[0], w = n->in[1], dx = n->out[0];
    const graft_shape dys = graft_cpu_matrix(l, dy), dxs = graft_cpu_matrix(l, dx);
    const bool is_turned = a->in_out != 0;
    if (is_split(l, a, dy, w, dys.dims[0], dxs.dims[1], dys.dims[1])) return split_dx(l, n, err);
    graft_dtype dtype = graft_cpu_compute_dtype(l, dy, dx);
    operand dyo, wo, dxo;
    graft_cpu_joined joined = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer dyb, wb = GRAFT_NONE, dxb, added;
    int rc = make_operand(&dyo, l, dtype, dys.dims[0], dys.dims[1], false, err);
    if (rc == 0) rc = make_weights(&wo, l, w, dtype, is_turned, err);
    if (rc == 0) rc = make_operand(&dxo, l, graft_lower_dtype(l, dx), dxs.dims[0], dxs.dims[1], false, err);
    if (rc == 0) rc = graft_cpu_want(l, dy, dyo.md, dtype, &dyb, err);
    if (rc == 0) rc = place_result(l, n, n->in[2], &dxo, &joined, &dxb, &added, err);
    if (rc == 0) rc = graft_cpu_attr(&attr, joined, err);
    if (rc == 0) rc = make_product(&pd, l, &dyo, &wo, NULL, &dxo, attr, err);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t wm = graft_cpu_query(pd, dnnl_query_weights_md, 0);
    if ((rc = want_weights(l, w, wm, dtype, is_turned, &wb, err)) < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {{DNNL_ARG_SRC, dyb, dyo.md},
                            {DNNL_ARG_WEIGHTS, wb, wm},
                            {DNNL_ARG_DST, dxb, dxo.md},
                            {GRAFT_CPU_ADDED, added, dxo.md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}

/* dw (O,I) = dy^T x, or (I,O) = x^T dy; db = the sums of dy's columns */
int graft_cpu_linear_dw(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_linear_attr *a = n->attr;
    graft_value left = n->in[a->in_out ? 0 : 1], right = n->in[a->in_out ? 1 : 0], dw = n->out[0];
    const graft_shape ls = graft_cpu_matrix(l, left), rs = graft_cpu_matrix(l, right),
                      dys = graft_cpu_matrix(l, n->in[1]);
    graft_dtype dtype = graft_cpu_compute_dtype(l, left, right);
    operand lo, ro, dwo;
    dnnl_primitive_desc_t pd = NULL;
    graft_buffer lb = GRAFT_NONE, rb = GRAFT_NONE, dwb, dbb;
    int rc = graft_cpu_want_rows(l, left, dtype, &lb, err);
    if (rc == 0) rc = graft_cpu_want_rows(l, right, dtype, &rb, err);
    if (rc == 0 && graft_lower_is_used(l, n->out[1])) {
        rc = graft_cpu_new_plain(l, n->out[1], &dbb, err);
        if (rc == 0) rc = graft_cpu_emit_column_sums(l, a->in_out ? rb : lb, dtype, &dys, dbb, err);
    }
    if (rc < 0 || !graft_lower_is_used(l, dw)) return rc;
    if (is_split(l, a, left, right, ls.dims[1], rs.dims[1], ls.dims[0]))
        return split_dw(l, left, right, dw, err);
    rc = make_operand(&lo, l, dtype, ls.dims[1], ls.dims[0], true, err);
    bool packed = is_aliased(dtype, rs.dims[1]);
    if (rc == 0)
        rc = packed ? make_packed(&ro, l, dtype, rs.dims[0], rs.dims[1], err)
                    : make_operand(&ro, l, dtype, rs.dims[0], rs.dims[1], false, err);
    if (rc == 0) rc = make_operand(&dwo, l, GRAFT_F32, ls.dims[1], rs.dims[1], false, err);
    if (rc == 0) rc = graft_cpu_new(l, dw, dwo.md, GRAFT_F32, &dwb, err);
    if (rc == 0) rc = make_product(&pd, l, &lo, &ro, NULL, &dwo, NULL, err);
    if (rc < 0) return rc;
    const_dnnl_memory_desc_t rm = graft_cpu_query(pd, dnnl_query_weights_md, 0);
    if (packed && (rc = graft_cpu_want(l, right, rm, dtype, &rb, err)) < 0) {
        dnnl_primitive_desc_destroy(pd);
        return rc;
    }
    graft_cpu_arg args[] = {
        {DNNL_ARG_SRC, lb, lo.md}, {DNNL_ARG_WEIGHTS, rb, rm}, {DNNL_ARG_DST, dwb, dwo.md}};
    return graft_cpu_emit(l, pd, args, GRAFT_COUNT(args), err);
}
