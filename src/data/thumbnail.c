/* A sample's picture, shrunk and encoded anew: what a page shows of it. Small pictures stay as they are, as
 * PNG; photos become JPEG. Nothing of the file but its pixels is passed on. */
#include "data/data.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <spng.h>

enum { QUALITY = 82, PNG_SIDE = 64, WHITE = 255 };

typedef struct encoder {
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr manager;
    jmp_buf failed;
    unsigned char *bytes;
    unsigned long size;
} encoder;

static void fail(j_common_ptr cinfo) {
    encoder *e = cinfo->client_data;
    longjmp(e->failed, 1);
}

static void silent(j_common_ptr cinfo) {
    (void)cinfo;
}

/* The destination is memory: the only thing that can go wrong is that there is none. */
static int encode_jpeg(encoder *e, const graft_image *image, graft_err *err) {
    e->cinfo.err = jpeg_std_error(&e->manager);
    e->cinfo.client_data = e;
    e->manager.error_exit = fail;
    e->manager.output_message = silent;
    if (setjmp(e->failed)) return graft_err_nomem(err);
    jpeg_create_compress(&e->cinfo);
    jpeg_mem_dest(&e->cinfo, &e->bytes, &e->size);
    e->cinfo.image_width = (JDIMENSION)image->width;
    e->cinfo.image_height = (JDIMENSION)image->height;
    e->cinfo.input_components = image->channels;
    e->cinfo.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&e->cinfo);
    jpeg_set_quality(&e->cinfo, QUALITY, TRUE);
    jpeg_start_compress(&e->cinfo, TRUE);
    for (int y = 0; y < image->height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(image->data + (size_t)y * image->stride);
        jpeg_write_scanlines(&e->cinfo, &row, 1);
    }
    jpeg_finish_compress(&e->cinfo);
    return 0;
}

static int put_jpeg(graft_buf *out, const graft_image *image, graft_err *err) {
    encoder *e = calloc(1, sizeof *e);
    if (!e) return graft_err_nomem(err);
    int rc = encode_jpeg(e, image, err);
    if (rc == 0) graft_buf_append(out, e->bytes, e->size);
    jpeg_destroy_compress(&e->cinfo);
    free(e->bytes);
    free(e);
    return rc;
}

/* `image` is tight. */
static int put_png(graft_buf *out, const graft_image *image, graft_err *err) {
    struct spng_ihdr header = {.width = (uint32_t)image->width,
                               .height = (uint32_t)image->height,
                               .bit_depth = 8,
                               .color_type = image->channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE
                                                                  : SPNG_COLOR_TYPE_TRUECOLOR};
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    size_t size = 0;
    int code = -1;
    if (!ctx) return graft_err_nomem(err);
    spng_set_option(ctx, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(ctx, &header);
    if (spng_encode_image(ctx, image->data, image->stride * (size_t)image->height, SPNG_FMT_PNG,
                          SPNG_ENCODE_FINALIZE) == 0) {
        void *bytes = spng_get_png_buffer(ctx, &size, &code);
        if (bytes) graft_buf_append(out, bytes, size);
        free(bytes);
    }
    spng_ctx_free(ctx);
    return code == 0 ? 0 : graft_err_nomem(err);
}

/* The size that fits into a square of `side`; nothing grows. */
static void fit(int *width, int *height, int side) {
    int longest = *width > *height ? *width : *height;
    if (longest <= side) return;
    *width = (int)((int64_t)*width * side / longest);
    *height = (int)((int64_t)*height * side / longest);
    *width = *width < 1 ? 1 : *width;
    *height = *height < 1 ? 1 : *height;
}

static int shrink(graft_image *out, uint8_t *pixels, const graft_image *in, int width, int height,
                  graft_image_scratch *s, graft_err *err) {
    const graft_resize_job job = {
        .width = width, .height = height, .w = width, .h = height, .resample = GRAFT_RESAMPLE_BILINEAR};
    size_t stride = (size_t)width * (size_t)in->channels;
    *out = (graft_image){pixels, width, height, in->channels, stride};
    return graft_resize(pixels, stride, in, &job, s, err);
}

/* The whole picture; a JPEG at reduced scale where that is large enough. */
static int decode(graft_image *out, const graft_data *d, int64_t i, const graft_raw *raw, int side,
                  graft_image_scratch *s, graft_err *err) {
    const char *origin = graft_data_sample(d, i)->origin;
    graft_image_info info;
    if (raw->pixels) {
        *out = (graft_image){raw->pixels, raw->width, raw->height, raw->channels,
                             (size_t)raw->width * (size_t)raw->channels};
        return 0;
    }
    graft_decode_options o = GRAFT_DECODE_OPTIONS_INIT;
    int rc = graft_image_probe(&info, raw->bytes, raw->size, origin, err);
    if (rc < 0) return rc;
    o.target_width = info.width;
    o.target_height = info.height;
    fit(&o.target_width, &o.target_height, side);
    return graft_image_decode(out, s, raw->bytes, raw->size, &o, origin, err);
}

int graft_data_thumbnail(const graft_data *d, int64_t i, int side, graft_buf *out, graft_thumbnail *info,
                         graft_err *err) {
    graft_raw raw = {0};
    graft_image whole, small;
    graft_image_scratch *s = graft_image_scratch_new();
    uint8_t *pixels = NULL;
    int rc = s ? graft_data_read(d, i, &raw, err) : graft_err_nomem(err);
    if (rc == 0) rc = decode(&whole, d, i, &raw, side, s, err);
    if (rc == 0) {
        int width = whole.width, height = whole.height;
        fit(&width, &height, side);
        pixels = malloc((size_t)width * (size_t)height * (size_t)whole.channels);
        rc = pixels ? shrink(&small, pixels, &whole, width, height, s, err) : graft_err_nomem(err);
    }
    if (rc == 0) {
        bool png = small.width <= PNG_SIDE && small.height <= PNG_SIDE;
        *info = (graft_thumbnail){small.width, small.height, png ? "image/png" : "image/jpeg"};
        rc = png ? put_png(out, &small, err) : put_jpeg(out, &small, err);
    }
    free(pixels);
    graft_raw_done(&raw);
    graft_image_scratch_free(s);
    return rc;
}
