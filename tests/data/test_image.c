#include "data/image.h"
#include "support/formula.h"
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

static uint8_t *golden(const char *name, size_t *size) {
    char path[256];
    snprintf(path, sizeof path, FOLDER "decode/%s", name);
    uint8_t *data = formula_file(path, size);
    assert_non_null(data);
    return data;
}

static void pictures_decode_as_pil_decodes_them(void **state) {
    FILE *f = fopen(FOLDER "decode.txt", "r");
    assert_non_null(f);
    char name[64], reference[80];
    int w, h, tolerance, n = 0;
    unsigned long long want;
    while (fscanf(f, "%63s %d %d %llx %d", name, &w, &h, &want, &tolerance) == 5) {
        size_t size, pixels = (size_t)w * (size_t)h * 3, reference_size;
        uint8_t *data = golden(name, &size);
        graft_image image;
        graft_image_info info;
        graft_err err;
        if (graft_image_probe(&info, data, size, name, &err) < 0) fail_msg("%s", err.message);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        if (graft_image_decode(&image, *state, data, size, NULL, name, &err) < 0) fail_msg("%s", err.message);
        assert_int_equal(image.width, w);
        assert_int_equal(image.height, h);
        assert_int_equal(image.channels, 3);
        assert_int_equal(image.stride, (size_t)w * 3);
        if (tolerance) { /* libraries of different versions round chroma differently */
            snprintf(reference, sizeof reference, "%s.rgb", name);
            uint8_t *expected = golden(reference, &reference_size);
            assert_int_equal(reference_size, pixels);
            for (size_t i = 0; i < pixels; i++)
                if (abs(image.data[i] - expected[i]) > tolerance) fail_msg("%s differs at byte %zu", name, i);
            free(expected);
        } else if (formula_hash(image.data, pixels) != want) {
            fail_msg("%s: other pixels than PIL's", name);
        }
        free(data);
        n++;
    }
    fclose(f);
    assert_true(n > 30);
}

static void grey_is_asked_for_and_is_pils_luma(void **state) {
    static const char *const names[] = {"grey.jpg", "grey.png", "rgb.png", "lossless.webp", "cmyk.jpg"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        size_t size;
        uint8_t *data = golden(names[i], &size), *colour;
        graft_image image;
        graft_decode_options o = {.channels = 3};
        assert_int_equal(graft_image_decode(&image, *state, data, size, &o, names[i], NULL), 0);
        size_t n = (size_t)image.width * (size_t)image.height;
        colour = malloc(n * 3);
        assert_non_null(colour);
        memcpy(colour, image.data, n * 3);
        o.channels = 1;
        assert_int_equal(graft_image_decode(&image, *state, data, size, &o, names[i], NULL), 0);
        assert_int_equal(image.channels, 1);
        for (size_t p = 0; p < n; p++) {
            const uint8_t *c = colour + p * 3;
            assert_int_equal(image.data[p], (c[0] * 19595 + c[1] * 38470 + c[2] * 7471 + 32768) >> 16);
        }
        free(colour);
        free(data);
    }
}

static void every_truncation_is_an_error_and_says_so(void **state) {
    static const char *const names[] = {"rgb_sub2.jpg", "progressive.jpg", "cmyk.jpg",      "rgb.png",
                                        "palette.png",  "lossy.webp",      "lossless.webp", "interlaced.png"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        size_t size;
        uint8_t *data = golden(names[i], &size);
        graft_image image;
        for (size_t cut = 0; cut < size; cut += 1 + size / 97) {
            uint8_t *part = malloc(cut ? cut : 1); /* exactly as long, for the sanitizer */
            assert_non_null(part);
            memcpy(part, data, cut);
            graft_err err = {0};
            int rc = graft_image_decode(&image, *state, part, cut, NULL, "photos/cut.bin", &err);
            /* What is cut off may be nothing but an end marker that carries no pixel. */
            if (rc == 0 && cut + 64 < size) fail_msg("%s cut to %zu of %zu was taken", names[i], cut, size);
            if (rc < 0) {
                assert_int_equal(rc, GRAFT_EFORMAT);
                assert_non_null(strstr(err.message, "photos/cut.bin"));
            }
            free(part);
        }
        free(data);
    }
}

static void a_jpeg_cut_in_the_middle_is_called_truncated(void **state) {
    size_t size;
    uint8_t *data = golden("rgb_sub2.jpg", &size);
    graft_image image;
    graft_err err;
    assert_int_equal(graft_image_decode(&image, *state, data, size - 200, NULL, "a.jpg", &err),
                     GRAFT_EFORMAT);
    assert_string_equal(err.message, "a.jpg: truncated JPEG (the file ends inside the picture)");
    free(data);
}

/* Cameras and editors leave bytes before the end marker; the picture is whole. */
static void stray_bytes_before_the_end_do_no_harm(void **state) {
    size_t size;
    uint8_t *data = golden("rgb_sub0.jpg", &size), *stray = malloc(size + 7);
    assert_non_null(stray);
    assert_true(data[size - 2] == 0xFF && data[size - 1] == 0xD9);
    memcpy(stray, data, size - 2);
    memset(stray + size - 2, 0x11, 7);
    memcpy(stray + size + 5, data + size - 2, 2);
    graft_image image;
    graft_err err;
    if (graft_image_decode(&image, *state, stray, size + 7, NULL, "s.jpg", &err) < 0)
        fail_msg("%s", err.message);
    uint64_t with = formula_hash(image.data, 37 * 29 * 3);
    assert_int_equal(graft_image_decode(&image, *state, data, size, NULL, "s.jpg", &err), 0);
    assert_true(with == formula_hash(image.data, 37 * 29 * 3));
    free(stray);
    free(data);
}

static void flipped_bytes_never_crash(void **state) {
    static const char *const names[] = {"rgb_sub1.jpg", "progressive.jpg", "ycck.jpg",  "palette.png",
                                        "rgb16.png",    "lossy.webp",      "alpha.webp"};
    graft_rng rng = graft_rng_at(3, 0, 0, GRAFT_RNG_TEST);
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        size_t size;
        uint8_t *data = golden(names[i], &size), *bad = malloc(size);
        assert_non_null(bad);
        for (int round = 0; round < 150; round++) {
            memcpy(bad, data, size);
            for (int k = 0; k < 3; k++)
                bad[graft_rng_below(&rng, size)] = (uint8_t)graft_rng_below(&rng, 256);
            graft_image image;
            graft_image_info info;
            graft_err err = {0};
            graft_decode_options o = {.max_pixels = 1 << 20};
            if (graft_image_probe(&info, bad, size, "x", &err) < 0) assert_true(err.message[0]);
            int rc = graft_image_decode(&image, *state, bad, size, &o, "x", &err);
            assert_true(rc == 0 || err.message[0]);
        }
        free(bad);
        free(data);
    }
}

static void what_is_no_picture_is_named(void **state) {
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } cases[] = {{"", 0, "the file is empty"},
                 {"hello world", 11, "not a picture (begins with \"hello wo\")"},
                 {"\0\001abc", 5, "\\x00\\x01abc"},
                 {"BM1234", 6, "a BMP"},
                 {"%PDF-1.4", 8, "a PDF"},
                 {"<!DOCTYPE html>", 15, "an HTML page"},
                 {"\0\0\0\040ftypavif", 12, "an AVIF"},
                 {"\xFF\xD8\xFF", 3, "truncated JPEG"}};
    graft_image image;
    graft_err err;
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        assert_int_equal(
            graft_image_decode(&image, *state, cases[i].bytes, cases[i].size, NULL, "f.jpg", &err),
            GRAFT_EFORMAT);
        if (!strstr(err.message, cases[i].says)) fail_msg("'%s' lacks '%s'", err.message, cases[i].says);
        assert_memory_equal(err.message, "f.jpg: ", 7);
    }
    size_t size;
    uint8_t *data = golden("picture.gif", &size);
    assert_int_equal(graft_image_decode(&image, *state, data, size, NULL, "f.gif", &err), GRAFT_EFORMAT);
    assert_non_null(strstr(err.message, "this is a GIF file; JPEG, PNG or WebP are read"));
    free(data);
    data = golden("animated.webp", &size);
    assert_int_equal(graft_image_decode(&image, *state, data, size, NULL, "f.webp", &err),
                     GRAFT_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "animated"));
    free(data);
}

static void too_many_pixels_are_refused_before_memory_is_taken(void **state) {
    /* A header that claims 60,000 x 60,000 over a picture of a few hundred bytes. */
    size_t size;
    uint8_t *data = golden("rgb.png", &size);
    static const uint8_t claim[8] = {0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60}, crc[4] = {0};
    memcpy(data + 16, claim, 8);
    memcpy(data + 29, crc, 4);
    graft_image image;
    graft_err err;
    assert_true(graft_image_decode(&image, *state, data, size, NULL, "big.png", &err) < 0);
    free(data);
    data = golden("rgb_sub0.jpg", &size);
    graft_decode_options o = {.max_pixels = 37 * 29 - 1};
    assert_int_equal(graft_image_decode(&image, *state, data, size, &o, "big.jpg", &err), GRAFT_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "37 x 29"));
    o.max_pixels++;
    assert_int_equal(graft_image_decode(&image, *state, data, size, &o, "big.jpg", &err), 0);
    free(data);
}

static void a_reduced_decode_is_used_only_with_margin(void **state) {
    size_t size;
    uint8_t *data = golden("rgb_sub0.jpg", &size); /* 37 x 29 */
    graft_image image;
    graft_decode_options o = {.target_width = 10, .target_height = 8};
    assert_int_equal(graft_image_decode(&image, *state, data, size, &o, "a", NULL), 0);
    assert_int_equal(image.width, 37); /* half would be 18 x 14: less than twice the target */
    o.target_width = 9;
    o.target_height = 7;
    assert_int_equal(graft_image_decode(&image, *state, data, size, &o, "a", NULL), 0);
    assert_int_equal(image.width, 19);
    assert_int_equal(image.height, 15);
    o.target_height = 8;
    assert_int_equal(graft_image_decode(&image, *state, data, size, &o, "a", NULL), 0);
    assert_int_equal(image.width, 37);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_decode_as_pil_decodes_them),
        cmocka_unit_test(grey_is_asked_for_and_is_pils_luma),
        cmocka_unit_test(every_truncation_is_an_error_and_says_so),
        cmocka_unit_test(a_jpeg_cut_in_the_middle_is_called_truncated),
        cmocka_unit_test(stray_bytes_before_the_end_do_no_harm),
        cmocka_unit_test(flipped_bytes_never_crash),
        cmocka_unit_test(what_is_no_picture_is_named),
        cmocka_unit_test(too_many_pixels_are_refused_before_memory_is_taken),
        cmocka_unit_test(a_reduced_decode_is_used_only_with_margin),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
