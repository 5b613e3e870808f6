/* What the files of model/vectors/ share. A format fills in width, words and what it needs to find a row. */
#ifndef GRAFT_MODEL_VECTORS_FORMAT_H
#define GRAFT_MODEL_VECTORS_FORMAT_H

#include "model/vectors.h"

/* ---- Words ---- */

/** Where a word lies in the file. The hash spares reading the file again when the table grows. */
typedef struct graft_word_place {
    uint64_t at;
    uint32_t size, hash;
} graft_word_place;

/** Words by number and numbers by word: open addressing over the places; slots hold number + 1, 0 is free. */
typedef struct graft_word_index {
    const char *base;
    graft_word_place *places;
    size_t n, capacity;
    uint32_t *slots;
    size_t n_slots; /* a power of two */
} graft_word_index;

/** An empty index of words in `base`, released with the arena. */
int graft_word_index_init(graft_word_index *x, graft_arena *arena, const char *base, graft_err *err);
/** Adds the word at base[at .. at + size). Returns 1, or 0 when it was there and nothing is added. */
int graft_word_index_add(graft_word_index *x, uint64_t at, size_t size, graft_err *err);
/** Gives the word the next number without making it found, for a format whose rows are numbered by it. */
int graft_word_index_append(graft_word_index *x, uint64_t at, size_t size, graft_err *err);
int64_t graft_word_index_find(const graft_word_index *x, const char *word, size_t size);

/* ---- Formats ---- */

typedef struct graft_vectors_format graft_vectors_format;

struct graft_vectors {
    graft_arena *arena;
    const graft_env *env; /* while opening */
    const char *origin;
    graft_mapped file;
    const graft_vectors_format *format;
    const char *format_name;
    int width;
    bool has_subwords;
    size_t n_twice; /* words left out since they stood before */
    graft_word_index words;
    void *own; /* the format's */
};

struct graft_vectors_format {
    /** Whether the file is of this format, whole or not. */
    bool (*is)(const graft_mapped *file);
    int (*open)(graft_vectors *v, graft_err *err);
    int (*row)(const graft_vectors *v, int64_t i, float *out, graft_err *err);
    /** Of a word that is not there, as graft_vectors_get; NULL when the format has no subwords at all. */
    int (*unknown)(const graft_vectors *v, const char *word, size_t size, float *out, graft_err *err);
};

#define GRAFT_VECTORS_FORMAT(name) extern const graft_vectors_format graft_vectors_format_##name;
#include "model/vectors/list.h"
#undef GRAFT_VECTORS_FORMAT

/** "12 300" at the start of a text: how many words, how wide, and where the next line begins. false when the
 * first line is something else, or too large to be meant. */
bool graft_vectors_header(const graft_mapped *file, uint64_t *n, uint64_t *width, size_t *end);
/** false when a value is infinite or not a number. */
bool graft_vectors_are_finite(const float *x, size_t n);

/* ---- Decimal numbers ---- */

/** Parses text[0 .. size) whole, "-1.5e-3"; false when it is no finite float. */
bool graft_decimal_parse(const char *text, size_t size, float *out);

#endif
