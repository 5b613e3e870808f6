/* Word vectors against gensim's and fastText's (tests/golden/make_vectors_golden.py): every format, words
 * that are not there, neighbours, analogies; and files that are not what they should be. */
#include "model/model_room.h"

#define VECTORS "tests/golden/vectors/"
#define SHARED  "../shared/data/vectors/"

/* ---- What is expected ---- */

static int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static graft_word word_of(room *r, const char *hex) {
    size_t size = strlen(hex) / 2;
    char *text = graft_arena_alloc(r->arena, size + 1);
    for (size_t i = 0; i < size; i++) text[i] = (char)(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
    return (graft_word){text, size};
}

static void near(const char *what, double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * fmax(1.0, fabs(expected))))
        fail_msg("%s is %.9g, not %.9g", what, got, expected);
}

/* The first values and the sum. */
static void compare_vector(const char *word, const float *x, int width, const json_t *expected) {
    size_t n = json_array_size(expected) - 1;
    double sum = 0;
    for (int i = 0; i < width; i++) sum += (double)x[i];
    for (size_t i = 0; i < n; i++)
        near(word, (double)x[i], json_number_value(json_array_get(expected, i)), 2e-6);
    near(word, sum, json_number_value(json_array_get(expected, n)), 1e-5);
}

static void compare_vectors(room *r, const graft_vectors *v, const json_t *expected, bool known) {
    graft_err err = {0};
    int width = graft_vectors_width(v);
    float *x = graft_arena_array(r->arena, (size_t)width, sizeof *x);
    const char *hex;
    json_t *values;
    json_object_foreach((json_t *)expected, hex, values) {
        graft_word w = word_of(r, hex);
        int64_t i = graft_vectors_find(v, w.text, w.size);
        assert_int_equal(i >= 0, known);
        assert_int_equal(graft_vectors_get(v, w.text, w.size, x, &err), 1);
        compare_vector(w.text, x, width, values);
        if (known) {
            graft_word back = graft_vectors_word(v, i);
            assert_int_equal(back.size, w.size);
            assert_memory_equal(back.text, w.text, w.size);
        }
    }
}

static void compare_nearest(room *r, const graft_vectors *v, const graft_word *words, const int *signs,
                            size_t n, const json_t *expected) {
    graft_err err = {0};
    graft_neighbour got[10];
    int64_t known[3];
    size_t n_got;
    float *query = graft_arena_array(r->arena, (size_t)graft_vectors_width(v), sizeof *query);
    for (size_t i = 0; i < n; i++) known[i] = graft_vectors_find(v, words[i].text, words[i].size);
    assert_ok(graft_vectors_mean(v, words, signs, n, query, &err));
    assert_ok(graft_vectors_similar(got, &n_got, v, r->env, query, 10, known, n, &err));
    assert_int_equal(n_got, json_array_size(expected));
    for (size_t i = 0; i < n_got; i++) {
        const json_t *item = json_array_get(expected, i);
        double score = json_number_value(json_array_get(item, 1));
        graft_word w = word_of(r, json_string_value(json_array_get(item, 0)));
        near("a cosine", (double)got[i].score, score, 1e-5);
        graft_word is = graft_vectors_word(v, got[i].word);
        bool same = is.size == w.size && memcmp(is.text, w.text, w.size) == 0;
        /* words as near as rounding may change places */
        bool tied = i + 1 < n_got && fabsf(got[i].score - got[i + 1].score) < 2e-6F;
        tied = tied || (i && fabsf(got[i].score - got[i - 1].score) < 2e-6F) || i + 1 == n_got;
        if (!same && !tied) fail_msg("neighbour %zu is '%.*s', not '%s'", i, (int)is.size, is.text, w.text);
    }
}

/* As above, of an analogy by products. */
static void compare_product(room *r, const graft_vectors *v, const graft_word *w, const json_t *expected) {
    static const int signs[] = {-1, 1, 1}, plus = 1;
    const size_t width = (size_t)graft_vectors_width(v);
    float *queries = graft_arena_array(r->arena, 3 * width, sizeof *queries);
    graft_neighbour got[10];
    int64_t known[3];
    graft_err err = {0};
    size_t n_got = 0, i;
    json_t *item;
    for (size_t k = 0; k < 3; k++) {
        assert_ok(graft_vectors_mean(v, &w[k], &plus, 1, queries + k * width, &err));
        known[k] = graft_vectors_find(v, w[k].text, w[k].size);
    }
    assert_ok(graft_vectors_similar_product(got, &n_got, v, r->env, queries, signs, 3, 10, known, 3, &err));
    assert_int_equal(n_got, json_array_size(expected));
    json_array_foreach(expected, i, item) {
        double score = json_number_value(json_array_get(item, 1));
        graft_word word = word_of(r, json_string_value(json_array_get(item, 0)));
        near("a product", (double)got[i].score, score, 2e-5);
        graft_word is = graft_vectors_word(v, got[i].word);
        bool same = is.size == word.size && memcmp(is.text, word.text, word.size) == 0;
        bool tied = i + 1 < n_got && fabsf(got[i].score - got[i + 1].score) < 1e-5F;
        tied = tied || (i && fabsf(got[i].score - got[i - 1].score) < 1e-5F) || i + 1 == n_got;
        if (!same && !tied) fail_msg("product %zu is '%.*s', not '%s'", i, (int)is.size, is.text, word.text);
    }
}

static void compare_case(room *r, const char *path, const json_t *o) {
    graft_err err = {0};
    graft_vectors *v;
    const char *hex;
    json_t *item;
    size_t i;
    const int plus = 1, signs[] = {-1, 1, 1};
    assert_ok(graft_vectors_open(&v, r->env, path, &err));
    assert_int_equal(graft_vectors_n(v), json_integer_value(json_object_get(o, "n")));
    assert_int_equal(graft_vectors_width(v), json_integer_value(json_object_get(o, "width")));
    assert_string_equal(graft_vectors_format_name(v), json_string_value(json_object_get(o, "format")));
    json_array_foreach(json_object_get(o, "words"), i, item) {
        graft_word w = word_of(r, json_string_value(item)), is = graft_vectors_word(v, (int64_t)i);
        assert_int_equal(is.size, w.size);
        assert_memory_equal(is.text, w.text, w.size);
    }
    compare_vectors(r, v, json_object_get(o, "vectors"), true);
    compare_vectors(r, v, json_object_get(o, "unknown"), false);
    json_object_foreach(json_object_get(o, "similar"), hex, item) {
        graft_word w = word_of(r, hex);
        compare_nearest(r, v, &w, &plus, 1, item);
    }
    json_array_foreach(json_object_get(o, "analogy"), i, item) {
        const json_t *names = json_object_get(item, "words");
        graft_word w[3];
        for (size_t k = 0; k < 3; k++) w[k] = word_of(r, json_string_value(json_array_get(names, k)));
        compare_nearest(r, v, w, signs, 3, json_object_get(item, "nearest"));
        compare_product(r, v, w, json_object_get(item, "product"));
    }
    graft_vectors_close(v);
}

static void compare_all(room *r, const char *group, const char *folder) {
    json_t *cases = json_object_get(read_json(r, VECTORS "expected.json"), group), *o;
    const char *name;
    assert_true(json_object_size(cases) >= 6);
    json_object_foreach(cases, name, o) {
        print_message("%s\n", name);
        compare_case(r, graft_path_join(r->arena, folder, name), o);
    }
}

static void every_format_equals_gensim_and_fasttext(void **state) {
    compare_all(*state, "own", VECTORS);
}

static void real_files_equal_gensim(void **state) {
    if (!graft_path_is_dir(SHARED)) {
        print_message("skipped: no %s\n", SHARED);
        skip();
    }
    compare_all(*state, "shared", SHARED);
}

/* ---- Texts ---- */

static int parse(graft_vectors **v, room *r, const char *text, size_t size, graft_err *err) {
    return graft_vectors_parse(v, r->env, text, size, "f", err);
}

static void text_is(room *r, const char *text, int64_t n, int width) {
    graft_err err = {0};
    graft_vectors *v;
    assert_ok(parse(&v, r, text, strlen(text), &err));
    assert_int_equal(graft_vectors_n(v), n);
    assert_int_equal(graft_vectors_width(v), width);
    graft_vectors_close(v);
}

static void text_may_lack_a_header_end_lines_by_crlf_and_hold_blank_lines(void **state) {
    room *r = *state;
    text_is(r, "2 3\na 1 2 3\nb 4 5 6\n", 2, 3);
    text_is(r, "2 3\r\na 1 2 3\r\nb 4 5 6\r\n\r\n", 2, 3);
    text_is(r, "a 1 2 3\nb\t4\t5\t6", 2, 3);
    text_is(r, "a 1 2 3 \n\nb  4 5  6 \n", 2, 3);
    text_is(r, "7 3\n8 2\n", 2, 1);      /* GloVe's words may be numbers */
    text_is(r, "2 1\na 1\nb 2\n", 2, 1); /* but a header goes before */
    text_is(r, "1 3\n 1 2 3\n", 1, 3);   /* the empty word */
}

static void words_may_hold_spaces(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors *v;
    float x[2];
    static const char text[] = "a 1 2\n. . . 3 4\nnew york 5 6\n";
    assert_ok(parse(&v, r, text, strlen(text), &err));
    assert_int_equal(graft_vectors_find(v, ". . .", 5), 1);
    assert_int_equal(graft_vectors_get(v, "new york", 8, x, &err), 1);
    assert_true(x[0] > 4.9F && x[1] > 5.9F);
    graft_vectors_close(v);
}

static void the_first_row_of_a_word_counts(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors *v;
    float x[2];
    static const char text[] = "3 2\na 1 2\na 3 4\nb 5 6\n";
    assert_ok(parse(&v, r, text, strlen(text), &err));
    assert_int_equal(graft_vectors_n(v), 2);
    assert_int_equal(graft_vectors_get(v, "a", 1, x, &err), 1);
    assert_true(x[0] < 1.1F);
    assert_non_null(strstr(r->log.data, "warning: f: 1 words stand there again"));
    assert_int_equal(graft_vectors_get(v, "none", 4, x, &err), 0);
    graft_vectors_close(v);
}

static void numbers_are_read_as_the_nearest_float(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char *const texts[] = {"0",
                                        "-0.0",
                                        "1e-3",
                                        "+.5",
                                        "3.",
                                        "1e-45",
                                        "3.4028235e38",
                                        "1.17549435e-38",
                                        "123456789.123456789012345",
                                        "0.000000000000000000000000000000123",
                                        "16777217",
                                        "-9.999999e-1",
                                        "0.10000000149011612",
                                        "1E5",
                                        "00012.5e+01",
                                        "8388608.5"};
    for (size_t i = 0; i < GRAFT_COUNT(texts); i++) {
        char line[128];
        graft_vectors *v;
        float x;
        snprintf(line, sizeof line, "w %s\n", texts[i]);
        assert_ok(parse(&v, r, line, strlen(line), &err));
        assert_ok(graft_vectors_row(v, 0, &x, &err));
        float expected = (float)strtod(texts[i], NULL);
        if (memcmp(&x, &expected, sizeof x) != 0) fail_msg("%s is %.9g", texts[i], (double)x);
        graft_vectors_close(v);
    }
}

static void text_refused(room *r, const char *text, const char *message) {
    graft_err err = {0};
    graft_vectors *v;
    assert_error(parse(&v, r, text, strlen(text), &err), GRAFT_EFORMAT, message);
    assert_null(v);
}

static void a_wrong_text_is_refused_with_its_line(void **state) {
    room *r = *state;
    text_refused(r, "", "is empty");
    text_refused(r, "\n", "is no file of word vectors");
    text_refused(r, "word\n", "is no file of word vectors");
    text_refused(r, "2 3\na 1 2 3\nb 4 5\n", "line 3 is short: it has 3 fields, a word and 3 values");
    text_refused(r, "2 3\na 1 2 3\nb 4 5 6 7.5 8\n", "line 3 is long: it has 6 fields");
    text_refused(r, "a 1 2 3\nb 4 5\n", "line 2 is short");
    text_refused(r, "3 3\na 1 2 3\nb 4 5 6\n", "promises 3 words and the file has 2");
    text_refused(r, "1 3\na 1 2 3\nb 4 5 6\n", "promises 1 words and the file has 2");
    text_refused(r, "1000000000000 300\na 1 2\n", "line 2 is short");
    text_refused(r, "1000000000000 2\na 1 2\n", "promises 1000000000000 words and the file has 1");
    text_refused(r, "0 3\n", "has no words");
    text_refused(r, "2 2\n b 1 2\na 1 2\n", "line 2 begins with a blank");
    graft_err err = {0};
    graft_vectors *v;
    assert_error(parse(&v, r, "1 1000000000000\na 1 2\n", 22, &err), GRAFT_EUNSUPPORTED, "at most 65536");
    assert_error(parse(&v, r, "\x1f\x8b\x08 a", 5, &err), GRAFT_EUNSUPPORTED, "packed with gzip");
    assert_error(graft_vectors_open(&v, r->env, r->dir, &err), GRAFT_EIO, "director");
    assert_error(graft_vectors_open(&v, r->env, in_room(r, "none"), &err), GRAFT_EIO, "none");
}

static void a_value_that_is_no_number_is_told_when_its_row_is_read(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char *const values[] = {"nan", "inf", "1e39", "0x10", "1,5", "--1", "1e", "1.5.2", "."};
    for (size_t i = 0; i < GRAFT_COUNT(values); i++) {
        char text[64], message[64];
        graft_vectors *v;
        graft_neighbour got;
        size_t n;
        float x[2] = {1, 1};
        snprintf(text, sizeof text, "2 2\na 1 2\nb 3 %s\n", values[i]);
        snprintf(message, sizeof message, "f: line 3: value 2 is '%s', which is no finite number", values[i]);
        assert_ok(parse(&v, r, text, strlen(text), &err));
        assert_int_equal(graft_vectors_get(v, "a", 1, x, &err), 1);
        assert_error(graft_vectors_get(v, "b", 1, x, &err), GRAFT_EFORMAT, message);
        x[1] = 1;
        assert_error(graft_vectors_similar(&got, &n, v, r->env, x, 1, NULL, 0, &err), GRAFT_EFORMAT, message);
        graft_vectors_close(v);
    }
}

static void a_text_larger_than_a_piece_is_read_whole(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_buf b;
    graft_vectors *v;
    enum { N = 60000 };
    float x[16];
    graft_buf_init(&b, 0);
    graft_buf_printf(&b, "%d 16\n", N);
    for (int i = 0; i < N; i++) {
        graft_buf_printf(&b, "word%d", i);
        for (int k = 0; k < 16; k++) graft_buf_printf(&b, " %.*f", 3 + i % 7, 0.001 * i + k);
        graft_buf_text(&b, "\n");
    }
    assert_true(b.size > 2 * (4 << 20));
    assert_ok(parse(&v, r, b.data, b.size, &err));
    assert_int_equal(graft_vectors_n(v), N);
    for (int i = 0; i < N; i += 997) {
        char word[16];
        snprintf(word, sizeof word, "word%d", i);
        assert_int_equal(graft_vectors_find(v, word, strlen(word)), i);
        assert_ok(graft_vectors_row(v, i, x, &err));
        near(word, (double)x[15], 0.001 * i + 15, 1e-6);
    }
    graft_vectors_close(v);
    b.data[b.size - 3] =
        ' '; /* a row of the last piece gets a field more or a bad one; the first ones stay */
    assert_error(parse(&v, r, b.data, b.size, &err), GRAFT_EFORMAT, "line 60001 is long");
    graft_buf_done(&b);
}

/* ---- Binary files ---- */

static unsigned char *copy_of(room *r, const char *name, size_t *size) {
    graft_err err = {0};
    graft_mapped f;
    assert_ok(graft_file_map(&f, r->arena, graft_arena_printf(r->arena, VECTORS "%s", name), &err));
    unsigned char *data = graft_arena_alloc(r->arena, f.size);
    memcpy(data, f.data, f.size);
    *size = f.size;
    return data;
}

static void a_binary_file_cut_anywhere_is_refused(void **state) {
    room *r = *state;
    static const char *const names[] = {"word2vec.bin",         "subwords.bin",         "quantised_norms.ftz",
                                        "quantised_pruned.ftz", "quantised_output.ftz", "words_only.bin"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        size_t size;
        unsigned char *data = copy_of(r, names[i], &size);
        for (size_t cut = 0; cut < size; cut += 1 + size / 400) {
            graft_err err = {0};
            graft_vectors *v = NULL;
            void *exact = malloc(cut + !cut); /* a sanitizer sees each byte too far */
            memcpy(exact, data, cut);
            int rc = graft_vectors_parse(&v, r->env, exact, cut, "f", &err);
            if (rc != GRAFT_EFORMAT) fail_msg("%s cut at %zu: %d", names[i], cut, rc);
            assert_true(err.message[0]);
            free(exact);
        }
    }
}

static void refused(room *r, const unsigned char *data, size_t size, int code, const char *message) {
    graft_err err = {0};
    graft_vectors *v;
    assert_error(graft_vectors_parse(&v, r->env, data, size, "f", &err), code, message);
}

static void put_i32(unsigned char *data, size_t at, int32_t x) {
    memcpy(data + at, &x, sizeof x);
}

static void a_wrong_fasttext_file_is_refused(void **state) {
    room *r = *state;
    enum { VERSION = 4, WIDTH = 8, BUCKET = 40, COUNTS = 64 };
    size_t size;
    unsigned char *data = copy_of(r, "subwords.bin", &size), *good = copy_of(r, "subwords.bin", &size);
    put_i32(data, VERSION, 13);
    refused(r, data, size, GRAFT_EUNSUPPORTED, "format 13; 11 and 12 are read");
    put_i32(data, VERSION, 12);
    put_i32(data, WIDTH, 0);
    refused(r, data, size, GRAFT_EFORMAT, "arguments make no sense");
    put_i32(data, WIDTH, 7);
    refused(r, data, size, GRAFT_EFORMAT, "input matrix has");
    put_i32(data, WIDTH, 6);
    put_i32(data, BUCKET, 61);
    refused(r, data, size, GRAFT_EFORMAT, "words and buckets ask for more");
    memcpy(data, good, size);
    put_i32(data, COUNTS, INT32_MAX);
    refused(r, data, size, GRAFT_EFORMAT, "a dictionary of 2147483647 entries cannot have");
    put_i32(data, COUNTS + 4, INT32_MAX);
    refused(r, data, size, GRAFT_EFORMAT, "of the dictionary");
}

static void a_number_that_is_none_in_a_binary_file_is_told(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors *v;
    const float nan = NAN;
    float x[6];
    size_t size;
    unsigned char *data = copy_of(r, "word2vec.bin", &size);
    memcpy(data + size - sizeof nan, &nan, sizeof nan);
    assert_ok(graft_vectors_parse(&v, r->env, data, size, "f", &err));
    assert_ok(graft_vectors_row(v, 0, x, &err));
    assert_error(graft_vectors_row(v, graft_vectors_n(v) - 1, x, &err), GRAFT_EFORMAT,
                 "that is no number, from byte");
    graft_vectors_close(v);
    refused(r, data, size - 4, GRAFT_EFORMAT, "ends within word");
    data[0] = '9';
    refused(r, data, size, GRAFT_EFORMAT, "bytes cannot hold");
}

static void a_binary_file_that_goes_on_is_refused(void **state) {
    room *r = *state;
    size_t size;
    unsigned char *data = copy_of(r, "word2vec.bin", &size), *longer = graft_arena_alloc(r->arena, size + 4);
    memcpy(longer, data, size);
    memcpy(longer + size, "\nab ", 4);
    refused(r, longer, size + 4, GRAFT_EFORMAT, "goes on at byte");
    graft_err err = {0};
    graft_vectors *v;
    assert_ok(graft_vectors_parse(&v, r->env, longer, size + 1, "f", &err));
    graft_vectors_close(v);
}

/* ---- Neighbours, writing ---- */

static void threads_do_not_change_neighbours(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_buf b;
    graft_vectors *v;
    enum { N = 5000, K = 40 };
    graft_neighbour got[3][K];
    size_t n[3];
    const float query[] = {1, 0.5F, -0.25F};
    graft_rng rng = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    graft_buf_init(&b, 0);
    for (int i = 0; i < N; i++) /* few different values: many ties */
        graft_buf_printf(&b, "w%d %d %d %d\n", i, (int)graft_rng_below(&rng, 3) - 1,
                         (int)graft_rng_below(&rng, 3) - 1, (int)graft_rng_below(&rng, 2));
    assert_ok(parse(&v, r, b.data, b.size, &err));
    for (int t = 0; t < 3; t++) {
        graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
        graft_env *env;
        o.threads = 1 + 2 * t;
        assert_ok(graft_env_new(&env, &o, &err));
        assert_ok(graft_vectors_similar(got[t], &n[t], v, env, query, K, NULL, 0, &err));
        assert_int_equal(n[t], K);
        for (int i = 0; i < K; i++) assert_int_equal(got[t][i].word, got[0][i].word);
        graft_env_free(env);
    }
    graft_vectors_close(v);
    graft_buf_done(&b);
}

static void fewer_words_than_asked_for_are_all_given(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors *v;
    graft_neighbour got[10];
    const float query[] = {1, 0}, nothing[] = {0, 0};
    const int64_t left_out[] = {1, -1};
    size_t n;
    static const char text[] = "a 1 0\nb 1 1\nc 0 0\nd -1 0\n";
    assert_ok(parse(&v, r, text, strlen(text), &err));
    assert_ok(graft_vectors_similar(got, &n, v, r->env, query, 10, left_out, 2, &err));
    assert_int_equal(n, 2); /* b is left out, c has no direction */
    assert_int_equal(got[0].word, 0);
    assert_int_equal(got[1].word, 3);
    assert_error(graft_vectors_similar(got, &n, v, r->env, nothing, 10, NULL, 0, &err), GRAFT_EDATA,
                 "no length");
    const graft_word words[] = {{"a", 1}, {"d", 1}, {"c", 1}, {"x", 1}};
    const int plus[] = {1, 1};
    float x[2];
    assert_error(graft_vectors_mean(v, words, plus, 2, x, &err), GRAFT_EDATA, "cancel out");
    assert_error(graft_vectors_mean(v, &words[2], plus, 1, x, &err), GRAFT_EDATA, "'c' has no vector in f");
    assert_error(graft_vectors_mean(v, &words[3], plus, 1, x, &err), GRAFT_EDATA, "'x' has no vector in f");
    graft_vectors_close(v);
}

static void written_files_read_back_the_same(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors *v, *back;
    const graft_word words[] = {{"katze", 5},
                                {"katzen", 6},
                                {"stra\xc3\x9f"
                                 "e",
                                 7},
                                {"x", 1}};
    float x[6], y[6];
    size_t n_missing;
    assert_ok(graft_vectors_open(&v, r->env, VECTORS "subwords.bin", &err));
    for (int binary = 0; binary < 2; binary++) {
        const char *path = in_room(r, binary ? "out.bin" : "out.vec");
        assert_ok(graft_vectors_write(path, v, words, 4, binary, &n_missing, &err));
        assert_ok(graft_vectors_open(&back, r->env, path, &err));
        assert_string_equal(graft_vectors_format_name(back), binary ? "word2vec binary" : "word2vec text");
        assert_int_equal(graft_vectors_n(back) + (int64_t)n_missing, 4);
        for (int64_t i = 0; i < graft_vectors_n(back); i++) {
            graft_word w = graft_vectors_word(back, i);
            assert_int_equal(graft_vectors_get(v, w.text, w.size, x, &err), 1);
            assert_ok(graft_vectors_row(back, i, y, &err));
            assert_memory_equal(x, y, sizeof x);
        }
        graft_vectors_close(back);
    }
    const graft_word blank = {"a b", 3};
    assert_error(graft_vectors_write(in_room(r, "o"), v, &blank, 1, false, &n_missing, &err), GRAFT_EDATA,
                 "that can be written");
    graft_vectors_close(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(every_format_equals_gensim_and_fasttext),
        room_test(real_files_equal_gensim),
        room_test(text_may_lack_a_header_end_lines_by_crlf_and_hold_blank_lines),
        room_test(words_may_hold_spaces),
        room_test(the_first_row_of_a_word_counts),
        room_test(numbers_are_read_as_the_nearest_float),
        room_test(a_wrong_text_is_refused_with_its_line),
        room_test(a_value_that_is_no_number_is_told_when_its_row_is_read),
        room_test(a_text_larger_than_a_piece_is_read_whole),
        room_test(a_binary_file_cut_anywhere_is_refused),
        room_test(a_wrong_fasttext_file_is_refused),
        room_test(a_number_that_is_none_in_a_binary_file_is_told),
        room_test(a_binary_file_that_goes_on_is_refused),
        room_test(threads_do_not_change_neighbours),
        room_test(fewer_words_than_asked_for_are_all_given),
        room_test(written_files_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
