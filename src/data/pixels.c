/* Rows of an array of pictures as bytes, whatever the array's element type and layout. */
#include "data/reader.h"
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512 };

static uint8_t to_byte(float v, double scale) {
    double x = (double)v * scale + 0.5;
    return x >= 255 ? 255 : x > 0 ? (uint8_t)x : 0; /* NaN: 0 */
}

int graft_pixels_row(const graft_pixels *p, int64_t row, const uint8_t **out, unsigned char **buffer,
                     size_t *buffer_size, graft_err *err) {
    size_t plane = (size_t)p->height * (size_t)p->width, channels = (size_t)p->channels,
           count = plane * channels;
    size_t element = graft_dtype_size(p->dtype);
    const unsigned char *from = (const unsigned char *)p->data + (size_t)row * count * element;
    bool planar = p->planar && channels > 1;
    if (p->dtype == GRAFT_U8 && p->scale == 1 && !planar) {
        *out = from;
        return 0;
    }
    if (count > *buffer_size) {
        unsigned char *grown = realloc(*buffer, count);
        if (!grown) return graft_err_nomem(err);
        *buffer = grown;
        *buffer_size = count;
    }
    float values[CHUNK];
    for (size_t start = 0; start < count; start += CHUNK) {
        size_t n = count - start < CHUNK ? count - start : CHUNK;
        graft_tensor t = {NULL, p->dtype, {1, {(int64_t)n}}, from + start * element, n * element};
        graft_tensor_to_f32(&t, values);
        for (size_t i = 0; i < n; i++) {
            size_t at = start + i;
            if (planar) at = at % plane * channels + at / plane;
            (*buffer)[at] = to_byte(values[i], p->scale);
        }
    }
    *out = *buffer;
    return 0;
}
