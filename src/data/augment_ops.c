/* Geometry in place, and RandAugment's choice among all operations. */
#include "data/augment_private.h"
#include <math.h>
#include <string.h>

void graft_canvas_flip(graft_canvas *c) {
    size_t k = (size_t)c->channels;
    for (int y = 0; y < c->height; y++) {
        uint8_t *left = c->data + (size_t)y * (size_t)c->width * k,
                *right = left + ((size_t)c->width - 1) * k;
        for (; left < right; left += k, right -= k)
            for (size_t i = 0; i < k; i++) {
                uint8_t v = left[i];
                left[i] = right[i];
                right[i] = v;
            }
    }
}

void graft_canvas_flip_vertical(graft_canvas *c) {
    size_t stride = (size_t)c->width * (size_t)c->channels;
    memcpy(c->spare, c->data, stride * (size_t)c->height);
    for (size_t y = 0; y < (size_t)c->height; y++)
        memcpy(c->data + y * stride, c->spare + ((size_t)c->height - 1 - y) * stride, stride);
}

void graft_canvas_affine(graft_canvas *c, double a, double b, double tx, double d, double e, double ty) {
    size_t k = (size_t)c->channels, stride = (size_t)c->width * k;
    memcpy(c->spare, c->data, stride * (size_t)c->height);
    uint8_t *to = c->data;
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++, to += k) {
            double px = a * (x + 0.5) + b * (y + 0.5) + tx, py = d * (x + 0.5) + e * (y + 0.5) + ty;
            bool inside = px >= 0 && py >= 0 && px < c->width && py < c->height;
            const uint8_t *from = c->spare + (inside ? (size_t)py * stride + (size_t)px * k : 0);
            for (size_t i = 0; i < k; i++) to[i] = inside ? from[i] : 0;
        }
}

static void identity(graft_canvas *c, double m) {
    (void)c;
    (void)m;
}

static void shear_x(graft_canvas *c, double m) {
    graft_canvas_affine(c, 1, m, 0, 0, 1, 0);
}

static void shear_y(graft_canvas *c, double m) {
    graft_canvas_affine(c, 1, 0, 0, m, 1, 0);
}

static void translate_x(graft_canvas *c, double m) {
    graft_canvas_affine(c, 1, 0, trunc(m * c->width), 0, 1, 0);
}

static void translate_y(graft_canvas *c, double m) {
    graft_canvas_affine(c, 1, 0, 0, 0, 1, trunc(m * c->height));
}

static void rotate(graft_canvas *c, double degrees) {
    double angle = degrees * (M_PI / 180), s = sin(angle), k = cos(angle);
    double x = c->width / 2.0, y = c->height / 2.0;
    graft_canvas_affine(c, k, -s, x - k * x + s * y, s, k, y - s * x - k * y);
}

static void brightness(graft_canvas *c, double m) {
    graft_canvas_brightness(c, 1 + m);
}

static void color(graft_canvas *c, double m) {
    graft_canvas_saturation(c, 1 + m);
}

static void contrast(graft_canvas *c, double m) {
    graft_canvas_contrast(c, 1 + m);
}

static void sharpness(graft_canvas *c, double m) {
    graft_canvas_sharpness(c, 1 + m);
}

static void posterize(graft_canvas *c, double m) {
    graft_canvas_posterize(c, 8 - (int)rint(m));
}

static void solarize(graft_canvas *c, double m) {
    graft_canvas_solarize(c, (int)ceil(255 - m));
}

static void autocontrast(graft_canvas *c, double m) {
    (void)m;
    graft_canvas_autocontrast(c);
}

static void equalize(graft_canvas *c, double m) {
    (void)m;
    graft_canvas_equalize(c);
}

/* torchvision's set; `most` is the strength at magnitude 30, either_way that its sign is drawn. */
static const struct {
    void (*apply)(graft_canvas *c, double m);
    double most;
    bool either_way;
} ops[] = {
    {identity, 0, false},
    {shear_x, 0.3, true},
    {shear_y, 0.3, true},
    {translate_x, 150.0 / 331, true},
    {translate_y, 150.0 / 331, true},
    {rotate, 30, true},
    {brightness, 0.9, true},
    {color, 0.9, true},
    {contrast, 0.9, true},
    {sharpness, 0.9, true},
    {posterize, 4, false},
    {solarize, 255, false},
    {autocontrast, 0, false},
    {equalize, 0, false},
};

void graft_canvas_randaugment(graft_canvas *c, int n, int magnitude, graft_rng *rng) {
    for (int i = 0; i < n; i++) {
        size_t which = (size_t)graft_rng_below(rng, GRAFT_COUNT(ops));
        double m = ops[which].most * magnitude / 30;
        if (ops[which].either_way && graft_rng_below(rng, 2)) m = -m;
        ops[which].apply(c, m);
    }
}
