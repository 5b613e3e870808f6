/* The recurrence of an LSTM and its gradient: samples in groups, one task a group. What a row comes to
 * depends on its sample alone, so neither groups nor threads change a bit. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/lstm.h"

#include <string.h>

static const graft_lstm_kernels *choose(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return &graft_lstm_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &graft_lstm_avx2;
#endif
    return &graft_lstm_base;
}

/* Buffers of the forward step; of the gradient's. The last is scratch: packed weights, then a part for each
 * group. */
enum { PRE, W_HH, B_HH, SPANS, Y, GATES, CELLS, WORK };
enum { DY, Y_IN, GATES_IN, CELLS_IN, GRAD_W_HH, GRAD_SPANS, DPRE, BEFORE, GRAD_WORK };

typedef struct lstm_dims {
    size_t n_samples, n_tokens, size, n_groups;
    int64_t reverse;
} lstm_dims;

/* The samples of a group, their scratch and the packed weights. */
static graft_lstm_group group_of(const graft_cpu_own *own, size_t group, size_t spans, size_t work) {
    const lstm_dims *d = own->attr;
    const graft_lstm_kernels *k = own->kernel;
    const size_t from = d->n_samples * group / d->n_groups, to = d->n_samples * (group + 1) / d->n_groups;
    float *packed = own->data[work];
    graft_lstm_group g = {.size = d->size,
                          .n = to - from,
                          .reverse = d->reverse != 0,
                          .packed = packed,
                          .scratch = packed + k->packed(d->size) + group * k->scratch(d->size)};
    for (size_t s = 0; s < g.n; s++) {
        const int32_t *span = (const int32_t *)own->data[spans] + 2 * (from + s);
        g.spans[s] = graft_tokens_of(span[0], span[1], (int64_t)d->n_tokens);
    }
    return g;
}

static void forward_group(void *self, size_t group) {
    const graft_cpu_own *own = self;
    graft_lstm_group g = group_of(own, group, SPANS, WORK);
    g.pre = own->data[PRE];
    g.y = own->data[Y];
    g.gates = own->data[GATES];
    g.cells = own->data[CELLS];
    ((const graft_lstm_kernels *)own->kernel)->forward(&g);
}

static int run(void *self) {
    const graft_cpu_own *own = self;
    const lstm_dims *d = own->attr;
    const size_t row = d->n_tokens * d->size * sizeof(float);
    ((const graft_lstm_kernels *)own->kernel)
        ->pack(own->data[WORK], own->data[W_HH], own->data[B_HH], d->size);
    memset(own->data[Y], 0, row);
    memset(own->data[CELLS], 0, row);
    memset(own->data[GATES], 0, 4 * row);
    graft_cpu_parallel(self, d->n_groups, forward_group);
    return 0;
}

static void backward_group(void *self, size_t group) {
    const graft_cpu_own *own = self;
    graft_lstm_group g = group_of(own, group, GRAD_SPANS, GRAD_WORK);
    g.dy = own->data[DY];
    g.y_in = own->data[Y_IN];
    g.gates_in = own->data[GATES_IN];
    g.cells_in = own->data[CELLS_IN];
    g.dpre = own->data[DPRE];
    g.before = own->data[BEFORE];
    ((const graft_lstm_kernels *)own->kernel)->backward(&g);
}

static int run_grad(void *self) {
    const graft_cpu_own *own = self;
    const lstm_dims *d = own->attr;
    const size_t row = d->n_tokens * d->size * sizeof(float);
    ((const graft_lstm_kernels *)own->kernel)->grad_pack(own->data[GRAD_WORK], own->data[GRAD_W_HH], d->size);
    memset(own->data[BEFORE], 0, row);
    memset(own->data[DPRE], 0, 4 * row);
    graft_cpu_parallel(self, d->n_groups, backward_group);
    return 0;
}

/* Inputs, results and scratch in the order of the op, which is that of the buffers. */
static int prepare(graft_lowering *l, const graft_node *n, size_t w_hh, size_t spans, lstm_dims *d,
                   graft_cpu_own *own, graft_err *err) {
    const graft_lstm_attr *a = n->attr;
    const graft_lstm_kernels *k = choose();
    const graft_cpu *cpu = graft_lower_device(l);
    *d = (lstm_dims){.n_samples = (size_t)graft_lower_shape(l, n->in[spans])->dims[0],
                     .n_tokens = (size_t)graft_lower_shape(l, n->in[0])->dims[0],
                     .size = (size_t)graft_lower_shape(l, n->in[w_hh])->dims[1],
                     .reverse = a->reverse};
    size_t threads = cpu->threads > 1 ? (size_t)cpu->threads : 1;
    size_t least = (d->n_samples + GRAFT_LSTM_GROUP - 1) / GRAFT_LSTM_GROUP;
    d->n_groups = threads > least ? threads : least;
    if (d->n_groups > d->n_samples) d->n_groups = d->n_samples;
    *own = (graft_cpu_own){.n_buffers = n->n_in + n->n_out + 1, .attr = d, .kernel = k};
    dnnl_memory_desc_t md;
    int rc = 0;
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        own->buffers[i] = GRAFT_NONE;
        if (n->in[i] == GRAFT_NONE) continue;
        graft_dtype dtype = i == spans ? GRAFT_I32 : GRAFT_F32;
        rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, graft_lower_shape(l, n->in[i]), false, err);
        if (rc == 0) rc = graft_cpu_want(l, n->in[i], md, dtype, &own->buffers[i], err);
    }
    for (size_t o = 0; o < n->n_out && rc == 0; o++)
        rc = graft_cpu_new_plain(l, n->out[o], &own->buffers[n->n_in + o], err);
    size_t work = k->packed(d->size) + d->n_groups * k->scratch(d->size);
    return rc < 0 ? rc : graft_lower_scratch(l, work * sizeof(float), &own->buffers[n->n_in + n->n_out], err);
}

int graft_cpu_lstm(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own;
    lstm_dims d;
    int rc = prepare(l, n, W_HH, SPANS, &d, &own, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, choose()->name, run, own, sizeof d, err);
}

int graft_cpu_lstm_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own;
    lstm_dims d;
    int rc = prepare(l, n, GRAD_W_HH, GRAD_SPANS, &d, &own, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, choose()->grad_name, run_grad, own, sizeof d, err);
}
