/* The loop of dropout.h; included by one file an instruction set, which names the table DROPOUT_TABLE and its
 * ISA. No include guard: it is a body, not a declaration. */
#include "backend/cpu/own/dropout.h"
#include "backend/cpu/own/narrow.h"

NARROW_INLINE void drop_as(const graft_dropout_span *s, size_t begin, size_t end, bool is_narrow) {
    const void *x = s->x;
    void *y = s->y;
    const graft_dropout_key key = s->key;
    const uint32_t threshold = s->threshold;
    const float scale = s->scale;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const bool is_kept = graft_dropout_keeps(key, (uint32_t)i, threshold);
        narrow_store(y, i, is_kept ? narrow_load(x, i, is_narrow) * scale : 0.0F, is_narrow);
    }
}

static void drop(const graft_dropout_span *s, size_t begin, size_t end) {
    if (s->is_narrow) {
        drop_as(s, begin, end, true);
    } else {
        drop_as(s, begin, end, false);
    }
}

const graft_dropout_kernels DROPOUT_TABLE = {"dropout:" DROPOUT_ISA, "dropout_grad:" DROPOUT_ISA, drop};
