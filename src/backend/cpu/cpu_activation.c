/* Smooth activations and their gradients: own loops over whatever layout the values have, in place where the
 * op allows. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/activation.h"

enum { PIECE = 1 << 14 };

typedef struct activation_dims {
    graft_activation_attr attr;
    bool is_narrow, is_grad;
} activation_dims;

/* buffers: x, y; or x, dx, dy */
static void piece(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const activation_dims *d = own->attr;
    const graft_activation_kernels *kernels = own->kernel;
    const size_t begin = i * PIECE, end = begin + PIECE < own->count ? begin + PIECE : own->count;
    const graft_activation_span s = {.x = own->data[0],
                                     .y = own->data[1],
                                     .dy = own->data[2],
                                     .act = d->attr.act,
                                     .is_narrow = d->is_narrow};
    (d->is_grad ? kernels->backward : kernels->forward)(&s, begin, end);
}

static int run(void *self) {
    const graft_cpu_own *own = self;
    graft_cpu_parallel(self, (own->count + PIECE - 1) / PIECE, piece);
    return 0;
}

static int prepare(graft_lowering *l, const graft_node *n, graft_value x, graft_value dy, graft_err *err) {
    const graft_activation_kernels *kernels = GRAFT_CPU_CHOOSE(l, graft_activation);
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    activation_dims d = {.attr = *(const graft_activation_attr *)n->attr,
                         .is_narrow = dtype == GRAFT_BF16,
                         .is_grad = dy != GRAFT_NONE};
    graft_cpu_own own = {
        .buffers = {GRAFT_NONE, GRAFT_NONE, GRAFT_NONE}, .n_buffers = 3, .attr = &d, .kernel = kernels};
    const_dnnl_memory_desc_t md;
    int rc = graft_cpu_md_as_is(&md, l, x, dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, x, md, dtype, &own.buffers[0], err);
    if (rc == 0 && d.is_grad) rc = graft_cpu_want(l, dy, md, dtype, &own.buffers[2], err);
    if (rc == 0) {
        rc = graft_cpu_take(l, n, 0, own.buffers[d.is_grad ? 2 : 0], md, dtype, &own.buffers[1], err);
    }
    if (rc < 0) return rc;
    own.count = dnnl_memory_desc_get_size(md) / graft_dtype_size(dtype);
    return graft_cpu_emit_own(l, d.is_grad ? kernels->grad_name : kernels->name, run, own, sizeof d, err);
}

int graft_cpu_activation(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, n->in[0], GRAFT_NONE, err);
}

int graft_cpu_activation_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, n->in[1], n->in[0], err);
}
