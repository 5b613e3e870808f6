/* Layer norm and its gradient by own loops over pieces of rows; sums over rows are kept a piece and added up
 * in the order of the pieces, so that they do not depend on the threads. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/layer_norm.h"

#include <string.h>

enum { PIECE = 64 /* rows */, STRIP = 256 /* columns that are added up at a time */ };

typedef struct norm_dims {
    size_t rows, width;
    float eps;
    bool is_narrow;
} norm_dims;

static size_t n_pieces_of(size_t rows) {
    return (rows + PIECE - 1) / PIECE;
}

static size_t end_of(size_t piece, size_t rows) {
    return (piece + 1) * PIECE < rows ? (piece + 1) * PIECE : rows;
}

/* out[d] = sum over pieces of parts[piece, d], for one strip of columns. */
static void add_parts(const float *parts, size_t n_pieces, size_t stride, size_t strip, size_t width,
                      float *out) {
    const size_t begin = strip * STRIP, end = begin + STRIP < width ? begin + STRIP : width;
    memcpy(out + begin, parts + begin, (end - begin) * sizeof *out);
    for (size_t i = 1; i < n_pieces; i++)
        for (size_t d = begin; d < end; d++) out[d] += parts[i * stride + d];
}

static size_t n_strips_of(size_t width) {
    return (width + STRIP - 1) / STRIP;
}

/* ---- Forward ---------------------------------------------------------------------------------------------- */

/* buffers: x, gamma, beta?, y, mean, rstd */
static void forward_piece(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    const graft_layer_norm_kernels *kernels = own->kernel;
    const graft_layer_norm_rows r = {.x = own->data[0],
                                     .gamma = own->data[1],
                                     .beta = own->data[2],
                                     .y = own->data[3],
                                     .mean = own->data[4],
                                     .rstd = own->data[5],
                                     .width = d->width,
                                     .eps = d->eps,
                                     .is_narrow = d->is_narrow};
    kernels->forward(&r, i * PIECE, end_of(i, d->rows));
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    graft_cpu_parallel(self, n_pieces_of(d->rows), forward_piece);
    return 0;
}

static norm_dims dims_of(const graft_lowering *l, graft_value x, graft_dtype dtype) {
    const graft_shape shape = graft_cpu_matrix(l, x);
    return (norm_dims){
        .rows = (size_t)shape.dims[0], .width = (size_t)shape.dims[1], .is_narrow = dtype == GRAFT_BF16};
}

int graft_cpu_layer_norm(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_layer_norm_kernels *kernels = GRAFT_CPU_CHOOSE(l, graft_layer_norm);
    const graft_layer_norm_attr *a = n->attr;
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    norm_dims d = dims_of(l, n->in[0], dtype);
    d.eps = (float)a->eps;
    graft_cpu_own own = {.n_buffers = 6, .attr = &d, .kernel = kernels};
    own.buffers[2] = GRAFT_NONE;
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[1], &own.buffers[1], err);
    if (rc == 0 && n->in[2] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[2], &own.buffers[2], err);
    if (rc == 0) rc = graft_cpu_take_rows(l, n, 0, own.buffers[0], dtype, &own.buffers[3], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[1], &own.buffers[4], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[2], &own.buffers[5], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, kernels->name, run_forward, own, sizeof d, err);
}

/* ---- Backward --------------------------------------------------------------------------------------------- */

/* buffers; PARTS holds dgamma and dbeta of each piece, side by side */
enum { DY, X, GAMMA, MEAN, RSTD, DX, DGAMMA, DBETA, PARTS };

static void backward_piece(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    const graft_layer_norm_kernels *kernels = own->kernel;
    float *parts = own->data[PARTS];
    const graft_layer_norm_rows r = {.dy = own->data[DY],
                                     .x = own->data[X],
                                     .gamma = own->data[GAMMA],
                                     .mean = own->data[MEAN],
                                     .rstd = own->data[RSTD],
                                     .y = own->data[DX],
                                     .width = d->width,
                                     .is_narrow = d->is_narrow};
    if (parts) parts += 2 * i * d->width;
    kernels->backward(&r, i * PIECE, end_of(i, d->rows), parts, parts ? parts + d->width : NULL);
}

static void add_piece(void *self, size_t strip) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    const float *parts = own->data[PARTS];
    for (size_t k = 0; k < 2; k++) {
        float *out = own->data[DGAMMA + k];
        if (out) add_parts(parts + k * d->width, n_pieces_of(d->rows), 2 * d->width, strip, d->width, out);
    }
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    graft_cpu_parallel(self, n_pieces_of(d->rows), backward_piece);
    if (own->data[PARTS]) graft_cpu_parallel(self, n_strips_of(d->width), add_piece);
    return 0;
}

int graft_cpu_layer_norm_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_layer_norm_kernels *kernels = GRAFT_CPU_CHOOSE(l, graft_layer_norm);
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    norm_dims d = dims_of(l, n->in[X], dtype);
    graft_cpu_own own = {.n_buffers = PARTS + 1, .attr = &d, .kernel = kernels};
    bool has_dx = graft_lower_is_used(l, n->out[0]), has_sums = false;
    int rc = 0;
    for (size_t k = DX; k <= PARTS; k++) own.buffers[k] = GRAFT_NONE;
    for (size_t k = DY; k <= RSTD && rc == 0; k++)
        rc = graft_cpu_want_rows(l, n->in[k], k <= X ? dtype : GRAFT_F32, &own.buffers[k], err);
    if (rc == 0 && has_dx) rc = graft_cpu_take_rows(l, n, 0, own.buffers[DY], dtype, &own.buffers[DX], err);
    for (size_t k = 1; k < 3 && rc == 0; k++) {
        if (!graft_lower_is_used(l, n->out[k])) continue;
        has_sums = true;
        rc = graft_cpu_new_plain(l, n->out[k], &own.buffers[DX + k], err);
    }
    if (rc == 0 && has_sums)
        rc = graft_lower_scratch(l, n_pieces_of(d.rows) * 2 * d.width * sizeof(float), &own.buffers[PARTS],
                                 err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, kernels->grad_name, run_backward, own, sizeof d, err);
}

/* ---- Sums of columns -------------------------------------------------------------------------------------- */

/* buffers: x, sums, parts */
static void sums_piece(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    const graft_layer_norm_kernels *kernels = own->kernel;
    kernels->column_sums(own->data[0], d->width, i * PIECE, end_of(i, d->rows),
                         (float *)own->data[2] + i * d->width, d->is_narrow);
}

static void sums_strip(void *self, size_t strip) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    add_parts(own->data[2], n_pieces_of(d->rows), d->width, strip, d->width, own->data[1]);
}

static int run_sums(void *self) {
    const graft_cpu_own *own = self;
    const norm_dims *d = own->attr;
    graft_cpu_parallel(self, n_pieces_of(d->rows), sums_piece);
    graft_cpu_parallel(self, n_strips_of(d->width), sums_strip);
    return 0;
}

int graft_cpu_emit_column_sums(graft_lowering *l, graft_buffer from, graft_dtype dtype,
                               const graft_shape *shape, graft_buffer to, graft_err *err) {
    const graft_layer_norm_kernels *kernels = GRAFT_CPU_CHOOSE(l, graft_layer_norm);
    norm_dims d = {
        .rows = (size_t)shape->dims[0], .width = (size_t)shape->dims[1], .is_narrow = dtype == GRAFT_BF16};
    graft_cpu_own own = {.buffers = {from, to}, .n_buffers = 3, .attr = &d, .kernel = kernels};
    int rc = graft_lower_scratch(l, n_pieces_of(d.rows) * d.width * sizeof(float), &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, kernels->sums_name, run_sums, own, sizeof d, err);
}
