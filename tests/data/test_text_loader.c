#include "data/data_files.h"
#include <math.h>

/* WordPiece over single letters: a word of k letters is k tokens. */
static graft_tokenizer *letters(graft_err *err) {
    static const char head[] =
        "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
        "{\"id\": 0, \"content\": \"[PAD]\", \"special\": true, \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false}], \"normalizer\": null, \"pre_tokenizer\": {\"type\": "
        "\"Whitespace\"}, \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": ["
        "{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
        "\"type_id\": 0}}, "
        "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}], \"pair\": ["
        "{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
        "\"type_id\": 0}}, "
        "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", "
        "\"type_id\": 1}}, "
        "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 1}}], \"special_tokens\": {"
        "\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [2], \"tokens\": [\"[CLS]\"]}, "
        "\"[SEP]\": {\"id\": \"[SEP]\", \"ids\": [3], \"tokens\": [\"[SEP]\"]}}}, \"decoder\": null, "
        "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": "
        "\"##\", "
        "\"max_input_chars_per_word\": 100, \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": "
        "3";
    char json[4096];
    size_t used = (size_t)snprintf(json, sizeof json, "%s", head);
    for (int i = 0; i < 26; i++)
        used += (size_t)snprintf(json + used, sizeof json - used, ", \"%c\": %d, \"##%c\": %d", 'a' + i,
                                 4 + i, 'a' + i, 30 + i);
    used += (size_t)snprintf(json + used, sizeof json - used, "}}}");
    graft_tokenizer *t = NULL;
    if (graft_tokenizer_parse(&t, json, used, "letters", err) < 0) fail_msg("%s", err->message);
    return t;
}

typedef struct work {
    graft_tokenizer *tokenizer;
    graft_transform transform;
    graft_batches batches;
    graft_batch batch;
} work;

static void work_init(work *w, bench *b, int64_t max_length, int32_t position_offset) {
    *w = (work){.tokenizer = letters(&b->err)};
    const graft_text_transform text = {w->tokenizer, max_length, position_offset};
    assert_int_equal(graft_transform_init_text(&w->transform, &text, &b->err), 0);
}

static void work_done(work *w, graft_data *d) {
    graft_batches_close(&w->batches);
    graft_data_close(d);
    graft_tokenizer_close(w->tokenizer);
}

static void work_open(work *w, bench *b, graft_data *d, const graft_loader_options *o) {
    graft_batches_close(&w->batches);
    if (graft_loader_open(&w->batches, d, &w->transform, o, &b->err) < 0) fail_msg("%s", b->err.message);
    assert_int_equal(w->batches.begin(w->batches.self, 0, 0, &b->err), 0);
}

static const int32_t *input(const graft_batch *b, size_t k, const char *name) {
    assert_true(k < b->n_token_inputs);
    const graft_tensor *t = &b->token_inputs[k];
    assert_string_equal(t->name, name);
    assert_int_equal(t->dtype, GRAFT_I32);
    assert_int_equal(t->shape.rank, 1);
    assert_int_equal(t->shape.dims[0], b->n_tokens);
    assert_int_equal(t->size, (size_t)b->n_tokens * sizeof(int32_t));
    return t->data;
}

static graft_data *open_text(bench *b, const char *name, const char *text, graft_task task) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.modality = GRAFT_TEXTS;
    o.task = task;
    o.labels = GRAFT_LABELS_NEEDED;
    o.max_bad = 0.5;
    o.validation = -1;
    bench_text(b, name, text);
    return bench_open(b, name, &o);
}

/* Every sample of the batch against what the tokenizer says of it alone. */
static void expect_batch(const work *w, const graft_data *d, graft_err *err) {
    const graft_batch *b = &w->batch;
    const int32_t *ids = input(b, 0, "input_ids"), *types = input(b, 1, "token_type_ids"),
                  *positions = input(b, 2, "position_ids");
    const graft_encode_options o = {.max_length = w->transform.text.max_length};
    graft_encoding e = {0};
    int64_t at = 0;
    assert_int_equal(b->n_inputs, 0);
    for (int64_t i = 0; i < b->n; i++) {
        graft_text t;
        graft_data_text(d, b->samples[i], &t);
        assert_int_equal(
            graft_tokenizer_encode(w->tokenizer, &e, t.text, t.size, t.pair, t.pair_size, &o, err), 0);
        assert_int_equal(b->spans[2 * i], at);
        assert_int_equal(b->spans[2 * i + 1], e.n);
        assert_int_equal(graft_data_tokens(d, b->samples[i]), e.n);
        for (size_t k = 0; k < e.n; k++, at++) {
            assert_int_equal(ids[at], e.ids[k]);
            assert_int_equal(types[at], e.type_ids[k]);
            assert_int_equal(positions[at], (int32_t)k + w->transform.text.position_offset);
        }
    }
    assert_int_equal(at, b->n_tokens);
    graft_encoding_done(&e);
}

static void batches_pack_tokens_without_padding(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 64, 2);
    graft_data *d = open_text(b, "t.csv", "text,label\nab cde,x\nf,y\nghij kl m,x\nno,y\nq r s t,x\n", 0);
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    o.batch = 2;
    assert_int_equal(graft_data_tokens(d, 0), -1);
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.n_batches, 3);
    int64_t seen = 0;
    while (w.batches.next(w.batches.self, &w.batch, &b->err) == 1) {
        expect_batch(&w, d, &b->err);
        for (int64_t i = 0; i < w.batch.n; i++, seen++) {
            assert_int_equal(w.batch.samples[i], seen);
            assert_int_equal(w.batch.labels[i], seen % 2);
        }
        assert_null(w.batch.targets);
        assert_null(w.batch.token_labels);
    }
    assert_int_equal(seen, 5);
    assert_int_equal(graft_data_tokens(d, 0), 7);
    work_done(&w, d);
}

static void pairs_have_two_types(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 64, 0);
    graft_data *d = open_text(b, "t.csv", "sentence1,sentence2,label\nab,cde,x\nf,gh,y\n", 0);
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    expect_batch(&w, d, &b->err);
    const int32_t *types = input(&w.batch, 1, "token_type_ids");
    assert_int_equal(types[0], 0);
    assert_int_equal(types[w.batch.spans[1] - 1], 1);
    work_done(&w, d);
}

static void long_texts_are_cut_and_counted_once(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 6, 0);
    graft_data *d = open_text(b, "t.csv", "text,label\nab cde fgh,x\nabcd,y\nabcde,x\n", 0);
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    expect_batch(&w, d, &b->err);
    assert_non_null(strstr(b->log, "2 of 3 texts are longer than 6 tokens and were cut; --max-length"));
    b->log[0] = '\0';
    work_open(&w, b, d, &o);
    assert_null(strstr(b->log, "longer than"));
    assert_int_equal(graft_data_tokens(d, 0), 6);
    /* another length makes other tokens, and the first are kept for the loader that has them */
    w.transform.text.max_length = 4;
    work_open(&w, b, d, &o);
    assert_int_equal(graft_data_tokens(d, 0), 4);
    work_done(&w, d);
}

/* All that the batches of an epoch hold, as one hash. */
static graft_hash epoch_hash(work *w, bench *b, int64_t epoch, int64_t first) {
    graft_hash all = {0, 0};
    assert_int_equal(w->batches.begin(w->batches.self, epoch, first, &b->err), 0);
    while (w->batches.next(w->batches.self, &w->batch, &b->err) == 1) {
        graft_hash parts[4] = {
            all, graft_hash_bytes(input(&w->batch, 0, "input_ids"), w->batch.token_inputs[0].size),
            graft_hash_bytes(w->batch.spans, (size_t)w->batch.n * 2 * sizeof(int32_t)),
            graft_hash_bytes(w->batch.labels, (size_t)w->batch.n * sizeof(int32_t))};
        all = graft_hash_bytes(parts, sizeof parts);
    }
    return all;
}

static void batches_do_not_depend_on_threads_or_history(void **state) {
    bench *b = *state;
    char text[8192] = "text,label\n";
    for (int i = 0; i < 200; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%.*s %c,%c\n", 1 + i % 20,
                       "abcdefghijklmnopqrstuvwxyz", 'a' + i % 26, 'x' + (i % 3 == 0));
    }
    graft_hash of[3] = {{0, 0}};
    for (int threads = 1; threads <= 3; threads++) {
        work w;
        work_init(&w, b, 16, 0);
        graft_data *d = open_text(b, "t.csv", text, 0);
        graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
        o.order = GRAFT_SHUFFLED;
        o.seed = 7;
        o.batch = 16;
        o.threads = threads;
        work_open(&w, b, d, &o);
        (void)epoch_hash(&w, b, 0, 3);
        of[threads - 1] = epoch_hash(&w, b, 4, 0);
        assert_true(graft_hash_equal(of[threads - 1], epoch_hash(&w, b, 4, 0)));
        assert_false(graft_hash_equal(of[threads - 1], epoch_hash(&w, b, 5, 0)));
        o.order = GRAFT_BALANCED;
        work_open(&w, b, d, &o);
        int64_t n[2] = {0, 0};
        while (w.batches.next(w.batches.self, &w.batch, &b->err) == 1)
            for (int64_t i = 0; i < w.batch.n; i++) n[w.batch.labels[i]]++;
        assert_int_equal(n[0], n[1]);
        work_done(&w, d);
    }
    assert_true(graft_hash_equal(of[0], of[1]) && graft_hash_equal(of[1], of[2]));
}

static void a_words_tag_stands_at_its_first_token(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 6, 0);
    graft_data *d = open_text(b, "t.conll", "ab\tB-X\nc\tO\ndefg\tB-X\nh\tO\n\ni\tO\n", 0);
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    /* [CLS] a ##b c d [SEP], the rest cut; [CLS] i [SEP] */
    static const int32_t tags[9] = {-1, 1, -1, 0, 1, -1, -1, 0, -1};
    static const int32_t words[9] = {-1, 0, -1, 1, 2, -1, -1, 0, -1};
    assert_int_equal(w.batch.n_tokens, 9);
    assert_memory_equal(w.batch.token_labels, tags, sizeof tags);
    assert_memory_equal(w.batch.token_words, words, sizeof words);
    assert_int_equal(w.batch.labels[0], -1);
    assert_int_equal(w.batch.spans[2], 6);
    assert_non_null(strstr(b->log, "1 of 2 sentences are longer than 6 tokens"));
    work_done(&w, d);
}

static void targets_are_sets_or_numbers(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 16, 0);
    graft_data *d = open_text(b, "m.csv", "text,labels\na,x|y\nb,\nc,y|z\n", GRAFT_TASK_MULTILABEL);
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    static const float sets[9] = {1, 1, 0, 0, 0, 0, 0, 1, 1};
    assert_memory_equal(w.batch.targets, sets, sizeof sets);
    graft_batches_close(&w.batches);
    graft_data_close(d);
    d = open_text(b, "r.csv", "text,score\na,1.5\nb,-2\n", GRAFT_TASK_REGRESSION);
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    assert_float_equal(w.batch.targets[0], 1.5, 0);
    assert_float_equal(w.batch.targets[1], -2, 0);
    work_done(&w, d);
}

static void bad_texts_are_left_out_where_the_pass_checks(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 16, 0);
    graft_data *d = open_text(b, "t.csv", "text,label\na,x\n,y\nb,y\nc,x\n", 0);
    const int64_t samples[4] = {0, 1, 2, 3};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.samples = samples;
    o.n_samples = 4;
    o.batch = 2;
    o.check = true;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    assert_int_equal(w.batch.n, 1);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    assert_int_equal(w.batch.n, 2);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 0);
    assert_int_equal(graft_data_sample(d, 0)->state, GRAFT_SEEN);
    assert_int_equal(graft_data_settle(d, &b->err), 0);
    o.check = false;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), GRAFT_EDATA);
    assert_non_null(strstr(b->err.message, "line 3: an empty text"));
    work_done(&w, d);
    d = open_text(b, "t.csv", "text,label\na,x\n,y\n,y\n,y\nc,x\nb,y\n", 0);
    work_init(&w, b, 16, 0);
    o.check = true;
    bench_text(b, "u.csv", "text,label\na,x\n,y\n,y\n,y\nc,x\n");
    graft_data_close(d);
    graft_data_options strict = GRAFT_DATA_OPTIONS_INIT;
    strict.modality = GRAFT_TEXTS;
    d = bench_open(b, "u.csv", &strict);
    assert_int_equal(graft_loader_open(&w.batches, d, &w.transform, &o, &b->err), GRAFT_EDATA);
    assert_non_null(strstr(b->err.message, "3 of 5 texts cannot be used so far"));
    work_done(&w, d);
}

static void a_text_of_many_megabytes_is_cut_before_it_is_tokenized(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 8, 0);
    size_t size = (size_t)20 << 20;
    char *text = malloc(size + 1);
    assert_non_null(text);
    for (size_t i = 0; i < size; i++) text[i] = i % 8 == 7 ? ' ' : 'a';
    text[size] = '\0';
    const char *const texts[] = {"short", text};
    graft_data *d = NULL;
    assert_int_equal(graft_data_open_texts(&d, b->env, texts, 2, NULL, &b->err), 0);
    free(text);
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_int_equal(graft_data_tokens(d, 1), 8);
    assert_non_null(strstr(b->log, "1 of 2 texts are longer than 8 tokens"));
    work_done(&w, d);
}

static void long_texts_become_samples_of_windows(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 6, 0);
    w.transform.text.stride = 1; /* [CLS], four of the text, [SEP] */
    graft_data *d = open_text(b, "t.csv", "text,label\nab,x\nabcde fgh i,y\nc,x\n", 0);
    assert_int_equal(graft_data_window(d, &w.transform.text, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), 5);
    assert_non_null(strstr(b->log, "1 of 3 texts are longer than 6 tokens: read in 3 windows that share 1"));
    static const int32_t windows[] = {0, 0, 1, 2, 0};
    static const char first[] = "aadgc";
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_null(strstr(b->log, "were cut"));
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    const int32_t *ids = input(&w.batch, 0, "input_ids");
    for (int64_t i = 0; i < 5; i++) {
        graft_text t;
        graft_data_text(d, i, &t);
        assert_int_equal(t.size, i == 0 ? 2 : i == 4 ? 1 : 11);
        assert_int_equal(graft_data_sample(d, i)->window, windows[i]);
        assert_int_equal(w.batch.windows[i], windows[i]);
        assert_int_equal(w.batch.labels[i], i == 0 || i == 4 ? 0 : 1);
        int32_t id = ids[w.batch.spans[2 * i] + 1];
        assert_int_equal((id - 4) % 26, first[i] - 'a');
    }
    assert_int_equal(graft_data_count(d, GRAFT_TRAIN, 1), 3);
    work_done(&w, d);
}

static void windows_of_a_text_stay_on_one_side_of_a_split(void **state) {
    enum { TEXTS = 20, WINDOWS = 6 };
    bench *b = *state;
    work w;
    char text[4096] = "text,label\n";
    size_t used = strlen(text);
    work_init(&w, b, 6, 0);
    w.transform.text.stride = 2;
    for (int i = 0; i < TEXTS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "ab cd efg %c hij klm,%c\n", 'a' + i,
                                 'x' + i % 2);
    bench_text(b, "t.csv", text);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.modality = GRAFT_TEXTS;
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(graft_data_window(d, &w.transform.text, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), TEXTS * WINDOWS);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    int64_t n_val = 0;
    graft_data_members(d, GRAFT_VAL, &n_val);
    assert_int_equal(n_val, TEXTS / 5 * WINDOWS);
    for (int64_t i = 0; i < TEXTS * WINDOWS; i++) {
        const graft_sample *s = graft_data_sample(d, i), *first = graft_data_sample(d, i - s->window);
        assert_int_equal(s->part, first->part);
        assert_int_equal(graft_hash_equal(s->content, first->content), s->window == 0);
    }
    work_done(&w, d);
}

static void a_word_belongs_to_the_window_that_its_beginning_is_in(void **state) {
    bench *b = *state;
    work w;
    work_init(&w, b, 6, 0);
    w.transform.text.stride = 1;
    graft_data *d = open_text(b, "t.conll", "ab A\ncdefg B\nh C\n\n", GRAFT_TASK_TAGGING);
    assert_int_equal(graft_data_window(d, &w.transform.text, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), 3); /* a b c d | d e f g | g h */
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    work_open(&w, b, d, &o);
    assert_int_equal(w.batches.next(w.batches.self, &w.batch, &b->err), 1);
    static const int32_t begins[] = {-1, 0, -1, 1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, -1};
    assert_int_equal(w.batch.n_tokens, GRAFT_COUNT(begins));
    for (size_t t = 0; t < GRAFT_COUNT(begins); t++) {
        assert_int_equal(w.batch.token_words[t], begins[t]);
        assert_int_equal(w.batch.token_labels[t], begins[t]);
    }
    assert_int_equal(graft_data_count(d, GRAFT_TRAIN, 1), 1); /* a word counts once */
    work_done(&w, d);
}

static void a_transform_of_pictures_is_refused(void **state) {
    bench *b = *state;
    graft_data *d = open_text(b, "t.csv", "text,label\na,x\nb,y\n", 0);
    graft_transform pictures = {.channels = 3, .height = 8, .width = 8};
    graft_batches batches;
    assert_int_equal(graft_loader_open(&batches, d, &pictures, NULL, &b->err), GRAFT_EUSAGE);
    graft_text_transform none = {0};
    assert_int_equal(graft_transform_init_text(&pictures, &none, &b->err), GRAFT_EUSAGE);
    graft_data_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(batches_pack_tokens_without_padding),
        BENCH_TEST(pairs_have_two_types),
        BENCH_TEST(long_texts_are_cut_and_counted_once),
        BENCH_TEST(long_texts_become_samples_of_windows),
        BENCH_TEST(windows_of_a_text_stay_on_one_side_of_a_split),
        BENCH_TEST(a_word_belongs_to_the_window_that_its_beginning_is_in),
        BENCH_TEST(batches_do_not_depend_on_threads_or_history),
        BENCH_TEST(a_words_tag_stands_at_its_first_token),
        BENCH_TEST(targets_are_sets_or_numbers),
        BENCH_TEST(bad_texts_are_left_out_where_the_pass_checks),
        BENCH_TEST(a_text_of_many_megabytes_is_cut_before_it_is_tokenized),
        BENCH_TEST(a_transform_of_pictures_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
