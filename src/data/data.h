/* The door of data/: samples, their split, and the batches made of them.
 *
 * graft_data_open recognises what lies at a path (class folders, a table, arrays, pictures, lines of text)
 * and lists its samples; nothing is decoded yet. A sample is a picture, a text (or a pair of them), or a
 * sentence of words; the model's modality decides what is looked for. Every sample then has to be seen once
 * (read, decoded, hashed): graft_data_check does that, or a loader with `check` set does it while its caller
 * fills a cache. graft_data_settle ends that pass: it counts the bad ones, makes the validation part where
 * the data have none, and reports duplicates and imbalance.
 *
 *     open → check (or a checking loader, then settle) → members, loader, read → close */
#ifndef GRAFT_DATA_H
#define GRAFT_DATA_H

#include "base/base.h"
#include "data/batches.h"
#include "data/image.h"
#include "data/transform.h"
#include "tensor/tensor.h"

/* ---- Samples ---- */

typedef enum graft_part {
    GRAFT_TRAIN,
    GRAFT_VAL,
    GRAFT_TEST,
    GRAFT_SPARE, /* labelled, but left out of the training by `per_class` */
    GRAFT_N_PARTS,
    GRAFT_ALL = GRAFT_N_PARTS
} graft_part;

/** "train", "val", "test", "spare", "all". */
const char *graft_part_name(graft_part part);

typedef enum graft_sample_state { GRAFT_UNSEEN, GRAFT_SEEN, GRAFT_BAD } graft_sample_state;

/** What a picture looks like, for finding near-duplicates; the same for the same content, wherever it is
 * computed. */
typedef struct graft_likeness {
    uint64_t bits;     /* difference hash of the grey picture shrunk to 9 x 8 */
    uint8_t grey[256]; /* the grey picture shrunk to 16 x 16: equal bits are confirmed by its correlation */
} graft_likeness;

typedef struct graft_sample {
    const char *path; /* the picture's or text's file, or the file that it is a row or line of; NULL: given as
                         text */
    const char *origin; /* "photos/a.jpg", "table.csv, line 7", "images.npy, row 3": for messages */
    int64_t row;        /* row of the array, or line of the text file; -1: a file of its own */
    int64_t group;      /* samples of one group stay on one side of a split; -1: a group of its own */
    int32_t label;      /* class index; -1: none. Answers to other tasks: see Texts below */
    graft_part part;    /* given by the data, or made by graft_data_settle */
    graft_sample_state state;
    const char *reason; /* why it is bad, else NULL */
    graft_hash content; /* of the bytes, the row's values or the texts; known once seen or hashed */
    const graft_likeness
        *likeness;         /* NULL until seen, for texts, and for pictures too small or plain to tell apart */
    int32_t width, height; /* of the picture, upright; 0 until seen, and for texts */
    int32_t window; /* of a text that graft_data_window cut: which window, from 0; they follow one another */
} graft_sample;

/* ---- Opening ---- */

typedef enum graft_label_use {
    GRAFT_LABELS_AS_FOUND, /* labelled where the data say so */
    GRAFT_LABELS_NEEDED,   /* EDATA when there are none */
    GRAFT_LABELS_IGNORED   /* every picture below a folder, in order of path; label -1 (predict, embed) */
} graft_label_use;

typedef struct graft_data_options {
    graft_modality modality; /* what the model reads */
    graft_task task;    /* what its head answers; data of tagged words are GRAFT_TASK_TAGGING by themselves,
                           and unlabelled texts are split at blanks into words where that is asked for */
    const char *format; /* a reader's name; NULL: recognised */
    const char *input_column; /* of a table: its name, or its number from 1; NULL: guessed, and said */
    const char *pair_column;  /* of a table: the second text of a pair; NULL: guessed with the first */
    const char *label_column;
    char label_separator;     /* multi-label: between the classes of a cell; 0: the first of '|', ';' and ','
                                 that is found, and said */
    const char *split_column; /* NULL: a column named split, part or subset whose values are all part names */
    const char *group_column; /* of a table; NULL: none */
    const char *group_pattern; /* POSIX extended regex on the path below the data's root; its first capture is
                                  the group, else the whole match; no match: a group of its own. NULL: none */
    graft_label_use labels;
    const char *const *class_names; /* fixed order, from a model; NULL: from the data */
    int32_t n_class_names;
    const char *labels_file;  /* fixed order, one name a line; NULL: none */
    bool drop_unknown_labels; /* with a fixed order: leave out (and list) samples of other classes, not EDATA
                               */
    double validation;        /* fraction made into the val part when there is none; 0: 0.2; negative: none */
    double test;       /* fraction made into the test part when there is none, the same for every seed; 0:
                          none */
    int64_t per_class; /* training samples of a class that are used, the made validation part's among
                          them: fewer are a subset of more; tasks without one class a sample: of all. 0:
                          every one */
    uint64_t seed;     /* of the split */
    double max_bad;    /* fraction of samples that may be bad; 0: 0.01; negative: none at all */
    bool strict;       /* the first bad sample is the error */
} graft_data_options;
#define GRAFT_DATA_OPTIONS_INIT                                                                              \
    { 0 }

/** Labelled or plain samples: what was found, who belongs to what. Constant after graft_data_settle. */
typedef struct graft_data graft_data;

/** Lists the samples at `path` and says through env's log what the data were recognised as. Reads tables and
 * array files, decodes no picture. `env` has to outlive *out. Errors: EDATA (empty, one class where labels
 * are needed, unknown label, no number where one is needed), EFORMAT (with line or byte), EIO, EUSAGE (no
 * such column), ENOMEM. */
int graft_data_open(graft_data **out, const graft_env *env, const char *path,
                    const graft_data_options *options, graft_err *err);
/** The same for several inputs, in their order, all unlabelled: pictures, folders of them, tables, arrays; or
 * text files (a line a text), folders of them (a file a text), tables. */
int graft_data_open_inputs(graft_data **out, const graft_env *env, const char *const *paths, size_t n_paths,
                           const graft_data_options *options, graft_err *err);
/** Unlabelled texts that the caller has, copied. One that is empty or not UTF-8 is a bad sample. */
int graft_data_open_texts(graft_data **out, const graft_env *env, const char *const *texts, size_t n_texts,
                          const graft_data_options *options, graft_err *err);
void graft_data_close(graft_data *d); /* NULL allowed */

/** What the data were recognised as, one sentence. */
const char *graft_data_description(const graft_data *d);
/** The path that was opened. */
const char *graft_data_path(const graft_data *d);
graft_modality graft_data_modality(const graft_data *d);
/** As the options say, or GRAFT_TASK_TAGGING where the data are tagged words. */
graft_task graft_data_task(const graft_data *d);
int64_t graft_data_n_samples(const graft_data *d);
const graft_sample *graft_data_sample(const graft_data *d, int64_t i);
bool graft_data_has_labels(const graft_data *d);
/** 0 when unlabelled, and for regression. */
int32_t graft_data_n_classes(const graft_data *d);
const char *graft_data_class(const graft_data *d, int32_t label);
/** Samples of a part (or all), in their order; bad ones are left out, and unlabelled ones where others have
 * labels. Borrowed; NULL and 0 when there are none. Before graft_data_settle it is the parts that the data
 * gave. */
const int64_t *graft_data_members(const graft_data *d, graft_part part, int64_t *n);
/** Members of a part that have this class; for tagging, their words that have it. */
int64_t graft_data_count(const graft_data *d, graft_part part, int32_t label);
int64_t graft_data_n_bad(const graft_data *d);
/** Hash of all contents and labels, independent of order and of where the data lie; after settle. */
graft_hash graft_data_fingerprint(const graft_data *d);
/** Inverse class frequencies of a part, scaled to a mean of 1 over its samples (n / (classes * count)), 0 for
 * a class without samples; `weights` has n_classes floats. For tagging n and count are of words. */
void graft_data_class_weights(const graft_data *d, graft_part part, float *weights);

/* ---- Texts ---- */

/** One text or a pair, UTF-8, borrowed from the data; not ended by a NUL. */
typedef struct graft_text {
    const char *text;
    size_t size;
    const char *pair; /* NULL: there is none */
    size_t pair_size;
} graft_text;

/** The words of one sentence, borrowed from the data. */
typedef struct graft_words {
    const char *const *words; /* [n], not ended by NULs */
    const size_t *sizes;      /* [n] bytes */
    const int32_t *tags;      /* [n] class indices, -1: none */
    size_t n;
} graft_words;

/** Cuts texts of more than t->max_length tokens into windows that share t->stride tokens with their
 * neighbours: each becomes a sample, in the place of the text, with its answer and part, and the log says how
 * many. Nothing of `d` may have been read yet. stride 0: nothing is done. Windows of both texts of a pair
 * are not possible: these are cut. Errors: ENOMEM. */
int graft_data_window(graft_data *d, const graft_text_transform *t, graft_err *err);

/** Text of sample i; size 0 for a sentence of words and for a bad sample. */
void graft_data_text(const graft_data *d, int64_t i, graft_text *out);
/** Words of sample i; n 0 unless the task is tagging. */
void graft_data_words(const graft_data *d, int64_t i, graft_words *out);
/** Regression: the number that sample i is labelled with; NaN: none. */
float graft_data_value(const graft_data *d, int64_t i);
/** Does sample i belong to the class? For tagging: does one of its words? */
bool graft_data_has_class(const graft_data *d, int64_t i, int32_t label);
/** Classes of sample i in rising order, without repeats, for multi-label data; their number comes out through
 * n. */
const int32_t *graft_data_classes(const graft_data *d, int64_t i, size_t *n);
/** Tokens that the last text loader makes of sample i, special ones counted, after cutting; -1 before one has
 * seen it. */
int64_t graft_data_tokens(const graft_data *d, int64_t i);

/* ---- Seeing every sample once ---- */

/** Reads and decodes every sample not yet seen, on all threads, with progress; then settles. Errors: EDATA
 * when more are bad than `max_bad` allows (or any, when strict), naming the first; EINTERRUPTED. */
int graft_data_check(graft_data *d, graft_err *err);
/** Only hashes every content (one read, no decode): for cache keys before anything is decoded. An unreadable
 * file becomes a bad sample. */
int graft_data_hash(graft_data *d, graft_err *err);
/** The same for some of them: samples [n]. */
int graft_data_hash_some(graft_data *d, const int64_t *samples, int64_t n, graft_err *err);
/** Notes what a caller knows of a sample from elsewhere (a cache that holds its content): it counts as seen.
 *  likeness NULL: it has none; else copied. */
int graft_data_note_seen(graft_data *d, int64_t i, const graft_likeness *likeness, graft_err *err);
/** Ends the pass: bad samples listed and counted against max_bad, parts made or judged, duplicates across
 * parts and imbalance reported through env's log. Idempotent. Unseen samples are taken to be good. */
int graft_data_settle(graft_data *d, graft_err *err);
/** Will settling leave samples out of the training part, which has more of a class than `per_class`? */
bool graft_data_leaves_out(const graft_data *d);

/** Content or near content on both sides of a split that the data gave; after settle. Near are pictures that
 * look the same, and texts that differ only in case (of ASCII letters) and blanks. */
typedef struct graft_duplicates {
    int64_t n_same;            /* val and test samples whose content is also in train */
    int64_t n_near;            /* further ones that are nearly the same */
    const int64_t (*pairs)[2]; /* [n_same + n_near] {val or test sample, its twin in train, else of a test
                                                           sample in val}; same content first */
} graft_duplicates;
const graft_duplicates *graft_data_duplicates(const graft_data *d);

/* ---- One sample ---- */

/** One sample as it is stored: an encoded file, the pixels of an array's row, or a text (not its pair).
 * Zero-initialised by the caller, reused from sample to sample (it keeps its buffer), freed by
 * graft_raw_done. */
typedef struct graft_raw {
    const unsigned char *bytes; /* encoded file or text; NULL when pixels are given */
    size_t size;
    const uint8_t *pixels; /* [height, width, channels], 0..255 */
    int width, height, channels;
    unsigned char *buffer;
    size_t buffer_size;
} graft_raw;

/** Reads sample i. Safe from many threads, each with a graft_raw of its own. Errors: EIO and EDATA with the
 *  sample's origin, ENOMEM. */
int graft_data_read(const graft_data *d, int64_t i, graft_raw *raw, graft_err *err);
void graft_raw_done(graft_raw *raw);
/** The content hash that a sample read as `raw` has. */
graft_hash graft_raw_content(const graft_raw *raw);

/** What a thumbnail is. */
typedef struct graft_thumbnail {
    int width, height;
    const char *type; /* "image/png" of small pictures, else "image/jpeg" */
} graft_thumbnail;

/** Appends the picture of sample i to `out`, shrunk to at most `side` pixels a side and encoded anew, so that
 * nothing of its file but pixels is in it. Errors: as graft_data_read; EFORMAT; ENOMEM. */
int graft_data_thumbnail(const graft_data *d, int64_t i, int side, graft_buf *out, graft_thumbnail *info,
                         graft_err *err);

/* ---- Loader ---- */

typedef enum graft_order {
    GRAFT_IN_ORDER, /* as members are listed */
    GRAFT_SHUFFLED, /* a permutation, function of (seed, epoch) */
    GRAFT_BALANCED  /* as many draws as members, every class equally often, no sample of a class twice before
                       all  of it were drawn once */
} graft_order;

/** The order of an epoch: n indices out of members [n] into `out`, a function of (seed, epoch) and the
 * members. Errors: ENOMEM. */
int graft_sampler_epoch(int64_t *out, const graft_data *d, const int64_t *members, int64_t n,
                        graft_order order, uint64_t seed, int64_t epoch, graft_err *err);

typedef struct graft_loader_options {
    graft_part part;
    const int64_t *samples; /* [n_samples] instead of the part's members; NULL: the part. Copied. */
    int64_t n_samples;
    int64_t batch; /* 0: 32 */
    graft_order order;
    bool augment; /* of pictures: the transform's random part, a function of (seed, epoch, sample) */
    bool mix; /* of pictures: the policy's mixup or cutmix, a function of (seed, epoch, batch): batches carry
                 targets */
    uint64_t seed;
    int threads;  /* 0: env's */
    int prefetch; /* batches decoded ahead, 0: 2 */
    bool check; /* the pass that sees every sample: bad ones are noted and left out of their batch (n shrinks,
                   0 is possible), EDATA once they are more than max_bad allows */
} graft_loader_options;
#define GRAFT_LOADER_OPTIONS_INIT                                                                            \
    { 0 }

/** Batches of pictures, "pixel_values" [n, C, H, W] as `transform` makes them, decoded ahead by threads; or
 * of texts, as `transform->text` makes tokens of them. Texts that `d` has no tokens of yet are tokenized when
 * the loader is opened, on all threads, and the log says how many were cut; the tokens stay with `d`, so that
 * epochs and further loaders cost nothing. `d` and `transform` have to outlive it. Errors of next: a sample
 * that fails now (a vanished file) is named: EIO, EFORMAT or EDATA; EINTERRUPTED when env was cancelled. */
int graft_loader_open(graft_batches *out, graft_data *d, const graft_transform *transform,
                      const graft_loader_options *options, graft_err *err);

/** Bytes of the batches that such a loader holds, for knowing a run's memory before it starts; decoding needs
 * a few pictures more a thread. */
uint64_t graft_loader_bytes(const graft_data *d, const graft_transform *transform,
                            const graft_loader_options *options);

#endif
