/* Scores of transferability and distances against numpy's (tests/golden/make_advise_golden.py). */
#include "model/model_room.h"
#include "transfer/advise/linalg.h"
#include "transfer/advise/probe_loops.h"
#include "transfer/advise/scores.h"

#define FOLDER "tests/golden/advise/"

static const graft_tensor *tensor(room *r, const graft_tensors *ts, const char *name, const char *part) {
    const graft_tensor *t = graft_tensors_find(ts, graft_arena_printf(r->arena, "%s/%s", name, part));
    assert_non_null(t);
    return t;
}

static void near(const char *name, const char *key, double got, const json_t *facts) {
    const json_t *expected = json_object_get(facts, key);
    double value = json_number_value(expected);
    if (!json_is_number(expected) || !(fabs(got - value) <= 1e-6 * fmax(1.0, fabs(value))))
        fail_msg("%s: %s is %.12g, not %.12g", name, key, got, value);
}

static graft_labelled labelled(room *r, const graft_tensors *ts, const char *name, int64_t k) {
    const graft_tensor *x = tensor(r, ts, name, "x"), *y = tensor(r, ts, name, "y"),
                       *s = tensor(r, ts, name, "source");
    graft_labelled f;
    graft_err err = {0};
    assert_ok(graft_labelled_make(&f, r->arena, x->data, x->shape.dims[0], x->shape.dims[1], y->data, k,
                                  s->data, s->shape.dims[1], &err));
    return f;
}

static void check_case(room *r, const graft_tensors *ts, const char *name, const json_t *facts) {
    graft_err err = {0};
    double value = 0;
    size_t n = 0;
    graft_labelled f = labelled(r, ts, name, json_integer_value(json_object_get(facts, "classes"))), source;
    const graft_transferability *const *rows = graft_transferabilities(&n);
    assert_int_equal(n, 6);
    for (size_t i = 0; i < n; i++) {
        assert_ok(rows[i]->score(&value, &f, &err));
        near(name, rows[i]->name, value, facts);
    }
    assert_ok(graft_knn_accuracy(&value, NULL, &f, &err));
    near(name, "knn", value, facts);
    graft_probe_result probe;
    graft_probe_options o = {.decay = json_real_value(json_object_get(facts, "decay")), .tolerance = 1e-9};
    assert_ok(graft_probe_cross_validate(&probe, &f, &o, &err));
    near(name, "probe_accuracy", probe.accuracy, facts);
    near(name, "probe_log_loss", probe.log_loss, facts);
    assert_ok(graft_labelled_make(&source, r->arena, f.source, f.n, f.n_source, f.y, f.k, NULL, 0, &err));
    assert_ok(graft_cka(&value, &f, &source, &err));
    near(name, "cka_source", value, facts);
    assert_ok(graft_cka(&value, &f, &f, &err));
    assert_true(fabs(value - 1.0) < 1e-12);
}

static void scores_are_those_of_their_definitions(void **state) {
    room *r = *state;
    graft_tensors ts;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "scores.safetensors", &err));
    json_t *all = read_json(r, FOLDER "scores.json"), *facts;
    const char *name;
    assert_int_equal(json_object_size(all), 5);
    json_object_foreach(all, name, facts) check_case(r, &ts, name, facts);
}

static void distances_are_those_of_their_definitions(void **state) {
    room *r = *state;
    graft_tensors ts;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "pairs.safetensors", &err));
    json_t *all = read_json(r, FOLDER "pairs.json"), *facts;
    const char *name;
    json_object_foreach(all, name, facts) {
        const graft_tensor *a = tensor(r, &ts, name, "a"), *b = tensor(r, &ts, name, "b");
        int64_t n = a->shape.dims[0], m = b->shape.dims[0], d = a->shape.dims[1];
        double value = 0, scale = 0;
        assert_ok(graft_frechet(&value, &scale, a->data, n, b->data, m, d, &err));
        near(name, "frechet", value, facts);
        near(name, "scale", scale, facts);
        assert_ok(graft_mmd(&value, a->data, n, b->data, m, d, &err));
        near(name, "mmd", value, facts);
        assert_ok(graft_proxy_a(&value, a->data, n, b->data, m, d, &err));
        near(name, "proxy_a", value, facts);
        assert_ok(graft_frechet(&value, &scale, a->data, n, a->data, n, d, &err));
        assert_true(value < 1e-9 * scale);
    }
}

static void classes_of_one_example_are_not_asked(void **state) {
    room *r = *state;
    const float x[6 * 2] = {0, 1, 0, 1.1F, 5, 1, 5, 1.2F, 9, 9, 8, -7};
    const int32_t y[6] = {0, 0, 1, 1, 2, 3};
    graft_err err = {0};
    graft_labelled f;
    graft_probe_result probe;
    double accuracy = 0;
    int64_t asked = 0;
    assert_ok(graft_labelled_make(&f, r->arena, x, 6, 2, y, 5, NULL, 0, &err));
    assert_int_equal(f.n_present, 4);
    assert_ok(graft_probe_cross_validate(&probe, &f, NULL, &err));
    assert_int_equal(probe.n, 4);
    assert_int_equal(probe.n_alone, 2);
    assert_true(probe.accuracy >= 0 && probe.accuracy <= 1);
    assert_ok(graft_knn_accuracy(&accuracy, &asked, &f, &err));
    assert_int_equal(asked, 4);
}

static void nothing_can_be_asked_of_single_examples_alone(void **state) {
    room *r = *state;
    const float x[3] = {1, 2, 3};
    const int32_t y[3] = {0, 1, 2};
    graft_err err = {0};
    graft_labelled f;
    graft_probe_result probe;
    double value = 0;
    size_t n = 0;
    const graft_transferability *const *rows = graft_transferabilities(&n);
    assert_ok(graft_labelled_make(&f, r->arena, x, 3, 1, y, 3, NULL, 0, &err));
    assert_ok(graft_probe_cross_validate(&probe, &f, NULL, &err));
    assert_int_equal(probe.n, 0);
    assert_true(isnan(probe.accuracy));
    assert_ok(graft_knn_accuracy(&value, NULL, &f, &err));
    assert_true(isnan(value));
    for (size_t i = 0; i < n; i++) {
        if (rows[i]->needs_source) continue;
        assert_ok(rows[i]->score(&value, &f, &err));
        assert_true(isfinite(value));
    }
}

static void features_that_are_constant_have_finite_scores(void **state) {
    room *r = *state;
    const float x[8] = {1, 2, 1, 2, 1, 2, 1, 2};
    const int32_t y[4] = {0, 1, 0, 1};
    graft_err err = {0};
    graft_labelled f;
    graft_probe_result probe;
    double value = 0;
    size_t n = 0;
    const graft_transferability *const *rows = graft_transferabilities(&n);
    assert_ok(graft_labelled_make(&f, r->arena, x, 4, 2, y, 2, NULL, 0, &err));
    assert_ok(graft_probe_cross_validate(&probe, &f, NULL, &err));
    assert_true(isfinite(probe.accuracy) && isfinite(probe.log_loss));
    for (size_t i = 0; i < n; i++) {
        if (rows[i]->needs_source) continue;
        assert_ok(rows[i]->score(&value, &f, &err));
        if (!isfinite(value)) fail_msg("%s is %g", rows[i]->name, value);
    }
    assert_ok(graft_cka(&value, &f, &f, &err));
}

static void folds_run_at_once_with_the_same_bits(void **state) {
    room *r = *state;
    graft_tensors ts;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "scores.safetensors", &err));
    json_t *all = read_json(r, FOLDER "scores.json"), *facts;
    const char *name;
    json_object_foreach(all, name, facts) {
        graft_labelled f = labelled(r, &ts, name, json_integer_value(json_object_get(facts, "classes")));
        graft_probe_result one, many;
        const graft_probe_options o = {.threads = 3};
        assert_ok(graft_probe_cross_validate(&one, &f, NULL, &err));
        assert_ok(graft_probe_cross_validate(&many, &f, &o, &err));
        assert_memory_equal(&one.log_loss, &many.log_loss, sizeof one.log_loss);
        assert_true(one.n == many.n && one.decay == many.decay);
    }
}

/* Rows of 24 numbers and of one class or three; rows that go together and one that is left. */
static void loops_give_the_same_bits_in_every_instruction_set(void **state) {
    (void)state;
    enum { N = 9, K = 3, SIZE = 24 };
    const graft_probe_loops *fast = graft_probe_loops_choose(), *base = &graft_probe_base;
    double x[N * SIZE], w[K * SIZE], z[2][N * K], g[2][K * SIZE] = {{0}};
    graft_rng rng = graft_rng_at(1, 2, 3, GRAFT_RNG_BOOTSTRAP);
    for (int i = 0; i < N * SIZE; i++) x[i] = (double)graft_rng_normal(&rng);
    for (int i = 0; i < K * SIZE; i++) w[i] = (double)graft_rng_normal(&rng);
    for (int k = 1; k <= K; k += 2) {
        for (int i = 0; i < 2; i++) {
            (i ? fast : base)->logits(z[i], x, w, N, k, SIZE);
            (i ? fast : base)->gather(g[i], x, z[i], N, k, SIZE);
        }
        assert_memory_equal(z[0], z[1], sizeof(double) * (size_t)(N * k));
        assert_memory_equal(g[0], g[1], sizeof g[0]);
        for (int i = 0; i < N * k; i++) {
            double sum = 0;
            for (int j = 0; j < SIZE; j++) sum += x[i / k * SIZE + j] * w[i % k * SIZE + j];
            assert_true(fabs(sum - z[0][i]) < 1e-12 * SIZE);
        }
    }
    assert_true(base->dot(x, w, SIZE) == fast->dot(x, w, SIZE));
}

static void features_that_are_no_numbers_are_refused(void **state) {
    room *r = *state;
    const float bad[4] = {1, NAN, 3, 4}, zero[4] = {0};
    const int32_t y[4] = {0, 1, 0, 1};
    graft_err err = {0};
    graft_labelled f;
    assert_error(graft_labelled_make(&f, r->arena, bad, 4, 1, y, 2, NULL, 0, &err), GRAFT_EDATA, "finite");
    assert_error(graft_labelled_make(&f, r->arena, zero, 4, 1, y, 2, NULL, 0, &err), GRAFT_EDATA, "zero");
    assert_error(graft_labelled_make(&f, r->arena, bad, 1, 1, y, 2, NULL, 0, &err), GRAFT_EDATA, "too few");
}

/* a [3, 2] b [2, 4], each given as it is and across. */
static void products_need_no_library(void **state) {
    (void)state;
    const double a[] = {1, 2, 3, 4, 5, 6}, across[] = {1, 3, 5, 2, 4, 6};
    const double b[] = {1, 0, 2, -1, 3, 1, 0, 5}, b_across[] = {1, 3, 0, 1, 2, 0, -1, 5};
    const double expected[] = {7, 2, 2, 9, 15, 4, 6, 17, 23, 6, 10, 25};
    const char *const libraries[] = {"", "/nowhere/libopenblas.so"};
    for (int i = 0; i < 8; i++) {
        double out[12] = {0};
        setenv("GRAFT_OPENBLAS", libraries[i & 1], 1);
        graft_product(out, i & 2 ? across : a, i & 2, i & 4 ? b_across : b, i & 4, 3, 4, 2);
        assert_memory_equal(out, expected, sizeof out);
    }
    unsetenv("GRAFT_OPENBLAS");
}

static void without_the_library_it_is_said_what_to_install(void **state) {
    (void)state;
    graft_err err = {0};
    double values[2], square[4] = {2, 1, 1, 2};
    setenv("GRAFT_OPENBLAS", "/nowhere/libopenblas.so", 1);
    assert_error(graft_linalg_check(&err), GRAFT_EUNSUPPORTED, "apt-get install libopenblas0-openmp");
    assert_error(graft_eigen(values, square, 2, &err), GRAFT_EUNSUPPORTED, "/nowhere/libopenblas.so");
    unsetenv("GRAFT_OPENBLAS");
    assert_ok(graft_linalg_check(&err));
    assert_ok(graft_eigen(values, square, 2, &err));
    assert_true(fabs(values[0] - 1.0) < 1e-12 && fabs(values[1] - 3.0) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(scores_are_those_of_their_definitions),
        room_test(distances_are_those_of_their_definitions),
        room_test(classes_of_one_example_are_not_asked),
        room_test(nothing_can_be_asked_of_single_examples_alone),
        room_test(features_that_are_constant_have_finite_scores),
        cmocka_unit_test(products_need_no_library),
        cmocka_unit_test(without_the_library_it_is_said_what_to_install),
        room_test(features_that_are_no_numbers_are_refused),
        room_test(folds_run_at_once_with_the_same_bits),
        cmocka_unit_test(loops_give_the_same_bits_in_every_instruction_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
