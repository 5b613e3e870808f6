/* Any bytes through the JPEG decoder: probed, decoded at full and reduced size, in part, in colour and in
 * grey. */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const graft_decode_options reduced = {
        .channels = 1, .max_pixels = GRAFT_FUZZ_PIXELS, .target_width = 3, .target_height = 2};
    graft_image_info info;
    graft_image_scratch *s = graft_image_scratch_new();
    if (s && graft_fuzz_image(s, GRAFT_IMAGE_JPEG, data, size, &reduced, &info)) {
        /* a middle part: the rest is skipped, and stays unread here */
        const graft_decode_options part = {.channels = 3,
                                           .max_pixels = GRAFT_FUZZ_PIXELS,
                                           .window_x = info.width / 3,
                                           .window_y = info.height / 3,
                                           .window_width = info.width / 4 + 1,
                                           .window_height = info.height / 4 + 1};
        graft_image image;
        graft_image_decode(&image, s, data, size, &part, "fuzz", NULL);
    }
    graft_image_scratch_free(s);
    return 0;
}
