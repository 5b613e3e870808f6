/* Data made by code for the tests of data/: a scratch folder, pictures, files, and a log that can be
 * searched. */
#ifndef GRAFT_TESTS_DATA_FILES_H
#define GRAFT_TESTS_DATA_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/data.h"
#include <jpeglib.h>
#include <math.h>
#include <spng.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** What a test works with: a folder that goes at its end, and an environment whose log lines are kept. */
typedef struct bench {
    char dir[64];
    char path[512];
    graft_env *env;
    char log[16384];
    graft_err err;
} bench;

static inline void bench_log(void *user, graft_log_level level, const char *line) {
    bench *b = user;
    size_t used = strlen(b->log);
    (void)snprintf(b->log + used, sizeof b->log - used, "%s%s\n",
                   level == GRAFT_LOG_WARNING ? "warning: " : "", line);
}

static inline int bench_init(void **state) {
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    strcpy(b->dir, "/tmp/graft-data-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    o.threads = 3;
    o.log = bench_log;
    o.user = b;
    assert_int_equal(graft_env_new(&b->env, &o, &b->err), 0);
    *state = b;
    return 0;
}

static inline int bench_done(void **state) {
    bench *b = *state;
    graft_dir_remove(b->dir, NULL);
    graft_env_free(b->env);
    free(b);
    return 0;
}

/** A path in the scratch folder; the folders above it are made. Valid until the next call. */
static inline const char *bench_path(bench *b, const char *name) {
    (void)snprintf(b->path, sizeof b->path, "%s/%s", b->dir, name);
    char *slash = strrchr(b->path, '/');
    *slash = '\0';
    assert_int_equal(graft_dir_make(b->path, NULL), 0);
    *slash = '/';
    return b->path;
}

static inline void bench_write(bench *b, const char *name, const void *bytes, size_t size) {
    FILE *f =
        fopen(bench_path(b, name), "wb"); /* without the writer's fsync: tests write thousands of files */
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void bench_text(bench *b, const char *name, const char *text) {
    bench_write(b, name, text, strlen(text));
}

/** A smooth colour picture that differs clearly from seed to seed; [size, size, 3]. */
static inline unsigned char *bench_pixels(unsigned seed, int size) {
    unsigned char *p = malloc((size_t)size * (size_t)size * 3);
    assert_non_null(p);
    graft_rng r = graft_rng_at(seed, 0, 0, GRAFT_RNG_TEST);
    double wave[6][4];
    for (int k = 0; k < 6; k++)
        for (int j = 0; j < 4; j++) wave[k][j] = graft_rng_uniform(&r);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            double v = 0;
            for (int k = 0; k < 6; k++)
                v += wave[k][3] *
                     sin(6.3 * (4 * wave[k][0] * x / size + 4 * wave[k][1] * y / size + wave[k][2]));
            int grey = (int)(128 + 60 * v);
            unsigned char byte = (unsigned char)(grey < 0 ? 0 : grey > 255 ? 255 : grey);
            unsigned char *to = p + ((size_t)y * (size_t)size + (size_t)x) * 3;
            to[0] = byte;
            to[1] = (unsigned char)(byte / 2 + 40);
            to[2] = (unsigned char)(byte / 3 + 90);
        }
    return p;
}

static inline void bench_png(bench *b, const char *name, unsigned seed, int size) {
    unsigned char *p = bench_pixels(seed, size);
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr ihdr = {
        .width = (uint32_t)size, .height = (uint32_t)size, .bit_depth = 8, .color_type = 2};
    int failed = 0;
    size_t n = 0;
    spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(ctx, &ihdr);
    failed = spng_encode_image(ctx, p, (size_t)size * (size_t)size * 3, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    assert_int_equal(failed, 0);
    void *png = spng_get_png_buffer(ctx, &n, &failed);
    bench_write(b, name, png, n);
    free(png);
    spng_ctx_free(ctx);
    free(p);
}

static inline void bench_jpeg(bench *b, const char *name, unsigned seed, int size, int quality) {
    unsigned char *p = bench_pixels(seed, size), *out = NULL;
    unsigned long n = 0;
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr e;
    c.err = jpeg_std_error(&e);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &n);
    c.image_width = c.image_height = (JDIMENSION)size;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, quality, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW row = p + (size_t)c.next_scanline * (size_t)size * 3;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    bench_write(b, name, out, n);
    free(out);
    free(p);
}

/** n pictures below folder, of distinct contents numbered from `first`. */
static inline void bench_class(bench *b, const char *folder, unsigned first, int n, int size) {
    for (int i = 0; i < n; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s/p%03d.png", folder, i);
        bench_png(b, name, first + (unsigned)i, size);
    }
}

/** A small .npy in C order. */
static inline void bench_npy(bench *b, const char *name, graft_dtype dtype, const void *data, int rank,
                             const int64_t *dims) {
    graft_tensor t = {NULL, dtype, {.rank = rank}, data, graft_dtype_size(dtype)};
    for (int i = 0; i < rank; i++) {
        t.shape.dims[i] = dims[i];
        t.size *= (size_t)dims[i];
    }
    assert_int_equal(graft_npy_write(bench_path(b, name), &t, &b->err), 0);
}

static inline graft_data *bench_open(bench *b, const char *name, const graft_data_options *o) {
    graft_data *d = NULL;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
    b->err.message[0] = '\0';
    if (graft_data_open(&d, b->env, path, o, &b->err) < 0) print_message("%s\n", b->err.message);
    assert_non_null(d);
    return d;
}

/** Expects opening to fail with `code` and `words` in the message. */
static inline void bench_refused(bench *b, const char *name, const graft_data_options *o, int code,
                                 const char *words) {
    graft_data *d = NULL;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
    int rc = graft_data_open(&d, b->env, path, o, &b->err);
    assert_null(d);
    if (rc != code || !strstr(b->err.message, words))
        fail_msg("expected %d and '%s', got %d: %s", code, words, rc, b->err.message);
}

static inline int64_t bench_n(const graft_data *d, graft_part part) {
    int64_t n;
    graft_data_members(d, part, &n);
    return n;
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_init, bench_done)

#endif
