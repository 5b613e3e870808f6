/* What the float32 and the bf16 loops of attention share. */
#ifndef GRAFT_CPU_ATTENTION_PARTS_H
#define GRAFT_CPU_ATTENTION_PARTS_H

#include "backend/cpu/own/attention.h"
#include "backend/cpu/own/vector.h"

#include <math.h>

static const float log2_e = 1.44269504F;

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Scratch: pieces of 64-byte multiples, one after the other; without a base they are only counted. */
typedef struct scratch {
    unsigned char *base;
    size_t size;
} scratch;

static void *carve(scratch *s, size_t size) {
    void *piece = s->base ? s->base + s->size : NULL;
    s->size += round_up(size, 64);
    return piece;
}

static float *carve_floats(scratch *s, size_t n) {
    return carve(s, n * sizeof(float));
}

/* What is carried of a row from one block of keys to the next. */
typedef struct row_state {
    float largest, sum; /* of the scores, not scaled; of their powers */
    float old;          /* what sums over the blocks before are to be multiplied with */
} row_state;

/* Of n scores and what was the largest before them. */
static float largest_of(const float *s, size_t n, float before) {
    vec a = vec_all(before), b = a;
    size_t j = 0;
    for (; j + 2 * VEC <= n; j += 2 * VEC) {
        a = vec_max(a, vec_load(s + j));
        b = vec_max(b, vec_load(s + j + VEC));
    }
    for (; j + VEC <= n; j += VEC) a = vec_max(a, vec_load(s + j));
    if (j < n) b = vec_max(b, vec_first(vec_load(s + j), n - j, vec_all(-INFINITY)));
    return vec_largest(vec_max(a, b));
}

/* Takes n scores of the next block into the row's largest. Apart from the powers, so that the rows' searches
 * overlap. */
static void raise_largest(const graft_attention_head *h, row_state *state, const float *s, size_t n) {
    float before = state->largest;
    state->old = 1.0F;
    if (n == 0) return;
    state->largest = largest_of(s, n, before);
    state->old = before > -INFINITY ? exp2f((before - state->largest) * h->scale * log2_e) : 0.0F;
}

/* The row's sums over the blocks before, in the new measure. */
static void rescale(float *sums, size_t n, const row_state *state) {
    for (size_t c = 0; c < n; c += VEC) vec_store(sums + c, vec_load(sums + c) * vec_all(state->old));
}

/* ---- Dropout: lanes [0, VEC) are the elements from `element` on ---------------------------------------------- */

VEC_INLINE uvec mix(uvec x) {
    x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
    x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

/* x where the element is kept, else 0; graft_dropout_keeps in vectors. */
VEC_INLINE vec keep(const graft_attention_head *h, uint32_t element, uint32_t threshold, vec x) {
    uvec hash = mix(mix(((uvec)vec_lanes() + element) ^ h->key.before) + h->key.after);
    return (vec)((uvec)x & (uvec)(hash >= threshold));
}

static uint32_t element_of(const graft_attention_head *h, size_t row, size_t key) {
    return (uint32_t)((h->index * h->n + row) * h->n + key);
}

/* How many of the block's keys [begin, begin + n) a row sees. */
static size_t seen(const graft_attention_head *h, size_t row, size_t begin, size_t n) {
    if (!h->causal) return n;
    return row < begin ? 0 : smaller(row + 1 - begin, n);
}

#endif
