/* Models over word vectors: their values against plain loops, and the folder that is made of a file. */
#include "text_room.h"

#include "model/init.h"

enum { D = 3, F = 2, H = 2, K0 = 2, K1 = 3, V = 9 };

static const char vec[] =
    "8 3\nred 1 0 0.5\ngreen 0 1 -0.5\napple 0.5 0.25 1\nis -1 0.125 0\nthe 0.25 -0.25 2\n"
    ". 0.5 0.5 0.5\nn't -2 1 0\ndo 1 1 1\n";

typedef struct made {
    const char *dir;
    graft_vectors_model_report report;
} made;

static made make_model(room *r, const char *name, const char *data, const graft_vectors_model_options *o) {
    graft_vectors *v = NULL;
    graft_err err = {0};
    made m = {.dir = file_of(r, r->dir, name)};
    assert_ok(graft_vectors_parse(&v, r->env, data, strlen(data), "a.vec", &err));
    assert_ok(graft_vectors_write_model(&m.report, m.dir, v, o, &err));
    graft_vectors_close(v);
    return m;
}

/* The folder's config with other sizes than the defaults. */
static void shrink(room *r, const char *dir) {
    graft_err err = {0};
    json_t *config = NULL;
    const char *path = file_of(r, dir, "config.json");
    assert_ok(graft_json_read(&config, r->arena, path, &err));
    json_object_set_new(config, "filters", json_integer(F));
    json_object_set_new(config, "hidden", json_integer(H));
    json_object_set_new(config, "kernels", json_pack("[i,i]", K0, K1));
    assert_ok(graft_json_write(path, config, &err));
}

static const float *value_of(room *r, const graft_model *m, const char *name) {
    graft_err err = {0};
    const graft_param *p = graft_model_find_param(m, name);
    if (!p) fail_msg("no parameter '%s'", name);
    size_t n = graft_init_count(&p->shape);
    float *out = graft_arena_array(r->arena, n, sizeof *out);
    assert_ok(graft_model_get(m, name, out, n, &err));
    return out;
}

static const int32_t ids[] = {1, 2, 0, 4, 7, 3, 3, 8}, positions[] = {0, 1, 2, 3, 4, 0, 0, 1};
static const int32_t spans[] = {0, 5, 5, 1, 6, 2};

static const float *features_of(room *r, const graft_model *m) {
    static const int32_t types[GRAFT_COUNT(ids)] = {0};
    const void *data[] = {ids, types, positions};
    static const char *const names[] = {"input_ids", "token_type_ids", "position_ids"};
    graft_tensor items[3];
    graft_err err = {0};
    for (int i = 0; i < 3; i++)
        items[i] = (graft_tensor){.name = names[i],
                                  .dtype = GRAFT_I32,
                                  .shape = {1, {GRAFT_COUNT(ids)}},
                                  .data = data[i],
                                  .size = sizeof ids};
    const graft_feed feed = {.n = 3,
                             .n_tokens = GRAFT_COUNT(ids),
                             .token_inputs = items,
                             .n_token_inputs = 3,
                             .spans = (int32_t *)spans};
    graft_infer *in = NULL;
    const float *features = NULL;
    assert_ok(graft_infer_new(&in, r->env, m, NULL, &err));
    assert_ok(graft_infer_feed(in, &feed, 0, 3, 3, &features, NULL, &err));
    size_t n = 3 * (size_t)graft_model_feature_width(m);
    float *out = graft_arena_array(r->arena, n, sizeof *out);
    memcpy(out, features, n * sizeof *out);
    graft_infer_free(in);
    return out;
}

static graft_model *open_encoder(room *r, const char *encoder) {
    const graft_vectors_model_options o = {.encoder = encoder};
    made m = make_model(r, encoder, vec, &o);
    shrink(r, m.dir);
    return open_model(r, m.dir, NULL);
}

static void the_mean_is_that_of_the_words(void **state) {
    room *r = *state;
    graft_model *m = open_encoder(r, "mean");
    const float *got = features_of(r, m), *e = value_of(r, m, "embeddings.weight");
    assert_int_equal(graft_model_feature_width(m), D);
    for (int n = 0; n < 3; n++) {
        for (int d = 0; d < D; d++) {
            double sum = 0;
            for (int t = spans[2 * n]; t < spans[2 * n] + spans[2 * n + 1]; t++) sum += e[ids[t] * D + d];
            assert_float_equal(got[n * D + d], (float)(sum / spans[2 * n + 1]), 1e-6);
        }
    }
    for (int d = 0; d < D; d++) assert_true(e[d] == 0.0F); /* the unknown word */
    assert_true(e[D] == 0.5F && e[D + 2] == 0.25F);        /* red, halved */
    graft_model_close(m);
}

/* The largest over the text of each filter, zeros where a window leaves the text. */
static double convolved(const float *e, const float *w, const float *b, int n, int kernel, int f) {
    double best = -INFINITY;
    const int first = spans[2 * n], count = spans[2 * n + 1];
    for (int t = 0; t < count; t++) {
        double sum = b[f];
        for (int k = 0; k < kernel; k++) {
            int at = t + k - (kernel - 1) / 2;
            for (int d = 0; at >= 0 && at < count && d < D; d++)
                sum += w[(f * kernel + k) * D + d] * e[ids[first + at] * D + d];
        }
        best = fmax(best, fmax(sum, 0));
    }
    return best;
}

static void the_cnn_is_its_filters_maxima(void **state) {
    room *r = *state;
    graft_model *m = open_encoder(r, "cnn");
    const float *got = features_of(r, m), *e = value_of(r, m, "embeddings.weight");
    assert_int_equal(graft_model_feature_width(m), 2 * F);
    for (int n = 0; n < 3; n++) {
        for (int f = 0; f < F; f++) {
            double first =
                convolved(e, value_of(r, m, "cnn.0.weight"), value_of(r, m, "cnn.0.bias"), n, K0, f);
            double second =
                convolved(e, value_of(r, m, "cnn.1.weight"), value_of(r, m, "cnn.1.bias"), n, K1, f);
            assert_float_equal(got[n * 2 * F + f], first, 1e-5);
            assert_float_equal(got[n * 2 * F + F + f], second, 1e-5);
        }
    }
    graft_model_close(m);
}

static double squash(double x) {
    return 1 / (1 + exp(-x));
}

/* One direction over one text; best [H] is the largest hidden state of each unit. */
static void recur(room *r, const graft_model *m, const char *suffix, int n, double *best) {
    const float *w[4], *e = value_of(r, m, "embeddings.weight");
    static const char *const names[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    for (int i = 0; i < 4; i++)
        w[i] = value_of(r, m, graft_arena_printf(r->arena, "lstm.%s_l0%s", names[i], suffix));
    double h[H] = {0}, c[H] = {0};
    for (int j = 0; j < H; j++) best[j] = -INFINITY;
    for (int step = 0; step < spans[2 * n + 1]; step++) {
        int t = spans[2 * n] + (*suffix ? spans[2 * n + 1] - 1 - step : step);
        double gates[4 * H];
        for (int g = 0; g < 4 * H; g++) {
            gates[g] = w[2][g] + w[3][g];
            for (int d = 0; d < D; d++) gates[g] += w[0][g * D + d] * e[ids[t] * D + d];
            for (int j = 0; j < H; j++) gates[g] += w[1][g * H + j] * h[j];
        }
        for (int j = 0; j < H; j++) {
            c[j] = squash(gates[H + j]) * c[j] + squash(gates[j]) * tanh(gates[2 * H + j]);
            h[j] = squash(gates[3 * H + j]) * tanh(c[j]);
            best[j] = fmax(best[j], h[j]);
        }
    }
}

static void the_lstm_reads_both_ways(void **state) {
    room *r = *state;
    graft_model *m = open_encoder(r, "lstm");
    const float *got = features_of(r, m);
    assert_int_equal(graft_model_feature_width(m), 2 * H);
    for (int n = 0; n < 3; n++) {
        double onwards[H], backwards[H];
        recur(r, m, "", n, onwards);
        recur(r, m, "_reverse", n, backwards);
        for (int j = 0; j < H; j++) {
            assert_float_equal(got[n * 2 * H + j], onwards[j], 1e-5);
            assert_float_equal(got[n * 2 * H + H + j], backwards[j], 1e-5);
        }
    }
    graft_model_close(m);
}

static void an_untrained_encoder_is_told_from_vectors_that_were_read(void **state) {
    room *r = *state;
    graft_model *m = open_encoder(r, "cnn");
    assert_int_equal(graft_model_first_new(m), 1);
    assert_string_equal(graft_model_stage_name(m, 1), "encoder");
    graft_model_close(m);
    m = open_encoder(r, "mean");
    assert_int_equal(graft_model_first_new(m), graft_model_n_stages(m) - 1);
    graft_model_close(m);
}

static void a_saved_model_is_whole(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_encoder(r, "lstm");
    const float *before = features_of(r, m);
    const char *dir = file_of(r, r->dir, "saved");
    assert_ok(graft_model_save(m, r->env, dir, NULL, &err));
    graft_model *again = open_model(r, dir, NULL);
    assert_int_equal(graft_model_first_new(again), graft_model_n_stages(again) - 1);
    assert_memory_equal(features_of(r, again), before, 3 * 2 * H * sizeof *before);
    graft_model_close(again);
    graft_model_close(m);
}

static void texts_are_split_as_the_vectors_know_them(void **state) {
    room *r = *state;
    const graft_word apart[] = {{"do n't ask , the apple is red .", 31}}, raw[] = {{"The apple is red.", 17}};
    graft_vectors_model_options o = {.first = 2, .texts = apart, .n_texts = 1};
    made m = make_model(r, "apart", vec, &o);
    assert_string_equal(m.report.split, "WhitespaceSplit");
    assert_int_equal(m.report.n_tokens, 9);
    assert_int_equal(m.report.n_known, 7);
    assert_int_equal(m.report.n_words, 8); /* the first two, and six more of the text */
    o.texts = raw;
    m = make_model(r, "raw", vec, &o);
    assert_string_equal(m.report.split, "Whitespace");
    assert_true(m.report.lowercase);
    assert_int_equal(m.report.n_known, 5);
    assert_int_equal(m.report.n_words, 6);
}

static void a_word_in_upper_case_keeps_the_case(void **state) {
    room *r = *state;
    const graft_word text[] = {{"the Apple", 9}};
    const graft_vectors_model_options o = {.texts = text, .n_texts = 1};
    made m = make_model(r, "case", "Apple 1 2\nthe 3 4\n", &o);
    assert_false(m.report.lowercase);
    assert_int_equal(m.report.n_known, 2);
}

static void what_is_wrong_is_said(void **state) {
    room *r = *state;
    graft_vectors *v = NULL;
    graft_vectors_model_report report;
    graft_err err = {0};
    const graft_vectors_model_options o = {.encoder = "gru"};
    assert_ok(graft_vectors_parse(&v, r->env, vec, strlen(vec), "a.vec", &err));
    assert_int_equal(graft_vectors_write_model(&report, r->dir, v, &o, &err), GRAFT_EUSAGE);
    graft_vectors_close(v);
    made m = make_model(r, "wide", vec, &(graft_vectors_model_options){0});
    json_t *config = NULL;
    const char *path = file_of(r, m.dir, "config.json");
    assert_ok(graft_json_read(&config, r->arena, path, &err));
    json_object_set_new(config, "width", json_integer(4));
    assert_ok(graft_json_write(path, config, &err));
    graft_model *model = NULL;
    assert_int_equal(graft_model_open(&model, r->env, m.dir, NULL, &err), GRAFT_ESHAPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(the_mean_is_that_of_the_words),
        room_test(the_cnn_is_its_filters_maxima),
        room_test(the_lstm_reads_both_ways),
        room_test(an_untrained_encoder_is_told_from_vectors_that_were_read),
        room_test(a_saved_model_is_whole),
        room_test(texts_are_split_as_the_vectors_know_them),
        room_test(a_word_in_upper_case_keeps_the_case),
        room_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
