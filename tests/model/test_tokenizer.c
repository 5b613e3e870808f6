/* Ids, types, words and offsets against the `tokenizers` package (tests/golden/make_tokenizer_golden.py),
 * older files, windows, and files that are none. */
#include "model/tokenizer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

static graft_tokenizer *parsed(const char *json) {
    graft_tokenizer *t;
    graft_err err;
    if (graft_tokenizer_parse(&t, json, strlen(json), "test", &err) < 0) fail_msg("%s", err.message);
    return t;
}

static json_t *golden(graft_arena *arena, const char *name, graft_tokenizer **t) {
    char path[256];
    json_t *file;
    graft_err err;
    snprintf(path, sizeof path, "tests/golden/tokenizer/%s", name);
    if (graft_json_read(&file, arena, path, &err) < 0) fail_msg("%s", err.message);
    char *text = json_dumps(json_object_get(file, "tokenizer"), JSON_COMPACT);
    assert_non_null(text);
    *t = parsed(text);
    free(text);
    return json_object_get(file, "cases");
}

static int encode_case(const graft_tokenizer *t, graft_encoding *e, const json_t *c, graft_err *err) {
    const graft_encode_options o = {.no_special = json_is_true(json_object_get(c, "no_special"))};
    const json_t *words = json_object_get(c, "words"), *texts = json_object_get(c, "text_pair");
    if (texts) {
        const json_t *a = json_array_get(texts, 0), *b = json_array_get(texts, 1);
        return graft_tokenizer_encode(t, e, json_string_value(a), json_string_length(a), json_string_value(b),
                                      b ? json_string_length(b) : 0, &o, err);
    }
    const char *list[256];
    size_t sizes[256], n = json_array_size(words);
    assert_true(n <= 256);
    for (size_t i = 0; i < n; i++) {
        list[i] = json_string_value(json_array_get(words, i));
        sizes[i] = json_string_length(json_array_get(words, i));
    }
    return graft_tokenizer_encode_words(t, e, list, sizes, n, &o, err);
}

static void assert_numbers(const char *file, size_t k, const json_t *c, const char *key, const int32_t *got,
                           size_t n) {
    const json_t *want = json_object_get(c, key);
    if (json_array_size(want) != n)
        fail_msg("%s case %zu: %zu %s, not %zu", file, k, n, key, json_array_size(want));
    for (size_t i = 0; i < n; i++) {
        json_int_t x = json_integer_value(json_array_get(want, i));
        if (got[i] != x) fail_msg("%s case %zu: %s[%zu] is %d, not %d", file, k, key, i, (int)got[i], (int)x);
    }
}

static void check_cases(const char *file, const graft_tokenizer *t, graft_encoding *e, const json_t *cases) {
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *c = json_array_get(cases, k);
        graft_err err = {0};
        int rc = encode_case(t, e, c, &err);
        if (json_object_get(c, "error")) {
            assert_int_equal(rc, GRAFT_EDATA);
            continue;
        }
        if (rc < 0) fail_msg("%s case %zu: %s", file, k, err.message);
        assert_numbers(file, k, c, "ids", e->ids, e->n);
        assert_numbers(file, k, c, "types", e->type_ids, e->n);
        assert_numbers(file, k, c, "words_of", e->words, e->n);
        assert_numbers(file, k, c, "offsets", e->n ? &e->offsets[0][0] : NULL, 2 * e->n);
    }
}

static void every_golden_case_is_encoded_as_the_package_does(void **state) {
    graft_arena *arena = *state;
    char **names;
    size_t n;
    graft_encoding e = {0}; /* one for all tokenizers: what it keeps may not leak from one to the next */
    assert_int_equal(graft_dir_list(&names, &n, arena, "tests/golden/tokenizer", NULL), 0);
    assert_true(n >= 17);
    for (int round = 0; round < 2; round++) { /* the second finds words in the cache */
        for (size_t i = 0; i < n; i++) {
            graft_tokenizer *t;
            const json_t *cases = golden(arena, names[i], &t);
            check_cases(names[i], t, &e, cases);
            check_cases(names[i], t, &e, cases);
            graft_tokenizer_close(t);
        }
    }
    graft_encoding_done(&e);
}

#define LEVEL                                                                                                \
    "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"a\":1,\"b\":2,\"c\":3}}"
#define SPLIT ",\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}"

static void windows_cover_a_long_text_and_share_the_stride(void **state) {
    (void)state;
    graft_tokenizer *t = parsed(LEVEL SPLIT "}");
    const graft_encode_options o = {.max_length = 4, .stride = 1};
    graft_encoding e = {0};
    const char text[] = "a b c a b c a b";
    assert_int_equal(graft_tokenizer_encode(t, &e, text, strlen(text), NULL, 0, &o, NULL), 0);
    assert_int_equal(e.n_whole, 8);
    assert_int_equal(e.n_windows, 3);
    const int32_t want[3][4] = {{1, 2, 3, 1}, {1, 2, 3, 1}, {1, 2, 0, 0}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(graft_tokenizer_window(t, &e, i, &o, NULL), 0);
        assert_int_equal(e.n, i < 2 ? 4 : 2);
        assert_memory_equal(e.ids, want[i], e.n * sizeof *e.ids);
        assert_int_equal(e.offsets[0][0], 6 * (int)i);
    }
    assert_int_equal(graft_tokenizer_window(t, &e, 3, &o, NULL), GRAFT_EUSAGE);
    graft_encoding none = {0};
    assert_int_equal(graft_tokenizer_window(t, &none, 0, &o, NULL), GRAFT_EUSAGE);
    graft_encoding_done(&e);
    graft_tokenizer_close(t);
}

static void what_is_asked_of_a_tokenizer_is_answered(void **state) {
    (void)state;
    graft_tokenizer *t =
        parsed(LEVEL SPLIT ",\"truncation\":{\"max_length\":7},"
                           "\"added_tokens\":[{\"id\":6,\"content\":\"[PAD]\",\"special\":true}]}");
    graft_tokenizer *other = parsed(LEVEL "}");
    assert_int_equal(graft_tokenizer_size(t), 7);
    assert_string_equal(graft_tokenizer_token(t, 6), "[PAD]");
    assert_null(graft_tokenizer_token(t, 5));
    assert_null(graft_tokenizer_token(t, 7));
    assert_int_equal(graft_tokenizer_id(t, "c"), 3);
    assert_int_equal(graft_tokenizer_id(t, "nothing"), -1);
    assert_int_equal(graft_tokenizer_pad(t), 6);
    assert_int_equal(graft_tokenizer_pad(other), -1);
    assert_int_equal(graft_tokenizer_max_length(t), 7);
    assert_false(graft_hash_equal(graft_tokenizer_hash(t), graft_tokenizer_hash(other)));
    assert_int_equal(graft_tokenizer_save(t, ".", NULL), GRAFT_EUSAGE);
    graft_tokenizer_close(t);
    graft_tokenizer_close(other);
}

static void bad_texts_are_refused_with_their_byte(void **state) {
    (void)state;
    graft_tokenizer *t = parsed(LEVEL SPLIT "}");
    graft_encoding e = {0};
    graft_err err;
    static const char *const bad[] = {"ab \xff", "ab \xc0\x80", "ab \xed\xa0\x80", "ab \xf4\x90\x80\x80",
                                      "ab \xe2\x82"};
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        assert_int_equal(graft_tokenizer_encode(t, &e, bad[i], strlen(bad[i]), NULL, 0, NULL, &err),
                         GRAFT_EDATA);
        assert_non_null(strstr(err.message, "byte 3"));
    }
    size_t size = 100 * 1000 * 1000;
    char *line = malloc(size);
    assert_non_null(line);
    memset(line, 'a', size);
    assert_int_equal(graft_tokenizer_encode(t, &e, line, size, NULL, 0, NULL, &err), GRAFT_EDATA);
    /* the longest that is taken */
    assert_int_equal(graft_tokenizer_encode(t, &e, line, GRAFT_TEXT_MAX, NULL, 0, NULL, &err), 0);
    assert_int_equal(e.n, 1);
    free(line);
    const graft_encode_options o = {.max_length = 1};
    graft_tokenizer *bert =
        parsed(LEVEL SPLIT ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",1],"
                           "\"sep\":[\"b\",2]}}");
    assert_int_equal(graft_tokenizer_encode(bert, &e, "c", 1, NULL, 0, &o, &err), GRAFT_EDATA);
    graft_encoding_done(&e);
    graft_tokenizer_close(bert);
    graft_tokenizer_close(t);
}

static void files_that_are_none_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int code;
        const char *says;
    } cases[] = {
        {"", GRAFT_EFORMAT, "byte 0"},
        {"{}", GRAFT_EFORMAT, "model"},
        {"[1,2", GRAFT_EFORMAT, "byte 4"},
        {LEVEL, GRAFT_EFORMAT, "not JSON"},
        {LEVEL "} x", GRAFT_EFORMAT, "behind the end"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"a\":1}}}", GRAFT_EFORMAT, "twice"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0,\"b\":0}}}", GRAFT_EFORMAT, "one id"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-1}}}", GRAFT_EFORMAT, "out of range"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":4294967296}}}", GRAFT_EFORMAT, "out of range"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":1e3}}}", GRAFT_EFORMAT, "out of range"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"\\ud800\":1}}}", GRAFT_EFORMAT, "surrogate"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"\\udc00\\ud800\":1}}}", GRAFT_EFORMAT, "surrogate"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"\xff\":1}}}", GRAFT_EFORMAT, "UTF-8"},
        {"{\"model\":{\"type\":\"Lookup\",\"vocab\":{\"a\":1}}}", GRAFT_EUNSUPPORTED, "Lookup"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", GRAFT_EFORMAT, "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", GRAFT_EFORMAT, "merge 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}", GRAFT_EFORMAT, "unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", GRAFT_EFORMAT, "entry 0"},
        {LEVEL ",\"normalizer\":{\"type\":\"Magic\"}}", GRAFT_EUNSUPPORTED, "Magic"},
        {LEVEL ",\"pre_tokenizer\":{\"type\":\"Scissors\"}}", GRAFT_EUNSUPPORTED, "Scissors"},
        {LEVEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"}}}", GRAFT_EUNSUPPORTED,
         "("},
        {LEVEL ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}}", GRAFT_EFORMAT,
         "cut"},
        {LEVEL ",\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]}", GRAFT_EFORMAT, "'a'"},
        {LEVEL ",\"added_tokens\":[{\"id\":99999999,\"content\":\"x\"}]}", GRAFT_EFORMAT, "out of range"},
        {LEVEL ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"x\",77],\"sep\":[\"a\",1]}}",
         GRAFT_EFORMAT, "token 77"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_tokenizer *t;
        graft_err err = {0};
        int rc = graft_tokenizer_parse(&t, cases[i].json, strlen(cases[i].json), "test", &err);
        if (rc != cases[i].code || t || !strstr(err.message, cases[i].says))
            fail_msg("%s: %d, '%s'", cases[i].json, rc, err.message);
    }
}

static void a_file_cut_anywhere_is_refused_and_one_nested_too_deep_too(void **state) {
    graft_arena *arena = *state;
    graft_tokenizer *t;
    graft_err err;
    json_t *file;
    assert_int_equal(graft_json_read(&file, arena, "tests/golden/tokenizer/only_second.json", NULL), 0);
    char *text = json_dumps(json_object_get(file, "tokenizer"), JSON_COMPACT);
    for (size_t i = 0; i < strlen(text); i += 7)
        assert_int_equal(graft_tokenizer_parse(&t, text, i, "test", &err), GRAFT_EFORMAT);
    free(text);
    char deep[4096];
    memset(deep, '[', sizeof deep);
    assert_int_equal(graft_tokenizer_parse(&t, deep, sizeof deep, "test", &err), GRAFT_EFORMAT);
    assert_non_null(strstr(err.message, "nested"));
}

/* ---- Older files ---- */

static void write_text(graft_arena *arena, const char *dir, const char *name, const char *text) {
    const char *path = graft_path_join(arena, dir, name);
    assert_int_equal(graft_file_write(path, text, strlen(text), NULL), 0);
}

static void assert_ids(const graft_tokenizer *t, const char *text, const int32_t *ids, size_t n) {
    graft_encoding e = {0};
    graft_err err;
    if (graft_tokenizer_encode(t, &e, text, strlen(text), NULL, 0, NULL, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(e.n, n);
    assert_memory_equal(e.ids, ids, n * sizeof *ids);
    graft_encoding_done(&e);
}

static void older_files_are_opened_and_saved_byte_for_byte(void **state) {
    graft_arena *arena = *state;
    char dir[] = "/tmp/graft-tokenizer-XXXXXX";
    graft_tokenizer *t;
    graft_err err;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(graft_tokenizer_open(&t, dir, &err), GRAFT_EDATA);
    write_text(arena, dir, "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\r\n##able\n!\n");
    write_text(arena, dir, "tokenizer_config.json", "{\"model_max_length\": 512, \"do_lower_case\": true}");
    if (graft_tokenizer_open(&t, dir, &err) < 0) fail_msg("%s", err.message);
    assert_ids(t, "UNaffable! x [MASK]", (const int32_t[]){2, 5, 6, 7, 8, 1, 4, 3}, 8);
    assert_int_equal(graft_tokenizer_max_length(t), 512);
    assert_int_equal(graft_tokenizer_pad(t), 0);
    const char *copy = graft_path_join(arena, dir, "copy");
    assert_int_equal(graft_tokenizer_save(t, copy, &err), 0);
    char *a, *b;
    size_t n, m;
    assert_int_equal(graft_file_read(&a, &n, arena, graft_path_join(arena, dir, "vocab.txt"), 1000, NULL), 0);
    assert_int_equal(graft_file_read(&b, &m, arena, graft_path_join(arena, copy, "vocab.txt"), 1000, NULL),
                     0);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    graft_tokenizer_close(t);
    write_text(arena, dir, "vocab.txt", "[UNK]\na\na\n");
    assert_int_equal(graft_tokenizer_open(&t, dir, &err), GRAFT_EFORMAT);
    assert_non_null(strstr(err.message, "twice"));
    write_text(arena, dir, "vocab.json",
               "{\"l\":0,\"o\":1,\"w\":2,\"\xc4\xa0\":3,\"lo\":4,\"\xc4\xa0lo\":5,\"<s>\":6,\"</s>\":7}");
    write_text(arena, dir, "merges.txt", "#version: 0.2\nl o\n\xc4\xa0 lo\n");
    if (graft_tokenizer_open(&t, dir, &err) < 0) fail_msg("%s", err.message);
    assert_ids(t, "low low", (const int32_t[]){6, 4, 2, 5, 2, 7}, 6);
    graft_tokenizer_close(t);
    write_text(arena, dir, "added_tokens.json", "{\"<new>\": 8}");
    assert_int_equal(graft_tokenizer_open(&t, dir, &err), GRAFT_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "added_tokens.json"));
    graft_dir_remove(dir, NULL);
}

/* A SentencePiece model of six pieces, field by field. */
static void put_piece(graft_buf *b, const char *text, float score, char type) {
    char size = (char)strlen(text);
    const char head[] = {0x0a, (char)(size + 9), 0x0a, size};
    graft_buf_append(b, head, sizeof head);
    graft_buf_text(b, text);
    graft_buf_append(b, "\x15", 1);
    graft_buf_append(b, &score, sizeof score);
    const char tail[] = {0x18, type};
    graft_buf_append(b, tail, sizeof tail);
}

static void a_sentencepiece_model_is_read_and_shifted_for_xlmr(void **state) {
    (void)state;
    graft_buf b;
    graft_tokenizer *t;
    graft_err err;
    graft_buf_init(&b, 0);
    put_piece(&b, "<unk>", 0, 2);
    put_piece(&b, "<s>", 0, 3);
    put_piece(&b, "</s>", 0, 3);
    put_piece(&b, "\xe2\x96\x81", -2, 1);
    put_piece(&b, "a", -3, 1);
    put_piece(&b,
              "\xe2\x96\x81"
              "ab",
              -1, 1);
    if (graft_tokenizer_parse_sentencepiece(&t, b.data, b.size, false, "m", &err) < 0)
        fail_msg("%s", err.message);
    assert_ids(t, "ab  a z", (const int32_t[]){5, 3, 4, 3, 0}, 5);
    graft_tokenizer_close(t);
    if (graft_tokenizer_parse_sentencepiece(&t, b.data, b.size, true, "m", &err) < 0)
        fail_msg("%s", err.message);
    assert_ids(t, "ab  a z", (const int32_t[]){0, 6, 4, 5, 4, 3, 2}, 7);
    graft_tokenizer_close(t);
    for (size_t i = 1; i < b.size;
         i++) { /* cut between fields it is a smaller model, else none; never a crash */
        if (graft_tokenizer_parse_sentencepiece(&t, b.data, i, false, "m", &err) == 0)
            graft_tokenizer_close(t);
    }
    graft_buf_done(&b);
}

/* ---- Threads ---- */

typedef struct shared {
    const graft_tokenizer *t;
    graft_encoding e[4];
} shared;

static int encode_some(void *user, size_t i, int thread) {
    shared *s = user;
    char text[64];
    int n = snprintf(text, sizeof text, "The token %zu is unaffable, %zu.", i, i % 7);
    graft_encoding *e = &s->e[thread], again = {0};
    int rc = graft_tokenizer_encode(s->t, e, text, (size_t)n, NULL, 0, NULL, NULL);
    if (rc == 0) rc = graft_tokenizer_encode(s->t, &again, text, (size_t)n, NULL, 0, NULL, NULL);
    bool same = rc == 0 && e->n == again.n && memcmp(e->ids, again.ids, e->n * sizeof *e->ids) == 0;
    graft_encoding_done(&again);
    return same ? 0 : -1;
}

static void threads_share_a_tokenizer(void **state) {
    graft_tokenizer *t;
    golden(*state, "bert.json", &t);
    shared s = {.t = t};
    assert_int_equal(graft_parallel_for(4, 400, encode_some, &s), 0);
    for (int i = 0; i < 4; i++) graft_encoding_done(&s.e[i]);
    graft_tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_golden_case_is_encoded_as_the_package_does, setup, teardown),
        cmocka_unit_test(windows_cover_a_long_text_and_share_the_stride),
        cmocka_unit_test(what_is_asked_of_a_tokenizer_is_answered),
        cmocka_unit_test(bad_texts_are_refused_with_their_byte),
        cmocka_unit_test(files_that_are_none_are_refused),
        cmocka_unit_test_setup_teardown(a_file_cut_anywhere_is_refused_and_one_nested_too_deep_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(older_files_are_opened_and_saved_byte_for_byte, setup, teardown),
        cmocka_unit_test(a_sentencepiece_model_is_read_and_shifted_for_xlmr),
        cmocka_unit_test_setup_teardown(threads_share_a_tokenizer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
