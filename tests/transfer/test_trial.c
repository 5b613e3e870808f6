/* A run without a folder measures what graft_fit measures, bit for bit. */
#include "model/model.h"
#include "transfer/fit_room.h"
#include "transfer/trial.h"

static graft_fit_options short_run(void) {
    graft_fit_options o = GRAFT_FIT_OPTIONS_INIT;
    o.train = "top:1";
    o.epochs = 2;
    o.batch = 8;
    o.lr = 1e-2;
    o.data.test = 0.25;
    return o;
}

static void a_trial_measures_what_a_fit_does(void **state) {
    room *r = *state;
    graft_fit_options o = short_run();
    graft_err err = {0};
    graft_trial t;
    char *result = NULL;
    if (graft_trial_run(&t, r->arena, r->env, MODEL, PICTURES, &o, &err) < 0) fail_msg("%s", err.message);
    if (graft_fit(&result, r->env, MODEL, PICTURES, r->out, &o, &err) < 0) fail_msg("%s", err.message);
    json_t *fit = json_loads(result, 0, NULL);
    assert_non_null(fit);
    assert_int_equal(t.training.n_epochs, 2);
    assert_string_equal(t.plan, "top:1");
    assert_true(t.test.n > 0 && t.validation.n > 0 && t.n_train > 0);
    assert_int_equal(t.n_labels, t.test.k);
    assert_true(json_equal(t.test_metrics, json_object_get(fit, "test")));
    assert_true(json_equal(t.validation_metrics, json_object_get(fit, "validation")));
    json_decref(fit);
    graft_text_free(result);
    graft_trial_done(&t);
}

static void a_trial_leaves_no_folder_and_says_what_is_wrong(void **state) {
    room *r = *state;
    graft_fit_options o = short_run();
    graft_err err = {0};
    graft_trial t;
    o.train = "nothing";
    assert_int_equal(graft_trial_run(&t, r->arena, r->env, MODEL, PICTURES, &o, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "unknown plan 'nothing'"));
    assert_false(graft_path_is_dir("checkpoint"));
    assert_null(t.settings);
}

static double few_labels(room *r, const char *cache, uint64_t seed, int64_t per_class, const char *said) {
    graft_fit_options o = short_run();
    graft_err err = {0};
    graft_trial t;
    char *path = graft_path_join(r->arena, r->folder, cache);
    o.train = "head";
    o.seed = seed;
    o.data.per_class = per_class;
    setenv("GRAFT_CACHE", path, 1);
    r->log[0] = '\0';
    if (graft_trial_run(&t, r->arena, r->env, MODEL, PICTURES, &o, &err) < 0) fail_msg("%s", err.message);
    if (!strstr(r->log, said)) fail_msg("'%s' is not in: %s", said, r->log);
    double loss = t.test_score.loss;
    assert_int_equal(t.n_train + t.validation.n_samples, per_class ? 2 * per_class : 24);
    graft_trial_done(&t);
    return loss;
}

/* Of 24 labelled pictures and 8 of the test part. */
static void samples_left_out_cost_no_features(void **state) {
    room *r = *state;
    double first = few_labels(r, "a", 0, 4, "frozen part: 16 rows, 0 of them from the cache");
    assert_true(few_labels(r, "a", 0, 4, "frozen part: 16 rows, 16 of them from the cache") == first);
    double second = few_labels(r, "a", 1, 4, "frozen part: 16 rows, ");
    few_labels(r, "b", 0, 0, "frozen part: 32 rows, 0 of them from the cache");
    assert_true(few_labels(r, "b", 0, 4, "frozen part: 16 rows, 16 of them from the cache") == first);
    assert_true(few_labels(r, "b", 1, 4, "frozen part: 16 rows, 16 of them from the cache") == second);
    assert_true(first != second);
    few_labels(r, "c", 0, 12, "frozen part: 32 rows, 0 of them from the cache");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fit_test(a_trial_measures_what_a_fit_does),
        fit_test(samples_left_out_cost_no_features),
        fit_test(a_trial_leaves_no_folder_and_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
