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
    graft_pixels *pixels;
    size_t n_pixels;
    char **classes;
    int32_t n_classes;
    bool has_labels;
    bool part_given[GRAFT_N_PARTS];
    double validation, max_bad;
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

/** Class names and labels of all samples from the listing's label texts. */
int graft_classes_assign(graft_data *d, const graft_listing *l, const graft_data_options *o, graft_err *err);
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

/** How a picture looks; false when it is too small or too plain to be told from others by it. */
bool graft_likeness_of(graft_likeness *out, const graft_image *image);
bool graft_likeness_same(const graft_likeness *a, const graft_likeness *b);

/** Sets of samples that belong together: set[i] is the smallest sample of i's set. */
int graft_duplicate_sets(const graft_data *d, int64_t *set, bool with_groups, graft_err *err);
/** Fills d->duplicates: the pairs across parts that the data gave. */
int graft_duplicates_across(graft_data *d, graft_err *err);

/** Moves a fraction of the train part to val: by class, whole sets only. */
int graft_split_make(graft_data *d, graft_err *err);

#endif
