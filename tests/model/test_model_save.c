#include "model_room.h"
#include <signal.h>
#include <sys/resource.h>

static void same_tensors(room *r, const char *a, const char *b) {
    graft_tensors x = get_tensors(r, a, 0), y = get_tensors(r, b, 0);
    assert_int_equal(x.n_items, y.n_items);
    for (size_t i = 0; i < x.n_items; i++) {
        const graft_tensor *t = &x.items[i], *u = tensor_named(&y, t->name);
        assert_int_equal(t->dtype, u->dtype);
        assert_true(graft_shape_equal(&t->shape, &u->shape));
        assert_int_equal(t->size, u->size);
        assert_memory_equal(t->data, u->data, t->size);
    }
}

static const char *save_to(room *r, const graft_model *m, const char *name, const graft_save_info *info) {
    graft_err err = {0};
    const char *out = in_room(r, name);
    assert_ok(graft_model_save(m, r->env, out, info, &err));
    return out;
}

static void a_model_saved_unchanged_has_the_same_bytes(void **state) {
    room *r = *state;
    for (size_t i = 0; i < GRAFT_COUNT(golden_folders); i++) {
        const char *from = golden(r, golden_folders[i]);
        graft_model *m = open_model(r, from, NULL);
        const char *out = save_to(r, m, golden_folders[i], NULL);
        same_tensors(r, from, out);
        /* Again over itself, from itself. */
        graft_model *again = open_model(r, out, NULL);
        save_to(r, again, golden_folders[i], NULL);
        same_tensors(r, from, out);
        assert_true(graft_preprocess_equal(graft_model_preprocess(m), graft_model_preprocess(again)));
        graft_model_close(m);
        graft_model_close(again);
    }
    assert_int_equal(r->log.size, 0);
}

static void nothing_but_the_files_is_left(void **state) {
    room *r = *state;
    static const char *const want[] = {"README.md", "config.json", "graft.json", "model.safetensors",
                                       "preprocessor_config.json"};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    const char *out = save_to(r, m, "out", NULL);
    char **names;
    size_t n;
    graft_err err;
    assert_ok(graft_dir_list(&names, &n, r->arena, out, &err));
    assert_int_equal(n, GRAFT_COUNT(want));
    for (size_t i = 0; i < n; i++) assert_string_equal(names[i], want[i]);
    graft_model_close(m);
}

static void only_what_was_set_changes(void **state) {
    room *r = *state;
    graft_err err;
    const char *from = golden(r, "hf_basic"),
               *changed = "resnet.encoder.stages.3.layers.0.layer.0.normalization.bias";
    graft_model *m = open_model(r, from, NULL);
    float b[24];
    for (int i = 0; i < 24; i++) b[i] = (float)i;
    assert_ok(graft_model_set(m, changed, b, 24, &err));
    const char *out = save_to(r, m, "out", NULL);
    graft_tensors x = get_tensors(r, from, 0), y = get_tensors(r, out, 0);
    assert_int_equal(x.n_items, y.n_items);
    for (size_t i = 0; i < x.n_items; i++) {
        const graft_tensor *t = &x.items[i], *u = tensor_named(&y, t->name);
        assert_memory_equal(u->data, strcmp(t->name, changed) ? t->data : b, t->size);
    }
    graft_model_close(m);
}

static void half_precision_stays_where_nothing_was_set(void **state) {
    room *r = *state;
    graft_err err;
    const char *folder = copy_folder(r, "hf_basic");
    graft_tensors ts = get_tensors(r, golden(r, "hf_basic"), 0);
    for (size_t i = 0; i < ts.n_items; i++) {
        graft_tensor *t = &ts.items[i];
        if (t->dtype != GRAFT_F32) continue;
        size_t n = t->size / 4;
        float *x = graft_arena_array(r->arena, n, sizeof *x);
        uint16_t *half = graft_arena_array(r->arena, n, sizeof *half);
        graft_tensor_to_f32(t, x);
        graft_f32_to_f16(x, half, n);
        *t = (graft_tensor){t->name, GRAFT_F16, t->shape, half, 2 * n};
    }
    put_tensors(r, folder, &ts);
    graft_model *m = open_model(r, folder, NULL);
    float b[5] = {0};
    assert_ok(graft_model_set(m, "classifier.1.bias", b, 5, &err));
    graft_tensors out = get_tensors(r, save_to(r, m, "out", NULL), 0);
    for (size_t i = 0; i < ts.n_items; i++) {
        const graft_tensor *t = &ts.items[i], *u = tensor_named(&out, t->name);
        bool set = !strcmp(t->name, "classifier.1.bias");
        assert_int_equal(u->dtype, set ? GRAFT_F32 : t->dtype);
        if (!set) assert_memory_equal(u->data, t->data, t->size);
    }
    graft_model_close(m);
}

static void the_config_keeps_unknown_keys_and_says_the_labels(void **state) {
    room *r = *state;
    graft_err err;
    const char *folder = copy_folder(r, "hf_basic");
    set_config(r, folder, "own_key", json_pack("{s:[i]}", "deep", 1));
    set_config(r, folder, "num_labels", json_integer(9));
    set_config(r, folder, "architectures", json_pack("[s]", "ResNetModel"));
    graft_model *m = open_model(r, folder, NULL);
    const char *names[12];
    for (size_t i = 0; i < 12; i++) names[i] = graft_arena_printf(r->arena, "class \"%zu\"", i);
    assert_ok(graft_model_head(m, "linear", names, 12, 1, NULL, &err));
    const char *out = save_to(r, m, "out", NULL);
    json_t *c = read_json(r, file_of(r, out, "config.json"));
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(json_object_get(c, "own_key"), "deep"), 0)), 1);
    assert_null(json_object_get(c, "num_labels"));
    assert_string_equal(json_string_value(json_object_get(json_object_get(c, "id2label"), "11")),
                        "class \"11\"");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(c, "label2id"), "class \"11\"")), 11);
    assert_string_equal(json_string_value(json_array_get(json_object_get(c, "architectures"), 0)),
                        "ResNetForImageClassification");
    assert_string_equal(json_string_value(json_object_get(c, "dtype")), "float32");
    assert_string_equal(json_string_value(json_object_get(c, "torch_dtype")), "float32");
    char *text;
    size_t size;
    assert_ok(graft_file_read(&text, &size, r->arena, file_of(r, out, "config.json"), 1 << 20, &err));
    assert_true(strstr(text, "\"2\": \"class") < strstr(text, "\"10\": \"class"));
    assert_true(strstr(text, "\n  \"architectures\"") < strstr(text, "\n  \"torch_dtype\""));
    assert_int_equal(text[size - 1], '\n');
    graft_model *again = open_model(r, out, NULL);
    size_t n;
    assert_string_equal(graft_model_labels(again, &n)[10], "class \"10\"");
    assert_int_equal(n, 12);
    graft_model_close(m);
    graft_model_close(again);
}

static void a_bare_backbone_is_saved_with_its_prefix_and_head(void **state) {
    room *r = *state;
    const char *folder = copy_folder(r, "hf_basic");
    graft_tensors ts = get_tensors(r, folder, 0);
    drop_tensor(&ts, "classifier.1.weight");
    drop_tensor(&ts, "classifier.1.bias");
    for (size_t i = 0; i < ts.n_items; i++) ts.items[i].name += strlen("resnet.");
    put_tensors(r, folder, &ts);
    graft_model *m = open_model(r, folder, NULL);
    graft_tensors out = get_tensors(r, save_to(r, m, "out", NULL), 0);
    assert_int_equal(out.n_items, ts.n_items + 2);
    tensor_named(&out, "resnet.embedder.embedder.convolution.weight");
    tensor_named(&out, "resnet.embedder.embedder.normalization.num_batches_tracked");
    tensor_named(&out, "classifier.1.bias");
    graft_model_close(m);
}

static void a_bare_checkpoint_becomes_a_folder(void **state) {
    room *r = *state;
    static const char *const which[] = {"hf_bottleneck", "timm_basic", "timm_bottleneck"};
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < GRAFT_COUNT(which); i++) {
        graft_err err = {0};
        const char *path = in_room(r, "weights.safetensors");
        assert_ok(graft_file_copy(file_of(r, golden(r, which[i]), "model.safetensors"), path, &err));
        graft_model *bare = open_model(r, path, NULL);
        assert_ok(graft_model_set_labels(bare, names, 5, &err));
        const char *out = save_to(r, bare, which[i], NULL);
        graft_model *m = open_model(r, out, NULL);
        size_t n;
        assert_string_equal(graft_model_family(m), graft_model_family(bare));
        assert_string_equal(graft_model_description(m), graft_model_description(bare));
        assert_string_equal(graft_model_labels(m, &n)[4], "e");
        assert_true(graft_preprocess_equal(graft_model_preprocess(m), graft_model_preprocess(bare)));
        same_tensors(r, golden(r, which[i]), out);
        graft_model_close(bare);
        graft_model_close(m);
    }
}

static void a_timm_folder_stays_one(void **state) {
    room *r = *state;
    graft_err err;
    static const char *const names[] = {"x", "y"};
    const char *folder = copy_folder(r, "timm_basic");
    set_config(r, folder, "model_args",
               json_pack("{s:[iiii],s:[iiii],s:i}", "channels", 8, 12, 16, 24, "layers", 2, 1, 1, 1,
                         "num_classes", 5));
    graft_model *m = open_model(r, folder, NULL);
    assert_ok(graft_model_head(m, "linear", names, 2, 1, NULL, &err));
    json_t *c = read_json(r, file_of(r, save_to(r, m, "out", NULL), "config.json"));
    assert_string_equal(json_string_value(json_object_get(c, "architecture")), "resnet18");
    assert_int_equal(json_integer_value(json_object_get(c, "num_classes")), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(c, "pretrained_cfg"), "num_classes")),
                     2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(c, "label_names"), 1)), "y");
    assert_null(json_object_get(c, "model_type"));
    const json_t *args = json_object_get(c, "model_args");
    assert_non_null(json_object_get(args, "channels"));
    assert_int_equal(json_integer_value(json_object_get(args, "num_classes")), 2);
    graft_model_close(m);
}

static void the_cifar_checkpoint_is_saved_and_opened_again(void **state) {
    room *r = *state;
    if (!graft_path_is_file("../shared/data/cifar_resnet20.th")) skip();
    graft_model *m = open_model(r, "../shared/data/cifar_resnet20.th", NULL);
    const char *out = save_to(r, m, "out", NULL);
    graft_model *again = open_model(r, out, NULL);
    assert_string_equal(graft_model_family(again), "resnet_cifar");
    assert_int_equal(graft_model_n_params(m), graft_model_n_params(again));
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *p = graft_model_param(m, i), *q = graft_model_param(again, i);
        assert_string_equal(p->name, q->name);
        assert_memory_equal(p->tensor.data, q->tensor.data, p->tensor.size);
    }
    assert_true(graft_preprocess_equal(graft_model_preprocess(m), graft_model_preprocess(again)));
    graft_err err;
    char *card;
    size_t size;
    assert_ok(graft_file_read(&card, &size, r->arena, file_of(r, out, "README.md"), 1 << 20, &err));
    assert_non_null(strstr(card, "Only graft opens this folder"));
    graft_model_close(m);
    graft_model_close(again);
}

static void a_new_model_is_saved_with_counters(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, file_of(r, golden(r, "hf_grey"), "config.json"), NULL);
    graft_tensors out = get_tensors(r, save_to(r, m, "out", NULL), 0),
                  src = get_tensors(r, golden(r, "hf_grey"), 0);
    assert_int_equal(out.n_items, src.n_items);
    const graft_tensor *t = tensor_named(&out, "resnet.embedder.embedder.normalization.num_batches_tracked");
    int64_t value = 1;
    assert_int_equal(t->dtype, GRAFT_I64);
    assert_int_equal(t->shape.rank, 0);
    memcpy(&value, t->data, sizeof value);
    assert_int_equal(value, 0);
    graft_model_close(m);
}

static int64_t counter_of(room *r, const char *folder, const char *name) {
    graft_tensors ts = get_tensors(r, folder, 0);
    const graft_tensor *t = tensor_named(&ts, name);
    int64_t value = -1;
    assert_int_equal(t->dtype, GRAFT_I64);
    memcpy(&value, t->data, sizeof value);
    return value;
}

static void batches_are_counted_on_from_what_the_file_says(void **state) {
    static const char counter[] = "resnet.embedder.embedder.normalization.num_batches_tracked";
    static const char mean[] = "resnet.embedder.embedder.normalization.running_mean";
    room *r = *state;
    for (int scratch = 0; scratch < 2; scratch++) {
        const char *folder = golden(r, "hf_basic");
        int64_t before = scratch ? 0 : counter_of(r, folder, counter);
        graft_model *m = open_model(r, scratch ? file_of(r, folder, "config.json") : folder, NULL);
        graft_model_count_batches(m, mean, 7);
        graft_model_count_batches(m, mean, 5);
        graft_model_count_batches(m, "resnet.embedder.embedder.convolution.weight", 3);
        const char *out = save_to(r, m, scratch ? "new" : "old", NULL);
        assert_int_equal(counter_of(r, out, counter), before + 12);
        graft_model_close(m);
    }
}

static void the_card_has_front_matter_and_metrics(void **state) {
    room *r = *state;
    graft_err err;
    const char *folder = copy_folder(r, "hf_basic");
    static const char source_card[] = "---\nlicense: cc-by-4.0\ntags:\n- x\n---\n# Old\nlicense: no\n";
    assert_ok(graft_file_write(file_of(r, folder, "README.md"), source_card, sizeof source_card - 1, &err));
    graft_model *m = open_model(r, folder, NULL);
    graft_save_info info = {.base_model = "microsoft/resnet-18",
                            .dataset = "ants \"and\" bees",
                            .notes = "Trained in 3 s.",
                            .metrics =
                                json_pack("{s:f,s:f,s:s}", "accuracy", 0.9375, "f1", 0.5, "plan", "head"),
                            .record = json_pack("{s:s}", "plan", "head")};
    const char *out = save_to(r, m, "out", &info);
    char *card;
    size_t size;
    assert_ok(graft_file_read(&card, &size, r->arena, file_of(r, out, "README.md"), 1 << 20, &err));
    static const char *const parts[] = {"---\nlicense: cc-by-4.0\nlibrary_name: transformers\n",
                                        "pipeline_tag: image-classification\n",
                                        "base_model: \"microsoft/resnet-18\"\n",
                                        "model-index:\n- name: \"out\"\n",
                                        "      name: \"ants \\\"and\\\" bees\"\n",
                                        "    - type: \"accuracy\"\n      value: 0.937500\n",
                                        "| `accuracy` | 0.9375 |",
                                        "Trained in 3 s.",
                                        "5 classes: `ant`, `bee`"};
    for (size_t i = 0; i < GRAFT_COUNT(parts); i++)
        if (!strstr(card, parts[i])) fail_msg("'%s' is not in the card:\n%s", parts[i], card);
    assert_null(strstr(card, "license: no"));
    json_t *record = read_json(r, file_of(r, out, "graft.json"));
    assert_string_equal(json_string_value(json_object_get(record, "plan")), "head");
    assert_string_equal(json_string_value(json_object_get(record, "graft_version")), graft_version());
    json_decref((json_t *)info.metrics);
    json_decref((json_t *)info.record);
    graft_model_close(m);
}

/* A file may grow no further than this, as on a disk that is full. */
static void limit_files(rlim_t size) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_leaves_the_old_folder_whole(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    const char *out = save_to(r, m, "out", NULL);
    char **names, *before, *after;
    size_t n, before_size, after_size;
    assert_ok(
        graft_file_read(&before, &before_size, r->arena, file_of(r, out, "config.json"), 1 << 20, &err));
    static const char *const other[] = {"x", "y"};
    assert_ok(graft_model_head(m, "linear", other, 2, 1, NULL, &err));
    signal(SIGXFSZ, SIG_IGN);
    limit_files(20000);
    int rc = graft_model_save(m, r->env, out, NULL, &err);
    limit_files(RLIM_INFINITY);
    assert_int_equal(rc, GRAFT_EIO);
    assert_ok(graft_file_read(&after, &after_size, r->arena, file_of(r, out, "config.json"), 1 << 20, &err));
    assert_string_equal(before, after);
    same_tensors(r, golden(r, "hf_basic"), out);
    assert_ok(graft_dir_list(&names, &n, r->arena, out, &err));
    assert_int_equal(n, 5);
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(a_model_saved_unchanged_has_the_same_bytes),
        room_test(nothing_but_the_files_is_left),
        room_test(only_what_was_set_changes),
        room_test(half_precision_stays_where_nothing_was_set),
        room_test(the_config_keeps_unknown_keys_and_says_the_labels),
        room_test(a_bare_backbone_is_saved_with_its_prefix_and_head),
        room_test(a_bare_checkpoint_becomes_a_folder),
        room_test(a_timm_folder_stays_one),
        room_test(the_cifar_checkpoint_is_saved_and_opened_again),
        room_test(a_new_model_is_saved_with_counters),
        room_test(batches_are_counted_on_from_what_the_file_says),
        room_test(the_card_has_front_matter_and_metrics),
        room_test(a_full_disk_leaves_the_old_folder_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
