#include "data/transform.h"
#include "support/formula.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "tests/golden/image/"

static int setup(void **state) {
    *state = graft_image_scratch_new();
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    graft_image_scratch_free(*state);
    return 0;
}

static void evaluation_equals_transformers_and_timm(void **state) {
    FILE *f = fopen(FOLDER "preprocess.txt", "r");
    assert_non_null(f);
    graft_arena *arena = graft_arena_new(NULL);
    char name[64], kind[32], path[160];
    int w, h, seed, oh, ow, n = 0;
    while (fscanf(f, "%63s %31s %d %d %d %d %d", name, kind, &w, &h, &seed, &oh, &ow) == 7) {
        json_t *o;
        graft_preprocess p;
        graft_transform t;
        graft_err err;
        snprintf(path, sizeof path, FOLDER "preprocess/%s.json", name);
        int rc = graft_json_read(&o, arena, path, &err);
        if (rc == 0)
            rc = !strcmp(kind, "timm") ? graft_preprocess_parse_timm(&p, o, path, &err)
                                       : graft_preprocess_parse(&p, o, path, &err);
        if (rc == 0) rc = graft_transform_init(&t, &p, NULL, &err);
        if (rc < 0) fail_msg("%s", err.message);
        if (!strncmp(name, "written_",
                     8)) { /* the file that Transformers was tried with is the one graft writes */
            json_t *written;
            assert_int_equal(graft_preprocess_json(&written, &p, NULL, NULL, NULL), 0);
            if (!json_equal(written, o)) fail_msg("%s: %s", name, json_dumps(written, 0));
            json_decref(written);
        }
        assert_int_equal(t.height, oh);
        assert_int_equal(t.width, ow);
        n++;
        if (w == 0) continue;
        size_t size;
        snprintf(path, sizeof path, FOLDER "preprocess/%s.f32", name);
        float *want = formula_file(path, &size), *got = malloc(graft_transform_count(&t) * sizeof *got);
        int channels = t.channels;
        uint8_t *picture = formula_picture(w, h, channels, (uint32_t)seed);
        assert_true(want && got && picture);
        assert_int_equal(size, graft_transform_count(&t) * sizeof *got);
        graft_image image = {picture, w, h, channels, (size_t)w * (size_t)channels};
        assert_int_equal(graft_transform_image(&t, &image, NULL, got, *state, NULL), 0);
        for (size_t i = 0; i < graft_transform_count(&t); i++)
            if (!(fabsf(got[i] - want[i]) <= 2e-6f * (1 + fabsf(want[i]))))
                fail_msg("%s: element %zu is %.9g, should be %.9g", name, i, (double)got[i], (double)want[i]);
        free(want);
        free(got);
        free(picture);
    }
    fclose(f);
    graft_arena_free(arena);
    assert_int_equal(n, 26);
}

static graft_transform small_transform(const char *policy) {
    graft_preprocess p;
    graft_preprocess_imagenet(&p);
    p.height = p.width = 24;
    p.crop_height = p.crop_width = 20;
    graft_augment a;
    assert_int_equal(graft_augment_parse(&a, policy, NULL), 0);
    graft_transform t;
    assert_int_equal(graft_transform_init(&t, &p, &a, NULL), 0);
    return t;
}

static void bytes_and_their_decoded_picture_give_the_same(void **state) {
    graft_transform t = small_transform("strong");
    size_t size;
    uint8_t *data = formula_file(FOLDER "decode/rgb_sub0.jpg", &size);
    assert_non_null(data);
    float a[3 * 20 * 20], b[3 * 20 * 20];
    graft_rng rng = graft_rng_at(1, 0, 5, GRAFT_RNG_AUGMENT), again = rng;
    assert_int_equal(graft_transform_run(&t, data, size, "x", &rng, a, *state, NULL), 0);
    graft_image image;
    assert_int_equal(graft_image_decode(&image, *state, data, size, NULL, "x", NULL), 0);
    assert_int_equal(graft_transform_image(&t, &image, &again, b, *state, NULL), 0);
    assert_memory_equal(a, b, sizeof a);
    free(data);
}

static void a_sample_is_the_same_in_every_order_and_new_in_every_epoch(void **state) {
    graft_transform t = small_transform("strong,jitter=0.3/0.3/0.3/0.1");
    size_t size;
    uint8_t *data = formula_file(FOLDER "decode/rgb_sub0.jpg", &size);
    assert_non_null(data);
    enum { N = 3 * 20 * 20 };
    float first[8][N], x[N];
    graft_image_scratch *other = graft_image_scratch_new();
    assert_non_null(other);
    for (uint64_t i = 0; i < 8; i++) {
        graft_rng rng = graft_rng_at(9, 1, i, GRAFT_RNG_AUGMENT);
        assert_int_equal(graft_transform_run(&t, data, size, "x", &rng, first[i], *state, NULL), 0);
    }
    for (uint64_t i = 8; i-- > 0;) {
        graft_rng rng = graft_rng_at(9, 1, i, GRAFT_RNG_AUGMENT);
        assert_int_equal(graft_transform_run(&t, data, size, "x", &rng, x, other, NULL), 0);
        assert_memory_equal(x, first[i], sizeof x);
        rng = graft_rng_at(9, 2, i, GRAFT_RNG_AUGMENT);
        assert_int_equal(graft_transform_run(&t, data, size, "x", &rng, x, other, NULL), 0);
        assert_memory_not_equal(x, first[i], sizeof x);
    }
    graft_image_scratch_free(other);
    free(data);
}

/* Only the crop's part of a JPEG is decoded; the pixels have to be those of the whole, and damage outside has
 * to show. */
static void a_decoded_window_equals_the_whole_and_hides_no_damage(void **state) {
    static const char *const names[] = {"landscape.jpg",     "portrait.jpg",     "portrait_progressive.jpg",
                                        "landscape_444.jpg", "portrait_422.jpg", "cmyk.jpg",
                                        "orientation6.jpg"};
    static const char *const policies[] = {"none", "crop=0.05-0.3,flip"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++)
        for (size_t k = 0; k < 2; k++) {
            graft_preprocess p;
            graft_augment a;
            graft_transform t;
            graft_preprocess_imagenet(&p);
            p.height = p.width = 70;
            p.crop_height = p.crop_width = 60;
            p.resample = GRAFT_RESAMPLE_LANCZOS;
            assert_int_equal(graft_augment_parse(&a, policies[k], NULL), 0);
            assert_int_equal(graft_transform_init(&t, &p, &a, NULL), 0);
            char path[160];
            size_t size;
            snprintf(path, sizeof path, FOLDER "decode/%s", names[i]);
            uint8_t *data = formula_file(path, &size);
            assert_non_null(data);
            static float x[3 * 60 * 60], y[3 * 60 * 60];
            graft_image image;
            for (uint64_t n = 0; n < 20; n++) {
                graft_rng rng = graft_rng_at(1, n, i, GRAFT_RNG_AUGMENT), again = rng;
                assert_int_equal(graft_transform_run(&t, data, size, "x", k ? &rng : NULL, x, *state, NULL),
                                 0);
                assert_int_equal(graft_image_decode(&image, *state, data, size, NULL, "x", NULL), 0);
                assert_int_equal(graft_transform_image(&t, &image, k ? &again : NULL, y, *state, NULL), 0);
                if (memcmp(x, y, sizeof x) != 0) fail_msg("%s, %s", names[i], policies[k]);
            }
            for (size_t cut = 1; cut < 400 && cut < size; cut += 3) {
                graft_rng rng = graft_rng_at(1, cut, i, GRAFT_RNG_AUGMENT);
                if (graft_transform_run(&t, data, size - cut, "x", k ? &rng : NULL, x, *state, NULL) == 0)
                    fail_msg("%s cut by %zu bytes was taken", names[i], cut);
            }
            free(data);
        }
}

static void extreme_shapes_go_through(void **state) {
    static const int sizes[][2] = {{1, 1}, {30000, 2}, {1, 9000}, {30000, 1}, {2, 3}};
    static const char *const policies[] = {"none", "strong", "standard"};
    for (size_t k = 0; k < GRAFT_COUNT(policies); k++)
        for (size_t i = 0; i < GRAFT_COUNT(sizes); i++) {
            graft_transform t = small_transform(policies[k]);
            int w = sizes[i][0], h = sizes[i][1];
            uint8_t *data = formula_picture(w, h, 1, 3);
            assert_non_null(data);
            float x[3 * 20 * 20];
            graft_image image = {data, w, h, 1, (size_t)w};
            graft_rng rng = graft_rng_at(1, 1, i, GRAFT_RNG_AUGMENT);
            assert_int_equal(graft_transform_image(&t, &image, k ? &rng : NULL, x, *state, NULL), 0);
            for (size_t j = 0; j < GRAFT_COUNT(x); j++) assert_true(isfinite(x[j]) && fabsf(x[j]) < 3);
            free(data);
        }
}

static void a_size_left_to_the_picture_is_refused(void **state) {
    (void)state;
    graft_preprocess p;
    graft_preprocess_imagenet(&p);
    p.crop_height = p.crop_width = 0;
    graft_transform t;
    graft_err err;
    assert_int_equal(graft_transform_init(&t, &p, NULL, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "short side to 256 bilinear"));
}

/* Mean and largest difference in grey levels between scaled and full decoding of the first photos of a tar
 * file, short side to `resized`, centre crop `crop`. */
static int compare_decoding(FILE *tar, int resized, int crop, double *mean, double *most,
                            graft_image_scratch *s) {
    graft_preprocess p;
    graft_preprocess_imagenet(&p);
    p.height = p.width = resized;
    p.crop_height = p.crop_width = crop;
    graft_transform reduced, full;
    assert_int_equal(graft_transform_init(&reduced, &p, NULL, NULL), 0);
    for (int c = 0; c < 3; c++) reduced.scale[c] = 1, reduced.shift[c] = 0;
    full = reduced;
    full.exact = true;
    size_t count = graft_transform_count(&full);
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
    assert_true(a && b);
    char header[512];
    int n = 0;
    double sum = 0;
    *most = 0;
    while (n < 60 && fread(header, 1, 512, tar) == 512 && header[0]) {
        size_t size = strtoul(header + 124, NULL, 8), whole = (size + 511) / 512 * 512;
        uint8_t *data = malloc(whole ? whole : 1);
        assert_non_null(data);
        assert_int_equal(fread(data, 1, whole, tar), whole);
        if (header[156] == '0' && graft_image_sniff(data, size) == GRAFT_IMAGE_JPEG) {
            assert_int_equal(graft_transform_run(&reduced, data, size, header, NULL, a, s, NULL), 0);
            assert_int_equal(graft_transform_run(&full, data, size, header, NULL, b, s, NULL), 0);
            for (size_t i = 0; i < count; i++) {
                double d = fabs((double)a[i] - (double)b[i]);
                sum += d;
                if (d > *most) *most = d;
            }
            n++;
        }
        free(data);
    }
    *mean = sum / n / (double)count;
    free(a);
    free(b);
    return n;
}

/* The photos' short side is about 375: 64 lets them be decoded at half size, 40 at a quarter. */
static void reduced_decoding_stays_within_its_tolerance(void **state) {
    static const int sizes[][2] = {{64, 56}, {40, 36}};
    FILE *tar = fopen("../shared/data/hymenoptera.tar", "rb");
    if (!tar) {
        print_message("skipped: ../shared/data/hymenoptera.tar is not there\n");
        skip();
    }
    for (size_t i = 0; i < GRAFT_COUNT(sizes); i++) {
        double mean, most;
        rewind(tar);
        int n = compare_decoding(tar, sizes[i][0], sizes[i][1], &mean, &most, *state);
        print_message("%d photos to %d: mean difference %.3f of 255, largest %.0f\n", n, sizes[i][0], mean,
                      most);
        assert_int_equal(n, 60);
        assert_true(mean > 0 && mean < 1.0 && most <= 24);
    }
    fclose(tar);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation_equals_transformers_and_timm),
        cmocka_unit_test(bytes_and_their_decoded_picture_give_the_same),
        cmocka_unit_test(a_sample_is_the_same_in_every_order_and_new_in_every_epoch),
        cmocka_unit_test(a_decoded_window_equals_the_whole_and_hides_no_damage),
        cmocka_unit_test(extreme_shapes_go_through),
        cmocka_unit_test(a_size_left_to_the_picture_is_refused),
        cmocka_unit_test(reduced_decoding_stays_within_its_tolerance),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
