#include "data/augment.h"
#include "data/augment_private.h"
#include "support/formula.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void apply(graft_canvas *c, const char *name, double factor) {
    if (!strcmp(name, "brightness"))
        graft_canvas_brightness(c, factor);
    else if (!strcmp(name, "contrast"))
        graft_canvas_contrast(c, factor);
    else if (!strcmp(name, "saturation"))
        graft_canvas_saturation(c, factor);
    else if (!strcmp(name, "sharpness"))
        graft_canvas_sharpness(c, factor);
    else if (!strcmp(name, "hue"))
        graft_canvas_hue(c, factor);
    else if (!strcmp(name, "posterize"))
        graft_canvas_posterize(c, (int)factor);
    else if (!strcmp(name, "solarize"))
        graft_canvas_solarize(c, (int)factor);
    else if (!strcmp(name, "autocontrast"))
        graft_canvas_autocontrast(c);
    else if (!strcmp(name, "equalize"))
        graft_canvas_equalize(c);
    else
        fail_msg("unknown operation %s", name);
}

static void colour_operations_equal_pil_to_the_bit(void **state) {
    (void)state;
    enum { W = 41, H = 33 };
    FILE *f = fopen("tests/golden/image/colour.txt", "r");
    assert_non_null(f);
    char name[32];
    double factor;
    int c, n = 0;
    unsigned long long want;
    while (fscanf(f, "%31s %lf %d %llx", name, &factor, &c, &want) == 4) {
        uint8_t *data = formula_picture(W, H, c, 55), *spare = malloc(W * H * 3);
        assert_true(data && spare);
        if (!strcmp(name, "autocontrast"))
            for (size_t i = 0; i < (size_t)(W * H * c); i++) data[i] = (uint8_t)(60 + data[i] / 2);
        graft_canvas canvas = {data, spare, W, H, c};
        apply(&canvas, name, factor);
        if (formula_hash(data, (size_t)(W * H * c)) != want) fail_msg("%s %g, %d channels", name, factor, c);
        free(data);
        free(spare);
        n++;
    }
    fclose(f);
    assert_int_equal(n, 69);
}

static void flips_mirror_and_affine_moves(void **state) {
    (void)state;
    uint8_t spare[12], a[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    graft_canvas c = {a, spare, 4, 3, 1};
    graft_canvas_flip(&c);
    assert_memory_equal(a, ((uint8_t[]){4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9}), 12);
    graft_canvas_flip_vertical(&c);
    assert_memory_equal(a, ((uint8_t[]){12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}), 12);
    graft_canvas_affine(&c, 1, 0, 1, 0, 1, 0); /* one column to the left, black comes in */
    assert_memory_equal(a, ((uint8_t[]){11, 10, 9, 0, 7, 6, 5, 0, 3, 2, 1, 0}), 12);
    uint8_t rgb[6] = {1, 2, 3, 4, 5, 6};
    c = (graft_canvas){rgb, spare, 2, 1, 3};
    graft_canvas_flip(&c);
    assert_memory_equal(rgb, ((uint8_t[]){4, 5, 6, 1, 2, 3}), 6);
}

static void policies_are_read_and_explained(void **state) {
    (void)state;
    graft_augment a, b;
    char text[256];
    static const char *const good[] = {"none",
                                       "light",
                                       "standard",
                                       "strong",
                                       "flip",
                                       "auto",
                                       "strong,flip=0",
                                       "crop=0.6",
                                       "mixup=0.2,cutmix=1",
                                       "auto,mixup",
                                       "flip,crop=0.6-0.9,ratio=0.5-2,vflip=0.25",
                                       "flip,crop=0.6,jitter=0.4,randaugment=9/2,erase=0.25",
                                       "jitter=0.1/0.2/0.3/0.05"};
    for (size_t i = 0; i < GRAFT_COUNT(good); i++) {
        graft_err err;
        if (graft_augment_parse(&a, good[i], &err) < 0) fail_msg("%s", err.message);
        graft_augment_explain(&a, text, sizeof text);
        if (graft_augment_parse(&b, text, &err) < 0) fail_msg("%s", err.message);
        char again[256];
        assert_string_equal(text, graft_augment_explain(&b, again, sizeof again));
    }
    assert_int_equal(graft_augment_parse(&a, "strong,flip=0", NULL), 0);
    assert_true(a.flip == 0 && a.erase == 0.25 && a.randaugment_ops == 2 && graft_augment_is_active(&a));
    assert_int_equal(graft_augment_parse(&a, "flip,crop=0.6,jitter=0.4,randaugment=9/3", NULL), 0);
    assert_true(a.flip == 0.5 && a.crop_min == 0.6 && a.crop_max == 1 && a.hue == 0 && a.saturation == 0.4);
    assert_true(a.randaugment_magnitude == 9 && a.randaugment_ops == 3);
    assert_int_equal(graft_augment_parse(&a, "none", NULL), 0);
    assert_false(graft_augment_is_active(&a));
    assert_string_equal(graft_augment_explain(&a, text, sizeof text), "none");
    static const char *const bad[] = {"",
                                      "flop",
                                      "flip=2",
                                      "crop",
                                      "crop=a",
                                      "crop=0.9-0.1",
                                      "flip,",
                                      "flip,light",
                                      ",",
                                      "jitter=1/2/3/4/5",
                                      "jitter=0/0/0/0.6",
                                      "erase=nan",
                                      "crop=0.5-0.9-1",
                                      "flip=",
                                      "randaugment=31/2",
                                      "ratio=1",
                                      "crop=-0.5"};
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        graft_err err = {0};
        if (graft_augment_parse(&a, bad[i], &err) != GRAFT_EUSAGE) fail_msg("'%s' was taken", bad[i]);
        assert_true(err.message[0]);
    }
}

static void random_crops_lie_within_and_have_the_area_asked_for(void **state) {
    (void)state;
    graft_augment a;
    assert_int_equal(graft_augment_parse(&a, "crop=0.3-0.8", NULL), 0);
    double least = 1, most = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        graft_rng rng = graft_rng_at(1, 0, i, GRAFT_RNG_AUGMENT);
        graft_crop c = graft_augment_crop(&a, 200, 160, &rng);
        assert_true(c.x >= 0 && c.y >= 0 && c.width > 0 && c.height > 0);
        assert_true(c.x + c.width <= 200 && c.y + c.height <= 160);
        double share = c.width * c.height / (200.0 * 160), ratio = (double)c.width / c.height;
        assert_true(ratio > 0.72 && ratio < 1.38);
        if (share < least) least = share;
        if (share > most) most = share;
    }
    assert_true(least > 0.29 && least < 0.33 && most < 0.82 && most > 0.75);
    graft_rng rng = graft_rng_at(1, 0, 0, GRAFT_RNG_AUGMENT);
    graft_crop c = graft_augment_crop(&a, 3000, 1, &rng); /* no window fits: the centre */
    assert_true(c.width == 1 && c.height == 1 && c.x == 1499);
}

static void erasing_clears_one_rectangle(void **state) {
    (void)state;
    enum { N = 24 };
    graft_augment a = {.erase = 1};
    int erased = 0;
    for (uint64_t i = 0; i < 200; i++) {
        static float x[2][N][N];
        for (size_t k = 0; k < 2 * N * N; k++) (&x[0][0][0])[k] = 1;
        graft_rng rng = graft_rng_at(4, 0, i, GRAFT_RNG_AUGMENT);
        graft_augment_erase(&a, &x[0][0][0], 2, N, N, &rng);
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        int n = 0, x0 = N, x1 = -1, y0 = N, y1 = -1;
        for (int r = 0; r < N; r++)
            for (int c = 0; c < N; c++)
                if (x[0][r][c] == 0) {
                    n++;
                    x0 = c < x0 ? c : x0, x1 = c > x1 ? c : x1;
                    y0 = r < y0 ? r : y0, y1 = r > y1 ? r : y1;
                }
        if (n) assert_int_equal(n, (x1 - x0 + 1) * (y1 - y0 + 1));
        erased += n > 0;
        assert_true(n < N * N / 2);
    }
    assert_true(erased > 190);
}

static void mixing_keeps_every_target_a_distribution(void **state) {
    (void)state;
    enum { N = 5, C = 2, H = 6, W = 7, K = 3 };
    static const char *const policies[] = {"mixup=0.4", "cutmix=1", "mixup=0.4,cutmix=1"};
    for (size_t k = 0; k < GRAFT_COUNT(policies); k++) {
        graft_augment a;
        assert_int_equal(graft_augment_parse(&a, policies[k], NULL), 0);
        for (uint64_t i = 0; i < 50; i++) {
            float x[N][C][H][W], t[N][K] = {0};
            for (size_t n = 0; n < N; n++) {
                for (size_t j = 0; j < C * H * W; j++) (&x[n][0][0][0])[j] = (float)n;
                t[n][n % K] = 1;
            }
            graft_rng rng = graft_rng_at(6, 0, i, GRAFT_RNG_MIX);
            double lambda = graft_mix_batch(&a, &x[0][0][0][0], &t[0][0], N, C, H, W, K, &rng);
            assert_true(lambda >= 0 && lambda <= 1);
            for (size_t n = 0; n < N; n++) {
                double mean = 0, sum = 0;
                for (size_t j = 0; j < C * H * W; j++) mean += (double)(&x[n][0][0][0])[j] / (C * H * W);
                for (size_t j = 0; j < K; j++) sum += (double)t[n][j];
                assert_true(fabs(sum - 1) < 1e-6);
                double want = lambda * (double)n + (1 - lambda) * (double)(N - 1 - n);
                assert_true(fabs(mean - want) <
                            1e-5); /* the share of the pixels is the share of the target */
            }
        }
    }
    graft_augment off = {0};
    graft_rng rng = graft_rng_at(6, 0, 0, GRAFT_RNG_MIX);
    assert_true(graft_mix_batch(&off, NULL, NULL, 4, 1, 1, 1, 2, &rng) == 1);
}

static void randaugment_changes_pictures_and_stays_in_them(void **state) {
    (void)state;
    enum { W = 31, H = 18 };
    int changed = 0;
    for (uint64_t i = 0; i < 300; i++) {
        int c = i % 2 ? 3 : 1;
        size_t n = (size_t)(W * H * c);
        uint8_t *data = formula_picture(W, H, c, 8), *before = formula_picture(W, H, c, 8),
                *spare = malloc(n);
        assert_true(data && before && spare);
        graft_canvas canvas = {data, spare, W, H, c};
        graft_rng rng = graft_rng_at(7, 0, i, GRAFT_RNG_AUGMENT);
        graft_canvas_randaugment(&canvas, 2, (int)(i % 31), &rng);
        changed += memcmp(data, before, n) != 0;
        free(data);
        free(before);
        free(spare);
    }
    assert_true(changed > 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colour_operations_equal_pil_to_the_bit),
        cmocka_unit_test(flips_mirror_and_affine_moves),
        cmocka_unit_test(policies_are_read_and_explained),
        cmocka_unit_test(random_crops_lie_within_and_have_the_area_asked_for),
        cmocka_unit_test(erasing_clears_one_rectangle),
        cmocka_unit_test(mixing_keeps_every_target_a_distribution),
        cmocka_unit_test(randaugment_changes_pictures_and_stays_in_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
