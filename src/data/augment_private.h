/* What the files of augmentation share: operations on a tight 8-bit picture, in place. Colour operations give
 * the bytes that PIL's ImageEnhance and ImageOps give. */
#ifndef GRAFT_DATA_AUGMENT_PRIVATE_H
#define GRAFT_DATA_AUGMENT_PRIVATE_H

#include "data/augment.h"
#include "data/image_private.h"

typedef struct graft_canvas {
    uint8_t *data;  /* width * height * channels */
    uint8_t *spare; /* as large, for operations that look at neighbours */
    int width, height, channels;
} graft_canvas;

void graft_canvas_flip(graft_canvas *c);          /* left and right */
void graft_canvas_flip_vertical(graft_canvas *c); /* top and bottom */
/** factor 0: black, 1: as it is. */
void graft_canvas_brightness(graft_canvas *c, double factor);
/** factor 0: the mean grey. */
void graft_canvas_contrast(graft_canvas *c, double factor);
/** factor 0: grey. Nothing on grey pictures. */
void graft_canvas_saturation(graft_canvas *c, double factor);
/** Turns the hue by shift, a share of the circle in [-0.5, 0.5]. Nothing on grey pictures. */
void graft_canvas_hue(graft_canvas *c, double shift);
/** factor 0: smoothed, 1: as it is, 2: sharpened. */
void graft_canvas_sharpness(graft_canvas *c, double factor);
/** Keeps the highest `bits` bits of every level. */
void graft_canvas_posterize(graft_canvas *c, int bits);
/** Inverts levels from `threshold` on. */
void graft_canvas_solarize(graft_canvas *c, int threshold);
void graft_canvas_autocontrast(graft_canvas *c);
void graft_canvas_equalize(graft_canvas *c);
/** Output (x, y) is input (a x + b y + tx, d x + e y + ty), nearest pixel, black outside. */
void graft_canvas_affine(graft_canvas *c, double a, double b, double tx, double d, double e, double ty);

/** `ops` operations of RandAugment's set (Cubuk et al. 2019) at `magnitude` of 30, ranges as torchvision's.
 */
void graft_canvas_randaugment(graft_canvas *c, int ops, int magnitude, graft_rng *rng);

#endif
