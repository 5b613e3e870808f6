/* A run without a folder measures what graft_fit measures, bit for bit. */
#include "model/model.h"
#include "transfer/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL    "tests/parity/resnet/hf_basic"
#define PICTURES "tests/cli/pictures"

typedef struct room {
    char folder[64], out[96], cache[96];
    graft_env *env;
    graft_arena *arena;
} room;

static int enter(void **state) {
    room *r = calloc(1, sizeof *r);
    snprintf(r->folder, sizeof r->folder, "/tmp/graft-trial.XXXXXX");
    if (!mkdtemp(r->folder)) return -1;
    snprintf(r->out, sizeof r->out, "%s/out", r->folder);
    snprintf(r->cache, sizeof r->cache, "%s/cache", r->folder);
    setenv("GRAFT_CACHE", r->cache, 1);
    const graft_env_options options = {.threads = 1};
    *state = r;
    r->arena = graft_arena_new(NULL);
    return graft_env_new(&r->env, &options, NULL);
}

static int leave(void **state) {
    room *r = *state;
    graft_arena_free(r->arena);
    graft_env_free(r->env);
    graft_dir_remove(r->folder, NULL);
    free(r);
    return 0;
}

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
        cmocka_unit_test_setup_teardown(a_trial_measures_what_a_fit_does, enter, leave),
        cmocka_unit_test_setup_teardown(a_trial_leaves_no_folder_and_says_what_is_wrong, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
