/* 128-bit content keys (XXH3), for caches and duplicates; not for defence against an adversary. */
#ifndef GRAFT_BASE_HASH_H
#define GRAFT_BASE_HASH_H

#include "base/arena.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct graft_hash {
    uint64_t lo, hi;
} graft_hash;

graft_hash graft_hash_bytes(const void *data, size_t size);
bool graft_hash_equal(graft_hash a, graft_hash b);
/** 32 hexadecimal digits and a NUL. */
void graft_hash_hex(graft_hash h, char out[33]);

/** Hashing piece by piece. NULL when out of memory; lives in the arena. */
typedef struct graft_hasher graft_hasher;
graft_hasher *graft_hasher_new(graft_arena *arena);
void graft_hasher_add(graft_hasher *h, const void *data, size_t size);
/** Adds the string with its length, so that "ab","c" and "a","bc" differ. */
void graft_hasher_text(graft_hasher *h, const char *s);
graft_hash graft_hasher_end(const graft_hasher *h);

#endif
