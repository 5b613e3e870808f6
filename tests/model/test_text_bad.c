/* Text folders that are wrong: one line that names the file and what is wrong, and nothing opened. */
#include "text_room.h"

/* A copy of a golden folder, to be damaged. */
static const char *copy(room *r, const char *name) {
    static const char *const files[] = {"config.json", "model.safetensors", "modules.json", "tokenizer.json",
                                        "1_Pooling/config.json"};
    const char *from = text_golden(r, name), *to = in_room(r, name);
    graft_err err = {0};
    if (graft_path_is_dir(to)) assert_ok(graft_dir_remove(to, &err));
    assert_ok(graft_dir_make(file_of(r, to, "1_Pooling"), &err));
    for (size_t i = 0; i < GRAFT_COUNT(files); i++) {
        const char *path = file_of(r, from, files[i]);
        if (graft_path_is_file(path)) assert_ok(graft_file_copy(path, file_of(r, to, files[i]), &err));
    }
    return to;
}

static void refuses(room *r, const char *folder, int code, const char *text) {
    graft_model *m = NULL;
    graft_err err = {0};
    assert_error(graft_model_open(&m, r->env, folder, NULL, &err), code, text);
    assert_null(m);
    assert_null(strchr(err.message, '\n'));
}

static void configs_that_do_not_fit_are_refused(void **state) {
    static const struct {
        const char *folder, *key, *value;
        int code;
        const char *text;
    } bad[] = {
        {"bert_classes", "vocab_size", "61", GRAFT_ESHAPE, "word_embeddings"},
        {"bert_classes", "vocab_size", "0", GRAFT_EFORMAT, "vocab_size"},
        {"bert_classes", "vocab_size", "\"many\"", GRAFT_EFORMAT, "vocab_size"},
        {"bert_classes", "hidden_size", "1000000000000", GRAFT_EFORMAT, "hidden_size"},
        {"bert_classes", "num_hidden_layers", "4000000000", GRAFT_EFORMAT, "num_hidden_layers"},
        {"bert_classes", "num_hidden_layers", "3", GRAFT_EDATA, "layer.2"},
        {"bert_classes", "num_attention_heads", "5", GRAFT_EFORMAT, "heads"},
        {"bert_classes", "num_attention_heads", "-4", GRAFT_EFORMAT, "num_attention_heads"},
        {"bert_classes", "max_position_embeddings", "41", GRAFT_ESHAPE, "position_embeddings"},
        {"bert_classes", "type_vocab_size", "9000", GRAFT_EFORMAT, "type_vocab_size"},
        {"bert_classes", "hidden_act", "\"mish\"", GRAFT_EUNSUPPORTED, "hidden_act"},
        {"bert_classes", "position_embedding_type", "\"relative_key\"", GRAFT_EUNSUPPORTED, "relative_key"},
        {"bert_classes", "id2label", "{\"5\": \"x\"}", GRAFT_EFORMAT, "id2label"},
        {"roberta_classes", "pad_token_id", "-3", GRAFT_EFORMAT, "pad_token_id"},
        {"roberta_classes", "pad_token_id", "9223372036854775807", GRAFT_EFORMAT, "pad_token_id"},
        {"roberta_classes", "pad_token_id", "60", GRAFT_EFORMAT, "pad_token_id"},
        {"distilbert_classes", "n_heads", "7", GRAFT_EFORMAT, "heads"},
        {"distilbert_classes", "dim", "28", GRAFT_ESHAPE, "word_embeddings"},
        {"gpt2_classes", "n_head", "5", GRAFT_EFORMAT, "heads"},
        {"gpt2_classes", "n_inner", "-1", GRAFT_EFORMAT, "n_inner"},
        {"gpt2_classes", "n_layer", "1e9", GRAFT_EFORMAT, "n_layer"},
        {"sentence_cls", "vocab_size", "50", GRAFT_EDATA, "tokenizer"},
    };
    room *r = *state;
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        const char *folder = copy(r, bad[i].folder);
        set_config(r, folder, bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        print_message("%s %s = %s\n", bad[i].folder, bad[i].key, bad[i].value);
        refuses(r, folder, bad[i].code, bad[i].text);
    }
}

static void tensors_that_do_not_fit_are_refused(void **state) {
    static const char *const name = "bert.encoder.layer.1.attention.self.key.weight";
    room *r = *state;
    const char *folder = copy(r, "bert_classes");
    graft_tensors ts = get_tensors(r, folder, 0);
    graft_tensor *t = tensor_named(&ts, name), kept = *t;
    t->dtype = GRAFT_I32;
    put_tensors(r, folder, &ts);
    refuses(r, folder, GRAFT_EDTYPE, name);
    folder = copy(r, "bert_classes");
    ts = get_tensors(r, folder, 0);
    t = tensor_named(&ts, name);
    t->shape = (graft_shape){2, {kept.shape.dims[0] * 2, kept.shape.dims[1] / 2}};
    put_tensors(r, folder, &ts);
    refuses(r, folder, GRAFT_ESHAPE, name);
    folder = copy(r, "bert_classes");
    ts = get_tensors(r, folder, 0);
    drop_tensor(&ts, name);
    put_tensors(r, folder, &ts);
    refuses(r, folder, GRAFT_EDATA, name);
}

static void module_lists_that_lead_astray_are_refused(void **state) {
    static const char type[] = "sentence_transformers.models.";
    room *r = *state;
    graft_err err = {0};
    const char *folder = copy(r, "sentence_cls"), *list = file_of(r, folder, "modules.json");
    static const struct {
        const char *path, *kind;
        int code;
        const char *text;
    } bad[] = {{"../../etc", "Pooling", GRAFT_EFORMAT, "leaves the folder"},
               {"/etc", "Pooling", GRAFT_EFORMAT, "leaves the folder"},
               {"1_Pooling/../..", "Dense", GRAFT_EFORMAT, "leaves the folder"},
               {"nowhere", "Pooling", GRAFT_EUNSUPPORTED, "pooling"},
               {"1_Pooling", "LSTM", GRAFT_EUNSUPPORTED, "LSTM"},
               {"1_Pooling", "Dense", GRAFT_EUNSUPPORTED, "Dense"}};
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        json_t *modules = json_pack("[{s:s, s:s+}]", "path", bad[i].path, "type", type, bad[i].kind);
        assert_ok(graft_json_write(list, modules, &err));
        json_decref(modules);
        refuses(r, folder, bad[i].code, bad[i].text);
    }
    graft_buf text;
    graft_buf_init(&text, 0);
    graft_buf_text(&text, "[{}");
    for (int i = 1; i < 1000000; i++) graft_buf_text(&text, ",{}");
    graft_buf_text(&text, "]");
    assert_ok(graft_file_write(list, text.data, text.size, &err));
    refuses(r, folder, GRAFT_EFORMAT, "modules.json");
    graft_buf_done(&text);
    graft_buf_init(&text, 0);
    for (int i = 0; i < 100000; i++) graft_buf_text(&text, "[");
    assert_ok(graft_file_write(list, text.data, text.size, &err));
    refuses(r, folder, GRAFT_EFORMAT, "modules.json");
    graft_buf_done(&text);
    assert_ok(graft_file_write(list, "{}", 2, &err));
    refuses(r, folder, GRAFT_EFORMAT, "list of modules");
}

static void a_list_without_pooling_is_no_sentence_model(void **state) {
    static const char list[] = "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"a.Transformer\"}]";
    room *r = *state;
    graft_err err = {0};
    const char *folder = copy(r, "bert_classes");
    assert_ok(graft_file_write(file_of(r, folder, "modules.json"), list, strlen(list), &err));
    graft_model *m = open_model(r, folder, NULL);
    assert_false(graft_model_text(m)->sentence);
    assert_false(graft_model_head_is_new(m));
    graft_model_close(m);
}

/* An index that points outside a table would read foreign memory. */
static void probes_that_point_outside_are_refused(void **state) {
    static const char *const names[] = {"input_ids", "token_type_ids", "position_ids", "spans"};
    static const int32_t values[] = {60, 2, 40, -1};
    room *r = *state;
    graft_err err = {0};
    graft_tensors gold;
    graft_verification v;
    assert_ok(graft_safetensors_open(&gold, r->arena, TEXT_GOLDEN "bert_classes/golden.safetensors", &err));
    const graft_feed feed = feed_of(r, &gold, "");
    const graft_save_info info = {.probe = &feed};
    graft_model *m = open_model(r, text_golden(r, "bert_classes"), NULL);
    const char *folder = in_room(r, "saved"), *path = file_of(r, folder, "graft_probe.safetensors");
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        assert_ok(graft_model_save(m, r->env, folder, &info, &err));
        graft_tensors ts = get_tensors(r, path, 0);
        graft_tensor *t = tensor_named(&ts, names[i]);
        int32_t *copy_of = graft_arena_alloc(r->arena, t->size);
        memcpy(copy_of, t->data, t->size);
        copy_of[1] = values[i];
        t->data = copy_of;
        const char *other = in_room(r, "other.safetensors");
        assert_ok(graft_safetensors_write(other, ts.items, ts.n_items, NULL, &err));
        assert_int_equal(rename(other, path), 0);
        assert_error(graft_model_verify(&v, r->env, folder, &err), GRAFT_EDATA, "no probe of this model");
    }
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(configs_that_do_not_fit_are_refused),
        room_test(tensors_that_do_not_fit_are_refused),
        room_test(module_lists_that_lead_astray_are_refused),
        room_test(a_list_without_pooling_is_no_sentence_model),
        room_test(probes_that_point_outside_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
