/* What all samples share, copied once for each; its gradient adds the samples' up. */
#include "backend/cpu/cpu.h"

#include <string.h>

typedef struct repeat_dims {
    size_t samples, size; /* bytes of a sample */
} repeat_dims;

/* buffers: x, y */
static void copy_sample(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const repeat_dims *d = own->attr;
    memcpy((char *)own->data[1] + i * d->size, own->data[0], d->size);
}

static int run_copies(void *self) {
    const graft_cpu_own *own = self;
    graft_cpu_parallel(self, ((const repeat_dims *)own->attr)->samples, copy_sample);
    return 0;
}

static int64_t elements_of_sample(const graft_shape *shape) {
    int64_t n = 1;
    for (int d = 1; d < shape->rank; d++) n *= shape->dims[d];
    return n;
}

int graft_cpu_repeat(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    const graft_shape *shape = graft_lower_shape(l, n->out[0]);
    repeat_dims d = {.samples = (size_t)shape->dims[0],
                     .size = (size_t)elements_of_sample(shape) * graft_dtype_size(dtype)};
    graft_cpu_own own = {.n_buffers = 2, .attr = &d};
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own.buffers[0], err);
    if (rc == 0) rc = graft_cpu_new_rows(l, n->out[0], dtype, &own.buffers[1], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "repeat", run_copies, own, sizeof d, err);
}

int graft_cpu_repeat_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    const graft_dtype dtype = graft_lower_dtype(l, n->in[0]) == GRAFT_BF16 ? GRAFT_BF16 : GRAFT_F32;
    const graft_shape *shape = graft_lower_shape(l, n->in[0]);
    const graft_shape rows = {.rank = 2, .dims = {shape->dims[0], elements_of_sample(shape)}};
    graft_buffer from, to;
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &from, err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[0], &to, err);
    return rc < 0 ? rc : graft_cpu_emit_column_sums(l, from, dtype, &rows, to, err);
}
