/* The loops of the optimisers: every version that this processor runs against a loop in double, over any part
 * of an array; and what clipping promises. */
#include "programs.h"

#include "backend/cpu/own/update.h"

#include <math.h>

enum { MOST = 200, GUARD = 16 };

/* The versions that this processor has. */
static size_t versions(const graft_update_kernels **out) {
    size_t n = 0;
    out[n++] = &graft_update_base;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = &graft_update_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        out[n++] = &graft_update_avx512;
#endif
    return n;
}

typedef struct arrays {
    float w[MOST], dw[MOST], m[MOST], v[MOST];
} arrays;

static arrays random_arrays(bench *b, uint64_t stream) {
    arrays a;
    memcpy(a.w, bench_random(b, MOST, -2, 2, stream), sizeof a.w);
    memcpy(a.dw, bench_random(b, MOST, -1, 1, stream + 1), sizeof a.dw);
    memcpy(a.m, bench_random(b, MOST, -1, 1, stream + 2), sizeof a.m);
    memcpy(a.v, bench_random(b, MOST, 0, 1, stream + 3), sizeof a.v);
    return a;
}

static void check_close(const char *kernel, float got, double want) {
    if (!(fabs((double)got - want) <= 1e-5 * fmax(1.0, fabs(want))))
        fail_msg("%s: %.9g, not %.9g", kernel, (double)got, want);
}

/* Runs the update of elements [begin, end) and looks at all of them, changed or not. */
static void check_sgd(bench *b, const graft_update_kernels *k, graft_sgd_span s, size_t begin, size_t end) {
    arrays was = random_arrays(b, 1), is = was;
    s.w = is.w;
    s.dw = is.dw;
    if (s.momentum > 0) s.velocity = is.m;
    k->sgd(&s, begin, end);
    assert_memory_equal(is.dw, was.dw, sizeof is.dw);
    for (size_t i = 0; i < MOST; i++) {
        double w = (double)was.w[i], v = (double)was.m[i], momentum = (double)s.momentum;
        if (i >= begin && i < end) {
            double g = (double)was.dw[i] * (double)s.scale + (double)s.decay * w;
            if (s.velocity) v = momentum * v + g;
            w -= (double)s.rate * (!s.velocity ? g : s.nesterov ? g + momentum * v : v);
        }
        check_close(k->sgd_name, is.w[i], w);
        check_close(k->sgd_name, is.m[i], v);
    }
}

static void check_adam(bench *b, const graft_update_kernels *k, graft_adam_span s, size_t begin, size_t end) {
    arrays was = random_arrays(b, 11), is = was;
    s.w = is.w;
    s.dw = is.dw;
    s.m = is.m;
    s.v = is.v;
    k->adam(&s, begin, end);
    for (size_t i = 0; i < MOST; i++) {
        double w = (double)was.w[i], m = (double)was.m[i], v = (double)was.v[i];
        if (i >= begin && i < end) {
            w *= (double)s.shrink;
            double g = (double)was.dw[i] * (double)s.scale + (double)s.decay * w;
            m = (double)s.beta1 * m + (1 - (double)s.beta1) * g;
            v = (double)s.beta2 * v + (1 - (double)s.beta2) * g * g;
            w -= (double)s.rate * m / (sqrt(v) / (double)s.root_correction + (double)s.eps);
        }
        check_close(k->adam_name, is.w[i], w);
        check_close(k->adam_name, is.m[i], m);
        check_close(k->adam_name, is.v[i], v);
    }
}

/* Every tail and every misalignment of the widest vectors. */
static void over_parts(bench *b, const graft_update_kernels *k,
                       void (*check)(bench *, const graft_update_kernels *, size_t, size_t)) {
    for (size_t begin = 0; begin <= GUARD; begin++) {
        for (size_t count = 0; count <= 2 * GUARD + 1; count++) check(b, k, begin, begin + count);
        check(b, k, begin, MOST);
    }
}

static void sgd_parts(bench *b, const graft_update_kernels *k, size_t begin, size_t end) {
    static const graft_sgd_span kinds[] = {
        {.rate = 0.1F, .scale = 1.0F},
        {.rate = 0.1F, .scale = 0.5F, .decay = 0.01F},
        {.rate = 0.1F, .scale = 1.0F, .decay = 0.01F, .momentum = 0.9F},
        {.rate = 0.1F, .scale = 0.3F, .decay = 0.01F, .momentum = 0.9F, .nesterov = 1}};
    for (size_t i = 0; i < GRAFT_COUNT(kinds); i++) check_sgd(b, k, kinds[i], begin, end);
}

static void adam_parts(bench *b, const graft_update_kernels *k, size_t begin, size_t end) {
    graft_adam_span s = {.beta1 = 0.9F,
                         .beta2 = 0.999F,
                         .eps = 1e-8F,
                         .scale = 0.7F,
                         .shrink = 1.0F,
                         .decay = 0.01F,
                         .rate = 0.02F,
                         .root_correction = 0.1F};
    check_adam(b, k, s, begin, end);
    s.decay = 0.0F;
    s.shrink = 0.99F;
    check_adam(b, k, s, begin, end);
}

static void norm_parts(bench *b, const graft_update_kernels *k, size_t begin, size_t end) {
    const float *x = bench_random(b, MOST, -3, 3, 21);
    double want = 0;
    for (size_t i = begin; i < end; i++) want += (double)x[i] * (double)x[i];
    double got = k->sum_squares(x, begin, end);
    if (!(fabs(got - want) <= 1e-12 * want)) fail_msg("%s: %.17g, not %.17g", k->norm_name, got, want);
}

static void every_version_equals_a_loop_in_double(void **unused) {
    (void)unused;
    const graft_update_kernels *all[3];
    size_t n = versions(all);
    for (size_t i = 0; i < n; i++) {
        print_message("%s %s %s\n", all[i]->sgd_name, all[i]->adam_name, all[i]->norm_name);
        bench b = bench_new(1);
        over_parts(&b, all[i], sgd_parts);
        over_parts(&b, all[i], adam_parts);
        over_parts(&b, all[i], norm_parts);
        bench_free(&b);
    }
}

/* ---- Clipping -------------------------------------------------------------------------------------------- */

enum { LARGE = 3 * (1 << 15) + 7, SMALL = 5 };

static float clip_scale(int threads, double max_norm, float factor) {
    bench b = bench_new(threads);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value grads[] = {graft_graph_input(g, "large", GRAFT_F32, (graft_shape){1, {LARGE}}),
                           graft_graph_input(g, "small", GRAFT_F32, (graft_shape){1, {SMALL}})};
    graft_graph_output(g, "scale", graft_clip_scale(g, grads, 2, max_norm));
    graft_program *p = bench_compile(&b, g, b.state, 1);
    float *large = bench_random(&b, LARGE, -1, 1, 1), *small = bench_random(&b, SMALL, -1, 1, 2);
    for (size_t i = 0; i < LARGE; i++) large[i] *= factor;
    bench_set(p, "large", large, LARGE);
    bench_set(p, "small", small, SMALL);
    bench_run(&b, p);
    float scale = *graft_program_output(p, "scale", NULL);
    double total = 0;
    for (size_t i = 0; i < LARGE; i++) total += (double)large[i] * (double)large[i];
    for (size_t i = 0; i < SMALL; i++) total += (double)small[i] * (double)small[i];
    check_close("clip_scale", scale, fmin(1.0, max_norm / (sqrt(total) + 1e-6)));
    graft_program_free(p);
    bench_free(&b);
    return scale;
}

static void clipping_has_the_same_bits_for_any_thread_count(void **unused) {
    (void)unused;
    float one = clip_scale(1, 2.0, 1.0F);
    for (int threads = 2; threads <= 5; threads++) {
        float scale = clip_scale(threads, 2.0, 1.0F);
        assert_memory_equal(&scale, &one, sizeof one);
    }
}

static void a_small_gradient_is_not_scaled_up(void **unused) {
    (void)unused;
    float scale = clip_scale(2, 100.0, 1e-4F), whole = 1.0F;
    assert_memory_equal(&scale, &whole, sizeof whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_equals_a_loop_in_double),
        cmocka_unit_test(clipping_has_the_same_bits_for_any_thread_count),
        cmocka_unit_test(a_small_gradient_is_not_scaled_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
