/* Ops that move elements: subsampling, with zero channels beside it the parameter-free shortcut of CIFAR
 * networks, and views. Where no channels are added, whole pixels move, in the layout in which x lies; else
 * planes of C order. */
#include "backend/cpu/cpu.h"

#include <string.h>

typedef struct subsample_dims {
    int64_t n, c, h, w, c_out, h_out, w_out, stride, front; /* c: planes of a sample */
    size_t element;                                         /* bytes of a pixel of a plane */
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

/* One plane: y (h_out, w_out) from or to every stride-th element of x (h, w). */
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

/* The layout of x and y: x's own where whole pixels can move, else C order. */
static int prepare(graft_lowering *l, const graft_node *n, graft_value x, graft_value y, bool forward,
                   graft_err *err) {
    graft_value from = n->in[0], to = n->out[0];
    graft_dtype dtype = graft_lower_dtype(l, to);
    const graft_shape *from_shape = graft_lower_shape(l, from), *to_shape = graft_lower_shape(l, to);
    subsample_dims d = dims_of(l, n->attr, x, y, dtype);
    graft_cpu_own own = {.n_buffers = 2, .attr = &d};
    const_dnnl_memory_desc_t from_md;
    dnnl_memory_desc_t plain, to_md;
    int rc = graft_cpu_md_as_is(&from_md, l, from, dtype, err);
    if (rc < 0) return rc;
    int64_t block = d.c == d.c_out ? graft_cpu_block(from_md) : 0;
    if (block > 0 && (block == d.c || block == 4 || block == 8 || block == 16)) {
        rc = graft_cpu_md_blocked(&to_md, l, to_shape, block, dtype, err);
        d.element *= (size_t)block;
        d.c = d.c_out = (d.c + block - 1) / block;
    } else {
        rc = graft_cpu_md(&plain, graft_lower_arena(l), dtype, from_shape, false, err);
        if (rc == 0) rc = graft_cpu_md(&to_md, graft_lower_arena(l), dtype, to_shape, false, err);
        from_md = plain;
    }
    if (rc == 0) rc = graft_cpu_want(l, from, from_md, dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_new(l, to, to_md, dtype, &own.buffers[1], err);
    if (rc < 0) return rc;
    return graft_cpu_emit_own(l, "subsample_pad", forward ? run_forward : run_backward, own, sizeof d, err);
}

int graft_cpu_subsample_pad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, n->in[0], n->out[0], true, err);
}

int graft_cpu_subsample_pad_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, n->out[0], n->in[0], false, err);
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
