/* Texts to ids: XXH3, linear probing, at most half full. */
#include "model/tokenizer/token_private.h"
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t graft_token_hash(const char *text, size_t size) {
    return XXH3_64bits(text, size);
}

/* Seeded with the table's own address, so that a file cannot be made to collide in every process. */
static uint32_t slot_hash(const graft_vocab *v, const char *text, size_t size) {
    return (uint32_t)XXH3_64bits_withSeed(text, size, (XXH64_hash_t)(uintptr_t)v->slots);
}

int graft_vocab_init(graft_vocab *v, graft_arena *arena, size_t n) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    *v = (graft_vocab){.slots = graft_arena_array(arena, slots, sizeof *v->slots),
                       .mask = (uint32_t)(slots - 1)};
    if (!v->slots) return GRAFT_ENOMEM;
    for (size_t i = 0; i < slots; i++) v->slots[i].id = -1;
    return 0;
}

static graft_vocab_slot *find_slot(const graft_vocab *v, const char *text, size_t size, uint32_t hash) {
    for (uint32_t i = hash & v->mask;; i = (i + 1) & v->mask) {
        graft_vocab_slot *s = &v->slots[i];
        if (s->id < 0 || (s->hash == hash && s->size == size && memcmp(s->text, text, size) == 0)) return s;
    }
}

int32_t graft_vocab_find(const graft_vocab *v, const char *text, size_t size) {
    if (!v->slots || size > v->longest) return -1;
    return find_slot(v, text, size, slot_hash(v, text, size))->id;
}

int32_t graft_vocab_add(graft_vocab *v, const char *text, uint32_t size, int32_t id) {
    uint32_t hash = slot_hash(v, text, size);
    graft_vocab_slot *s = find_slot(v, text, size, hash);
    if (s->id >= 0) return s->id;
    *s = (graft_vocab_slot){.hash = hash, .id = id, .text = text, .size = size};
    v->n++;
    if (size > v->longest) v->longest = size;
    return -1;
}

int graft_vocab_set(graft_tokenizer *t, graft_vocab_text *texts, size_t n, graft_err *err) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += texts[i].text != NULL;
    if (graft_vocab_init(&t->vocab, t->arena, count) < 0) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        if (!texts[i].text) continue;
        int32_t other = graft_vocab_add(&t->vocab, texts[i].text, texts[i].size, (int32_t)i);
        if (other >= 0)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: token '%s' stands in the vocabulary twice, as id %d and %zu", t->origin,
                                 texts[i].text, (int)other, i);
    }
    t->texts = texts;
    t->n_texts = n;
    return 0;
}
