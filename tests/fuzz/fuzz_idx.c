#include "data/idx.h"

/* Bytes that begin like gzip are inflated first, as a file's are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_idx idx;
    bool packed = size >= 2 && data[0] == 0x1F && data[1] == 0x8B;
    int rc = packed ? graft_idx_inflate(&idx, arena, data, size, "input", NULL)
                    : graft_idx_parse(&idx, data, size, "input", NULL);
    if (rc == 0) { /* every byte that the shape promises is there */
        int64_t n = 0;
        volatile unsigned char last = 0;
        if (graft_shape_count(&idx.shape, &n) && n > 0)
            last = idx.data[(size_t)n * graft_dtype_size(idx.dtype) - 1];
        (void)last;
    }
    graft_arena_free(arena);
    return 0;
}
