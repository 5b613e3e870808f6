#include "base/hash.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

struct graft_hasher {
    XXH3_state_t *state;
};

static graft_hash from_xxh(XXH128_hash_t h) {
    return (graft_hash){.lo = h.low64, .hi = h.high64};
}

graft_hash graft_hash_bytes(const void *data, size_t size) {
    return from_xxh(XXH3_128bits(data, size));
}

bool graft_hash_equal(graft_hash a, graft_hash b) {
    return a.lo == b.lo && a.hi == b.hi;
}

void graft_hash_hex(graft_hash h, char out[33]) {
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
}

static void state_free(void *state) {
    XXH3_freeState(state);
}

graft_hasher *graft_hasher_new(graft_arena *arena) {
    graft_hasher *h = graft_arena_alloc(arena, sizeof *h);
    if (!h) return NULL;
    h->state = XXH3_createState();
    if (!h->state || graft_arena_defer(arena, state_free, h->state) < 0) return NULL;
    XXH3_128bits_reset(h->state);
    return h;
}

void graft_hasher_add(graft_hasher *h, const void *data, size_t size) {
    if (size) XXH3_128bits_update(h->state, data, size);
}

void graft_hasher_text(graft_hasher *h, const char *s) {
    uint64_t size = strlen(s);
    graft_hasher_add(h, &size, sizeof size);
    graft_hasher_add(h, s, (size_t)size);
}

graft_hash graft_hasher_end(const graft_hasher *h) {
    return from_xxh(XXH3_128bits_digest(h->state));
}
