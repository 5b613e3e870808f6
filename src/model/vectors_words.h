/* What the files that make models of word vectors share. Private to src/model. */
#ifndef GRAFT_MODEL_VECTORS_WORDS_H
#define GRAFT_MODEL_VECTORS_WORDS_H

#include "model/vectors.h"

#define GRAFT_TEXT_END "</s>"

/** The words of a model to be, and how its texts are split. */
typedef struct graft_words_choice {
    graft_arena *arena; /* the caller's to free, whatever graft_words_choose returned */
    const graft_vectors *v;
    const graft_vectors_model_options *options;
    graft_vectors_model_report report;
    graft_map *ids;
    graft_word *words; /* [n] by id; 0 stands for all that are unknown */
    size_t n, room;
    int64_t end; /* the word that ends a text; 0: none does */
} graft_words_choice;

/** The file's first words and those of the texts, as the options say. EUNSUPPORTED: too many; EFORMAT of a
 * row. */
int graft_words_choose(graft_words_choice *b, const graft_vectors *v,
                       const graft_vectors_model_options *options, graft_err *err);

/** A tokenizer.json of whole words. */
typedef struct graft_words_tokenizer {
    const char *split; /* as tokenizer.json names it */
    bool lowercase;
    const graft_word *words; /* [n] by id */
    size_t n;
    graft_word unknown;
    const char *post, *added; /* JSON: its post-processor and added tokens; NULL: none */
} graft_words_tokenizer;
void graft_words_put_tokenizer(graft_buf *out, const graft_words_tokenizer *t);
/** A word as a JSON string. */
void graft_words_put_json(graft_buf *out, graft_word w);

/** Writes the README.md of the folder, read back from it. */
int graft_words_write_card(const char *dir, const char *path, graft_err *err);

/** z = (x - from_mean) map + to_mean, from d to width values. */
typedef struct graft_vectors_map {
    size_t d, width;
    double *map, *from_mean, *to_mean; /* (d,width), (d), (width) */
} graft_vectors_map;
/** Least squares over n pairs x (n,d) and y (n,width), into the arena. EDATA: all of x is the same. */
int graft_vectors_map_fit(graft_vectors_map *out, graft_arena *arena, const float *x, const float *y,
                          size_t n, size_t d, size_t width, int threads, graft_err *err);
/** One vector x (d) to out (width). */
void graft_vectors_map_apply(const graft_vectors_map *m, const float *x, float *out);
/** Mean cosine of mapped x and y, both from y's mean. */
int graft_vectors_map_judge(double *cosine, const graft_vectors_map *m, graft_arena *arena, const float *x,
                            const float *y, size_t n, graft_err *err);

#endif
