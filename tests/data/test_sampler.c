#include "data/data_files.h"

static void an_epoch_is_a_permutation_and_a_function_of_seed_and_epoch(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 12, 8);
    bench_class(b, "d/b", 20, 8, 8);
    graft_data *d = bench_open(b, "d", NULL);
    int64_t n, one[20], again[20], other[20], seeded[20], seen[20] = {0};
    const int64_t *all = graft_data_members(d, GRAFT_ALL, &n);
    assert_int_equal(graft_sampler_epoch(one, d, all, n, GRAFT_SHUFFLED, 7, 3, NULL), 0);
    assert_int_equal(graft_sampler_epoch(again, d, all, n, GRAFT_SHUFFLED, 7, 3, NULL), 0);
    assert_int_equal(graft_sampler_epoch(other, d, all, n, GRAFT_SHUFFLED, 7, 4, NULL), 0);
    assert_int_equal(graft_sampler_epoch(seeded, d, all, n, GRAFT_SHUFFLED, 8, 3, NULL), 0);
    assert_memory_equal(one, again, sizeof one);
    assert_memory_not_equal(one, other, sizeof one);
    assert_memory_not_equal(one, seeded, sizeof one);
    for (int i = 0; i < 20; i++) seen[one[i]]++;
    for (int i = 0; i < 20; i++) assert_int_equal(seen[i], 1);
    assert_int_equal(graft_sampler_epoch(one, d, all, n, GRAFT_IN_ORDER, 7, 3, NULL), 0);
    assert_memory_equal(one, all, sizeof one);
    graft_data_close(d);
}

static void balanced_epochs_draw_every_class_equally(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 25, 8);
    bench_class(b, "d/b", 40, 4, 8);
    bench_class(b, "d/c", 50, 2, 8);
    graft_data *d = bench_open(b, "d", NULL);
    int64_t n, order[31], a_seen[31] = {0};
    const int64_t *all = graft_data_members(d, GRAFT_ALL, &n);
    for (int64_t epoch = 0; epoch < 40; epoch++) {
        int64_t per_class[3] = {0}, drawn[31] = {0};
        assert_int_equal(graft_sampler_epoch(order, d, all, n, GRAFT_BALANCED, 1, epoch, NULL), 0);
        for (int i = 0; i < 31; i++) {
            per_class[graft_data_sample(d, order[i])->label]++;
            drawn[order[i]]++;
            a_seen[order[i]]++;
        }
        for (int c = 0; c < 3; c++) assert_in_range(per_class[c], 10, 11);
        for (int i = 0; i < 25; i++) assert_in_range(drawn[i], 0, 1);
        for (int i = 25; i < 29; i++) assert_in_range(drawn[i], 2, 3);
        for (int i = 29; i < 31; i++) assert_in_range(drawn[i], 5, 6);
    }
    for (int i = 0; i < 25; i++) assert_in_range(a_seen[i], 5, 30); /* 16 expected */
    graft_data_close(d);
}

static void unlabelled_samples_are_shuffled_where_balance_is_asked_for(void **state) {
    bench *b = *state;
    bench_class(b, "d", 1, 9, 8);
    graft_data *d = bench_open(b, "d", NULL);
    int64_t n, order[9], shuffled[9];
    const int64_t *all = graft_data_members(d, GRAFT_ALL, &n);
    assert_int_equal(graft_sampler_epoch(order, d, all, n, GRAFT_BALANCED, 1, 0, NULL), 0);
    assert_int_equal(graft_sampler_epoch(shuffled, d, all, n, GRAFT_SHUFFLED, 1, 0, NULL), 0);
    assert_memory_equal(order, shuffled, sizeof order);
    graft_data_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(an_epoch_is_a_permutation_and_a_function_of_seed_and_epoch),
        BENCH_TEST(balanced_epochs_draw_every_class_equally),
        BENCH_TEST(unlabelled_samples_are_shuffled_where_balance_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
