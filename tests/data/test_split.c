#include "data/data_files.h"

/* Labels in val by class. */
static void count_val(const graft_data *d, int64_t *counts) {
    for (int32_t c = 0; c < graft_data_n_classes(d); c++) counts[c] = graft_data_count(d, GRAFT_VAL, c);
}

static void every_class_gives_its_fraction(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 20, 8);
    bench_class(b, "d/b", 100, 10, 8);
    bench_class(b, "d/c", 200, 3, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    int64_t n[3];
    count_val(d, n);
    assert_int_equal(n[0], 4);
    assert_int_equal(n[1], 2);
    assert_int_equal(n[2], 1);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 26);
    graft_data_close(d);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.validation = 0.5;
    d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    count_val(d, n);
    assert_int_equal(n[0], 10);
    assert_int_equal(n[1], 5);
    assert_int_equal(n[2], 2);
    graft_data_close(d);
    o.validation = 1.5;
    bench_refused(b, "d", &o, GRAFT_EUSAGE, "below 1");
}

static void a_class_with_one_picture_stays_in_train(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 10, 8);
    bench_class(b, "d/lonely", 100, 1, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_count(d, GRAFT_TRAIN, 1), 1);
    assert_int_equal(graft_data_count(d, GRAFT_VAL, 1), 0);
    assert_non_null(strstr(b->log, "too few pictures"));
    graft_data_close(d);
}

/* Which contents are in val, as one sum. */
static uint64_t val_contents(const graft_data *d) {
    int64_t n;
    const int64_t *val = graft_data_members(d, GRAFT_VAL, &n);
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += graft_data_sample(d, val[i])->content.lo;
    return sum;
}

static void the_seed_decides_and_names_do_not(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 12, 8);
    bench_class(b, "d/b", 100, 12, 8);
    for (unsigned i = 0; i < 12; i++) { /* the same pictures under other names, in another order */
        char name[64];
        (void)snprintf(name, sizeof name, "e/a/%c.png", 'z' - (int)i);
        bench_png(b, name, 1 + i, 8);
        (void)snprintf(name, sizeof name, "e/b/q%u.png", (i * 7) % 12);
        bench_png(b, name, 100 + i, 8);
    }
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.seed = 5;
    graft_data *d = bench_open(b, "d", &o), *e = bench_open(b, "e", &o);
    o.seed = 6;
    graft_data *f = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_check(e, &b->err), 0);
    assert_int_equal(graft_data_check(f, &b->err), 0);
    assert_true(val_contents(d) == val_contents(e));
    assert_true(val_contents(d) != val_contents(f));
    assert_int_equal(bench_n(d, GRAFT_VAL), bench_n(f, GRAFT_VAL));
    graft_data_close(d);
    graft_data_close(e);
    graft_data_close(f);
}

static void a_group_is_never_on_both_sides(void **state) {
    bench *b = *state;
    for (unsigned patient = 0; patient < 15; patient++)
        for (unsigned k = 0; k < 1 + patient % 4; k++) {
            char name[64];
            (void)snprintf(name, sizeof name, "d/%s/patient%02u_%u.png", patient % 3 ? "a" : "b", patient, k);
            bench_png(b, name, patient * 10 + k, 8);
        }
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.group_pattern = "(patient[0-9]+)_";
    o.validation = 0.3;
    for (o.seed = 0; o.seed < 8; o.seed++) {
        graft_data *d = bench_open(b, "d", &o);
        assert_int_equal(graft_data_check(d, &b->err), 0);
        graft_part side[15];
        for (int g = 0; g < 15; g++) side[g] = GRAFT_ALL;
        for (int64_t i = 0; i < graft_data_n_samples(d); i++) {
            const graft_sample *s = graft_data_sample(d, i);
            assert_in_range(s->group, 0, 14);
            if (side[s->group] == GRAFT_ALL) side[s->group] = s->part;
            assert_int_equal(side[s->group], s->part);
        }
        assert_in_range(bench_n(d, GRAFT_VAL), 7, 15); /* 36 in all */
        assert_true(graft_data_count(d, GRAFT_VAL, 0) > 0 && graft_data_count(d, GRAFT_VAL, 1) > 0);
        graft_data_close(d);
    }
    o.group_pattern = "person";
    bench_refused(b, "d", &o, GRAFT_EUSAGE, "matches no name");
    o.group_pattern = "(";
    bench_refused(b, "d", &o, GRAFT_EUSAGE, "no regular expression");
}

static void the_same_content_is_never_on_both_sides(void **state) {
    bench *b = *state;
    for (unsigned i = 0; i < 40; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "d/%c/p%02u.png", 'a' + (int)(i % 2), i);
        bench_png(b, name, i / 4 * 2 + i % 2, 8); /* each picture twice */
    }
    for (uint64_t seed = 0; seed < 5; seed++) {
        graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
        o.seed = seed;
        graft_data *d = bench_open(b, "d", &o);
        assert_int_equal(graft_data_check(d, &b->err), 0);
        assert_int_equal(bench_n(d, GRAFT_VAL), 8);
        for (int64_t i = 0; i < 40; i++)
            for (int64_t k = 0; k < i; k++) {
                const graft_sample *x = graft_data_sample(d, i), *y = graft_data_sample(d, k);
                if (graft_hash_equal(x->content, y->content)) assert_int_equal(x->part, y->part);
            }
        assert_int_equal(graft_data_duplicates(d)->n_same, 0);
        graft_data_close(d);
    }
}

static void one_group_for_everything_leaves_no_validation(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 4, 8);
    bench_class(b, "d/b", 10, 4, 8);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.group_pattern = "png";
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(bench_n(d, GRAFT_VAL), 0);
    assert_non_null(strstr(b->log, "no validation part can be made"));
    graft_data_close(d);
}

static void a_test_part_stays_what_it_is(void **state) {
    bench *b = *state;
    bench_class(b, "d/train/a", 1, 10, 8);
    bench_class(b, "d/train/b", 20, 10, 8);
    bench_class(b, "d/test/a", 40, 5, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(bench_n(d, GRAFT_TEST), 5);
    assert_int_equal(bench_n(d, GRAFT_VAL), 4);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 16);
    graft_data_close(d);
}

static uint64_t contents(const graft_data *d, graft_part part) {
    int64_t n;
    const int64_t *members = graft_data_members(d, part, &n);
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += graft_data_sample(d, members[i])->content.lo;
    return sum;
}

static void a_made_test_part_is_the_same_for_every_seed(void **state) {
    bench *b = *state;
    uint64_t test[2], val[2];
    bench_class(b, "d/a", 1, 20, 8);
    bench_class(b, "d/b", 100, 20, 8);
    for (size_t i = 0; i < 2; i++) {
        graft_data_options o = {.test = 0.25, .seed = i + 1};
        graft_data *d = bench_open(b, "d", &o);
        assert_int_equal(graft_data_check(d, &b->err), 0);
        assert_int_equal(bench_n(d, GRAFT_TEST), 10);
        assert_int_equal(bench_n(d, GRAFT_VAL), 6);
        assert_int_equal(bench_n(d, GRAFT_TRAIN), 24);
        assert_int_equal(graft_data_count(d, GRAFT_TEST, 0), 5);
        test[i] = contents(d, GRAFT_TEST);
        val[i] = contents(d, GRAFT_VAL);
        graft_data_close(d);
    }
    assert_true(test[0] == test[1]);
    assert_true(val[0] != val[1]);
    bench_refused(b, "d", &(graft_data_options){.test = -1}, GRAFT_EUSAGE, "below 1");
}

static bool is_used(const graft_data *d, int64_t i) {
    graft_part part = graft_data_sample(d, i)->part;
    return part == GRAFT_TRAIN || part == GRAFT_VAL;
}

static void few_samples_a_class_are_among_the_more(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 20, 8);
    bench_class(b, "d/b", 100, 5, 8);
    graft_data *more = bench_open(b, "d", &(graft_data_options){.per_class = 10, .seed = 3});
    graft_data *few = bench_open(b, "d", &(graft_data_options){.per_class = 5, .seed = 3});
    assert_int_equal(graft_data_check(more, &b->err), 0);
    assert_int_equal(graft_data_check(few, &b->err), 0);
    assert_non_null(strstr(b->log, "1 classes have fewer than 10 training pictures"));
    assert_int_equal(bench_n(more, GRAFT_SPARE), 10);
    assert_int_equal(bench_n(few, GRAFT_SPARE), 15);
    assert_int_equal(bench_n(more, GRAFT_VAL), 3);
    assert_int_equal(bench_n(few, GRAFT_VAL), 2);
    assert_int_equal(bench_n(few, GRAFT_TRAIN), 8);
    for (int64_t i = 0; i < graft_data_n_samples(few); i++) assert_true(is_used(more, i) || !is_used(few, i));
    graft_data_close(more);
    graft_data_close(few);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(every_class_gives_its_fraction),
        BENCH_TEST(a_class_with_one_picture_stays_in_train),
        BENCH_TEST(the_seed_decides_and_names_do_not),
        BENCH_TEST(a_group_is_never_on_both_sides),
        BENCH_TEST(the_same_content_is_never_on_both_sides),
        BENCH_TEST(one_group_for_everything_leaves_no_validation),
        BENCH_TEST(a_test_part_stays_what_it_is),
        BENCH_TEST(a_made_test_part_is_the_same_for_every_seed),
        BENCH_TEST(few_samples_a_class_are_among_the_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
