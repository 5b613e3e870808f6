/* From a picture's patches to tokens and back: with channels last, which convolutions like too, the places of
 * x are rows already. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/narrow.h"

#include <string.h>

typedef struct patches_dims {
    size_t n, rows, width, first; /* first: the row of the first place */
    bool is_narrow;
} patches_dims;

static patches_dims dims_of(const graft_shape *x, const graft_shape *y, graft_dtype dtype) {
    return (patches_dims){.n = (size_t)y->dims[0],
                          .rows = (size_t)y->dims[1],
                          .width = (size_t)y->dims[2],
                          .first = (size_t)(y->dims[1] - x->dims[2] * x->dims[3]),
                          .is_narrow = dtype == GRAFT_BF16};
}

/* Row r of sample n among the places. */
static size_t place_at(const patches_dims *d, size_t n, size_t r) {
    return (n * (d->rows - d->first) + r - d->first) * d->width;
}

/* ---- Forward ---------------------------------------------------------------------------------------------- */

/* buffers */
enum { X, POSITIONS, FIRST, SECOND, Y };

NARROW_INLINE void put_row(const patches_dims *d, const void *x, const float *positions, void *y,
                           bool is_narrow) {
    for (size_t k = 0; k < d->width; k++)
        narrow_store(y, k, narrow_load(x, k, is_narrow) + positions[k], is_narrow);
}

static void forward_row(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const patches_dims *d = own->attr;
    const size_t n = i / d->rows, r = i % d->rows;
    const float *positions = (const float *)own->data[POSITIONS] + r * d->width;
    void *y = narrow_at_mut(own->data[Y], i * d->width, d->is_narrow);
    if (r < d->first) {
        const float *token = own->data[r == 0 ? FIRST : SECOND];
        for (size_t k = 0; k < d->width; k++) narrow_store(y, k, token[k] + positions[k], d->is_narrow);
    } else if (d->is_narrow) {
        put_row(d, narrow_at(own->data[X], place_at(d, n, r), true), positions, y, true);
    } else {
        put_row(d, narrow_at(own->data[X], place_at(d, n, r), false), positions, y, false);
    }
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    const patches_dims *d = own->attr;
    graft_cpu_parallel(self, d->n * d->rows, forward_row);
    return 0;
}

int graft_cpu_patches(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *x = graft_lower_shape(l, n->in[X]);
    const graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    const patches_dims d = dims_of(x, graft_lower_shape(l, n->out[0]), dtype);
    graft_cpu_own own = {.n_buffers = Y + 1, .attr = &d};
    dnnl_memory_desc_t last;
    int rc = graft_cpu_md_blocked(&last, l, x, x->dims[1], dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[X], last, dtype, &own.buffers[X], err);
    for (size_t i = POSITIONS; i <= SECOND && rc == 0; i++) {
        own.buffers[i] = GRAFT_NONE;
        if (n->in[i] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[i], &own.buffers[i], err);
    }
    if (rc == 0) rc = graft_cpu_new_rows(l, n->out[0], dtype, &own.buffers[Y], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "patches", run_forward, own, sizeof d, err);
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* buffers */
enum { DY, DX, DPOSITIONS, DFIRST, DSECOND };

static void backward_row(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const patches_dims *d = own->attr;
    const size_t n = i / d->rows, r = i % d->rows;
    if (r < d->first) return;
    memcpy(narrow_at_mut(own->data[DX], place_at(d, n, r), d->is_narrow),
           narrow_at(own->data[DY], i * d->width, d->is_narrow),
           d->width * (d->is_narrow ? sizeof(uint16_t) : sizeof(float)));
}

NARROW_INLINE void add_samples(const patches_dims *d, const void *dy, size_t r, float *sum, bool is_narrow) {
    memset(sum, 0, d->width * sizeof *sum);
    for (size_t n = 0; n < d->n; n++) {
        const void *row = narrow_at(dy, (n * d->rows + r) * d->width, is_narrow);
        for (size_t k = 0; k < d->width; k++) sum[k] += narrow_load(row, k, is_narrow);
    }
}

static void sum_row(const graft_cpu_own *own, size_t r, float *sum) {
    const patches_dims *d = own->attr;
    if (d->is_narrow) {
        add_samples(d, own->data[DY], r, sum, true);
    } else {
        add_samples(d, own->data[DY], r, sum, false);
    }
}

/* What a row's position gets, and so does the token that stands there. */
static void backward_position(void *self, size_t r) {
    const graft_cpu_own *own = self;
    const patches_dims *d = own->attr;
    float *positions = own->data[DPOSITIONS], *token = own->data[r == 0 ? DFIRST : DSECOND];
    if (positions) sum_row(own, r, positions + r * d->width);
    if (r < d->first && token) sum_row(own, r, token);
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    const patches_dims *d = own->attr;
    float *second = own->data[DSECOND];
    if (own->data[DX]) graft_cpu_parallel(self, d->n * d->rows, backward_row);
    if (second && d->first < 2) memset(second, 0, d->width * sizeof *second);
    graft_cpu_parallel(self, own->data[DPOSITIONS] ? d->rows : d->first, backward_position);
    return 0;
}

int graft_cpu_patches_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_shape *x = graft_lower_shape(l, n->in[1]);
    const graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    const patches_dims d = dims_of(x, graft_lower_shape(l, n->in[0]), dtype);
    graft_cpu_own own = {.n_buffers = DSECOND + 1, .attr = &d};
    dnnl_memory_desc_t last;
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[DY], err);
    if (rc == 0) rc = graft_cpu_md_blocked(&last, l, x, x->dims[1], dtype, err);
    for (size_t o = 0; o < n->n_out && rc == 0; o++) {
        graft_buffer *to = &own.buffers[DX + o];
        *to = GRAFT_NONE;
        if (!graft_lower_is_used(l, n->out[o])) continue;
        rc = o == 0 ? graft_cpu_new(l, n->out[o], last, dtype, to, err)
                    : graft_cpu_new_plain(l, n->out[o], to, err);
    }
    return rc < 0 ? rc : graft_cpu_emit_own(l, "patches_grad", run_backward, own, sizeof d, err);
}
