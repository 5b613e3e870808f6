/* The inside of graft_data, for the files of this folder. */
#ifndef GRAFT_DATA_IMPL_H
#define GRAFT_DATA_IMPL_H

#include "data/reader.h"
#include <pthread.h>

struct graft_data {
    graft_arena *arena;
    const graft_env *env;
    char *path, *description;
    graft_sample *samples;
    int32_t *source; /* [n] index into pixels, -1: a file */
    int64_t n;
    graft_modality modality;
    graft_task task;
    int64_t *text_of;    /* [n] where texts are read in windows: what is said of sample i's text below
                            stands at text_of[i] where [n] is said; NULL: at i. graft_text_index */
    graft_text *texts;   /* [n], of texts */
    graft_hash *folded;  /* of each sample of texts: its content without case and blanks, once hashed */
    int64_t *first_word; /* [n + 1], of tagging: where in these a sample's words begin */
    const char **words;
    size_t *word_sizes;
    int32_t *tags;
    float *values;        /* [n], of regression; NaN: none */
    int64_t *first_class; /* [n + 1], of multi-label: where in this a sample's classes begin */
    int32_t *class_sets;
    bool *is_labelled;                /* [n], of multi-label and tagging */
    struct graft_token_store *tokens; /* what text loaders made, the last one first */
    graft_pixels *pixels;
    size_t n_pixels;
    char **classes;
    int32_t n_classes;
    bool has_labels;
    bool part_given[GRAFT_N_PARTS];
    double validation, test, max_bad;
    int64_t per_class;
    uint64_t seed;
    bool strict;
    int64_t *members[GRAFT_N_PARTS + 1]; /* by part, then all; each has room for n */
    int64_t n_members[GRAFT_N_PARTS + 1];
    graft_duplicates duplicates;
    graft_hash fingerprint;
    bool settled;
    pthread_mutex_t lock; /* of the arena and n_bad while threads see samples */
    int64_t n_bad;
};

/** Where the texts, words, numbers and sets of sample i stand. */
static inline int64_t graft_text_index(const graft_data *d, int64_t i) {
    return d->text_of ? d->text_of[i] : i;
}

/** "pictures", "texts" or "sentences", for messages. */
const char *graft_data_noun(const graft_data *d);
/** Does sample i have an answer to the task? */
bool graft_data_is_labelled(const graft_data *d, int64_t i);
/** Class by which sample i is split: its own, 0 for other tasks. */
int32_t graft_data_stratum(const graft_data *d, int64_t i);
/** Hash of sample i's answer, whatever the order of the classes. */
graft_hash graft_data_answer(const graft_data *d, int64_t i);

/** A class's name somewhere in the data. */
typedef struct graft_mention {
    const char *text;
    int64_t sample;
    int32_t index; /* comes out: the class, -1 for a name that a fixed order lacks */
} graft_mention;
/** The classes of the data from all mentions, and the class of each mention. */
int graft_classes_resolve(graft_data *d, bool labels_are_numbers, const graft_data_options *o,
                          graft_mention *m, size_t n_mentions, graft_err *err);
/** What the samples are labelled with, for the data's task, from the listing's label texts and tags. */
int graft_answers_assign(graft_data *d, const graft_listing *l, const graft_data_options *o, graft_err *err);
/** Takes texts and words over from the listing. */
int graft_texts_take(graft_data *d, const graft_listing *l, graft_err *err);
/** Content of text sample i into its `content`, and without case and blanks into d->folded. */
int graft_texts_hash(graft_data *d, int64_t i, graft_raw *room, graft_err *err);
/** Group numbers from the listing's group texts, or from the pattern. */
int graft_groups_assign(graft_data *d, const graft_listing *l, const graft_data_options *o, graft_err *err);
/** Lists who is in which part. */
void graft_members_rebuild(graft_data *d);

/** What one thread needs to see samples. Zero-initialised; freed by done. */
typedef struct graft_eye {
    graft_raw raw;
    graft_image_scratch *scratch;
} graft_eye;
void graft_eye_done(graft_eye *e);
/** Reads sample i and notes its content; when `decode`, decodes it too and notes size and likeness. The
 * picture's own faults become a bad sample and 0 is returned; raw then is empty (size 0, no pixels). Errors:
 * ENOMEM, and any fault when strict. */
int graft_data_see(graft_data *d, int64_t i, bool decode, graft_eye *eye, graft_err *err);
/** Notes that sample i is bad, because of `why`. Returns EDATA when strict or when too many are bad by now.
 */
int graft_data_note_bad(graft_data *d, int64_t i, const graft_err *why, graft_err *err);
/** How many samples may be bad. */
int64_t graft_data_bad_allowed(const graft_data *d);
/** Whether more are bad by now than may be. */
bool graft_data_is_too_bad(graft_data *d);
/** EDATA, naming one, when it is so. No thread may be seeing samples meanwhile. */
int graft_data_judge_so_far(graft_data *d, graft_err *err);

/** Samples of a batch of a loader of n samples, and those samples, in the arena. EDATA when there are none.
 */
int64_t graft_loader_batch(const graft_loader_options *o, int64_t n);
int graft_loader_members(int64_t **members, int64_t *n, graft_arena *arena, const graft_data *d,
                         const graft_loader_options *o, graft_err *err);
int graft_text_loader_open(graft_batches *out, graft_data *d, const graft_transform *transform,
                           const graft_loader_options *options, graft_err *err);
/** Bytes of a batch of texts as long as they may be. */
uint64_t graft_text_loader_bytes(int64_t batch, const graft_transform *transform);

/** The tokens of one sample; they live as long as the data. */
typedef struct graft_token_run {
    const int32_t *ids;   /* [n]; NULL: not made yet */
    const int32_t *words; /* [n] of tagging: the word that begins here, -1: none. Else NULL */
    const uint8_t *types; /* [n] of a pair's texts; NULL: all 0 */
    int32_t n;
    bool is_cut;
} graft_token_run;

/** Encodes sample i's text, its words or its pair: window 0, and how many there are. *encoded (may be NULL):
 * the text that `e` holds already, -1 for none, which then is not encoded anew; what it holds comes out.
 * *is_cut (may be NULL): whether bytes were left away that no model reads. */
int graft_text_encode(graft_encoding *e, const graft_data *d, int64_t i, const graft_text_transform *t,
                      int64_t *encoded, bool *is_cut, graft_err *err);

/** Makes the tokens of `samples` [n] that `d` does not have for this transform, on `threads` threads, and
 * says how many texts were cut. *runs is [n_samples of the data]. `check`: samples are seen by it, and one
 * that no tokens can be made of is noted as bad instead of being the error. */
int graft_tokens_make(const graft_token_run **runs, graft_data *d, const graft_text_transform *t,
                      const int64_t *samples, int64_t n, bool check, int threads, graft_err *err);

/** How a picture looks; false when it is too small or too plain to be told from others by it. */
bool graft_likeness_of(graft_likeness *out, const graft_image *image);
bool graft_likeness_same(const graft_likeness *a, const graft_likeness *b);

/** Sets of samples that belong together: set[i] is the smallest sample of i's set. */
int graft_duplicate_sets(const graft_data *d, int64_t *set, bool with_groups, graft_err *err);
/** Fills d->duplicates: the pairs across parts that the data gave. */
int graft_duplicates_across(graft_data *d, graft_err *err);

/** Moves a fraction of the train part to `part`: by class, whole sets only. */
int graft_split_make(graft_data *d, graft_part part, double fraction, graft_err *err);
/** Moves all training samples of a class but d->per_class to the spare part. */
int graft_split_limit(graft_data *d, graft_err *err);

#endif
