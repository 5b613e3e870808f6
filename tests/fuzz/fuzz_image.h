/* What every target of an image format asks: what decodes has a header that could be read and says the same
 * size, and every byte of it was written. */
#ifndef GRAFT_FUZZ_IMAGE_H
#define GRAFT_FUZZ_IMAGE_H

#include "data/image.h"

enum { GRAFT_FUZZ_PIXELS = 1 << 20 };

/* Bytes of this format, probed (into *info) and decoded in colour, then as `reduced` says. Whether they could
 * be probed. */
static inline bool graft_fuzz_image(graft_image_scratch *s, graft_image_format format, const uint8_t *data,
                                    size_t size, const graft_decode_options *reduced,
                                    graft_image_info *info) {
    if (graft_image_sniff(data, size) != format) return false;
    graft_image image;
    graft_err err;
    graft_decode_options full = {.max_pixels = GRAFT_FUZZ_PIXELS};
    bool probed = graft_image_probe(info, data, size, "fuzz", &err) == 0;
    if (graft_image_decode(&image, s, data, size, &full, "fuzz", &err) == 0) {
        if (!probed || info->width != image.width || info->height != image.height) __builtin_trap();
        uint32_t sum = 0;
        for (int y = 0; y < image.height; y++)
            for (int x = 0; x < image.width * 3; x++) sum += image.data[(size_t)y * image.stride + (size_t)x];
        volatile uint32_t keep = sum;
        (void)keep;
    }
    graft_image_decode(&image, s, data, size, reduced, "fuzz", &err);
    return probed;
}

/* The same with a decoder of its own, reduced to grey. */
static inline int graft_fuzz_image_in_grey(graft_image_format format, const uint8_t *data, size_t size) {
    const graft_decode_options grey = {.channels = 1, .max_pixels = GRAFT_FUZZ_PIXELS};
    graft_image_info info;
    graft_image_scratch *s = graft_image_scratch_new();
    if (s) graft_fuzz_image(s, format, data, size, &grey, &info);
    graft_image_scratch_free(s);
    return 0;
}

#endif
