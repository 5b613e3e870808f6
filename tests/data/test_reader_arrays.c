#include "data/data_files.h"
#include "data/idx.h"
#include <zlib.h>

/* An IDX file of bytes: header, then `count` values (i * step) % 256. */
static size_t make_idx(unsigned char *out, const uint32_t *dims, unsigned char rank, size_t count,
                       unsigned step) {
    size_t at = 0;
    out[at++] = 0;
    out[at++] = 0;
    out[at++] = 8;
    out[at++] = rank;
    for (int i = 0; i < rank; i++)
        for (int shift = 24; shift >= 0; shift -= 8) out[at++] = (unsigned char)(dims[i] >> shift);
    for (size_t i = 0; i < count; i++) out[at++] = (unsigned char)(i * step);
    return at;
}

static size_t gzip(unsigned char *out, size_t room, const unsigned char *in, size_t size) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void idx_pairs_are_read_gzipped_or_not(void **state) {
    bench *b = *state;
    unsigned char images[2048], packed[2048], labels[64];
    size_t n = make_idx(images, (const uint32_t[]){10, 8, 8}, 3, 640, 3),
           n_packed = gzip(packed, sizeof packed, images, n);
    size_t n_labels = make_idx(labels, (const uint32_t[]){10}, 1, 10, 1);
    bench_write(b, "p/digits-images-idx3-ubyte", images, n);
    bench_write(b, "p/digits-labels-idx1-ubyte", labels, n_labels);
    bench_write(b, "z/digits-images-idx3-ubyte.gz", packed, n_packed);
    bench_write(b, "z/digits-labels-idx1-ubyte", labels, n_labels);
    const char *const names[] = {"p/digits-images-idx3-ubyte", "z/digits-images-idx3-ubyte.gz", "p", "z"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        graft_data *d = bench_open(b, names[i], NULL);
        assert_int_equal(graft_data_n_samples(d), 10);
        assert_int_equal(graft_data_n_classes(d), 10);
        assert_int_equal(graft_data_sample(d, 7)->label, 7);
        assert_int_equal(bench_n(d, GRAFT_TRAIN), 10);
        graft_raw raw = {0};
        assert_int_equal(graft_data_read(d, 2, &raw, &b->err), 0);
        assert_int_equal(raw.width, 8);
        assert_int_equal(raw.channels, 1);
        assert_memory_equal(raw.pixels, images + 16 + 128, 64);
        graft_raw_done(&raw);
        graft_data_close(d);
    }
}

static void mnists_own_names_are_parts(void **state) {
    bench *b = *state;
    unsigned char images[2048], labels[64];
    size_t n = make_idx(images, (const uint32_t[]){6, 8, 8}, 3, 384, 5),
           n_labels = make_idx(labels, (const uint32_t[]){6}, 1, 6, 1);
    bench_write(b, "m/train-images-idx3-ubyte", images, n);
    bench_write(b, "m/train-labels-idx1-ubyte", labels, n_labels);
    bench_write(b, "m/t10k-images-idx3-ubyte", images, n);
    bench_write(b, "m/t10k-labels-idx1-ubyte", labels, n_labels);
    graft_data *d = bench_open(b, "m", NULL);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 6);
    assert_int_equal(bench_n(d, GRAFT_TEST), 6);
    graft_data_close(d);
}

static void damaged_idx_is_refused(void **state) {
    bench *b = *state;
    unsigned char images[2048], packed[2048];
    graft_idx idx;
    graft_arena *arena = graft_arena_new(NULL);
    size_t n = make_idx(images, (const uint32_t[]){10, 8, 8}, 3, 640, 3),
           n_packed = gzip(packed, sizeof packed, images, n);
    for (size_t size = 0; size < n; size++)
        assert_true(graft_idx_parse(&idx, images, size, "x", &b->err) < 0);
    for (size_t size = 0; size < n_packed; size++)
        assert_true(graft_idx_inflate(&idx, arena, packed, size, "x", &b->err) < 0);
    assert_int_equal(graft_idx_inflate(&idx, arena, packed, n_packed, "x", &b->err), 0);
    memset(images + 4, 0xFF, 12); /* sizes beyond memory */
    assert_int_equal(graft_idx_parse(&idx, images, n, "x", &b->err), GRAFT_EFORMAT);
    n_packed = gzip(packed, sizeof packed, images, n);
    assert_int_equal(graft_idx_inflate(&idx, arena, packed, n_packed, "x", &b->err), GRAFT_EFORMAT);
    make_idx(images, (const uint32_t[]){1, 8, 8}, 3, 64, 3); /* more data than the header says */
    n_packed = gzip(packed, sizeof packed, images, n);
    assert_int_equal(graft_idx_inflate(&idx, arena, packed, n_packed, "x", &b->err), GRAFT_EFORMAT);
    assert_non_null(strstr(b->err.message, "more than"));
    graft_arena_free(arena);
    make_idx(images, (const uint32_t[]){10, 8, 8}, 3, 640, 3);
    bench_write(b, "q-images-idx3-ubyte", images, n);
    bench_write(b, "q-labels-idx1-ubyte", images, make_idx(images, (const uint32_t[]){9}, 1, 9, 1));
    bench_refused(b, "q-images-idx3-ubyte", NULL, GRAFT_EDATA, "10 whole numbers");
}

static void integer_labels_index_a_fixed_order(void **state) {
    bench *b = *state;
    unsigned char images[512], labels[64];
    bench_write(b, "i-images-idx3-ubyte", images, make_idx(images, (const uint32_t[]){3, 8, 8}, 3, 192, 5));
    bench_write(b, "i-labels-idx1-ubyte", labels, make_idx(labels, (const uint32_t[]){3}, 1, 3, 1));
    const char *const names[] = {"zero", "one", "two"};
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.class_names = names;
    o.n_class_names = 3;
    graft_data *d = bench_open(b, "i-images-idx3-ubyte", &o);
    assert_string_equal(graft_data_class(d, graft_data_sample(d, 2)->label), "two");
    assert_non_null(strstr(b->log, "taken as positions"));
    graft_data_close(d);
    o.n_class_names = 2;
    bench_refused(b, "i-images-idx3-ubyte", &o, GRAFT_EDATA, "row 0: the label '0'");
}

static void npy_layouts_and_ranges_become_bytes(void **state) {
    bench *b = *state;
    float chw[2 * 3 * 4 * 5];
    double whole[2 * 4 * 4];
    for (size_t i = 0; i < GRAFT_COUNT(chw); i++) chw[i] = (float)i / 119;
    for (size_t i = 0; i < GRAFT_COUNT(whole); i++) whole[i] = (double)(i % 17);
    int64_t labels[2] = {4, 2};
    bench_npy(b, "f/train_images.npy", GRAFT_F32, chw, 4, (const int64_t[]){2, 3, 4, 5});
    bench_npy(b, "f/train_labels.npy", GRAFT_I64, labels, 2, (const int64_t[]){2, 1});
    graft_data *d = bench_open(b, "f/train_images.npy", NULL);
    graft_raw raw = {0};
    assert_int_equal(graft_data_read(d, 1, &raw, &b->err), 0);
    assert_int_equal(raw.width, 5);
    assert_int_equal(raw.height, 4);
    assert_int_equal(raw.channels, 3);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 5; x++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(raw.pixels[(y * 5 + x) * 3 + c],
                                 (int)(chw[60 + c * 20 + y * 5 + x] * 255 + 0.5f));
    assert_string_equal(graft_data_class(d, graft_data_sample(d, 0)->label), "4");
    graft_data_close(d);
    bench_npy(b, "g/x.npy", GRAFT_F64, whole, 3, (const int64_t[]){2, 4, 4});
    d = bench_open(b, "g", NULL); /* 0..16, as the UCI digits have it */
    assert_int_equal(graft_data_read(d, 0, &raw, &b->err), 0);
    assert_int_equal(raw.pixels[0], 0);
    assert_int_equal(raw.pixels[8], 128);
    assert_false(graft_data_has_labels(d));
    graft_data_close(d);
    graft_raw_done(&raw);
}

static void arrays_that_are_no_pictures_are_refused(void **state) {
    bench *b = *state;
    float v[32];
    for (int i = 0; i < 32; i++) v[i] = (float)i / 10 - 1;
    bench_npy(b, "images.npy", GRAFT_F32, v, 3, (const int64_t[]){2, 4, 4});
    bench_refused(b, "images.npy", NULL, GRAFT_EDATA, "without subtracting a mean");
    bench_npy(b, "x.npy", GRAFT_F32, v, 2, (const int64_t[]){8, 4});
    bench_refused(b, "x.npy", NULL, GRAFT_EDATA, "an array of shape [8, 4]");
    for (int i = 0; i < 32; i++) v[i] = 0.5f;
    bench_npy(b, "k/images.npy", GRAFT_F32, v, 3, (const int64_t[]){2, 4, 4});
    bench_npy(b, "k/labels.npy", GRAFT_F32, v, 1, (const int64_t[]){2});
    bench_refused(b, "k", NULL, GRAFT_EDATA, "the label of row 0 is 0.5");
    bench_npy(b, "k/labels.npy", GRAFT_F32, v, 1, (const int64_t[]){3});
    bench_refused(b, "k", NULL, GRAFT_EDATA, "labels of shape [3] for 2 pictures");
    v[7] = (float)NAN;
    bench_npy(b, "n/images.npy", GRAFT_F32, v, 3, (const int64_t[]){2, 4, 4});
    bench_refused(b, "n", NULL, GRAFT_EDATA, "are no picture's");
}

static void npy_folders_have_parts(void **state) {
    bench *b = *state;
    unsigned char pixels[6 * 16];
    int64_t labels[6] = {0, 1, 2, 0, 1, 2};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * 2);
    bench_npy(b, "d/x_train.npy", GRAFT_U8, pixels, 3, (const int64_t[]){6, 4, 4});
    bench_npy(b, "d/y_train.npy", GRAFT_I64, labels, 1, (const int64_t[]){6});
    bench_npy(b, "d/x_test.npy", GRAFT_U8, pixels, 3, (const int64_t[]){3, 4, 4});
    bench_npy(b, "d/y_test.npy", GRAFT_I64, labels, 1, (const int64_t[]){3});
    graft_data *d = bench_open(b, "d", NULL);
    assert_int_equal(bench_n(d, GRAFT_TRAIN), 6);
    assert_int_equal(bench_n(d, GRAFT_TEST), 3);
    assert_int_equal(graft_data_n_classes(d), 3);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_int_equal(graft_data_duplicates(d)->n_same, 3);
    graft_data_close(d);
}

/* The data beside the project, where they are. */
static void real_digits_are_read(void **state) {
    bench *b = *state;
    const char *const uci = "../shared/data/uci_digits.npz", *const mnist = "../shared/data/mnist";
    if (!graft_path_is_file(uci) || !graft_path_is_dir(mnist)) {
        print_message("skipped: no ../shared/data\n");
        skip();
    }
    graft_data *d;
    assert_int_equal(graft_data_open(&d, b->env, uci, NULL, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), 1797);
    assert_int_equal(graft_data_n_classes(d), 10);
    assert_int_equal(graft_data_check(d, &b->err), 0);
    assert_in_range(bench_n(d, GRAFT_VAL), 355, 364);
    graft_data_close(d);
    assert_int_equal(graft_data_open(&d, b->env, mnist, NULL, &b->err), 0);
    assert_int_equal(graft_data_n_samples(d), 10000);
    assert_int_equal(graft_data_count(d, GRAFT_ALL, 1), 1135);
    graft_data_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BENCH_TEST(idx_pairs_are_read_gzipped_or_not),
        BENCH_TEST(mnists_own_names_are_parts),
        BENCH_TEST(damaged_idx_is_refused),
        BENCH_TEST(integer_labels_index_a_fixed_order),
        BENCH_TEST(npy_layouts_and_ranges_become_bytes),
        BENCH_TEST(arrays_that_are_no_pictures_are_refused),
        BENCH_TEST(npy_folders_have_parts),
        BENCH_TEST(real_digits_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
