/* Adapters of peft's folders against peft's own numbers (tests/parity/README.md), merged and unmerged;
 * folders that are written and read back; folders that say what is not so. */
#include "text_room.h"

#define LORA "tests/parity/lora/"

static const char *const folders[] = {"bert_query_value",    "roberta_all_linear", "gpt2_attention",
                                      "distilbert_tags",     "bert_dora",          "bert_embeddings",
                                      "resnet_convolutions", "vit_names_of_4",     "vit_names_of_5"};

static const char *lora_golden(room *r, const char *name) {
    return graft_arena_printf(r->arena, LORA "%s", name);
}

static graft_tensors gold_of(room *r, const char *name) {
    graft_tensors gold;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&gold, r->arena, file_of(r, lora_golden(r, name), "golden.safetensors"),
                                     &err));
    return gold;
}

static graft_feed golden_feed(room *r, const graft_tensors *gold) {
    const graft_tensor *x = tensor_or_null(gold, "", "inputs");
    if (!x) return feed_of(r, gold, "");
    graft_tensor *item = graft_arena_alloc(r->arena, sizeof *item);
    *item = *x;
    item->name = "pixel_values";
    return (graft_feed){.n = x->shape.dims[0], .inputs = item, .n_inputs = 1};
}

static size_t count_of(const graft_tensor *t) {
    int64_t n = 0;
    graft_shape_count(&t->shape, &n);
    return (size_t)n;
}

/* The model's logits for the golden inputs, and how far they are from peft's. */
static double far(room *r, const graft_model *m, const graft_tensors *gold) {
    graft_infer_options o = GRAFT_INFER_OPTIONS_INIT;
    graft_infer *in = NULL;
    graft_err err = {0};
    const float *logits = NULL;
    const graft_feed feed = golden_feed(r, gold);
    const graft_tensor *z = tensor_named(gold, "logits");
    if (feed.n_inputs) o.height = o.width = feed.inputs[0].shape.dims[2];
    assert_ok(graft_infer_new(&in, r->env, m, &o, &err));
    assert_ok(graft_infer_feed(in, &feed, 0, feed.n, feed.n, NULL, &logits, &err));
    double d = room_worst(logits, z->data, count_of(z));
    graft_infer_free(in);
    return d;
}

static void folders_of_peft_answer_as_in_peft_merged_and_not(void **state) {
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(folders); i++) {
        graft_tensors gold = gold_of(r, folders[i]);
        graft_model *m = open_model(r, lora_golden(r, folders[i]), NULL);
        bool held = strcmp(folders[i], "bert_dora") != 0 && strcmp(folders[i], "bert_embeddings") != 0;
        assert_int_equal(graft_model_n_adapted(m) > 0, held);
        assert_false(graft_model_head_is_new(m));
        double beside = far(r, m, &gold);
        assert_ok(graft_model_merge(m, &err));
        assert_null(graft_model_lora(m));
        double merged = far(r, m, &gold);
        print_message("%-20s beside %.1e merged %.1e\n", folders[i], beside, merged);
        if (!(beside < 1e-5 && merged < 1e-5)) fail_msg("%s", folders[i]);
        graft_model_close(m);
    }
}

/* Written, read back: the same adapters, to the bit. */
static void a_folder_that_is_written_answers_alike(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char *const kept[] = {"bert_query_value", "roberta_all_linear",  "gpt2_attention",
                                       "distilbert_tags",  "resnet_convolutions", "vit_names_of_4",
                                       "vit_names_of_5"};
    for (size_t i = 0; i < GRAFT_COUNT(kept); i++) {
        graft_tensors gold = gold_of(r, kept[i]);
        const graft_feed feed = golden_feed(r, &gold);
        const graft_save_info info = {.probe = &feed};
        graft_verification v;
        const char *dir = graft_arena_printf(r->arena, "%s/%s", r->dir, kept[i]);
        graft_model *m = open_model(r, lora_golden(r, kept[i]), NULL);
        assert_ok(graft_model_save(m, r->env, dir, &info, &err));
        graft_model_close(m);
        assert_false(graft_path_is_file(file_of(r, dir, "model.safetensors")));
        assert_ok(graft_model_verify(&v, r->env, dir, &err));
        assert_true(v.max_difference <= 0);
        m = open_model(r, dir, NULL);
        assert_true(graft_model_n_adapted(m) > 0);
        assert_true(far(r, m, &gold) < 1e-5);
        assert_ok(graft_model_merge(m, &err));
        assert_ok(graft_model_save(m, r->env, dir, &info, &err)); /* a whole model in its place */
        graft_model_close(m);
        assert_false(graft_path_is_file(file_of(r, dir, "adapter_config.json")));
        m = open_model(r, dir, NULL);
        assert_int_equal(graft_model_n_adapted(m), 0);
        assert_true(far(r, m, &gold) < 1e-5);
        graft_model_close(m);
    }
}

/* The reference of L2-SP and DELTA is where fine-tuning starts (Li et al. 2018), not the base's file. */
static void training_begins_at_what_was_merged(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *name = "bert.encoder.layer.0.attention.self.query.weight";
    graft_model *m = open_model(r, lora_golden(r, "bert_query_value"), NULL);
    const graft_tensor *start = graft_model_pretrained(m, name);
    assert_non_null(start);
    size_t n = count_of(start), moved = 0;
    float *base = graft_arena_array(r->arena, n, sizeof *base),
          *at = graft_arena_array(r->arena, n, sizeof *at);
    graft_tensor_to_f32(start, base);
    assert_ok(graft_model_merge(m, &err));
    start = graft_model_pretrained(m, name);
    assert_non_null(start);
    graft_tensor_to_f32(start, at);
    for (size_t i = 0; i < n; i++) moved += at[i] > base[i] || at[i] < base[i];
    assert_true(moved > 0);
    assert_memory_equal(graft_model_find_param(m, name)->tensor.data, at, n * sizeof *at);
    float *zero = graft_arena_array(r->arena, n, sizeof *zero);
    assert_ok(graft_model_set(m, name, zero, n, &err));
    assert_memory_equal(graft_model_pretrained(m, name)->data, at, n * sizeof *at);
    assert_true(graft_model_restore(m, name));
    assert_memory_equal(graft_model_find_param(m, name)->tensor.data, at, n * sizeof *at);
    graft_model_close(m);
}

static size_t adapted(room *r, const char *base, const char *targets) {
    graft_model *m = open_model(r, base, NULL);
    graft_err err = {0};
    const graft_lora lora = {.r = 2, .alpha = 4, .targets = targets};
    assert_ok(graft_model_adapt(m, &lora, 0, &err));
    size_t n = graft_model_n_adapted(m);
    graft_model_close(m);
    return n;
}

static void targets_are_roles_names_and_globs(void **state) {
    room *r = *state;
    const char *bert = TEXT_GOLDEN "bert_classes", *gpt2 = TEXT_GOLDEN "gpt2_classes",
               *distil = TEXT_GOLDEN "distilbert_classes", *resnet = GOLDEN "hf_bottleneck";
    assert_int_equal(adapted(r, bert, NULL), 4); /* of two layers */
    assert_int_equal(adapted(r, bert, "query+value"), 4);
    assert_int_equal(adapted(r, bert, "attention"), 8);
    assert_int_equal(adapted(r, bert, "all-linear"), 12);
    assert_int_equal(adapted(r, bert, "intermediate.dense"), 2);
    assert_int_equal(adapted(r, bert, "*layer.1.*"), 6);
    assert_int_equal(adapted(r, bert, "*layer.1.*+query"), 7);
    assert_int_equal(adapted(r, distil, "query+value"), 4); /* by what attention reads: q_lin, v_lin */
    assert_int_equal(adapted(r, distil, "out"), 2);
    assert_int_equal(adapted(r, gpt2, NULL), 2); /* c_attn is all three */
    assert_int_equal(adapted(r, gpt2, "attention"), 4);
    assert_int_equal(adapted(r, "tests/parity/vit/vit_small", NULL), 6); /* of three layers */
    assert_int_equal(adapted(r, "tests/parity/vit/vit_small", "all-linear"), 18);
    assert_int_equal(adapted(r, "tests/parity/vit/vit_small", "all-conv"), 1);
    assert_true(adapted(r, resnet, NULL) > 10);
    assert_int_equal(adapted(r, resnet, NULL), adapted(r, resnet, "convolution"));
}

static void new_adapters_change_no_answer(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors gold = gold_of(r, "bert_query_value"), plain;
    const char *base = TEXT_GOLDEN "bert_classes";
    const graft_lora lora = {.r = 4, .alpha = 8};
    assert_ok(graft_safetensors_open(&plain, r->arena, file_of(r, base, "golden.safetensors"), &err));
    graft_model *m = open_model(r, base, NULL);
    assert_ok(graft_model_adapt(m, &lora, 7, &err));
    assert_true(far(r, m, &plain) < 1e-5);
    assert_int_equal(graft_model_adapt(m, &lora, 7, &err), GRAFT_EUSAGE);
    const graft_param *a =
        graft_model_find_param(m, "bert.encoder.layer.1.attention.self.query.lora_A.weight");
    assert_non_null(a);
    assert_true(a->adapter && !a->head);
    assert_int_equal(a->stage, graft_model_find_stage(m, "layer1"));
    float w[4 * 32], largest = 0, bound = 1 / sqrtf(32);
    assert_ok(graft_model_get(m, a->name, w, GRAFT_COUNT(w), &err));
    for (size_t i = 0; i < GRAFT_COUNT(w); i++) largest = fmaxf(largest, fabsf(w[i]));
    assert_true(largest > 0.8F * bound && largest <= bound); /* Kaiming uniform with a = sqrt 5 */
    graft_model_close(m);
    assert_true(tensor_named(&gold, "logits") != NULL);
}

static void what_cannot_be_adapted_is_said(void **state) {
    room *r = *state;
    static const struct {
        graft_lora lora;
        const char *says;
    } cases[] = {{{.r = 4, .alpha = 8, .targets = "qwery"}, "'qwery' names no layer"},
                 {{.r = 4, .alpha = 8, .targets = "classifier"}, "'classifier' names no layer"},
                 {{.r = 4, .alpha = 8, .targets = "query++value"}, "a part without a name"},
                 {{.r = 4, .alpha = 8, .targets = ""}, "a part without a name"},
                 {{.r = 0, .alpha = 8}, "a rank of 0"},
                 {{.r = 4, .alpha = -1}, "alpha has to be above 0"},
                 {{.r = 4, .alpha = 8, .dropout = 1}, "dropout has to be"}};
    graft_model *m = open_model(r, TEXT_GOLDEN "bert_classes", NULL);
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_err err = {0};
        assert_int_equal(graft_model_adapt(m, &cases[i].lora, 0, &err), GRAFT_EUSAGE);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s", err.message);
        assert_int_equal(graft_model_n_adapted(m), 0);
    }
    graft_model_close(m);
}

/* ---- Names of two versions --------------------------------------------------------------------------------- */

static bool has_target(const json_t *config, const char *name) {
    const json_t *all = json_object_get(config, "target_modules");
    bool found = false;
    for (size_t i = 0; i < json_array_size(all); i++)
        found = found || !strcmp(json_string_value(json_array_get(all, i)), name);
    return found;
}

/* What is trained of ViT is called otherwise in Transformers 4 and 5: a folder serves both. */
static void a_written_folder_has_the_names_of_both_versions(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors ts;
    static const char *const names[] = {"vit.encoder.layer.1.attention.attention.value",
                                        "vit.layers.1.attention.v_proj"};
    const char *dir = in_room(r, "both");
    graft_model *m = open_model(r, lora_golden(r, "vit_names_of_4"), NULL);
    assert_ok(graft_model_save(m, r->env, dir, NULL, &err));
    graft_model_close(m);
    assert_ok(graft_safetensors_open(&ts, r->arena, file_of(r, dir, "adapter_model.safetensors"), &err));
    assert_int_equal(ts.n_items, 2 * 2 * 9 + 2); /* of nine layers, and the head */
    const json_t *config = read_json(r, file_of(r, dir, "adapter_config.json")),
                 *alphas = json_object_get(config, "alpha_pattern");
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        const char *a = graft_arena_printf(r->arena, "base_model.model.%s.lora_A.weight", names[i]);
        assert_memory_equal(
            tensor_named(&ts, a)->data,
            tensor_named(&ts, "base_model.model.vit.layers.1.attention.v_proj.lora_A.weight")->data,
            4 * 32 * sizeof(float));
        assert_true(json_number_value(json_object_get(alphas, names[i])) == 3);
        assert_true(has_target(config, names[i])); /* "dense" would mean others: so all are whole names */
    }
    /* of query and value the last parts are enough */
    const graft_lora lora = {.r = 2, .alpha = 4};
    m = open_model(r, "tests/parity/vit/vit_small", NULL);
    assert_ok(graft_model_adapt(m, &lora, 0, &err));
    assert_ok(graft_model_save(m, r->env, dir, NULL, &err));
    graft_model_close(m);
    config = read_json(r, file_of(r, dir, "adapter_config.json"));
    assert_int_equal(json_array_size(json_object_get(config, "target_modules")), 4);
    assert_true(has_target(config, "query") && has_target(config, "value") && has_target(config, "q_proj") &&
                has_target(config, "v_proj"));
}

static void names_of_both_versions_have_to_agree(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors gold = gold_of(r, "vit_names_of_4"), ts;
    const char *dir = in_room(r, "both"), *file = file_of(r, dir, "adapter_model.safetensors");
    graft_model *m = open_model(r, lora_golden(r, "vit_names_of_4"), NULL);
    assert_ok(graft_model_save(m, r->env, dir, NULL, &err));
    graft_model_close(m);
    m = open_model(r, dir, NULL);
    assert_int_equal(graft_model_n_adapted(m), 9);
    assert_true(far(r, m, &gold) < 1e-5);
    graft_model_close(m);
    assert_ok(graft_safetensors_open(&ts, r->arena, file, &err));
    graft_tensor *t = tensor_named(&ts, "base_model.model.vit.layers.0.attention.q_proj.lora_B.weight");
    float other[32 * 4];
    memcpy(other, t->data, sizeof other);
    other[7] += 1;
    t->data = other;
    assert_ok(graft_safetensors_write(file, ts.items, ts.n_items, NULL, &err));
    assert_error(graft_model_open(&m, r->env, dir, NULL, &err), GRAFT_EDATA, "the same layer's and differ");
}

/* ---- Folders that are wrong
 * ----------------------------------------------------------------------------------- */

static const char *copy_adapter(room *r, const char *name, const char *to) {
    const char *from = lora_golden(r, name), *dir = graft_arena_printf(r->arena, "%s/%s", r->dir, to);
    graft_err err = {0};
    assert_ok(graft_dir_make(dir, &err));
    assert_ok(graft_file_copy(file_of(r, from, "adapter_config.json"), file_of(r, dir, "adapter_config.json"),
                              &err));
    assert_ok(graft_file_copy(file_of(r, from, "adapter_model.safetensors"),
                              file_of(r, dir, "adapter_model.safetensors"), &err));
    return dir;
}

static void opening_says(room *r, const char *dir, const char *base, int code, const char *says) {
    graft_model *m = NULL;
    graft_err err = {0};
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    if (base) o.adapter = dir;
    int rc = graft_model_open(&m, r->env, base ? base : dir, &o, &err);
    if (rc == 0) graft_model_close(m);
    if (rc != code || !strstr(err.message, says)) fail_msg("%d: %s; wanted %s", rc, err.message, says);
}

static void configs_that_are_wrong_are_said(void **state) {
    room *r = *state;
    static const struct {
        const char *key, *value;
        int code;
        const char *says;
    } cases[] = {
        {"peft_type", "\"IA3\"", GRAFT_EUNSUPPORTED, "peft_type 'IA3'"},
        {"r", "\"four\"", GRAFT_EFORMAT, "adapter_config.json"},
        {"r", "0", GRAFT_EFORMAT, "r is 0"},
        {"lora_dropout", "2", GRAFT_EFORMAT, "lora_dropout is 2"},
        {"alpha_pattern", "[]", GRAFT_EFORMAT, "alpha_pattern"},
        {"alpha_pattern", "{\"(query\": 3}", GRAFT_EFORMAT, "no regular expression"},
        {"alpha_pattern", "{\"query((((((((((a+)+)+)+)+)+)+)+)+)+\": 3}", GRAFT_EFORMAT, "too often"},
        {"alpha_pattern", "{\"(a{99}){99}\": 3}", GRAFT_EFORMAT, "too often"},
        {"alpha_pattern", "{\"a{99999999999999999999}\": 3}", GRAFT_EFORMAT, "too often"},
        {"alpha_pattern", "{\"query\": \"3\"}", GRAFT_EFORMAT, "no number"},
        {"layer_replication", "[[0, 1]]", GRAFT_EUNSUPPORTED, "layer_replication"},
        {"use_dora", "true", GRAFT_EDATA, "lora_magnitude_vector"},
        {"base_model_name_or_path", "\"nobody/nothing\"", GRAFT_EDATA,
         "'nobody/nothing' is not on this machine"},
        {"base_model_name_or_path", "null", GRAFT_EDATA, "names no base model"}};
    const char *dir = copy_adapter(r, "bert_query_value", "config"),
               *path = file_of(r, dir, "adapter_config.json"), *base = TEXT_GOLDEN "bert_classes";
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        json_t *config = json_deep_copy(read_json(r, LORA "bert_query_value/adapter_config.json"));
        json_object_set_new(config, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        graft_err err = {0};
        assert_ok(graft_json_write(path, config, &err));
        json_decref(config);
        bool of_base = !strcmp(cases[i].key, "base_model_name_or_path");
        opening_says(r, dir, of_base ? NULL : base, cases[i].code, cases[i].says);
    }
}

/* One tensor of the file changed. */
static void write_changed(room *r, const char *dir, const char *name, const char *new_name,
                          const graft_shape *shape) {
    graft_tensors ts;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&ts, r->arena, LORA "bert_query_value/adapter_model.safetensors", &err));
    size_t n = 0;
    for (size_t i = 0; i < ts.n_items; i++) {
        graft_tensor t = ts.items[i];
        if (strstr(t.name, name)) {
            if (!new_name) continue;
            if (shape) t.shape = *shape;
            if (*new_name) t.name = new_name;
        }
        ts.items[n++] = t;
    }
    assert_ok(graft_safetensors_write(file_of(r, dir, "adapter_model.safetensors"), ts.items, n, NULL, &err));
}

static void tensors_that_are_wrong_are_said(void **state) {
    room *r = *state;
    const char *dir = copy_adapter(r, "bert_query_value", "tensors"), *base = TEXT_GOLDEN "bert_classes",
               *a = "layer.0.attention.self.query.lora_A.weight";
    const graft_shape turned = {2, {32, 4}};
    write_changed(r, dir, a, "", &turned);
    opening_says(r, dir, base, GRAFT_ESHAPE, "has shape [32, 4]");
    write_changed(r, dir, a, NULL, NULL);
    opening_says(r, dir, base, GRAFT_EDATA, "stands alone");
    write_changed(r, dir, a, "query.lora_A.weight", NULL);
    opening_says(r, dir, base, GRAFT_EFORMAT, "does not begin with base_model.model.");
    write_changed(r, dir, a, "base_model.model.bert.nowhere.lora_A.weight", NULL);
    opening_says(r, dir, base, GRAFT_EDATA, "");
    write_changed(r, dir, a, "base_model.model.bert.pooler.lora_E.weight", NULL);
    opening_says(r, dir, base, GRAFT_EUNSUPPORTED, "not supported");
    write_changed(r, dir, "lora_", NULL, NULL);
    opening_says(r, dir, base, GRAFT_EDATA, "holds no adapter");
    opening_says(r, LORA "gpt2_attention", base, GRAFT_EDATA, "belongs to no layer of the base model");
    opening_says(r, base, base, GRAFT_EDATA, "has no adapter_config.json");
    assert_int_equal(remove(file_of(r, dir, "adapter_model.safetensors")), 0);
    opening_says(r, dir, base, GRAFT_EDATA, "adapter_model.safetensors");
}

static void an_adapter_on_an_adapter_is_refused(void **state) {
    room *r = *state;
    opening_says(r, lora_golden(r, "bert_query_value"), lora_golden(r, "bert_dora"), GRAFT_EUNSUPPORTED,
                 "is an adapter itself");
}

/* A folder of the hub's cache, by its name alone. */
static void a_base_of_the_hub_is_found_in_its_cache(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *dir = copy_adapter(r, "bert_query_value", "hub"),
               *home = graft_arena_printf(r->arena, "%s/models--me--tiny", r->dir),
               *snapshot = graft_arena_printf(r->arena, "%s/snapshots/abc", home);
    json_t *config = json_deep_copy(read_json(r, LORA "bert_query_value/adapter_config.json"));
    json_object_set_new(config, "base_model_name_or_path", json_string("me/tiny"));
    assert_ok(graft_json_write(file_of(r, dir, "adapter_config.json"), config, &err));
    json_decref(config);
    assert_ok(graft_dir_make(snapshot, &err));
    assert_ok(graft_dir_make(file_of(r, home, "refs"), &err));
    assert_ok(graft_file_write(file_of(r, home, "refs/main"), "abc\n", 4, &err));
    static const char *const files[] = {"config.json", "model.safetensors"};
    for (size_t i = 0; i < GRAFT_COUNT(files); i++)
        assert_ok(graft_file_copy(file_of(r, TEXT_GOLDEN "bert_classes", files[i]),
                                  file_of(r, snapshot, files[i]), &err));
    assert_int_equal(setenv("HF_HUB_CACHE", r->dir, 1), 0);
    graft_model *m = open_model(r, dir, NULL);
    assert_int_equal(graft_model_n_adapted(m), 4);
    const char *out = graft_arena_printf(r->arena, "%s/out", r->dir);
    assert_ok(graft_model_save(m, r->env, out, NULL, &err));
    graft_model_close(m);
    const json_t *written = read_json(r, file_of(r, out, "adapter_config.json"));
    assert_string_equal(json_string_value(json_object_get(written, "base_model_name_or_path")), "me/tiny");
    assert_int_equal(unsetenv("HF_HUB_CACHE"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(folders_of_peft_answer_as_in_peft_merged_and_not),
        room_test(training_begins_at_what_was_merged),
        room_test(a_folder_that_is_written_answers_alike),
        room_test(a_written_folder_has_the_names_of_both_versions),
        room_test(names_of_both_versions_have_to_agree),
        room_test(targets_are_roles_names_and_globs),
        room_test(new_adapters_change_no_answer),
        room_test(what_cannot_be_adapted_is_said),
        room_test(configs_that_are_wrong_are_said),
        room_test(tensors_that_are_wrong_are_said),
        room_test(an_adapter_on_an_adapter_is_refused),
        room_test(a_base_of_the_hub_is_found_in_its_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
