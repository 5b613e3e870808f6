/* A text classifier on averaged vectors, as fastText's supervised mode (Joulin et al. 2017, "Bag of tricks
 * for efficient text classification"): the mean of the rows of a text's words and word n-grams, a linear
 * layer, a softmax; SGD, one text an update, whose rate falls linearly to nothing. Rows are as many as words
 * and buckets, so updates touch only those of the texts at hand. Part of learn/'s door.
 *
 * All threads work, and how many there are changes no bit. Texts go in groups. While one thread takes the
 * texts of group r one after another through the linear layer, exactly as a single thread would, the others
 * average the rows of group r + 1; then every thread adds the gradients of group r to the rows that it owns,
 * in the texts' order. So a text's rows lack the updates of at most two groups, which costs no accuracy that
 * could be measured, where threads that write as they please (Recht et al. 2011, "Hogwild!") would cost
 * reproducibility. */
#ifndef GRAFT_LEARN_AVERAGED_H
#define GRAFT_LEARN_AVERAGED_H

#include "base/base.h"

/** n texts: the words of text i are ids[starts[i] .. starts[i + 1]); an id outside [0, n_words) is a word
 * that is not known, which is passed over. There is no bias: fastText ends every text with the word "</s>",
 * whose row serves as one. Borrowed. */
typedef struct graft_texts {
    const int32_t *ids;
    const int64_t *starts; /* [n + 1], from 0, not falling */
    int64_t n;
} graft_texts;

typedef struct graft_averaged_options {
    int64_t n_words, n_classes;
    int width;             /* 0: 100 */
    int word_ngrams;       /* longest run of words that has a row of its own; 0: 1 */
    int64_t bucket;        /* rows for runs of two words and more, shared by hash; 0: 2 000 000 */
    int64_t epochs;        /* 0: 5 */
    double lr;             /* 0: 0.1 */
    uint64_t seed;         /* initial rows, order of texts */
    const float *start;    /* [n_words, width] pretrained; NULL: none */
    const bool *has_start; /* [n_words]: false where `start` has no vector; NULL: it has all */
    bool frozen;           /* rows of words stay as they are; those of n-grams are trained */
    bool keep_order;       /* texts in their own order in each epoch; else shuffled */
    int64_t group;         /* texts whose rows are averaged at once; 0: chosen from n */
} graft_averaged_options;

/** A trained classifier. Rows of both matrices are `stride` floats apart, aligned to 64 bytes; what is beyond
 * `width` is zero. */
typedef struct graft_averaged {
    int width, stride, word_ngrams;
    int64_t n_words, bucket, n_classes; /* bucket 0: no n-grams */
    float *rows;                        /* [n_words + bucket, stride] */
    float *head;                        /* [n_classes, stride]; no bias, as in fastText */
    double *loss, *accuracy;            /* [epochs]: means over an epoch, each text before its own update */
    int64_t n_rows;                     /* averaged in all epochs: words and n-grams */
    double seconds;
} graft_averaged;

/** Trains on labels [texts.n] in [0, n_classes); arrays of *out live in the arena. Texts without a known word
 * teach nothing. The same bits for the same options and texts on any number of threads. EUSAGE: an option
 * that is not possible; EDATA: a label out of range, no text with a known word, or a loss that is no finite
 * number, with what to do; EINTERRUPTED. */
int graft_averaged_fit(graft_averaged *out, graft_arena *arena, const graft_env *env,
                       const graft_texts *texts, const int32_t *labels, const graft_averaged_options *options,
                       graft_err *err);

/** Logits [texts.n, n_classes] of a trained classifier, for graft_metrics_compute; zero for a text without a
 * known word. On env's threads. */
int graft_averaged_logits(float *logits, const graft_averaged *m, const graft_env *env,
                          const graft_texts *texts, graft_err *err);

#endif
