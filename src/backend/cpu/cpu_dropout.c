/* Dropout and its gradient: the same loop, which elements are kept being a function of the seeds
 * (graph/op/mix.h). */
#include "backend/cpu/cpu.h"

typedef struct dropout_dims {
    double p;
    int64_t salt, n, size; /* samples; elements a sample */
} dropout_dims;

/* One sample. buffers: x (or dy), seed, y (or dx) */
static void drop(void *self, size_t n) {
    const graft_cpu_own *own = self;
    const dropout_dims *d = own->attr;
    const float *x = (const float *)own->data[0] + n * (size_t)d->size;
    float *y = (float *)own->data[2] + n * (size_t)d->size;
    const float scale = (float)(1.0 / (1.0 - d->p));
    const uint32_t threshold = graft_dropout_threshold(d->p);
    graft_dropout_key key = graft_dropout_key_of(own->data[1], d->salt, (int64_t)n);
    for (int64_t i = 0; i < d->size; i++)
        y[i] = graft_dropout_keeps(key, (uint32_t)i, threshold) ? x[i] * scale : 0.0F;
}

static int run(void *self) {
    const graft_cpu_own *own = self;
    const dropout_dims *d = own->attr;
    graft_cpu_parallel(self, (size_t)d->n, drop);
    return 0;
}

static int prepare(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_dropout_attr *a = n->attr;
    const graft_shape *shape = graft_lower_shape(l, n->in[0]);
    int64_t count = 1;
    graft_shape_count(shape, &count);
    dropout_dims d = {.p = a->p, .salt = a->salt, .n = shape->dims[0], .size = count / shape->dims[0]};
    graft_cpu_own own = {.n_buffers = 3, .attr = &d};
    dnnl_memory_desc_t md, seed;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), GRAFT_F32, shape, false, err);
    if (rc == 0)
        rc = graft_cpu_md(&seed, graft_lower_arena(l), GRAFT_I32, graft_lower_shape(l, n->in[1]), false, err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[0], md, GRAFT_F32, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[1], seed, GRAFT_I32, &own.buffers[1], err);
    if (rc == 0) rc = graft_cpu_take(l, n, 0, own.buffers[0], md, GRAFT_F32, &own.buffers[2], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "dropout", run, own, sizeof d, err);
}

int graft_cpu_dropout(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, err);
}

int graft_cpu_dropout_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, err);
}
