#include "model/preprocess.h"
#include "support/formula.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

static json_t *json_of(graft_arena *arena, const char *text) {
    json_t *o;
    graft_err err;
    if (graft_json_parse(&o, arena, text, strlen(text), "test", &err) < 0) fail_msg("%s", err.message);
    return o;
}

static graft_preprocess parsed(graft_arena *arena, const char *text) {
    graft_preprocess p;
    graft_err err;
    if (graft_preprocess_parse(&p, json_of(arena, text), "test", &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return p;
}

static void absent_keys_have_the_defaults_of_their_class(void **state) {
    static const struct {
        const char *type;
        graft_resize_mode mode;
        int size, crop, resample;
        double mean;
    } cases[] = {
        {"ConvNextImageProcessor", GRAFT_RESIZE_EXACT, 384, 0, 3, 0.5},
        {"ViTImageProcessor", GRAFT_RESIZE_EXACT, 224, 0, 2, 0.5},
        {"DeiTImageProcessor", GRAFT_RESIZE_EXACT, 256, 224, 3, 0.5},
        {"BitImageProcessor", GRAFT_RESIZE_SHORTEST, 224, 224, 3, 0.48145466},
        {"CLIPImageProcessorFast", GRAFT_RESIZE_SHORTEST, 224, 224, 3, 0.48145466},
        {"SiglipImageProcessor", GRAFT_RESIZE_EXACT, 224, 0, 3, 0.5},
        {"MobileNetV2ImageProcessor", GRAFT_RESIZE_SHORTEST, 256, 224, 2, 0.5},
        {"EfficientNetImageProcessor", GRAFT_RESIZE_EXACT, 346, 0, 3, 0.5},
        {"SegformerImageProcessor", GRAFT_RESIZE_EXACT, 512, 0, 2, 0.485},
        {"LevitImageProcessor", GRAFT_RESIZE_SHORTEST, 256, 224, 3, 0.485},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"image_processor_type\": \"%s\"}", cases[i].type);
        graft_preprocess p = parsed(*state, text);
        if (p.mode != cases[i].mode || p.height != cases[i].size || p.crop_height != cases[i].crop ||
            (int)p.resample != cases[i].resample || p.mean[0] != cases[i].mean || p.rescale != 1.0 / 255)
            fail_msg("%s", cases[i].type);
    }
}

static void sizes_mean_what_the_class_makes_of_them(void **state) {
    graft_preprocess p =
        parsed(*state, "{\"feature_extractor_type\": \"ViTFeatureExtractor\", \"size\": 64}");
    assert_true(p.mode == GRAFT_RESIZE_EXACT && p.height == 64 && p.width == 64 && p.crop_height == 0);
    p = parsed(*state,
               "{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"size\": 64, \"crop_size\": 60}");
    assert_true(p.mode == GRAFT_RESIZE_SHORTEST && p.height == 64 && p.crop_height == 60 &&
                p.crop_width == 60);
    p = parsed(
        *state,
        "{\"feature_extractor_type\": \"ConvNextFeatureExtractor\", \"size\": 224, \"crop_pct\": 0.875}");
    assert_true(p.mode == GRAFT_RESIZE_SHORTEST && p.height == 256 && p.crop_height == 224);
    p = parsed(*state, "{\"image_processor_type\": \"BitImageProcessor\", \"do_resize\": false}");
    assert_true(p.mode == GRAFT_RESIZE_NONE && p.crop_height == 224);
    p = parsed(*state, "{\"image_processor_type\": \"BitImageProcessor\", \"do_center_crop\": false}");
    int h, w;
    assert_false(graft_preprocess_output(&p, &h, &w));
    p = parsed(*state, "{\"image_processor_type\": \"ViTImageProcessor\", \"size\": {\"shortest_edge\": 20, "
                       "\"longest_edge\": 30}}");
    assert_int_equal(p.longest, 30);
    graft_preprocess_resized(&p, 100, 400, &h, &w);
    assert_true(h == 7 && w == 30); /* 20 * 30 / 80, cut off */
    p = parsed(*state,
               "{\"image_processor\": {\"image_processor_type\": \"ViTImageProcessor\", \"size\": [8, 9]}}");
    assert_true(p.height == 8 && p.width == 9);
}

static void what_is_wrong_is_named(void **state) {
    static const struct {
        const char *text, *says;
        int code;
    } cases[] = {
        {"{\"image_processor_type\": \"OwlViTImageProcessor\"}", "'OwlViTImageProcessor'",
         GRAFT_EUNSUPPORTED},
        {"{\"image_processor_type\": 3}", "image_processor_type", GRAFT_EFORMAT},
        {"{\"size\": 0}", "'size'", GRAFT_EFORMAT},
        {"{\"size\": {\"height\": 1e99, \"width\": 3}}", "'size'", GRAFT_EFORMAT},
        {"{\"size\": {\"max\": 3}}", "'size'", GRAFT_EFORMAT},
        {"{\"size\": \"224\"}", "'size'", GRAFT_EFORMAT},
        {"{\"resample\": 9}", "'resample'", GRAFT_EFORMAT},
        {"{\"image_mean\": [0.5, 0.5, 0.5, 0.5]}", "'image_mean'", GRAFT_EUNSUPPORTED},
        {"{\"image_mean\": [\"a\"]}", "'image_mean'", GRAFT_EFORMAT},
        {"{\"image_mean\": [0.5], \"image_std\": [1, 1, 1]}", "'image_std'", GRAFT_EFORMAT},
        {"{\"image_std\": [0, 0, 0]}", "std 0", GRAFT_EFORMAT},
        {"{\"image_processor_type\": \"ConvNextImageProcessor\", \"crop_pct\": -1, \"size\": 9}",
         "'crop_pct'", GRAFT_EFORMAT},
        {"[1]", "object", GRAFT_EFORMAT},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_preprocess p;
        graft_err err = {0};
        int rc =
            graft_preprocess_parse(&p, json_of(*state, cases[i].text), "dir/preprocessor_config.json", &err);
        if (rc != cases[i].code || !strstr(err.message, cases[i].says))
            fail_msg("%s: %d %s", cases[i].text, rc, err.message);
    }
}

static void timm_configurations_are_read(void **state) {
    graft_preprocess p;
    const char *text = "{\"architecture\": \"resnet50\", \"pretrained_cfg\": {\"input_size\": [3, 224, 224], "
                       "\"interpolation\": \"bicubic\", \"crop_pct\": 0.95, \"crop_mode\": \"center\", "
                       "\"mean\": [0.1, 0.2, 0.3], \"std\": [0.4, 0.5, 0.6]}}";
    assert_int_equal(graft_preprocess_parse_timm(&p, json_of(*state, text), "t", NULL), 0);
    assert_true(p.mode == GRAFT_RESIZE_SHORTEST && p.height == 235 && p.crop_height == 224);
    assert_true(p.resample == GRAFT_RESAMPLE_BICUBIC && p.mean[2] == 0.3 && p.crop_rule == GRAFT_CROP_ROUND);
    text = "{\"input_size\": [1, 28, 28], \"crop_pct\": 1.0, \"crop_mode\": \"border\", \"mean\": [0.5], "
           "\"std\": [0.25]}";
    assert_int_equal(graft_preprocess_parse_timm(&p, json_of(*state, text), "t", NULL), 0);
    assert_true(p.channels == 1 && p.mode == GRAFT_RESIZE_CONTAIN && p.pad[0] == 128);
    graft_err err;
    text = "{\"input_size\": [3, 224]}";
    assert_int_equal(graft_preprocess_parse_timm(&p, json_of(*state, text), "t", &err), GRAFT_EFORMAT);
    assert_non_null(strstr(err.message, "input_size"));
}

static graft_preprocess any(graft_rng *rng) {
    graft_preprocess p;
    int h = 1 + (int)graft_rng_below(rng, 300), w = 1 + (int)graft_rng_below(rng, 300);
    graft_preprocess_plain(&p, graft_rng_below(rng, 4) ? 3 : 1, h, w);
    p.mode = (graft_resize_mode)graft_rng_below(rng, 5);
    if (p.mode == GRAFT_RESIZE_SHORTEST) p.width = h;
    if (p.mode == GRAFT_RESIZE_SHORTEST && graft_rng_below(rng, 2)) p.longest = h + 20;
    p.resample = (graft_resample)graft_rng_below(rng, 6);
    if (graft_rng_below(rng, 2)) {
        p.crop_height = 1 + (int)graft_rng_below(rng, 300);
        p.crop_width = 1 + (int)graft_rng_below(rng, 300);
        p.crop_rule = (graft_crop_rule)graft_rng_below(rng, 2);
        if (graft_rng_below(rng, 2)) p.pad[0] = 9;
    }
    if (graft_rng_below(rng, 3) == 0) p.rescale = graft_rng_below(rng, 2) ? 1 : 0.0125;
    for (int c = 0; c < p.channels; c++) {
        p.mean[c] = graft_rng_uniform(rng);
        p.std[c] = 0.1 + graft_rng_uniform(rng);
    }
    return p;
}

static void whatever_is_written_reads_back_the_same(void **state) {
    graft_rng rng = graft_rng_at(1, 2, 3, GRAFT_RNG_TEST);
    for (int i = 0; i < 300; i++) {
        graft_preprocess p = any(&rng), back;
        json_t *o;
        const char *inexact;
        graft_err err;
        if (graft_preprocess_json(&o, &p, NULL, &inexact, &err) < 0) fail_msg("%s", err.message);
        char *text = json_dumps(o, JSON_REAL_PRECISION(17));
        assert_non_null(text);
        if (graft_preprocess_parse(&back, json_of(*state, text), "back", &err) < 0)
            fail_msg("%s", err.message);
        if (!graft_preprocess_equal(&p, &back)) fail_msg("%s", text);
        assert_true((inexact != NULL) == (json_object_get(o, "graft") != NULL));
        free(text);
        json_decref(o);
    }
}

static void an_unchanged_source_is_written_unchanged(void **state) {
    json_t *source =
        json_of(*state, "{\"feature_extractor_type\": \"ConvNextFeatureExtractor\", \"size\": 224, "
                        "\"crop_pct\": 0.875, \"note\": \"kept\"}");
    graft_preprocess p;
    assert_int_equal(graft_preprocess_parse(&p, source, "s", NULL), 0);
    json_t *o;
    assert_int_equal(graft_preprocess_json(&o, &p, source, NULL, NULL), 0);
    assert_true(json_equal(o, source));
    json_decref(o);
    p.crop_height = p.crop_width = 192; /* now another class has to say it; the stranger's key stays */
    assert_int_equal(graft_preprocess_json(&o, &p, source, NULL, NULL), 0);
    assert_string_equal(json_string_value(json_object_get(o, "image_processor_type")), "BitImageProcessor");
    assert_string_equal(json_string_value(json_object_get(o, "note")), "kept");
    assert_null(json_object_get(o, "crop_pct"));
    assert_null(json_object_get(o, "feature_extractor_type"));
    json_decref(o);
}

static void a_folder_is_looked_through(void **state) {
    char folder[] = "/tmp/graft-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    graft_preprocess p, back;
    bool found = true;
    json_t *source;
    assert_int_equal(graft_preprocess_read(&back, &found, &source, *state, folder, NULL), 0);
    assert_false(found);
    char *config = graft_path_join(*state, folder, "config.json");
    const char *timm = "{\"architecture\": \"resnet18\", \"pretrained_cfg\": {\"input_size\": [3, 32, 32]}}";
    assert_int_equal(graft_file_write(config, timm, strlen(timm), NULL), 0);
    assert_int_equal(graft_preprocess_read(&back, &found, &source, *state, folder, NULL), 0);
    assert_true(found && back.crop_height == 32 && back.height == 36 && !source);
    graft_preprocess_imagenet(&p);
    assert_int_equal(graft_preprocess_write(&p, NULL, folder, NULL), 0);
    assert_int_equal(graft_preprocess_read(&back, &found, &source, *state, folder, NULL), 0);
    assert_true(found && source && graft_preprocess_equal(&p, &back));
    assert_int_equal(graft_dir_remove(folder, NULL), 0);
}

static void equal_steps_hash_alike_and_other_steps_do_not(void **state) {
    (void)state;
    graft_preprocess a, b;
    graft_preprocess_imagenet(&a);
    b = a;
    b.mean[3] = 7;  /* no such channel */
    b.width = 4711; /* not looked at for a short side */
    assert_true(graft_preprocess_equal(&a, &b));
    assert_true(graft_hash_equal(graft_preprocess_hash(&a), graft_preprocess_hash(&b)));
    b.std[1] += 1e-9;
    assert_false(graft_hash_equal(graft_preprocess_hash(&a), graft_preprocess_hash(&b)));
    char text[200];
    assert_string_equal(
        graft_preprocess_explain(&a, text, sizeof text),
        "short side to 256 bilinear, centre crop 224 x 224, mean 0.485 0.456 0.406, std 0.229 0.224 "
        "0.225");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_have_the_defaults_of_their_class),
        cmocka_unit_test(sizes_mean_what_the_class_makes_of_them),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(timm_configurations_are_read),
        cmocka_unit_test(whatever_is_written_reads_back_the_same),
        cmocka_unit_test(an_unchanged_source_is_written_unchanged),
        cmocka_unit_test(a_folder_is_looked_through),
        cmocka_unit_test(equal_steps_hash_alike_and_other_steps_do_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
