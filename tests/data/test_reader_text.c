#include "data/data_files.h"
#include <math.h>

static graft_data_options text_options(graft_label_use labels) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.modality = GRAFT_TEXTS;
    o.labels = labels;
    o.max_bad = 0.5;
    return o;
}

static void expect_text(const graft_data *d, int64_t i, const char *text, const char *pair) {
    graft_text t;
    graft_data_text(d, i, &t);
    assert_int_equal(t.size, strlen(text));
    assert_memory_equal(t.text, text, t.size);
    assert_int_equal(t.pair != NULL, pair != NULL);
    if (!pair) return;
    assert_int_equal(t.pair_size, strlen(pair));
    assert_memory_equal(t.pair, pair, t.pair_size);
}

static const char *class_of(const graft_data *d, int64_t i) {
    const char *name = graft_data_class(d, graft_data_sample(d, i)->label);
    return name ? name : "";
}

/* ---- Tables ---- */

static void a_table_of_texts_has_quotes_newlines_and_a_byte_order_mark(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "t.csv",
               "\xEF\xBB\xBF"
               "id,Text,label\r\n1,\"good, really\",pos\r\n2,\"two\nlines and \"\"quotes\"\"\",neg\r\n"
               "3,caf\xC3\xA9 ,pos\r\n");
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(graft_data_modality(d), GRAFT_TEXTS);
    assert_int_equal(graft_data_task(d), GRAFT_TASK_CLASSES);
    assert_int_equal(graft_data_n_samples(d), 3);
    expect_text(d, 0, "good, really", NULL);
    expect_text(d, 1, "two\nlines and \"quotes\"", NULL);
    expect_text(d, 2, "caf\xC3\xA9 ", NULL);
    assert_string_equal(class_of(d, 1), "neg");
    assert_non_null(strstr(graft_data_sample(d, 2)->origin, "t.csv, line 5"));
    assert_non_null(
        strstr(b->log, "a table with the text in 'Text', its label in 'label', 3 texts of 2 classes"));
    graft_data_close(d);
}

static void a_table_without_header_is_recognised_and_said(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "sst.tsv", "a stirring , funny film\t1\napparently reassembled\t0\nso \"so\" it goes\t0\n");
    graft_data *d = bench_open(b, "sst.tsv", &o);
    assert_int_equal(graft_data_n_samples(d), 3);
    expect_text(d, 2, "so \"so\" it goes", NULL);
    assert_string_equal(class_of(d, 0), "1");
    assert_non_null(
        strstr(b->log, "a table without header with the text in column 1, its label in column 2"));
    graft_data_close(d);
    /* words as labels: the first comes again further down, which no header does */
    bench_text(b, "w.csv", "pos,lovely\nneg,dull\npos,fine\n");
    d = bench_open(b, "w.csv", &o);
    assert_int_equal(graft_data_n_samples(d), 3);
    assert_string_equal(class_of(d, 0), "pos");
    graft_data_close(d);
    /* columns by number, of a table whose columns cannot be told apart */
    bench_text(b, "c.tsv", "gj04\t1\t\tThe sailors rode the breeze.\ngj05\t0\t*\tThe more we study it.\n");
    bench_refused(b, "c.tsv", &o, GRAFT_EUSAGE, "Name it with --label, by its number");
    o.input_column = "4";
    o.label_column = "2";
    d = bench_open(b, "c.tsv", &o);
    expect_text(d, 0, "The sailors rode the breeze.", NULL);
    assert_string_equal(class_of(d, 1), "0");
    graft_data_close(d);
    o.label_column = "5";
    bench_refused(b, "c.tsv", &o, GRAFT_EUSAGE, "no column '5' for the label");
}

static void a_header_of_unknown_words_is_a_header(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "t.csv", "what was said,mood\nI am very glad,good\nI am not,bad\nso am I,good\n");
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(graft_data_n_samples(d), 3);
    expect_text(d, 0, "I am very glad", NULL);
    assert_int_equal(graft_data_n_classes(d), 2);
    graft_data_close(d);
    bench_text(b, "u.csv", "mood,review_text,stars\ngood,I am very glad,5\nbad,I am not,1\n");
    d = bench_open(b, "u.csv", &o);
    expect_text(d, 0, "I am very glad", NULL);
    assert_string_equal(class_of(d, 0), "5");
    graft_data_close(d);
}

static void pairs_are_found_by_name_or_by_their_looks(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "p.jsonl",
               "{\"label\": 1, \"hypothesis\": \"He sleeps.\", \"premise\": \"A man is asleep.\"}\n"
               "{\"premise\": \"A dog runs.\", \"hypothesis\": \"It stands.\", \"label\": 0}\n");
    graft_data *d = bench_open(b, "p.jsonl", &o);
    expect_text(d, 0, "A man is asleep.", "He sleeps.");
    assert_string_equal(class_of(d, 1), "0");
    assert_non_null(strstr(b->log, "the texts in 'premise' and 'hypothesis', their label in 'label'"));
    graft_data_close(d);
    o.task = GRAFT_TASK_REGRESSION;
    bench_text(
        b, "stsb.csv",
        "A plane is taking off.,An air plane is taking off.,5.0\n\"A man, seated, plays.\",A man is playing "
        "the cello.,4.25\n");
    d = bench_open(b, "stsb.csv", &o);
    assert_int_equal(graft_data_task(d), GRAFT_TASK_REGRESSION);
    expect_text(d, 1, "A man, seated, plays.", "A man is playing the cello.");
    assert_float_equal(graft_data_value(d, 1), 4.25, 1e-6);
    assert_int_equal(graft_data_n_classes(d), 0);
    assert_true(graft_data_has_labels(d));
    graft_data_close(d);
    bench_text(b, "q.csv", "first,second,score\nA plane.,Another plane.,5.0\nA man.,A cello.,1.5\n");
    o.input_column = "first";
    o.pair_column = "second";
    d = bench_open(b, "q.csv", &o);
    expect_text(d, 0, "A plane.", "Another plane.");
    graft_data_close(d);
}

static void a_folder_of_tables_has_their_parts(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "d/train.tsv", "good one\t1\nbad one\t0\nfine\t1\n");
    bench_text(b, "d/dev.tsv", "GOOD  one\t1\nbad one\t0\n");
    bench_text(b, "d/test.tsv", "never seen\t1\n");
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 3);
    assert_int_equal(bench_n(d, GRAFT_VAL), 2);
    assert_int_equal(bench_n(d, GRAFT_TEST), 1);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    const graft_duplicates *twins = graft_data_duplicates(d);
    assert_int_equal(twins->n_same, 1);
    assert_int_equal(twins->n_near, 1);
    assert_non_null(strstr(b->log, "1 val or test texts differ in case and blanks alone from one of train"));
    graft_data_close(d);
    bench_text(b, "s.csv", "sentence,label,split\nx y z,a,train\nu v w,b,train\nq r s,a,dev\n");
    d = bench_open(b, "s.csv", &o);
    assert_int_equal(bench_n(d, GRAFT_VAL), 1);
    graft_data_close(d);
}

/* ---- Several labels, numbers ---- */

static void labels_are_sets_of_classes_when_asked_for(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    o.task = GRAFT_TASK_MULTILABEL;
    bench_text(b, "m.csv", "text,labels\none,a|b\ntwo,\nthree, b |c,x|b\n");
    bench_refused(b, "m.csv", &o, GRAFT_EFORMAT, "line 4: 3 fields where the first line has 2");
    bench_text(b, "m.csv", "text,labels\none,a|b\ntwo,\nthree,\" c |b|c,x|b\"\n");
    graft_data *d = bench_open(b, "m.csv", &o);
    size_t n;
    assert_int_equal(graft_data_n_classes(d), 4);
    const int32_t *own = graft_data_classes(d, 2, &n);
    assert_int_equal(n, 3);
    assert_string_equal(graft_data_class(d, own[0]), "b");
    assert_string_equal(graft_data_class(d, own[1]), "c");
    assert_string_equal(graft_data_class(d, own[2]), "c,x");
    assert_true(graft_data_has_class(d, 0, 0));
    assert_false(graft_data_has_class(d, 1, 0));
    assert_int_equal(bench_n(d, GRAFT_ALL), 3); /* a sample of no class is a sample */
    assert_int_equal(graft_data_count(d, GRAFT_ALL, 1), 2);
    assert_non_null(strstr(b->log, "labels are parted at '|'"));
    graft_data_close(d);
    bench_text(b, "m.jsonl",
               "{\"text\": \"one\", \"labels\": [\"a\", \"b, c\"]}\n{\"text\": \"two\", \"labels\": []}\n"
               "{\"text\": \"three\"}\n");
    d = bench_open(b, "m.jsonl", &o);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_string_equal(graft_data_class(d, 1), "b, c");
    assert_int_equal(bench_n(d, GRAFT_ALL), 2);
    graft_data_close(d);
    bench_text(b, "j.csv", "text,labels\none,\"[\"\"a\"\", \"\"b\"\"]\"\ntwo,\"[\"\"b\"\"]\"\n");
    d = bench_open(b, "j.csv", &o);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_true(graft_data_has_class(d, 1, 1));
    graft_data_close(d);
    o.task = GRAFT_TASK_CLASSES;
    bench_refused(b, "m.jsonl", &o, GRAFT_EDATA, "line 1: several labels; --task multilabel");
}

static void a_number_that_is_none_is_named(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    o.task = GRAFT_TASK_REGRESSION;
    bench_text(b, "t.csv", "text,score\nfine,3.5\nbad,high\n");
    bench_refused(b, "t.csv", &o, GRAFT_EDATA, "line 3: the label 'high' is no number");
    bench_text(b, "t.csv", "text,score\nfine,3.5\nbad,nan\n");
    bench_refused(b, "t.csv", &o, GRAFT_EDATA, "'nan' is no number");
    bench_text(b, "t.csv", "text,score\nfine,3.5\nbad,\n");
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_true(isnan(graft_data_value(d, 1)));
    assert_int_equal(bench_n(d, GRAFT_ALL), 1);
    graft_data_close(d);
    o.task = GRAFT_TASK_CLASSES;
    bench_text(b, "t.csv", "text,score\nfine,3.5\nbad,1\nso so,2.25\n");
    d = bench_open(b, "t.csv", &o);
    assert_non_null(strstr(b->log, "--task regression"));
    graft_data_close(d);
}

static void regression_and_tagging_split_at_random_in_whole_sets(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    o.task = GRAFT_TASK_REGRESSION;
    char text[4096] = "text,score\n";
    for (int i = 0; i < 50; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "text number %d,%d.5\nTEXT number %d,%d.5\n", i, i, i,
                       i);
    }
    bench_text(b, "t.csv", text);
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(bench_n(d, GRAFT_VAL), 20);
    for (int64_t i = 0; i < 100; i += 2)
        assert_int_equal(graft_data_sample(d, i)->part, graft_data_sample(d, i + 1)->part);
    graft_data_close(d);
}

/* ---- Folders, lines, labels in front ---- */

static void class_folders_hold_text_files(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "d/train/pos/1.txt", "so good\nreally");
    bench_text(b, "d/train/pos/2.txt", "\xEF\xBB\xBFgreat");
    bench_text(b, "d/train/neg/1.txt", "so bad");
    bench_text(b, "d/train/neg/2.txt", "caf\xE9");
    bench_text(b, "d/test/neg/1.txt", "awful");
    bench_text(b, "d/test/neg/photo.jpg", "no text");
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_n_samples(d), 5);
    assert_int_equal(bench_n(d, GRAFT_TEST), 1);
    assert_int_equal(graft_data_n_bad(d), 1);
    expect_text(d, 4, "great", NULL);
    assert_string_equal(class_of(d, 3), "pos");
    assert_non_null(strstr(b->log, "1 files are no text files (.txt)"));
    int64_t bad = 0;
    for (int64_t i = 0; i < 5; i++)
        if (graft_data_sample(d, i)->state == GRAFT_BAD) bad = i;
    assert_non_null(strstr(graft_data_sample(d, bad)->reason, "not UTF-8"));
    graft_data_close(d);
    o.strict = true;
    bench_refused(b, "d", &o, GRAFT_EDATA, "neg/2.txt");
    o = text_options(GRAFT_LABELS_IGNORED);
    d = bench_open(b, "d/train/pos", &o);
    assert_int_equal(graft_data_n_samples(d), 2);
    graft_data_close(d);
}

static void lines_with_labels_in_front_are_read_as_fasttext_does(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "ft.txt", "__label__pos so good\r\n\n__label__neg  so bad\n__label__pos __labels\n");
    graft_data *d = bench_open(b, "ft.txt", &o);
    assert_int_equal(graft_data_n_samples(d), 3);
    expect_text(d, 0, "so good", NULL);
    expect_text(d, 1, "so bad", NULL);
    expect_text(d, 2, "__labels", NULL);
    assert_string_equal(class_of(d, 1), "neg");
    assert_non_null(strstr(graft_data_sample(d, 1)->origin, "line 3"));
    graft_data_close(d);
    bench_text(b, "ft.txt", "__label__a __label__b both\n__label__a one\n__label__b\n");
    bench_refused(b, "ft.txt", &o, GRAFT_EDATA, "line 1: several labels");
    o.task = GRAFT_TASK_MULTILABEL;
    d = bench_open(b, "ft.txt", &o);
    assert_true(graft_data_has_class(d, 0, 0) && graft_data_has_class(d, 0, 1));
    assert_int_equal(graft_data_n_bad(d), 1);
    graft_data_close(d);
    bench_text(b, "f/train.txt", "__label__a x\n__label__b y\n");
    bench_text(b, "f/valid.txt", "__label__a z\n");
    d = bench_open(b, "f", &o);
    assert_int_equal(bench_n(d, GRAFT_VAL), 1);
    graft_data_close(d);
}

static void plain_lines_are_texts_without_labels(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_IGNORED);
    bench_text(b, "in.txt", "first\n\n  \nfourth, with\ttab");
    graft_data *d = bench_open(b, "in.txt", &o);
    assert_int_equal(graft_data_n_samples(d), 4);
    assert_int_equal(graft_data_n_bad(d), 2);
    assert_string_equal(graft_data_sample(d, 1)->reason, "an empty text");
    expect_text(d, 3, "fourth, with\ttab", NULL);
    assert_int_equal(graft_data_n_classes(d), 0);
    graft_data_close(d);
    o.labels = GRAFT_LABELS_NEEDED;
    bench_text(b, "plain.txt", "first\nsecond\n");
    bench_refused(b, "plain.txt", &o, GRAFT_EDATA, "has no labels");
}

static void texts_can_be_given_themselves(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_IGNORED);
    const char *const texts[] = {"one text", "", "caf\xE9", "another"};
    graft_data *d = NULL;
    assert_int_equal(graft_data_open_texts(&d, b->env, texts, 4, &o, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), 4);
    expect_text(d, 0, "one text", NULL);
    assert_int_equal(graft_data_n_bad(d), 2);
    assert_null(graft_data_sample(d, 0)->path);
    assert_string_equal(graft_data_sample(d, 3)->origin, "text 4");
    graft_data_close(d);
    o.task = GRAFT_TASK_TAGGING;
    assert_int_equal(graft_data_open_texts(&d, b->env, texts, 1, &o, &b->err), 0);
    graft_words w;
    graft_data_words(d, 0, &w);
    assert_int_equal(w.n, 2);
    assert_memory_equal(w.words[1], "text", w.sizes[1]);
    assert_int_equal(w.tags[0], -1);
    graft_data_close(d);
    assert_int_equal(graft_data_open_texts(&d, b->env, texts, 0, &o, &b->err), GRAFT_EDATA);
}

/* ---- Bad input ---- */

static void text_that_is_no_utf8_is_named_by_line_and_byte(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "t.csv", "text,label\nfine,a\ncaf\xE9,b\n");
    bench_refused(b, "t.csv", &o, GRAFT_EFORMAT, "line 3: not UTF-8 text (byte 21 of the file is 0xE9)");
    bench_refused(b, "t.csv", &o, GRAFT_EFORMAT, "iconv -f latin1 -t utf8");
    bench_write(b, "w.csv", "\xFF\xFEt\0e\0", 6);
    bench_refused(b, "w.csv", &o, GRAFT_EFORMAT, "iconv -f utf16");
    /* one damaged row of many JSON lines is a bad sample */
    bench_text(
        b, "t.jsonl",
        "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"caf\xE9\", \"label\": 1}\n"
        "{\"text\": \"\\ud83d\", \"label\": 0}\n{\"text\": \"\\ud83d\\ude00\\\\ud83d\", \"label\": 0}\n");
    graft_data *d = bench_open(b, "t.jsonl", &o);
    assert_int_equal(graft_data_n_bad(d), 2);
    assert_non_null(strstr(graft_data_sample(d, 1)->reason, "not UTF-8"));
    assert_non_null(strstr(graft_data_sample(d, 2)->reason, "surrogate"));
    expect_text(d, 3, "\xF0\x9F\x98\x80\\ud83d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    graft_data_close(d);
    o.max_bad = -1;
    d = bench_open(b, "t.jsonl", &o);
    assert_int_equal(graft_data_check(d, &b->err), GRAFT_EDATA);
    assert_non_null(strstr(b->err.message, "2 of 4 texts cannot be used"));
    graft_data_close(d);
    bench_text(b, "t.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"text\": \n");
    bench_refused(b, "t.jsonl", &o, GRAFT_EFORMAT, "line 2");
}

static void empty_texts_are_bad_samples(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "t.csv", "text,label\nfine,a\n,b\n\"  \",a\nnot bad,b\n");
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(graft_data_n_bad(d), 2);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_non_null(strstr(b->log, "t.csv, line 3: an empty text: left out"));
    graft_data_close(d);
    o.strict = true;
    bench_refused(b, "t.csv", &o, GRAFT_EDATA, "line 3: an empty text");
    bench_text(b, "p.csv", "sentence1,sentence2,label\nfine,,a\nx,y,b\nx,z,a\n");
    o.strict = false;
    d = bench_open(b, "p.csv", &o);
    assert_string_equal(graft_data_sample(d, 0)->reason, "an empty second text");
    graft_data_close(d);
}

static void a_line_of_many_megabytes_is_a_text(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    size_t size = (size_t)32 << 20;
    char *text = malloc(size + 64);
    assert_non_null(text);
    size_t head = (size_t)sprintf(text, "text,label\nshort,a\n\"");
    memset(text + head, 'x', size);
    size_t tail = (size_t)sprintf(text + head + size, "\",b\n");
    bench_write(b, "t.csv", text, head + size + tail);
    free(text);
    graft_data *d = bench_open(b, "t.csv", &o);
    graft_text t;
    graft_data_text(d, 1, &t);
    assert_int_equal(t.size, size);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    graft_data_close(d);
}

static void nothing_in_them_is_said(void **state) {
    bench *b = *state;
    graft_data_options o = text_options(GRAFT_LABELS_NEEDED);
    bench_text(b, "empty.csv", "");
    bench_refused(b, "empty.csv", &o, GRAFT_EDATA, "is empty");
    bench_text(b, "head.csv", "text,label\n");
    bench_refused(b, "head.csv", &o, GRAFT_EDATA, "no row below its header");
    bench_png(b, "p.png", 1, 8);
    bench_refused(b, "p.png", &o, GRAFT_EFORMAT, "no data that graft reads: CSV, TSV or JSON lines");
    bench_text(b, "one.csv", "text,label\na,x\nb,x\n");
    bench_refused(b, "one.csv", &o, GRAFT_EDATA,
                  "one class only, 'x': there is nothing to tell apart; add texts");
    o.format = "idx";
    bench_refused(b, "one.csv", &o, GRAFT_EUSAGE, "one of: folders, csv, jsonl, conll, fasttext, lines");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(a_table_of_texts_has_quotes_newlines_and_a_byte_order_mark),
        BENCH_TEST(a_table_without_header_is_recognised_and_said),
        BENCH_TEST(a_header_of_unknown_words_is_a_header),
        BENCH_TEST(pairs_are_found_by_name_or_by_their_looks),
        BENCH_TEST(a_folder_of_tables_has_their_parts),
        BENCH_TEST(labels_are_sets_of_classes_when_asked_for),
        BENCH_TEST(a_number_that_is_none_is_named),
        BENCH_TEST(regression_and_tagging_split_at_random_in_whole_sets),
        BENCH_TEST(class_folders_hold_text_files),
        BENCH_TEST(lines_with_labels_in_front_are_read_as_fasttext_does),
        BENCH_TEST(plain_lines_are_texts_without_labels),
        BENCH_TEST(texts_can_be_given_themselves),
        BENCH_TEST(text_that_is_no_utf8_is_named_by_line_and_byte),
        BENCH_TEST(empty_texts_are_bad_samples),
        BENCH_TEST(a_line_of_many_megabytes_is_a_text),
        BENCH_TEST(nothing_in_them_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
