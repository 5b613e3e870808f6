/* The rate range test on the toy: rates that lower the loss are found, the same every time, and nothing of
 * the search stays. */
#include "learn/toy.h"

static graft_rate_search search(room *r, const graft_recipe *recipe, int64_t n, int expected) {
    graft_err err = {0};
    graft_rate_search s;
    toy t = toy_new(r->arena, r->env);
    if (recipe) t.recipe = *recipe;
    int rc = graft_rate_find(&s, r->arena, r->env, t.graph, &t.train, &t.recipe, n, &err);
    if (rc != expected) fail_msg("%s", err.message);
    if (rc < 0) assert_non_null(strstr(err.message, "no rate between"));
    toy_done(&t);
    return s;
}

static void rates_grow_evenly_and_the_suggested_one_lies_where_the_loss_falls(void **state) {
    room *r = *state;
    graft_rate_search s = search(r, NULL, 100, 0);
    assert_true(s.n >= 50 && s.n <= 100);
    assert_true(fabs(s.points[0].rate / 1e-5 - 1) < 1e-6);
    for (int64_t i = 1; i < s.n; i++)
        assert_true(fabs(log(s.points[i].rate / s.points[i - 1].rate) - log(1e6) / 99) < 1e-9);
    assert_true(s.steepest < s.minimum);
    assert_true(s.suggested > 1e-4 && s.suggested < 1);
    graft_rate_plot(&s, r->env);
    assert_non_null(strchr(r->log.data, '*'));
    assert_non_null(strchr(r->log.data, '|'));
    json_t *o = graft_rate_json(&s);
    assert_int_equal(json_array_size(json_object_get(o, "smoothed")), s.n);
    json_decref(o);
}

static void the_same_search_finds_the_same(void **state) {
    room *r = *state;
    graft_rate_search a = search(r, NULL, 60, 0), b = search(r, NULL, 60, 0);
    assert_int_equal(a.n, b.n);
    for (int64_t i = 0; i < a.n; i++) assert_memory_equal(&a.points[i], &b.points[i], sizeof a.points[i]);
    graft_recipe gathered = toy_recipe();
    gathered.micro_batch = 4;
    (void)search(r, &gathered, 60, 0);
    graft_recipe averaged = toy_recipe();
    averaged.swa = 0.5;
    b = search(r, &averaged, 60, 0);
    assert_int_equal(a.n, b.n);
    for (int64_t i = 0; i < a.n; i++) assert_memory_equal(&a.points[i], &b.points[i], sizeof a.points[i]);
}

static double loss_at(room *r, double rate) {
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    if (rate > 0) t.recipe.lr = rate;
    t.recipe.epochs = 12;
    assert_ok(toy_run(&t, &err));
    double loss = t.result.history[t.result.n_epochs - 1].train_loss;
    toy_done(&t);
    return loss;
}

static void the_suggested_rate_trains_better_than_one_far_from_it(void **state) {
    room *r = *state;
    graft_rate_search s = search(r, NULL, 100, 0);
    double found = loss_at(r, s.suggested), low = loss_at(r, s.suggested / 100);
    print_message("found %g: loss %g, %g at a hundredth\n", s.suggested, found, low);
    assert_true(found < low);
}

static void where_no_rate_helps_it_is_said(void **state) {
    room *r = *state;
    graft_recipe hopeless = toy_recipe();
    hopeless.lr = 1e-25;
    hopeless.optimiser = graft_optimiser_find("sgd");
    (void)search(r, &hopeless, 5, GRAFT_EDIVERGED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(rates_grow_evenly_and_the_suggested_one_lies_where_the_loss_falls),
        room_test(the_same_search_finds_the_same),
        room_test(the_suggested_rate_trains_better_than_one_far_from_it),
        room_test(where_no_rate_helps_it_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
