/* Intervals, paired tests and learning curves against scipy's (tests/golden/make_statistics_golden.py). */
#include "learn/learn.h"
#include "model/model_room.h"

#define FILE_NAME "tests/golden/learn/statistics.json"

static double number_of(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static void near(const char *what, double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * fmax(1e-6, fabs(expected))))
        fail_msg("%s is %.17g, not %.17g", what, got, expected);
}

static const json_t *cases_of(room *r, const char *name) {
    const json_t *list = json_object_get(read_json(r, FILE_NAME), name);
    assert_true(json_array_size(list) > 0);
    return list;
}

static double *numbers_of(room *r, const json_t *list, size_t *n) {
    *n = json_array_size(list);
    double *values = graft_arena_array(r->arena, *n + 1, sizeof *values);
    for (size_t i = 0; i < *n; i++) values[i] = json_number_value(json_array_get(list, i));
    return values;
}

static void quantiles_equal_those_of_scipy(void **state) {
    size_t i;
    json_t *o;
    json_array_foreach(cases_of(*state, "student"), i, o) near(
        "t", graft_student_quantile(number_of(o, "p"), number_of(o, "freedom")), number_of(o, "t"), 1e-10);
    json_array_foreach(cases_of(*state, "normal"), i, o)
        near("z", graft_normal_quantile(number_of(o, "p")), number_of(o, "z"), 1e-9);
    json_array_foreach(cases_of(*state, "beta"), i, o) {
        double x = number_of(o, "x"), a = number_of(o, "a"), b = number_of(o, "b"),
               share = number_of(o, "share");
        near("beta share", graft_beta_share(x, a, b), share, 1e-10);
        if (share > 1e-12 && share < 1 - 1e-6)
            near("beta quantile", graft_beta_quantile(share, a, b), x, 1e-9);
    }
}

static void the_interval_over_seeds_is_that_of_student(void **state) {
    size_t i, n;
    json_t *o;
    json_array_foreach(cases_of(*state, "intervals"), i, o) {
        double *values = numbers_of(*state, json_object_get(o, "values"), &n);
        graft_interval got = graft_interval_of(values, (int64_t)n, 0.95);
        near("mean", got.mean, number_of(o, "mean"), 1e-12);
        near("sd", got.sd, number_of(o, "sd"), 1e-10);
        near("low", got.low, number_of(o, "low"), 1e-10);
        near("high", got.high, number_of(o, "high"), 1e-10);
    }
}

static void one_seed_has_a_mean_and_no_interval(void **state) {
    (void)state;
    graft_interval one = graft_interval_of((double[]){0.8}, 1, 0.95), none = graft_interval_of(NULL, 0, 0.95);
    assert_true(one.mean == 0.8 && isnan(one.low) && isnan(one.high) && isnan(one.sd));
    assert_true(isnan(none.mean) && none.n == 0);
}

static void intervals_of_a_share_equal_those_of_scipy(void **state) {
    size_t i;
    json_t *o;
    json_array_foreach(cases_of(*state, "shares"), i, o) {
        const json_t *wilson = json_object_get(o, "wilson"), *exact = json_object_get(o, "exact");
        double low, high;
        int64_t k = (int64_t)number_of(o, "k"), n = (int64_t)number_of(o, "n");
        graft_share_wilson(&low, &high, (double)k, n, 0.95);
        near("wilson's low", low, json_number_value(json_array_get(wilson, 0)), 1e-9);
        near("wilson's high", high, json_number_value(json_array_get(wilson, 1)), 1e-9);
        graft_share_exact(&low, &high, k, n, 0.95);
        near("clopper's low", low, json_number_value(json_array_get(exact, 0)), 1e-9);
        near("clopper's high", high, json_number_value(json_array_get(exact, 1)), 1e-9);
    }
    double low, high;
    graft_share_wilson(&low, &high, 0, 0, 0.95);
    assert_true(low == 0.0 && high == 1.0);
}

static void mcnemar_is_the_binomial_test_of_what_differs(void **state) {
    size_t i;
    json_t *o;
    json_array_foreach(cases_of(*state, "mcnemar"), i, o) {
        int64_t b = (int64_t)number_of(o, "better"), c = (int64_t)number_of(o, "worse");
        near("p", graft_mcnemar(b, c), number_of(o, "p"), 1e-9);
        near("p of the other side", graft_mcnemar(c, b), number_of(o, "p"), 1e-9);
    }
}

static void holm_steps_down(void **state) {
    graft_err err = {0};
    size_t i, n;
    json_t *o;
    json_array_foreach(cases_of(*state, "holm"), i, o) {
        double *p = numbers_of(*state, json_object_get(o, "p"), &n), got[8];
        double *expected = numbers_of(*state, json_object_get(o, "adjusted"), &n);
        assert_ok(graft_holm(got, p, n, &err));
        for (size_t k = 0; k < n; k++) near("adjusted p", got[k], expected[k], 1e-12);
    }
    double with_hole[3] = {0.02, NAN, 0.03};
    assert_ok(graft_holm(with_hole, with_hole, 3, &err));
    assert_true(with_hole[0] == 0.04 && isnan(with_hole[1]) && with_hole[2] == 0.04);
}

static graft_curve_point *points_of(room *r, const json_t *o, size_t *n) {
    double *sizes = numbers_of(r, json_object_get(o, "n"), n);
    graft_curve_point *points = graft_arena_array(r->arena, *n, sizeof *points);
    for (size_t i = 0; i < *n; i++) {
        size_t runs = 0;
        points[i].n = sizes[i];
        points[i].errors = numbers_of(r, json_array_get(json_object_get(o, "errors"), i), &runs);
        points[i].n_runs = (int64_t)runs;
    }
    return points;
}

/* Two bootstraps of a thousand draws agree in the ends of their intervals to about a tenth of the width. */
static void compare_band(const char *what, const json_t *band, double low, double high) {
    double from = json_number_value(json_array_get(band, 0)), to = json_number_value(json_array_get(band, 1));
    double slack = 0.15 * (to - from) + 1e-6;
    if (fabs(low - from) > slack || fabs(high - to) > slack)
        fail_msg("%s is %g .. %g, not about %g .. %g", what, low, high, from, to);
}

static void learning_curves_equal_those_of_scipy(void **state) {
    graft_err err = {0};
    room *r = *state;
    size_t i, n;
    json_t *o;
    json_array_foreach(cases_of(r, "curves"), i, o) {
        graft_curve c;
        double low, high, gain;
        graft_curve_point *points = points_of(r, o, &n);
        const char *name = json_string_value(json_object_get(o, "name"));
        double at = number_of(o, "at"), to = number_of(o, "to");
        assert_ok(graft_curve_fit(&c, r->arena, points, n, (int64_t)number_of(o, "n_test"), 7, &err));
        near(name, graft_curve_at(&c, at), number_of(o, "error_at"), 1e-5);
        if (number_of(o, "b") > 1e-9 && strcmp(name, "flat") != 0) {
            near(name, c.c, number_of(o, "c"), 1e-4);
            near(name, c.a, number_of(o, "a"), 1e-4);
        }
        assert_ok(graft_curve_band(&low, &high, &c, at, 0.95, &err));
        assert_true(low <= graft_curve_at(&c, at) + 1e-9 && graft_curve_at(&c, at) <= high + 1e-9);
        const json_t *band = json_object_get(o, "band");
        if (!band) continue;
        compare_band(name, band, low, high);
        assert_ok(graft_curve_gain(&gain, &low, &high, &c, at, to, 0.95, &err));
        compare_band(name, json_object_get(o, "gain_band"), low, high);
        assert_true(gain >= 0.0);
    }
}

static const double errors_of_one_run[] = {0.5, 0.36, 0.27, 0.19};

static void an_exact_power_law_is_found_and_turned_around(void **state) {
    graft_err err = {0};
    room *r = *state;
    double errors[5], low, high, n;
    graft_curve_point points[5];
    for (int i = 0; i < 5; i++) {
        double size = 5.0 * pow(2.0, i);
        errors[i] = 0.04 + 0.7 * pow(size, -0.6);
        points[i] = (graft_curve_point){size, &errors[i], 1};
    }
    graft_curve c;
    assert_ok(graft_curve_fit(&c, r->arena, points, 5, 1000000, 1, &err));
    near("a", c.a, 0.04, 1e-4);
    near("b", c.b, 0.7, 1e-4);
    near("c", c.c, 0.6, 1e-4);
    assert_ok(graft_curve_needed(&n, &low, &high, &c, 0.04 + 0.7 * pow(300, -0.6), 0.95, &err));
    near("samples needed", n, 300, 1e-3);
    assert_true(low <= 300 && high >= 300);
    assert_ok(graft_curve_needed(&n, &low, &high, &c, 0.01, 0.95, &err));
    assert_true(isinf(n));
}

static void the_band_is_a_function_of_the_seed(void **state) {
    graft_err err = {0};
    room *r = *state;
    graft_curve c[3];
    graft_curve_point points[4];
    for (int i = 0; i < 4; i++) points[i] = (graft_curve_point){5.0 * pow(2.0, i), &errors_of_one_run[i], 1};
    for (int i = 0; i < 3; i++) assert_ok(graft_curve_fit(&c[i], r->arena, points, 4, 200, i == 2, &err));
    assert_memory_equal(c[0].draws, c[1].draws, c[0].n_draws * sizeof *c[0].draws);
    assert_memory_not_equal(c[0].draws, c[2].draws, c[0].n_draws * sizeof *c[0].draws);
}

/* Runs around a law that is known, judged by the same 500 samples: their band past what was measured holds
 * the truth nearly as often as it says. */
static void the_band_holds_the_truth_as_often_as_it_says(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const double sizes[] = {5, 10, 20, 50, 140};
    int n_held = 0;
    enum { WORLDS = 100 };
    for (uint64_t world = 0; world < WORLDS; world++) {
        graft_rng rng = graft_rng_at(99, 0, world, GRAFT_RNG_TEST);
        double errors[5][3], luck = graft_rng_normal(&rng), low, high;
        graft_curve_point points[5];
        graft_curve c;
        for (int i = 0; i < 5; i++) {
            double truth = 0.03 + 0.8 * pow(sizes[i], -0.5);
            for (int k = 0; k < 3; k++)
                errors[i][k] = truth + 0.01 * graft_rng_normal(&rng) + luck * sqrt(truth * (1 - truth) / 500);
            points[i] = (graft_curve_point){sizes[i], errors[i], 3};
        }
        assert_ok(graft_curve_fit(&c, r->arena, points, 5, 500, world, &err));
        assert_ok(graft_curve_band(&low, &high, &c, 280, 0.95, &err));
        double truth = 0.03 + 0.8 * pow(280, -0.5);
        n_held += low <= truth && truth <= high;
    }
    assert_in_range(n_held, 90, WORLDS);
}

static void two_sizes_are_no_curve(void **state) {
    room *r = *state;
    graft_curve c;
    graft_err err = {0};
    graft_curve_point points[3] = {
        {5, errors_of_one_run, 1}, {10, errors_of_one_run + 1, 1}, {10, errors_of_one_run + 2, 1}};
    assert_int_equal(graft_curve_fit(&c, r->arena, points, 3, 200, 0, &err), GRAFT_EDATA);
    assert_non_null(strstr(err.message, "three sizes; there are 2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(quantiles_equal_those_of_scipy),
        room_test(the_interval_over_seeds_is_that_of_student),
        room_test(one_seed_has_a_mean_and_no_interval),
        room_test(intervals_of_a_share_equal_those_of_scipy),
        room_test(mcnemar_is_the_binomial_test_of_what_differs),
        room_test(holm_steps_down),
        room_test(learning_curves_equal_those_of_scipy),
        room_test(an_exact_power_law_is_found_and_turned_around),
        room_test(the_band_is_a_function_of_the_seed),
        room_test(the_band_holds_the_truth_as_often_as_it_says),
        room_test(two_sizes_are_no_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
