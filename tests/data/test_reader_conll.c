#include "data/data_files.h"
#include "data/text_lines.h"

static graft_data_options word_options(graft_label_use labels) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.modality = GRAFT_TEXTS;
    o.labels = labels;
    return o;
}

static void expect_word(const graft_data *d, int64_t i, size_t k, const char *word, const char *tag) {
    graft_words w;
    graft_data_words(d, i, &w);
    assert_true(k < w.n);
    assert_int_equal(w.sizes[k], strlen(word));
    assert_memory_equal(w.words[k], word, w.sizes[k]);
    if (tag)
        assert_string_equal(graft_data_class(d, w.tags[k]), tag);
    else
        assert_int_equal(w.tags[k], -1);
}

static void words_have_tags_and_blank_lines_end_sentences(void **state) {
    bench *b = *state;
    graft_data_options o = word_options(GRAFT_LABELS_NEEDED);
    bench_text(
        b, "t.conll",
        "-DOCSTART-\tO\n\n# id = 1\nWolff\tB-PER\r\nlives\tO\r\n \nin \tO\nNew York\tB-LOC\n\n\n#\tO\n");
    graft_data *d = bench_open(b, "t.conll", &o);
    assert_int_equal(graft_data_task(d), GRAFT_TASK_TAGGING);
    assert_int_equal(graft_data_n_samples(d), 3);
    assert_int_equal(graft_data_n_classes(d), 3);
    assert_string_equal(graft_data_class(d, 0), "O"); /* first, whatever the alphabet says */
    expect_word(d, 0, 0, "Wolff", "B-PER");
    expect_word(d, 0, 1, "lives", "O");
    expect_word(d, 1, 1, "New York", "B-LOC");
    expect_word(d, 2, 0, "#", "O");
    assert_non_null(strstr(graft_data_sample(d, 1)->origin, "t.conll, line 7"));
    assert_int_equal(graft_data_sample(d, 0)->label, -1);
    assert_int_equal(graft_data_count(d, GRAFT_ALL, 0), 3);
    assert_true(graft_data_has_class(d, 0, 2));
    assert_false(graft_data_has_class(d, 1, 2));
    float weights[3];
    graft_data_class_weights(d, GRAFT_ALL, weights);
    assert_float_equal(weights[0], 5.0 / (3 * 3), 1e-6);
    graft_data_close(d);
}

static void blanks_part_columns_and_the_last_is_the_tag(void **state) {
    bench *b = *state;
    graft_data_options o = word_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "d/train.txt",
               "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects  VBZ I-VP O\n\nGerman JJ I-NP B-MISC");
    bench_text(b, "d/valid.txt", "EU NNP I-NP B-ORG\n");
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_n_samples(d), 3);
    assert_int_equal(bench_n(d, GRAFT_VAL), 1);
    expect_word(d, 0, 1, "rejects", "O");
    expect_word(d, 1, 0, "German", "B-MISC");
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_duplicates(d)->n_same, 0);
    graft_data_close(d);
}

static void tags_keep_a_models_order_and_unknown_ones_are_named(void **state) {
    bench *b = *state;
    graft_data_options o = word_options(GRAFT_LABELS_NEEDED);
    static const char *const names[] = {"B-X", "O"};
    o.class_names = names;
    o.n_class_names = 2;
    bench_text(b, "t.iob", "a O\nb B-X\n\nc B-Y\nd O\n");
    bench_refused(b, "t.iob", &o, GRAFT_EDATA, "line 4: the label 'B-Y' is none of the model's 2 classes");
    o.drop_unknown_labels = true;
    graft_data *d = bench_open(b, "t.iob", &o);
    expect_word(d, 0, 1, "b", "B-X");
    expect_word(d, 1, 0, "c", NULL);
    expect_word(d, 1, 1, "d", "O");
    graft_data_close(d);
}

static void words_without_tags_can_be_predicted(void **state) {
    bench *b = *state;
    graft_data_options o = word_options(GRAFT_LABELS_IGNORED);
    o.task = GRAFT_TASK_TAGGING;
    bench_text(b, "w.conll", "just\nwords\n\nhere\n");
    graft_data *d = bench_open(b, "w.conll", &o);
    assert_int_equal(graft_data_n_samples(d), 2);
    expect_word(d, 0, 1, "words", NULL);
    graft_data_close(d);
    bench_text(b, "l.txt", "a line of words\n\nanother\n");
    d = bench_open(b, "l.txt", &o);
    assert_int_equal(graft_data_n_bad(d), 1);
    expect_word(d, 0, 3, "words", NULL);
    expect_word(d, 2, 0, "another", NULL);
    graft_data_close(d);
    o.labels = GRAFT_LABELS_NEEDED;
    bench_refused(b, "w.conll", &o, GRAFT_EDATA, "has no tags: give CoNLL columns");
}

static void wrong_columns_are_named_by_line(void **state) {
    bench *b = *state;
    graft_data_options o = word_options(GRAFT_LABELS_NEEDED);
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"a\tO\nb\tx\tO\n", "line 2: 3 columns where the lines before have 2"},
        {"a O\nb\n", "line 2: 1 columns where"},
        {"a\tO\n\tO\n", "line 2: the word in the first column is empty"},
        {"a\tO\nb\tO\nc\xFF\tO\n", "line 3: not UTF-8"},
        {"\n\n", "holds no word"},
        {"", "holds no word"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        bench_text(b, "bad.conll", cases[i].text);
        graft_data *d = NULL;
        char path[512];
        (void)snprintf(path, sizeof path, "%s/bad.conll", b->dir);
        assert_true(graft_data_open(&d, b->env, path, &o, &b->err) < 0);
        if (!strstr(b->err.message, cases[i].words)) fail_msg("%s", b->err.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(words_have_tags_and_blank_lines_end_sentences),
        BENCH_TEST(blanks_part_columns_and_the_last_is_the_tag),
        BENCH_TEST(tags_keep_a_models_order_and_unknown_ones_are_named),
        BENCH_TEST(words_without_tags_can_be_predicted),
        BENCH_TEST(wrong_columns_are_named_by_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
