/* Pictures from bytes: JPEG, PNG and WebP to 8-bit RGB or grey, turned upright as EXIF says. Alpha is dropped
 * and CMYK converted as PIL's convert("RGB") does. A picture that is truncated or damaged is an error with a
 * reason, never half a picture. */
#ifndef GRAFT_DATA_IMAGE_H
#define GRAFT_DATA_IMAGE_H

#include "base/base.h"

/** A picture or a part of one: `channels` (1 grey, 3 RGB) interleaved bytes a pixel, rows `stride` bytes
 * apart. */
typedef struct graft_image {
    const uint8_t *data;
    int width, height, channels;
    size_t stride;
} graft_image;

typedef enum graft_image_format {
    GRAFT_IMAGE_UNKNOWN,
    GRAFT_IMAGE_JPEG,
    GRAFT_IMAGE_PNG,
    GRAFT_IMAGE_WEBP
} graft_image_format;

typedef struct graft_image_info {
    graft_image_format format;
    int width, height; /* upright */
    int orientation;   /* EXIF 1 to 8, 1 when absent */
} graft_image_info;

/** Working memory of one thread. Grows to what the largest picture needs and is then reused. */
typedef struct graft_image_scratch graft_image_scratch;
/** NULL when out of memory. */
graft_image_scratch *graft_image_scratch_new(void);
void graft_image_scratch_free(graft_image_scratch *s);

typedef struct graft_decode_options {
    int channels;        /* 3 (or 0): RGB; 1: grey */
    uint64_t max_pixels; /* 0: GRAFT_IMAGE_MAX_PIXELS */
    int target_width,
        target_height; /* upright size it will be resized to; lets a JPEG be decoded smaller when the
                        * result stays at least GRAFT_JPEG_MARGIN times as large. 0: full size */
    /* The part that will be looked at, in full-size pixels; width 0: all. What lies outside may stay
     * undefined, and is nevertheless checked: a picture truncated there is an error. */
    int window_x, window_y, window_width, window_height;
} graft_decode_options;
#define GRAFT_DECODE_OPTIONS_INIT                                                                            \
    { 0 }

/** A picture 30,000 pixels wide is fine; 268 million pixels in all are not. */
#define GRAFT_IMAGE_MAX_PIXELS ((uint64_t)256 << 20)
enum { GRAFT_IMAGE_MAX_SIDE = 1000000 };
/** How many times larger than the target a JPEG decoded at reduced scale must still be. The antialiased
 * resize that follows then gives nearly the same picture: on the photos of tests/data/test_transform.c half
 * of the size differs by 0.5 grey levels on average and 16 at most from the full decode, a quarter by 0.9
 * and 12. */
#define GRAFT_JPEG_MARGIN 2

/** "JPEG", "PNG", "WebP", "unknown". */
const char *graft_image_format_name(graft_image_format f);
/** By the first bytes. */
graft_image_format graft_image_sniff(const void *bytes, size_t size);

/** Size and format from the headers, without decoding. `origin` (a path) is for messages. EFORMAT when the
 * bytes are no picture (the message names the format or the first bytes) or the header is damaged. */
int graft_image_probe(graft_image_info *out, const void *bytes, size_t size, const char *origin,
                      graft_err *err);

/** Decodes. out->data belongs to the scratch until its next graft_image_decode or graft_transform_run.
 * `options` may be NULL. Errors: EFORMAT (no picture, damaged, truncated), EUNSUPPORTED (too many pixels,
 * animated WebP), ENOMEM.
 */
int graft_image_decode(graft_image *out, graft_image_scratch *s, const void *bytes, size_t size,
                       const graft_decode_options *options, const char *origin, graft_err *err);

#endif
