#include "model_room.h"

static void every_golden_folder_opens_and_says_what_it_is(void **state) {
    room *r = *state;
    static const size_t stages[] = {6, 5, 6, 5, 4, 6, 6};
    static const int64_t widths[] = {24, 16, 40, 32, 16, 24, 40};
    for (size_t i = 0; i < GRAFT_COUNT(golden_folders); i++) {
        graft_model *m = open_model(r, golden(r, golden_folders[i]), NULL);
        bool timm = !strncmp(golden_folders[i], "timm", 4);
        size_t n = 0;
        const char *const *labels = graft_model_labels(m, &n);
        assert_string_equal(graft_model_family(m), timm ? "resnet_timm" : "resnet");
        assert_int_equal(n, 5);
        assert_string_equal(labels[4], "eel");
        assert_true(graft_model_labels_are_known(m));
        assert_int_equal(graft_model_n_stages(m), stages[i]);
        assert_string_equal(graft_model_stage_name(m, 0), "stem");
        assert_string_equal(graft_model_stage_name(m, 1), "stage1");
        assert_string_equal(graft_model_stage_name(m, stages[i] - 1), "head");
        assert_int_equal(graft_model_find_stage(m, "stage2"), 2);
        assert_int_equal(graft_model_find_stage(m, "stage9"), -1);
        assert_int_equal(graft_model_feature_width(m), widths[i]);
        assert_int_equal(graft_model_channels(m), strcmp(golden_folders[i], "hf_grey") ? 3 : 1);
        assert_false(graft_model_is_scratch(m));
        assert_false(graft_model_head_is_new(m));
        graft_model_close(m);
    }
    assert_int_equal(r->log.size, 0);
}

static void parameters_know_stage_kind_and_head(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    static const struct {
        const char *name;
        graft_param_kind kind;
        int stage;
    } rows[] = {
        {"resnet.embedder.embedder.convolution.weight", GRAFT_PARAM_WEIGHT, 0},
        {"resnet.encoder.stages.0.layers.1.layer.1.normalization.weight", GRAFT_PARAM_NORM, 1},
        {"resnet.encoder.stages.1.layers.0.shortcut.normalization.running_var", GRAFT_PARAM_STATISTIC, 2},
        {"resnet.encoder.stages.3.layers.0.layer.0.normalization.bias", GRAFT_PARAM_NORM, 4},
        {"classifier.1.weight", GRAFT_PARAM_WEIGHT, 5},
        {"classifier.1.bias", GRAFT_PARAM_BIAS, 5},
    };
    for (size_t i = 0; i < GRAFT_COUNT(rows); i++) {
        const graft_param *p = graft_model_find_param(m, rows[i].name);
        if (!p) fail_msg("no parameter '%s'", rows[i].name);
        assert_int_equal(p->kind, rows[i].kind);
        assert_int_equal(p->stage, rows[i].stage);
        assert_int_equal(graft_model_param_stage(m, rows[i].name), rows[i].stage);
        assert_int_equal(p->head, rows[i].stage == 5);
    }
    assert_int_equal(graft_model_param_stage(m, "nothing"), -1);
    /* Every tensor of the file but the counters is a parameter. */
    graft_tensors ts = get_tensors(r, golden(r, "hf_basic"), 0);
    size_t n = 0;
    for (size_t i = 0; i < ts.n_items; i++) n += strstr(ts.items[i].name, "num_batches") == NULL;
    assert_int_equal(n, graft_model_n_params(m));
    graft_model_close(m);
}

static void same_params(const graft_model *a, const graft_model *b) {
    assert_int_equal(graft_model_n_params(a), graft_model_n_params(b));
    for (size_t i = 0; i < graft_model_n_params(a); i++) {
        const graft_param *p = graft_model_param(a, i), *q = graft_model_param(b, i);
        assert_string_equal(p->name, q->name);
        assert_true(graft_shape_equal(&p->shape, &q->shape));
        if (!p->head) assert_memory_equal(p->tensor.data, q->tensor.data, p->tensor.size);
    }
}

static void a_bare_checkpoint_is_recognised_by_its_tensors(void **state) {
    room *r = *state;
    static const char *const which[] = {"hf_basic", "hf_basic_first", "hf_bottleneck", "timm_basic",
                                        "timm_bottleneck"};
    for (size_t i = 0; i < GRAFT_COUNT(which); i++) {
        graft_err err = {0};
        const char *path = in_room(r, "weights.safetensors");
        assert_ok(graft_file_copy(file_of(r, golden(r, which[i]), "model.safetensors"), path, &err));
        graft_model *whole = open_model(r, golden(r, which[i]), NULL), *bare = open_model(r, path, NULL);
        assert_string_equal(graft_model_family(bare), graft_model_family(whole));
        same_params(whole, bare);
        size_t n = 0;
        const char *const *labels = graft_model_labels(bare, &n);
        assert_int_equal(n, 5);
        assert_string_equal(labels[3], "3");
        assert_false(graft_model_labels_are_known(bare));
        assert_string_equal(graft_model_description(bare), graft_model_description(whole));
        graft_model_close(whole);
        graft_model_close(bare);
    }
}

static void a_backbone_without_prefix_gets_a_new_head(void **state) {
    room *r = *state;
    const char *folder = copy_folder(r, "hf_bottleneck");
    graft_tensors ts = get_tensors(r, folder, 0);
    drop_tensor(&ts, "classifier.1.weight");
    drop_tensor(&ts, "classifier.1.bias");
    for (size_t i = 0; i < ts.n_items; i++) ts.items[i].name += strlen("resnet.");
    put_tensors(r, folder, &ts);
    graft_model *whole = open_model(r, golden(r, "hf_bottleneck"), NULL), *m = open_model(r, folder, NULL);
    same_params(whole, m);
    assert_true(graft_model_head_is_new(m));
    assert_false(graft_model_is_scratch(m));
    assert_non_null(strstr(r->log.data, "has no head 'classifier.1'"));
    assert_ptr_equal(strchr(r->log.data, '\n') + 1, r->log.data + r->log.size);
    graft_model_close(whole);
    graft_model_close(m);
}

static void old_names_and_missing_counters_are_read(void **state) {
    room *r = *state;
    const char *folder = copy_folder(r, "hf_basic");
    graft_tensors ts = get_tensors(r, folder, 0);
    for (size_t i = ts.n_items; i-- > 0;) {
        const char *name = ts.items[i].name, *leaf = strrchr(name, '.');
        if (!strcmp(leaf, ".num_batches_tracked"))
            drop_tensor(&ts, name);
        else if (strstr(name, "normalization.weight"))
            ts.items[i].name = graft_arena_printf(r->arena, "%.*s.gamma", (int)(leaf - name), name);
        else if (strstr(name, "normalization.bias"))
            ts.items[i].name = graft_arena_printf(r->arena, "%.*s.beta", (int)(leaf - name), name);
    }
    put_tensors(r, folder, &ts);
    graft_model *whole = open_model(r, golden(r, "hf_basic"), NULL), *m = open_model(r, folder, NULL);
    same_params(whole, m);
    assert_false(graft_model_head_is_new(m));
    assert_int_equal(r->log.size, 0);
    graft_model_close(whole);
    graft_model_close(m);
}

static void a_sharded_folder_is_read_as_one(void **state) {
    room *r = *state;
    graft_err err;
    const char *folder = copy_folder(r, "hf_bottleneck");
    graft_tensors ts = get_tensors(r, golden(r, "hf_bottleneck"), 0);
    static const char *const shards[] = {"model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors"};
    json_t *map = json_object(), *index = json_pack("{s:{}}", "metadata");
    size_t half = ts.n_items / 2;
    for (size_t i = 0; i < ts.n_items; i++)
        json_object_set_new(map, ts.items[i].name, json_string(shards[i >= half]));
    json_object_set_new(index, "weight_map", map);
    assert_ok(graft_json_write(file_of(r, folder, "model.safetensors.index.json"), index, &err));
    assert_ok(graft_safetensors_write(file_of(r, folder, shards[0]), ts.items, half, NULL, &err));
    assert_ok(graft_safetensors_write(file_of(r, folder, shards[1]), ts.items + half, ts.n_items - half, NULL,
                                      &err));
    assert_int_equal(unlink(file_of(r, folder, "model.safetensors")), 0);
    json_decref(index);
    graft_model *whole = open_model(r, golden(r, "hf_bottleneck"), NULL), *m = open_model(r, folder, NULL);
    same_params(whole, m);
    assert_false(graft_model_head_is_new(m) || graft_model_is_scratch(m));
    graft_model_close(whole);
    graft_model_close(m);
}

static void a_config_alone_is_a_new_model(void **state) {
    room *r = *state;
    const char *path = in_room(r, "config.json");
    graft_err err = {0};
    assert_ok(graft_file_copy(file_of(r, golden(r, "hf_basic"), "config.json"), path, &err));
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.seed = 7;
    graft_model *a = open_model(r, r->dir, &o), *b = open_model(r, path, &o);
    o.seed = 8;
    graft_model *c = open_model(r, path, &o);
    const char *conv = "resnet.encoder.stages.2.layers.0.layer.0.convolution.weight";
    size_t n = 0;
    assert_true(graft_model_is_scratch(a) && graft_model_head_is_new(a));
    assert_non_null(strstr(r->log.data, "initialised from seed 7"));
    float *x = values_of(r, a, conv, &n);
    assert_memory_equal(x, values_of(r, b, conv, &n), n * sizeof *x);
    assert_memory_not_equal(x, values_of(r, c, conv, &n), n * sizeof *x);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    /* Kaiming normal by fan_out: 16 channels of 3 x 3. */
    assert_true(fabs(sum / (double)n / (2.0 / (16 * 9)) - 1) < 0.15);
    x = values_of(r, a, "resnet.embedder.embedder.normalization.running_var", &n);
    for (size_t i = 0; i < n; i++) assert_true(x[i] == 1);
    x = values_of(r, a, "resnet.embedder.embedder.normalization.bias", &n);
    for (size_t i = 0; i < n; i++) assert_true(x[i] == 0);
    x = values_of(r, a, "classifier.1.weight", &n);
    for (size_t i = 0; i < n; i++) assert_true(fabs((double)x[i]) <= 1 / sqrt(24) + 1e-6);
    graft_model_close(a);
    graft_model_close(b);
    graft_model_close(c);
}

static void missing_and_misshaped_tensors_are_named(void **state) {
    room *r = *state;
    graft_model *m = NULL;
    graft_err err;
    const char *folder = copy_folder(r, "hf_basic");
    const char *name = "resnet.encoder.stages.1.layers.0.layer.0.convolution.weight";
    graft_tensors ts = get_tensors(r, golden(r, "hf_basic"), 0);
    graft_tensor kept = *tensor_named(&ts, name);
    drop_tensor(&ts, name);
    put_tensors(r, folder, &ts);
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EDATA, name);
    assert_non_null(strstr(err.message, "[12, 8, 3, 3]"));
    assert_non_null(strstr(err.message, "model.safetensors"));
    ts.items[ts.n_items++] = kept;
    graft_tensor *t = tensor_named(&ts, name);
    t->shape = (graft_shape){4, {8, 12, 3, 3}};
    put_tensors(r, folder, &ts);
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_ESHAPE, name);
    assert_non_null(strstr(err.message, "[8, 12, 3, 3]"));
    assert_non_null(strstr(err.message, "[12, 8, 3, 3]"));
    *t = kept;
    t->dtype = GRAFT_I32;
    put_tensors(r, folder, &ts);
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EDTYPE, name);
    assert_null(m);
}

static void a_head_that_misfits_is_made_anew(void **state) {
    room *r = *state;
    const char *folder = copy_folder(r, "timm_basic");
    set_config(r, folder, "num_classes", json_integer(3));
    set_config(r, folder, "label_names", json_pack("[sss]", "x", "y", "z"));
    graft_model *m = open_model(r, folder, NULL);
    size_t n = 0;
    graft_model_labels(m, &n);
    assert_int_equal(n, 3);
    assert_true(graft_model_head_is_new(m));
    assert_int_equal(graft_model_find_param(m, "fc.weight")->shape.dims[0], 3);
    assert_non_null(strstr(r->log.data, "[5, 24]"));
    assert_non_null(strstr(r->log.data, "[3, 24]"));
    assert_ptr_equal(strchr(r->log.data, '\n') + 1, r->log.data + r->log.size);
    graft_model_close(m);
    /* Where answers are wanted of the head, that is an error. */
    graft_err err;
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.needs_head = true;
    m = NULL;
    assert_error(graft_model_open(&m, r->env, folder, &o, &err), GRAFT_EDATA, "3 classes");
    assert_null(m);
    graft_model_close(open_model(r, golden(r, "timm_basic"), &o));
}

static void tensors_without_a_place_are_listed(void **state) {
    room *r = *state;
    const char *folder = copy_folder(r, "hf_basic");
    graft_tensors ts = get_tensors(r, folder, 2);
    ts.items[ts.n_items] = ts.items[0];
    ts.items[ts.n_items++].name = "teacher.weight";
    ts.items[ts.n_items] = ts.items[0];
    ts.items[ts.n_items++].name = "projection.bias";
    put_tensors(r, folder, &ts);
    graft_model_close(open_model(r, folder, NULL));
    assert_non_null(strstr(r->log.data, "'teacher.weight'"));
    assert_non_null(strstr(r->log.data, "'projection.bias'"));
    assert_non_null(strstr(r->log.data, "2 tensors"));
}

static void bad_configs_are_refused_by_name(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = NULL;
    static const struct {
        const char *key, *value, *says;
        int code;
    } rows[] = {
        {"hidden_act", "\"gelu\"", "gelu", GRAFT_EUNSUPPORTED},
        {"model_type", "\"swin\"", "swin", GRAFT_EUNSUPPORTED},
        {"layer_type", "\"wide\"", "wide", GRAFT_EFORMAT},
        {"depths", "[2, 1, 1]", "depths", GRAFT_EFORMAT},
        {"depths", "[2, 1, 1, -1]", "depths", GRAFT_EFORMAT},
        {"depths", "[2, 1, 1, 1e9]", "depths", GRAFT_EFORMAT},
        {"depths", "\"2\"", "depths", GRAFT_EFORMAT},
        {"depths", "[]", "depths", GRAFT_EFORMAT},
        {"hidden_sizes", "[8, 12, 16, 99999999]", "hidden_sizes", GRAFT_EFORMAT},
        {"hidden_sizes", "[8, 12, 16, 32]", "tensor", GRAFT_ESHAPE},
        {"embedding_size", "0", "embedding_size", GRAFT_EFORMAT},
        {"num_channels", "2", "2 channels", GRAFT_EUNSUPPORTED},
        {"num_channels", "true", "num_channels", GRAFT_EFORMAT},
        {"id2label", "{\"0\": \"a\", \"2\": \"b\"}", "id2label", GRAFT_EFORMAT},
        {"id2label", "{\"00\": \"a\"}", "id2label", GRAFT_EFORMAT},
        {"id2label", "{}", "id2label", GRAFT_EFORMAT},
        {"id2label", "{\"0\": []}", "id2label", GRAFT_EFORMAT},
        {"downsample_in_first_stage", "\"no\"", "downsample_in_first_stage", GRAFT_EFORMAT},
    };
    for (size_t i = 0; i < GRAFT_COUNT(rows); i++) {
        const char *folder = copy_folder(r, "hf_basic");
        set_config(r, folder, rows[i].key, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        assert_error(graft_model_open(&m, r->env, folder, NULL, &err), rows[i].code, rows[i].says);
        assert_null(strchr(err.message, '\n'));
    }
    const char *folder = copy_folder(r, "hf_basic");
    set_config(r, folder, "model_type", NULL);
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EUNSUPPORTED, "model_type");
    const char *path = in_room(r, "config.json");
    static const char huge[] =
        "{\"model_type\": \"resnet\", \"hidden_sizes\": [65536, 65536], \"depths\": [512, 512]}";
    assert_ok(graft_file_write(path, huge, sizeof huge - 1, &err));
    assert_error(graft_model_open(&m, r->env, path, NULL, &err), GRAFT_EUNSUPPORTED, "parameters");
    folder = copy_folder(r, "timm_basic");
    set_config(r, folder, "architecture", json_string("swin_tiny_patch4"));
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EUNSUPPORTED, "swin_tiny_patch4");
    set_config(r, folder, "architecture", json_string("resnet18"));
    set_config(r, folder, "model_args", json_pack("{s:s}", "stem_type", "deep"));
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EUNSUPPORTED, "stem_type");
}

static void bad_files_are_refused(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = NULL;
    char *text;
    size_t size;
    assert_error(graft_model_open(&m, r->env, in_room(r, "absent"), NULL, &err), GRAFT_EIO, "absent");
    assert_error(graft_model_open(&m, r->env, r->dir, NULL, &err), GRAFT_EDATA, "config.json");
    const char *folder = copy_folder(r, "hf_basic"), *weights = file_of(r, folder, "model.safetensors");
    assert_ok(graft_file_read(&text, &size, r->arena, weights, 1 << 24, &err));
    assert_ok(graft_file_write(weights, text, size - 1000, &err));
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EFORMAT, "model.safetensors");
    assert_ok(graft_file_write(weights, text, 0, &err));
    assert_true(graft_model_open(&m, r->env, folder, NULL, &err) < 0);
    assert_ok(graft_file_copy(file_of(r, golden(r, "hf_basic"), "model.safetensors"), weights, &err));
    assert_ok(graft_file_write(file_of(r, folder, "config.json"), "{\"model_type\": ", 15, &err));
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EFORMAT, "config.json");
    assert_ok(graft_file_write(file_of(r, folder, "config.json"), "[1]", 3, &err));
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), GRAFT_EFORMAT, "config.json");
    graft_tensors none = get_tensors(r, golden(r, "hf_basic"), 0);
    none.n_items = 1;
    none.items[0].name = "weird";
    assert_ok(graft_safetensors_write(in_room(r, "w.safetensors"), none.items, 1, NULL, &err));
    assert_error(graft_model_open(&m, r->env, in_room(r, "w.safetensors"), NULL, &err), GRAFT_EUNSUPPORTED,
                 "weird");
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.family = "vgg";
    assert_error(graft_model_open(&m, r->env, golden(r, "hf_basic"), &o, &err), GRAFT_EUSAGE, "resnet_timm");
    o.family = "resnet_timm";
    assert_true(graft_model_open(&m, r->env, golden(r, "hf_basic"), &o, &err) < 0);
    assert_null(m);
}

static void labels_come_from_the_caller_first(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = NULL;
    static const char *const names[] = {"v", "w", "x", "y", "z"};
    graft_model_options o = {.labels = names, .n_labels = 5};
    size_t n = 0;
    m = open_model(r, golden(r, "hf_basic"), &o);
    assert_string_equal(graft_model_labels(m, &n)[1], "w");
    assert_false(graft_model_head_is_new(m));
    assert_error(graft_model_set_labels(m, names, 4, &err), GRAFT_EUSAGE, "5 classes");
    graft_model_close(m);
    m = NULL;
    o.n_labels = 4;
    assert_error(graft_model_open(&m, r->env, golden(r, "hf_basic"), &o, &err), GRAFT_EUSAGE, "5 classes");
    const char *path = in_room(r, "labels.txt");
    o = (graft_model_options){.labels_file = path};
    assert_ok(graft_file_write(path, "ant\r\nbee hive\nc\nd\ne\n\n", 21, &err));
    m = open_model(r, golden(r, "hf_basic"), &o);
    assert_string_equal(graft_model_labels(m, &n)[0], "ant");
    assert_string_equal(graft_model_labels(m, &n)[1], "bee hive");
    graft_model_close(m);
    m = NULL;
    assert_ok(graft_file_write(path, "ant\n\nc\nd\ne\n", 11, &err));
    assert_error(graft_model_open(&m, r->env, golden(r, "hf_basic"), &o, &err), GRAFT_EFORMAT, "line 2");
}

static void values_are_set_and_got(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    float b[5] = {1, 2, 3, 4, 5}, got[5];
    assert_ok(graft_model_set(m, "classifier.1.bias", b, 5, &err));
    assert_ok(graft_model_get(m, "classifier.1.bias", got, 5, &err));
    assert_memory_equal(b, got, sizeof b);
    assert_error(graft_model_set(m, "classifier.1.bias", b, 4, &err), GRAFT_ESHAPE, "[5]");
    assert_error(graft_model_set(m, "classifier.2.bias", b, 5, &err), GRAFT_EUSAGE, "classifier.2.bias");
    graft_model_close(m);
}

/* A bare checkpoint has no config.json that could be opened alone. */
static void from_scratch_a_checkpoint_tells_the_architecture_alone(void **state) {
    room *r = *state;
    const char *path = GOLDEN "timm_basic/model.safetensors";
    graft_err err = {0};
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.from_scratch = true;
    graft_model *with = open_model(r, path, NULL), *without = open_model(r, path, &o);
    assert_true(graft_model_is_scratch(without) && !graft_model_is_scratch(with));
    assert_true(graft_model_head_is_new(without));
    assert_string_equal(graft_model_family(with), graft_model_family(without));
    graft_graph *a = NULL, *b = NULL;
    assert_ok(graft_model_graph(&a, r->arena, with, 0, 0, &err));
    assert_ok(graft_model_graph(&b, r->arena, without, 0, 0, &err));
    assert_int_equal(graft_graph_n_values(a), graft_graph_n_values(b));
    graft_hash x, y;
    assert_ok(graft_graph_hash(a, &x, &err));
    assert_ok(graft_graph_hash(b, &y, &err));
    assert_false(graft_hash_equal(x, y));
    graft_model_close(with);
    graft_model_close(without);
}

static void the_cifar_checkpoint_is_recognised(void **state) {
    room *r = *state;
    if (!graft_path_is_file("../shared/data/cifar_resnet20.th")) skip();
    graft_model *m = open_model(r, "../shared/data/cifar_resnet20.th", NULL);
    size_t n = 0;
    int h = 0, w = 0;
    graft_model_labels(m, &n);
    assert_string_equal(graft_model_family(m), "resnet_cifar");
    assert_string_equal(graft_model_description(m), "CIFAR ResNet of 20 layers");
    assert_int_equal(n, 10);
    assert_int_equal(graft_model_feature_width(m), 64);
    assert_int_equal(graft_model_n_stages(m), 5);
    assert_true(graft_model_input_size(m, &h, &w) && h == 32 && w == 32);
    assert_false(graft_model_labels_are_known(m));
    assert_int_equal(r->log.size, 0);
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(every_golden_folder_opens_and_says_what_it_is),
        room_test(parameters_know_stage_kind_and_head),
        room_test(a_bare_checkpoint_is_recognised_by_its_tensors),
        room_test(a_backbone_without_prefix_gets_a_new_head),
        room_test(old_names_and_missing_counters_are_read),
        room_test(a_sharded_folder_is_read_as_one),
        room_test(a_config_alone_is_a_new_model),
        room_test(missing_and_misshaped_tensors_are_named),
        room_test(a_head_that_misfits_is_made_anew),
        room_test(tensors_without_a_place_are_listed),
        room_test(bad_configs_are_refused_by_name),
        room_test(bad_files_are_refused),
        room_test(labels_come_from_the_caller_first),
        room_test(values_are_set_and_got),
        room_test(from_scratch_a_checkpoint_tells_the_architecture_alone),
        room_test(the_cifar_checkpoint_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
