/* The tiles of Intel's AMX as the products here use them. Included by kernels that are compiled for AMX. */
#ifndef GRAFT_CPU_TILES_H
#define GRAFT_CPU_TILES_H

#include <immintrin.h>
#include <stdint.h>

/* Eight tiles of 16 rows of 64 bytes, for the thread; released when the task is done. */
static inline void tiles_begin(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_size[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    _Static_assert(sizeof config == 64, "what the processor reads");
    for (int i = 0; i < 8; i++) {
        config.row_size[i] = 64;
        config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
}

static inline void tiles_end(void) {
    _tile_release();
}

#endif
