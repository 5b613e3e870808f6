/* What is saved of a text model: the same bytes, the same answers, other heads, sentence-transformers' side
 * files. */
#include "text_room.h"

static const char *save(room *r, const graft_model *m, const char *name, const graft_feed *probe) {
    const char *to = in_room(r, name);
    graft_err err = {0};
    const graft_save_info info = {.probe = probe};
    assert_ok(graft_model_save(m, r->env, to, &info, &err));
    return to;
}

static graft_tensors tensors_in(room *r, const char *folder, const char *file) {
    graft_tensors ts;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&ts, r->arena, file_of(r, folder, file), &err));
    return ts;
}

/* The name that a tensor of a golden folder has in what is saved; NULL: it says nothing that is needed. */
static const char *saved_name(room *r, const char *folder, const char *name) {
    if (strstr(name, "position_ids") || !strncmp(name, "cls.", 4)) return NULL;
    const char *end = strrchr(name, '.');
    if (!strcmp(end, ".gamma"))
        name = graft_arena_printf(r->arena, "%.*s.weight", (int)(end - name), name);
    else if (!strcmp(end, ".beta"))
        name = graft_arena_printf(r->arena, "%.*s.bias", (int)(end - name), name);
    bool bare = !strcmp(folder, "bert_bare") || !strncmp(folder, "sentence", 8);
    return bare ? graft_arena_printf(r->arena, "bert.%s", name) : name;
}

static void what_is_loaded_is_saved_byte_for_byte(void **state) {
    room *r = *state;
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++) {
        const char *name = text_folders[i];
        graft_model *m = open_model(r, text_golden(r, name), NULL);
        const char *to = save(r, m, name, NULL);
        graft_tensors before = tensors_in(r, text_golden(r, name), "model.safetensors"),
                      after = tensors_in(r, to, "model.safetensors");
        size_t n = 0;
        for (size_t k = 0; k < before.n_items; k++) {
            const graft_tensor *t = &before.items[k], *u;
            const char *published = saved_name(r, name, t->name);
            if (!published) continue;
            u = tensor_named(&after, published);
            assert_int_equal(u->dtype, t->dtype);
            assert_true(graft_shape_equal(&u->shape, &t->shape));
            assert_memory_equal(u->data, t->data, t->size);
            n++;
        }
        /* a backbone alone gets a head: two classes' weights and biases; and what lies before it */
        assert_int_equal(after.n_items, n + (strcmp(name, "bert_bare") ? 0 : 2));
        graft_model_close(m);
    }
}

/* Every folder, saved with probes and opened again, answers as before to the bit. */
static void what_is_saved_answers_the_same(void **state) {
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++) {
        const char *name = text_folders[i];
        graft_model *m = open_model(r, text_golden(r, name), NULL);
        graft_tensors gold = tensors_in(r, text_golden(r, name), "golden.safetensors");
        const graft_feed feed = feed_of(r, &gold, "");
        const char *to = save(r, m, name, &feed);
        graft_verification v;
        assert_ok(graft_model_verify(&v, r->env, to, &err));
        assert_int_equal(v.n_differ, 0);
        assert_true(v.max_difference == 0.0);
        graft_model *again = open_model(r, to, NULL);
        assert_int_equal(graft_model_task(again), graft_model_task(m));
        assert_false(graft_model_head_is_new(again));
        assert_memory_equal(graft_model_text(again), graft_model_text(m), sizeof(graft_text_rules));
        const char *twice = save(r, again, "twice", &feed);
        const char *const files[] = {"config.json", "model.safetensors", "graft_probe.safetensors"};
        for (size_t k = 0; k < GRAFT_COUNT(files); k++) {
            char *one, *two;
            size_t n = 0, size = 0;
            assert_ok(graft_file_read(&one, &n, r->arena, file_of(r, to, files[k]), 1 << 24, &err));
            assert_ok(graft_file_read(&two, &size, r->arena, file_of(r, twice, files[k]), 1 << 24, &err));
            assert_int_equal(n, size);
            assert_memory_equal(one, two, n);
        }
        assert_ok(graft_dir_remove(twice, &err));
        graft_model_close(again);
        graft_model_close(m);
    }
}

static void a_model_is_saved_as_one_for_another_task(void **state) {
    static const char *const names[] = {"O", "B-x", "I-x"};
    static const struct {
        const char *folder;
        graft_task task;
        const char *class, *problem;
        size_t n;
    } want[] = {
        {"bert_classes", GRAFT_TASK_TAGGING, "BertForTokenClassification", NULL, 3},
        {"bert_tags", GRAFT_TASK_CLASSES, "BertForSequenceClassification", "single_label_classification", 3},
        {"bert_multilabel", GRAFT_TASK_REGRESSION, "BertForSequenceClassification", "regression", 1},
        {"roberta_classes", GRAFT_TASK_MULTILABEL, "RobertaForSequenceClassification",
         "multi_label_classification", 2},
        {"xlm_roberta_tags", GRAFT_TASK_CLASSES, "XLMRobertaForSequenceClassification",
         "single_label_classification", 2},
        {"distilbert_classes", GRAFT_TASK_TAGGING, "DistilBertForTokenClassification", NULL, 3},
        {"sentence_mean_unit", GRAFT_TASK_TAGGING, "BertForTokenClassification", NULL, 3},
        {"gpt2_scaled", GRAFT_TASK_CLASSES, "GPT2ForSequenceClassification", "single_label_classification",
         3},
    };
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(want); i++) {
        graft_model *m = open_model(r, text_golden(r, want[i].folder), NULL);
        assert_ok(graft_model_set_task(m, want[i].task, &err));
        assert_ok(graft_model_head(m, "linear", names, want[i].n, 5, NULL, &err));
        const char *to = save(r, m, want[i].folder, NULL);
        json_t *config = read_json(r, file_of(r, to, "config.json"));
        const char *problem = json_string_value(json_object_get(config, "problem_type"));
        assert_string_equal(json_string_value(json_array_get(json_object_get(config, "architectures"), 0)),
                            want[i].class);
        assert_string_equal(problem ? problem : "", want[i].problem ? want[i].problem : "");
        assert_int_equal(json_object_size(json_object_get(config, "id2label")), want[i].n);
        graft_model *again = open_model(r, to, NULL);
        assert_int_equal(graft_model_task(again), want[i].task);
        assert_false(graft_model_head_is_new(again));
        graft_model_close(again);
        graft_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(what_is_loaded_is_saved_byte_for_byte),
        room_test(what_is_saved_answers_the_same),
        room_test(a_model_is_saved_as_one_for_another_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
