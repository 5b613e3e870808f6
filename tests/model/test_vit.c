/* ViT and DeiT as Transformers and timm write them: answers, names of either kind, sizes, configs that are
 * wrong. */
#include "model_room.h"

static const char *const vit_folders[] = {"vit_small", "vit_odd", "vit_bare", "deit_small", "timm_small"};

static const char *vit_golden(room *r, const char *name) {
    return graft_arena_printf(r->arena, "tests/parity/vit/%s", name);
}

/* The largest difference of features and, where there is a head, of logits. */
static double far(room *r, graft_model *m, const char *name, graft_precision precision) {
    graft_err err = {0};
    graft_tensors gold;
    graft_infer *in = NULL;
    assert_ok(
        graft_safetensors_open(&gold, r->arena, file_of(r, vit_golden(r, name), "golden.safetensors"), &err));
    const graft_tensor *x = tensor_named(&gold, "input"), *f = tensor_named(&gold, "pooled"),
                       *z = graft_tensors_find(&gold, "logits");
    const graft_infer_options o = {x->shape.dims[2], x->shape.dims[3], precision};
    assert_ok(graft_infer_new(&in, r->env, m, &o, &err));
    float *features = graft_arena_alloc(r->arena, f->size),
          *logits = graft_arena_array(r->arena, 3 * 5, sizeof *logits);
    assert_ok(graft_infer_run(in, x->data, 3, features, logits, &err));
    graft_program_memory needs;
    assert_ok(graft_infer_needs(in, 3, 0, &needs, &err));
    assert_int_equal(needs.n_reference, 0);
    double d = room_worst(features, f->data, f->size / 4), k = z ? room_worst(logits, z->data, 3 * 5) : 0;
    graft_infer_free(in);
    return d > k ? d : k;
}

static void outputs_equal_those_of_transformers_and_timm(void **state) {
    room *r = *state;
    for (size_t i = 0; i < GRAFT_COUNT(vit_folders); i++) {
        graft_model *m = open_model(r, vit_golden(r, vit_folders[i]), NULL);
        double single = far(r, m, vit_folders[i], GRAFT_PRECISION_FP32),
               half = far(r, m, vit_folders[i], GRAFT_PRECISION_BF16);
        print_message("%-12s %.1e, bf16 %.1e\n", vit_folders[i], single, half);
        assert_true(single < 1e-5 && half < 0.05);
        assert_int_equal(graft_model_head_is_new(m), strcmp(vit_folders[i], "vit_bare") == 0);
        graft_model_close(m);
    }
}

static const char *copied(room *r, const char *name, const char *to) {
    static const char *const files[] = {"config.json", "preprocessor_config.json", "model.safetensors"};
    const char *dir = in_room(r, to);
    graft_err err = {0};
    assert_ok(graft_dir_make(dir, &err));
    for (size_t i = 0; i < GRAFT_COUNT(files); i++)
        assert_ok(
            graft_file_copy(file_of(r, vit_golden(r, name), files[i]), file_of(r, dir, files[i]), &err));
    return dir;
}

static const char *in_memory(room *r, const char *name) {
    static const struct {
        const char *disk, *memory;
    } parts[] = {{".encoder.layer.", ".layers."},
                 {".attention.attention.query.", ".attention.q_proj."},
                 {".attention.attention.key.", ".attention.k_proj."},
                 {".attention.attention.value.", ".attention.v_proj."},
                 {".attention.output.dense.", ".attention.o_proj."},
                 {".intermediate.dense.", ".mlp.fc1."},
                 {".output.dense.", ".mlp.fc2."}};
    for (size_t i = 0; i < GRAFT_COUNT(parts); i++) {
        const char *at = strstr(name, parts[i].disk);
        if (at)
            name = graft_arena_printf(r->arena, "%.*s%s%s", (int)(at - name), name, parts[i].memory,
                                      at + strlen(parts[i].disk));
    }
    return name;
}

static void names_in_memory_are_read_and_those_on_disk_written(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *dir = copied(r, "vit_small", "renamed"), *out = in_room(r, "out");
    graft_tensors ts = get_tensors(r, dir, 0), written, own;
    size_t n_renamed = 0;
    for (size_t i = 0; i < ts.n_items; i++) {
        const char *name = in_memory(r, ts.items[i].name);
        n_renamed += strcmp(name, ts.items[i].name) != 0;
        ts.items[i].name = name;
    }
    assert_int_equal(n_renamed, 3 * 16);
    put_tensors(r, dir, &ts);
    graft_model *m = open_model(r, dir, NULL);
    assert_null(r->log.data && r->log.size ? strstr(r->log.data, "not part of the model") : NULL);
    assert_true(far(r, m, "vit_small", GRAFT_PRECISION_FP32) < 1e-5);
    assert_ok(graft_model_save(m, r->env, out, NULL, &err));
    graft_model_close(m);
    assert_ok(graft_tensors_open(&written, r->arena, out, &err));
    assert_ok(graft_tensors_open(&own, r->arena, vit_golden(r, "vit_small"), &err));
    assert_int_equal(written.n_items, own.n_items);
    for (size_t i = 0; i < own.n_items; i++) {
        const graft_tensor *t = tensor_named(&written, own.items[i].name);
        assert_memory_equal(t->data, own.items[i].data, t->size);
    }
    /* one layer under both names is one too many */
    ts = get_tensors(r, dir, 1);
    ts.items[ts.n_items] = *tensor_named(&ts, "vit.layers.0.mlp.fc1.weight");
    ts.items[ts.n_items++].name = "vit.encoder.layer.0.intermediate.dense.weight";
    put_tensors(r, dir, &ts);
    assert_error(graft_model_open(&m, r->env, dir, NULL, &err), GRAFT_EDATA, "are both");
}

static void a_pooler_is_left_without_a_word(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, vit_golden(r, "vit_bare"), NULL);
    graft_model_close(m);
    assert_null(strstr(r->log.data, "not part of the model"));
}

static void stages_are_embeddings_and_layers(void **state) {
    room *r = *state;
    static const char *const stages[] = {"embeddings", "layer0", "layer1", "layer2", "head"};
    graft_model *m = open_model(r, vit_golden(r, "vit_small"), NULL);
    assert_int_equal(graft_model_n_stages(m), GRAFT_COUNT(stages));
    for (size_t i = 0; i < GRAFT_COUNT(stages); i++)
        assert_string_equal(graft_model_stage_name(m, i), stages[i]);
    assert_int_equal(graft_model_param_stage(m, "vit.embeddings.cls_token"), 0);
    assert_int_equal(graft_model_param_stage(m, "vit.layernorm.weight"), 3);
    graft_model_close(m);
}

/* ---- Sizes ------------------------------------------------------------------------------------------------ */

static void pictures_are_of_the_models_size_alone(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_graph *g = NULL;
    const char *dir = copied(r, "vit_small", "sized");
    graft_model *m = open_model(r, dir, NULL);
    graft_preprocess p = *graft_model_preprocess(m);
    int height = 0, width = 0;
    assert_error(graft_model_graph(&g, r->arena, m, 40, 32, &err), GRAFT_EUSAGE, "32 x 32, not of 40 x 32");
    p.height = 48;
    assert_error(graft_model_set_preprocess(m, &p, &err), GRAFT_EUSAGE, "pictures of 32 x 32");
    p.mode = GRAFT_RESIZE_NONE;
    assert_error(graft_model_set_preprocess(m, &p, &err), GRAFT_EUSAGE, "keeps each one's size");
    graft_model_close(m);
    /* a description that says otherwise gives way, and so does one that keeps each picture's size */
    static const char *const says[] = {
        "{\"image_processor_type\": \"DeiTImageProcessor\"}",
        "{\"image_processor_type\": \"ViTImageProcessor\", \"do_resize\": false}"};
    for (size_t i = 0; i < GRAFT_COUNT(says); i++) {
        graft_buf_clear(&r->log);
        json_t *o = json_loads(says[i], 0, NULL);
        assert_ok(graft_json_write(file_of(r, dir, "preprocessor_config.json"), o, &err));
        json_decref(o);
        m = open_model(r, dir, NULL);
        assert_true(graft_model_input_size(m, &height, &width));
        assert_true(height == 32 && width == 32);
        assert_int_equal(r->log.size > 0 && strstr(r->log.data, "of 224 x 224") != NULL, i == 0);
        assert_true(graft_model_preprocess_is_changed(m));
        graft_model_close(m);
    }
}

/* ---- Files that are less, or wrong ------------------------------------------------------------------------- */

static void shapes_tell_what_a_config_would(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char sizes[] = "\"hidden_size\": 64, \"num_attention_heads\": 1, \"num_hidden_layers\": 2, "
                                "\"intermediate_size\": 16, \"image_size\": 24, \"patch_size\": 8}",
                      args[] = "\"model_args\": {\"embed_dim\": 64, \"num_heads\": 1, \"depth\": 2, "
                               "\"mlp_ratio\": 0.3, \"img_size\": 24, \"patch_size\": 8}}";
    static const struct {
        const char *family, *begins, *rest;
    } cases[] = {{"vit", "{\"model_type\": \"vit\", ", sizes},
                 {"deit", "{\"model_type\": \"deit\", ", sizes},
                 {"vit_timm", "{\"architecture\": \"vit_tiny_patch16_224.x\", ", args}};
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        const char *config = in_room(r, "config.json"), *out = in_room(r, cases[i].family);
        const char *text = graft_arena_printf(r->arena, "%s%s", cases[i].begins, cases[i].rest);
        json_t *o = json_loads(text, 0, NULL);
        assert_non_null(o);
        assert_ok(graft_json_write(config, o, &err));
        json_decref(o);
        graft_model *m = open_model(r, config, NULL);
        assert_ok(graft_model_save(m, r->env, out, NULL, &err));
        size_t n = graft_model_n_params(m);
        graft_model_close(m);
        m = open_model(r, file_of(r, out, "model.safetensors"), NULL);
        graft_model_close(m);
        assert_int_equal(remove(file_of(r, out, "config.json")), 0);
        m = open_model(r, file_of(r, out, "model.safetensors"), NULL);
        assert_string_equal(graft_model_family(m), cases[i].family);
        assert_int_equal(graft_model_n_params(m), n);
        int height = 0, width = 0;
        assert_true(graft_model_input_size(m, &height, &width));
        assert_true(height == 24 && width == 24);
        assert_ok(graft_model_save(m, r->env, out, NULL, &err)); /* with a config that says all of it */
        graft_model_close(m);
        m = open_model(r, out, NULL);
        assert_int_equal(graft_model_n_params(m), n);
        graft_model_close(m);
    }
}

static void configs_that_are_wrong_are_said(void **state) {
    room *r = *state;
    static const struct {
        const char *key, *value;
        int code;
        const char *says;
    } cases[] = {
        {"patch_size", "0", GRAFT_EFORMAT, "patch_size has to be of integers between 1"},
        {"patch_size", "-8", GRAFT_EFORMAT, "patch_size"},
        {"patch_size", "[8, 0]", GRAFT_EFORMAT, "patch_size"},
        {"patch_size", "[8, 8, 8]", GRAFT_EFORMAT, "a list of 1 to 2 integers"},
        {"patch_size", "\"8\"", GRAFT_EFORMAT, "patch_size"},
        {"patch_size", "33", GRAFT_EFORMAT, "no patch of 33 x 33 fits into a picture of 32 x 32"},
        {"patch_size", "[8, 40]", GRAFT_EFORMAT, "no patch of 8 x 40"},
        {"patch_size", "4", GRAFT_ESHAPE, "shape"},
        {"image_size", "31", GRAFT_ESHAPE, "position_embeddings"},
        {"image_size", "0", GRAFT_EFORMAT, "image_size"},
        {"image_size", "100000", GRAFT_EFORMAT, "image_size has to be"},
        {"image_size", "65535", GRAFT_EUNSUPPORTED, "67092482 tokens"},
        {"num_attention_heads", "5", GRAFT_EFORMAT, "5 heads do not divide a width of 32"},
        {"num_attention_heads", "0", GRAFT_EFORMAT, "num_attention_heads"},
        {"num_hidden_layers", "1001", GRAFT_EFORMAT, "num_hidden_layers"},
        {"num_hidden_layers", "4", GRAFT_EDATA, "vit.encoder.layer.3."},
        {"hidden_size", "36", GRAFT_ESHAPE, "shape"},
        {"hidden_size", "1e9", GRAFT_EFORMAT, "hidden_size"},
        {"intermediate_size", "9999999", GRAFT_EFORMAT, "intermediate_size"},
        {"hidden_act", "\"mish\"", GRAFT_EUNSUPPORTED, "hidden_act 'mish' is not supported"},
        {"layer_norm_eps", "0", GRAFT_EFORMAT, "layer_norm_eps"},
        {"hidden_dropout_prob", "1", GRAFT_EFORMAT, "hidden_dropout_prob"},
        {"attention_probs_dropout_prob", "-0.5", GRAFT_EFORMAT, "attention_probs_dropout_prob"},
        {"num_channels", "2", GRAFT_EUNSUPPORTED, "2 channels"},
        {"qkv_bias", "3", GRAFT_EFORMAT, "qkv_bias"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_err err = {0};
        graft_model *m = NULL;
        const char *dir = copied(r, "vit_small", "wrong");
        set_config(r, dir, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        int rc = graft_model_open(&m, r->env, dir, NULL, &err);
        if (rc != cases[i].code || !strstr(err.message, cases[i].says) || strchr(err.message, '\n'))
            fail_msg("%s %s: %d '%s', not '%s'", cases[i].key, cases[i].value, rc, err.message,
                     cases[i].says);
    }
}

static void configs_of_timm_that_are_wrong_are_said(void **state) {
    room *r = *state;
    static const struct {
        const char *architecture, *args;
        int code;
        const char *says;
    } cases[] = {
        {"vit_base_patch16_clip_224", "{}", GRAFT_EUNSUPPORTED, "is not supported"},
        {"vit_base_patch0_224", "{}", GRAFT_EUNSUPPORTED, "is not supported"},
        {"vit_base_patch16_99999999999999999999", "{}", GRAFT_EUNSUPPORTED, "is not supported"},
        {"vit_tiny_patch16_224", "[]", GRAFT_EFORMAT, "model_args is not an object"},
        {"vit_tiny_patch16_224", "{\"reg_tokens\": 4}", GRAFT_EUNSUPPORTED, "'reg_tokens'"},
        {"vit_tiny_patch16_224", "{\"global_pool\": \"avg\"}", GRAFT_EUNSUPPORTED, "global_pool 'avg'"},
        {"vit_tiny_patch16_224", "{\"patch_size\": 0}", GRAFT_EFORMAT, "patch_size"},
        {"vit_tiny_patch16_224", "{\"patch_size\": 300}", GRAFT_EFORMAT, "no patch of 300 x 300"},
        {"vit_tiny_patch16_224", "{\"num_heads\": 5}", GRAFT_EFORMAT, "5 heads do not divide"},
        {"vit_tiny_patch16_224", "{\"mlp_ratio\": 0}", GRAFT_EFORMAT, "mlp_ratio 0"},
        {"vit_tiny_patch16_224", "{\"mlp_ratio\": 1e300}", GRAFT_EFORMAT, "mlp_ratio"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_err err = {0};
        graft_model *m = NULL;
        const char *config = in_room(r, "config.json");
        json_t *o = json_object();
        json_object_set_new(o, "architecture", json_string(cases[i].architecture));
        json_object_set_new(o, "model_args", json_loads(cases[i].args, 0, NULL));
        assert_ok(graft_json_write(config, o, &err));
        json_decref(o);
        int rc = graft_model_open(&m, r->env, config, NULL, &err);
        if (rc != cases[i].code || !strstr(err.message, cases[i].says) || strchr(err.message, '\n'))
            fail_msg("%s %s: %d '%s', not '%s'", cases[i].architecture, cases[i].args, rc, err.message,
                     cases[i].says);
    }
}

static void a_saved_folder_replays_its_probes(void **state) {
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(vit_folders); i++) {
        graft_tensors gold;
        graft_verification v;
        const char *from = vit_golden(r, vit_folders[i]), *out = in_room(r, "saved");
        graft_model *m = open_model(r, from, NULL);
        assert_ok(graft_safetensors_open(&gold, r->arena, file_of(r, from, "golden.safetensors"), &err));
        graft_tensor probe = *tensor_named(&gold, "input");
        probe.name = "pixel_values";
        const graft_feed feed = {.n = probe.shape.dims[0], .inputs = &probe, .n_inputs = 1};
        const graft_save_info info = {.probe = &feed};
        assert_ok(graft_model_save(m, r->env, out, &info, &err));
        assert_ok(graft_model_verify(&v, r->env, out, &err));
        assert_true(v.n_differ == 0 && v.max_logit > 0);
        graft_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(outputs_equal_those_of_transformers_and_timm),
        room_test(names_in_memory_are_read_and_those_on_disk_written),
        room_test(a_pooler_is_left_without_a_word),
        room_test(stages_are_embeddings_and_layers),
        room_test(pictures_are_of_the_models_size_alone),
        room_test(shapes_tell_what_a_config_would),
        room_test(configs_that_are_wrong_are_said),
        room_test(configs_of_timm_that_are_wrong_are_said),
        room_test(a_saved_folder_replays_its_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
