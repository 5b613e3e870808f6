#include "data/augment.h"
#include "data/augment_private.h"
#include <math.h>
#include <string.h>

static double between(graft_rng *rng, double low, double high) {
    return low + (high - low) * graft_rng_uniform(rng);
}

static bool happens(graft_rng *rng, double probability) {
    return probability > 0 && graft_rng_uniform(rng) < probability;
}

graft_crop graft_augment_crop(const graft_augment *a, int width, int height, graft_rng *rng) {
    double area = (double)width * height;
    for (int attempt = 0; attempt < 10; attempt++) {
        double target = area * between(rng, a->crop_min, a->crop_max);
        double ratio = exp(between(rng, log(a->ratio_min), log(a->ratio_max)));
        double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        graft_crop crop = {0, 0, (int)w, (int)h};
        crop.y = (int)graft_rng_below(rng, (uint64_t)(height - crop.height) + 1);
        crop.x = (int)graft_rng_below(rng, (uint64_t)(width - crop.width) + 1);
        return crop;
    }
    double shape = (double)width / height, w = width, h = height;
    if (shape < a->ratio_min)
        h = rint(w / a->ratio_min);
    else if (shape > a->ratio_max)
        w = rint(h * a->ratio_max);
    graft_crop crop = {0, 0,
                       w < 1       ? 1
                       : w > width ? width
                                   : (int)w,
                       h < 1        ? 1
                       : h > height ? height
                                    : (int)h};
    crop.x = (width - crop.width) / 2;
    crop.y = (height - crop.height) / 2;
    return crop;
}

/* Each strength s draws its factor from [max(0, 1 - s), 1 + s]; the order of the four is drawn too. */
static void jitter(const graft_augment *a, graft_canvas *c, graft_rng *rng) {
    const double strength[] = {a->brightness, a->contrast, a->saturation};
    static void (*const enhance[])(graft_canvas *, double) = {graft_canvas_brightness, graft_canvas_contrast,
                                                              graft_canvas_saturation};
    if (a->brightness <= 0 && a->contrast <= 0 && a->saturation <= 0 && a->hue <= 0) return;
    int64_t order[] = {0, 1, 2, 3};
    graft_rng_shuffle(rng, order, 4);
    for (int i = 0; i < 4; i++) {
        int64_t which = order[i];
        if (which == 3) {
            if (a->hue > 0) graft_canvas_hue(c, between(rng, -a->hue, a->hue));
        } else if (strength[which] > 0) {
            double s = strength[which];
            enhance[which](c, between(rng, s > 1 ? 0 : 1 - s, 1 + s));
        }
    }
}

int graft_augment_picture(const graft_augment *a, uint8_t *data, int width, int height, int channels,
                          graft_rng *rng, graft_image_scratch *s, graft_err *err) {
    graft_canvas c = {data, NULL, width, height, channels};
    c.spare = graft_scratch_get(s, GRAFT_SLOT_AUGMENT, (size_t)width * (size_t)height * (size_t)channels);
    if (!c.spare) return graft_err_nomem(err);
    if (happens(rng, a->flip)) graft_canvas_flip(&c);
    if (happens(rng, a->vertical_flip)) graft_canvas_flip_vertical(&c);
    jitter(a, &c, rng);
    graft_canvas_randaugment(&c, a->randaugment_ops, a->randaugment_magnitude, rng);
    return 0;
}

void graft_augment_erase(const graft_augment *a, float *x, int channels, int height, int width,
                         graft_rng *rng) {
    if (!happens(rng, a->erase)) return;
    double area = (double)width * height;
    for (int attempt = 0; attempt < 10; attempt++) {
        double target = area * between(rng, 0.02, 0.33), ratio = exp(between(rng, log(0.3), log(3.3)));
        double h = rint(sqrt(target * ratio)), w = rint(sqrt(target / ratio));
        if (h < 1 || w < 1 || h >= height || w >= width) continue;
        size_t eh = (size_t)h, ew = (size_t)w;
        size_t y0 = (size_t)graft_rng_below(rng, (uint64_t)height - eh + 1);
        size_t x0 = (size_t)graft_rng_below(rng, (uint64_t)width - ew + 1);
        for (size_t c = 0; c < (size_t)channels; c++)
            for (size_t y = 0; y < eh; y++)
                memset(x + (c * (size_t)height + y0 + y) * (size_t)width + x0, 0, ew * sizeof *x);
        return;
    }
}

/* ---- Mixing a batch ---------------------------------------------------------------------------------------
 */

static void mix(float *a, float *b, size_t n, float lambda) {
    for (size_t i = 0; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = lambda * x + (1 - lambda) * y;
        b[i] = lambda * y + (1 - lambda) * x;
    }
}

static void swap(float *a, float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

static int clamp(double v, int high) {
    return v < 0 ? 0 : v > high ? high : (int)v;
}

double graft_mix_batch(const graft_augment *a, float *x, float *targets, int n, int channels, int height,
                       int width, int classes, graft_rng *rng) {
    if (a->mixup <= 0 && a->cutmix <= 0) return 1;
    bool cut = a->cutmix > 0 && (a->mixup <= 0 || graft_rng_below(rng, 2));
    double alpha = cut ? a->cutmix : a->mixup;
    double g = graft_rng_gamma(rng, alpha), other = graft_rng_gamma(rng, alpha);
    double lambda = g + other > 0 ? g / (g + other) : 0.5;
    int x0 = 0, x1 = width, y0 = 0, y1 = height;
    if (cut) {
        double side = sqrt(1 - lambda), w = floor(width * side), h = floor(height * side);
        double cx = (double)graft_rng_below(rng, (uint64_t)width),
               cy = (double)graft_rng_below(rng, (uint64_t)height);
        x0 = clamp(cx - floor(w / 2), width), x1 = clamp(cx - floor(w / 2) + w, width);
        y0 = clamp(cy - floor(h / 2), height), y1 = clamp(cy - floor(h / 2) + h, height);
        lambda = 1 - (double)(x1 - x0) * (y1 - y0) / ((double)width * height);
    }
    size_t plane = (size_t)height * (size_t)width, picture = plane * (size_t)channels;
    for (size_t i = 0, j = (size_t)n - 1; i < j; i++, j--) {
        float *p = x + i * picture, *q = x + j * picture;
        if (!cut) {
            mix(p, q, picture, (float)lambda);
        } else {
            for (size_t c = 0; c < (size_t)channels; c++)
                for (size_t y = (size_t)y0; y < (size_t)y1; y++) {
                    size_t at = c * plane + y * (size_t)width + (size_t)x0;
                    swap(p + at, q + at, (size_t)(x1 - x0));
                }
        }
        mix(targets + i * (size_t)classes, targets + j * (size_t)classes, (size_t)classes, (float)lambda);
    }
    return lambda;
}
