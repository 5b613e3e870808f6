#include "tensor/tensor.h"

#include <inttypes.h>

bool graft_shape_equal(const graft_shape *a, const graft_shape *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i] != b->dims[i]) return false;
    }
    return true;
}

bool graft_shape_count(const graft_shape *s, int64_t *out) {
    int64_t n = 1;
    bool empty = false;
    for (int i = 0; i < s->rank; i++) {
        if (s->dims[i] < 0) return false;
        empty = empty || s->dims[i] == 0;
    }
    for (int i = 0; i < s->rank && !empty; i++) {
        if (__builtin_mul_overflow(n, s->dims[i], &n)) return false;
    }
    *out = empty ? 0 : n;
    return true;
}

char *graft_shape_print(const graft_shape *s, char *out, size_t out_size) {
    size_t used = 0;
    if (out_size == 0) return out;
    out[0] = '\0';
    for (int i = -1; i <= s->rank && used < out_size; i++) {
        int n;
        if (i < 0) {
            n = snprintf(out + used, out_size - used, "[");
        } else if (i == s->rank) {
            n = snprintf(out + used, out_size - used, "]");
        } else {
            n = snprintf(out + used, out_size - used, "%s%" PRId64, i ? ", " : "", s->dims[i]);
        }
        if (n < 0) break;
        used += (size_t)n;
    }
    return out;
}
