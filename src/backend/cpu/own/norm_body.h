/* The loops of norm.h; included by one file an instruction set, which names the table NORM_TABLE, its ISA,
 * the lanes of a vector and, where it has them, instructions for what vectors of the language cannot say. No
 * include guard: it is a body, not a declaration.
 *
 * Rows are walked in chunks that stay in the first cache, and a chunk in strips of STRIP vectors of channels
 * whose sums are kept in registers. */
#include "backend/cpu/own/norm.h"

#include <string.h>

/* No more aligned than their elements: a checked build does not align what lies on the stack. */
typedef float norm_floats __attribute__((aligned(4), vector_size(4 * NORM_LANES)));
typedef int32_t norm_ints __attribute__((aligned(4), vector_size(4 * NORM_LANES)));
typedef uint32_t norm_words __attribute__((aligned(4), vector_size(4 * NORM_LANES)));
typedef uint16_t norm_halves __attribute__((aligned(2), vector_size(2 * NORM_LANES)));

enum { STRIP = 4, CHUNK = 8192 /* elements */, PIVOT_ROWS = 32 };

#define ALWAYS static inline __attribute__((always_inline))

#ifndef NORM_FMA
#define NORM_FMA(a, b, c) ((a) * (b) + (c))
#endif

#ifndef NORM_WIDEN
#define NORM_WIDEN(h)  __builtin_convertvector(h, norm_words)
#define NORM_NARROW(w) __builtin_convertvector(w, norm_halves)
#endif

#ifndef NORM_BITS
#define NORM_BITS(mask) bits_of(mask)
ALWAYS unsigned bits_of(norm_ints mask) {
    unsigned bits = 0;
    for (unsigned i = 0; i < NORM_LANES; i++) bits |= (unsigned)(mask[i] & 1) << i;
    return bits;
}
#endif

#ifndef NORM_KEEP
#define NORM_KEEP(v, bits) keep(v, bits)
ALWAYS norm_floats keep(norm_floats v, unsigned bits) {
    norm_words lane;
    for (unsigned i = 0; i < NORM_LANES; i++) lane[i] = 1U << i;
    norm_ints set = (lane & bits) != 0;
    return (norm_floats)((norm_ints)v & set);
}
#endif

/* `n` values from element `at`: NORM_LANES, or fewer at the end of a row, and zeros then. */
ALWAYS norm_floats load(const void *p, size_t at, size_t n, bool bf16) {
    if (!bf16) {
        norm_floats v = {0};
        if (n == NORM_LANES) {
            memcpy(&v, (const float *)p + at, sizeof v);
        } else {
            memcpy(&v, (const float *)p + at, n * sizeof(float));
        }
        return v;
    }
    norm_halves h = {0};
    if (n == NORM_LANES) {
        memcpy(&h, (const uint16_t *)p + at, sizeof h);
    } else {
        memcpy(&h, (const uint16_t *)p + at, n * sizeof(uint16_t));
    }
    return (norm_floats)(NORM_WIDEN(h) << 16);
}

/* bf16 is rounded to the nearest, to the even one of two; a NaN stays one. */
ALWAYS void store(void *p, size_t at, norm_floats v, size_t n, bool bf16) {
    if (!bf16) {
        if (n == NORM_LANES) {
            memcpy((float *)p + at, &v, sizeof v);
        } else {
            memcpy((float *)p + at, &v, n * sizeof(float));
        }
        return;
    }
    norm_words word = (norm_words)v, even = word >> 16 & 1, quiet = word | 0x400000U;
    norm_words nan = (norm_words)(v != v), rounded = word + 0x7fffU + even;
    norm_halves h = NORM_NARROW(((rounded & ~nan) | (quiet & nan)) >> 16);
    if (n == NORM_LANES) {
        memcpy((uint16_t *)p + at, &h, sizeof h);
    } else {
        memcpy((uint16_t *)p + at, &h, n * sizeof(uint16_t));
    }
}

ALWAYS norm_floats vector_at(const float *p) {
    norm_floats v;
    memcpy(&v, p, sizeof v);
    return v;
}

ALWAYS void put_vector(float *p, norm_floats v) {
    memcpy(p, &v, sizeof v);
}

/* The mask's bits of the vector at column c of the row that begins at byte `row`. */
ALWAYS unsigned read_bits(const uint8_t *row, size_t c) {
    if (NORM_LANES == 16) return (unsigned)row[c / 8] | (unsigned)row[c / 8 + 1] << 8;
    return (unsigned)row[c / 8] >> (NORM_LANES == 4 ? c & 4 : 0);
}

ALWAYS void write_bits(uint8_t *row, size_t c, unsigned bits) {
    if (NORM_LANES == 16) {
        row[c / 8] = (uint8_t)bits;
        row[c / 8 + 1] = (uint8_t)(bits >> 8);
    } else if (NORM_LANES == 8 || c % 8 == 0) {
        row[c / 8] = (uint8_t)bits;
    } else {
        row[c / 8] = (uint8_t)(row[c / 8] | bits << 4);
    }
}

/* Calls do(c, n_vectors, lanes) over the strips of a row: whole strips, single vectors, the rest. */
#define EACH_STRIP(width, c, call)                                                                           \
    do {                                                                                                     \
        size_t c = 0;                                                                                        \
        for (; c + STRIP * NORM_LANES <= (width); c += STRIP * NORM_LANES) call(STRIP, NORM_LANES);          \
        for (; c + NORM_LANES <= (width); c += NORM_LANES) call(1, NORM_LANES);                              \
        if (c < (width)) call(1, (width)-c);                                                                 \
    } while (0)

ALWAYS size_t chunk_rows(const graft_norm_span *s) {
    size_t rows = CHUNK / s->width;
    return rows < 4 ? 4 : rows;
}

/* ---- Forward ----------------------------------------------------------------------------------------------- */

/* Sums of x over `rows` rows, for `count` vectors. */
ALWAYS void pivot_strip(const void *x, size_t at, size_t stride, size_t rows, float *mean, size_t count,
                        size_t n, bool bf16) {
    norm_floats sum[STRIP] = {0};
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < count; k++) sum[k] += load(x, at + r * stride + k * NORM_LANES, n, bf16);
    for (size_t k = 0; k < count; k++) put_vector(mean + k * NORM_LANES, sum[k] / (float)rows);
}

/* Adds sums of x - pivot and of its square. */
ALWAYS void moment_strip(const void *x, size_t at, size_t stride, size_t rows, const float *pivot, float *sum,
                         float *squares, size_t count, size_t n, bool bf16) {
    norm_floats p[STRIP], a[STRIP], b[STRIP];
    for (size_t k = 0; k < count; k++) {
        p[k] = vector_at(pivot + k * NORM_LANES);
        a[k] = vector_at(sum + k * NORM_LANES);
        b[k] = vector_at(squares + k * NORM_LANES);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t k = 0; k < count; k++) {
            norm_floats v = load(x, at + r * stride + k * NORM_LANES, n, bf16) - p[k];
            a[k] += v;
            b[k] = NORM_FMA(v, v, b[k]);
        }
    }
    for (size_t k = 0; k < count; k++) {
        put_vector(sum + k * NORM_LANES, a[k]);
        put_vector(squares + k * NORM_LANES, b[k]);
    }
}

/* One pass over the data: sums are taken about a pivot, the mean of the first rows. Were the others far from
 * it by D, the variance would be at least D^2 (PIVOT_ROWS / rows), so that no more digits are lost than
 * rows / PIVOT_ROWS has. */
ALWAYS void moments_of(const graft_norm_data *d, const graft_norm_span *s, float *mean, float *squares,
                       float *sum, bool bf16) {
    size_t some = s->rows < PIVOT_ROWS ? s->rows : PIVOT_ROWS, step = chunk_rows(s);
    size_t padded = (s->width + NORM_LANES - 1) / NORM_LANES * NORM_LANES;
    memset(sum, 0, padded * sizeof *sum);
    memset(squares, 0, padded * sizeof *squares);
#define PIVOT(count, n) pivot_strip(d->x, s->first + c, s->stride, some, mean + c, count, n, bf16)
    EACH_STRIP(s->width, c, PIVOT);
#undef PIVOT
    for (size_t r = 0; r < s->rows; r += step) {
        size_t rows = s->rows - r < step ? s->rows - r : step, at = s->first + r * s->stride;
#define MOMENT(count, n)                                                                                     \
    moment_strip(d->x, at + c, s->stride, rows, mean + c, sum + c, squares + c, count, n, bf16)
        EACH_STRIP(s->width, c, MOMENT);
#undef MOMENT
    }
    for (size_t c = 0; c < padded; c++) {
        float apart = sum[c] / (float)s->rows;
        mean[c] += apart;
        squares[c] -= sum[c] * apart;
        if (squares[c] < 0.0F) squares[c] = 0.0F;
    }
}

ALWAYS void apply_vector(const graft_norm_data *d, size_t at, uint8_t *mask, size_t c, size_t channel,
                         size_t n, bool bf16, bool relu, bool residual) {
    norm_floats x = load(d->x, at, n, bf16) - vector_at(d->mean + channel);
    norm_floats y = NORM_FMA(x, vector_at(d->scale + channel), vector_at(d->shift + channel));
    if (residual) y += load(d->residual, at, n, bf16);
    if (relu) {
        write_bits(mask, c, NORM_BITS(y > 0.0F));
        y = (norm_floats)((norm_ints)y & ~(norm_ints)(y < 0.0F)); /* a NaN stays one, so that it is seen */
    }
    store(d->y, at, y, n, bf16);
}

ALWAYS void apply_rows(const graft_norm_data *d, const graft_norm_span *s, bool bf16, bool relu,
                       bool residual) {
    for (size_t r = 0; r < s->rows; r++) {
        size_t at = s->first + r * s->stride, c = 0;
        uint8_t *mask = relu ? d->mask + s->mask_first + r * s->mask_stride : NULL;
        for (; c + NORM_LANES <= s->width; c += NORM_LANES)
            apply_vector(d, at + c, mask, c, s->channel + c, NORM_LANES, bf16, relu, residual);
        if (c < s->width)
            apply_vector(d, at + c, mask, c, s->channel + c, s->width - c, bf16, relu, residual);
    }
}

ALWAYS void apply_to(const graft_norm_data *d, const graft_norm_span *s, bool bf16) {
    if (d->relu && d->residual) {
        apply_rows(d, s, bf16, true, true);
    } else if (d->relu) {
        apply_rows(d, s, bf16, true, false);
    } else if (d->residual) {
        apply_rows(d, s, bf16, false, true);
    } else {
        apply_rows(d, s, bf16, false, false);
    }
}

/* ---- Backward ---------------------------------------------------------------------------------------------- */

typedef struct norm_backward {
    bool bf16, relu, two, keeps; /* which of mask, dy2 and d there are */
} norm_backward;

ALWAYS norm_floats arriving(const graft_norm_data *d, size_t at, const uint8_t *mask, size_t c, size_t n,
                            norm_backward b) {
    norm_floats v = load(d->dy, at, n, b.bf16);
    if (b.two) v += load(d->dy2, at, n, b.bf16);
    return b.relu ? NORM_KEEP(v, read_bits(mask, c)) : v;
}

/* `c` is the strip's first column, sum and product are its. */
ALWAYS void grad_strip(const graft_norm_data *d, const graft_norm_span *s, size_t first, size_t rows,
                       size_t c, float *sum, float *product, size_t count, size_t n, norm_backward b) {
    norm_floats m[STRIP], p[STRIP], q[STRIP];
    for (size_t k = 0; k < count; k++) {
        m[k] = vector_at(d->mean + s->channel + c + k * NORM_LANES);
        p[k] = vector_at(sum + k * NORM_LANES);
        q[k] = vector_at(product + k * NORM_LANES);
    }
    for (size_t r = first; r < first + rows; r++) {
        const uint8_t *mask = b.relu ? d->mask + s->mask_first + r * s->mask_stride : NULL;
        for (size_t k = 0; k < count; k++) {
            size_t column = c + k * NORM_LANES, at = s->first + r * s->stride + column;
            norm_floats v = arriving(d, at, mask, column, n, b);
            if (b.keeps) store(d->d, at, v, n, b.bf16);
            p[k] += v;
            q[k] = NORM_FMA(v, load(d->x, at, n, b.bf16) - m[k], q[k]);
        }
    }
    for (size_t k = 0; k < count; k++) {
        put_vector(sum + k * NORM_LANES, p[k]);
        put_vector(product + k * NORM_LANES, q[k]);
    }
}

ALWAYS void grad_sums_of(const graft_norm_data *d, const graft_norm_span *s, float *sum, float *product,
                         norm_backward b) {
    size_t step = chunk_rows(s), padded = (s->width + NORM_LANES - 1) / NORM_LANES * NORM_LANES;
    memset(sum, 0, padded * sizeof *sum);
    memset(product, 0, padded * sizeof *product);
    for (size_t r = 0; r < s->rows; r += step) {
        size_t rows = s->rows - r < step ? s->rows - r : step;
#define GRAD(count, n) grad_strip(d, s, r, rows, c, sum + c, product + c, count, n, b)
        EACH_STRIP(s->width, c, GRAD);
#undef GRAD
    }
}

ALWAYS void grad_vector(const graft_norm_data *d, size_t at, const uint8_t *mask, size_t c, size_t channel,
                        size_t n, norm_backward b) {
    norm_floats v = b.keeps ? load(d->d, at, n, b.bf16) : arriving(d, at, mask, c, n, b);
    norm_floats x = load(d->x, at, n, b.bf16) - vector_at(d->mean + channel);
    norm_floats dx = NORM_FMA(v, vector_at(d->scale + channel), vector_at(d->shift + channel));
    store(d->y, at, NORM_FMA(x, vector_at(d->slope + channel), dx), n, b.bf16);
}

ALWAYS void grad_rows(const graft_norm_data *d, const graft_norm_span *s, norm_backward b) {
    for (size_t r = 0; r < s->rows; r++) {
        size_t at = s->first + r * s->stride, c = 0;
        const uint8_t *mask = b.relu ? d->mask + s->mask_first + r * s->mask_stride : NULL;
        for (; c + NORM_LANES <= s->width; c += NORM_LANES)
            grad_vector(d, at + c, mask, c, s->channel + c, NORM_LANES, b);
        if (c < s->width) grad_vector(d, at + c, mask, c, s->channel + c, s->width - c, b);
    }
}

/* ---- The table --------------------------------------------------------------------------------------------- */

static void moments(const graft_norm_data *d, const graft_norm_span *s, float *mean, float *squares,
                    float *work) {
    if (d->bf16) {
        moments_of(d, s, mean, squares, work, true);
    } else {
        moments_of(d, s, mean, squares, work, false);
    }
}

static void apply(const graft_norm_data *d, const graft_norm_span *s) {
    if (d->bf16) {
        apply_to(d, s, true);
    } else {
        apply_to(d, s, false);
    }
}

/* What is constant in `run` is a loop of its own. */
#define EACH_FORM(d, run)                                                                                    \
    do {                                                                                                     \
        const bool mask_ = (d)->relu, two_ = (d)->dy2 != NULL, keeps_ = (d)->d != NULL;                      \
        if ((d)->bf16) {                                                                                     \
            FORMS(true, run);                                                                                \
        } else {                                                                                             \
            FORMS(false, run);                                                                               \
        }                                                                                                    \
    } while (0)
#define FORMS(bf16, run)                                                                                     \
    if (mask_ && two_ && keeps_) {                                                                           \
        run(((norm_backward){bf16, true, true, true}));                                                      \
    } else if (mask_ && !two_ && !keeps_) {                                                                  \
        run(((norm_backward){bf16, true, false, false}));                                                    \
    } else if (!mask_ && !two_ && !keeps_) {                                                                 \
        run(((norm_backward){bf16, false, false, false}));                                                   \
    } else {                                                                                                 \
        run(((norm_backward){bf16, mask_, two_, keeps_}));                                                   \
    }

static void grad_sums(const graft_norm_data *d, const graft_norm_span *s, float *sum, float *product) {
#define SUMS(form) grad_sums_of(d, s, sum, product, form)
    EACH_FORM(d, SUMS);
#undef SUMS
}

static void grad_apply(const graft_norm_data *d, const graft_norm_span *s) {
#define ROWS(form) grad_rows(d, s, form)
    EACH_FORM(d, ROWS);
#undef ROWS
}

const graft_norm_kernels NORM_TABLE = {"batch_norm_train:" NORM_ISA,
                                       "batch_norm_train_grad:" NORM_ISA,
                                       NORM_LANES,
                                       moments,
                                       apply,
                                       grad_sums,
                                       grad_apply};
