/* Attention of one token a sample and its gradient: one task a head of a sample. It reads the keys and the
 * values of a text once, and what it computes is a hundredth of what a layer of all tokens does, so plain
 * loops are enough. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/narrow.h"

#include <math.h>

/* buffers: q, k, v, spans, seed, then y, lse (results of the forward pass, inputs of the gradient), and of
 * the gradient dy, dq, dk, dv; the last is scratch: two vectors of scores for each thread */
enum { Q, K, V, SPANS, SEED, Y, LSE, DY, DQ, DK, DV };

typedef struct one_dims {
    graft_attention_one_attr attr;
    size_t samples, tokens, width, row, scratch; /* width, row: columns of a head and of all heads */
    bool is_narrow;
} one_dims;

/* One head of one sample. */
typedef struct head {
    size_t sample, first, count, seen, column; /* rows of the span; keys that the token sees */
    size_t width, row;
    graft_dropout_key key;
    uint32_t element, threshold; /* of the first key's probability */
    float kept;                  /* 1 / (1 - p) */
    float *p, *g;                /* scores, probabilities; their gradients */
    bool is_narrow;
} head;

static graft_tokens tokens_of(const graft_cpu_own *own, size_t sample) {
    const one_dims *d = own->attr;
    const int32_t *span = (const int32_t *)own->data[SPANS] + 2 * sample;
    return graft_tokens_of(span[0], span[1], (int64_t)d->tokens);
}

static head head_of(const graft_cpu_own *own, size_t task, size_t thread) {
    const one_dims *d = own->attr;
    const size_t heads = (size_t)d->attr.heads;
    head h = {.sample = task / heads, .width = d->width, .row = d->row, .is_narrow = d->is_narrow};
    const size_t index = task % heads;
    const graft_tokens t = tokens_of(own, h.sample);
    if (t.count == 0) return h;
    h.first = (size_t)t.first;
    h.count = (size_t)t.count;
    h.column = index * h.width;
    const size_t at = d->attr.kind == GRAFT_SPAN_LAST ? h.count - 1 : 0;
    h.seen = d->attr.causal ? at + 1 : h.count;
    h.element = (uint32_t)((index * h.count + at) * h.count);
    h.threshold = graft_dropout_threshold(d->attr.p);
    h.kept = (float)(1.0 / (1.0 - d->attr.p));
    if (h.threshold > 0) h.key = graft_dropout_key_of(own->data[SEED], d->attr.salt, (int64_t)h.sample);
    h.p = (float *)own->data[d->scratch] + 2 * thread * d->tokens;
    h.g = h.p + d->tokens;
    return h;
}

/* Where the head's columns of its sample's row begin, and those of its token j. */
static const void *own_row(const graft_cpu_own *own, size_t buffer, const head *h) {
    return narrow_at(own->data[buffer], h->sample * h->row + h->column, h->is_narrow);
}

static const void *token_row(const graft_cpu_own *own, size_t buffer, const head *h, size_t j) {
    return narrow_at(own->data[buffer], (h->first + j) * h->row + h->column, h->is_narrow);
}

static void *row_mut(const graft_cpu_own *own, size_t buffer, const head *h, size_t row) {
    return narrow_at_mut(own->data[buffer], row * h->row + h->column, h->is_narrow);
}

NARROW_INLINE float dot_of(const void *a, const void *b, size_t n, bool is_narrow) {
    enum { LANES = 16 };
    float lanes[LANES] = {0}, sum = 0.0F;
    size_t c = 0;
    for (; c + LANES <= n; c += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += narrow_load(a, c + l, is_narrow) * narrow_load(b, c + l, is_narrow);
    for (; c < n; c++) sum += narrow_load(a, c, is_narrow) * narrow_load(b, c, is_narrow);
    for (size_t l = 0; l < LANES; l++) sum += lanes[l];
    return sum;
}

static float dot(const head *h, const void *a, const void *b) {
    return h->is_narrow ? dot_of(a, b, h->width, true) : dot_of(a, b, h->width, false);
}

/* The factor of probability j: 0 where it is dropped. */
static float factor_of(const head *h, size_t j) {
    if (h->threshold == 0) return 1.0F;
    return graft_dropout_keeps(h->key, h->element + (uint32_t)j, h->threshold) ? h->kept : 0.0F;
}

/* y = sum of weights[j] times row j of what `buffer` holds. */
static void add_up(const graft_cpu_own *own, size_t buffer, const head *h, const float *weights, void *y) {
    enum { STRIP = 64 };
    for (size_t c = 0; c < h->width; c += STRIP) {
        const size_t n = h->width - c < STRIP ? h->width - c : STRIP;
        float sum[STRIP] = {0};
        for (size_t j = 0; j < h->seen; j++) {
            const void *x = narrow_at(token_row(own, buffer, h, j), c, h->is_narrow);
            if (h->is_narrow) {
                for (size_t l = 0; l < n; l++) sum[l] += weights[j] * narrow_load(x, l, true);
            } else {
                for (size_t l = 0; l < n; l++) sum[l] += weights[j] * narrow_load(x, l, false);
            }
        }
        for (size_t l = 0; l < n; l++) narrow_store(y, c + l, sum[l], h->is_narrow);
    }
}

static void forward_task(void *self, size_t task, size_t thread) {
    const graft_cpu_own *own = self;
    const one_dims *d = own->attr;
    const head h = head_of(own, task, thread);
    void *y = narrow_at_mut(own->data[Y], h.sample * d->row + task % (size_t)d->attr.heads * d->width,
                            d->is_narrow);
    float largest = -INFINITY, sum = 0.0F, *lse = (float *)own->data[LSE] + task;
    if (h.count == 0) {
        *lse = 0.0F;
        for (size_t c = 0; c < d->width; c++) narrow_store(y, c, 0.0F, d->is_narrow);
        return;
    }
    for (size_t j = 0; j < h.seen; j++) {
        h.p[j] = (float)d->attr.scale * dot(&h, own_row(own, Q, &h), token_row(own, K, &h, j));
        largest = h.p[j] > largest ? h.p[j] : largest;
    }
    for (size_t j = 0; j < h.seen; j++) sum += h.p[j] = expf(h.p[j] - largest);
    *lse = largest + logf(sum);
    for (size_t j = 0; j < h.seen; j++) h.p[j] *= factor_of(&h, j) / sum;
    add_up(own, V, &h, h.p, y);
}

/* Row `row` of what `buffer` holds becomes weight times x. */
static void store_row(const graft_cpu_own *own, size_t buffer, const head *h, size_t row, float weight,
                      const void *x) {
    void *to = row_mut(own, buffer, h, row);
    if (h->is_narrow) {
        for (size_t c = 0; c < h->width; c++) narrow_store(to, c, weight * narrow_load(x, c, true), true);
    } else {
        for (size_t c = 0; c < h->width; c++) narrow_store(to, c, weight * narrow_load(x, c, false), false);
    }
}

static void backward_task(void *self, size_t task, size_t thread) {
    const graft_cpu_own *own = self;
    const one_dims *d = own->attr;
    const head h = head_of(own, task, thread);
    if (h.count == 0) {
        void *dq = narrow_at_mut(own->data[DQ], h.sample * d->row + task % (size_t)d->attr.heads * d->width,
                                 d->is_narrow);
        for (size_t c = 0; c < d->width; c++) narrow_store(dq, c, 0.0F, d->is_narrow);
        return;
    }
    const void *q = own_row(own, Q, &h), *dy = own_row(own, DY, &h);
    const float scale = (float)d->attr.scale, lse = ((const float *)own->data[LSE])[task],
                inner = dot(&h, dy, own_row(own, Y, &h));
    for (size_t j = 0; j < h.seen; j++) {
        const float p = expf(scale * dot(&h, q, token_row(own, K, &h, j)) - lse), factor = factor_of(&h, j);
        h.g[j] = scale * p * (factor * dot(&h, dy, token_row(own, V, &h, j)) - inner);
        h.p[j] = factor * p;
    }
    add_up(own, K, &h, h.g, row_mut(own, DQ, &h, h.sample));
    for (size_t j = 0; j < h.count; j++) {
        store_row(own, DK, &h, h.first + j, j < h.seen ? h.g[j] : 0.0F, q);
        store_row(own, DV, &h, h.first + j, j < h.seen ? h.p[j] : 0.0F, dy);
    }
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    const one_dims *d = own->attr;
    graft_cpu_parallel_uneven(self, d->samples * (size_t)d->attr.heads, forward_task);
    return 0;
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    const one_dims *d = own->attr;
    const size_t row_size = d->row * (d->is_narrow ? sizeof(uint16_t) : sizeof(float));
    graft_cpu_clear_rest(own->data[DK], row_size, own, tokens_of, d->samples, d->tokens);
    graft_cpu_clear_rest(own->data[DV], row_size, own, tokens_of, d->samples, d->tokens);
    graft_cpu_parallel_uneven(self, d->samples * (size_t)d->attr.heads, backward_task);
    return 0;
}

static graft_dtype type_of(const graft_lowering *l, const graft_node *n) {
    for (size_t i = Q; i <= V; i++)
        if (graft_lower_dtype(l, n->in[i]) == GRAFT_BF16) return GRAFT_BF16;
    return GRAFT_F32;
}

static graft_dtype input_type(size_t i, graft_dtype dtype) {
    return i == SPANS || i == SEED ? GRAFT_I32 : i == LSE ? GRAFT_F32 : dtype;
}

static int prepare(graft_lowering *l, const graft_node *n, bool back, graft_err *err) {
    const graft_cpu *cpu = graft_lower_device(l);
    const graft_attention_one_attr *a = n->attr;
    const graft_shape *keys = graft_lower_shape(l, n->in[K]);
    const graft_dtype dtype = type_of(l, n);
    const size_t n_buffers = n->n_in + n->n_out;
    one_dims d = {.attr = *a,
                  .samples = (size_t)graft_lower_shape(l, n->in[SPANS])->dims[0],
                  .tokens = (size_t)keys->dims[0],
                  .width = (size_t)(keys->dims[1] / a->heads),
                  .row = (size_t)keys->dims[1],
                  .scratch = n_buffers,
                  .is_narrow = dtype == GRAFT_BF16};
    graft_cpu_own own = {.n_buffers = n_buffers + 1, .attr = &d};
    int rc = 0;
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        own.buffers[i] = GRAFT_NONE;
        if (n->in[i] != GRAFT_NONE)
            rc = graft_cpu_want_rows(l, n->in[i], input_type(i, dtype), &own.buffers[i], err);
    }
    for (size_t o = 0; o < n->n_out && rc == 0; o++)
        rc = graft_cpu_new_rows(l, n->out[o], !back && o == 1 ? GRAFT_F32 : dtype, &own.buffers[n->n_in + o],
                                err);
    const size_t size = 2 * (size_t)cpu->threads * d.tokens * sizeof(float);
    if (rc == 0) rc = graft_lower_scratch(l, size, &own.buffers[n_buffers], err);
    if (rc < 0) return rc;
    return graft_cpu_emit_own(l, back ? "attention_one_grad" : "attention_one",
                              back ? run_backward : run_forward, own, sizeof d, err);
}

int graft_cpu_attention_one(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, false, err);
}

int graft_cpu_attention_one_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return prepare(l, n, true, err);
}
