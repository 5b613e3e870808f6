/* Batch norm with the batch's statistics, and its gradient, by own kernels: what the activation meets on its
 * way (residual and relu forward, the sum of two gradients and the relu's mask backward) is done in the two
 * passes over memory that the norm needs anyway. The activation stays in the layout in which it lies,
 * channels last or blocks of 8 or 16 channels; any other becomes channels last.
 *
 * Work is cut into spans (own/norm.h) of fixed size, slots by columns: a slot is a piece of the rows in
 * channels last, a sample in a blocked layout; a column all channels, or one block. Sums of a slot are
 * float32, those over slots double (Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm
 * for computing sample variances"), so that no bit depends on the thread count. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/norm.h"

#include <math.h>
#include <string.h>

enum {
    PIECE = 1 << 15 /* elements, at least */,
    MOST_PIECES = 64,
    BLOCK = 16 /* what vectors are padded to */
};

/* How the activation lies. */
typedef struct geometry {
    size_t channels, padded, values; /* values: of one channel */
    size_t slots, columns, rows;     /* rows: of a slot (the last of channels last may have fewer) */
    size_t width, total_rows;        /* width: of a column; total_rows: of channels last, 0 when blocked */
} geometry;

typedef struct norm_attr {
    geometry g;
    graft_norm_attr norm;
    bool bf16;
} norm_attr;

/* ---- Layouts ----------------------------------------------------------------------------------------------- */

static size_t rounded(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

/* The layout to work in for x, and what it means. */
static int place(const_dnnl_memory_desc_t *md, geometry *g, graft_lowering *l, graft_value x,
                 graft_dtype dtype, graft_err *err) {
    const graft_shape *shape = graft_lower_shape(l, x);
    int64_t plane = 1;
    for (int i = 2; i < shape->rank; i++) plane *= shape->dims[i];
    size_t n = (size_t)shape->dims[0], channels = (size_t)shape->dims[1];
    *g = (geometry){.channels = channels, .padded = rounded(channels, BLOCK), .values = n * (size_t)plane};
    int rc = graft_cpu_md_as_is(md, l, x, dtype, err);
    if (rc < 0) return rc;
    size_t block = (size_t)graft_cpu_block(*md);
    if ((block == 8 || block == 16) && block != channels) {
        g->slots = n;
        g->columns = rounded(channels, block) / block;
        g->rows = (size_t)plane;
        g->width = block;
        return 0;
    }
    if (block != channels) {
        dnnl_memory_desc_t last;
        rc = graft_cpu_md_blocked(&last, l, shape, shape->dims[1], dtype, err);
        if (rc < 0) return rc;
        *md = last;
    }
    size_t least = PIECE / channels + 1, part = (g->values + MOST_PIECES - 1) / MOST_PIECES;
    g->rows = part > least ? part : least;
    g->slots = (g->values + g->rows - 1) / g->rows;
    g->columns = 1;
    g->width = channels;
    g->total_rows = g->values;
    return 0;
}

static graft_norm_span span_of(const geometry *g, size_t slot, size_t column) {
    graft_norm_span s = {
        .rows = g->rows, .width = g->width, .stride = g->width, .channel = column * g->width};
    if (g->total_rows) {
        size_t row = slot * g->rows;
        if (g->total_rows - row < g->rows) s.rows = g->total_rows - row;
        s.first = row * g->width;
        s.mask_stride = g->padded / 8;
        s.mask_first = row * s.mask_stride;
    } else {
        s.first = (slot * g->columns + column) * g->rows * g->width;
        s.mask_stride = g->width / 8;
        s.mask_first = s.first / 8;
    }
    return s;
}

static size_t mask_size(const geometry *g) {
    return g->total_rows ? g->total_rows * (g->padded / 8) : g->slots * g->columns * g->rows * (g->width / 8);
}

static int mask_md(dnnl_memory_desc_t *out, graft_lowering *l, const geometry *g, graft_err *err) {
    graft_shape bytes = {1, {(int64_t)mask_size(g)}};
    return graft_cpu_md(out, graft_lower_arena(l), GRAFT_U8, &bytes, false, err);
}

/* Blocks of 8 channels are for narrower vectors. */
static const graft_norm_kernels *choose(graft_lowering *l, const geometry *g) {
    const graft_norm_kernels *kernels = GRAFT_CPU_CHOOSE(l, graft_norm);
    return g->total_rows || g->width % kernels->lanes == 0 ? kernels : &graft_norm_base;
}

/* ---- Running ----------------------------------------------------------------------------------------------- */

/* Scratch: vectors of `padded` floats; first those of all channels, then those of each slot. */
enum { MEAN, SCALE, SHIFT, SLOPE, OF_ALL, OF_SLOT = 3 };

typedef struct norm_run {
    const graft_cpu_own *own;
    const norm_attr *a;
    const graft_norm_kernels *kernels;
    graft_norm_data data;
    float *scratch;
    void (*combine)(const struct norm_run *r, size_t begin, size_t end); /* channels */
    void (*sums)(const struct norm_run *r, size_t slot, size_t column);
    void (*apply)(const graft_norm_data *d, const graft_norm_span *s);
} norm_run;

static size_t scratch_size(const geometry *g) {
    return (OF_ALL + OF_SLOT * g->slots) * g->padded * sizeof(float);
}

static float *of_all(const norm_run *r, size_t which) {
    return r->scratch + which * r->a->g.padded;
}

static float *of_slot(const norm_run *r, size_t slot, size_t which) {
    return r->scratch + (OF_ALL + slot * OF_SLOT + which) * r->a->g.padded;
}

static void sums_piece(void *self, size_t i) {
    const norm_run *r = self;
    r->sums(r, i / r->a->g.columns, i % r->a->g.columns);
}

static void apply_piece(void *self, size_t i) {
    const norm_run *r = self;
    graft_norm_span s = span_of(&r->a->g, i / r->a->g.columns, i % r->a->g.columns);
    r->apply(&r->data, &s);
}

static void column_piece(void *self, size_t column) {
    const norm_run *r = self;
    const geometry *g = &r->a->g;
    for (size_t slot = 0; slot < g->slots; slot++) r->sums(r, slot, column);
    size_t end = (column + 1) * g->width;
    r->combine(r, column * g->width, end < g->channels ? end : g->channels);
    for (size_t slot = 0; slot < g->slots; slot++) {
        graft_norm_span s = span_of(g, slot, column);
        r->apply(&r->data, &s);
    }
}

/* Column by column, so that the second pass finds it in the cache, where columns go round for all threads. */
static void run_norm(norm_run *r) {
    const geometry *g = &r->a->g;
    size_t threads = (size_t)r->own->threads;
    if (g->columns % threads == 0 || g->columns >= 8 * threads) {
        graft_cpu_parallel(r, g->columns, column_piece);
        return;
    }
    graft_cpu_parallel(r, g->slots * g->columns, sums_piece);
    r->combine(r, 0, g->channels);
    graft_cpu_parallel(r, g->slots * g->columns, apply_piece);
}

/* What pads the channels to whole vectors is left zero. */
static void clear(const norm_run *r) {
    memset(r->scratch, 0, OF_ALL * r->a->g.padded * sizeof(float));
}

static size_t rows_of(const geometry *g, size_t slot) {
    return span_of(g, slot, 0).rows;
}

/* ---- Forward ----------------------------------------------------------------------------------------------- */

/* buffers */
enum { F_X, F_GAMMA, F_BETA, F_RESIDUAL, F_Y, F_MEAN, F_VARIANCE, F_MASK, F_SCRATCH, F_COUNT };

static void forward_sums(const norm_run *r, size_t slot, size_t column) {
    graft_norm_span s = span_of(&r->a->g, slot, column);
    r->kernels->moments(&r->data, &s, of_slot(r, slot, 0) + s.channel, of_slot(r, slot, 1) + s.channel,
                        of_slot(r, slot, 2) + s.channel);
}

static void forward_combine(const norm_run *r, size_t begin, size_t end) {
    const geometry *g = &r->a->g;
    const float *gamma = r->own->data[F_GAMMA], *beta = r->own->data[F_BETA];
    float *mean = r->own->data[F_MEAN], *variance = r->own->data[F_VARIANCE];
    double n = (double)g->values;
    for (size_t c = begin; c < end; c++) {
        double m = 0.0, squares = 0.0;
        for (size_t s = 0; s < g->slots; s++) m += (double)rows_of(g, s) * (double)of_slot(r, s, 0)[c];
        m /= n;
        for (size_t s = 0; s < g->slots; s++) {
            double apart = (double)of_slot(r, s, 0)[c] - m;
            squares += (double)of_slot(r, s, 1)[c] + (double)rows_of(g, s) * apart * apart;
        }
        mean[c] = of_all(r, MEAN)[c] = (float)m;
        variance[c] = (float)(squares / n);
        of_all(r, SCALE)[c] = (float)((double)gamma[c] / sqrt(squares / n + r->a->norm.eps));
        of_all(r, SHIFT)[c] = beta[c];
    }
}

static int run_forward(void *self) {
    const graft_cpu_own *own = self;
    const norm_attr *a = own->attr;
    norm_run r = {.own = own,
                  .a = a,
                  .kernels = own->kernel,
                  .scratch = own->data[F_SCRATCH],
                  .combine = forward_combine,
                  .sums = forward_sums};
    r.apply = r.kernels->apply;
    r.data = (graft_norm_data){.bf16 = a->bf16,
                               .relu = a->norm.relu != 0,
                               .x = own->data[F_X],
                               .residual = own->data[F_RESIDUAL],
                               .y = own->data[F_Y],
                               .mask = own->data[F_MASK],
                               .mean = of_all(&r, MEAN),
                               .scale = of_all(&r, SCALE),
                               .shift = of_all(&r, SHIFT)};
    clear(&r);
    run_norm(&r);
    return 0;
}

static int want_optional(graft_lowering *l, graft_value v, const_dnnl_memory_desc_t md, graft_dtype dtype,
                         graft_buffer *out, graft_err *err) {
    *out = GRAFT_NONE;
    return v == GRAFT_NONE ? 0 : graft_cpu_want(l, v, md, dtype, out, err);
}

int graft_cpu_batch_norm_train(graft_lowering *l, const graft_node *n, graft_err *err) {
    norm_attr a = {.norm = *(const graft_norm_attr *)n->attr};
    graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    a.bf16 = dtype == GRAFT_BF16;
    const_dnnl_memory_desc_t xm;
    dnnl_memory_desc_t maskm;
    graft_cpu_own own = {.n_buffers = F_COUNT, .attr = &a};
    graft_buffer *b = own.buffers;
    b[F_MASK] = GRAFT_NONE;
    int rc = place(&xm, &a.g, l, n->in[0], dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[0], xm, dtype, &b[F_X], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[1], &b[F_GAMMA], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[2], &b[F_BETA], err);
    if (rc == 0) rc = want_optional(l, n->in[3], xm, dtype, &b[F_RESIDUAL], err);
    if (rc == 0) {
        rc = n->in[3] == GRAFT_NONE ? graft_cpu_new(l, n->out[0], xm, dtype, &b[F_Y], err)
                                    : graft_cpu_take(l, n, 0, b[F_RESIDUAL], xm, dtype, &b[F_Y], err);
    }
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[1], &b[F_MEAN], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[2], &b[F_VARIANCE], err);
    if (rc == 0 && a.norm.relu) {
        rc = mask_md(&maskm, l, &a.g, err);
        if (rc == 0) rc = graft_cpu_new(l, n->out[3], maskm, GRAFT_U8, &b[F_MASK], err);
    }
    if (rc == 0) rc = graft_lower_scratch(l, scratch_size(&a.g), &b[F_SCRATCH], err);
    if (rc < 0) return rc;
    const graft_norm_kernels *kernels = choose(l, &a.g);
    own.kernel = kernels;
    return graft_cpu_emit_own(l, kernels->forward_name, run_forward, own, sizeof a, err);
}

/* ---- Backward ---------------------------------------------------------------------------------------------- */

enum {
    B_X,
    B_DY,
    B_GAMMA,
    B_MEAN,
    B_VARIANCE,
    B_MASK,
    B_DY2,
    B_DX,
    B_DGAMMA,
    B_DBETA,
    B_D,
    B_SCRATCH,
    B_COUNT
};

static void backward_sums(const norm_run *r, size_t slot, size_t column) {
    graft_norm_span s = span_of(&r->a->g, slot, column);
    r->kernels->grad_sums(&r->data, &s, of_slot(r, slot, 0) + s.channel, of_slot(r, slot, 1) + s.channel);
}

static void backward_combine(const norm_run *r, size_t begin, size_t end) {
    const geometry *g = &r->a->g;
    const float *gamma = r->own->data[B_GAMMA], *variance = r->own->data[B_VARIANCE];
    float *dgamma = r->own->data[B_DGAMMA], *dbeta = r->own->data[B_DBETA];
    double n = (double)g->values;
    for (size_t c = begin; c < end; c++) {
        double sum = 0.0, product = 0.0, inverse = 1.0 / sqrt((double)variance[c] + r->a->norm.eps);
        for (size_t s = 0; s < g->slots; s++) {
            sum += (double)of_slot(r, s, 0)[c];
            product += (double)of_slot(r, s, 1)[c];
        }
        double scale = (double)gamma[c] * inverse;
        of_all(r, SCALE)[c] = (float)scale;
        of_all(r, SLOPE)[c] = (float)(-scale * inverse * inverse * product / n);
        of_all(r, SHIFT)[c] = (float)(-scale * sum / n);
        if (dgamma) dgamma[c] = (float)(product * inverse);
        if (dbeta) dbeta[c] = (float)sum;
    }
}

static int run_backward(void *self) {
    const graft_cpu_own *own = self;
    const norm_attr *a = own->attr;
    norm_run r = {.own = own,
                  .a = a,
                  .kernels = own->kernel,
                  .scratch = own->data[B_SCRATCH],
                  .combine = backward_combine,
                  .sums = backward_sums};
    r.apply = r.kernels->grad_apply;
    r.data = (graft_norm_data){.bf16 = a->bf16,
                               .relu = a->norm.relu != 0,
                               .x = own->data[B_X],
                               .dy = own->data[B_DY],
                               .dy2 = own->data[B_DY2],
                               .y = own->data[B_DX],
                               .d = own->data[B_D],
                               .mask = own->data[B_MASK],
                               .mean = of_all(&r, MEAN),
                               .scale = of_all(&r, SCALE),
                               .shift = of_all(&r, SHIFT),
                               .slope = of_all(&r, SLOPE)};
    clear(&r);
    memcpy(of_all(&r, MEAN), own->data[B_MEAN], a->g.channels * sizeof(float));
    run_norm(&r);
    return 0;
}

/* d goes where dy2 was, dx where dy was: both are read for the last time as they are written. */
static int place_results(graft_lowering *l, const graft_node *n, const_dnnl_memory_desc_t xm,
                         graft_dtype dtype, graft_buffer *b, graft_err *err) {
    int rc = 0;
    if (graft_lower_is_used(l, n->out[3])) {
        rc = b[B_DY2] == GRAFT_NONE ? graft_cpu_new(l, n->out[3], xm, dtype, &b[B_D], err)
                                    : graft_cpu_take(l, n, 3, b[B_DY2], xm, dtype, &b[B_D], err);
    }
    if (rc == 0) rc = graft_cpu_take(l, n, 0, b[B_DY], xm, dtype, &b[B_DX], err);
    if (rc == 0 && graft_lower_is_used(l, n->out[1]))
        rc = graft_cpu_new_plain(l, n->out[1], &b[B_DGAMMA], err);
    if (rc == 0 && graft_lower_is_used(l, n->out[2]))
        rc = graft_cpu_new_plain(l, n->out[2], &b[B_DBETA], err);
    return rc;
}

int graft_cpu_batch_norm_train_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    norm_attr a = {.norm = *(const graft_norm_attr *)n->attr};
    graft_dtype dtype = graft_cpu_compute_dtype(l, n->in[1], n->out[0]);
    a.bf16 = dtype == GRAFT_BF16;
    const_dnnl_memory_desc_t xm;
    dnnl_memory_desc_t maskm = NULL;
    graft_cpu_own own = {.n_buffers = B_COUNT, .attr = &a};
    graft_buffer *b = own.buffers;
    b[B_DGAMMA] = b[B_DBETA] = b[B_D] = GRAFT_NONE;
    int rc = place(&xm, &a.g, l, n->in[0], dtype, err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[0], xm, dtype, &b[B_X], err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[1], xm, dtype, &b[B_DY], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[2], &b[B_GAMMA], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[4], &b[B_MEAN], err);
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[5], &b[B_VARIANCE], err);
    if (rc == 0) rc = mask_md(&maskm, l, &a.g, err);
    if (rc == 0) rc = want_optional(l, n->in[6], maskm, GRAFT_U8, &b[B_MASK], err);
    if (rc == 0) rc = want_optional(l, n->in[7], xm, dtype, &b[B_DY2], err);
    if (rc == 0) rc = place_results(l, n, xm, dtype, b, err);
    if (rc == 0) rc = graft_lower_scratch(l, scratch_size(&a.g), &b[B_SCRATCH], err);
    if (rc < 0) return rc;
    const graft_norm_kernels *kernels = choose(l, &a.g);
    own.kernel = kernels;
    return graft_cpu_emit_own(l, kernels->backward_name, run_backward, own, sizeof a, err);
}
