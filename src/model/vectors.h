/* Word vectors as other programs write them: word2vec (text and binary), GloVe, fastText (.vec, .bin, .ftz).
 * The file is mapped; what is held in memory is an index of its words, some thirty bytes each, and a vector
 * is read or computed when it is asked for. Words are bytes: nothing asks them to be UTF-8. Once open,
 * everything is constant, so that any number of threads may look things up. Part of model/'s door. */
#ifndef GRAFT_MODEL_VECTORS_H
#define GRAFT_MODEL_VECTORS_H

#include "base/base.h"

enum { GRAFT_VECTORS_MAX_WIDTH = 65536 };

typedef struct graft_vectors graft_vectors;

/** Bytes of a word, without a NUL; borrowed. */
typedef struct graft_word {
    const char *text;
    size_t size;
} graft_word;

/** Opens a file, whose format is recognised by its bytes. Counts, sizes and the number of values in each row
 * are checked here; that values are numbers is checked when a row is read, for a file of several GB is not
 * parsed before it is needed. Of a word that stands twice the first row counts, as in gensim; how many were
 * left out is said as a warning to `env` (may be NULL). EFORMAT names line or byte; EUNSUPPORTED: compressed,
 * or a newer version of a format. */
int graft_vectors_open(graft_vectors **out, const graft_env *env, const char *path, graft_err *err);
/** The same from memory that outlives *out; `origin` stands in messages. */
int graft_vectors_parse(graft_vectors **out, const graft_env *env, const void *data, size_t size,
                        const char *origin, graft_err *err);
/** NULL allowed. */
void graft_vectors_close(graft_vectors *v);

int64_t graft_vectors_n(const graft_vectors *v);
int graft_vectors_width(const graft_vectors *v);
/** "word2vec text", "word2vec binary", "GloVe text", "fastText", "fastText quantised". */
const char *graft_vectors_format_name(const graft_vectors *v);
/** Whether words that are not there can have a vector made of their character n-grams. */
bool graft_vectors_has_subwords(const graft_vectors *v);
graft_word graft_vectors_word(const graft_vectors *v, int64_t i);
/** The word's number in [0, n), or -1. */
int64_t graft_vectors_find(const graft_vectors *v, const char *word, size_t size);

/** Writes [width] values of word i. EFORMAT names line or byte of a value that is no finite number. */
int graft_vectors_row(const graft_vectors *v, int64_t i, float *out, graft_err *err);
/** Writes [width] values of a word, by its subwords when it is not there and the format has them (Bojanowski
 * et al. 2017, "Enriching word vectors with subword information"). Returns 1, or 0 with zeros in `out` when
 * there is no vector for it; errors as above. */
int graft_vectors_get(const graft_vectors *v, const char *word, size_t size, float *out, graft_err *err);

/** The direction halfway between words: unit length, of the sum of signs[i] times the unit vector of words[i]
 * (n of them), as gensim's most_similar joins `positive` and `negative`; a - b + c of Mikolov et al. 2013 is
 * signs +1, -1, +1. EDATA names a word that has no vector, or says that they cancel out. */
int graft_vectors_mean(const graft_vectors *v, const graft_word *words, const int *signs, size_t n,
                       float *out, graft_err *err);

typedef struct graft_neighbour {
    int64_t word;
    float score; /* cosine */
} graft_neighbour;

/** The k words whose vectors have the largest cosine with `query` [width], best first, equal ones by number;
 * `left_out` (n_left_out numbers) are passed over. `out` has room for k; *n_out: how many there were. Every
 * row is read once, on all of env's threads; the answer does not depend on how many. Rows of length zero have
 * no direction and are no neighbours. */
int graft_vectors_similar(graft_neighbour *out, size_t *n_out, const graft_vectors *v, const graft_env *env,
                          const float *query, size_t k, const int64_t *left_out, size_t n_left_out,
                          graft_err *err);

/** The same for several queries [n_queries, width] at once, those of sign +1 and of -1: by the product of the
 * former's (1 + cosine) / 2 through that of the latter's, plus 1e-6, which is the score (Levy and Goldberg
 * 2014, "Linguistic regularities in sparse and explicit word representations"; 3CosMul, as gensim has it). No
 * single likeness decides then. */
int graft_vectors_similar_product(graft_neighbour *out, size_t *n_out, const graft_vectors *v,
                                  const graft_env *env, const float *queries, const int *signs,
                                  size_t n_queries, size_t k, const int64_t *left_out, size_t n_left_out,
                                  graft_err *err);

/** Writes words (n) with their vectors as they are got, word2vec binary when `binary`, else text with a
 * header, in the fewest digits that read back the same. Words without a vector, and those with a blank, which
 * neither format can hold, are left out and counted in *n_missing. EDATA when none remains. */
int graft_vectors_write(const char *path, const graft_vectors *v, const graft_word *words, size_t n,
                        bool binary, size_t *n_missing, graft_err *err);

/* ---- As a model's input ---- */

/** "mean", "cnn", "lstm": what reads the vectors of a text; NULL-terminated. */
const char *const *graft_vectors_encoders(void);
/** Whether a file is meant to be word vectors: by its extension and its first bytes, not read further. */
bool graft_vectors_recognise(const char *path);

typedef struct graft_vectors_model_options {
    const char *encoder; /* NULL: "mean" */
    int64_t first;       /* words of the file, from its beginning; 0: 50,000 with texts, else all */
    const graft_word
        *texts; /* UTF-8; their words are taken wherever they stand in the file, or by subwords */
    size_t n_texts;
    bool whole; /* every word of the texts has a row, zeros where there is no vector for it, and each text
                   ends with the word "</s>", as fastText reads them */
} graft_vectors_model_options;

/** What was written, and how much of the texts has a vector. */
typedef struct graft_vectors_model_report {
    int64_t n_words,
        n_by_subwords;         /* rows without that of unknown words; of them made of character n-grams */
    int64_t n_tokens, n_known; /* of the texts */
    const char *split;         /* how texts become words, as tokenizer.json names it */
    bool lowercase;
} graft_vectors_model_report;

/** Writes the folder of a text model over these vectors (family word_vectors), whose encoder and head are
 * still to be trained: config.json, tokenizer.json, model.safetensors, README.md. Row 0 is that of all
 * unknown words, zeros. Texts are in lower case where no word of the file has an upper one, and are split in
 * the way that leaves most of the given texts with a vector. Words that are not UTF-8 are left out. EUSAGE:
 * unknown encoder; EUNSUPPORTED: more than four million words; EFORMAT of a row; EIO. */
int graft_vectors_write_model(graft_vectors_model_report *out, const char *dir, const graft_vectors *v,
                              const graft_vectors_model_options *options, graft_err *err);

/** What became of a model's vocabulary. */
typedef struct graft_vectors_into_report {
    int64_t n_words, n_special; /* rows of words, and of the model's special tokens, which it keeps */
    int64_t n_shared;           /* words that are a token of the model: they keep its row */
    int64_t from_width, to_width;
    bool mapped;               /* vectors were brought into the model's space; else they stand as they are */
    double cosine;             /* then: of mapped vectors and the model's rows, the mean over shared words */
    int64_t n_tokens, n_known; /* of the texts, as above */
    const char *split;
} graft_vectors_into_report;

/** Writes into `dir` the text model in the folder `model` with these vectors in place of its embedding matrix
 * and their words, as the options choose them (`encoder` and `whole` have no meaning), in place of its
 * tokens. EUSAGE: no folder of a text model with an embedding matrix; EDATA: too few shared words to bring
 * vectors of another width into its space. */
int graft_vectors_replace(graft_vectors_into_report *out, const char *dir, const graft_env *env,
                          const graft_vectors *v, const char *model,
                          const graft_vectors_model_options *options, graft_err *err);

#endif
