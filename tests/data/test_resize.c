#include "data/resize.h"
#include "support/formula.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/image/resize.txt"

static const graft_simd levels[] = {GRAFT_SIMD_SCALAR, GRAFT_SIMD_AVX2, GRAFT_SIMD_AVX512};

static int setup(void **state) {
    *state = graft_image_scratch_new();
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    graft_image_scratch_free(*state);
    return 0;
}

static void every_path_equals_pil_to_the_bit(void **state) {
    FILE *f = fopen(GOLDEN, "r");
    assert_non_null(f);
    int w, h, c, seed, ow, oh, filter, n = 0;
    unsigned long long want;
    while (fscanf(f, "%d %d %d %d %d %d %d %llx", &w, &h, &c, &seed, &ow, &oh, &filter, &want) == 8) {
        uint8_t *in = formula_picture(w, h, c, (uint32_t)seed),
                *out = malloc((size_t)ow * (size_t)oh * (size_t)c);
        assert_true(in && out);
        graft_image image = {in, w, h, c, (size_t)w * (size_t)c};
        for (size_t l = 0; l < GRAFT_COUNT(levels); l++) {
            if (!graft_simd_runs(levels[l])) continue;
            graft_resize_job job = {ow, oh, 0, 0, ow, oh, (graft_resample)filter, levels[l], 0, 0, 0, 0};
            assert_int_equal(graft_resize(out, (size_t)ow * (size_t)c, &image, &job, *state, NULL), 0);
            if (formula_hash(out, (size_t)ow * (size_t)oh * (size_t)c) != want)
                fail_msg("%d x %d x %d to %d x %d, %s, path %d", w, h, c, ow, oh,
                         graft_resample_name((graft_resample)filter), (int)levels[l]);
        }
        free(in);
        free(out);
        n++;
    }
    fclose(f);
    assert_int_equal(n, 64 * 6);
}

static void a_window_is_that_part_of_the_whole(void **state) {
    graft_rng rng = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    for (int round = 0; round < 120; round++) {
        int w = 1 + (int)graft_rng_below(&rng, 90), h = 1 + (int)graft_rng_below(&rng, 90);
        int ow = 1 + (int)graft_rng_below(&rng, 90), oh = 1 + (int)graft_rng_below(&rng, 90);
        int c = graft_rng_below(&rng, 3) ? 3 : 1;
        graft_resample filter = (graft_resample)graft_rng_below(&rng, 6);
        graft_resize_job job = {ow, oh, 0, 0, ow, oh, filter, GRAFT_SIMD_SCALAR, 0, 0, 0, 0};
        uint8_t *in = formula_picture(w, h, c, (uint32_t)round);
        size_t stride = (size_t)ow * (size_t)c;
        uint8_t *whole = malloc(stride * (size_t)oh), *part = malloc(stride * (size_t)oh);
        assert_true(in && whole && part);
        graft_image image = {in, w, h, c, (size_t)w * (size_t)c};
        assert_int_equal(graft_resize(whole, stride, &image, &job, *state, NULL), 0);
        job.x = (int)graft_rng_below(&rng, (uint64_t)ow);
        job.y = (int)graft_rng_below(&rng, (uint64_t)oh);
        job.w = 1 + (int)graft_rng_below(&rng, (uint64_t)(ow - job.x));
        job.h = 1 + (int)graft_rng_below(&rng, (uint64_t)(oh - job.y));
        size_t part_stride = (size_t)job.w * (size_t)c;
        for (size_t l = 0; l < GRAFT_COUNT(levels); l++) {
            if (!graft_simd_runs(levels[l])) continue;
            job.simd = levels[l];
            assert_int_equal(graft_resize(part, part_stride, &image, &job, *state, NULL), 0);
            for (int y = 0; y < job.h; y++)
                assert_memory_equal(part + (size_t)y * part_stride,
                                    whole + (size_t)(job.y + y) * stride + (size_t)job.x * (size_t)c,
                                    part_stride);
        }
        free(in);
        free(whole);
        free(part);
    }
}

/* A view into a larger picture: no byte outside the allocation may be read (the sanitizer build sees it). */
static void a_view_with_a_stride_resizes_like_its_copy(void **state) {
    enum { W = 61, H = 47, X = 13, Y = 9, VW = 48, VH = 38, O = 20 };
    uint8_t *in = formula_picture(W, H, 3, 5), *copy = malloc(VW * VH * 3), a[O * O * 3], b[O * O * 3];
    assert_true(in && copy);
    for (size_t y = 0; y < VH; y++) memcpy(copy + y * VW * 3, in + ((y + Y) * W + X) * 3, VW * 3);
    graft_image view = {in + (Y * W + X) * 3, VW, VH, 3, W * 3}, tight = {copy, VW, VH, 3, VW * 3};
    for (size_t l = 0; l < GRAFT_COUNT(levels); l++) {
        if (!graft_simd_runs(levels[l])) continue;
        graft_resize_job job = {O, O, 0, 0, O, O, GRAFT_RESAMPLE_BICUBIC, levels[l], 0, 0, 0, 0};
        assert_int_equal(graft_resize(a, O * 3, &view, &job, *state, NULL), 0);
        assert_int_equal(graft_resize(b, O * 3, &tight, &job, *state, NULL), 0);
        assert_memory_equal(a, b, sizeof a);
    }
    free(in);
    free(copy);
}

static void a_strip_of_a_million_pixels_shrinks(void **state) {
    size_t n = 1000000;
    uint8_t *in = malloc(n * 3), out[9];
    assert_non_null(in);
    memset(in, 77, n * 3);
    graft_image image = {in, (int)n, 1, 3, n * 3};
    for (int filter = 0; filter < 6; filter++) {
        graft_resize_job job = {3, 1, 0, 0, 3, 1, (graft_resample)filter, GRAFT_SIMD_AUTO, 0, 0, 0, 0};
        assert_int_equal(graft_resize(out, 9, &image, &job, *state, NULL), 0);
        if (filter != GRAFT_RESAMPLE_LANCZOS &&
            filter != GRAFT_RESAMPLE_HAMMING) /* others lose bits to rounding taps */
            assert_in_range(out[4], 70, 84);
    }
    free(in);
}

static void sizes_out_of_range_are_refused(void **state) {
    uint8_t in[12] = {0}, out[12];
    graft_image image = {in, 2, 2, 3, 6};
    graft_err err;
    graft_resize_job past = {2, 2, 1, 0, 2, 2, GRAFT_RESAMPLE_BILINEAR, GRAFT_SIMD_AUTO, 0, 0, 0, 0};
    assert_int_equal(graft_resize(out, 6, &image, &past, *state, &err), GRAFT_EUSAGE);
    graft_resize_job filter = {2, 2, 0, 0, 2, 2, (graft_resample)6, GRAFT_SIMD_AUTO, 0, 0, 0, 0};
    assert_int_equal(graft_resize(out, 6, &image, &filter, *state, &err), GRAFT_EUSAGE);
    image.channels = 4;
    graft_resize_job job = {2, 2, 0, 0, 2, 2, GRAFT_RESAMPLE_BILINEAR, GRAFT_SIMD_AUTO, 0, 0, 0, 0};
    assert_int_equal(graft_resize(out, 6, &image, &job, *state, &err), GRAFT_EUSAGE);
}

static void normalising_is_the_same_on_every_path(void **state) {
    (void)state;
    const float scale[4] = {0.0171f, 0.0175f, 0.0174f}, shift[4] = {-2.1179f, -2.0357f, -1.8044f};
    for (int w = 1; w < 70; w += 3)
        for (int c = 1; c <= 3; c += 2) {
            enum { H = 3 };
            uint8_t *in = formula_picture(w, H, c, 9);
            size_t n = (size_t)w * H * (size_t)c;
            float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
            assert_true(in && a && b);
            graft_image image = {in, w, H, c, (size_t)w * (size_t)c};
            graft_normalise(a, (size_t)w * H, (size_t)w, &image, scale, shift, GRAFT_SIMD_SCALAR);
            for (size_t i = 0; i < n; i++) {
                size_t k = i / ((size_t)w * H), p = i % ((size_t)w * H);
                assert_true(a[i] == (float)in[p * (size_t)c + k] * scale[k] + shift[k]);
            }
            for (size_t l = 0; l < GRAFT_COUNT(levels); l++) {
                if (!graft_simd_runs(levels[l])) continue;
                graft_normalise(b, (size_t)w * H, (size_t)w, &image, scale, shift, levels[l]);
                assert_memory_equal(a, b, n * sizeof *a);
            }
            free(in);
            free(a);
            free(b);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_equals_pil_to_the_bit),
        cmocka_unit_test(a_window_is_that_part_of_the_whole),
        cmocka_unit_test(a_view_with_a_stride_resizes_like_its_copy),
        cmocka_unit_test(a_strip_of_a_million_pixels_shrinks),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(normalising_is_the_same_on_every_path),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
