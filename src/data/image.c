#include "data/image_private.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

graft_image_scratch *graft_image_scratch_new(void) {
    return calloc(1, sizeof(graft_image_scratch));
}

void graft_image_scratch_free(graft_image_scratch *s) {
    if (!s) return;
    for (int i = 0; i < GRAFT_N_SLOTS; i++) free(s->slots[i].data);
    free(s);
}

void *graft_scratch_get(graft_image_scratch *s, graft_slot slot, size_t size) {
    if (size <= s->slots[slot].size && s->slots[slot].data) return s->slots[slot].data;
    /* Half as much again, so that pictures of slowly growing sizes do not allocate each time. */
    size_t wanted;
    if (!graft_size_add(size, size / 2 + 64, &wanted) || wanted > SIZE_MAX - 64) return NULL;
    wanted = graft_size_align(wanted, 64);
    free(s->slots[slot].data);
    s->slots[slot].data = aligned_alloc(64, wanted);
    s->slots[slot].size = s->slots[slot].data ? wanted : 0;
    return s->slots[slot].data;
}

uint8_t *graft_scratch_picture(graft_image *out, graft_image_scratch *s, graft_slot slot, int width,
                               int height, int channels) {
    size_t stride = (size_t)width * (size_t)channels, size;
    if (!graft_size_mul(stride, (size_t)height, &size)) return NULL;
    uint8_t *data = graft_scratch_get(s, slot, size);
    *out = (graft_image){data, width, height, channels, stride};
    return data;
}

const char *graft_image_format_name(graft_image_format f) {
    switch (f) {
    case GRAFT_IMAGE_JPEG:
        return "JPEG";
    case GRAFT_IMAGE_PNG:
        return "PNG";
    case GRAFT_IMAGE_WEBP:
        return "WebP";
    case GRAFT_IMAGE_UNKNOWN:
        break;
    }
    return "unknown";
}

graft_image_format graft_image_sniff(const void *bytes, size_t size) {
    const uint8_t *b = bytes;
    if (size >= 3 && b[0] == 0xFF && b[1] == 0xD8 && b[2] == 0xFF) return GRAFT_IMAGE_JPEG;
    if (size >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0) return GRAFT_IMAGE_PNG;
    if (size >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0) return GRAFT_IMAGE_WEBP;
    return GRAFT_IMAGE_UNKNOWN;
}

/* Formats that people have lying about among their pictures, by their first bytes. */
static const struct {
    const char *magic;
    size_t size, offset;
    const char *name;
} foreign[] = {
    {"GIF8", 4, 0, "a GIF"},
    {"BM", 2, 0, "a BMP"},
    {"II*\0", 4, 0, "a TIFF"},
    {"MM\0*", 4, 0, "a TIFF"},
    {"ftypavif", 8, 4, "an AVIF"},
    {"ftypheic", 8, 4, "a HEIC"},
    {"ftypheix", 8, 4, "a HEIC"},
    {"ftypmif1", 8, 4, "a HEIF"},
    {"\0\0\0\014jP  ", 8, 0, "a JPEG 2000"},
    {"%PDF", 4, 0, "a PDF"},
    {"PK\003\004", 4, 0, "a zip archive"},
    {"<svg", 4, 0, "an SVG"},
    {"<?xml", 5, 0, "an XML file"},
    {"<!DOCTYPE", 9, 0, "an HTML page"},
    {"<html", 5, 0, "an HTML page"},
};

static int not_a_picture(const uint8_t *b, size_t size, const char *origin, graft_err *err) {
    const char *want = "JPEG, PNG or WebP are read";
    if (size == 0) return graft_err_set(err, GRAFT_EFORMAT, "%s: the file is empty", origin);
    for (size_t i = 0; i < GRAFT_COUNT(foreign); i++)
        if (size >= foreign[i].offset + foreign[i].size &&
            memcmp(b + foreign[i].offset, foreign[i].magic, foreign[i].size) == 0)
            return graft_err_set(err, GRAFT_EFORMAT, "%s: this is %s file; %s", origin, foreign[i].name,
                                 want);
    char text[64];
    size_t at = 0;
    for (size_t i = 0; i < size && i < 8; i++) {
        bool plain = isprint(b[i]) && b[i] != '\\';
        at += (size_t)snprintf(text + at, sizeof text - at, plain ? "%c" : "\\x%02x", b[i]);
    }
    return graft_err_set(err, GRAFT_EFORMAT, "%s: not a picture (begins with \"%s\"); %s", origin, text,
                         want);
}

int graft_image_check_size(int64_t width, int64_t height, const graft_decode_options *o, const char *origin,
                           graft_err *err) {
    uint64_t limit = o && o->max_pixels ? o->max_pixels : GRAFT_IMAGE_MAX_PIXELS;
    if (width < 1 || height < 1)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: a picture of %lld x %lld pixels", origin,
                             (long long)width, (long long)height);
    if (width > GRAFT_IMAGE_MAX_SIDE || height > GRAFT_IMAGE_MAX_SIDE)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: %lld x %lld pixels; a side may have %d at most",
                             origin, (long long)width, (long long)height, (int)GRAFT_IMAGE_MAX_SIDE);
    if ((uint64_t)width > limit / (uint64_t)height)
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s: %lld x %lld pixels are more than the limit of %llu million; make it smaller first", origin,
            (long long)width, (long long)height, (unsigned long long)(limit / 1000000));
    return 0;
}

/* TIFF: byte order, 42, offset of the first directory; a directory is a count and 12-byte entries. */
int graft_exif_orientation(const uint8_t *t, size_t size) {
    if (size < 8) return 1;
    bool little = t[0] == 'I' && t[1] == 'I';
    if (!little && !(t[0] == 'M' && t[1] == 'M')) return 1;
#define U16(p) (little ? (uint32_t)((p)[0] | (p)[1] << 8) : (uint32_t)((p)[0] << 8 | (p)[1]))
#define U32(p) (little ? U16(p) | U16((p) + 2) << 16 : U16(p) << 16 | U16((p) + 2))
    if (U16(t + 2) != 42) return 1;
    size_t at = U32(t + 4);
    if (at > size - 2) return 1;
    uint32_t n = U16(t + at);
    at += 2;
    for (uint32_t i = 0; i < n && size - at >= 12; i++, at += 12) {
        if (U16(t + at) != 0x0112) continue;
        if (U16(t + at + 2) != 3) return 1;
        uint32_t value = U16(t + at + 8);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
#undef U32
#undef U16
    return 1;
}

int graft_image_probe(graft_image_info *out, const void *bytes, size_t size, const char *origin,
                      graft_err *err) {
    int rc;
    *out = (graft_image_info){.format = graft_image_sniff(bytes, size), .orientation = 1};
    switch (out->format) {
    case GRAFT_IMAGE_JPEG:
        rc = graft_jpeg_probe(out, bytes, size, origin, err);
        break;
    case GRAFT_IMAGE_PNG:
        rc = graft_png_probe(out, bytes, size, origin, err);
        break;
    case GRAFT_IMAGE_WEBP:
        rc = graft_webp_probe(out, bytes, size, origin, err);
        break;
    default:
        return not_a_picture(bytes, size, origin, err);
    }
    if (rc == 0 && out->orientation >= 5) {
        int w = out->width;
        out->width = out->height;
        out->height = w;
    }
    return rc;
}

/* EXIF: 1 as is, 2 mirrored, 3 turned by half, 4 upside down, 5 transposed, 6 and 8 turned by a quarter, 7
 * transposed along the other diagonal. Pixel (x, y) of the result is (x0 + x * xx + y * yx, ...) of the
 * input; as steps in bytes from a first byte. */
static int turn(graft_image *out, const graft_image *in, int orientation, graft_image_scratch *s,
                graft_err *err) {
    bool swap = orientation >= 5;
    int w = swap ? in->height : in->width, h = swap ? in->width : in->height, c = in->channels;
    uint8_t *to = graft_scratch_picture(out, s, GRAFT_SLOT_UPRIGHT, w, h, c);
    if (!to) return graft_err_nomem(err);
    static const struct {
        int8_t last_x, last_y; /* begin at the last column, row of the input */
        int8_t dx, dy;         /* steps in the input (columns or rows) for one step right and one step down */
    } way[9] = {{0, 0, 0, 0}, {0, 0, 1, 1},  {1, 0, -1, 1},  {1, 1, -1, -1}, {0, 1, 1, -1},
                {0, 0, 1, 1}, {0, 1, -1, 1}, {1, 1, -1, -1}, {1, 0, 1, -1}};
    ptrdiff_t pixel = c, row = (ptrdiff_t)in->stride;
    const uint8_t *first = in->data + (way[orientation].last_x ? (in->width - 1) * pixel : 0) +
                           (way[orientation].last_y ? (in->height - 1) * row : 0);
    ptrdiff_t right = way[orientation].dx * (swap ? row : pixel),
              down = way[orientation].dy * (swap ? pixel : row);
    for (int y = 0; y < h; y++) {
        const uint8_t *from = first + y * down;
        if (c == 3)
            for (int x = 0; x < w; x++, from += right, to += 3) {
                to[0] = from[0];
                to[1] = from[1];
                to[2] = from[2];
            }
        else
            for (int x = 0; x < w; x++, from += right) *to++ = *from;
    }
    return 0;
}

int graft_image_to_channels(graft_image *out, const graft_image *in, int channels, graft_image_scratch *s,
                            graft_err *err) {
    if (in->channels == channels) {
        *out = *in;
        return 0;
    }
    graft_image made;
    uint8_t *to = graft_scratch_picture(&made, s, GRAFT_SLOT_COLOUR, in->width, in->height, channels);
    if (!to) return graft_err_nomem(err);
    for (int y = 0; y < in->height; y++) {
        const uint8_t *from = in->data + (size_t)y * in->stride;
        if (channels == 1)
            for (int x = 0; x < in->width; x++, from += 3)
                *to++ = (uint8_t)((from[0] * 19595u + from[1] * 38470u + from[2] * 7471u + 0x8000u) >> 16);
        else
            for (int x = 0; x < in->width; x++, to += 3) to[0] = to[1] = to[2] = from[x];
    }
    *out = made;
    return 0;
}

int graft_image_decode(graft_image *out, graft_image_scratch *s, const void *bytes, size_t size,
                       const graft_decode_options *options, const char *origin, graft_err *err) {
    graft_decode_options o = GRAFT_DECODE_OPTIONS_INIT;
    if (options) o = *options;
    if (o.channels == 0) o.channels = 3;
    if (o.channels != 1 && o.channels != 3)
        return graft_err_set(err, GRAFT_EUSAGE, "%s: pictures are decoded to 1 or 3 channels, not %d", origin,
                             o.channels);
    graft_image stored;
    int orientation = 1, rc;
    switch (graft_image_sniff(bytes, size)) {
    case GRAFT_IMAGE_JPEG:
        rc = graft_jpeg_decode(&stored, &orientation, s, bytes, size, &o, origin, err);
        break;
    case GRAFT_IMAGE_PNG:
        rc = graft_png_decode(&stored, &orientation, s, bytes, size, &o, origin, err);
        break;
    case GRAFT_IMAGE_WEBP:
        rc = graft_webp_decode(&stored, &orientation, s, bytes, size, &o, origin, err);
        break;
    default:
        rc = not_a_picture(bytes, size, origin, err);
    }
    if (rc < 0) return rc;
    graft_image coloured, upright;
    if ((rc = graft_image_to_channels(&coloured, &stored, o.channels, s, err)) < 0) return rc;
    upright = coloured;
    if (orientation > 1 && (rc = turn(&upright, &coloured, orientation, s, err)) < 0) return rc;
    *out = upright;
    return 0;
}
