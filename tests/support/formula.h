/* Pictures by formula, the same as tests/golden/make_image_golden.py draws, and hashes of them. */
#ifndef GRAFT_TESTS_FORMULA_H
#define GRAFT_TESTS_FORMULA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* malloc'd [h, w, c]; a gradient with noise on it. */
static inline uint8_t *formula_picture(int w, int h, int c, uint32_t seed) {
    size_t n = (size_t)w * (size_t)h * (size_t)c;
    uint8_t *data = malloc(n);
    if (!data) return NULL;
    for (size_t i = 0; i < n; i++) {
        uint32_t z = (uint32_t)i + seed * 0x9E3779B9u;
        z = (z ^ z >> 16) * 0x45D9F3Bu;
        z = (z ^ z >> 16) * 0x45D9F3Bu;
        size_t k = i % (size_t)c, x = i / (size_t)c % (size_t)w, y = i / ((size_t)c * (size_t)w);
        data[i] = (uint8_t)(x * 192 / (size_t)w + y * 64 / (size_t)h * (k + 1) + k * 40 + (z >> 8 & 63));
    }
    return data;
}

static inline uint64_t formula_hash(const uint8_t *data, size_t n) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ data[i]) * 0x100000001B3u;
    return h;
}

/* A whole file, malloc'd; NULL when it cannot be read. */
static inline void *formula_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    char *data = NULL;
    long n = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    if (n >= 0 && fseek(f, 0, SEEK_SET) == 0) data = malloc((size_t)n + 1);
    if (data) *size = fread(data, 1, (size_t)n, f);
    fclose(f);
    return data;
}

#endif
