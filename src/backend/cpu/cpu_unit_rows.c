/* Rows of length one and their gradient; rows are few (one a sample), so a plain loop does. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/narrow.h"

#include <math.h>

static const float shortest = 1e-12F;

typedef struct unit_dims {
    size_t rows, width;
    bool is_narrow;
} unit_dims;

/* Squares are summed in double: a row may be so long that float32 overflows. */
static float length_of(const void *x, size_t width, bool is_narrow) {
    double squares = 0.0;
    for (size_t d = 0; d < width; d++) {
        const double value = (double)narrow_load(x, d, is_narrow);
        squares += value * value;
    }
    return (float)sqrt(squares);
}

/* buffers: x, y */
static void forward_row(void *self, size_t row) {
    const graft_cpu_own *own = self;
    const unit_dims *u = own->attr;
    const void *x = narrow_at(own->data[0], row * u->width, u->is_narrow);
    void *y = narrow_at_mut(own->data[1], row * u->width, u->is_narrow);
    const float length = length_of(x, u->width, u->is_narrow),
                divisor = length > shortest ? length : shortest;
    for (size_t d = 0; d < u->width; d++)
        narrow_store(y, d, narrow_load(x, d, u->is_narrow) / divisor, u->is_narrow);
}

/* buffers: x, dx, dy */
static void backward_row(void *self, size_t row) {
    const graft_cpu_own *own = self;
    const unit_dims *u = own->attr;
    const void *x = narrow_at(own->data[0], row * u->width, u->is_narrow);
    const void *dy = narrow_at(own->data[2], row * u->width, u->is_narrow);
    void *dx = narrow_at_mut(own->data[1], row * u->width, u->is_narrow);
    const float length = length_of(x, u->width, u->is_narrow),
                divisor = length > shortest ? length : shortest;
    double along = 0.0;
    for (size_t d = 0; d < u->width; d++)
        along +=
            (double)narrow_load(dy, d, u->is_narrow) * (double)(narrow_load(x, d, u->is_narrow) / divisor);
    const float share = length < shortest ? 0.0F : (float)along;
    for (size_t d = 0; d < u->width; d++) {
        const float unit = narrow_load(x, d, u->is_narrow) / divisor;
        narrow_store(dx, d, (narrow_load(dy, d, u->is_narrow) - share * unit) / divisor, u->is_narrow);
    }
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    graft_cpu_parallel(self, ((const unit_dims *)own->attr)->rows, forward_row);
    return 0;
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    graft_cpu_parallel(self, ((const unit_dims *)own->attr)->rows, backward_row);
    return 0;
}

static unit_dims dims_of(const graft_lowering *l, graft_value x, graft_dtype dtype) {
    const graft_shape *shape = graft_lower_shape(l, x);
    return (unit_dims){
        .rows = (size_t)shape->dims[0], .width = (size_t)shape->dims[1], .is_narrow = dtype == GRAFT_BF16};
}

int graft_cpu_unit_rows(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    unit_dims d = dims_of(l, n->in[0], dtype);
    graft_cpu_own own = {.n_buffers = 2, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_take_rows(l, n, 0, own.buffers[0], dtype, &own.buffers[1], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "unit_rows", run_forward, own, sizeof d, err);
}

int graft_cpu_unit_rows_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    unit_dims d = dims_of(l, n->in[1], dtype);
    graft_cpu_own own = {.n_buffers = 3, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[1], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[2], err);
    if (rc == 0) rc = graft_cpu_take_rows(l, n, 0, own.buffers[2], dtype, &own.buffers[1], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "unit_rows_grad", run_backward, own, sizeof d, err);
}
