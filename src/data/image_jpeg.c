/* JPEG through libjpeg-turbo: the accurate integer DCT and smooth chroma upsampling, which are also PIL's. */
#include "data/image_private.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* A progressive file may ask for any number of passes over the picture; real ones have about ten. */
enum { MAX_SCANS = 500 };

/* libjpeg returns through longjmp; everything that lives across it lies in this struct, none of it in
 * registers. */
typedef struct decoder {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    const char *origin;
    graft_err *err;
    int rc;
} decoder;

static void fail(j_common_ptr cinfo) {
    decoder *d = cinfo->client_data;
    char reason[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, reason);
    int code = cinfo->err->msg_code;
    if (code == JERR_OUT_OF_MEMORY)
        d->rc = graft_err_nomem(d->err);
    else if (code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JERR_INPUT_EMPTY)
        d->rc = graft_err_set(d->err, GRAFT_EFORMAT, "%s: truncated JPEG (the file ends inside the picture)",
                              d->origin);
    else
        d->rc = graft_err_set(d->err, GRAFT_EFORMAT, "%s: damaged JPEG: %s", d->origin, reason);
    longjmp(d->failed, 1);
}

/* A warning means that pixels were made up, save for those that cameras and editors cause in sound files. */
static void emit(j_common_ptr cinfo, int level) {
    if (level >= 0) return;
    switch (cinfo->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
    case JWRN_BOGUS_PROGRESSION:
        cinfo->err->num_warnings++;
        return;
    default:
        fail(cinfo);
    }
}

static void silent(j_common_ptr cinfo) {
    (void)cinfo;
}

static void count_scans(j_common_ptr cinfo) {
    decoder *d = cinfo->client_data;
    if (!cinfo->is_decompressor || ((j_decompress_ptr)cinfo)->input_scan_number <= MAX_SCANS) return;
    d->rc =
        graft_err_set(d->err, GRAFT_EFORMAT, "%s: damaged JPEG: more than %d scans", d->origin, MAX_SCANS);
    longjmp(d->failed, 1);
}

static void start(decoder *d, const char *origin, graft_err *err) {
    memset(d, 0, sizeof *d);
    d->origin = origin;
    d->err = err;
    d->cinfo.err = jpeg_std_error(&d->manager);
    d->manager.error_exit = fail;
    d->manager.emit_message = emit;
    d->manager.output_message = silent;
    d->progress.progress_monitor = count_scans;
    d->cinfo.client_data = d; /* jpeg_create_decompress keeps it */
}

static int read_header(decoder *d, const uint8_t *bytes, size_t size) {
    jpeg_create_decompress(&d->cinfo);
    d->cinfo.progress = &d->progress;
    jpeg_mem_src(&d->cinfo, bytes, (unsigned long)size);
    jpeg_save_markers(&d->cinfo, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&d->cinfo, TRUE);
    for (jpeg_saved_marker_ptr m = d->cinfo.marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return graft_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* The caller's frame holds the decoder, so that nothing that changes lives in the frame that setjmp returns
 * to. */
static int probe(decoder *d, graft_image_info *out, const uint8_t *bytes, size_t size) {
    if (setjmp(d->failed) == 0) {
        out->orientation = read_header(d, bytes, size);
        out->width = (int)d->cinfo.image_width;
        out->height = (int)d->cinfo.image_height;
    }
    jpeg_destroy_decompress(&d->cinfo);
    return d->rc;
}

int graft_jpeg_probe(graft_image_info *out, const uint8_t *bytes, size_t size, const char *origin,
                     graft_err *err) {
    decoder d;
    start(&d, origin, err);
    return probe(&d, out, bytes, size);
}

/* PIL's way from inverted CMYK, which is how Adobe and everyone after it stores them. */
static void rgb_from_cmyk(uint8_t *to, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < n; i++, from += 4, to += 3) {
        int k = from[3]; /* 255 - K */
        for (int c = 0; c < 3; c++) {
            int ink = 255 - from[c], product = ink * k + 128;
            int v = k - (((product >> 8) + product) >> 8);
            to[c] = (uint8_t)(v < 0 ? 0 : v);
        }
    }
}

/* The smallest of 1/8, 1/4, 1/2 that leaves GRAFT_JPEG_MARGIN times the target in both directions. */
static void choose_scale(struct jpeg_decompress_struct *c, int orientation, const graft_decode_options *o) {
    if (o->target_width <= 0 || o->target_height <= 0) return;
    bool turned = orientation >= 5;
    uint64_t w = (uint64_t)(turned ? o->target_height : o->target_width) * GRAFT_JPEG_MARGIN;
    uint64_t h = (uint64_t)(turned ? o->target_width : o->target_height) * GRAFT_JPEG_MARGIN;
    for (unsigned denominator = 8; denominator >= 2; denominator /= 2)
        if (c->image_width / denominator >= w && c->image_height / denominator >= h) {
            c->scale_num = 1;
            c->scale_denom = denominator;
            return;
        }
}

/* The window that is decoded, in output pixels. */
typedef struct window {
    JDIMENSION x, y, width, height;
} window;

/* Columns in whole blocks and one block more on each side, since the smooth upsampling of chroma looks at
 * neighbours; likewise rows. All of the picture when it is turned or reduced, where a window is not worth its
 * bookkeeping. */
static window choose_window(struct jpeg_decompress_struct *c, int orientation,
                            const graft_decode_options *o) {
    window all = {0, 0, c->output_width, c->output_height};
    if (o->window_width <= 0 || o->window_height <= 0 || orientation != 1 || c->scale_denom != c->scale_num)
        return all;
    int64_t block_w = 8 * c->max_h_samp_factor, block_h = 8 * c->max_v_samp_factor;
    int64_t x0 = o->window_x - 2 * block_w, x1 = (int64_t)o->window_x + o->window_width + 2 * block_w;
    int64_t y0 = o->window_y - 2 * block_h, y1 = (int64_t)o->window_y + o->window_height + 2 * block_h;
    if (x0 < 0) x0 = 0;
    if (y0 < 0) y0 = 0;
    if (x1 > c->output_width) x1 = c->output_width;
    if (y1 > c->output_height) y1 = c->output_height;
    if (x0 >= x1 || y0 >= y1) return all;
    y0 -= y0 % block_h;
    return (window){(JDIMENSION)x0, (JDIMENSION)y0, (JDIMENSION)(x1 - x0), (JDIMENSION)(y1 - y0)};
}

static int decode_rows(decoder *d, graft_image *out, int orientation, graft_image_scratch *s,
                       const graft_decode_options *o) {
    struct jpeg_decompress_struct *c = &d->cinfo;
    bool cmyk = c->jpeg_color_space == JCS_CMYK || c->jpeg_color_space == JCS_YCCK;
    bool grey = c->jpeg_color_space == JCS_GRAYSCALE && o->channels == 1;
    c->out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    c->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(c);
    int width = (int)c->output_width, height = (int)c->output_height;
    uint8_t *data = graft_scratch_picture(out, s, GRAFT_SLOT_DECODED, width, height, grey ? 1 : 3);
    uint8_t *row = cmyk ? graft_scratch_get(s, GRAFT_SLOT_ROW, (size_t)width * 4) : NULL;
    if (!data || (cmyk && !row)) return graft_err_nomem(d->err);
    window w = choose_window(c, orientation, o);
    if (w.width < c->output_width) jpeg_crop_scanline(c, &w.x, &w.width);
    if (w.y > 0) jpeg_skip_scanlines(c, w.y);
    data += (size_t)w.x * (size_t)out->channels;
    JDIMENSION end = w.y + w.height;
    while (c->output_scanline < end) {
        size_t y = c->output_scanline;
        JSAMPROW rows[8];
        JDIMENSION n = 0;
        if (cmyk) {
            rows[0] = row;
            if (jpeg_read_scanlines(c, rows, 1) == 1)
                rgb_from_cmyk(data + y * out->stride, row, (size_t)w.width);
            continue;
        }
        for (; n < 8 && y + n < end; n++) rows[n] = data + (y + n) * out->stride;
        jpeg_read_scanlines(c, rows, n);
    }
    /* The rows below are still read from the file, so that one cut off there is found; the last one has to be
     * asked for, since libjpeg would leave the file when told to skip to its end. */
    if (end < c->output_height) {
        if (end + 1 < c->output_height) jpeg_skip_scanlines(c, c->output_height - end - 1);
        JSAMPROW last = cmyk ? row : data + (size_t)(height - 1) * out->stride;
        jpeg_read_scanlines(c, &last, 1);
    }
    return 0;
}

static int decode(decoder *d, graft_image *out, int *orientation, graft_image_scratch *s,
                  const uint8_t *bytes, size_t size, const graft_decode_options *o) {
    if (setjmp(d->failed) == 0) {
        *orientation = read_header(d, bytes, size);
        d->rc = graft_image_check_size(d->cinfo.image_width, d->cinfo.image_height, o, d->origin, d->err);
        if (d->rc == 0) {
            choose_scale(&d->cinfo, *orientation, o);
            d->rc = decode_rows(d, out, *orientation, s, o);
        }
    }
    jpeg_destroy_decompress(&d->cinfo);
    return d->rc;
}

int graft_jpeg_decode(graft_image *out, int *orientation, graft_image_scratch *s, const uint8_t *bytes,
                      size_t size, const graft_decode_options *o, const char *origin, graft_err *err) {
    decoder d;
    start(&d, origin, err);
    return decode(&d, out, orientation, s, bytes, size, o);
}
