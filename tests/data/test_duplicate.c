#include "data/data_files.h"

static void the_same_picture_in_train_and_test_is_named(void **state) {
    bench *b = *state;
    bench_class(b, "d/train/a", 1, 5, 8);
    bench_class(b, "d/train/b", 20, 5, 8);
    bench_class(b, "d/val/a", 40, 3, 8);
    bench_class(b, "d/val/b", 50, 3, 8);
    bench_png(b, "d/val/b/copy.png", 22, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    const graft_duplicates *twins = graft_data_duplicates(d);
    assert_int_equal(twins->n_same, 1);
    assert_int_equal(twins->n_near, 0);
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[0][0])->path, "copy.png"));
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[0][1])->path, "train/b/p002.png"));
    assert_non_null(strstr(b->log, "1 val or test pictures are the same as"));
    graft_data_close(d);
}

static void the_same_picture_in_val_and_test_is_named(void **state) {
    bench *b = *state;
    bench_class(b, "d/train/a", 1, 5, 8);
    bench_class(b, "d/train/b", 20, 5, 8);
    bench_class(b, "d/val/a", 40, 3, 8);
    bench_class(b, "d/val/b", 50, 3, 8);
    bench_class(b, "d/test/a", 60, 3, 8);
    bench_class(b, "d/test/b", 70, 3, 8);
    bench_png(b, "d/test/a/copy.png", 41, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    const graft_duplicates *twins = graft_data_duplicates(d);
    assert_int_equal(twins->n_same, 1);
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[0][0])->path, "copy.png"));
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[0][1])->path, "val/a/p001.png"));
    assert_non_null(strstr(b->log, "1 val or test pictures are the same as one of train or val"));
    graft_data_close(d);
}

static void a_picture_saved_anew_or_resized_is_a_near_duplicate(void **state) {
    bench *b = *state;
    bench_class(b, "d/train/a", 1, 8, 128);
    bench_class(b, "d/train/b", 30, 8, 128);
    bench_class(b, "d/val/a", 60, 4, 128);
    bench_class(b, "d/val/b", 70, 4, 128);
    bench_jpeg(b, "d/val/a/saved.jpg", 3, 128, 70);
    bench_jpeg(b, "d/val/b/resized.jpg", 33, 200, 90);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    const graft_duplicates *twins = graft_data_duplicates(d);
    assert_int_equal(twins->n_same, 0);
    assert_int_equal(twins->n_near, 2);
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[0][0])->path, "saved.jpg"));
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[0][1])->path, "train/a/p002.png"));
    assert_non_null(strstr(graft_data_sample(d, twins->pairs[1][1])->path, "train/b/p003.png"));
    assert_non_null(strstr(b->log, "look the same as"));
    graft_data_close(d);
}

static void near_duplicates_stay_on_one_side_of_a_split(void **state) {
    bench *b = *state;
    for (unsigned i = 0; i < 12; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "d/%c/p%02u.png", 'a' + (int)(i % 2), i);
        bench_png(b, name, 100 + i, 96);
        (void)snprintf(name, sizeof name, "d/%c/again%02u.jpg", 'a' + (int)(i % 2), i);
        bench_jpeg(b, name, 100 + i, 96, 80);
    }
    for (uint64_t seed = 0; seed < 4; seed++) {
        graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
        o.seed = seed;
        graft_data *d = bench_open(b, "d", &o);
        assert_int_equal(graft_data_check(d, &b->err), 0);
        assert_int_equal(bench_n(d, GRAFT_VAL), 4);
        assert_int_equal(graft_data_duplicates(d)->n_near, 0);
        graft_part side[12];
        for (int64_t i = 0; i < 24; i++) { /* samples 0..5: again of a, 6..11: p of a, then b */
            int pair = (int)(i % 6 + i / 12 * 6);
            if (i % 12 < 6)
                side[pair] = graft_data_sample(d, i)->part;
            else
                assert_int_equal(side[pair], graft_data_sample(d, i)->part);
        }
        graft_data_close(d);
    }
}

static void tiny_and_plain_pictures_have_no_likeness(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 6, 32);
    bench_class(b, "d/b", 20, 6, 63);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    for (int64_t i = 0; i < 12; i++) assert_null(graft_data_sample(d, i)->likeness);
    graft_data_close(d);
    unsigned char *white = malloc(3 * 80 * 80);
    memset(white, 255, 3 * 80 * 80);
    bench_npy(b, "images.npy", GRAFT_U8, white, 4, (const int64_t[]){3, 80, 80, 1});
    d = bench_open(b, "images.npy", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_null(graft_data_sample(d, 0)->likeness);
    graft_data_close(d);
    free(white);
}

static void different_pictures_are_not_alike(void **state) {
    bench *b = *state;
    bench_class(b, "d/train/a", 1, 60, 64);
    bench_class(b, "d/val/a", 100, 60, 64);
    bench_class(b, "d/val/b", 200, 2, 64);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_duplicates(d)->n_near, 0);
    int n_likeness = 0;
    for (int64_t i = 0; i < 122; i++) n_likeness += graft_data_sample(d, i)->likeness != NULL;
    assert_true(n_likeness > 100);
    graft_data_close(d);
}

static void what_a_cache_knows_counts_as_seen(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 5, 96);
    bench_class(b, "d/b", 20, 5, 96);
    graft_data *d = bench_open(b, "d", NULL), *e = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_hash(e, &b->err), 0);
    for (int64_t i = 0; i < 10; i++)
        assert_int_equal(graft_data_note_seen(e, i, graft_data_sample(d, i)->likeness, &b->err), 0);
    assert_int_equal(graft_data_settle(e, &b->err), 0);
    for (int64_t i = 0; i < 10; i++)
        assert_int_equal(graft_data_sample(d, i)->part, graft_data_sample(e, i)->part);
    assert_true(graft_hash_equal(graft_data_fingerprint(d), graft_data_fingerprint(e)));
    graft_data_close(d);
    graft_data_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(the_same_picture_in_train_and_test_is_named),
        BENCH_TEST(the_same_picture_in_val_and_test_is_named),
        BENCH_TEST(a_picture_saved_anew_or_resized_is_a_near_duplicate),
        BENCH_TEST(near_duplicates_stay_on_one_side_of_a_split),
        BENCH_TEST(tiny_and_plain_pictures_have_no_likeness),
        BENCH_TEST(different_pictures_are_not_alike),
        BENCH_TEST(what_a_cache_knows_counts_as_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
