/* The loops of activations, layer norm and dropout: every version that this processor runs against a loop in
 * double, in float32 and in bf16, over parts of arrays whose ends are no multiples of a vector. */
#include "backend/cpu/own/activation.h"
#include "backend/cpu/own/dropout.h"
#include "backend/cpu/own/layer_norm.h"
#include "backend/cpu/own/narrow.h"
#include "graph/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* How many of a kernel's versions this processor has: base, AVX2, AVX-512. */
static size_t n_versions(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 2;
#endif
    return 1;
}

#if defined(__x86_64__)
#define VERSIONS(kernels)                                                                                    \
    { &kernels##_base, &kernels##_avx2, &kernels##_avx512 }
#else
#define VERSIONS(kernels)                                                                                    \
    { &kernels##_base }
#endif

static float *random_floats(size_t n, float low, float high, uint64_t stream) {
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    graft_rng rng = graft_rng_at(5, 0, stream, GRAFT_RNG_TEST);
    for (size_t i = 0; i < n; i++) x[i] = low + (high - low) * (float)graft_rng_uniform(&rng);
    return x;
}

/* The same numbers as bf16, and the floats rounded so. */
static uint16_t *narrowed(float *x, size_t n) {
    uint16_t *half = malloc(n * sizeof *half);
    assert_non_null(half);
    graft_f32_to_bf16(x, half, n);
    for (size_t i = 0; i < n; i++) x[i] = narrow_widened(half[i]);
    return half;
}

/* ---- bf16 ------------------------------------------------------------------------------------------------- */

static void halves_are_rounded_as_tensors_round_them(void **state) {
    (void)state;
    const float some[] = {0.0F,   -0.0F,   1.0F,     1.00390625F, 1.01171875F, -3.3e38F,
                          1e-40F, 3.4e38F, INFINITY, -INFINITY,   65535.9F,    -1.0039063F};
    uint16_t half[GRAFT_COUNT(some)];
    graft_f32_to_bf16(some, half, GRAFT_COUNT(some));
    for (size_t i = 0; i < GRAFT_COUNT(some); i++) assert_int_equal(narrow_rounded(some[i]), half[i]);
    const float not_a_number = narrow_widened(narrow_rounded(NAN));
    assert_true(not_a_number != not_a_number);
}

/* ---- Activations ------------------------------------------------------------------------------------------ */

enum { N_POINTS = 20003 };

static const int32_t acts[] = {GRAFT_ACT_GELU, GRAFT_ACT_GELU_TANH, GRAFT_ACT_TANH, GRAFT_ACT_QUICK_GELU,
                               GRAFT_ACT_SILU};

static double *references(const graft_op *op, int32_t act, const float *dy, const float *x) {
    double *in = malloc(2 * N_POINTS * sizeof *in), *out = malloc(N_POINTS * sizeof *out);
    assert_true(in != NULL && out != NULL);
    for (size_t i = 0; i < N_POINTS; i++) {
        in[i] = (double)x[i];
        in[N_POINTS + i] = dy ? (double)dy[i] : 0;
    }
    const double *const inputs[] = {dy ? in + N_POINTS : in, in};
    const graft_shape shapes[] = {{1, {N_POINTS}}, {1, {N_POINTS}}};
    const graft_activation_attr a = {act};
    graft_op_call call = {inputs, shapes, dy ? 2 : 1, &out, shapes, 1, &a};
    op->reference(&call);
    free(in);
    return out;
}

/* Relative to the value itself; in the tails, which are x times a power of e, the exponent's own rounding
 * counts as often as the exponent is large. */
static void check_points(const char *name, int32_t act, const float *x, const float *got,
                         const double *want) {
    for (size_t i = 0; i < N_POINTS; i++) {
        double at = (double)x[i], size = fabs(want[i]);
        double exponent = at < 0 && size > 0 ? fabs(log(size / -at)) : 0;
        if (!(fabs((double)got[i] - want[i]) <= (6e-7 + 2e-7 * exponent) * size + 1e-20))
            fail_msg("%s, activation %d at %.9g: %.9g, not %.9g", name, act, at, (double)got[i], want[i]);
    }
}

static void check_activation(const graft_activation_kernels *k, int32_t act, float *x) {
    float *y = malloc(N_POINTS * sizeof *y), *dy = random_floats(N_POINTS, 0.5F, 2, 9);
    assert_non_null(y);
    graft_activation_span s = {.x = x, .y = y, .act = act};
    double *want = references(&graft_op_activation, act, NULL, x);
    k->forward(&s, 0, 77);
    k->forward(&s, 77, N_POINTS);
    check_points(k->name, act, x, y, want);
    free(want);
    want = references(&graft_op_activation_grad, act, dy, x);
    memcpy(y, dy, N_POINTS * sizeof *y);
    s.dy = y; /* in its place */
    k->backward(&s, 0, 77);
    k->backward(&s, 77, N_POINTS);
    for (size_t i = 0; i < N_POINTS; i++) {
        if (!(fabs((double)y[i] - want[i]) <= 5e-7 * (1 + fabs(want[i]))))
            fail_msg("%s, activation %d at %.9g: %.9g, not %.9g", k->grad_name, act, (double)x[i],
                     (double)y[i], want[i]);
    }
    free(want);
    free(dy);
    free(y);
}

static void activations_are_as_accurate_as_float32(void **state) {
    (void)state;
    const graft_activation_kernels *const versions[] = VERSIONS(graft_activation);
    for (size_t v = 0; v < n_versions(); v++) {
        for (size_t a = 0; a < GRAFT_COUNT(acts); a++) {
            const float reach[] = {1e-3F, 1, 5, 12, 1e5F};
            for (size_t r = 0; r < GRAFT_COUNT(reach); r++) {
                float *x = random_floats(N_POINTS, -reach[r], reach[r], r);
                x[0] = 0;
                check_activation(versions[v], acts[a], x);
                free(x);
            }
        }
        print_message("%s\n", versions[v]->name);
    }
}

static void activations_in_bf16_are_those_of_float32_rounded(void **state) {
    (void)state;
    const graft_activation_kernels *const versions[] = VERSIONS(graft_activation);
    enum { N = 1003 };
    float *x = random_floats(N, -8, 8, 1), *dy = random_floats(N, -2, 2, 2), y[N];
    uint16_t *half = narrowed(x, N), *half_dy = narrowed(dy, N), out[N];
    for (size_t v = 0; v < n_versions(); v++) {
        for (size_t a = 0; a < GRAFT_COUNT(acts); a++) {
            const graft_activation_span wide = {.x = x, .dy = dy, .y = y, .act = acts[a]};
            const graft_activation_span narrow = {
                .x = half, .dy = half_dy, .y = out, .act = acts[a], .is_narrow = true};
            versions[v]->forward(&wide, 3, N);
            versions[v]->forward(&narrow, 3, N);
            for (size_t i = 3; i < N; i++) assert_int_equal(out[i], narrow_rounded(y[i]));
            versions[v]->backward(&wide, 3, N);
            versions[v]->backward(&narrow, 3, N);
            for (size_t i = 3; i < N; i++) assert_int_equal(out[i], narrow_rounded(y[i]));
        }
    }
    free(half);
    free(half_dy);
    free(x);
    free(dy);
}

static void what_is_not_a_number_stays_so(void **state) {
    (void)state;
    const graft_activation_kernels *const versions[] = VERSIONS(graft_activation);
    float x[40], y[40];
    for (size_t i = 0; i < 40; i++) x[i] = i % 3 == 0 ? NAN : 0.5F;
    for (size_t v = 0; v < n_versions(); v++) {
        for (size_t a = 0; a < GRAFT_COUNT(acts); a++) {
            const graft_activation_span s = {.x = x, .dy = x, .y = y, .act = acts[a]};
            versions[v]->forward(&s, 0, 40);
            for (size_t i = 0; i < 40; i++) assert_int_equal(y[i] != y[i], i % 3 == 0);
            versions[v]->backward(&s, 0, 40);
            for (size_t i = 0; i < 40; i++) assert_int_equal(y[i] != y[i], i % 3 == 0);
        }
    }
}

/* ---- Layer norm ------------------------------------------------------------------------------------------- */

enum { ROWS = 9, MOST = 783 };

typedef struct norm_room {
    float *x, *dy, *gamma, *beta;
    uint16_t *half_x, *half_dy;
    float y[ROWS * MOST], mean[ROWS], rstd[ROWS], dgamma[MOST], dbeta[MOST];
    uint16_t half_y[ROWS * MOST];
} norm_room;

static norm_room *open_norm(float low, float high) {
    norm_room *r = malloc(sizeof *r);
    assert_non_null(r);
    r->x = random_floats(ROWS * MOST, low, high, 1);
    r->dy = random_floats(ROWS * MOST, -1, 1, 2);
    r->gamma = random_floats(MOST, 0.5F, 2, 3);
    r->beta = random_floats(MOST, -1, 1, 4);
    r->half_x = narrowed(r->x, ROWS * MOST);
    r->half_dy = narrowed(r->dy, ROWS * MOST);
    return r;
}

static void close_norm(norm_room *r) {
    free(r->x);
    free(r->dy);
    free(r->gamma);
    free(r->beta);
    free(r->half_x);
    free(r->half_dy);
    free(r);
}

static float result_at(const norm_room *r, size_t i, bool is_narrow) {
    return is_narrow ? narrow_widened(r->half_y[i]) : r->y[i];
}

static void check_number(const char *what, float got, double want, double tolerance) {
    if (!(fabs((double)got - want) <= tolerance)) fail_msg("%s: %.9g, not %.9g", what, (double)got, want);
}

static void check_forward(const graft_layer_norm_kernels *k, norm_room *r, size_t width, bool has_beta,
                          bool is_narrow) {
    const graft_layer_norm_rows rows = {.x = is_narrow ? (void *)r->half_x : (void *)r->x,
                                        .y = is_narrow ? (void *)r->half_y : (void *)r->y,
                                        .gamma = r->gamma,
                                        .beta = has_beta ? r->beta : NULL,
                                        .mean = r->mean,
                                        .rstd = r->rstd,
                                        .width = width,
                                        .eps = 1e-5F,
                                        .is_narrow = is_narrow};
    k->forward(&rows, 0, 4);
    k->forward(&rows, 4, ROWS);
    for (size_t n = 0; n < ROWS; n++) {
        const float *x = r->x + n * width;
        double mean = 0, variance = 0;
        for (size_t d = 0; d < width; d++) mean += (double)x[d] / (double)width;
        for (size_t d = 0; d < width; d++) variance += ((double)x[d] - mean) * ((double)x[d] - mean);
        const double rstd = 1 / sqrt(variance / (double)width + (double)1e-5F);
        check_number(k->name, r->mean[n], mean, 2e-6 * (1 + fabs(mean)));
        check_number(k->name, r->rstd[n], rstd, 1e-5 * rstd); /* sums of a build without vectors */
        for (size_t d = 0; d < width; d++) {
            double want = ((double)x[d] - mean) * rstd * (double)r->gamma[d];
            if (has_beta) want += (double)r->beta[d];
            check_number(k->name, result_at(r, n * width + d, is_narrow), want, is_narrow ? 2e-2 : 2e-4);
        }
    }
}

/* After check_forward, whose statistics it reads. */
static void check_backward(const graft_layer_norm_kernels *k, norm_room *r, size_t width, bool is_narrow) {
    const graft_layer_norm_rows rows = {.x = is_narrow ? (void *)r->half_x : (void *)r->x,
                                        .dy = is_narrow ? (void *)r->half_dy : (void *)r->dy,
                                        .y = is_narrow ? (void *)r->half_y : (void *)r->y,
                                        .gamma = r->gamma,
                                        .mean = r->mean,
                                        .rstd = r->rstd,
                                        .width = width,
                                        .is_narrow = is_narrow};
    double dgamma[MOST] = {0}, dbeta[MOST] = {0};
    float sums[MOST];
    k->backward(&rows, 0, ROWS, r->dgamma, r->dbeta);
    k->column_sums(rows.dy, width, 0, ROWS, sums, is_narrow);
    for (size_t n = 0; n < ROWS; n++) {
        const float *x = r->x + n * width, *dy = r->dy + n * width;
        const double mean = (double)r->mean[n], rstd = (double)r->rstd[n];
        double e = 0, eh = 0;
        for (size_t d = 0; d < width; d++) {
            const double h = ((double)x[d] - mean) * rstd, one = (double)dy[d] * (double)r->gamma[d];
            e += one / (double)width;
            eh += one * h / (double)width;
            dgamma[d] += (double)dy[d] * h;
            dbeta[d] += (double)dy[d];
        }
        for (size_t d = 0; d < width; d++) {
            const double h = ((double)x[d] - mean) * rstd;
            const double want = rstd * ((double)dy[d] * (double)r->gamma[d] - e - h * eh);
            check_number(k->grad_name, result_at(r, n * width + d, is_narrow), want,
                         (is_narrow ? 5e-3 : 1e-5) * (1 + 3 * rstd));
        }
    }
    for (size_t d = 0; d < width; d++) {
        check_number(k->grad_name, r->dgamma[d], dgamma[d], 1e-4);
        check_number(k->grad_name, r->dbeta[d], dbeta[d], 1e-5);
        check_number(k->sums_name, sums[d], dbeta[d], 1e-5);
    }
}

static void layer_norm_is_that_of_double(void **state) {
    (void)state;
    const graft_layer_norm_kernels *const versions[] = VERSIONS(graft_layer_norm);
    const size_t widths[] = {1, 7, 16, 33, 384, MOST};
    for (size_t v = 0; v < n_versions(); v++) {
        for (size_t w = 0; w < GRAFT_COUNT(widths); w++) {
            for (int is_narrow = 0; is_narrow <= 1; is_narrow++) {
                norm_room *r = open_norm(-2, 3), *far = open_norm(40, 42);
                check_forward(versions[v], r, widths[w], true, is_narrow);
                check_backward(versions[v], r, widths[w], is_narrow);
                check_forward(versions[v], far, widths[w], false, is_narrow);
                close_norm(r);
                close_norm(far);
            }
        }
        print_message("%s %s %s\n", versions[v]->name, versions[v]->grad_name, versions[v]->sums_name);
    }
}

static void rows_of_zeros_have_finite_norms_and_no_gradient(void **state) {
    (void)state;
    const graft_layer_norm_kernels *const versions[] = VERSIONS(graft_layer_norm);
    const float zeros[33] = {0}, ones[33] = {1, 1, 1};
    for (size_t v = 0; v < n_versions(); v++) {
        float y[33], mean, rstd, dgamma[33], dbeta[33];
        graft_layer_norm_rows r = {.x = zeros,
                                   .dy = zeros,
                                   .y = y,
                                   .gamma = ones,
                                   .mean = &mean,
                                   .rstd = &rstd,
                                   .width = 33,
                                   .eps = 1e-12F};
        versions[v]->forward(&r, 0, 1);
        assert_memory_equal(y, zeros, sizeof y);
        assert_true(isfinite(rstd));
        versions[v]->backward(&r, 0, 1, dgamma, dbeta);
        for (size_t d = 0; d < 33; d++) assert_true(y[d] == 0 && dgamma[d] == 0 && dbeta[d] == 0);
    }
}

/* ---- Dropout ---------------------------------------------------------------------------------------------- */

static void dropout_keeps_what_the_hash_says(void **state) {
    (void)state;
    const graft_dropout_kernels *const versions[] = VERSIONS(graft_dropout);
    enum { N = 1003 };
    const int32_t seed[2] = {7, -9};
    float *x = random_floats(N, -2, 2, 1);
    uint16_t *half = narrowed(x, N), half_y[N];
    for (size_t v = 0; v < n_versions(); v++) {
        float y[N];
        graft_dropout_span s = {.x = x,
                                .y = y,
                                .key = graft_dropout_key_of(seed, 3, 5),
                                .threshold = graft_dropout_threshold(0.3),
                                .scale = 1.25F};
        versions[v]->drop(&s, 0, 500);
        versions[v]->drop(&s, 500, N);
        for (size_t i = 0; i < N; i++)
            assert_true(y[i] == (graft_dropout_keeps(s.key, (uint32_t)i, s.threshold) ? x[i] * 1.25F : 0));
        s.x = half;
        s.y = half_y;
        s.is_narrow = true;
        versions[v]->drop(&s, 0, N);
        for (size_t i = 0; i < N; i++) assert_int_equal(half_y[i], narrow_rounded(y[i]));
        print_message("%s\n", versions[v]->name);
    }
    free(x);
    free(half);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_are_rounded_as_tensors_round_them),
        cmocka_unit_test(activations_are_as_accurate_as_float32),
        cmocka_unit_test(activations_in_bf16_are_those_of_float32_rounded),
        cmocka_unit_test(what_is_not_a_number_stays_so),
        cmocka_unit_test(layer_norm_is_that_of_double),
        cmocka_unit_test(rows_of_zeros_have_finite_norms_and_no_gradient),
        cmocka_unit_test(dropout_keeps_what_the_hash_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
