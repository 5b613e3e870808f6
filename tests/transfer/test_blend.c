/* graft_blend_models: every weight is the mean that was asked for, what is alike keeps its bytes, and what
 * does not go together is said. */
#include "model/model_room.h"

#define MODEL "tests/parity/resnet/hf_basic"

static const char *const weight = "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight";
static const char *const variance = "resnet.encoder.stages.0.layers.0.layer.0.normalization.running_var";

static void save(room *r, const graft_model *m, const char *out) {
    graft_err err = {0};
    enum { SIDE = 32 };
    int channels = graft_model_channels(m);
    size_t size = 2 * (size_t)channels * SIDE * SIDE;
    float *pixels = graft_arena_array(r->arena, size, sizeof *pixels);
    for (size_t k = 0; k < size; k++) pixels[k] = (float)(k % 17) / 17.0F;
    const graft_tensor x = {.name = "pixel_values",
                            .dtype = GRAFT_F32,
                            .shape = {4, {2, channels, SIDE, SIDE}},
                            .data = pixels,
                            .size = size * sizeof *pixels};
    const graft_feed probe = {.n = 2, .inputs = &x, .n_inputs = 1};
    const graft_save_info info = {.probe = &probe};
    assert_ok(graft_model_save(m, r->env, out, &info, &err));
}

/* The model with `offset` added to two of its parameters, with probes; `names` (n) are new classes. */
static const char *variant(room *r, const char *folder, float offset, const char *const *names, size_t n) {
    graft_err err = {0};
    graft_model *m = open_model(r, MODEL, NULL);
    const char *const changed[] = {weight, variance}, *out = in_room(r, folder);
    for (size_t i = 0; i < GRAFT_COUNT(changed); i++) {
        size_t count = 0;
        float *x = values_of(r, m, changed[i], &count);
        for (size_t k = 0; k < count; k++) x[k] += offset * (float)(k % 3);
        assert_ok(graft_model_set(m, changed[i], x, count, &err));
    }
    if (names) assert_ok(graft_model_head(m, "linear", names, n, 7, NULL, &err));
    save(r, m, out);
    graft_model_close(m);
    return out;
}

/* Adapters over the model, of which B is `step` times 0, 1, 2, 0 ... */
static const char *adapted(room *r, const char *folder, float step, uint64_t seed) {
    graft_err err = {0};
    graft_model *m = open_model(r, MODEL, NULL);
    const char *out = in_room(r, folder);
    assert_ok(graft_model_adapt(m, &(graft_lora){.r = 2, .alpha = 4}, seed, &err));
    for (size_t p = 0; p < graft_model_n_params(m); p++) {
        const char *name = graft_model_param(m, p)->name;
        size_t count = 0;
        if (!strstr(name, "lora_B")) continue;
        float *x = values_of(r, m, name, &count);
        for (size_t k = 0; k < count; k++) x[k] = step * (float)(k % 3);
        assert_ok(graft_model_set(m, name, x, count, &err));
    }
    save(r, m, out);
    graft_model_close(m);
    return out;
}

static void compare(room *r, const char *const *folders, const double *shares, size_t n, const char *out,
                    bool with_head) {
    graft_err err = {0};
    graft_model *blended = open_model(r, out, NULL), *sources[4];
    for (size_t i = 0; i < n; i++) {
        sources[i] = open_model(r, folders[i], NULL);
        assert_ok(graft_model_merge(sources[i], &err));
    }
    for (size_t p = 0; p < graft_model_n_params(blended); p++) {
        const graft_param *param = graft_model_param(blended, p);
        size_t count = 0;
        float *got = values_of(r, blended, param->name, &count), *x[4];
        if (param->head && !with_head) continue;
        for (size_t i = 0; i < n; i++) x[i] = values_of(r, sources[i], param->name, &count);
        for (size_t k = 0; k < count; k++) {
            double want = 0;
            for (size_t i = 0; i < n; i++) want += shares[i] * (double)x[i][k];
            if (fabs((double)got[k] - want) > 1e-7 * (1 + fabs(want)))
                fail_msg("%s[%zu] is %g, not %g", param->name, k, (double)got[k], want);
        }
    }
    for (size_t i = 0; i < n; i++) graft_model_close(sources[i]);
    graft_model_close(blended);
}

static void every_weight_is_the_mean_that_was_asked_for(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *const folders[] = {variant(r, "a", 0, NULL, 0), variant(r, "b", 0.5F, NULL, 0)};
    const double shares[] = {0.75, 0.25};
    const char *out = in_room(r, "out");
    char *result = NULL;
    graft_blend_options o = GRAFT_BLEND_OPTIONS_INIT;
    o.alpha = "0.25";
    assert_ok(graft_blend_models(&result, r->env, folders, 2, out, &o, &err));
    assert_non_null(strstr(result, "\"head\": \"averaged\""));
    graft_text_free(result);
    compare(r, folders, shares, 2, out, true);
    char *verified = NULL;
    assert_ok(graft_verify(&verified, r->env, out, &err));
    graft_text_free(verified);
    o.alpha = "0";
    assert_ok(graft_blend_models(NULL, r->env, folders, 2, out, &o, &err));
    compare(r, folders, (const double[]){1, 0}, 2, out, true);
}

static void what_is_alike_keeps_its_bytes(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *const folders[] = {variant(r, "a", 0, NULL, 0), variant(r, "b", 0.5F, NULL, 0)};
    const char *out = in_room(r, "out");
    assert_ok(graft_blend_models(NULL, r->env, folders, 2, out, NULL, &err));
    graft_tensors was = get_tensors(r, folders[1], 0), is = get_tensors(r, out, 0);
    size_t n_other = 0;
    assert_int_equal(was.n_items, is.n_items);
    for (size_t i = 0; i < was.n_items; i++) {
        const graft_tensor *t = tensor_named(&is, was.items[i].name);
        assert_int_equal(t->size, was.items[i].size);
        n_other += memcmp(t->data, was.items[i].data, t->size) != 0;
    }
    assert_int_equal(n_other, 2);
}

static void a_soup_is_the_mean_of_all(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *const folders[] = {variant(r, "a", 0, NULL, 0), variant(r, "b", 0.5F, NULL, 0),
                                   variant(r, "c", -0.125F, NULL, 0)};
    const double third[] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
    assert_ok(graft_blend_models(NULL, r->env, folders, 3, in_room(r, "out"), NULL, &err));
    compare(r, folders, third, 3, in_room(r, "out"), true);
}

/* Not the mean of the factors, and the pretrained model has none. */
static void of_adapters_the_mean_is_that_of_the_weights(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *const folders[] = {adapted(r, "a", 0.1F, 1), adapted(r, "b", -0.2F, 2)};
    const char *const pair[] = {MODEL, folders[0]}, *out = in_room(r, "out");
    const double half[] = {0.5, 0.5};
    assert_ok(graft_blend_models(NULL, r->env, folders, 2, out, NULL, &err));
    assert_false(graft_path_is_file(file_of(r, out, "adapter_config.json")));
    compare(r, folders, half, 2, out, true);
    assert_ok(graft_blend_models(NULL, r->env, pair, 2, out, NULL, &err));
    compare(r, pair, half, 2, out, true);
}

static void another_head_lends_what_lies_below(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *const names[] = {"cat", "dog"};
    const char *const folders[] = {variant(r, "a", 0, NULL, 0), variant(r, "b", 0.5F, names, 2)};
    char *result = NULL;
    assert_ok(graft_blend_models(&result, r->env, folders, 2, in_room(r, "out"), NULL, &err));
    assert_non_null(strstr(result, "\"head\": \"of the last\""));
    graft_text_free(result);
    compare(r, folders, (const double[]){0.5, 0.5}, 2, in_room(r, "out"), false);
    graft_model *m = open_model(r, in_room(r, "out"), NULL);
    size_t n = 0;
    assert_string_equal(graft_model_labels(m, &n)[1], "dog");
    assert_int_equal(n, 2);
    graft_model_close(m);
    assert_non_null(strstr(r->log.data, "another head"));
}

static void what_does_not_go_together_is_said(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_blend_options o = GRAFT_BLEND_OPTIONS_INIT;
    const char *good = variant(r, "a", 0, NULL, 0), *out = in_room(r, "out");
    const char *const deeper[] = {"tests/parity/resnet/hf_bottleneck", good},
                      *const other[] = {"tests/parity/resnet/timm_basic", good},
                      *const bare[] = {"tests/parity/resnet/hf_basic/config.json", good},
                      *const unproven[] = {good, MODEL}, *const pair[] = {good, good};
    assert_error(graft_blend_models(NULL, r->env, deeper, 2, out, NULL, &err), GRAFT_ESHAPE, "only models");
    assert_error(graft_blend_models(NULL, r->env, other, 2, out, NULL, &err), GRAFT_EUSAGE, "family");
    assert_error(graft_blend_models(NULL, r->env, bare, 2, out, NULL, &err), GRAFT_EUSAGE, "no weights");
    assert_error(graft_blend_models(NULL, r->env, unproven, 2, out, NULL, &err), GRAFT_EDATA, "probe");
    assert_error(graft_blend_models(NULL, r->env, pair, 1, out, NULL, &err), GRAFT_EUSAGE, "two");
    static const char *const bad[] = {"", "x", "0.5,", "1.5", "-1", "0.5;1", "nan"};
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        o.alpha = bad[i];
        assert_error(graft_blend_models(NULL, r->env, pair, 2, out, &o, &err), GRAFT_EUSAGE, "--alpha");
    }
    o.alpha = "0,1";
    assert_error(graft_blend_models(NULL, r->env, pair, 2, out, &o, &err), GRAFT_EUSAGE, "--data");
    o.alpha = NULL;
    o.soup = "greedy";
    assert_error(graft_blend_models(NULL, r->env, pair, 2, out, &o, &err), GRAFT_EUSAGE, "--data");
    assert_false(graft_path_is_file(file_of(r, out, "model.safetensors")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(every_weight_is_the_mean_that_was_asked_for),
        room_test(what_is_alike_keeps_its_bytes),
        room_test(a_soup_is_the_mean_of_all),
        room_test(of_adapters_the_mean_is_that_of_the_weights),
        room_test(another_head_lends_what_lies_below),
        room_test(what_does_not_go_together_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
