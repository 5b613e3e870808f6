/* Stochastic depth: samples are scaled or cleared whole, in whatever layout keeps a sample's elements
 * together.
 */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/narrow.h"
#include "graph/op.h"

#include <string.h>

enum { X, SEED, SPANS, Y };

typedef struct path_dims {
    double p;
    int64_t salt;
    size_t n, rows, size; /* samples; rows, of which a text has several; elements a row */
    bool is_narrow;
} path_dims;

static void scale_sample(void *self, size_t n) {
    const graft_cpu_own *own = self;
    const path_dims *d = own->attr;
    const int32_t *spans = own->data[SPANS];
    graft_tokens at = {(int64_t)n, 1};
    if (spans) at = graft_tokens_of(spans[2 * n], spans[2 * n + 1], (int64_t)d->rows);
    if (!graft_path_keeps(own->data[SEED], d->salt, (int64_t)n, d->p)) return; /* cleared before */
    const float scale = (float)(1.0 / (1.0 - d->p));
    const size_t begin = (size_t)at.first * d->size, count = (size_t)at.count * d->size;
    const void *x = narrow_at(own->data[X], begin, d->is_narrow);
    void *y = narrow_at_mut(own->data[Y], begin, d->is_narrow);
    if (d->is_narrow) {
        for (size_t i = 0; i < count; i++) narrow_store(y, i, narrow_load(x, i, true) * scale, true);
    } else {
        for (size_t i = 0; i < count; i++) narrow_store(y, i, narrow_load(x, i, false) * scale, false);
    }
}

static int run(void *self) {
    const graft_cpu_own *own = self;
    const path_dims *d = own->attr;
    memset(own->data[Y], 0, d->rows * d->size * (d->is_narrow ? sizeof(uint16_t) : sizeof(float)));
    graft_cpu_parallel(self, d->n, scale_sample);
    return 0;
}

int graft_cpu_drop_path(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_dropout_attr *a = n->attr;
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    graft_cpu_own own = {.n_buffers = 4, .buffers = {GRAFT_NONE, GRAFT_NONE, GRAFT_NONE, GRAFT_NONE}};
    dnnl_memory_desc_t plain = NULL;
    const_dnnl_memory_desc_t md;
    int rc = graft_cpu_md_as_is(&md, l, n->in[0], dtype, err);
    if (rc == 0 && graft_cpu_block(md) == 0) {
        rc = graft_cpu_md(&plain, graft_lower_arena(l), dtype, graft_lower_shape(l, n->in[0]), false, err);
        md = plain;
    }
    if (rc == 0) rc = graft_cpu_want(l, n->in[0], md, dtype, &own.buffers[X], err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[1], GRAFT_I32, &own.buffers[SEED], err);
    if (rc == 0 && n->in[2] != GRAFT_NONE)
        rc = graft_cpu_want_rows(l, n->in[2], GRAFT_I32, &own.buffers[SPANS], err);
    if (rc == 0) rc = graft_cpu_new(l, n->out[0], md, dtype, &own.buffers[Y], err);
    if (rc < 0) return rc;
    size_t rows = (size_t)graft_lower_shape(l, n->in[0])->dims[0];
    path_dims d = {.p = a->p,
                   .salt = a->salt,
                   .n = n->in[2] == GRAFT_NONE ? rows : (size_t)graft_lower_shape(l, n->in[2])->dims[0],
                   .rows = rows,
                   .size = dnnl_memory_desc_get_size(md) / graft_dtype_size(dtype) / rows,
                   .is_narrow = dtype == GRAFT_BF16};
    own.attr = &d;
    return graft_cpu_emit_own(l, "drop_path", run, own, sizeof d, err);
}
