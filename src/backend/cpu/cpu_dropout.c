/* Dropout and its gradient: the same loop, which elements are kept being a function of the seeds
 * (graph/op/mix.h). */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/dropout.h"
#include "backend/cpu/own/narrow.h"

enum { PIECE = 1 << 14 }; /* elements; a sample is cut, so that few large ones keep all threads busy */

typedef struct dropout_dims {
    double p;
    int64_t salt;
    size_t n, size, n_pieces; /* samples; elements a sample; pieces a sample */
    bool is_narrow;
} dropout_dims;

/* buffers: x (or dy), seed, y (or dx) */
static void drop(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const dropout_dims *d = own->attr;
    const graft_dropout_kernels *kernels = own->kernel;
    const size_t n = i / d->n_pieces, begin = i % d->n_pieces * PIECE;
    const graft_dropout_span s = {.x = narrow_at(own->data[0], n * d->size, d->is_narrow),
                                  .y = narrow_at_mut(own->data[2], n * d->size, d->is_narrow),
                                  .key = graft_dropout_key_of(own->data[1], d->salt, (int64_t)n),
                                  .threshold = graft_dropout_threshold(d->p),
                                  .scale = (float)(1.0 / (1.0 - d->p)),
                                  .is_narrow = d->is_narrow};
    kernels->drop(&s, begin, begin + PIECE < d->size ? begin + PIECE : d->size);
}

static int run(void *self) {
    const graft_cpu_own *own = self;
    const dropout_dims *d = own->attr;
    graft_cpu_parallel(self, d->n * d->n_pieces, drop);
    return 0;
}

static int prepare(graft_lowering *l, const graft_node *n, const char *name, graft_err *err) {
    const graft_dropout_attr *a = n->attr;
    const graft_shape *shape = graft_lower_shape(l, n->in[0]);
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    int64_t count = 1;
    graft_shape_count(shape, &count);
    const size_t size = (size_t)(count / shape->dims[0]);
    dropout_dims d = {.p = a->p,
                      .salt = a->salt,
                      .n = (size_t)shape->dims[0],
                      .size = size,
                      .n_pieces = (size + PIECE - 1) / PIECE,
                      .is_narrow = dtype == GRAFT_BF16};
    graft_cpu_own own = {.n_buffers = 3, .attr = &d, .kernel = GRAFT_CPU_CHOOSE(l, graft_dropout)};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[1], GRAFT_I32, &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_take_rows(l, n, 0, own.buffers[0], dtype, &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, name, run, own, sizeof d, err);
}

int graft_cpu_dropout(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, GRAFT_CPU_CHOOSE(l, graft_dropout)->name, err);
}

int graft_cpu_dropout_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, GRAFT_CPU_CHOOSE(l, graft_dropout)->grad_name, err);
}
