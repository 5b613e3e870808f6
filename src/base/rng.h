/* Random numbers as a function of (seed, epoch, sample, use): no generator outlives a use, so neither thread
 * count nor order nor resuming changes what a sample gets. Philox 4x32-10 (Salmon et al. 2011, "Parallel
 * random numbers: as easy as 1, 2, 3"). */
#ifndef GRAFT_BASE_RNG_H
#define GRAFT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/** What a stream is for; two uses never share numbers. */
typedef enum graft_rng_use {
    GRAFT_RNG_INIT = 1, /* initial values; epoch: 0, sample: hash of the parameter's name */
    GRAFT_RNG_SPLIT,
    GRAFT_RNG_ORDER,   /* order of samples in an epoch */
    GRAFT_RNG_AUGMENT, /* one sample's augmentation */
    GRAFT_RNG_MIX,     /* mixup and cutmix of one batch */
    GRAFT_RNG_DROPOUT,
    GRAFT_RNG_TEST,
    GRAFT_RNG_SEARCH,   /* settings of a trial; epoch: its number, sample: hash of the axis */
    GRAFT_RNG_BOOTSTRAP /* draws of a resampling; epoch: 0, sample: the draw */
} graft_rng_use;

typedef struct graft_rng {
    uint32_t key[2], counter[4], block[4];
    unsigned used;
} graft_rng;

graft_rng graft_rng_at(uint64_t seed, uint64_t epoch, uint64_t sample, graft_rng_use use);
uint32_t graft_rng_u32(graft_rng *r);
/** Uniform in [0, 1), 53 bits. */
double graft_rng_uniform(graft_rng *r);
/** Uniform integer in [0, n), without bias; n > 0. */
uint64_t graft_rng_below(graft_rng *r, uint64_t n);
/** Standard normal (Box-Muller; one value a call). */
double graft_rng_normal(graft_rng *r);
/** Gamma(shape, 1), shape > 0 (Marsaglia and Tsang 2000). */
double graft_rng_gamma(graft_rng *r, double shape);
/** Fisher-Yates. */
void graft_rng_shuffle(graft_rng *r, int64_t *items, size_t n);

#endif
