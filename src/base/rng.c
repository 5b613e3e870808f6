#include "base/rng.h"

#include <math.h>
#include <xxhash.h>

/* Ten rounds of Philox 4x32; constants from the paper, table 2 and section 4. */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Seed, epoch, sample and use are more bits than key and counter have: their 128-bit hash gives the key and
 * the upper half of the counter; the lower half counts the blocks of the stream. */
graft_rng graft_rng_at(uint64_t seed, uint64_t epoch, uint64_t sample, graft_rng_use use) {
    const uint64_t words[4] = {seed, epoch, sample, (uint64_t)use};
    XXH128_hash_t h = XXH3_128bits(words, sizeof words);
    graft_rng r = {.used = 4};
    r.key[0] = (uint32_t)h.low64;
    r.key[1] = (uint32_t)(h.low64 >> 32);
    r.counter[2] = (uint32_t)h.high64;
    r.counter[3] = (uint32_t)(h.high64 >> 32);
    return r;
}

uint32_t graft_rng_u32(graft_rng *r) {
    if (r->used >= 4) {
        philox(r->counter, r->key, r->block);
        if (++r->counter[0] == 0) r->counter[1]++;
        r->used = 0;
    }
    return r->block[r->used++];
}

static uint64_t next_u64(graft_rng *r) {
    uint64_t hi = graft_rng_u32(r);
    return hi << 32 | graft_rng_u32(r);
}

double graft_rng_uniform(graft_rng *r) {
    return (double)(next_u64(r) >> 11) * 0x1p-53;
}

uint64_t graft_rng_below(graft_rng *r, uint64_t n) {
    uint64_t unfair = (UINT64_MAX % n + 1) % n; /* 2^64 mod n values at the top would come once too often */
    uint64_t x;
    do {
        x = next_u64(r);
    } while (x > UINT64_MAX - unfair);
    return x % n;
}

double graft_rng_normal(graft_rng *r) {
    double u = 1.0 - graft_rng_uniform(r); /* in (0, 1] */
    double v = graft_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v);
}

double graft_rng_gamma(graft_rng *r, double shape) {
    if (shape < 1.0) { /* G(a) = G(a + 1) U^(1/a) */
        double u = 1.0 - graft_rng_uniform(r);
        return graft_rng_gamma(r, shape + 1.0) * pow(u, 1.0 / shape);
    }
    double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = graft_rng_normal(r), v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        double u = 1.0 - graft_rng_uniform(r);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

void graft_rng_shuffle(graft_rng *r, int64_t *items, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)graft_rng_below(r, i);
        int64_t swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}
