/* Any bytes through the WEBP decoder: probed, decoded in colour and in grey. */
#include "data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (graft_image_sniff(data, size) != GRAFT_IMAGE_WEBP) return 0;
    graft_image_scratch *s = graft_image_scratch_new();
    if (!s) return 0;
    graft_image_info info;
    graft_image image;
    graft_err err;
    graft_decode_options full = {.max_pixels = 1 << 20}, reduced = {.channels = 1, .max_pixels = 1 << 20};
    bool probed = graft_image_probe(&info, data, size, "fuzz", &err) == 0;
    if (graft_image_decode(&image, s, data, size, &full, "fuzz", &err) == 0) {
        /* What decodes has a header that could be read, and says the same size. */
        if (!probed || info.width != image.width || info.height != image.height) __builtin_trap();
        uint32_t sum = 0;
        for (int y = 0; y < image.height; y++)
            for (int x = 0; x < image.width * 3; x++) sum += image.data[(size_t)y * image.stride + (size_t)x];
        volatile uint32_t keep = sum;
        (void)keep;
    }
    graft_image_decode(&image, s, data, size, &reduced, "fuzz", &err);
    graft_image_scratch_free(s);
    return 0;
}
