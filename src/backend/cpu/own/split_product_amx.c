/* The loops of split_product.h on Intel's AMX, tiles of 16 rows of 64 bytes. */
#include "backend/cpu/own/split_product.h"

#include "backend/cpu/own/activation.h"
#include "backend/cpu/own/tiles.h"
#include "backend/cpu/own/vector.h"
#include "graph/graph.h"

enum { TILE = 16, PANEL = GRAFT_SPLIT_PANEL, TILE_SIZE = 512, STEP = GRAFT_SPLIT_STEP };

/* Steps of k for which the rows of A stay in the first cache: 4 KB each. */
enum { STEPS = 8 };

/* ---- Packing ------------------------------------------------------------------------------------------------ */

/* hi and lo of a and b, 32 halves: first those of a. */
VEC_INLINE void split(vec a, vec b, __m512i *hi, __m512i *lo) {
    const __m512 most = _mm512_castsi512_ps(_mm512_set1_epi32(0x7f7f7fff)); /* above, bf16(x) is infinite */
    __m512i h = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    __m512 wide_a = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(h)), 16);
    __m512 wide_b = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(h, 1)), 16);
    __mmask16 of_a = _mm512_cmp_ps_mask(_mm512_abs_ps(a), most, _CMP_LE_OQ);
    __mmask16 of_b = _mm512_cmp_ps_mask(_mm512_abs_ps(b), most, _CMP_LE_OQ);
    *hi = h;
    *lo = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_sub_ps(of_b, b, wide_b),
                                       _mm512_maskz_sub_ps(of_a, a, wide_a));
}

/* Halves of the first and of the second half of x in turn. */
VEC_INLINE __m512i in_turn(__m512i x) {
    const __m512i lanes = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(lanes, x);
}

/* 16 elements of row i from column `at` on, zeros where there are none. */
VEC_INLINE vec load_16(const graft_split_pack *p, size_t i, size_t at) {
    if (i >= p->rows || at >= p->columns) return vec_all(0.0F);
    const float *row = p->from + i * p->columns + at;
    return p->columns - at >= VEC ? vec_load(row) : vec_load_part(row, p->columns - at);
}

VEC_INLINE void store_tile(uint16_t *to, __m512i rows[TILE], const bool turned) {
    vec r[TILE];
    VEC_UNROLL
    for (int i = 0; i < TILE; i++) r[i] = _mm512_castsi512_ps(rows[i]);
    if (turned) vec_transpose(r);
    VEC_UNROLL
    for (int i = 0; i < TILE; i++) _mm512_store_ps((float *)(void *)to + i * TILE, r[i]);
}

/* The tiles of 16 rows from `row` on, whose 32 elements of k lie side by side. */
VEC_INLINE void pack_along(const graft_split_pack *p, size_t row, size_t k, uint16_t *to, const bool turned) {
    __m512i hi[TILE], lo[TILE];
    VEC_UNROLL
    for (size_t i = 0; i < TILE; i++)
        split(load_16(p, row + i, k), load_16(p, row + i, k + VEC), &hi[i], &lo[i]);
    store_tile(to, hi, turned);
    store_tile(to + 2 * TILE_SIZE, lo, turned);
}

/* The tiles of 16 columns from `column` on, whose 32 elements of k lie below each other. */
VEC_INLINE void pack_down(const graft_split_pack *p, size_t k, size_t column, uint16_t *to,
                          const bool turned) {
    __m512i hi[TILE], lo[TILE];
    VEC_UNROLL
    for (size_t i = 0; i < TILE; i++) {
        split(load_16(p, k + 2 * i, column), load_16(p, k + 2 * i + 1, column), &hi[i], &lo[i]);
        hi[i] = in_turn(hi[i]);
        lo[i] = in_turn(lo[i]);
    }
    store_tile(to, hi, turned);
    store_tile(to + 2 * TILE_SIZE, lo, turned);
}

static void pack(const graft_split_pack *p, size_t group) {
    const size_t steps = graft_split_steps(p->way, p->rows, p->columns), n = (p->columns + PANEL - 1) / PANEL;
    const bool is_along = p->way == GRAFT_SPLIT_A || p->way == GRAFT_SPLIT_B_TURNED;
    for (size_t i = 0; i < 2 * n; i++) {
        const size_t half = i % 2 * TILE, row = group * PANEL, column = i / 2 * PANEL;
        uint16_t *to =
            p->to + (is_along ? group * steps + i / 2 : i / 2 * steps + group) * STEP + i % 2 * TILE_SIZE;
        switch (p->way) {
        case GRAFT_SPLIT_A:
            pack_along(p, row + half, column, to, false);
            break;
        case GRAFT_SPLIT_B_TURNED:
            pack_along(p, row + half, column, to, true);
            break;
        case GRAFT_SPLIT_A_TURNED:
            pack_down(p, row, column + half, to, true);
            break;
        default:
            pack_down(p, row, column + half, to, false);
        }
    }
}

/* ---- Products ----------------------------------------------------------------------------------------------- */

/* c (32, 32) = A B, or added to it, over `steps` of k. Tiles 0 to 3 are c, 4 and 5 A, 6 and 7 B. */
static void multiply_panels(const uint16_t *a, const uint16_t *b, float *c, size_t c_row, size_t steps,
                            bool add) {
    const size_t stride = c_row * sizeof(float);
    float *below = c + TILE * c_row;
    if (add) {
        _tile_loadd(0, c, stride);
        _tile_loadd(1, c + TILE, stride);
        _tile_loadd(2, below, stride);
        _tile_loadd(3, below + TILE, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t k = 0; k < steps; k++, a += STEP, b += STEP) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b + 2 * TILE_SIZE, 64);
        _tile_loadd(5, a + TILE_SIZE, 64);
        _tile_loadd(7, b + 3 * TILE_SIZE, 64);
        _tile_dpbf16ps(0, 4, 6); /* hi lo */
        _tile_dpbf16ps(2, 5, 6);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(7, b + TILE_SIZE, 64);
        _tile_dpbf16ps(0, 4, 6); /* hi hi */
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(4, a + 2 * TILE_SIZE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        _tile_loadd(5, a + 3 * TILE_SIZE, 64);
        _tile_dpbf16ps(0, 4, 6); /* lo hi */
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, stride);
    _tile_stored(1, c + TILE, stride);
    _tile_stored(2, below, stride);
    _tile_stored(3, below + TILE, stride);
}

typedef struct block {
    float *c; /* of the sums, whole panels */
    size_t c_row, row, col, rows, cols;
} block;

/* Bias, residual and activation of what is summed up. */
static void finish(const graft_split_product *p, const block *at) {
    if (!p->bias && !p->residual && p->act == GRAFT_ACT_NONE) return;
    for (size_t i = 0; i < at->rows; i++) {
        float *c = at->c + i * at->c_row;
        const float *residual = p->residual ? p->residual + (at->row + i) * p->n + at->col : NULL;
        for (size_t j = 0; j < at->cols; j += VEC) {
            const size_t left = at->cols - j;
            vec x = left >= VEC ? vec_load(c + j) : vec_load_part(c + j, left);
            if (p->bias)
                x += left >= VEC ? vec_load(p->bias + at->col + j)
                                 : vec_load_part(p->bias + at->col + j, left);
            if (residual) x += left >= VEC ? vec_load(residual + j) : vec_load_part(residual + j, left);
            if (p->act == GRAFT_ACT_RELU) x = vec_max(vec_all(0.0F), x);
            if (left >= VEC) {
                vec_store(c + j, x);
            } else {
                vec_store_part(c + j, x, left);
            }
        }
        if (p->act == GRAFT_ACT_NONE || p->act == GRAFT_ACT_RELU) continue;
        const graft_activation_span span = {.x = c, .y = c, .act = p->act};
        graft_activation_avx512.forward(&span, 0, at->cols);
    }
}

static void copy(const block *from, float *to, size_t to_row) {
    for (size_t i = 0; i < from->rows; i++)
        memcpy(to + i * to_row, from->c + i * from->c_row, from->cols * sizeof *to);
}

/* Steps [k, k + steps) of one block of C. What is not whole is summed up beside it. */
static void multiply_block(const graft_split_product *p, size_t row, size_t col, size_t k, size_t steps) {
    _Alignas(64) float edge[PANEL * PANEL];
    block at = {.row = row * PANEL, .col = col * PANEL, .rows = PANEL, .cols = PANEL, .c_row = p->n};
    if (at.rows > p->m - at.row) at.rows = p->m - at.row;
    if (at.cols > p->n - at.col) at.cols = p->n - at.col;
    at.c = p->c + at.row * p->n + at.col;
    const block whole = at;
    const bool is_edge = at.rows < PANEL || at.cols < PANEL, add = p->onto || k > 0;
    if (is_edge) {
        if (add) {
            memset(edge, 0, sizeof edge);
            copy(&whole, edge, PANEL);
        }
        at.c = edge;
        at.c_row = PANEL;
    }
    multiply_panels(p->a + (row * p->steps + k) * STEP, p->b + (col * p->steps + k) * STEP, at.c, at.c_row,
                    steps, add);
    if (k + steps == p->steps) finish(p, &at);
    if (is_edge) copy(&at, whole.c, p->n);
}

static void multiply(const graft_split_product *p, size_t row, size_t row_end, size_t col, size_t col_end) {
    tiles_begin();
    for (size_t k = 0; k < p->steps; k += STEPS) {
        const size_t steps = p->steps - k < STEPS ? p->steps - k : STEPS;
        for (size_t r = row; r < row_end; r++) {
            for (size_t c = col; c < col_end; c++) multiply_block(p, r, c, k, steps);
        }
    }
    tiles_end();
}

const graft_split_kernels graft_split_amx = {"bf16x3:amx", "split:amx", pack, multiply};
