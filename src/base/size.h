/* Sizes that came from a file are multiplied and added with a check. */
#ifndef GRAFT_BASE_SIZE_H
#define GRAFT_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** false when the result does not fit; *out is then unchanged. */
static inline bool graft_size_mul(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline bool graft_size_add(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline size_t graft_size_align(size_t n, size_t align) {
    return (n + align - 1) / align * align;
}

#endif
