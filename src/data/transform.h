/* The whole way of a picture: encoded bytes to normalised float32, channels first, in its place in the batch.
 * For texts it says how tokens are made of them.
 * Evaluation follows the model's preprocessing exactly; training puts the augmentation in front of the same
 * normalisation. A transform is constant and shared by all loader threads; each thread has its own scratch.
 */
#ifndef GRAFT_DATA_TRANSFORM_H
#define GRAFT_DATA_TRANSFORM_H

#include "data/augment.h"
#include "data/image.h"
#include "data/resize.h"
#include "model/model.h"

/** The way of a text: its tokens, cut to a length. */
typedef struct graft_text_transform {
    const struct graft_tokenizer *tokenizer; /* NULL: this is a transform of pictures */
    int64_t max_length;      /* tokens of a sample, special ones counted; longer ones are cut */
    int64_t n_types;         /* types from here on, which the model does not know, become 0 */
    int32_t position_offset; /* position of a sample's first token: 0, or the pad id + 1 (RoBERTa) */
    int64_t stride; /* tokens that the windows of a longer text share; 0: such a text is cut instead */
} graft_text_transform;

typedef struct graft_transform {
    graft_text_transform text; /* of texts; then nothing below counts */
    graft_preprocess preprocess;
    graft_augment augment;
    int channels, height, width; /* of the result, [channels, height, width] */
    bool exact;                  /* always decode a JPEG at full size (see GRAFT_JPEG_MARGIN) */
    float scale[GRAFT_MAX_CHANNELS], shift[GRAFT_MAX_CHANNELS];
} graft_transform;

/** Checks both parts and works out the result's size. augment NULL: none. EUSAGE when the preprocessing
 * leaves the size to the picture. */
int graft_transform_init(graft_transform *out, const graft_preprocess *p, const graft_augment *augment,
                         graft_err *err);
/** The transform of texts. EUSAGE when max_length is not positive. */
int graft_transform_init_text(graft_transform *out, const graft_text_transform *text, graft_err *err);
/** Floats in one result of a picture. */
size_t graft_transform_count(const graft_transform *t);

/** Encoded bytes to out [channels, height, width]. rng NULL: evaluation; else training, with
 *  graft_rng_at(seed, epoch, sample, GRAFT_RNG_AUGMENT). `origin` is for messages. */
int graft_transform_run(const graft_transform *t, const void *bytes, size_t size, const char *origin,
                        graft_rng *rng, float *out, graft_image_scratch *s, graft_err *err);
/** The same from a picture that is already decoded (arrays, rendered pictures, or what graft_image_decode
 * left in this scratch); 1 or 3 channels, converted. Nothing is decoded at reduced scale. */
int graft_transform_image(const graft_transform *t, const graft_image *image, graft_rng *rng, float *out,
                          graft_image_scratch *s, graft_err *err);

#endif
