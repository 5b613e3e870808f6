/* Every version of batch norm's own loops that this processor can run, over spans of all kinds, against plain
 * loops in double. */
#include "backend/cpu/own/norm.h"

#include "base/base.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_WIDTH = 96, MAX_VALUES = 400 * 96, GUARD = 64 };

/* A span's arrays, as the kernels see them and wide. */
typedef struct field {
    uint8_t bytes[MAX_VALUES * 4 + GUARD];
    double wide[MAX_VALUES];
} field;

typedef struct room {
    field x, residual, dy, dy2, y, d;
    uint8_t mask[MAX_VALUES];
    float mean[MAX_WIDTH], scale[MAX_WIDTH], shift[MAX_WIDTH], slope[MAX_WIDTH];
    float sums[3][MAX_WIDTH];
} room;

static const struct {
    size_t rows, width, stride;
} forms[] = {{1, 5, 5}, {7, 16, 16}, {49, 8, 8}, {200, 80, 80}, {33, 19, 19}, {400, 64, 96}};

static double get(const field *f, size_t i, bool bf16) {
    uint32_t word = 0;
    float value;
    if (bf16) {
        uint16_t half;
        memcpy(&half, f->bytes + 2 * i, sizeof half);
        word = (uint32_t)half << 16;
    } else {
        memcpy(&word, f->bytes + 4 * i, sizeof word);
    }
    memcpy(&value, &word, sizeof value);
    return (double)value;
}

static void fill(field *f, size_t n, double centre, uint64_t stream, bool bf16) {
    graft_rng rng = graft_rng_at(3, 0, stream, GRAFT_RNG_TEST);
    for (size_t i = 0; i < n; i++) {
        float value = (float)(centre + 2 * graft_rng_uniform(&rng) - 1);
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        uint16_t half = (uint16_t)(word >> 16);
        if (bf16) {
            memcpy(f->bytes + 2 * i, &half, sizeof half);
        } else {
            memcpy(f->bytes + 4 * i, &word, sizeof word);
        }
        f->wide[i] = get(f, i, bf16);
    }
}

static void near(double got, double want, double tolerance, const char *what) {
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want)))) fail_msg("%s: %g, not %g", what, got, want);
}

static void fill_vectors(room *r) {
    graft_rng rng = graft_rng_at(3, 0, 9, GRAFT_RNG_TEST);
    for (size_t c = 0; c < MAX_WIDTH; c++) {
        r->mean[c] = (float)graft_rng_uniform(&rng) - 0.5F;
        r->scale[c] = (float)graft_rng_uniform(&rng) + 0.5F;
        r->shift[c] = (float)graft_rng_uniform(&rng) - 0.5F;
        r->slope[c] = (float)graft_rng_uniform(&rng) - 0.5F;
    }
}

static bool bit_of(const room *r, const graft_norm_span *s, size_t row, size_t c) {
    return r->mask[s->mask_first + row * s->mask_stride + c / 8] >> c % 8 & 1;
}

static void check_moments(const graft_norm_kernels *k, room *r, const graft_norm_span *s,
                          const graft_norm_data *d) {
    k->moments(d, s, r->sums[0], r->sums[1], r->sums[2]);
    for (size_t c = 0; c < s->width; c++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < s->rows; i++) mean += r->x.wide[i * s->stride + c] / (double)s->rows;
        for (size_t i = 0; i < s->rows; i++) squares += pow(r->x.wide[i * s->stride + c] - mean, 2);
        near((double)r->sums[0][c], mean, 1e-6, "a mean");
        near((double)r->sums[1][c], squares, 1e-4, "a sum of squares");
    }
}

static void check_apply(const graft_norm_kernels *k, room *r, const graft_norm_span *s, graft_norm_data d) {
    double tolerance = d.bf16 ? 1.0 / 256 : 1e-6;
    for (int form = 0; form < 4; form++) {
        d.relu = form & 1;
        d.residual = form & 2 ? r->residual.bytes : NULL;
        memset(r->mask, 0xff, sizeof r->mask);
        k->apply(&d, s);
        for (size_t i = 0; i < s->rows * s->width; i++) {
            size_t c = i % s->width, row = i / s->width, at = row * s->stride + c;
            double y = (r->x.wide[at] - (double)r->mean[c]) * (double)r->scale[c] + (double)r->shift[c];
            if (d.residual) y += r->residual.wide[at];
            near(get(&r->y, at, d.bf16), d.relu && y < 0 ? 0 : y, tolerance, "y");
            if (d.relu && fabs(y) > 1e-6) assert_int_equal(bit_of(r, s, row, c), y > 0);
        }
    }
}

static void check_gradient(const graft_norm_kernels *k, room *r, const graft_norm_span *s,
                           graft_norm_data d) {
    double tolerance = d.bf16 ? 1.0 / 128 : 1e-5;
    for (int form = 0; form < 8; form++) {
        d.relu = form & 1;
        d.dy2 = form & 2 ? r->dy2.bytes : NULL;
        d.d = form & 4 ? r->d.bytes : NULL;
        k->grad_sums(&d, s, r->sums[0], r->sums[1]);
        k->grad_apply(&d, s);
        for (size_t c = 0; c < s->width; c++) {
            double sum = 0, product = 0;
            for (size_t row = 0; row < s->rows; row++) {
                size_t at = row * s->stride + c;
                double v = r->dy.wide[at] + (d.dy2 ? r->dy2.wide[at] : 0);
                double x = r->x.wide[at] - (double)r->mean[c];
                if (d.relu && !bit_of(r, s, row, c)) v = 0;
                sum += v;
                product += v * x;
                if (d.d) near(get(&r->d, at, d.bf16), v, tolerance, "d");
                near(get(&r->y, at, d.bf16),
                     v * (double)r->scale[c] + x * (double)r->slope[c] + (double)r->shift[c], tolerance,
                     "dx");
            }
            near((double)r->sums[0][c], sum, 1e-4, "a sum of d");
            near((double)r->sums[1][c], product, 1e-4, "a sum of d (x - mean)");
        }
    }
}

static void check_kernels(const graft_norm_kernels *k, bool bf16) {
    room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    for (size_t f = 0; f < GRAFT_COUNT(forms); f++) {
        graft_norm_span s = {.rows = forms[f].rows, .width = forms[f].width, .stride = forms[f].stride};
        if (s.width == 8 && k->lanes == 16) continue; /* narrower blocks are for narrower vectors */
        s.mask_stride = (s.width + 15) / 16 * 2;
        size_t n = s.rows * s.stride;
        fill(&r->x, n, f % 2 ? 20 : 0, 1, bf16);
        fill(&r->residual, n, 0, 2, bf16);
        fill(&r->dy, n, 0, 3, bf16);
        fill(&r->dy2, n, 0, 4, bf16);
        fill_vectors(r);
        graft_norm_data d = {.bf16 = bf16,
                             .x = r->x.bytes,
                             .dy = r->dy.bytes,
                             .y = r->y.bytes,
                             .mask = r->mask,
                             .mean = r->mean,
                             .scale = r->scale,
                             .shift = r->shift,
                             .slope = r->slope};
        check_moments(k, r, &s, &d);
        check_apply(k, r, &s, d);
        check_gradient(k, r, &s, d);
    }
    free(r);
}

static void every_version_equals_plain_loops(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        check_kernels(&graft_norm_base, bf16);
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            check_kernels(&graft_norm_avx2, bf16);
        if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512dq"))
            check_kernels(&graft_norm_avx512, bf16);
#endif
    }
}

static void bf16_is_rounded_to_even_and_a_nan_stays_one(void **state) {
    (void)state;
    const float values[4] = {1.00390625F, 1.01171875F, (float)NAN, -1.0F}; /* ties, down and up */
    const uint16_t want[4] = {0x3f80, 0x3f82, 0x7fc0, 0xbf80};
    const float zero[16] = {0}, one[16] = {1, 1, 1, 1};
    const uint16_t x[4] = {0};
    uint16_t y[4] = {0};
    float shift[16] = {0};
    memcpy(shift, values, sizeof values);
    graft_norm_span s = {.rows = 1, .width = 4, .stride = 4};
    graft_norm_data d = {.bf16 = true, .x = x, .y = y, .mean = zero, .scale = one, .shift = shift};
    graft_norm_base.apply(&d, &s);
    for (int i = 0; i < 4; i++) assert_int_equal(y[i] & 0xffff, want[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_equals_plain_loops),
        cmocka_unit_test(bf16_is_rounded_to_even_and_a_nan_stays_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
