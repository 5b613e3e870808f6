/* The index of a file's words. The hash is seeded with the index's own address, so that a file cannot be made
 * to collide in every process. */
#include "model/vectors/format.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FIRST_SLOTS = 1024 };

static void index_done(void *obj) {
    graft_word_index *x = obj;
    free(x->places);
    free(x->slots);
}

int graft_word_index_init(graft_word_index *x, graft_arena *arena, const char *base, graft_err *err) {
    *x = (graft_word_index){.base = base, .n_slots = FIRST_SLOTS};
    x->slots = calloc(x->n_slots, sizeof *x->slots);
    if (graft_arena_defer(arena, index_done, x) < 0 || !x->slots) return graft_err_nomem(err);
    return 0;
}

static uint32_t hash_of(const graft_word_index *x, const char *word, size_t size) {
    return (uint32_t)XXH3_64bits_withSeed(word, size, (XXH64_hash_t)(uintptr_t)x);
}

/* The slot that holds the word, or the free one where it belongs. */
static uint32_t *slot_of(const graft_word_index *x, uint32_t hash, const char *word, size_t size) {
    size_t mask = x->n_slots - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        if (!x->slots[i]) return &x->slots[i];
        const graft_word_place *p = &x->places[x->slots[i] - 1];
        if (p->hash == hash && p->size == size && memcmp(x->base + p->at, word, size) == 0)
            return &x->slots[i];
    }
}

static int grow_slots(graft_word_index *x, graft_err *err) {
    size_t n_slots = x->n_slots * 2, mask = n_slots - 1;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return graft_err_nomem(err);
    for (size_t i = 0; i < x->n_slots; i++) {
        if (!x->slots[i]) continue;
        size_t at = x->places[x->slots[i] - 1].hash & mask;
        while (slots[at]) at = (at + 1) & mask;
        slots[at] = x->slots[i];
    }
    free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    return 0;
}

static int append(graft_word_index *x, uint64_t at, size_t size, uint32_t hash, graft_err *err) {
    if (x->n == x->capacity) {
        size_t capacity = x->capacity ? x->capacity * 2 : FIRST_SLOTS;
        graft_word_place *places = reallocarray(x->places, capacity, sizeof *places);
        if (!places) return graft_err_nomem(err);
        x->places = places;
        x->capacity = capacity;
    }
    if (x->n >= UINT32_MAX || size > UINT32_MAX)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "more than 4 294 967 295 words are not possible");
    x->places[x->n++] = (graft_word_place){.at = at, .size = (uint32_t)size, .hash = hash};
    return 0;
}

int graft_word_index_append(graft_word_index *x, uint64_t at, size_t size, graft_err *err) {
    return append(x, at, size, hash_of(x, x->base + at, size), err);
}

int graft_word_index_add(graft_word_index *x, uint64_t at, size_t size, graft_err *err) {
    uint32_t hash = hash_of(x, x->base + at, size);
    uint32_t *slot = slot_of(x, hash, x->base + at, size);
    if (*slot) return 0;
    if (x->n + 1 > x->n_slots / 4 * 3) {
        int rc = grow_slots(x, err);
        if (rc < 0) return rc;
        slot = slot_of(x, hash, x->base + at, size);
    }
    int rc = append(x, at, size, hash, err);
    if (rc < 0) return rc;
    *slot = (uint32_t)x->n;
    return 1;
}

int64_t graft_word_index_find(const graft_word_index *x, const char *word, size_t size) {
    return (int64_t)*slot_of(x, hash_of(x, word, size), word, size) - 1;
}
