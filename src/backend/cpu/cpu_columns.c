/* Some of a matrix's columns, and back among zeros; two matrices beside each other: copies of parts of rows
 * in whatever type they have. */
#include "backend/cpu/cpu.h"

#include <string.h>

enum { ROWS = 64 /* of a piece */ };

typedef struct columns_dims {
    size_t rows, row_size, part_at, part_size; /* bytes */
} columns_dims;

static size_t end_of(size_t piece, size_t rows) {
    return (piece + 1) * ROWS < rows ? (piece + 1) * ROWS : rows;
}

/* buffers: the rows, the parts */
static void take_out(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const columns_dims *d = own->attr;
    const char *rows = own->data[0];
    char *parts = own->data[1];
    for (size_t t = i * ROWS; t < end_of(i, d->rows); t++)
        memcpy(parts + t * d->part_size, rows + t * d->row_size + d->part_at, d->part_size);
}

static void put_back(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const columns_dims *d = own->attr;
    char *rows = own->data[0];
    const char *parts = own->data[1];
    const size_t rest_at = d->part_at + d->part_size;
    for (size_t t = i * ROWS; t < end_of(i, d->rows); t++) {
        char *row = rows + t * d->row_size;
        memset(row, 0, d->part_at);
        memcpy(row + d->part_at, parts + t * d->part_size, d->part_size);
        memset(row + rest_at, 0, d->row_size - rest_at);
    }
}

static int run_out(void *self) {
    const graft_cpu_own *own = self;
    const columns_dims *d = own->attr;
    graft_cpu_parallel(self, (d->rows + ROWS - 1) / ROWS, take_out);
    return 0;
}

static int run_back(void *self) {
    const graft_cpu_own *own = self;
    const columns_dims *d = own->attr;
    graft_cpu_parallel(self, (d->rows + ROWS - 1) / ROWS, put_back);
    return 0;
}

static columns_dims dims_of(const graft_lowering *l, const graft_node *n, graft_value rows,
                            graft_dtype dtype) {
    const graft_columns_attr *a = n->attr;
    const graft_shape shape = graft_cpu_matrix(l, rows);
    const size_t size = graft_dtype_size(dtype);
    return (columns_dims){.rows = (size_t)shape.dims[0],
                          .row_size = (size_t)shape.dims[1] * size,
                          .part_at = (size_t)a->first * size,
                          .part_size = (size_t)a->count * size};
}

int graft_cpu_columns(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    columns_dims d = dims_of(l, n, n->in[0], dtype);
    graft_cpu_own own = {.n_buffers = 2, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_new_rows(l, n->out[0], dtype, &own.buffers[1], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "columns", run_out, own, sizeof d, err);
}

int graft_cpu_columns_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    columns_dims d = dims_of(l, n, n->out[0], dtype);
    graft_cpu_own own = {.n_buffers = 2, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_new_rows(l, n->out[0], dtype, &own.buffers[0], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "columns_grad", run_back, own, sizeof d, err);
}

/* buffers: the results, the first and the second matrix */
static void put_beside(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const columns_dims *d = own->attr;
    char *rows = own->data[0];
    const char *parts = own->data[1], *rest = own->data[2];
    const size_t rest_size = d->row_size - d->part_size;
    for (size_t t = i * ROWS; t < end_of(i, d->rows); t++) {
        memcpy(rows + t * d->row_size, parts + t * d->part_size, d->part_size);
        memcpy(rows + t * d->row_size + d->part_size, rest + t * rest_size, rest_size);
    }
}

static int run_beside(void *self) {
    const graft_cpu_own *own = self;
    const columns_dims *d = own->attr;
    graft_cpu_parallel(self, (d->rows + ROWS - 1) / ROWS, put_beside);
    return 0;
}

int graft_cpu_beside(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    const graft_shape *whole = graft_lower_shape(l, n->out[0]), *part = graft_lower_shape(l, n->in[0]);
    const size_t size = graft_dtype_size(dtype);
    columns_dims d = {.rows = (size_t)whole->dims[0],
                      .row_size = (size_t)whole->dims[1] * size,
                      .part_size = (size_t)part->dims[1] * size};
    graft_cpu_own own = {.n_buffers = 3, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[1], dtype, &own.buffers[2], err);
    if (rc == 0) rc = graft_cpu_new_rows(l, n->out[0], dtype, &own.buffers[0], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "beside", run_beside, own, sizeof d, err);
}
