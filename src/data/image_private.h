/* What the picture files of data/ share and nobody else sees: the scratch's buffers and the three decoders.
 */
#ifndef GRAFT_DATA_IMAGE_PRIVATE_H
#define GRAFT_DATA_IMAGE_PRIVATE_H

#include "data/image.h"

/** One buffer a use, so that a picture may wait in one while another is made. */
typedef enum graft_slot {
    GRAFT_SLOT_DECODED, /* as it comes out of a decoder */
    GRAFT_SLOT_UPRIGHT, /* turned */
    GRAFT_SLOT_ROW,     /* one row, for decoders that convert */
    GRAFT_SLOT_COLOUR,  /* grey from RGB or RGB from grey */
    GRAFT_SLOT_COEFFS_X,
    GRAFT_SLOT_COEFFS_Y,
    GRAFT_SLOT_PASS,        /* between the two passes of a resize, the first going down */
    GRAFT_SLOT_PASS_ACROSS, /* what the pass across writes */
    GRAFT_SLOT_RESIZED,     /* the picture before normalisation */
    GRAFT_SLOT_AUGMENT,     /* second picture of an augmentation */
    GRAFT_N_SLOTS
} graft_slot;

struct graft_image_scratch {
    struct {
        void *data;
        size_t size;
    } slots[GRAFT_N_SLOTS];
};

/** At least `size` bytes, 64-byte aligned, contents undefined; NULL when out of memory. */
void *graft_scratch_get(graft_image_scratch *s, graft_slot slot, size_t size);
/** A tight picture in a slot (its bytes are writable through the return value); NULL when out of memory. */
uint8_t *graft_scratch_picture(graft_image *out, graft_image_scratch *s, graft_slot slot, int width,
                               int height, int channels);

/** EXIF orientation (1 to 8) in a TIFF block; 1 when there is none or the block is damaged. */
int graft_exif_orientation(const uint8_t *tiff, size_t size);
/** EUNSUPPORTED when width * height is more than the limit. */
int graft_image_check_size(int64_t width, int64_t height, const graft_decode_options *o, const char *origin,
                           graft_err *err);

/* The decoders: info has the size as stored (not turned); decode gives RGB or grey as stored. */
int graft_jpeg_probe(graft_image_info *out, const uint8_t *bytes, size_t size, const char *origin,
                     graft_err *err);
int graft_jpeg_decode(graft_image *out, int *orientation, graft_image_scratch *s, const uint8_t *bytes,
                      size_t size, const graft_decode_options *o, const char *origin, graft_err *err);
int graft_png_probe(graft_image_info *out, const uint8_t *bytes, size_t size, const char *origin,
                    graft_err *err);
int graft_png_decode(graft_image *out, int *orientation, graft_image_scratch *s, const uint8_t *bytes,
                     size_t size, const graft_decode_options *o, const char *origin, graft_err *err);
int graft_webp_probe(graft_image_info *out, const uint8_t *bytes, size_t size, const char *origin,
                     graft_err *err);
int graft_webp_decode(graft_image *out, int *orientation, graft_image_scratch *s, const uint8_t *bytes,
                      size_t size, const graft_decode_options *o, const char *origin, graft_err *err);

/** A picture of 1 or 3 channels as one of `channels`; `in` itself when it has them already. Grey is ITU-R 601
 * in PIL's fixed point. ENOMEM. */
int graft_image_to_channels(graft_image *out, const graft_image *in, int channels, graft_image_scratch *s,
                            graft_err *err);

#endif
