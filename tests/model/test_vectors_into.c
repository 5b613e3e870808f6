/* Word vectors in place of a model's embedding matrix: which rows it keeps, and the map of the others. */
#include "text_room.h"

#include "model/vectors_words.h"

#define BERT "tests/parity/text/bert_bare"
enum { WIDTH = 24 };

static const char tokens[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\na\nof\nto\nand\nin\n##s\nred\nblue\n";

/* A BERT of 60 tokens with the words above. */
static const char *model_folder(room *r) {
    static const char *const files[] = {"config.json", "model.safetensors"};
    graft_err err = {0};
    const char *dir = file_of(r, r->dir, "bert");
    assert_ok(graft_dir_make(dir, &err));
    for (size_t i = 0; i < GRAFT_COUNT(files); i++)
        assert_ok(graft_file_copy(file_of(r, BERT, files[i]), file_of(r, dir, files[i]), &err));
    assert_ok(graft_file_write(file_of(r, dir, "vocab.txt"), tokens, sizeof tokens - 1, &err));
    return dir;
}

static int replace(room *r, graft_vectors_into_report *out, const char *dir, const char *model,
                   const char *vec, graft_err *err) {
    static const graft_vectors_model_options all = {0};
    graft_vectors *v = NULL;
    assert_int_equal(graft_vectors_parse(&v, r->env, vec, strlen(vec), "a.vec", err), 0);
    int rc = graft_vectors_replace(out, dir, r->env, v, model, &all, err);
    graft_vectors_close(v);
    return rc;
}

static const float *rows_of(room *r, const graft_model *m, int64_t *n) {
    static const char name[] = "bert.embeddings.word_embeddings.weight";
    graft_err err = {0};
    const graft_param *p = graft_model_find_param(m, name);
    if (!p) p = graft_model_find_param(m, name + sizeof "bert." - 1);
    assert_non_null(p);
    *n = p->shape.dims[0];
    float *rows = graft_arena_array(r->arena, (size_t)*n * WIDTH, sizeof *rows);
    assert_ok(graft_model_get(m, p->name, rows, (size_t)*n * WIDTH, &err));
    return rows;
}

static void a_linear_map_is_found_again(void **state) {
    enum { N = 200, D = 5, W = 3 };
    room *r = *state;
    graft_err err = {0};
    graft_rng rng = graft_rng_at(1, 0, 0, GRAFT_RNG_INIT);
    float x[N * D], y[N * W], made[W];
    double cosine;
    graft_vectors_map m;
    for (size_t i = 0; i < N * D; i++) x[i] = (float)graft_rng_normal(&rng);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < W; k++) {
            y[i * W + k] = 2.0F + (float)k;
            for (size_t a = 0; a < D; a++)
                y[i * W + k] += (float)(a + 1) * (k == 1 ? -0.5F : 1) * x[i * D + a];
        }
    assert_ok(graft_vectors_map_fit(&m, r->arena, x, y, N, D, W, 2, &err));
    for (size_t i = 0; i < N; i++) {
        graft_vectors_map_apply(&m, x + i * D, made);
        for (size_t k = 0; k < W; k++) assert_float_equal(made[k], y[i * W + k], 0.1);
    }
    assert_ok(graft_vectors_map_judge(&cosine, &m, r->arena, x, y, N, &err));
    assert_true(cosine > 0.999);
    memset(x, 0, sizeof x);
    assert_int_equal(graft_vectors_map_fit(&m, r->arena, x, y, N, D, W, 1, &err), GRAFT_EDATA);
}

/* Words of the file and special tokens: the words it shares with the model keep their row, and so do special
 * tokens; the numbers of these stay where they can. */
static void shared_words_keep_their_rows(void **state) {
    static const char vec[] =
        "8 2\nthe 1 0\nred 0 1\nto -1 0\nblue 0.5 1\ngreen 0 0.9\nand 2 1\n[CLS] 9 9\nin 1 1\n";
    room *r = *state;
    graft_err err = {0};
    graft_vectors_into_report report;
    graft_model *old = NULL, *m = NULL;
    const char *model = model_folder(r), *out = file_of(r, r->dir, "out");
    assert_ok(replace(r, &report, out, model, vec, &err));
    assert_int_equal(report.n_words, 7);
    assert_int_equal(report.n_special, 4);
    assert_int_equal(report.n_shared, 6);
    assert_true(report.mapped);
    assert_int_equal(report.from_width, 2);
    assert_int_equal(report.to_width, WIDTH);
    assert_ok(graft_model_open(&old, r->env, model, NULL, &err));
    assert_ok(graft_model_open(&m, r->env, out, NULL, &err));
    const graft_tokenizer *before, *after;
    assert_ok(graft_model_tokenizer(&before, old, &err));
    assert_ok(graft_model_tokenizer(&after, m, &err));
    int64_t n_old, n;
    const float *old_rows = rows_of(r, old, &n_old), *rows = rows_of(r, m, &n);
    assert_int_equal(n, 11);
    assert_int_equal(graft_tokenizer_size(after), 11);
    static const char *const kept[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "the",
                                       "red",   "to",    "blue",  "and",   "in"};
    for (size_t i = 0; i < GRAFT_COUNT(kept); i++) {
        int32_t a = graft_tokenizer_id(before, kept[i]), b = graft_tokenizer_id(after, kept[i]);
        assert_true(a >= 0 && b >= 0);
        if (i < 4) assert_int_equal(a, b);
        assert_memory_equal(rows + b * WIDTH, old_rows + a * WIDTH, WIDTH * sizeof *rows);
    }
    graft_encoding e = {0};
    static const char text[] = "the green thing";
    assert_ok(graft_tokenizer_encode(after, &e, text, strlen(text), NULL, 0, NULL, &err));
    assert_int_equal(e.n, 5);
    assert_int_equal(e.ids[0], graft_tokenizer_id(after, "[CLS]"));
    assert_int_equal(e.ids[2], graft_tokenizer_id(after, "green"));
    assert_int_equal(e.ids[3], graft_tokenizer_id(after, "[UNK]"));
    assert_int_equal(e.ids[4], graft_tokenizer_id(after, "[SEP]"));
    graft_encoding_done(&e);
    graft_model_close(m);
    graft_model_close(old);
}

static void vectors_of_the_models_width_need_no_map(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors_into_report report;
    graft_model *m = NULL;
    char vec[1024] = "2 24\n";
    for (int w = 0; w < 2; w++) {
        strcat(vec, w ? "green" : "the");
        for (int k = 0; k < WIDTH; k++) strcat(vec, w ? " 0.25" : " 1");
        strcat(vec, "\n");
    }
    assert_ok(replace(r, &report, file_of(r, r->dir, "out"), model_folder(r), vec, &err));
    assert_false(report.mapped);
    assert_ok(graft_model_open(&m, r->env, file_of(r, r->dir, "out"), NULL, &err));
    const graft_tokenizer *t;
    int64_t n;
    assert_ok(graft_model_tokenizer(&t, m, &err));
    const float *rows = rows_of(r, m, &n);
    for (int k = 0; k < WIDTH; k++)
        assert_float_equal(rows[graft_tokenizer_id(t, "green") * WIDTH + k], 0.25F, 0);
    graft_model_close(m);
}

static void what_cannot_be_replaced_is_refused(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_vectors_into_report report;
    const char *out = file_of(r, r->dir, "none");
    assert_int_equal(replace(r, &report, out, model_folder(r), "2 3\nthe 1 2 3\ngreen 1 2 4\n", &err),
                     GRAFT_EDATA);
    assert_non_null(strstr(err.message, "1 words are both in the vectors and tokens of"));
    assert_int_equal(replace(r, &report, out, "tests/parity/resnet/hf_basic", "1 1\nthe 1\n", &err),
                     GRAFT_EUSAGE);
    assert_false(graft_path_is_dir(out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_linear_map_is_found_again, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(shared_words_keep_their_rows, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(vectors_of_the_models_width_need_no_map, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_replaced_is_refused, room_setup, room_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
