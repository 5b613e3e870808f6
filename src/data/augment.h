/* Augmentation of training pictures: a policy is a plain description, read from a string, and every random
 * choice is drawn from one generator that belongs to (seed, epoch, sample). Geometry and colour work on 8-bit
 * pictures as torchvision does on PIL's; erasing and mixing work on the normalised batch. */
#ifndef GRAFT_DATA_AUGMENT_H
#define GRAFT_DATA_AUGMENT_H

#include "data/image.h"

/** What is done to a training picture. All zero: nothing. Probabilities in [0, 1]. */
typedef struct graft_augment {
    bool automatic;              /* "auto": whoever knows the data resolves it */
    double crop_min, crop_max;   /* random resized crop: share of the area; crop_max 0: none */
    double ratio_min, ratio_max; /* aspect of that crop, width / height */
    double flip, vertical_flip;  /* probabilities */
    double brightness, contrast, saturation, hue; /* colour jitter strengths, hue at most 0.5 */
    int randaugment_ops, randaugment_magnitude;   /* n ops a picture, magnitude 0 to 30 */
    double erase;                                 /* probability of random erasing */
    double mixup, cutmix;                         /* Beta(a, a); 0: off; both: one or the other, evenly */
} graft_augment;

/** A preset ("none", "light", "standard", "strong", "auto"), a list of components, or a preset followed by
 *  components that change it: "standard", "strong,flip=0",
 * "flip,crop=0.6,jitter=0.4,randaugment=9/2,erase=0.25". Components: flip[=p] vflip[=p] crop=min[-max]
 * ratio=min-max jitter=all or jitter=brightness/contrast/saturation/hue randaugment=magnitude/ops erase=p
 * mixup=a cutmix=a. EUSAGE names the word and the choices. */
int graft_augment_parse(graft_augment *out, const char *text, graft_err *err);
/** The description that graft_augment_parse reads back, "none" when nothing is done. */
char *graft_augment_explain(const graft_augment *a, char *out, size_t out_size);
/** Whether anything is done to single pictures (mixup and cutmix apart). */
bool graft_augment_is_active(const graft_augment *a);

/** A crop of a picture, in pixels. */
typedef struct graft_crop {
    int x, y, width, height;
} graft_crop;
/** The window of a random resized crop (Szegedy et al. 2015, "Going deeper with convolutions"), ten tries and
 * then the centre, as torchvision draws it. */
graft_crop graft_augment_crop(const graft_augment *a, int width, int height, graft_rng *rng);

/** Flips, colour jitter and RandAugment in place on a tight picture of width x height x channels. */
int graft_augment_picture(const graft_augment *a, uint8_t *data, int width, int height, int channels,
                          graft_rng *rng, graft_image_scratch *s, graft_err *err);
/** Random erasing (Zhong et al. 2017) on x [C, H, W]: a rectangle of zeros, the mean of normalised pictures.
 */
void graft_augment_erase(const graft_augment *a, float *x, int channels, int height, int width,
                         graft_rng *rng);

/** mixup (Zhang et al. 2017) or cutmix (Yun et al. 2019) of a batch in place: picture i with picture n - 1 -
 * i. x [n, C, H, W]; targets [n, classes] soft labels, mixed alike. rng: GRAFT_RNG_MIX of the batch. Returns
 * the share lambda that each picture keeps (1 when the policy does not mix). */
double graft_mix_batch(const graft_augment *a, float *x, float *targets, int n, int channels, int height,
                       int width, int classes, graft_rng *rng);

#endif
