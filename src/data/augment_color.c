#include "data/augment_private.h"
#include <math.h>
#include <string.h>

static size_t n_pixels(const graft_canvas *c) {
    return (size_t)c->width * (size_t)c->height;
}

/* from + factor * (to - from), cut off to a byte: PIL's blend, in float as there. */
static uint8_t blend(int from, int to, float factor) {
    float v = (float)from + factor * (float)(to - from);
    return (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : (int)v);
}

static uint8_t luma(const uint8_t *p) {
    return (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
}

static void apply(graft_canvas *c, const uint8_t table[256]) {
    size_t n = n_pixels(c) * (size_t)c->channels;
    for (size_t i = 0; i < n; i++) c->data[i] = table[c->data[i]];
}

static void blend_with_level(graft_canvas *c, int level, double factor) {
    uint8_t table[256];
    for (int v = 0; v < 256; v++) table[v] = blend(level, v, (float)factor);
    apply(c, table);
}

void graft_canvas_brightness(graft_canvas *c, double factor) {
    blend_with_level(c, 0, factor);
}

void graft_canvas_contrast(graft_canvas *c, double factor) {
    size_t n = n_pixels(c);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += c->channels == 3 ? luma(c->data + i * 3) : c->data[i];
    blend_with_level(c, (int)((double)sum / (double)n + 0.5), factor);
}

void graft_canvas_saturation(graft_canvas *c, double factor) {
    if (c->channels != 3) return;
    size_t n = n_pixels(c);
    uint8_t *p = c->data;
    for (size_t i = 0; i < n; i++, p += 3) {
        int grey = luma(p);
        for (int k = 0; k < 3; k++) p[k] = blend(grey, p[k], (float)factor);
    }
}

/* Hue and saturation as bytes, value is the maximum: PIL's HSV. */
static void to_hsv(const uint8_t *p, uint8_t *h, uint8_t *s, uint8_t *v) {
    int r = p[0], g = p[1], b = p[2];
    int high = r > g ? r : g, low = r < g ? r : g;
    if (b > high) high = b;
    if (b < low) low = b;
    *v = (uint8_t)high;
    *h = *s = 0;
    if (high == low) return;
    float range = (float)(high - low), sat = range / (float)high;
    float rc = (float)(high - r) / range, gc = (float)(high - g) / range, bc = (float)(high - b) / range, hue;
    if (r == high)
        hue = bc - gc;
    else if (g == high)
        hue = (float)(2.0 + rc - bc);
    else
        hue = (float)(4.0 + gc - rc);
    hue = (float)fmod(hue / 6.0 + 1.0, 1.0);
    *h = (uint8_t)(int)(hue * 255.0);
    *s = (uint8_t)(int)(sat * 255.0);
}

static void from_hsv(uint8_t *out, uint8_t h, uint8_t s, uint8_t v) {
    if (s == 0) {
        out[0] = out[1] = out[2] = v;
        return;
    }
    int sector = (int)floor((float)h * 6.0 / 255.0);
    float f = (float)((float)h * 6.0 / 255.0 - (float)sector), fs = (float)((float)s / 255.0);
    uint8_t p = (uint8_t)round((float)v * (1.0 - fs)), q = (uint8_t)round((float)v * (1.0 - fs * f));
    uint8_t t = (uint8_t)round((float)v * (1.0 - fs * (1.0 - f)));
    const uint8_t of[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
    memcpy(out, of[sector % 6], 3);
}

void graft_canvas_hue(graft_canvas *c, double shift) {
    if (c->channels != 3) return;
    size_t n = n_pixels(c);
    uint8_t turn = (uint8_t)(int)(shift * 255), h, s, v;
    for (uint8_t *p = c->data; n > 0; n--, p += 3) {
        to_hsv(p, &h, &s, &v);
        from_hsv(p, (uint8_t)(h + turn), s, v);
    }
}

/* The smoothing kernel has 5 in the middle and 1 around it, over 13; the border stays. */
void graft_canvas_sharpness(graft_canvas *c, double factor) {
    size_t k = (size_t)c->channels, stride = (size_t)c->width * k;
    if (c->width < 3 || c->height < 3) return;
    memcpy(c->spare, c->data, stride * (size_t)c->height);
    for (size_t y = 1; y + 1 < (size_t)c->height; y++)
        for (size_t x = k; x < stride - k; x++) {
            const uint8_t *p = c->spare + y * stride + x, *up = p - stride, *down = p + stride;
            int ring = up[-(ptrdiff_t)k] + up[0] + up[k] + p[-(ptrdiff_t)k] + p[k] + down[-(ptrdiff_t)k] +
                       down[0] + down[k];
            int smooth = (int)((float)(ring + 5 * p[0]) / 13.0f + 0.5f);
            c->data[y * stride + x] = blend(smooth, p[0], (float)factor);
        }
}

void graft_canvas_posterize(graft_canvas *c, int bits) {
    uint8_t table[256];
    for (int v = 0; v < 256; v++) table[v] = (uint8_t)(v & ~((1 << (8 - bits)) - 1));
    apply(c, table);
}

void graft_canvas_solarize(graft_canvas *c, int threshold) {
    uint8_t table[256];
    for (int v = 0; v < 256; v++) table[v] = (uint8_t)(v < threshold ? v : 255 - v);
    apply(c, table);
}

static void histogram(const graft_canvas *c, int channel, size_t count[256]) {
    size_t n = n_pixels(c), k = (size_t)c->channels;
    memset(count, 0, 256 * sizeof *count);
    for (size_t i = 0; i < n; i++) count[c->data[i * k + (size_t)channel]]++;
}

static void apply_to_channel(graft_canvas *c, int channel, const uint8_t table[256]) {
    size_t n = n_pixels(c), k = (size_t)c->channels;
    for (uint8_t *p = c->data + channel; n > 0; n--, p += k) *p = table[*p];
}

void graft_canvas_autocontrast(graft_canvas *c) {
    size_t count[256];
    uint8_t table[256];
    for (int channel = 0; channel < c->channels; channel++) {
        histogram(c, channel, count);
        int low = 0, high = 255;
        while (low < 255 && !count[low]) low++;
        while (high > 0 && !count[high]) high--;
        if (high <= low) continue;
        double scale = 255.0 / (high - low), offset = -low * scale;
        for (int v = 0; v < 256; v++) {
            int to = (int)(v * scale + offset);
            table[v] = (uint8_t)(to < 0 ? 0 : to > 255 ? 255 : to);
        }
        apply_to_channel(c, channel, table);
    }
}

void graft_canvas_equalize(graft_canvas *c) {
    size_t count[256];
    uint8_t table[256];
    for (int channel = 0; channel < c->channels; channel++) {
        histogram(c, channel, count);
        int last = 255;
        while (last > 0 && !count[last]) last--;
        size_t step = (n_pixels(c) - count[last]) / 255;
        if (step == 0) continue;
        size_t n = step / 2;
        for (int v = 0; v < 256; v++) {
            size_t to = n / step;
            table[v] = (uint8_t)(to > 255 ? 255 : to);
            n += count[v];
        }
        apply_to_channel(c, channel, table);
    }
}
