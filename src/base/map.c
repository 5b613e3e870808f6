/* Open addressing with linear probing; a power of two of slots, at most 3/4 full. The hash is seeded with the
 * map's own address, so that a file cannot be made to collide in every process. */
#include "base/map.h"

#include "base/size.h"
#include "graft.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct slot {
    const char *key; /* NULL: free */
    size_t key_size;
    uint64_t hash;
    int64_t value;
} slot;

struct graft_map {
    graft_arena *arena;
    slot *slots;
    size_t n_slots, count;
};

static void map_done(void *obj) {
    graft_map *m = obj;
    free(m->slots);
}

graft_map *graft_map_new(graft_arena *arena) {
    graft_map *m = graft_arena_alloc(arena, sizeof *m);
    if (!m) return NULL;
    m->arena = arena;
    m->n_slots = 16;
    m->slots = calloc(m->n_slots, sizeof *m->slots);
    if (!m->slots || graft_arena_defer(arena, map_done, m) < 0) return NULL;
    return m;
}

static uint64_t hash_key(const graft_map *m, const char *key, size_t key_size) {
    return XXH3_64bits_withSeed(key, key_size, (XXH64_hash_t)(uintptr_t)m);
}

/* The key's slot, or the free one where it belongs. */
static slot *find_slot(const graft_map *m, uint64_t hash, const char *key, size_t key_size) {
    size_t mask = m->n_slots - 1;
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        slot *s = &m->slots[i];
        if (!s->key) return s;
        if (s->hash == hash && s->key_size == key_size && memcmp(s->key, key, key_size) == 0) return s;
    }
}

static int grow(graft_map *m) {
    size_t n_slots;
    if (!graft_size_mul(m->n_slots, 2, &n_slots)) return GRAFT_ENOMEM;
    slot *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return GRAFT_ENOMEM;
    for (size_t i = 0; i < m->n_slots; i++) {
        if (!m->slots[i].key) continue;
        size_t at = (size_t)m->slots[i].hash & (n_slots - 1);
        while (slots[at].key) at = (at + 1) & (n_slots - 1);
        slots[at] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->n_slots = n_slots;
    return 0;
}

int graft_map_put(graft_map *m, const char *key, size_t key_size, int64_t value) {
    uint64_t hash = hash_key(m, key, key_size);
    slot *s = find_slot(m, hash, key, key_size);
    if (s->key) {
        s->value = value;
        return 0;
    }
    if (m->count + 1 > m->n_slots / 4 * 3) {
        if (grow(m) < 0) return GRAFT_ENOMEM;
        s = find_slot(m, hash, key, key_size);
    }
    char *copy = graft_arena_alloc(m->arena, key_size);
    if (!copy) return GRAFT_ENOMEM;
    if (key_size) memcpy(copy, key, key_size);
    *s = (slot){.key = copy, .key_size = key_size, .hash = hash, .value = value};
    m->count++;
    return 0;
}

int64_t graft_map_get(const graft_map *m, const char *key, size_t key_size) {
    const slot *s = find_slot(m, hash_key(m, key, key_size), key, key_size);
    return s->key ? s->value : -1;
}

int graft_map_put_str(graft_map *m, const char *key, int64_t value) {
    return graft_map_put(m, key, strlen(key), value);
}

int64_t graft_map_get_str(const graft_map *m, const char *key) {
    return graft_map_get(m, key, strlen(key));
}

size_t graft_map_count(const graft_map *m) {
    return m->count;
}
