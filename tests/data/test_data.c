#include "data/data_files.h"
#include <sys/stat.h>

static void class_folders_become_labels(void **state) {
    bench *b = *state;
    bench_class(b, "d/cat", 1, 3, 8);
    bench_class(b, "d/ant", 10, 2, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_n_samples(d), 5);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_string_equal(graft_data_class(d, 0), "ant");
    assert_string_equal(graft_data_class(d, 1), "cat");
    assert_null(graft_data_class(d, 2));
    assert_int_equal(graft_data_sample(d, 0)->label, 0);
    assert_int_equal(graft_data_sample(d, 4)->label, 1);
    assert_int_equal(graft_data_count(d, GRAFT_TRAIN, 1), 3);
    assert_non_null(strstr(b->log, "class folders"));
    graft_data_close(d);
}

static void parts_are_taken_from_folders_of_their_names(void **state) {
    bench *b = *state;
    bench_class(b, "d/Train/a", 1, 3, 8);
    bench_class(b, "d/Train/b", 10, 3, 8);
    bench_class(b, "d/valid/a", 20, 2, 8);
    bench_class(b, "d/valid/b", 30, 1, 8);
    bench_class(b, "d/test/a", 40, 1, 8);
    bench_class(b, "d/docs/c", 50, 1, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 6);
    assert_int_equal(bench_n(d, GRAFT_VAL), 3);
    assert_int_equal(bench_n(d, GRAFT_TEST), 1);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_non_null(strstr(b->log, "docs"));
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(bench_n(d, GRAFT_VAL), 3);
    graft_data_close(d);
}

static void a_class_called_train_is_a_class(void **state) {
    bench *b = *state;
    bench_class(b, "d/bus", 1, 2, 8);
    bench_class(b, "d/train", 10, 2, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_string_equal(graft_data_class(d, 1), "train");
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 4);
    graft_data_close(d);
}

static void numeric_class_names_are_sorted_as_numbers(void **state) {
    bench *b = *state;
    bench_class(b, "d/10", 1, 1, 8);
    bench_class(b, "d/2", 2, 1, 8);
    bench_class(b, "d/1", 3, 1, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_string_equal(graft_data_class(d, 0), "1");
    assert_string_equal(graft_data_class(d, 1), "2");
    assert_string_equal(graft_data_class(d, 2), "10");
    assert_non_null(strstr(b->log, "sorted as numbers"));
    graft_data_close(d);
}

static void a_models_order_of_classes_is_kept(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 1, 8);
    bench_class(b, "d/b", 2, 1, 8);
    const char *const names[] = {"b", "never", "a"};
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.class_names = names;
    o.n_class_names = 3;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_n_classes(d), 3);
    assert_int_equal(graft_data_sample(d, 0)->label, 2);
    assert_int_equal(graft_data_sample(d, 1)->label, 0);
    graft_data_close(d);
}

static void a_label_that_the_model_does_not_know_is_named(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 2, 8);
    bench_class(b, "d/zebra", 5, 1, 8);
    const char *const names[] = {"a", "b"};
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.class_names = names;
    o.n_class_names = 2;
    bench_refused(b, "d", &o, GRAFT_EDATA, "zebra/p000.png");
    o.drop_unknown_labels = true;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(bench_n(d, GRAFT_ALL), 2);
    assert_non_null(strstr(b->log, "zebra"));
    graft_data_close(d);
}

static void a_labels_file_gives_the_order(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 1, 8);
    bench_class(b, "d/b", 2, 1, 8);
    bench_text(b, "labels.txt", "b\r\na\n\n");
    char file[512];
    strcpy(file, bench_path(b, "labels.txt"));
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.labels_file = file;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_n_classes(d), 2);
    assert_string_equal(graft_data_class(d, 0), "b");
    assert_int_equal(graft_data_sample(d, 0)->label, 1);
    graft_data_close(d);
}

static void empty_and_hopeless_data_are_refused_with_advice(void **state) {
    bench *b = *state;
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.labels = GRAFT_LABELS_NEEDED;
    assert_int_equal(graft_dir_make(bench_path(b, "empty/x"), NULL), 0);
    bench_refused(b, "empty", &o, GRAFT_EDATA, "no picture");
    assert_int_equal(graft_dir_make(bench_path(b, "bare"), NULL), 0);
    bench_refused(b, "bare", &o, GRAFT_EDATA, "nothing that graft reads");
    bench_class(b, "one/only", 1, 3, 8);
    bench_refused(b, "one", &o, GRAFT_EDATA, "one class only, 'only'");
    bench_text(b, "note.xyz", "hello");
    bench_refused(b, "note.xyz", &o, GRAFT_EFORMAT, "no data that graft reads");
    bench_refused(b, "absent", &o, GRAFT_EIO, "absent");
    bench_class(b, "flat", 1, 2, 8);
    bench_refused(b, "flat", &o, GRAFT_EDATA, "has no labels");
    o.format = "parquet";
    bench_refused(b, "flat", &o, GRAFT_EUSAGE, "folders, pictures, csv");
}

static void files_that_are_no_pictures_are_left_out_and_counted(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 2, 8);
    bench_class(b, "d/b", 5, 2, 8);
    bench_text(b, "d/a/notes.txt", "x");
    bench_text(b, "d/a/.DS_Store", "x");
    bench_text(b, "d/b/anim.gif", "GIF89a");
    bench_png(b, "d/loose.png", 9, 8);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_n_samples(d), 4);
    assert_non_null(strstr(b->log, "2 files are no pictures"));
    assert_non_null(strstr(b->log, "1 pictures lie beside"));
    graft_data_close(d);
}

static void bad_pictures_are_listed_and_skipped_up_to_the_limit(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 10, 16);
    bench_class(b, "d/b", 20, 10, 16);
    bench_text(b, "d/a/broken.jpg", "this is no JPEG at all");
    bench_text(b, "d/b/empty.png", "");
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.max_bad = 0.1;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_n_bad(d), 2);
    assert_int_equal(bench_n(d, GRAFT_ALL), 20);
    assert_non_null(strstr(b->log, "broken.jpg"));
    assert_non_null(strstr(b->log, "an empty file"));
    graft_data_close(d);
    o.max_bad = 0.05; /* one of 22 */
    d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), GRAFT_EDATA);
    assert_non_null(strstr(b->err.message, "2 of 22"));
    assert_non_null(strstr(b->err.message, "--max-bad"));
    graft_data_close(d);
    o.strict = true;
    o.max_bad = 1;
    d = bench_open(b, "d", &o);
    assert_true(graft_data_check(d, &b->err) < 0);
    graft_data_close(d);
}

static void truncated_jpegs_are_found_by_the_check(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 4, 16);
    bench_class(b, "d/b", 20, 4, 16);
    bench_jpeg(b, "d/b/cut.jpg", 77, 200, 90);
    char path[512];
    strcpy(path, bench_path(b, "d/b/cut.jpg"));
    graft_arena *arena = graft_arena_new(NULL);
    char *bytes;
    size_t size;
    assert_int_equal(graft_file_read(&bytes, &size, arena, path, 1 << 20, &b->err), 0);
    bench_write(b, "d/b/cut.jpg", bytes, size / 2);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.max_bad = 0.2;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_n_bad(d), 1);
    assert_non_null(strstr(b->log, "cut.jpg"));
    graft_data_close(d);
    graft_arena_free(arena);
}

static void what_is_no_file_is_a_bad_sample_and_does_not_hang(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 4, 16);
    bench_class(b, "d/b", 20, 4, 16);
    assert_int_equal(mkfifo(bench_path(b, "d/a/pipe.png"), 0600), 0);
    assert_int_equal(graft_dir_make(bench_path(b, "d/b/folder.jpg"), NULL), 0);
    assert_int_equal(symlink("/nowhere", bench_path(b, "d/b/link.jpg")), 0);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.max_bad = 0.3;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_n_bad(d), 3);
    assert_non_null(strstr(b->log, "pipe.png: not a file"));
    assert_non_null(strstr(b->log, "link.jpg: cannot open"));
    graft_data_close(d);
}

static void pictures_without_labels_keep_the_order_of_their_inputs(void **state) {
    bench *b = *state;
    bench_class(b, "d/sub", 1, 2, 8);
    bench_png(b, "one.png", 9, 8);
    char one[512], folder[512];
    strcpy(one, bench_path(b, "one.png"));
    (void)snprintf(folder, sizeof folder, "%s/d/", b->dir);
    const char *const paths[] = {one, folder, one};
    graft_data *d;
    assert_int_equal(graft_data_open_inputs(&d, b->env, paths, 3, NULL, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), 4);
    assert_false(graft_data_has_labels(d));
    assert_string_equal(graft_data_sample(d, 0)->path, one);
    assert_non_null(strstr(graft_data_sample(d, 1)->path, "sub/p000.png"));
    assert_string_equal(graft_data_sample(d, 3)->path, one);
    assert_int_equal(graft_data_sample(d, 3)->label, -1);
    graft_data_close(d);
}

static void one_sample_is_read_as_it_is_stored(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 1, 8);
    bench_class(b, "d/b", 2, 1, 8);
    graft_data *d = bench_open(b, "d", NULL);
    graft_raw raw = {0};
    assert_int_equal(graft_data_read(d, 1, &raw, &b->err), 0);
    assert_true(raw.size > 8);
    assert_memory_equal(raw.bytes, "\x89PNG", 4);
    assert_int_equal(graft_data_hash(d, &b->err), 0);
    assert_true(graft_hash_equal(graft_raw_content(&raw), graft_data_sample(d, 1)->content));
    assert_int_equal(unlink(graft_data_sample(d, 0)->path), 0);
    assert_int_equal(graft_data_read(d, 0, &raw, &b->err), GRAFT_EIO);
    assert_non_null(strstr(b->err.message, "p000.png"));
    graft_raw_done(&raw);
    graft_data_close(d);
}

static void the_fingerprint_follows_contents_not_places(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 4, 8);
    bench_class(b, "d/b", 20, 4, 8);
    for (int i = 3; i >= 0; i--) {
        char name[64];
        (void)snprintf(name, sizeof name, "e/a/other%d.png", 9 - i);
        bench_png(b, name, 1u + (unsigned)i, 8);
        (void)snprintf(name, sizeof name, "e/b/x%d.png", i);
        bench_png(b, name, 20u + (unsigned)i, 8);
    }
    graft_data *d = bench_open(b, "d", NULL), *e = bench_open(b, "e", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_check(e, &b->err), 0);
    assert_true(graft_hash_equal(graft_data_fingerprint(d), graft_data_fingerprint(e)));
    bench_png(b, "e/b/x0.png", 99, 8);
    graft_data *f = bench_open(b, "e", NULL);
    assert_int_equal(graft_data_check(f, &b->err), 0);
    assert_false(graft_hash_equal(graft_data_fingerprint(d), graft_data_fingerprint(f)));
    graft_data_close(d);
    graft_data_close(e);
    graft_data_close(f);
}

static void class_weights_are_inverse_frequencies_with_mean_one(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 6, 8);
    bench_class(b, "d/b", 20, 2, 8);
    graft_data *d = bench_open(b, "d", NULL);
    float w[2];
    graft_data_class_weights(d, GRAFT_TRAIN, w);
    assert_float_equal(w[0], 8.0 / 12, 1e-6);
    assert_float_equal(w[1], 2, 1e-6);
    assert_float_equal((6 * w[0] + 2 * w[1]) / 8, 1, 1e-6);
    graft_data_close(d);
}

static void imbalance_and_label_conflicts_are_reported(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 12, 8);
    bench_class(b, "d/b", 40, 3, 8);
    bench_png(b, "d/b/conflict.png", 1, 8);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.validation = -1;
    graft_data *d = bench_open(b, "d", &o);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(bench_n(d, GRAFT_VAL), 0);
    assert_non_null(strstr(b->log, "the classes are uneven"));
    assert_non_null(strstr(b->log, "the same picture is 'a'"));
    graft_data_close(d);
}

static void a_cancelled_check_is_interrupted(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 2, 8);
    bench_class(b, "d/b", 5, 2, 8);
    graft_data *d = bench_open(b, "d", NULL);
    graft_env_cancel(b->env);
    assert_int_equal(graft_data_check(d, &b->err), GRAFT_EINTERRUPTED);
    graft_data_close(d);
}

/* Ants and bees, where they lie beside the project; one of the photos is cut short. */
static void a_truncated_photo_among_hundreds_is_skipped_with_its_name(void **state) {
    bench *b = *state;
    const char *const tar = "../shared/data/hymenoptera.tar";
    char command[256];
    (void)snprintf(command, sizeof command, "tar xf %s -C %s", tar, b->dir);
    if (!graft_path_is_file(tar) || system(command) != 0) {
        print_message("skipped: no %s, or no tar\n", tar);
        skip();
    }
    assert_int_equal(truncate(bench_path(b, "hymenoptera/train/ants/0013035.jpg"), 9000), 0);
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.labels = GRAFT_LABELS_NEEDED;
    graft_data *d = bench_open(b, "hymenoptera", &o);
    assert_int_equal(graft_data_n_samples(d), 396);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_n_bad(d), 1);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 242);
    assert_int_equal(bench_n(d, GRAFT_VAL), 153);
    assert_non_null(strstr(b->log, "ants/0013035.jpg: "));
    assert_non_null(strstr(b->log, "1 of 396 pictures cannot be used"));
    assert_int_equal(graft_data_duplicates(d)->n_same + graft_data_duplicates(d)->n_near, 0);
    graft_data_close(d);
    o.strict = true;
    d = bench_open(b, "hymenoptera", &o);
    assert_int_equal(graft_data_check(d, &b->err), GRAFT_EFORMAT);
    assert_non_null(strstr(b->err.message, "ants/0013035.jpg"));
    graft_data_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(class_folders_become_labels),
        BENCH_TEST(parts_are_taken_from_folders_of_their_names),
        BENCH_TEST(a_class_called_train_is_a_class),
        BENCH_TEST(numeric_class_names_are_sorted_as_numbers),
        BENCH_TEST(a_models_order_of_classes_is_kept),
        BENCH_TEST(a_label_that_the_model_does_not_know_is_named),
        BENCH_TEST(a_labels_file_gives_the_order),
        BENCH_TEST(empty_and_hopeless_data_are_refused_with_advice),
        BENCH_TEST(files_that_are_no_pictures_are_left_out_and_counted),
        BENCH_TEST(bad_pictures_are_listed_and_skipped_up_to_the_limit),
        BENCH_TEST(truncated_jpegs_are_found_by_the_check),
        BENCH_TEST(what_is_no_file_is_a_bad_sample_and_does_not_hang),
        BENCH_TEST(pictures_without_labels_keep_the_order_of_their_inputs),
        BENCH_TEST(one_sample_is_read_as_it_is_stored),
        BENCH_TEST(the_fingerprint_follows_contents_not_places),
        BENCH_TEST(class_weights_are_inverse_frequencies_with_mean_one),
        BENCH_TEST(imbalance_and_label_conflicts_are_reported),
        BENCH_TEST(a_truncated_photo_among_hundreds_is_skipped_with_its_name),
        BENCH_TEST(a_cancelled_check_is_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
