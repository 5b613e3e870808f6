/* Which elements a dropout keeps: a function of the step's two seeds, the dropout's salt, the sample and the
 * element within the sample, so that neither threads nor order nor layout change it. The reference and every
 * kernel call the same function. */
#ifndef GRAFT_GRAPH_OP_MIX_H
#define GRAFT_GRAPH_OP_MIX_H

#include <stdbool.h>
#include <stdint.h>

/** A bijection of 32 bits in which every input bit flips every output bit about half the time: two rounds of
 * xorshift and multiply with the constants of Wellons 2018, "Prospecting for hash functions" (lowbias32). */
static inline uint32_t graft_mix(uint32_t x) {
    x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
    x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

/** What is constant within one sample of one step. */
typedef struct graft_dropout_key {
    uint32_t before, after;
} graft_dropout_key;

static inline graft_dropout_key graft_dropout_key_of(const int32_t seed[2], int64_t salt, int64_t sample) {
    uint32_t h = graft_mix((uint32_t)seed[0] + UINT32_C(0x9e3779b9));
    h = graft_mix(h ^ (uint32_t)seed[1]);
    h = graft_mix(h + (uint32_t)salt);
    h = graft_mix(h ^ (uint32_t)sample);
    return (graft_dropout_key){h, graft_mix(h + UINT32_C(0x9e3779b9))};
}

/** Elements are kept whose hash is at least this. */
static inline uint32_t graft_dropout_threshold(double p) {
    return (uint32_t)(p * 4294967296.0); /* p < 1 */
}

/** `element` counts in C order within the sample. */
static inline bool graft_dropout_keeps(graft_dropout_key key, uint32_t element, uint32_t threshold) {
    return graft_mix(graft_mix(element ^ key.before) + key.after) >= threshold;
}

/** Whether a residual branch is kept for a sample. Its salts are not those of dropouts. */
static inline bool graft_path_keeps(const int32_t seed[2], int64_t salt, int64_t sample, double p) {
    const int64_t apart = INT64_C(1) << 24;
    return graft_dropout_keeps(graft_dropout_key_of(seed, salt + apart, sample), 0,
                               graft_dropout_threshold(p));
}

#endif
