#include "data/data_files.h"
#include "data/data_table.h"

/* Parses CSV text that the test gives; the copy lives in the arena. */
static int parse(graft_table *t, graft_arena *arena, const char *text, char delimiter, graft_err *err) {
    *t = (graft_table){0};
    char *copy = graft_arena_strdup(arena, text);
    return graft_csv_parse(t, arena, copy, strlen(text), delimiter, "t.csv", err);
}

static void csv_has_quotes_newlines_and_line_numbers(void **state) {
    bench *b = *state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_table t;
    const char *text = "\xEF\xBB\xBF"
                       "path,label\r\n\"a,1.png\",\"say \"\"hi\"\"\"\r\n\r\n\"two\nlines\",x\r\nlast,\"\"";
    assert_int_equal(parse(&t, arena, text, 0, &b->err), 0);
    assert_int_equal(t.n_columns, 2);
    assert_string_equal(t.columns[0], "path");
    assert_int_equal(t.n_rows, 3);
    assert_string_equal(graft_table_cell(&t, 0, 0), "a,1.png");
    assert_string_equal(graft_table_cell(&t, 0, 1), "say \"hi\"");
    assert_string_equal(graft_table_cell(&t, 1, 0), "two\nlines");
    assert_string_equal(graft_table_cell(&t, 2, 1), "");
    assert_int_equal(t.rows[0].line, 2);
    assert_int_equal(t.rows[1].line, 4);
    assert_int_equal(t.rows[2].line, 6);
    graft_table_done(&t);
    graft_arena_free(arena);
}

static void csv_errors_name_the_line(void **state) {
    bench *b = *state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"a,b\n1,2\n1,2,3\n", "line 3: 3 fields where the first line has 2"},
        {"a,b\n1\n", "line 2: 1 fields"},
        {"a,b\n\"x,2\n\n", "line 2: a quote is opened and never closed"},
        {"a,b\n\"x\"y,2\n", "line 2: text after a closing quote"},
        {"a,a\n1,2\n", "two columns are called 'a'"},
        {"a,b\n1,\xff\n", "line 2: not UTF-8"},
        {"a,b\n1,\xed\xa0\x80\n", "line 2: not UTF-8"},
        {"a,b\n1,\xc0\xaf\n", "not UTF-8"},
        {"\n\n", "is empty"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_arena *arena = graft_arena_new(NULL);
        graft_table t;
        assert_true(parse(&t, arena, cases[i].text, 0, &b->err) < 0);
        if (!strstr(b->err.message, cases[i].words)) fail_msg("%s", b->err.message);
        graft_table_done(&t);
        graft_arena_free(arena);
    }
}

static void delimiters_are_found_and_tsv_has_no_quotes(void **state) {
    bench *b = *state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_table t;
    assert_int_equal(parse(&t, arena, "a;b\n1,5;2\n", 0, &b->err), 0);
    assert_string_equal(graft_table_cell(&t, 0, 0), "1,5");
    graft_table_done(&t);
    assert_int_equal(parse(&t, arena, "a\tb\n\"x\t2\n", 0, &b->err), 0);
    assert_string_equal(graft_table_cell(&t, 0, 0), "\"x");
    graft_table_done(&t);
    assert_int_equal(parse(&t, arena, "a\tb\rc\td\r", '\t', &b->err), 0);
    assert_string_equal(graft_table_cell(&t, 0, 1), "d");
    graft_table_done(&t);
    graft_arena_free(arena);
}

static void json_lines_become_cells(void **state) {
    bench *b = *state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_table t = {0};
    const char *text =
        "{\"image\": \"a.png\", \"label\": 3}\n\n  {\"x\": null, \"label\": true, \"image\": \"b.png\"}\r\n";
    assert_int_equal(graft_jsonl_parse(&t, arena, text, strlen(text), "t.jsonl", &b->err), 0);
    assert_int_equal(t.n_rows, 2);
    assert_int_equal(t.n_columns, 3);
    assert_string_equal(graft_table_cell(&t, 0, 1), "3");
    assert_string_equal(graft_table_cell(&t, 1, 0), "b.png");
    assert_string_equal(graft_table_cell(&t, 1, 1), "true");
    assert_null(graft_table_cell(&t, 1, 2));
    assert_int_equal(t.rows[1].line, 3);
    graft_table_done(&t);
    const char *bad = "{\"a\": 1}\n{\"a\": \n";
    assert_int_equal(graft_jsonl_parse(&t, arena, bad, strlen(bad), "t.jsonl", &b->err), GRAFT_EFORMAT);
    assert_non_null(strstr(b->err.message, "line 2"));
    graft_table_done(&t);
    assert_int_equal(graft_jsonl_parse(&t, arena, "[1]\n", 4, "t.jsonl", &b->err), GRAFT_EFORMAT);
    graft_table_done(&t);
    graft_arena_free(arena);
}

static void columns_are_guessed_or_named(void **state) {
    bench *b = *state;
    bench_class(b, "img", 1, 4, 8);
    bench_text(b, "t.csv",
               "id,filename,breed,split,dog\n1,img/p000.png,pug,train,x\n2,img/p001.png,lab,train,y\n"
               "3,img/p002.png,pug,test,x\n4,img/p003.png,lab,val,y\n");
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.labels = GRAFT_LABELS_NEEDED;
    bench_refused(b, "t.csv", &o, GRAFT_EUSAGE, "which column is the label");
    o.label_column = "race";
    bench_refused(b, "t.csv", &o, GRAFT_EUSAGE, "its columns are: id, filename, breed, split, dog");
    o.label_column = "breed";
    o.group_column = "dog";
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(graft_data_n_samples(d), 4);
    assert_string_equal(graft_data_class(d, 1), "pug");
    assert_int_equal(bench_n(d, GRAFT_TEST), 1);
    assert_int_equal(bench_n(d, GRAFT_VAL), 1);
    assert_int_equal(graft_data_sample(d, 0)->group, graft_data_sample(d, 2)->group);
    assert_non_null(strstr(graft_data_sample(d, 2)->origin, "t.csv, line 4"));
    assert_non_null(strstr(b->log, "path in 'filename'"));
    o.max_bad = -1;
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_non_null(strstr(b->log, "2 of 2 groups have samples in train and in val or test"));
    graft_data_close(d);
}

static void a_two_column_table_needs_no_names(void **state) {
    bench *b = *state;
    bench_class(b, "img", 1, 3, 8);
    bench_text(b, "t.tsv", "what\twhere\ncat\timg/p000.png\ndog\timg/p001.png\ncat\timg/p002.png\n");
    graft_data *d = bench_open(b, "t.tsv", NULL);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_string_equal(graft_data_class(d, graft_data_sample(d, 1)->label), "dog");
    graft_data_close(d);
    bench_text(b, "t.jsonl",
               "{\"file_name\": \"img/p000.png\", \"label\": \"x\"}\n{\"label\": \"y\", \"file_name\": "
               "\"img/p001.png\"}\n");
    d = bench_open(b, "t.jsonl", NULL);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_string_equal(graft_data_class(d, graft_data_sample(d, 1)->label), "y");
    graft_data_close(d);
}

static void a_folder_of_tables_has_their_parts(void **state) {
    bench *b = *state;
    bench_class(b, "d", 1, 4, 8);
    bench_text(b, "d/train.csv", "path,label\np000.png,a\np001.png,b\n");
    bench_text(b, "d/test.csv", "path,label\np002.png,a\np003.png,b\n");
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 2);
    assert_int_equal(bench_n(d, GRAFT_TEST), 2);
    graft_data_close(d);
}

static void rows_without_file_or_label_are_named(void **state) {
    bench *b = *state;
    bench_class(b, "img", 1, 3, 8);
    bench_text(b, "t.csv", "path,label\nimg/p000.png,a\nimg/gone.png,b\nimg/p001.png,b\nimg/p002.png,\n");
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    graft_data *d = bench_open(b, "t.csv", &o);
    assert_int_equal(bench_n(d, GRAFT_ALL), 3);
    assert_non_null(strstr(b->log, "1 samples have no label"));
    assert_int_equal(graft_data_check(d, &b->err), GRAFT_EDATA);
    assert_non_null(strstr(b->err.message, "t.csv, line 3 (img/gone.png)"));
    graft_data_close(d);
    bench_text(b, "u.csv", "path,label\n,a\n");
    bench_refused(b, "u.csv", NULL, GRAFT_EDATA, "line 2: the column 'path' is empty");
    bench_text(b, "v.csv", "path,label,part\nx.png,a,train\ny.png,b,sometimes\n");
    o.split_column = "part";
    bench_refused(b, "v.csv", &o, GRAFT_EDATA, "line 3: 'sometimes'");
    bench_text(b, "w.csv", "path,label\n");
    bench_refused(b, "w.csv", NULL, GRAFT_EDATA, "no row below its header");
    bench_text(b, "x.csv", "text,label\nhello,a\n");
    bench_refused(b, "x.csv", NULL, GRAFT_EUSAGE, "--input");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(csv_has_quotes_newlines_and_line_numbers),
        BENCH_TEST(csv_errors_name_the_line),
        BENCH_TEST(delimiters_are_found_and_tsv_has_no_quotes),
        BENCH_TEST(json_lines_become_cells),
        BENCH_TEST(columns_are_guessed_or_named),
        BENCH_TEST(a_two_column_table_needs_no_names),
        BENCH_TEST(a_folder_of_tables_has_their_parts),
        BENCH_TEST(rows_without_file_or_label_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
