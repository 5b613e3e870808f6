/* Any bytes through the WEBP decoder: probed, decoded in colour and in grey. */
#include "fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return graft_fuzz_image_in_grey(GRAFT_IMAGE_WEBP, data, size);
}
