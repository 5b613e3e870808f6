/* The search: its space, its file, and that a second call finds what the first has done. */
#include "model/model.h"
#include "transfer/fit_room.h"
#include "transfer/tune/runs.h"
#include "transfer/tune/space.h"
#include <math.h>

static const char *file_of(const room *r) {
    return graft_path_join(r->arena, r->folder, "runs.sqlite");
}

static void refused(room *r, const char *text, const char *why) {
    graft_space s;
    graft_err err = {0};
    assert_int_equal(graft_space_parse(&s, r->arena, text, &err), GRAFT_EUSAGE);
    if (!strstr(err.message, why)) fail_msg("'%s' does not say '%s'", err.message, why);
}

static void a_space_is_read_and_what_is_none_is_refused(void **state) {
    room *r = *state;
    graft_space s;
    assert_int_equal(graft_space_parse(&s, r->arena, "train=head|top:1 lr=1e-4..1e-2 batch=8|16", NULL), 0);
    assert_int_equal(s.n, 3);
    refused(r, "", "nothing to search");
    refused(r, "colour=red", "nothing called 'colour'");
    refused(r, "lr", "give lr=A|B or lr=LOW..HIGH");
    refused(r, "lr=1..0.1", "rising");
    refused(r, "lr=0..1", "above 0");
    refused(r, "batch=2.5", "no value");
    refused(r, "train=head||full", "no value");
    refused(r, "lr=1|2 lr=3|4", "twice");
}

static void draws_are_within_the_space_and_of_their_number_alone(void **state) {
    room *r = *state;
    graft_space s, more;
    double sum = 0.0;
    bool seen[2] = {false, false};
    assert_int_equal(graft_space_parse(&s, r->arena, "train=head|full lr=1e-4..1e-2", NULL), 0);
    assert_int_equal(graft_space_parse(&more, r->arena, "head=mlp lr=1e-4..1e-2 train=head|full", NULL), 0);
    for (int64_t i = 1; i <= 200; i++) {
        json_t *a = graft_space_draw(&s, 5, i), *b = graft_space_draw(&more, 5, i);
        double lr = json_number_value(json_object_get(a, "lr"));
        const char *plan = json_string_value(json_object_get(a, "train"));
        assert_true(lr >= 1e-4 && lr <= 1e-2);
        assert_true(lr == json_number_value(json_object_get(b, "lr")));
        assert_string_equal(plan, json_string_value(json_object_get(b, "train")));
        seen[strcmp(plan, "full") == 0] = true;
        sum += log10(lr);
        json_decref(a);
        json_decref(b);
    }
    assert_true(seen[0] && seen[1]);
    assert_true(fabs(sum / 200 + 3.0) < 0.15); /* even in the logarithm */
    json_t *first = graft_space_draw(&s, 5, 0);
    assert_int_equal(json_object_size(first), 0);
    json_decref(first);
}

/* A search that is taken up has to be the same one: values that give a few equal draws are another. */
static void other_values_are_another_search(void **state) {
    static const char *const texts[] = {"train=head|top:1", "train=head|full", "train=head",
                                        "lr=1e-4..1e-2",    "lr=1e-4..1e-1",   "lr=1e-4|1e-2"};
    room *r = *state;
    graft_hash hashes[GRAFT_COUNT(texts)];
    for (size_t i = 0; i < GRAFT_COUNT(texts); i++) {
        graft_space s;
        graft_hasher *h = graft_hasher_new(r->arena);
        assert_int_equal(graft_space_parse(&s, r->arena, texts[i], NULL), 0);
        graft_space_hash(&s, h);
        hashes[i] = graft_hasher_end(h);
        for (size_t k = 0; k < i; k++) assert_memory_not_equal(&hashes[k], &hashes[i], sizeof hashes[i]);
    }
}

static void settings_become_options(void **state) {
    (void)state;
    graft_fit_options o = GRAFT_FIT_OPTIONS_INIT;
    graft_err err = {0};
    json_t *settings = json_pack("{s:s,s:f,s:i}", "train", "top:1", "lr", 0.5, "batch", 16);
    assert_int_equal(graft_space_apply(&o, settings, &err), 0);
    assert_string_equal(o.train, "top:1");
    assert_true(o.lr == 0.5);
    assert_int_equal(o.batch, 16);
    json_object_set_new(settings, "colour", json_true());
    assert_int_equal(graft_space_apply(&o, settings, &err), GRAFT_EUSAGE);
    json_decref(settings);
}

static void trials_come_back_as_they_were_put(void **state) {
    room *r = *state;
    graft_runs *runs = NULL;
    graft_run_row row = {.study = "s",
                         .number = 2,
                         .rung = 1,
                         .model = "m",
                         .data = "d",
                         .settings = "{\"lr\":1}",
                         .state = "done",
                         .plan = "head",
                         .score_name = "accuracy",
                         .epochs = 3,
                         .score = 0.75};
    assert_int_equal(graft_runs_open(&runs, file_of(r), false, NULL), 0);
    assert_int_equal(graft_runs_get(&row, r->arena, runs, "s", 2, 1, NULL), 0);
    assert_int_equal(graft_runs_put(runs, &row, NULL), 0);
    row.score = 0.5; /* the same trial again takes its place */
    assert_int_equal(graft_runs_put(runs, &row, NULL), 0);
    graft_runs_close(runs);
    assert_int_equal(graft_runs_open(&runs, file_of(r), true, NULL), 0);
    graft_run_row back;
    assert_int_equal(graft_runs_get(&back, r->arena, runs, "s", 2, 1, NULL), 1);
    assert_string_equal(back.settings, "{\"lr\":1}");
    assert_null(back.message);
    assert_true(back.score == 0.5);
    json_t *all = NULL;
    assert_int_equal(graft_runs_list(&all, runs, NULL), 0);
    assert_int_equal(json_array_size(all), 1);
    json_decref(all);
    graft_runs_close(runs);
}

static void what_is_no_number_and_no_text_is_listed(void **state) {
    room *r = *state;
    graft_runs *runs = NULL;
    graft_run_row row = {.study = "s", .model = "\xFFm", .state = "done", .score = NAN, .loss = 0.5}, back;
    assert_int_equal(graft_runs_open(&runs, file_of(r), false, NULL), 0);
    assert_int_equal(graft_runs_put(runs, &row, NULL), 0);
    assert_int_equal(graft_runs_get(&back, r->arena, runs, "s", 0, 0, NULL), 1);
    assert_true(isnan(back.score) && back.loss == 0.5);
    json_t *all = NULL;
    assert_int_equal(graft_runs_list(&all, runs, NULL), 0);
    assert_true(json_is_null(json_object_get(json_array_get(all, 0), "score")));
    json_decref(all);
    graft_runs_close(runs);
}

static void another_file_is_left_alone(void **state) {
    room *r = *state;
    graft_runs *runs = NULL;
    graft_err err = {0};
    assert_int_equal(
        graft_file_write(file_of(r), "no database at all, but long enough to be looked at", 50, NULL), 0);
    assert_int_equal(graft_runs_open(&runs, file_of(r), false, &err), GRAFT_EFORMAT);
    assert_null(runs);
    assert_true(graft_runs_open(&runs, "/nowhere/runs.sqlite", true, &err) < 0);
}

static json_t *tune(room *r, int64_t trials) {
    graft_tune_options o = GRAFT_TUNE_OPTIONS_INIT;
    graft_err err = {0};
    char *text = NULL;
    o.search = "train=head|top:1 lr=1e-3..1e30"; /* some of these rates end in numbers that are none */
    o.trials = trials;
    o.fit.epochs = 2;
    o.fit.batch = 8;
    o.fit.restart = true;
    if (graft_tune(&text, r->env, MODEL, PICTURES, r->out, &o, &err) < 0) fail_msg("%s", err.message);
    json_t *result = json_loads(text, 0, NULL);
    graft_text_free(text);
    return result;
}

static void a_search_goes_on_with_what_it_has(void **state) {
    room *r = *state;
    json_t *first = tune(r, 4), *again = tune(r, 4), *more = tune(r, 5);
    int64_t trained = json_integer_value(json_object_get(first, "trained"));
    assert_int_equal(trained, 4 + 2 + 1);
    assert_true(json_integer_value(json_object_get(first, "failed")) > 0);
    assert_int_equal(json_integer_value(json_object_get(again, "trained")), 0);
    assert_int_equal(json_integer_value(json_object_get(again, "reused")), trained);
    assert_true(json_equal(json_object_get(first, "best"), json_object_get(again, "best")));
    assert_true(json_integer_value(json_object_get(more, "trained")) >= 1);
    /* the folder's model is what the best trial was */
    json_t *best = json_object_get(first, "best"), *fit = json_object_get(first, "fit");
    assert_true(json_equal(json_object_get(best, "score"),
                           json_object_get(json_object_get(fit, "validation"), "accuracy")));
    json_decref(first);
    json_decref(again);
    json_decref(more);
}

static void a_trial_that_diverges_is_not_the_end(void **state) {
    room *r = *state;
    graft_tune_options o = GRAFT_TUNE_OPTIONS_INIT;
    graft_err err = {0};
    char *text = NULL;
    o.search = "train=full lr=9e5|1e6";
    o.trials = 3;
    o.fit.epochs = 2;
    if (graft_tune(&text, r->env, MODEL, PICTURES, r->out, &o, &err) < 0) fail_msg("%s", err.message);
    assert_non_null(strstr(text, "\"failed\": 2"));
    graft_text_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fit_test(a_space_is_read_and_what_is_none_is_refused),
        fit_test(draws_are_within_the_space_and_of_their_number_alone),
        fit_test(other_values_are_another_search),
        cmocka_unit_test(settings_become_options),
        fit_test(trials_come_back_as_they_were_put),
        fit_test(what_is_no_number_and_no_text_is_listed),
        fit_test(another_file_is_left_alone),
        fit_test(a_trial_that_diverges_is_not_the_end),
        fit_test(a_search_goes_on_with_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
