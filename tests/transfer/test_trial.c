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

int main(void) {
    const struct CMUnitTest tests[] = {
        fit_test(a_trial_measures_what_a_fit_does),
        fit_test(a_trial_leaves_no_folder_and_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
