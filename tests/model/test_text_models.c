/* Text models against Transformers' and sentence-transformers' numbers in double precision
 * (tests/parity/README.md). */
#include "text_room.h"

static graft_tensors gold_of(room *r, const char *folder) {
    graft_tensors gold;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&gold, r->arena, file_of(r, folder, "golden.safetensors"), &err));
    return gold;
}

static size_t count_of(const graft_tensor *t) {
    int64_t n = 0;
    graft_shape_count(&t->shape, &n);
    return (size_t)n;
}

/* The model answers for each token, so that its features are the hidden states. */
static void answer_for_tokens(graft_model *m) {
    static const char *const names[] = {"O"};
    graft_err err = {0};
    assert_ok(graft_model_set_task(m, GRAFT_TASK_TAGGING, &err));
    assert_ok(graft_model_head(m, "linear", names, 1, 0, NULL, &err));
}

/* `folder`: another place of the golden model's files; NULL: their own. */
static void replay_in(room *r, const char *name, const char *folder, graft_precision dtype,
                      double tolerance) {
    graft_err err = {0};
    if (!folder) folder = text_golden(r, name);
    graft_tensors gold = gold_of(r, text_golden(r, name));
    const graft_feed feed = feed_of(r, &gold, "");
    const graft_tensor *want[3] = {tensor_named(&gold, "hidden"), tensor_named(&gold, "features"),
                                   tensor_or_null(&gold, "", "logits")};
    double d[3] = {0};
    for (int states = 0; states < 2; states++) {
        graft_model *m = open_model(r, folder, NULL);
        bool tags = graft_model_task(m) == GRAFT_TASK_TAGGING;
        if (states) answer_for_tokens(m);
        graft_infer_options o = GRAFT_INFER_OPTIONS_INIT;
        o.dtype = dtype;
        graft_infer *in = NULL;
        const float *features = NULL, *logits = NULL;
        assert_ok(graft_infer_new(&in, r->env, m, &o, &err));
        assert_ok(graft_infer_feed(in, &feed, 0, feed.n, feed.n, &features, &logits, &err));
        const graft_tensor *f = states || tags ? want[0] : want[1];
        d[states ? 0 : 1] = room_worst(features, f->data, count_of(f));
        if (!states && want[2]) {
            size_t n = 0;
            graft_model_labels(m, &n);
            assert_int_equal(n, want[2]->shape.dims[1]);
            d[2] = room_worst(logits, want[2]->data, count_of(want[2]));
        }
        graft_infer_free(in);
        graft_model_close(m);
    }
    print_message("%-20s hidden states %.1e features %.1e logits %.1e\n", name, d[0], d[1], d[2]);
    for (int i = 0; i < 3; i++)
        if (!(d[i] < tolerance)) fail_msg("%s: %.2e", name, d[i]);
}

static void replay(room *r, const char *name, graft_precision dtype, double tolerance) {
    replay_in(r, name, NULL, dtype, tolerance);
}

static void outputs_equal_those_of_transformers_and_sentence_transformers(void **state) {
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++)
        replay(*state, text_folders[i], GRAFT_PRECISION_FP32, 1e-5);
}

static void bf16_stays_near(void **state) {
    if (!graft_backend_has_bf16()) skip();
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++)
        replay(*state, text_folders[i], GRAFT_PRECISION_BF16, 0.04);
}

/* The texts of a feed in the order that `order` gives; *rows says which token each row was. */
static graft_feed shuffle(room *r, const graft_feed *from, const int *order, int32_t *rows) {
    graft_feed out = *from;
    graft_tensor *items = graft_arena_array(r->arena, from->n_token_inputs, sizeof *items);
    int32_t *spans = graft_arena_array(r->arena, 2 * (size_t)from->n, sizeof *spans), at = 0;
    for (int64_t i = 0; i < from->n; i++) {
        int32_t first = from->spans[2 * order[i]], n = from->spans[2 * order[i] + 1];
        spans[2 * i] = at;
        spans[2 * i + 1] = n;
        for (int32_t t = 0; t < n; t++) rows[at++] = first + t;
    }
    for (size_t i = 0; i < from->n_token_inputs; i++) {
        int32_t *ids = graft_arena_alloc(r->arena, from->token_inputs[i].size);
        for (int64_t t = 0; t < from->n_tokens; t++)
            memcpy(ids + t, (const char *)from->token_inputs[i].data + (size_t)rows[t] * sizeof *ids,
                   sizeof *ids);
        items[i] = from->token_inputs[i];
        items[i].data = ids;
    }
    out.token_inputs = items;
    out.spans = spans;
    return out;
}

static void the_order_of_texts_does_not_matter(void **state) {
    static const int order[] = {5, 0, 7, 2, 1, 6, 4, 3};
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++) {
        const char *folder = text_golden(r, text_folders[i]);
        graft_tensors gold = gold_of(r, folder);
        const graft_feed feed = feed_of(r, &gold, "");
        int32_t rows[128];
        assert_int_equal(feed.n, GRAFT_COUNT(order));
        assert_true(feed.n_tokens <= (int64_t)GRAFT_COUNT(rows));
        const graft_feed other = shuffle(r, &feed, order, rows);
        graft_model *m = open_model(r, folder, NULL);
        graft_infer *in = NULL;
        const float *features = NULL;
        assert_ok(graft_infer_new(&in, r->env, m, NULL, &err));
        assert_ok(graft_infer_feed(in, &other, 0, other.n, other.n, &features, NULL, &err));
        const graft_tensor *want = tensor_named(&gold, "features");
        bool tags = graft_model_task(m) == GRAFT_TASK_TAGGING;
        if (tags) want = tensor_named(&gold, "hidden");
        size_t width = (size_t)want->shape.dims[1];
        for (int64_t k = 0; k < want->shape.dims[0]; k++) {
            size_t row = (size_t)(tags ? rows[k] : order[k]);
            double d = room_worst(features + (size_t)k * width,
                                  (const char *)want->data + row * width * sizeof(float), width);
            if (!(d < 1e-5)) fail_msg("%s: row %d differs by %.2e", text_folders[i], (int)k, d);
        }
        graft_infer_free(in);
        graft_model_close(m);
    }
}

/* Ids that a program holds beyond the texts' tokens are not looked at, whatever they are. */
static void poison(const graft_program *p, const graft_feed *feed) {
    for (size_t i = 0; i < feed->n_token_inputs; i++) {
        size_t size = 0;
        int32_t *to = graft_program_input(p, feed->token_inputs[i].name, &size);
        for (int64_t t = feed->n_tokens; to && t < (int64_t)(size / sizeof *to); t++)
            to[t] = strcmp(feed->token_inputs[i].name, "token_type_ids") ? 7 : 0;
    }
}

static void rows_beyond_the_texts_change_nothing(void **state) {
    room *r = *state;
    graft_err err = {0};
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++) {
        const char *folder = text_golden(r, text_folders[i]);
        graft_tensors gold = gold_of(r, folder);
        const graft_feed feed = feed_of(r, &gold, "");
        graft_model *m = open_model(r, folder, NULL);
        graft_graph *g = NULL;
        graft_state *values = NULL;
        graft_program *p = NULL;
        assert_ok(graft_model_graph(&g, r->arena, m, 0, 0, &err));
        assert_ok(graft_graph_check(g, &err));
        assert_ok(graft_state_new(&values, r->env, &err));
        const graft_compile_options o = {.batch = feed.n + 3, .tokens = feed.n_tokens + 11};
        assert_ok(graft_program_compile(&p, g, values, &o, &err));
        assert_ok(graft_program_feed(p, &feed, 0, feed.n, &err));
        poison(p, &feed);
        assert_ok(graft_program_run(p, &err));
        bool tags = graft_model_task(m) == GRAFT_TASK_TAGGING;
        const graft_tensor *want = tensor_named(&gold, tags ? "hidden" : "features");
        size_t n = 0, rows = (size_t)(tags ? o.tokens : o.batch);
        const float *features = graft_program_output(p, "features", &n);
        assert_int_equal(n, rows * (size_t)want->shape.dims[1]);
        double d = room_worst(features, want->data, count_of(want));
        if (!(d < 1e-5)) fail_msg("%s: %.2e", text_folders[i], d);
        for (size_t k = 0; k < n; k++) assert_true(isfinite(features[k]));
        graft_program_free(p);
        graft_state_free(values);
        graft_model_close(m);
    }
}

static void parts_of_a_feed_answer_as_the_whole_does(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *folder = text_golden(r, "bert_classes");
    graft_tensors gold = gold_of(r, folder);
    const graft_feed feed = feed_of(r, &gold, "");
    const graft_tensor *want = tensor_named(&gold, "logits");
    size_t k = (size_t)want->shape.dims[1];
    graft_model *m = open_model(r, folder, NULL);
    graft_infer *in = NULL;
    assert_ok(graft_infer_new(&in, r->env, m, NULL, &err));
    for (int64_t size = 1; size <= 3; size++) {
        for (int64_t first = 0; first < feed.n; first += size) {
            int64_t n = feed.n - first < size ? feed.n - first : size;
            const float *logits = NULL;
            assert_ok(graft_infer_feed(in, &feed, first, n, size, NULL, &logits, &err));
            assert_true(room_worst(logits, (const float *)want->data + (size_t)first * k, (size_t)n * k) <
                        1e-5);
        }
    }
    graft_infer_free(in);
    graft_model_close(m);
}

static void what_the_files_say_is_read(void **state) {
    static const struct {
        const char *name, *family;
        graft_task task;
        graft_span_kind pooling;
        bool unit, sentence;
        int64_t longest, offset;
    } want[] = {
        {"bert_classes", "bert", GRAFT_TASK_CLASSES, GRAFT_SPAN_FIRST, false, false, 40, 0},
        {"bert_bare", "bert", GRAFT_TASK_CLASSES, GRAFT_SPAN_FIRST, false, false, 40, 0},
        {"bert_tags", "bert", GRAFT_TASK_TAGGING, GRAFT_SPAN_FIRST, false, false, 40, 0},
        {"bert_regression", "bert", GRAFT_TASK_REGRESSION, GRAFT_SPAN_FIRST, false, false, 40, 0},
        {"bert_multilabel", "bert", GRAFT_TASK_MULTILABEL, GRAFT_SPAN_FIRST, false, false, 40, 0},
        {"roberta_classes", "roberta", GRAFT_TASK_CLASSES, GRAFT_SPAN_FIRST, false, false, 40, 2},
        {"xlm_roberta_tags", "roberta", GRAFT_TASK_TAGGING, GRAFT_SPAN_FIRST, false, false, 40, 2},
        {"distilbert_tags", "distilbert", GRAFT_TASK_TAGGING, GRAFT_SPAN_FIRST, false, false, 40, 0},
        {"gpt2_classes", "gpt2", GRAFT_TASK_CLASSES, GRAFT_SPAN_LAST, false, false, 40, 0},
        {"sentence_mean_unit", "bert", GRAFT_TASK_CLASSES, GRAFT_SPAN_MEAN, true, true, 40, 0},
        {"sentence_cls", "bert", GRAFT_TASK_CLASSES, GRAFT_SPAN_FIRST, false, true, 24, 0},
        {"sentence_max_unit", "bert", GRAFT_TASK_CLASSES, GRAFT_SPAN_MAX, true, true, 24, 0},
    };
    room *r = *state;
    for (size_t i = 0; i < GRAFT_COUNT(want); i++) {
        graft_model *m = open_model(r, text_golden(r, want[i].name), NULL);
        const graft_text_rules *text = graft_model_text(m);
        assert_string_equal(graft_model_family(m), want[i].family);
        assert_int_equal(graft_model_modality(m), GRAFT_TEXTS);
        assert_int_equal(graft_model_task(m), want[i].task);
        assert_int_equal(text->pooling, want[i].pooling);
        assert_int_equal(text->unit, want[i].unit);
        assert_int_equal(text->sentence, want[i].sentence);
        assert_int_equal(text->max_length, want[i].longest);
        assert_int_equal(text->position_offset, want[i].offset);
        graft_model_close(m);
    }
}

static void what_old_files_hold_besides_is_passed_over(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, text_golden(r, "bert_old"), NULL);
    assert_false(graft_model_head_is_new(m));
    assert_null(strstr(r->log.size ? r->log.data : "", "warning"));
    graft_model_close(m);
}

/* sentence-transformers before version 2 wrote a model so; the family named the class, and the length. */
static void a_transformer_in_a_folder_of_its_own_is_found(void **state) {
    static const char modules[] = "[{\"idx\": 0, \"name\": \"0\", \"path\": \"0_BERT\", \"type\": "
                                  "\"sentence_transformers.models.BERT\"},"
                                  "{\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": "
                                  "\"sentence_transformers.models.Pooling\"},"
                                  "{\"idx\": 2, \"name\": \"2\", \"path\": \"2_Normalize\", \"type\": "
                                  "\"sentence_transformers.models.Normalize\"}]";
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    room *r = *state;
    graft_err err = {0};
    const char *from = text_golden(r, "sentence_mean_unit"), *old = in_room(r, "old"),
               *inner = file_of(r, old, "0_BERT"), *pooling = file_of(r, old, "1_Pooling");
    assert_ok(graft_dir_make(inner, &err));
    assert_ok(graft_dir_make(pooling, &err));
    for (size_t i = 0; i < GRAFT_COUNT(files); i++)
        assert_ok(graft_file_copy(file_of(r, from, files[i]), file_of(r, inner, files[i]), &err));
    assert_ok(
        graft_file_copy(file_of(r, from, "1_Pooling/config.json"), file_of(r, pooling, "config.json"), &err));
    assert_ok(graft_file_write(file_of(r, old, "modules.json"), modules, strlen(modules), &err));
    static const char length[] = "{\"max_seq_length\": 17}";
    assert_ok(graft_file_write(file_of(r, inner, "sentence_bert_config.json"), length, strlen(length), &err));
    replay_in(r, "sentence_mean_unit", old, GRAFT_PRECISION_FP32, 1e-5);
    graft_model *m = open_model(r, old, NULL);
    const graft_tokenizer *t;
    assert_int_equal(graft_model_text(m)->max_length, 17);
    assert_ok(graft_model_tokenizer(&t, m, &err));
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(outputs_equal_those_of_transformers_and_sentence_transformers),
        room_test(bf16_stays_near),
        room_test(the_order_of_texts_does_not_matter),
        room_test(rows_beyond_the_texts_change_nothing),
        room_test(parts_of_a_feed_answer_as_the_whole_does),
        room_test(what_the_files_say_is_read),
        room_test(what_old_files_hold_besides_is_passed_over),
        room_test(a_transformer_in_a_folder_of_its_own_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
