/* Ops that move elements: the parameter-free shortcut (own loops over C order) and views. */
#include "backend/cpu/cpu.h"

#include <string.h>

typedef struct subsample_dims {
    int64_t n, c, h, w, c_out, h_out, w_out, stride, front;
    size_t element; /* bytes */
} subsample_dims;

static subsample_dims dims_of(const graft_lowering *l, const graft_subsample_attr *a, graft_value x,
                              graft_value y, graft_dtype dtype) {
    const graft_shape *xs = graft_lower_shape(l, x), *ys = graft_lower_shape(l, y);
    return (subsample_dims){.n = xs->dims[0],
                            .c = xs->dims[1],
                            .h = xs->dims[2],
                            .w = xs->dims[3],
                            .c_out = ys->dims[1],
                            .h_out = ys->dims[2],
                            .w_out = ys->dims[3],
                            .stride = a->stride,
                            .front = a->front,
                            .element = graft_dtype_size(dtype)};
}

/* One channel plane: y (h_out, w_out) from or to every stride-th element of x (h, w). */
static void move_plane(const subsample_dims *d, const unsigned char *from, unsigned char *to, bool forward) {
    for (int64_t i = 0; i < d->h_out; i++) {
        for (int64_t k = 0; k < d->w_out; k++) {
            size_t x = (size_t)(i * d->stride * d->w + k * d->stride) * d->element;
            size_t y = (size_t)(i * d->w_out + k) * d->element;
            memcpy(to + (forward ? y : x), from + (forward ? x : y), d->element);
        }
    }
}

/* buffers: x, y */
static void forward_plane(void *self, size_t p) {
    const graft_cpu_own *own = self;
    const subsample_dims *d = own->attr;
    size_t x_plane = (size_t)(d->h * d->w) * d->element, y_plane = (size_t)(d->h_out * d->w_out) * d->element;
    const unsigned char *x = own->data[0];
    unsigned char *y = (unsigned char *)own->data[1] + p * y_plane;
    int64_t n = (int64_t)p / d->c_out, c = (int64_t)p % d->c_out - d->front;
    if (c < 0 || c >= d->c) {
        memset(y, 0, y_plane);
    } else {
        move_plane(d, x + (size_t)(n * d->c + c) * x_plane, y, true);
    }
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    const subsample_dims *d = own->attr;
    graft_cpu_parallel(self, (size_t)(d->n * d->c_out), forward_plane);
    return 0;
}

/* buffers: dy, dx */
static void backward_plane(void *self, size_t p) {
    const graft_cpu_own *own = self;
    const subsample_dims *d = own->attr;
    size_t x_plane = (size_t)(d->h * d->w) * d->element, y_plane = (size_t)(d->h_out * d->w_out) * d->element;
    const unsigned char *dy = own->data[0];
    unsigned char *dx = (unsigned char *)own->data[1] + p * x_plane;
    int64_t n = (int64_t)p / d->c, c = (int64_t)p % d->c + d->front;
    memset(dx, 0, x_plane);
    move_plane(d, dy + (size_t)(n * d->c_out + c) * y_plane, dx, false);
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    const subsample_dims *d = own->attr;
    graft_cpu_parallel(self, (size_t)(d->n * d->c), backward_plane);
    return 0;
}

static int prepare(graft_lowering *l, const subsample_dims *d, graft_value from, graft_value to,
                   graft_dtype dtype, int (*run)(void *), graft_err *err) {
    graft_cpu_own own = {.n_buffers = 2, .attr = d};
    dnnl_memory_desc_t from_md, to_md;
    int rc = graft_cpu_md(&from_md, graft_lower_arena(l), dtype, graft_lower_shape(l, from), false, err);
    if (rc == 0) rc = graft_cpu_md(&to_md, graft_lower_arena(l), dtype, graft_lower_shape(l, to), false, err);
    if (rc == 0) rc = graft_cpu_want(l, from, from_md, dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_new(l, to, to_md, dtype, &own.buffers[1], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "subsample_pad", run, own, sizeof *d, err);
}

int graft_cpu_subsample_pad(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    subsample_dims d = dims_of(l, n->attr, n->in[0], n->out[0], dtype);
    return prepare(l, &d, n->in[0], n->out[0], dtype, run_forward, err);
}

int graft_cpu_subsample_pad_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    subsample_dims d = dims_of(l, n->attr, n->out[0], n->in[0], dtype);
    return prepare(l, &d, n->in[0], n->out[0], dtype, run_backward, err);
}

static int view(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_value x = n->in[0], y = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, y);
    dnnl_memory_desc_t x_md, y_md;
    graft_buffer b;
    int rc = graft_cpu_md(&x_md, graft_lower_arena(l), dtype, graft_lower_shape(l, x), false, err);
    if (rc == 0) rc = graft_cpu_md(&y_md, graft_lower_arena(l), dtype, graft_lower_shape(l, y), false, err);
    if (rc == 0) rc = graft_cpu_want(l, x, x_md, dtype, &b, err);
    if (rc < 0) return rc;
    graft_layout layout = graft_cpu_layout(y_md, dtype);
    return graft_lower_reuse(l, y, &layout, b, err);
}

int graft_cpu_flatten(graft_lowering *l, const graft_node *n, graft_err *err) {
    return view(l, n, err);
}

int graft_cpu_flatten_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return view(l, n, err);
}
