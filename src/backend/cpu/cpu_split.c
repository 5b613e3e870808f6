/* Linear layers as split products (own/split_product.h): how operands lie in memory, and when it pays. An
 * operand is a layout like any other, so that what several products read is packed once: an activation for
 * query, key and value, a weight once a step, or once for all when it is frozen. */
#include "backend/cpu/cpu.h"

bool graft_cpu_has_splits(void) {
#if defined(__x86_64__)
    const dnnl_cpu_isa_t allowed = dnnl_get_effective_cpu_isa();
    return graft_cpu_find_isa().amx &&
           (allowed & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
#else
    return false;
#endif
}

static const graft_split_kernels *kernels_of(void) {
#if defined(__x86_64__)
    return &graft_split_amx;
#else
    return NULL;
#endif
}

/* An element of an operand costs as much to pack as some sixty multiply-adds are gained by the tiles, where a
 * third of float32's time is saved; tiles that are filled up with zeros are worth less. */
bool graft_cpu_split_pays(const graft_lowering *l, int64_t m, int64_t n, int64_t k) {
    enum { LEAST = 32, GAIN = 24 };
    const graft_cpu *cpu = graft_lower_device((graft_lowering *)(uintptr_t)l);
    return cpu->splits && k >= LEAST && (double)m * (double)n >= GAIN * ((double)m + (double)n);
}

bool graft_cpu_can_split(graft_lowering *l, graft_value v) {
    const graft_layout *layout = graft_lower_layout(l, v);
    if (graft_lower_is_frozen(l, v) || !layout) return true;
    dnnl_memory_desc_t md;
    if (layout->dtype != GRAFT_F32 || layout->split) return false;
    return graft_cpu_md(&md, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, v), false, NULL) == 0 &&
           dnnl_memory_desc_equal(md, layout->md) != 0;
}

int graft_cpu_want_split(graft_lowering *l, graft_value v, graft_split_way way, graft_buffer *out,
                         graft_err *err) {
    graft_layout layout = {.dtype = GRAFT_BF16, .split = way};
    int rc = graft_cpu_md(&layout.md, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, v), false, err);
    return rc < 0 ? rc : graft_lower_want(l, v, &layout, out, err);
}

int graft_cpu_want_split_anew(graft_lowering *l, graft_value v, graft_split_way way, graft_buffer *out,
                              graft_err *err) {
    graft_layout stored = {.dtype = GRAFT_F32}, layout = {.dtype = GRAFT_BF16, .split = way};
    graft_buffer plain;
    int rc = graft_cpu_md(&stored.md, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, v), false, err);
    layout.md = stored.md;
    if (rc == 0) rc = graft_cpu_want_plain(l, v, &plain, err);
    return rc < 0 ? rc : graft_lower_derive(l, v, &stored, &layout, out, err);
}

/* ---- Packing ---------------------------------------------------------------------------------------------- */

static graft_split_pack pack_of(const graft_layout *layout) {
    dnnl_dims_t *dims;
    dnnl_memory_desc_query(layout->md, dnnl_query_dims, (void *)&dims);
    return (graft_split_pack){
        .way = layout->split, .rows = (size_t)(*dims)[0], .columns = (size_t)(*dims)[1]};
}

size_t graft_cpu_split_size(const graft_layout *layout) {
    const graft_split_pack p = pack_of(layout);
    return graft_split_steps(p.way, p.rows, p.columns) * graft_split_panels(p.way, p.rows, p.columns) *
           GRAFT_SPLIT_STEP * sizeof *p.to;
}

static void pack_group(void *self, size_t i) {
    kernels_of()->pack(self, i);
}

static void pack_all(graft_split_pack *p) {
    graft_cpu_parallel(p, (p->rows + GRAFT_SPLIT_PANEL - 1) / GRAFT_SPLIT_PANEL, pack_group);
}

/* buffers: the matrix, the operand */
static int run_pack(void *self) {
    const graft_cpu_own *own = self;
    graft_split_pack p = *(const graft_split_pack *)own->attr;
    p.from = own->data[0];
    p.to = own->data[1];
    pack_all(&p);
    return 0;
}

int graft_cpu_emit_pack(graft_lowering *l, graft_buffer from, const graft_layout *layout, graft_buffer to,
                        graft_err *err) {
    const graft_split_pack p = pack_of(layout);
    const graft_cpu_own own = {.buffers = {from, to}, .n_buffers = 2, .attr = &p};
    return graft_cpu_emit_own(l, kernels_of()->pack_name, run_pack, own, sizeof p, err);
}

int graft_cpu_pack_now(const float *from, const graft_layout *layout, void *to, graft_err *err) {
    (void)err;
    graft_split_pack p = pack_of(layout);
    p.from = from;
    p.to = to;
    pack_all(&p);
    return 0;
}

/* ---- Products --------------------------------------------------------------------------------------------- */

typedef struct product_dims {
    graft_split_product product; /* without addresses */
    size_t rows, cols;           /* panels */
    size_t row_cuts, col_cuts;
} product_dims;

/* buffers: a, b, bias, residual, c */
static void multiply_part(void *self, size_t i, size_t thread) {
    const graft_cpu_own *own = self;
    const product_dims *d = own->attr;
    graft_split_product p = d->product;
    (void)thread;
    p.a = own->data[0];
    p.b = own->data[1];
    p.bias = own->data[2];
    p.residual = p.onto ? NULL : own->data[3];
    p.c = own->data[4];
    const size_t r = i / d->col_cuts, c = i % d->col_cuts;
    kernels_of()->multiply(&p, d->rows * r / d->row_cuts, d->rows * (r + 1) / d->row_cuts,
                           d->cols * c / d->col_cuts, d->cols * (c + 1) / d->col_cuts);
}

static int run_product(void *self) {
    const graft_cpu_own *own = self;
    const product_dims *d = own->attr;
    graft_cpu_parallel_uneven(self, d->row_cuts * d->col_cuts, multiply_part);
    return 0;
}

/* B's part of a cut lies in the second cache while all of A's rows go by, so columns are cut to fit there,
 * and rows only as far as threads need it. */
static void cut(product_dims *d, size_t threads) {
    enum { COLS = 16, PARTS = 3 };
    d->col_cuts = (d->cols + COLS - 1) / COLS;
    d->row_cuts = (PARTS * threads + d->col_cuts - 1) / d->col_cuts;
    if (threads == 1) d->row_cuts = 1;
    if (d->row_cuts > d->rows) d->row_cuts = d->rows;
}

int graft_cpu_emit_split(graft_lowering *l, const graft_cpu_split *s, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    const size_t m = (size_t)s->m, n = (size_t)s->n, k = (size_t)s->k;
    product_dims d = {.product = {.onto = s->residual != GRAFT_NONE && s->residual == s->c,
                                  .m = m,
                                  .n = n,
                                  .steps = graft_split_steps(GRAFT_SPLIT_A, m, k),
                                  .act = s->act},
                      .rows = graft_split_panels(GRAFT_SPLIT_A, m, k),
                      .cols = graft_split_panels(GRAFT_SPLIT_B, k, n)};
    cut(&d, (size_t)cpu->threads);
    const graft_cpu_own own = {
        .buffers = {s->a, s->b, s->bias, s->residual, s->c}, .n_buffers = 5, .attr = &d};
    return graft_cpu_emit_own(l, kernels_of()->name, run_product, own, sizeof d, err);
}
