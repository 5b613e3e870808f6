#include "data/data_files.h"

/* A transform to 3 x 12 x 12, with the augmentation that `policy` describes. */
static graft_transform transform_of(const char *policy) {
    graft_preprocess p;
    graft_augment a;
    graft_transform t;
    graft_err err;
    graft_preprocess_plain(&p, 3, 12, 12);
    assert_int_equal(graft_augment_parse(&a, policy, &err), 0);
    assert_int_equal(graft_transform_init(&t, &p, &a, &err), 0);
    return t;
}

static void make_data(bench *b) {
    bench_class(b, "d/a", 1, 13, 16);
    bench_class(b, "d/b", 40, 10, 16);
}

enum { PICTURE = 3 * 12 * 12, ROOM = 64 };

/* Everything that an epoch gave. */
typedef struct epoch {
    int64_t n, n_batches, samples[ROOM];
    int32_t labels[ROOM];
    float pixels[ROOM * PICTURE], targets[ROOM * 2];
} epoch;

static epoch *run_from(graft_batches *l, int64_t number, int64_t first, graft_err *err) {
    epoch *e = calloc(1, sizeof *e);
    graft_batch batch;
    int rc;
    assert_int_equal(l->begin(l->self, number, first, err), 0);
    while ((rc = l->next(l->self, &batch, err)) == 1) {
        assert_int_equal(batch.n_inputs, 1);
        assert_string_equal(batch.inputs[0].name, "pixel_values");
        assert_int_equal(batch.inputs[0].shape.rank, 4);
        assert_int_equal(batch.inputs[0].shape.dims[0], batch.n);
        assert_int_equal(batch.inputs[0].size, (size_t)batch.n * PICTURE * sizeof(float));
        size_t n = (size_t)batch.n, at = (size_t)e->n;
        memcpy(e->samples + at, batch.samples, n * sizeof *e->samples);
        memcpy(e->labels + at, batch.labels, n * sizeof *e->labels);
        memcpy(e->pixels + at * PICTURE, batch.inputs[0].data, n * PICTURE * sizeof(float));
        if (batch.targets) memcpy(e->targets + at * 2, batch.targets, n * 2 * sizeof(float));
        e->n += batch.n;
        e->n_batches++;
    }
    if (rc < 0) print_message("%s\n", err->message);
    assert_int_equal(rc, 0);
    return e;
}

static epoch *load(graft_data *d, const char *policy, const graft_loader_options *o, int64_t number,
                   int64_t first) {
    graft_transform t = transform_of(policy);
    graft_batches l;
    graft_err err;
    assert_int_equal(graft_loader_open(&l, d, &t, o, &err), 0);
    epoch *e = run_from(&l, number, first, &err);
    graft_batches_close(&l);
    return e;
}

static void an_epoch_has_every_sample_once_and_the_last_batch_is_smaller(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 5};
    epoch *e = load(d, "none", &o, 0, 0);
    assert_int_equal(e->n, 23);
    assert_int_equal(e->n_batches, 5);
    for (int64_t i = 0; i < 23; i++) {
        assert_int_equal(e->samples[i], i);
        assert_int_equal(e->labels[i], i >= 13);
    }
    free(e);
    graft_data_close(d);
}

static void pixels_are_those_of_the_transform(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 4};
    epoch *e = load(d, "none", &o, 0, 0);
    graft_transform t = transform_of("none");
    graft_image_scratch *s = graft_image_scratch_new();
    graft_raw raw = {0};
    float want[PICTURE];
    for (int64_t i = 0; i < 23; i++) {
        assert_int_equal(graft_data_read(d, i, &raw, &b->err), 0);
        assert_int_equal(graft_transform_run(&t, raw.bytes, raw.size, "x", NULL, want, s, &b->err), 0);
        assert_memory_equal(want, e->pixels + i * PICTURE, sizeof want);
    }
    graft_raw_done(&raw);
    graft_image_scratch_free(s);
    free(e);
    graft_data_close(d);
}

static void the_number_of_threads_changes_nothing(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    const graft_order orders[] = {GRAFT_SHUFFLED, GRAFT_BALANCED};
    for (size_t k = 0; k < 2; k++) {
        graft_loader_options o = {.part = GRAFT_ALL,
                                  .batch = 4,
                                  .order = orders[k],
                                  .augment = true,
                                  .mix = true,
                                  .seed = 9,
                                  .threads = 1};
        epoch *one = load(d, "strong,mixup=0.3,cutmix=1", &o, 2, 0);
        for (o.threads = 2; o.threads <= 5; o.threads++) {
            o.prefetch = o.threads - 1;
            epoch *many = load(d, "strong,mixup=0.3,cutmix=1", &o, 2, 0);
            assert_memory_equal(one, many, sizeof *one);
            free(many);
        }
        free(one);
    }
    graft_data_close(d);
}

static void an_epoch_is_taken_up_in_its_middle(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {
        .part = GRAFT_ALL, .batch = 5, .order = GRAFT_SHUFFLED, .augment = true, .mix = true, .seed = 3};
    epoch *whole = load(d, "standard,mixup=0.4", &o, 4, 0), *rest = load(d, "standard,mixup=0.4", &o, 4, 2);
    assert_int_equal(rest->n, 13);
    assert_memory_equal(whole->samples + 10, rest->samples, 13 * sizeof(int64_t));
    assert_memory_equal(whole->pixels + 10 * PICTURE, rest->pixels, 13 * PICTURE * sizeof(float));
    assert_memory_equal(whole->targets + 20, rest->targets, 26 * sizeof(float));
    epoch *nothing = load(d, "none", &o, 4, 5);
    assert_int_equal(nothing->n, 0);
    free(whole);
    free(rest);
    free(nothing);
    graft_data_close(d);
}

static void epochs_differ_in_order_and_augmentation(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {
        .part = GRAFT_ALL, .batch = 8, .order = GRAFT_IN_ORDER, .augment = true, .seed = 3};
    epoch *e = load(d, "standard", &o, 0, 0), *f = load(d, "standard", &o, 1, 0),
          *again = load(d, "standard", &o, 0, 0);
    assert_memory_equal(e->pixels, again->pixels, sizeof e->pixels);
    assert_memory_not_equal(e->pixels, f->pixels, sizeof e->pixels);
    assert_memory_equal(e->samples, f->samples, sizeof e->samples);
    free(e);
    free(f);
    free(again);
    graft_data_close(d);
}

static void a_sample_drawn_twice_is_augmented_differently(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 19, 16);
    bench_class(b, "d/b", 40, 1, 16);
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {
        .part = GRAFT_ALL, .batch = 8, .order = GRAFT_BALANCED, .augment = true, .seed = 3};
    epoch *e = load(d, "strong", &o, 0, 0);
    int64_t first = -1;
    int n_equal = 0, n_drawn = 0;
    for (int64_t i = 0; i < e->n; i++) {
        if (e->samples[i] != 19) continue;
        n_drawn++;
        if (first < 0)
            first = i;
        else
            n_equal +=
                memcmp(e->pixels + first * PICTURE, e->pixels + i * PICTURE, PICTURE * sizeof(float)) == 0;
    }
    assert_int_equal(n_drawn, 10);
    assert_int_equal(n_equal, 0);
    free(e);
    graft_data_close(d);
}

static void mixed_targets_sum_to_one(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {
        .part = GRAFT_ALL, .batch = 8, .order = GRAFT_SHUFFLED, .augment = true, .mix = true};
    epoch *e = load(d, "mixup=1", &o, 0, 0);
    int n_soft = 0;
    for (int64_t i = 0; i < e->n; i++) {
        assert_float_equal(e->targets[2 * i] + e->targets[2 * i + 1], 1, 1e-5);
        n_soft += e->targets[2 * i] > 0.01f && e->targets[2 * i] < 0.99f;
    }
    assert_true(n_soft > 0);
    free(e);
    graft_data_close(d);
}

static void a_vanished_file_is_an_error_with_its_name(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(unlink(graft_data_sample(d, 15)->path), 0);
    assert_int_equal(unlink(graft_data_sample(d, 17)->path), 0);
    graft_transform t = transform_of("none");
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 4};
    graft_batches l;
    graft_batch batch;
    assert_int_equal(graft_loader_open(&l, d, &t, &o, &b->err), 0);
    for (int round = 0; round < 3; round++) { /* the first failing sample in order is named, each time */
        assert_int_equal(l.begin(l.self, 0, 0, &b->err), 0);
        for (int i = 0; i < 3; i++) assert_int_equal(l.next(l.self, &batch, &b->err), 1);
        assert_int_equal(l.next(l.self, &batch, &b->err), GRAFT_EIO);
        assert_non_null(strstr(b->err.message, graft_data_sample(d, 15)->path));
        assert_true(l.next(l.self, &batch, &b->err) < 0);
    }
    graft_batches_close(&l);
    graft_data_close(d);
}

static void a_checking_pass_leaves_bad_pictures_out(void **state) {
    bench *b = *state;
    bench_class(b, "d/a", 1, 11, 96);
    bench_class(b, "d/b", 40, 11, 96);
    bench_text(b, "d/a/p004.png", "rubbish");
    bench_text(b, "d/b/p000.png", "");
    graft_data_options options = GRAFT_DATA_OPTIONS_INIT;
    options.max_bad = 0.1;
    graft_data *d = bench_open(b, "d", &options), *checked = bench_open(b, "d", &options);
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 4, .check = true};
    epoch *e = load(d, "none", &o, 0, 0);
    assert_int_equal(e->n, 20);
    assert_int_equal(e->n_batches, 6);
    for (int64_t i = 0; i < e->n; i++) assert_true(e->samples[i] != 4 && e->samples[i] != 11);
    assert_int_equal(graft_data_settle(d, &b->err), 0);
    assert_int_equal(graft_data_check(checked, &b->err), 0);
    for (int64_t i = 0; i < 22; i++) {
        const graft_sample *x = graft_data_sample(d, i), *y = graft_data_sample(checked, i);
        assert_int_equal(x->state, y->state);
        assert_int_equal(x->part, y->part);
        assert_int_equal(x->width, y->width);
        assert_true(!x->likeness == !y->likeness);
        if (x->likeness) assert_memory_equal(x->likeness, y->likeness, sizeof *x->likeness);
    }
    o.check = false;
    epoch *after = load(checked, "none", &o, 0, 0); /* seeing changed no pixel */
    assert_int_equal(after->n, 20);
    assert_memory_equal(e->pixels, after->pixels, sizeof e->pixels);
    free(e);
    free(after);
    graft_data_close(d);
    graft_data_close(checked);
}

static void too_many_bad_pictures_end_a_checking_pass(void **state) {
    bench *b = *state;
    make_data(b);
    for (int i = 0; i < 5; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "d/a/p%03d.png", i);
        bench_text(b, name, "rubbish");
    }
    graft_data *d = bench_open(b, "d", NULL);
    graft_transform t = transform_of("none");
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 4, .check = true};
    graft_batches l;
    graft_batch batch;
    int rc = 1;
    assert_int_equal(graft_loader_open(&l, d, &t, &o, &b->err), 0);
    assert_int_equal(l.begin(l.self, 0, 0, &b->err), 0);
    for (int i = 0; i < 10 && rc == 1; i++) rc = l.next(l.self, &batch, &b->err);
    assert_int_equal(rc, GRAFT_EDATA);
    assert_non_null(strstr(b->err.message, "--max-bad"));
    graft_batches_close(&l);
    graft_data_close(d);
}

static void a_cancelled_loader_stops(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_transform t = transform_of("none");
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 2};
    graft_batches l;
    graft_batch batch;
    assert_int_equal(graft_loader_open(&l, d, &t, &o, &b->err), 0);
    assert_int_equal(l.begin(l.self, 0, 0, &b->err), 0);
    assert_int_equal(l.next(l.self, &batch, &b->err), 1);
    graft_env_cancel(b->env);
    assert_int_equal(l.next(l.self, &batch, &b->err), GRAFT_EINTERRUPTED);
    graft_batches_close(&l);
    graft_data_close(d);
}

static void a_loader_closes_and_restarts_in_mid_epoch(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_transform t = transform_of("none");
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 1, .prefetch = 6, .threads = 4};
    graft_batches l;
    graft_batch batch;
    for (int round = 0; round < 20; round++) {
        assert_int_equal(graft_loader_open(&l, d, &t, &o, &b->err), 0);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(l.begin(l.self, 0, k, &b->err), 0);
            assert_int_equal(l.next(l.self, &batch, &b->err), 1);
            assert_int_equal(batch.samples[0], k);
        }
        graft_batches_close(&l);
    }
    assert_true(graft_loader_open(&l, d, &t, &(graft_loader_options){.part = GRAFT_TEST}, &b->err) ==
                GRAFT_EDATA);
    int64_t chosen[] = {3, 99};
    graft_loader_options bad = {.samples = chosen, .n_samples = 2};
    assert_int_equal(graft_loader_open(&l, d, &t, &bad, &b->err), GRAFT_EUSAGE);
    graft_data_close(d);
}

static void the_memory_of_a_loader_is_known_before(void **state) {
    bench *b = *state;
    make_data(b);
    graft_data *d = bench_open(b, "d", NULL);
    graft_transform t = transform_of("none");
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 4, .prefetch = 3};
    assert_int_equal(graft_loader_bytes(d, &t, &o), 4 * 4 * PICTURE * sizeof(float));
    o.batch = 1000; /* one batch of all 23 is the epoch */
    assert_int_equal(graft_loader_bytes(d, &t, &o), 23 * PICTURE * sizeof(float));
    o.part = GRAFT_TEST;
    assert_int_equal(graft_loader_bytes(d, &t, &o), 0);
    graft_data_close(d);
}

static void rows_of_arrays_are_loaded_too(void **state) {
    bench *b = *state;
    unsigned char pixels[6 * 12 * 12];
    int64_t labels[6] = {0, 1, 0, 1, 0, 1};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * 7);
    bench_npy(b, "d/images.npy", GRAFT_U8, pixels, 3, (const int64_t[]){6, 12, 12});
    bench_npy(b, "d/labels.npy", GRAFT_I64, labels, 1, (const int64_t[]){6});
    graft_data *d = bench_open(b, "d", NULL);
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 4};
    epoch *e = load(d, "none", &o, 0, 0);
    assert_int_equal(e->n, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(e->labels[i], labels[i]);
        for (int k = 0; k < PICTURE; k++)
            assert_float_equal(e->pixels[i * PICTURE + k], (float)pixels[i * 144 + k % 144] / 255, 1e-6);
    }
    free(e);
    graft_data_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(an_epoch_has_every_sample_once_and_the_last_batch_is_smaller),
        BENCH_TEST(pixels_are_those_of_the_transform),
        BENCH_TEST(the_number_of_threads_changes_nothing),
        BENCH_TEST(an_epoch_is_taken_up_in_its_middle),
        BENCH_TEST(epochs_differ_in_order_and_augmentation),
        BENCH_TEST(a_sample_drawn_twice_is_augmented_differently),
        BENCH_TEST(mixed_targets_sum_to_one),
        BENCH_TEST(a_vanished_file_is_an_error_with_its_name),
        BENCH_TEST(a_checking_pass_leaves_bad_pictures_out),
        BENCH_TEST(too_many_bad_pictures_end_a_checking_pass),
        BENCH_TEST(a_cancelled_loader_stops),
        BENCH_TEST(a_loader_closes_and_restarts_in_mid_epoch),
        BENCH_TEST(the_memory_of_a_loader_is_known_before),
        BENCH_TEST(rows_of_arrays_are_loaded_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
