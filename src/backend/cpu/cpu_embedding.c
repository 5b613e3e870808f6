/* Rows of a table. The gradient is cut into strips of columns: each adds the tokens' rows in their order, so
 * that the sums do not depend on the threads, however often a token comes. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/narrow.h"

#include <string.h>

enum { ROWS = 64 /* of a piece */, STRIP = 64 /* columns */ };

typedef struct embedding_dims {
    size_t tokens, rows, width;
    bool from_narrow, to_narrow;
} embedding_dims;

static size_t n_pieces_of(size_t n, size_t piece) {
    return (n + piece - 1) / piece;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* buffers: table, ids, y */
static void look_up(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const embedding_dims *d = own->attr;
    const int32_t *ids = own->data[1];
    for (size_t t = i * ROWS; t < least((i + 1) * ROWS, d->tokens); t++) {
        const void *row = narrow_at(own->data[0], (size_t)ids[t] * d->width, d->from_narrow);
        void *y = narrow_at_mut(own->data[2], t * d->width, d->to_narrow);
        if (d->from_narrow == d->to_narrow) {
            memcpy(y, row, d->width * (d->to_narrow ? sizeof(uint16_t) : sizeof(float)));
        } else {
            graft_f32_to_bf16(row, y, d->width);
        }
    }
}

static int run_look_up(void *self) {
    const graft_cpu_own *own = self;
    const embedding_dims *d = own->attr;
    graft_cpu_parallel(self, n_pieces_of(d->tokens, ROWS), look_up);
    return 0;
}

/* A frozen table is packed once in the type that is asked for; a trained one is float32. */
int graft_cpu_embedding(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *table = graft_lower_shape(l, n->in[0]);
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    graft_dtype from = graft_lower_is_frozen(l, n->in[0]) ? dtype : GRAFT_F32;
    embedding_dims d = {.tokens = (size_t)graft_lower_shape(l, n->in[1])->dims[0],
                        .rows = (size_t)table->dims[0],
                        .width = (size_t)table->dims[1],
                        .from_narrow = from == GRAFT_BF16,
                        .to_narrow = dtype == GRAFT_BF16};
    graft_cpu_own own = {.n_buffers = 3, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], from, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[1], GRAFT_I32, &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_new_rows(l, n->out[0], dtype, &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "embedding", run_look_up, own, sizeof d, err);
}

/* buffers: dy, ids, dtable */
static void clear(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const embedding_dims *d = own->attr;
    const size_t begin = i * ROWS, end = least(begin + ROWS, d->rows);
    memset((float *)own->data[2] + begin * d->width, 0, (end - begin) * d->width * sizeof(float));
}

static void scatter(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const embedding_dims *d = own->attr;
    const int32_t *ids = own->data[1];
    const size_t begin = i * STRIP, count = least(begin + STRIP, d->width) - begin;
    for (size_t t = 0; t < d->tokens; t++) {
        const void *dy = narrow_at(own->data[0], t * d->width + begin, d->from_narrow);
        float *row = (float *)own->data[2] + (size_t)ids[t] * d->width + begin;
        if (d->from_narrow) {
            for (size_t k = 0; k < count; k++) row[k] += narrow_load(dy, k, true);
        } else {
            for (size_t k = 0; k < count; k++) row[k] += narrow_load(dy, k, false);
        }
    }
}

static int run_scatter(void *self) {
    const graft_cpu_own *own = self;
    const embedding_dims *d = own->attr;
    graft_cpu_parallel(self, n_pieces_of(d->rows, ROWS), clear);
    graft_cpu_parallel(self, n_pieces_of(d->width, STRIP), scatter);
    return 0;
}

int graft_cpu_embedding_dw(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *table = graft_lower_shape(l, n->out[0]);
    graft_dtype dtype = graft_lower_dtype(l, n->in[0]);
    embedding_dims d = {.tokens = (size_t)graft_lower_shape(l, n->in[1])->dims[0],
                        .rows = (size_t)table->dims[0],
                        .width = (size_t)table->dims[1],
                        .from_narrow = dtype == GRAFT_BF16};
    graft_cpu_own own = {.n_buffers = 3, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[1], GRAFT_I32, &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[0], &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "embedding_dw", run_scatter, own, sizeof d, err);
}
