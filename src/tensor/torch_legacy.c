/* PyTorch's stream format (before 1.6): the pickles of a magic number, a protocol version, facts of the
 * system and the value itself, then one of the list of storage keys; after them each storage's length in
 * elements (8 bytes) and its elements. */
#include "tensor/torch.h"

#include <inttypes.h>
#include <string.h>

enum { PROTOCOL = 1001 };

/* 0x1950a86a20f9469cfc6c */
static const unsigned char magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

typedef struct stream {
    const unsigned char *data;
    size_t size, at;
    const char *origin;
    graft_err *err;
    graft_arena *values; /* of the pickles; gone when the tensors are made */
    graft_map *index;    /* key -> position in places */
    struct {
        size_t at, size;
    } * places;
} stream;

static int next_pickle(stream *s, graft_unpickled *out) {
    int rc = graft_unpickle(out, s->values, s->data + s->at, s->size - s->at, s->origin, s->err);
    s->at += out->used;
    return rc;
}

static bool says_big_endian(const graft_pickle *facts) {
    for (size_t i = 0; facts->kind == GRAFT_PICKLE_DICT && i + 1 < facts->as.list.n; i += 2) {
        const graft_pickle *value = facts->as.list.items[i + 1];
        if (graft_pickle_is(facts->as.list.items[i], GRAFT_PICKLE_TEXT, "little_endian")) {
            return value->kind == GRAFT_PICKLE_BOOL && !value->as.boolean;
        }
    }
    return false;
}

static int read_start(stream *s) {
    graft_unpickled u;
    int rc = next_pickle(s, &u);
    if (rc < 0) return rc;
    const graft_pickle *v = u.value;
    if (v->kind != GRAFT_PICKLE_BIG || v->as.text.size != sizeof magic ||
        memcmp(v->as.text.data, magic, sizeof magic) != 0) {
        return graft_err_set(
            s->err, GRAFT_EUNSUPPORTED,
            "%s: a pickle, but not one that torch.save wrote; save the state_dict with torch.save or "
            "safetensors",
            s->origin);
    }
    rc = next_pickle(s, &u);
    if (rc < 0) return rc;
    if (u.value->kind != GRAFT_PICKLE_INT || u.value->as.integer != PROTOCOL) {
        return graft_err_set(s->err, GRAFT_EUNSUPPORTED, "%s: the stream's version is not %d", s->origin,
                             PROTOCOL);
    }
    rc = next_pickle(s, &u);
    if (rc < 0) return rc;
    if (says_big_endian(u.value)) {
        return graft_err_set(s->err, GRAFT_EUNSUPPORTED,
                             "%s: the tensors are big-endian; save them on a little-endian machine",
                             s->origin);
    }
    return 0;
}

/* The bytes of one storage of the list; its element size is that of the class the pickle gave for the key. */
static int read_storage(stream *s, size_t i, const char *key, size_t element_size) {
    uint64_t n;
    size_t bytes;
    if (s->size - s->at < sizeof n) {
        return graft_err_set(s->err, GRAFT_EFORMAT,
                             "%s: the file ends at byte %zu, before storage '%s': it is cut short", s->origin,
                             s->size, key);
    }
    memcpy(&n, s->data + s->at, sizeof n);
    s->at += sizeof n;
    if (!graft_size_mul((size_t)n, element_size, &bytes) || bytes > s->size - s->at) {
        return graft_err_set(s->err, GRAFT_EFORMAT,
                             "%s: storage '%s' at byte %zu is said to have %" PRIu64
                             " elements, but the file ends at byte "
                             "%zu: it is cut short or damaged",
                             s->origin, key, s->at, n, s->size);
    }
    s->places[i].at = s->at;
    s->places[i].size = bytes;
    s->at += bytes;
    return graft_map_put_str(s->index, key, (int64_t)i) < 0 ? graft_err_nomem(s->err) : 0;
}

static int read_storages(stream *s, const graft_unpickled *u, const graft_pickle *keys) {
    if (keys->kind != GRAFT_PICKLE_LIST) {
        return graft_err_set(s->err, GRAFT_EFORMAT, "%s: the list of storages before byte %zu is missing",
                             s->origin, s->at);
    }
    graft_map *known = graft_map_new(s->values); /* key -> position in u->storages */
    s->index = graft_map_new(s->values);
    s->places = graft_arena_array(s->values, keys->as.list.n, sizeof *s->places);
    if (!known || !s->index || !s->places) return graft_err_nomem(s->err);
    for (size_t i = 0; i < u->n_storages; i++) {
        if (graft_map_put_str(known, u->storages[i]->key, (int64_t)i) < 0) return graft_err_nomem(s->err);
    }
    for (size_t i = 0; i < keys->as.list.n; i++) {
        const graft_pickle *key = keys->as.list.items[i];
        int64_t which =
            key->kind == GRAFT_PICKLE_TEXT ? graft_map_get(known, key->as.text.data, key->as.text.size) : -1;
        if (which < 0 || u->storages[which]->element_size == 0) {
            return graft_err_set(s->err, GRAFT_EFORMAT,
                                 "%s: storage %zu of the list before byte %zu is of no tensor, or of a class "
                                 "that is not known",
                                 s->origin, i, s->at);
        }
        int rc = read_storage(s, i, u->storages[which]->key, u->storages[which]->element_size);
        if (rc < 0) return rc;
    }
    return 0;
}

static int find_storage(void *user, const graft_torch_storage *storage, const unsigned char **data,
                        size_t *size, graft_err *err) {
    const stream *s = user;
    int64_t i = graft_map_get_str(s->index, storage->key);
    if (i < 0)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: the storage '%s' is missing", s->origin, storage->key);
    *data = s->data + s->places[i].at;
    *size = s->places[i].size;
    return 0;
}

int graft_torch_legacy(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                       const char *origin, graft_err *err) {
    graft_unpickled u, keys;
    stream s = {.data = data, .size = size, .origin = origin, .err = err, .values = graft_arena_new(NULL)};
    if (!s.values) return graft_err_nomem(err);
    int rc = read_start(&s);
    if (rc == 0) rc = next_pickle(&s, &u);
    if (rc == 0) rc = next_pickle(&s, &keys);
    if (rc == 0) rc = read_storages(&s, &u, keys.value);
    const graft_torch_bytes bytes = {.find = find_storage, .user = &s, .file_size = size};
    if (rc == 0) rc = graft_torch_state(out, arena, u.value, &bytes, "pytorch legacy", origin, err);
    graft_arena_free(s.values);
    return rc;
}
