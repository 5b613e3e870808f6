/* Opening a file of word vectors and looking words up. */
#include "model/vectors/format.h"

#include <string.h>

static const graft_vectors_format *const formats[] = {
#define GRAFT_VECTORS_FORMAT(name) &graft_vectors_format_##name,
#include "model/vectors/list.h"
#undef GRAFT_VECTORS_FORMAT
};

/* Digits as a number; false when there are none or it does not fit. */
static bool take_number(const char **p, const char *end, uint64_t *out) {
    const char *begin = *p;
    *out = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        if (*out > (UINT64_MAX - 9) / 10) return false;
        *out = *out * 10 + (uint64_t)(**p - '0');
    }
    return *p > begin;
}

static void skip_blanks(const char **p, const char *end) {
    while (*p < end && (**p == ' ' || **p == '\t' || **p == '\r')) (*p)++;
}

bool graft_vectors_header(const graft_mapped *file, uint64_t *n, uint64_t *width, size_t *end) {
    const char *begin = (const char *)file->data, *p = begin, *stop = begin + file->size;
    if (!file->size || !take_number(&p, stop, n) || p == stop || (*p != ' ' && *p != '\t')) return false;
    skip_blanks(&p, stop);
    if (!take_number(&p, stop, width)) return false;
    skip_blanks(&p, stop);
    if (p < stop && *p != '\n') return false;
    *end = (size_t)(p - begin) + (p < stop);
    return true;
}

bool graft_vectors_are_finite(const float *x, size_t n) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & 0x7f800000U) == 0x7f800000U; /* all ones: infinity or not a number */
    }
    return !bad;
}

/* Formats that are not read but known, for the sake of the message. */
static const char *packing_of(const graft_mapped *f) {
    static const struct {
        const char *name, *bytes;
        size_t size;
    } rows[] = {{"gzip", "\x1f\x8b", 2},
                {"zip", "PK\x03\x04", 4},
                {"bzip2", "BZh", 3},
                {"xz",
                 "\xfd"
                 "7zXZ",
                 5}};
    for (size_t i = 0; i < GRAFT_COUNT(rows); i++)
        if (f->size >= rows[i].size && memcmp(f->data, rows[i].bytes, rows[i].size) == 0) return rows[i].name;
    return NULL;
}

/* Recognises the format and opens by it. */
static int read_file(graft_vectors *v, graft_err *err) {
    const char *packing = packing_of(&v->file);
    if (!v->file.size) return graft_err_set(err, GRAFT_EFORMAT, "%s: is empty", v->origin);
    if (packing) {
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: is packed with %s and cannot be mapped; unpack it first", v->origin,
                             packing);
    }
    for (size_t i = 0; i < GRAFT_COUNT(formats) && !v->format; i++)
        if (formats[i]->is(&v->file)) v->format = formats[i];
    int rc = graft_word_index_init(&v->words, v->arena, (const char *)v->file.data, err);
    if (rc == 0) rc = v->format->open(v, err);
    if (rc == 0 && !v->words.n) rc = graft_err_set(err, GRAFT_EFORMAT, "%s: has no words", v->origin);
    if (rc == 0 && v->n_twice) {
        graft_env_log(v->env, GRAFT_LOG_WARNING, "%s: %zu words stand there again; their first rows count",
                      v->origin, v->n_twice);
    }
    v->env = NULL;
    return rc;
}

/* A new one in its own arena, nothing read. */
static int make(graft_vectors **out, const graft_env *env, const char *origin, graft_err *err) {
    *out = NULL;
    graft_arena *arena = graft_arena_new(NULL);
    graft_vectors *v = arena ? graft_arena_alloc(arena, sizeof *v) : NULL;
    const char *name = v ? graft_arena_strdup(arena, origin) : NULL;
    if (!name) {
        graft_arena_free(arena);
        return graft_err_nomem(err);
    }
    *v = (graft_vectors){.arena = arena, .env = env, .origin = name};
    *out = v;
    return 0;
}

static int finish(graft_vectors **out, int rc) {
    if (rc < 0) {
        graft_vectors_close(*out);
        *out = NULL;
    }
    return rc;
}

int graft_vectors_open(graft_vectors **out, const graft_env *env, const char *path, graft_err *err) {
    int rc = make(out, env, path, err);
    if (rc < 0) return rc;
    rc = graft_file_map(&(*out)->file, (*out)->arena, path, err);
    if (rc == 0) rc = read_file(*out, err);
    return finish(out, rc);
}

int graft_vectors_parse(graft_vectors **out, const graft_env *env, const void *data, size_t size,
                        const char *origin, graft_err *err) {
    int rc = make(out, env, origin, err);
    if (rc < 0) return rc;
    (*out)->file = (graft_mapped){.data = data, .size = size};
    return finish(out, read_file(*out, err));
}

void graft_vectors_close(graft_vectors *v) {
    if (v) graft_arena_free(v->arena);
}

int64_t graft_vectors_n(const graft_vectors *v) {
    return (int64_t)v->words.n;
}

int graft_vectors_width(const graft_vectors *v) {
    return v->width;
}

const char *graft_vectors_format_name(const graft_vectors *v) {
    return v->format_name;
}

bool graft_vectors_has_subwords(const graft_vectors *v) {
    return v->has_subwords;
}

graft_word graft_vectors_word(const graft_vectors *v, int64_t i) {
    const graft_word_place *p = &v->words.places[i];
    return (graft_word){.text = v->words.base + p->at, .size = p->size};
}

int64_t graft_vectors_find(const graft_vectors *v, const char *word, size_t size) {
    return graft_word_index_find(&v->words, word, size);
}

int graft_vectors_row(const graft_vectors *v, int64_t i, float *out, graft_err *err) {
    return v->format->row(v, i, out, err);
}

int graft_vectors_get(const graft_vectors *v, const char *word, size_t size, float *out, graft_err *err) {
    int64_t i = graft_vectors_find(v, word, size);
    if (i >= 0) {
        int rc = v->format->row(v, i, out, err);
        return rc < 0 ? rc : 1;
    }
    if (v->format->unknown) return v->format->unknown(v, word, size, out, err);
    memset(out, 0, (size_t)v->width * sizeof *out);
    return 0;
}
