/* Rates: schedules against PyTorch's, warm-up; the rows of losses, optimisers and schedules. */
#include "learn/run.h"
#include "model/model_room.h"

static void schedules_equal_those_of_pytorch(void **state) {
    json_t *all = read_json(*state, "tests/golden/learn/schedules.json"), *o;
    size_t i, s;
    json_array_foreach(all, i, o) {
        const char *name = json_string_value(json_object_get(o, "schedule"));
        const graft_schedule *schedule = graft_schedule_find(name);
        double n = json_number_value(json_object_get(o, "n_steps"));
        json_t *factors = json_object_get(o, "factors"), *f;
        assert_non_null(schedule);
        json_array_foreach(factors, s, f) {
            double got = schedule->factor((double)s, n), expected = json_number_value(f);
            if (fabs(got - expected) > 1e-12)
                fail_msg("%s of %g steps: factor %.17g at %zu, not %.17g", name, n, got, s, expected);
        }
    }
    assert_int_equal(json_array_size(all), 12);
}

static graft_param_group group(void *user, const char *name) {
    (void)user;
    (void)name;
    return (graft_param_group){1.0, 0.0};
}

static graft_recipe recipe_of(const char *schedule, double warmup) {
    return (graft_recipe){.schedule = graft_schedule_find(schedule), .lr = 0.5, .warmup = warmup};
}

static void warm_up_and_the_schedule_after_it_equal_those_of_transformers(void **state) {
    json_t *all = read_json(*state, "tests/golden/learn/warm_ups.json"), *o;
    size_t i, s;
    json_array_foreach(all, i, o) {
        const char *name = json_string_value(json_object_get(o, "schedule"));
        graft_recipe r = recipe_of(name, json_number_value(json_object_get(o, "warmup")));
        int64_t n = json_integer_value(json_object_get(o, "n_steps"));
        json_t *factors = json_object_get(o, "factors"), *f;
        assert_int_equal(json_array_size(factors), n);
        json_array_foreach(factors, s, f) {
            double got = graft_recipe_rate(&r, (int64_t)s, n) / r.lr, expected = json_number_value(f);
            if (fabs(got - expected) > 1e-12)
                fail_msg("%s of %d updates, warm-up %g: factor %.17g at %zu, not %.17g", name, (int)n,
                         r.warmup, got, s, expected);
        }
    }
    assert_int_equal(json_array_size(all), 12);
}

static void one_cycle_takes_no_warm_up(void **state) {
    (void)state;
    graft_recipe r = recipe_of("one_cycle", 0.1);
    graft_err err = {0};
    r.loss = graft_loss_find("mse");
    r.optimiser = graft_optimiser_find("sgd");
    r.group = group;
    r.epochs = r.batch = r.micro_batch = r.n_classes = 1;
    assert_int_equal(graft_recipe_check(&r, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "rises by itself"));
    r.warmup = 0;
    assert_int_equal(graft_recipe_check(&r, &err), 0);
}

static void rates_of_the_shortest_runs_are_sound(void **state) {
    (void)state;
    static const double warmups[] = {0, 0.1, 0.5, 1.0};
    for (const char *const *name = graft_schedule_names(); *name; name++) {
        for (size_t w = 0; w < GRAFT_COUNT(warmups); w++) {
            graft_recipe r = recipe_of(*name, warmups[w]);
            for (int64_t n = 1; n <= 5; n++) {
                for (int64_t i = 0; i < n; i++) {
                    double rate = graft_recipe_rate(&r, i, n);
                    if (!(rate >= 0 && rate <= 0.5))
                        fail_msg("%s: rate %g at %d of %d", *name, rate, (int)i, (int)n);
                }
            }
            assert_true(graft_recipe_rate(&r, 0, 1) > 0 || warmups[w] > 0);
        }
    }
}

static void rows_are_found_by_name(void **state) {
    (void)state;
    static const char *const losses[] = {"cross_entropy", "bce", "mse", "focal"};
    static const char *const optimisers[] = {"adamw", "adam", "sgd"};
    for (size_t i = 0; i < GRAFT_COUNT(losses); i++)
        assert_string_equal(graft_loss_find(losses[i])->name, losses[i]);
    for (size_t i = 0; i < GRAFT_COUNT(optimisers); i++)
        assert_string_equal(graft_optimiser_find(optimisers[i])->name, optimisers[i]);
    for (const char *const *n = graft_loss_names(); *n; n++) assert_non_null(graft_loss_find(*n));
    for (const char *const *n = graft_optimiser_names(); *n; n++) assert_non_null(graft_optimiser_find(*n));
    for (const char *const *n = graft_schedule_names(); *n; n++) assert_non_null(graft_schedule_find(*n));
    assert_null(graft_loss_find("hinge"));
    assert_null(graft_optimiser_find(""));
    assert_null(graft_schedule_find("Cosine"));
}

static void losses_of_one_sample_have_their_textbook_value(void **state) {
    (void)state;
    const float z[] = {1, -2, 0.5f}, hard[] = {0, 1, 0}, soft[] = {0.25f, 0.25f, 0.5f};
    double sum = exp(1) + exp(-2) + exp(0.5), l = log(sum);
    assert_true(fabs(graft_loss_find("cross_entropy")->value(z, hard, 3) - (l + 2)) < 1e-12);
    assert_true(fabs(graft_loss_find("cross_entropy")->value(z, soft, 3) - (l - 0.25 + 0.5 - 0.25)) < 1e-12);
    double bce = log1p(exp(1)) + log1p(exp(2)) + log1p(exp(0.5)); /* -log of 1-s(1), s(-2), 1-s(.5) */
    assert_true(fabs(graft_loss_find("bce")->value(z, hard, 3) - bce / 3) < 1e-12);
    assert_true(fabs(graft_loss_find("mse")->value(z, hard, 3) - (1 + 9 + 0.25) / 3) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(schedules_equal_those_of_pytorch),
        room_test(warm_up_and_the_schedule_after_it_equal_those_of_transformers),
        room_test(one_cycle_takes_no_warm_up),
        room_test(rates_of_the_shortest_runs_are_sound),
        room_test(rows_are_found_by_name),
        room_test(losses_of_one_sample_have_their_textbook_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
