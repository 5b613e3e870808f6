/* WebP through libwebp. The container is a list of chunks {four letters, size, bytes, padded to even}; the
 * EXIF chunk is looked up here, the picture itself is libwebp's. */
#include "data/image_private.h"
#include <string.h>

#include <webp/decode.h>

static int webp_error(VP8StatusCode status, const char *origin, graft_err *err) {
    switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return graft_err_nomem(err);
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return graft_err_set(err, GRAFT_EFORMAT, "%s: truncated WebP (the file ends inside the picture)",
                             origin);
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: a WebP with features that libwebp does not read",
                             origin);
    default:
        return graft_err_set(err, GRAFT_EFORMAT, "%s: damaged WebP", origin);
    }
}

static int orientation_of(const uint8_t *bytes, size_t size) {
    for (size_t at = 12; size - at >= 8;) {
        const uint8_t *chunk = bytes + at;
        size_t n = (size_t)chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 | (size_t)chunk[7] << 24;
        size_t left = size - at - 8;
        if (n > left) break;
        if (memcmp(chunk, "EXIF", 4) == 0) {
            const uint8_t *tiff = chunk + 8;
            bool named = n > 6 && memcmp(tiff, "Exif\0\0", 6) == 0; /* some writers keep JPEG's prefix */
            return graft_exif_orientation(named ? tiff + 6 : tiff, named ? n - 6 : n);
        }
        if (n + (n & 1) > left) break;
        at += 8 + n + (n & 1);
    }
    return 1;
}

static int features_of(WebPBitstreamFeatures *f, const uint8_t *bytes, size_t size, const char *origin,
                       graft_err *err) {
    VP8StatusCode status = WebPGetFeatures(bytes, size, f);
    if (status != VP8_STATUS_OK) return webp_error(status, origin, err);
    if (f->has_animation)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: an animated WebP; save one frame of it", origin);
    return 0;
}

int graft_webp_probe(graft_image_info *out, const uint8_t *bytes, size_t size, const char *origin,
                     graft_err *err) {
    WebPBitstreamFeatures f;
    int rc = features_of(&f, bytes, size, origin, err);
    if (rc < 0) return rc;
    out->width = f.width;
    out->height = f.height;
    out->orientation = orientation_of(bytes, size);
    return 0;
}

int graft_webp_decode(graft_image *out, int *orientation, graft_image_scratch *s, const uint8_t *bytes,
                      size_t size, const graft_decode_options *o, const char *origin, graft_err *err) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: libwebp is of another version than its headers",
                             origin);
    int rc = features_of(&config.input, bytes, size, origin, err);
    if (rc < 0) return rc;
    if ((rc = graft_image_check_size(config.input.width, config.input.height, o, origin, err)) < 0) return rc;
    uint8_t *data =
        graft_scratch_picture(out, s, GRAFT_SLOT_DECODED, config.input.width, config.input.height, 3);
    if (!data) return graft_err_nomem(err);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = data;
    config.output.u.RGBA.stride = (int)out->stride;
    config.output.u.RGBA.size = out->stride * (size_t)out->height;
    VP8StatusCode status = WebPDecode(bytes, size, &config);
    WebPFreeDecBuffer(&config.output);
    if (status != VP8_STATUS_OK) return webp_error(status, origin, err);
    *orientation = orientation_of(bytes, size);
    return 0;
}
