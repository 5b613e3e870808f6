/* Attention and its gradient: one task a head of a sample (and a run of its rows, in the forward pass), each
 * computed in the same way whichever thread takes it. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/attention.h"

static const graft_attention_kernels *choose(const graft_cpu_isa *isa, bool narrow) {
    (void)isa;
    (void)narrow;
#if defined(__x86_64__)
    if (narrow && isa->amx) return &graft_attention_amx;
    if (narrow && isa->avx512bf16 && !isa->slow_bf16) return &graft_attention_avx512bf16;
    if (isa->avx512) return &graft_attention_avx512;
    if (isa->avx2) return &graft_attention_avx2;
#endif
    return &graft_attention_base;
}

/* buffers: q, k, v, spans, seed (two that may be absent), then y, lse (results of the forward pass, inputs of
 * the gradient), and of the gradient dy, dq, dk, dv; the last is scratch:
 *
 *     first task of each sample (n + 1) | dq summed in float32 (T, D), where it is needed | a part for each
 * thread */
enum { Q, K, V, SPANS, SEED, Y, LSE, DY, DQ, DK, DV };

typedef struct attention_dims {
    graft_attention_attr attr;
    size_t n, tokens, longest, width; /* samples; rows, of a sample at most; columns of a head */
    size_t task_rows;                 /* rows of a task */
    size_t scratch, sum_at, thread_at, thread_size;
    bool narrow;
} attention_dims;

static graft_tokens tokens_of(const graft_cpu_own *own, size_t sample) {
    const attention_dims *d = own->attr;
    const int32_t *spans = own->data[SPANS];
    if (!spans) return (graft_tokens){(int64_t)(sample * d->longest), (int64_t)d->longest};
    return graft_tokens_of(spans[2 * sample], spans[2 * sample + 1], (int64_t)d->tokens);
}

static void zero_rest(const graft_cpu_own *own, size_t buffer, size_t row_size) {
    const attention_dims *d = own->attr;
    graft_cpu_clear_rest(own->data[buffer], row_size, own, tokens_of, d->n, d->tokens);
}

/* Fills the table of tasks; returns their number. */
static size_t list_tasks(const graft_cpu_own *own) {
    const attention_dims *d = own->attr;
    size_t *first = own->data[d->scratch], total = 0;
    for (size_t n = 0; n < d->n; n++) {
        first[n] = total;
        size_t rows = (size_t)tokens_of(own, n).count;
        total += (rows + d->task_rows - 1) / d->task_rows * (size_t)d->attr.heads;
    }
    return first[d->n] = total;
}

static size_t sample_of(const size_t *first, size_t n, size_t task) {
    size_t low = 0, high = n; /* first[low] <= task < first[high] */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        *(first[middle] <= task ? &low : &high) = middle;
    }
    return low;
}

static void *element(const graft_cpu_own *own, size_t buffer, size_t at) {
    const attention_dims *d = own->attr;
    return (unsigned char *)own->data[buffer] + at * (d->narrow ? 2 : 4);
}

/* What forward and gradient have in common. *at: where the head begins in a (T,D) value. */
static graft_attention_head head_of(const graft_cpu_own *own, size_t task, size_t thread, size_t *at) {
    const attention_dims *d = own->attr;
    unsigned char *scratch = own->data[d->scratch];
    const size_t *first = own->data[d->scratch];
    size_t sample = sample_of(first, d->n, task), heads = (size_t)d->attr.heads;
    graft_tokens t = tokens_of(own, sample);
    size_t number = (task - first[sample]) % heads, row = (task - first[sample]) / heads * d->task_rows;
    graft_attention_head h = {.n = (size_t)t.count,
                              .width = d->width,
                              .stride = d->width * heads,
                              .lse_stride = heads,
                              .narrow = d->narrow,
                              .causal = d->attr.causal != 0,
                              .scale = (float)d->attr.scale,
                              .p = d->attr.p,
                              .index = number,
                              .first = row,
                              .scratch = scratch + d->thread_at + thread * d->thread_size};
    h.last = h.n < row + d->task_rows ? h.n : row + d->task_rows;
    if (d->attr.p > 0) h.key = graft_dropout_key_of(own->data[SEED], d->attr.salt, (int64_t)sample);
    *at = (size_t)t.first * h.stride + number * h.width;
    h.q = element(own, Q, *at);
    h.k = element(own, K, *at);
    h.v = element(own, V, *at);
    return h;
}

static float *lse_of(const graft_cpu_own *own, const graft_attention_head *h, size_t at) {
    return (float *)own->data[LSE] + at / h->stride * h->lse_stride + h->index;
}

static void forward_task(void *self, size_t task, size_t thread) {
    const graft_cpu_own *own = self;
    const graft_attention_kernels *kernels = own->kernel;
    size_t at;
    graft_attention_head h = head_of(own, task, thread, &at);
    if (kernels->few && h.n <= kernels->few_tokens) kernels = kernels->few;
    h.y = element(own, Y, at);
    h.lse = lse_of(own, &h, at);
    kernels->forward(&h);
}

static void backward_task(void *self, size_t task, size_t thread) {
    const graft_cpu_own *own = self;
    const graft_attention_kernels *kernels = own->kernel;
    const attention_dims *d = own->attr;
    size_t at;
    graft_attention_head h = head_of(own, task, thread, &at);
    if (kernels->few && h.n <= kernels->grad_few_tokens) kernels = kernels->few;
    h.y_in = element(own, Y, at);
    h.lse_in = lse_of(own, &h, at);
    h.dy = element(own, DY, at);
    h.dq = element(own, DQ, at);
    h.dk = element(own, DK, at);
    h.dv = element(own, DV, at);
    float *sums = (float *)(void *)((unsigned char *)own->data[d->scratch] + d->sum_at);
    h.dq_sum = d->narrow ? sums + at : h.dq;
    kernels->backward(&h);
}

static size_t row_size(const attention_dims *d) {
    return d->width * (size_t)d->attr.heads * (d->narrow ? 2 : 4);
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    const attention_dims *d = own->attr;
    zero_rest(own, Y, row_size(d));
    zero_rest(own, LSE, (size_t)d->attr.heads * sizeof(float));
    graft_cpu_parallel_uneven(self, list_tasks(own), forward_task);
    return 0;
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    const attention_dims *d = own->attr;
    for (size_t b = DQ; b <= DV; b++) zero_rest(own, b, row_size(d));
    graft_cpu_parallel_uneven(self, list_tasks(own), backward_task);
    return 0;
}

static size_t round_up(size_t n) {
    return (n + 63) / 64 * 64;
}

/* Wants the first n inputs: all as (T,D) values of one type but spans, seed and lse. */
static int want_inputs(graft_lowering *l, const graft_node *n, const_dnnl_memory_desc_t md, graft_dtype dtype,
                       graft_buffer *out, graft_err *err) {
    dnnl_memory_desc_t whole;
    int rc = 0;
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        out[i] = GRAFT_NONE;
        if (n->in[i] == GRAFT_NONE) continue;
        if (i == LSE) {
            rc = graft_cpu_want_plain(l, n->in[i], &out[i], err);
        } else if (i == SPANS || i == SEED) {
            rc = graft_cpu_md(&whole, graft_lower_arena(l), GRAFT_I32, graft_lower_shape(l, n->in[i]), false,
                              err);
            if (rc == 0) rc = graft_cpu_want(l, n->in[i], whole, GRAFT_I32, &out[i], err);
        } else {
            rc = graft_cpu_want(l, n->in[i], md, dtype, &out[i], err);
        }
    }
    return rc;
}

/* The type that all (T,D) values of the node have in memory. */
static graft_dtype type_of(const graft_lowering *l, const graft_node *n) {
    for (size_t i = 0; i < 3; i++)
        if (graft_lower_dtype(l, n->in[i]) == GRAFT_BF16) return GRAFT_BF16;
    return GRAFT_F32;
}

/* Bytes that a thread needs for samples of up to so many tokens, by either version. */
static size_t scratch_of(const graft_attention_kernels *k, bool back, size_t tokens, size_t width) {
    size_t size = back ? k->grad_scratch(tokens, width) : k->scratch(tokens, width), of_few = 0;
    if (k->few) {
        size_t few = back ? k->grad_few_tokens : k->few_tokens;
        if (few > tokens) few = tokens;
        of_few = back ? k->few->grad_scratch(few, width) : k->few->scratch(few, width);
    }
    return size > of_few ? size : of_few;
}

static int prepare(graft_lowering *l, const graft_node *n, bool back, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    const graft_attention_attr *a = n->attr;
    const graft_shape *q = graft_lower_shape(l, n->in[Q]), shape = graft_cpu_matrix(l, n->in[Q]);
    const bool has_spans = n->in[SPANS] != GRAFT_NONE;
    graft_dtype dtype = type_of(l, n);
    const graft_attention_kernels *kernels = choose(&cpu->isa, dtype == GRAFT_BF16);
    size_t n_buffers = n->n_in + n->n_out;
    attention_dims d = {.attr = *a,
                        .n = (size_t)(has_spans ? graft_lower_shape(l, n->in[SPANS]) : q)->dims[0],
                        .tokens = (size_t)shape.dims[0],
                        .longest = (size_t)q->dims[has_spans ? 0 : 1],
                        .width = (size_t)(shape.dims[1] / a->heads),
                        .scratch = n_buffers,
                        .narrow = dtype == GRAFT_BF16};
    d.task_rows = back ? d.longest : GRAFT_ATTENTION_ROWS;
    d.sum_at = round_up((d.n + 1) * sizeof(size_t));
    d.thread_at = d.sum_at;
    if (back && d.narrow && d.longest > kernels->grad_keys)
        d.thread_at += round_up(d.tokens * (size_t)shape.dims[1] * sizeof(float));
    d.thread_size = scratch_of(kernels, back, d.longest, d.width);
    graft_cpu_own own = {.n_buffers = n_buffers + 1, .attr = &d, .kernel = kernels};
    dnnl_memory_desc_t md;
    int rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, &shape, false, err);
    if (rc == 0) rc = want_inputs(l, n, md, dtype, own.buffers, err);
    for (size_t o = 0; o < n->n_out && rc == 0; o++) {
        graft_buffer *b = &own.buffers[n->n_in + o];
        bool is_lse = !back && o == 1;
        rc = is_lse ? graft_cpu_new_plain(l, n->out[o], b, err)
                    : graft_cpu_new(l, n->out[o], md, dtype, b, err);
    }
    size_t size = d.thread_at + (size_t)cpu->threads * d.thread_size;
    if (rc == 0) rc = graft_lower_scratch(l, size, &own.buffers[n_buffers], err);
    if (rc < 0) return rc;
    return graft_cpu_emit_own(l, back ? kernels->grad_name : kernels->name, back ? run_backward : run_forward,
                              own, sizeof d, err);
}

int graft_cpu_attention(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, false, err);
}

int graft_cpu_attention_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, true, err);
}
