/* SqueezeNet by torchvision's names: its outputs, its two heads, its folders; and the published weights on
 * photos beside the project. */
#include "model_room.h"
#include "tar_room.h"

#include "data/transform.h"

#define NETS "tests/parity/squeezenet/"

static const char *const nets[] = {"v1_0", "v1_1"};

static const char *net_file(room *r, size_t i) {
    return graft_arena_printf(r->arena, NETS "%s.safetensors", nets[i]);
}

/* Largest differences of pooled features and logits from what torchvision says of net i. */
static void replay(room *r, const graft_model *m, size_t i, double *pooled, double *logits) {
    graft_err err = {0};
    graft_tensors gold;
    graft_infer *in = NULL;
    const char *path = graft_arena_printf(r->arena, NETS "%s.golden.safetensors", nets[i]);
    assert_ok(graft_safetensors_open(&gold, r->arena, path, &err));
    const graft_tensor *x = tensor_named(&gold, "input"), *f = tensor_named(&gold, "pooled"),
                       *z = tensor_named(&gold, "logits");
    graft_infer_options o = {x->shape.dims[2], x->shape.dims[3], GRAFT_PRECISION_FP32};
    assert_ok(graft_infer_new(&in, r->env, m, &o, &err));
    float *features = graft_arena_alloc(r->arena, f->size), *answers = graft_arena_alloc(r->arena, z->size);
    assert_ok(graft_infer_run(in, x->data, x->shape.dims[0], features, answers, &err));
    *pooled = room_worst(features, f->data, f->size / 4);
    *logits = room_worst(answers, z->data, z->size / 4);
    graft_infer_free(in);
}

static void outputs_equal_those_of_torchvision(void **state) {
    room *r = *state;
    for (size_t i = 0; i < GRAFT_COUNT(nets); i++) {
        double pooled, logits;
        graft_model *m = open_model(r, net_file(r, i), NULL);
        replay(r, m, i, &pooled, &logits);
        print_message("%s pooled %.1e logits %.1e\n", nets[i], pooled, logits);
        assert_true(pooled < 1e-5 && logits < 1e-5);
        graft_model_close(m);
    }
}

static void the_head_of_a_checkpoint_is_its_convolution(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, net_file(r, 1), NULL);
    assert_string_equal(graft_model_family(m), "squeezenet");
    assert_string_equal(graft_model_head_name(m), "conv");
    assert_false(graft_model_head_is_new(m));
    size_t n;
    graft_model_labels(m, &n);
    assert_int_equal(n, 5);
    assert_int_equal(graft_model_param_stage(m, "features.12.expand3x3.bias"),
                     graft_model_find_stage(m, "fire8-9"));
    assert_int_equal(graft_model_n_stages(m), 6);
    graft_model_close(m);
}

static const char *text_of(room *r, const char *path) {
    char *text;
    size_t size;
    graft_err err = {0};
    assert_ok(graft_file_read(&text, &size, r->arena, path, 1 << 20, &err));
    return text;
}

static void a_saved_net_answers_as_before(void **state) {
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(nets); i++) {
        double pooled, logits;
        graft_model *m = open_model(r, net_file(r, i), NULL);
        const char *out = in_room(r, nets[i]);
        assert_ok(graft_model_save(m, r->env, out, NULL, &err));
        graft_model *again = open_model(r, out, NULL);
        replay(r, again, i, &pooled, &logits);
        assert_true(pooled < 1e-5 && logits < 1e-5);
        assert_true(graft_preprocess_equal(graft_model_preprocess(m), graft_model_preprocess(again)));
        graft_model_close(m);
        graft_model_close(again);
    }
}

static void a_new_head_stands_on_the_mean(void **state) {
    room *r = *state;
    graft_err err = {0};
    double pooled, logits;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    graft_model *m = open_model(r, net_file(r, 1), NULL);
    assert_ok(graft_model_head(m, "linear", names, 5, 1, NULL, &err));
    const graft_param *w = graft_model_find_param(m, "classifier.1.weight");
    assert_int_equal(w->shape.rank, 2);
    assert_ok(graft_model_save(m, r->env, in_room(r, "linear"), NULL, &err));
    graft_model *again = open_model(r, in_room(r, "linear"), NULL);
    assert_string_equal(graft_model_head_name(again), "linear");
    assert_false(graft_model_head_is_new(again));
    replay(r, again, 1, &pooled, &logits);
    assert_true(pooled < 1e-5 && logits > 1e-2);
    graft_model_close(m);
    graft_model_close(again);
}

static void the_card_says_how_torchvision_loads_it(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char *const names[] = {"ant", "bee"};
    const char *config = in_room(r, "config.json");
    assert_ok(graft_file_write(config, "{\"model_type\": \"squeezenet\"}", 28, &err));
    graft_model *m = open_model(r, config, NULL);
    assert_string_equal(graft_model_description(m), "SqueezeNet 1.1, torchvision's names");
    assert_ok(graft_model_head(m, "linear", names, 2, 1, NULL, &err));
    assert_ok(graft_model_save(m, r->env, in_room(r, "linear"), NULL, &err));
    const char *card = text_of(r, file_of(r, in_room(r, "linear"), "README.md"));
    assert_non_null(strstr(card, "squeezenet1_1(num_classes=2)"));
    assert_non_null(strstr(card, "net.classifier[2] = torch.nn.Identity()"));
    assert_ok(graft_model_head(m, "conv", names, 2, 1, NULL, &err));
    assert_ok(graft_model_save(m, r->env, in_room(r, "conv"), NULL, &err));
    card = text_of(r, file_of(r, in_room(r, "conv"), "README.md"));
    assert_null(strstr(card, "Identity"));
    graft_model_close(m);
}

static void other_families_have_no_map_for_that_head(void **state) {
    room *r = *state;
    graft_err err;
    static const char *const names[] = {"ant", "bee"};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    assert_error(graft_model_head(m, "conv", names, 2, 1, NULL, &err), GRAFT_EUSAGE, "take linear or mlp");
    graft_model_close(m);
}

static void bad_configs_are_refused(void **state) {
    room *r = *state;
    static const struct {
        const char *fields, *message;
    } cases[] = {
        {"\"squeeze_sizes\": [2, 3], \"expand1_sizes\": [4]", "expand1_sizes is of 1 fire modules"},
        {"\"squeeze_sizes\": [2, 2, 2, 2, 2, 2, 2, 2, 2]", "more than 8 fire modules"},
        {"\"squeeze_sizes\": [0]", "squeeze_sizes"},
        {"\"stem_kernel\": 99", "stem_kernel"},
        {"\"pools_before\": [2]", "pools_before names fire module 2"},
        {"\"pools_before\": [10]", "pools_before"},
        {"\"num_channels\": 2", "channels"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_err err = {0};
        graft_model *m = NULL;
        const char *path = in_room(r, "config.json"),
                   *text =
                       graft_arena_printf(r->arena, "{\"model_type\": \"squeezenet\", %s}", cases[i].fields);
        assert_ok(graft_file_write(path, text, strlen(text), &err));
        assert_true(graft_model_open(&m, r->env, path, NULL, &err) < 0);
        if (!strstr(err.message, cases[i].message))
            fail_msg("'%s' is not in '%s'", cases[i].message, err.message);
    }
}

static void a_part_of_a_fire_module_that_is_missing_is_named(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = NULL;
    graft_tensors ts;
    assert_ok(graft_tensors_open(&ts, r->arena, net_file(r, 1), &err));
    graft_tensor *items = graft_arena_array(r->arena, ts.n_items, sizeof *items);
    memcpy(items, ts.items, ts.n_items * sizeof *items);
    ts.items = items;
    drop_tensor(&ts, "features.6.squeeze.bias");
    const char *path = in_room(r, "cut.safetensors");
    assert_ok(graft_safetensors_write(path, ts.items, ts.n_items, NULL, &err));
    assert_error(graft_model_open(&m, r->env, path, NULL, &err), GRAFT_EDATA, "features.6.squeeze.bias");
    drop_tensor(&ts, "features.6.expand1x1.weight");
    assert_ok(graft_safetensors_write(path, ts.items, ts.n_items, NULL, &err));
    assert_error(graft_model_open(&m, r->env, path, NULL, &err), GRAFT_EFORMAT, "fire modules");
}

/* ---- The published weights ---------------------------------------------------------------------------------- */

enum { PICTURES = 400, PIXELS = 3 * 224 * 224, CLASSES = 1000, TOP = 5 };

static void find_top(int *top, const float *z) {
    for (int n = 0; n < TOP; n++) {
        top[n] = -1;
        for (int k = 0; k < CLASSES; k++) {
            bool taken = false;
            for (int i = 0; i < n; i++) taken = taken || top[i] == k;
            if (!taken && (top[n] < 0 || z[k] > z[top[n]])) top[n] = k;
        }
    }
}

static void photos_have_the_classes_that_onnx_runtime_gives(void **state) {
    room *r = *state;
    graft_err err;
    if (!graft_path_is_file(SHARED "squeezenet1_1.pth") || !graft_path_is_file(SHARED "hymenoptera.tar")) {
        print_message("../shared/data is absent\n");
        skip();
    }
    const json_t *photos = json_object_get(read_json(r, NETS "photos.json"), "photos");
    entry *entries = graft_arena_array(r->arena, PICTURES, sizeof *entries);
    size_t n = read_tar(entries, PICTURES, r, SHARED "hymenoptera.tar", "hymenoptera/val/");
    graft_model *m = open_model(r, SHARED "squeezenet1_1.pth", NULL);
    graft_infer *in = NULL;
    graft_transform t;
    graft_image_scratch *scratch = graft_image_scratch_new();
    float *x, worst = 0;
    const float *z;
    assert_ok(graft_transform_init(&t, graft_model_preprocess(m), NULL, &err));
    assert_ok(graft_infer_new(&in, r->env, m, NULL, &err));
    for (size_t i = 0; i < json_array_size(photos); i++) {
        const json_t *photo = json_array_get(photos, i), *want = json_object_get(photo, "top"),
                     *logits = json_object_get(photo, "logits");
        const entry *e = NULL;
        for (size_t k = 0; k < n; k++)
            if (!strcmp(entries[k].name, json_string_value(json_object_get(photo, "name")))) e = &entries[k];
        assert_non_null(e);
        int top[TOP];
        assert_ok(graft_infer_input(&x, in, 1, &err));
        assert_ok(graft_transform_run(&t, e->bytes, e->size, e->name, NULL, x, scratch, &err));
        assert_ok(graft_infer_run_input(in, 1, NULL, &z, &err));
        find_top(top, z);
        for (size_t k = 0; k < TOP; k++) {
            assert_int_equal(top[k], json_integer_value(json_array_get(want, k)));
            worst = fmaxf(worst, fabsf(z[top[k]] - (float)json_number_value(json_array_get(logits, k))));
        }
    }
    print_message("%zu photos, logits differ by at most %.1e\n", json_array_size(photos), (double)worst);
    assert_true(worst < 1e-4F);
    graft_image_scratch_free(scratch);
    graft_infer_free(in);
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(outputs_equal_those_of_torchvision),
        room_test(the_head_of_a_checkpoint_is_its_convolution),
        room_test(a_saved_net_answers_as_before),
        room_test(a_new_head_stands_on_the_mean),
        room_test(the_card_says_how_torchvision_loads_it),
        room_test(other_families_have_no_map_for_that_head),
        room_test(bad_configs_are_refused),
        room_test(a_part_of_a_fire_module_that_is_missing_is_named),
        room_test(photos_have_the_classes_that_onnx_runtime_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
