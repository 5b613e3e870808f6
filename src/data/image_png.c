/* PNG through libspng: every colour type and depth to 8-bit RGB. 16-bit samples give their high byte, grey
 * ones too, where PIL clips at 255 and so whitens the picture. */
#include "data/image_private.h"
#include <string.h>

#include <spng.h>

static int png_error(int rc, const char *origin, graft_err *err) {
    if (rc == SPNG_EMEM) return graft_err_nomem(err);
    if (rc == SPNG_EOF || rc == SPNG_IO_EOF)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: truncated PNG (the file ends inside the picture)",
                             origin);
    return graft_err_set(err, GRAFT_EFORMAT, "%s: damaged PNG: %s", origin, spng_strerror(rc));
}

/* Opens and reads the header; *ctx is NULL on failure. */
static int open_png(spng_ctx **ctx, struct spng_ihdr *header, const uint8_t *bytes, size_t size,
                    const char *origin, graft_err *err) {
    *ctx = spng_ctx_new(0);
    if (!*ctx) return graft_err_nomem(err);
    int rc = spng_set_png_buffer(*ctx, bytes, size);
    /* Text and colour profiles may be large without being read; what is kept of them stays bounded. */
    if (!rc) rc = spng_set_chunk_limits(*ctx, (size_t)64 << 20, (size_t)128 << 20);
    if (!rc) rc = spng_get_ihdr(*ctx, header);
    if (!rc) return 0;
    spng_ctx_free(*ctx);
    *ctx = NULL;
    return png_error(rc, origin, err);
}

/* The eXIf chunk may stand before or after the pixels; a walk over {size, four letters, bytes, CRC} finds it
 * without decoding them. */
static int orientation_of(const uint8_t *bytes, size_t size) {
    for (size_t at = 8; at < size && size - at >= 12;) {
        const uint8_t *chunk = bytes + at;
        size_t n = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | (size_t)chunk[3];
        if (n > size - at - 12 || memcmp(chunk + 4, "IEND", 4) == 0) break;
        if (memcmp(chunk + 4, "eXIf", 4) == 0) return graft_exif_orientation(chunk + 8, n);
        at += 12 + n;
    }
    return 1;
}

int graft_png_probe(graft_image_info *out, const uint8_t *bytes, size_t size, const char *origin,
                    graft_err *err) {
    spng_ctx *ctx;
    struct spng_ihdr header;
    int rc = open_png(&ctx, &header, bytes, size, origin, err);
    if (rc < 0) return rc;
    out->width = (int)header.width; /* below 2^31, which libspng checks */
    out->height = (int)header.height;
    out->orientation = orientation_of(bytes, size);
    spng_ctx_free(ctx);
    return 0;
}

int graft_png_decode(graft_image *out, int *orientation, graft_image_scratch *s, const uint8_t *bytes,
                     size_t size, const graft_decode_options *o, const char *origin, graft_err *err) {
    spng_ctx *ctx;
    struct spng_ihdr header;
    int rc = open_png(&ctx, &header, bytes, size, origin, err);
    if (rc < 0) return rc;
    if ((rc = graft_image_check_size(header.width, header.height, o, origin, err)) < 0) goto done;
    bool grey = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth <= 8 && o->channels == 1;
    uint8_t *data = graft_scratch_picture(out, s, GRAFT_SLOT_DECODED, (int)header.width, (int)header.height,
                                          grey ? 1 : 3);
    if (!data) {
        rc = graft_err_nomem(err);
        goto done;
    }
    int png = spng_decode_image(ctx, data, out->stride * (size_t)out->height,
                                grey ? SPNG_FMT_G8 : SPNG_FMT_RGB8, 0);
    if (png) {
        rc = png_error(png, origin, err);
        goto done;
    }
    *orientation = orientation_of(bytes, size);
done:
    spng_ctx_free(ctx);
    return rc;
}
