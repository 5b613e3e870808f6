/* Pooling over the tokens of each sample, windows over them, and their gradients. A piece of work is a
 * sample, or a strip of columns of one, and writes all rows of its span; rows of no span are cleared before.
 */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/narrow.h"
#include "graph/op.h"

#include <string.h>

enum { STRIP = 128 /* columns */ };

/* buffers: what the op reads, spans (absent where each sample has as many rows), the result, and of the
 * largest's gradient x */
enum { FROM, SPANS, TO, X };

typedef struct span_dims {
    size_t samples, tokens, longest, width, n_strips; /* width: columns of a token's vector */
    int32_t kind;                                     /* a graft_span_kind */
    int64_t window;
    bool is_narrow;
} span_dims;

static graft_tokens tokens_of(const graft_cpu_own *own, size_t sample) {
    const span_dims *d = own->attr;
    const int32_t *spans = own->data[SPANS];
    if (!spans) return (graft_tokens){(int64_t)(sample * d->longest), (int64_t)d->longest};
    const int32_t *span = spans + 2 * sample;
    if (d->kind == GRAFT_SPAN_PRESENT) return graft_tokens_own(span[0], span[1], (int64_t)sample);
    return graft_tokens_of(span[0], span[1], (int64_t)d->tokens);
}

static size_t size_of(const span_dims *d, size_t n) {
    return n * (d->is_narrow ? sizeof(uint16_t) : sizeof(float));
}

static void clear_rest(const graft_cpu_own *own, size_t width) {
    const span_dims *d = own->attr;
    graft_cpu_clear_rest(own->data[TO], size_of(d, width), own, tokens_of, d->samples, d->tokens);
}

/* ---- Pooling ---------------------------------------------------------------------------------------------- */

/* A strip of columns of one sample. */
typedef struct strip {
    graft_tokens tokens;
    size_t sample, begin, count; /* columns */
} strip;

static strip strip_of(const graft_cpu_own *own, size_t i) {
    const span_dims *d = own->attr;
    strip s = {.sample = i / d->n_strips, .begin = i % d->n_strips * STRIP};
    s.tokens = tokens_of(own, s.sample);
    s.count = s.begin + STRIP < d->width ? STRIP : d->width - s.begin;
    return s;
}

static const void *row_of(const span_dims *d, const void *x, size_t row, const strip *s) {
    return narrow_at(x, row * d->width + s->begin, d->is_narrow);
}

NARROW_INLINE void add_rows(const span_dims *d, const void *x, const strip *s, float *sum, bool is_narrow) {
    for (int64_t t = 0; t < s->tokens.count; t++) {
        const void *row = row_of(d, x, (size_t)(s->tokens.first + t), s);
        for (size_t k = 0; k < s->count; k++) sum[k] += narrow_load(row, k, is_narrow);
    }
}

static void mean_of(const span_dims *d, const void *x, const strip *s, float *out) {
    memset(out, 0, s->count * sizeof *out);
    if (d->is_narrow) {
        add_rows(d, x, s, out, true);
    } else {
        add_rows(d, x, s, out, false);
    }
    for (size_t k = 0; k < s->count; k++) out[k] /= (float)s->tokens.count;
}

/* The largest of each column and where it first stands within the span. */
static void largest_of(const span_dims *d, const void *x, const strip *s, float *out, int32_t *place) {
    const void *row = row_of(d, x, (size_t)s->tokens.first, s);
    for (size_t k = 0; k < s->count; k++) out[k] = narrow_load(row, k, d->is_narrow);
    memset(place, 0, s->count * sizeof *place);
    for (int64_t t = 1; t < s->tokens.count; t++) {
        row = row_of(d, x, (size_t)(s->tokens.first + t), s);
        for (size_t k = 0; k < s->count; k++) {
            const float value = narrow_load(row, k, d->is_narrow);
            const bool is_larger = value > out[k];
            out[k] = is_larger ? value : out[k];
            place[k] = is_larger ? (int32_t)t : place[k];
        }
    }
}

static void pool(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    const strip s = strip_of(own, i);
    void *y = narrow_at_mut(own->data[TO], s.sample * d->width + s.begin, d->is_narrow);
    float pooled[STRIP];
    int32_t place[STRIP];
    if (s.tokens.count == 0) {
        memset(y, 0, size_of(d, s.count));
    } else if (d->kind != GRAFT_SPAN_MEAN && d->kind != GRAFT_SPAN_MAX) {
        const int64_t at = d->kind == GRAFT_SPAN_LAST ? s.tokens.count - 1 : 0;
        memcpy(y, row_of(d, own->data[FROM], (size_t)(s.tokens.first + at), &s), size_of(d, s.count));
    } else {
        if (d->kind == GRAFT_SPAN_MAX) {
            largest_of(d, own->data[FROM], &s, pooled, place);
        } else {
            mean_of(d, own->data[FROM], &s, pooled);
        }
        for (size_t k = 0; k < s.count; k++) narrow_store(y, k, pooled[k], d->is_narrow);
    }
}

static int run_pool(void *self) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    graft_cpu_parallel(self, d->samples * d->n_strips, pool);
    return 0;
}

static void spread(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    const strip s = strip_of(own, i);
    const void *dy = row_of(d, own->data[FROM], s.sample, &s);
    const bool is_mean = d->kind == GRAFT_SPAN_MEAN;
    const int64_t one = d->kind == GRAFT_SPAN_LAST ? s.tokens.count - 1 : 0;
    for (int64_t t = 0; t < s.tokens.count; t++) {
        const size_t at = (size_t)(s.tokens.first + t) * d->width + s.begin;
        void *dx = narrow_at_mut(own->data[TO], at, d->is_narrow);
        if (is_mean) {
            for (size_t k = 0; k < s.count; k++)
                narrow_store(dx, k, narrow_load(dy, k, d->is_narrow) / (float)s.tokens.count, d->is_narrow);
        } else if (t == one) {
            memcpy(dx, dy, size_of(d, s.count));
        } else {
            memset(dx, 0, size_of(d, s.count));
        }
    }
}

static int run_spread(void *self) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    clear_rest(own, d->width);
    graft_cpu_parallel(self, d->samples * d->n_strips, spread);
    return 0;
}

static void spread_largest(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    const strip s = strip_of(own, i);
    const void *dy = row_of(d, own->data[FROM], s.sample, &s);
    float top[STRIP];
    int32_t place[STRIP];
    if (s.tokens.count == 0) return;
    largest_of(d, own->data[X], &s, top, place);
    for (int64_t t = 0; t < s.tokens.count; t++) {
        const size_t at = (size_t)(s.tokens.first + t) * d->width + s.begin;
        void *dx = narrow_at_mut(own->data[TO], at, d->is_narrow);
        for (size_t k = 0; k < s.count; k++)
            narrow_store(dx, k, place[k] == t ? narrow_load(dy, k, d->is_narrow) : 0.0F, d->is_narrow);
    }
}

static int run_spread_largest(void *self) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    clear_rest(own, d->width);
    graft_cpu_parallel(self, d->samples * d->n_strips, spread_largest);
    return 0;
}

/* Wants inputs 0 and 1 and makes the result; `tokens` is the value of the node with a row a token and a
 * vector of the width that the loops see. */
static int prepare(graft_lowering *l, const graft_node *n, graft_value tokens, span_dims *d,
                   graft_cpu_own *own, graft_err *err) {
    const graft_shape *whole = graft_lower_shape(l, tokens), shape = graft_cpu_matrix(l, tokens);
    const bool has_spans = n->in[1] != GRAFT_NONE;
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    d->samples = (size_t)(has_spans ? graft_lower_shape(l, n->in[1]) : whole)->dims[0];
    d->tokens = (size_t)shape.dims[0];
    d->longest = (size_t)whole->dims[has_spans ? 0 : 1];
    d->width = (size_t)shape.dims[1];
    d->n_strips = (d->width + STRIP - 1) / STRIP;
    d->is_narrow = dtype == GRAFT_BF16;
    own->n_buffers = 3;
    own->attr = d;
    own->buffers[SPANS] = GRAFT_NONE;
    int rc = graft_cpu_want_rows(l, n->in[0], dtype, &own->buffers[FROM], err);
    if (rc == 0 && has_spans) rc = graft_cpu_want_rows(l, n->in[1], GRAFT_I32, &own->buffers[SPANS], err);
    return rc < 0 ? rc : graft_cpu_new_rows(l, n->out[0], dtype, &own->buffers[TO], err);
}

int graft_cpu_span_pool(graft_lowering *l, const graft_node *n, graft_err *err) {
    span_dims d = {.kind = ((const graft_span_pool_attr *)n->attr)->kind};
    graft_cpu_own own = {0};
    int rc = prepare(l, n, n->in[0], &d, &own, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "span_pool", run_pool, own, sizeof d, err);
}

int graft_cpu_span_pool_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    span_dims d = {.kind = ((const graft_span_pool_attr *)n->attr)->kind};
    graft_cpu_own own = {0};
    int rc = prepare(l, n, n->out[0], &d, &own, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "span_pool_grad", run_spread, own, sizeof d, err);
}

int graft_cpu_span_max_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    span_dims d = {.kind = GRAFT_SPAN_MAX};
    graft_cpu_own own = {0};
    int rc = prepare(l, n, n->out[0], &d, &own, err);
    if (rc == 0) rc = graft_cpu_want_rows(l, n->in[2], graft_lower_dtype(l, n->out[0]), &own.buffers[X], err);
    own.n_buffers = 4;
    return rc < 0 ? rc : graft_cpu_emit_own(l, "span_max_grad", run_spread_largest, own, sizeof d, err);
}

/* ---- Windows ---------------------------------------------------------------------------------------------- */

/* Token t of a span sees in the window's place k the token t + k - before. */
static int64_t seen_from(const span_dims *d, int64_t t, int64_t k) {
    return t + k - (d->window - 1) / 2;
}

static void gather(void *self, size_t sample, size_t thread) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    const graft_tokens s = tokens_of(own, sample);
    (void)thread;
    for (int64_t t = 0; t < s.count; t++) {
        for (int64_t k = 0; k < d->window; k++) {
            const int64_t from = seen_from(d, t, k);
            const size_t at = (size_t)((s.first + t) * d->window + k) * d->width;
            void *y = narrow_at_mut(own->data[TO], at, d->is_narrow);
            if (from < 0 || from >= s.count) {
                memset(y, 0, size_of(d, d->width));
            } else {
                const size_t x = (size_t)(s.first + from) * d->width;
                memcpy(y, narrow_at(own->data[FROM], x, d->is_narrow), size_of(d, d->width));
            }
        }
    }
}

static int run_gather(void *self) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    clear_rest(own, d->width * (size_t)d->window);
    graft_cpu_parallel_uneven(self, d->samples, gather);
    return 0;
}

/* What all windows that saw token t say of it: window place k is that of token t - (k - before). */
static void collect(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    const strip s = strip_of(own, i);
    float sum[STRIP];
    for (int64_t t = 0; t < s.tokens.count; t++) {
        memset(sum, 0, sizeof sum);
        for (int64_t k = 0; k < d->window; k++) {
            const int64_t from = 2 * t - seen_from(d, t, k);
            if (from < 0 || from >= s.tokens.count) continue;
            const size_t at = (size_t)((s.tokens.first + from) * d->window + k) * d->width + s.begin;
            const void *dy = narrow_at(own->data[FROM], at, d->is_narrow);
            for (size_t c = 0; c < s.count; c++) sum[c] += narrow_load(dy, c, d->is_narrow);
        }
        const size_t at = (size_t)(s.tokens.first + t) * d->width + s.begin;
        void *dx = narrow_at_mut(own->data[TO], at, d->is_narrow);
        for (size_t c = 0; c < s.count; c++) narrow_store(dx, c, sum[c], d->is_narrow);
    }
}

static int run_collect(void *self) {
    const graft_cpu_own *own = self;
    const span_dims *d = own->attr;
    clear_rest(own, d->width);
    graft_cpu_parallel(self, d->samples * d->n_strips, collect);
    return 0;
}

int graft_cpu_token_window(graft_lowering *l, const graft_node *n, graft_err *err) {
    span_dims d = {.window = ((const graft_token_window_attr *)n->attr)->width};
    graft_cpu_own own = {0};
    int rc = prepare(l, n, n->in[0], &d, &own, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "token_window", run_gather, own, sizeof d, err);
}

int graft_cpu_token_window_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    span_dims d = {.window = ((const graft_token_window_attr *)n->attr)->width};
    graft_cpu_own own = {0};
    int rc = prepare(l, n, n->out[0], &d, &own, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "token_window_grad", run_collect, own, sizeof d, err);
}
