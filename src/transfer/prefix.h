/* The frozen prefix as a program, and its results as rows: what crosses the boundary, all values of a sample
 * one after the other, float32. Private to transfer/. */
#ifndef GRAFT_TRANSFER_PREFIX_H
#define GRAFT_TRANSFER_PREFIX_H

#include "transfer/transfer.h"

typedef struct graft_prefix {
    graft_arena *arena;
    graft_state *state;
    graft_program *program;
    int64_t batch; /* the program always runs with this many rows, so that a row's bits depend on it alone */
    size_t n_values;     /* boundary values */
    const char **names;  /* "boundary.0" ...: outputs of the prefix, inputs of the suffix */
    graft_shape *shapes; /* with GRAFT_DIM_BATCH first */
    size_t *counts;      /* floats a sample */
    size_t row_count;    /* floats a sample, all values */
    graft_hash hash;     /* structure and weights of the prefix */
    size_t memory;       /* bytes planned */
} graft_prefix;

/** The parts of a marked graph. Without a frozen node *prefix is NULL and *suffix the whole graph. The suffix
 * lives in the arena. */
int graft_prefix_split(graft_prefix **prefix, graft_graph **suffix, graft_arena *arena, const graft_env *env,
                       const graft_graph *graph, graft_dtype dtype, int64_t batch, graft_err *err);
void graft_prefix_free(graft_prefix *p); /* NULL allowed */
/** pixels [n, ...] as the graph's one input -> rows [n, row_count], any n. */
int graft_prefix_run(graft_prefix *p, const float *pixels, int64_t n, float *rows, graft_err *err);

/** Rows of all samples of some data, filled once: from the cache where it has them, else computed. */
typedef struct graft_features graft_features;

typedef struct graft_features_options {
    graft_dtype dtype;
    int64_t variants; /* augmented variants of the train part beside the plain rows; 0: none */
    uint64_t seed;    /* of the variants */
    bool use_cache;
    bool check;             /* the plain pass sees every sample, then settles the data */
    const int64_t *samples; /* [n_samples] the samples whose plain rows are wanted; NULL: all */
    int64_t n_samples;
} graft_features_options;

int graft_features_new(graft_features **out, const graft_env *env, graft_data *data,
                       const graft_transform *transform, graft_prefix *prefix,
                       const graft_features_options *options, graft_err *err);
void graft_features_free(graft_features *f); /* NULL allowed */
/** Row of a sample: variant -1 the plain one, else 0 .. variants - 1. NULL when the sample is bad. */
const float *graft_features_row(const graft_features *f, int64_t sample, int64_t variant);
/** Rows that the cache already held, and all. */
void graft_features_counts(const graft_features *f, int64_t *cached, int64_t *all);

typedef struct graft_row_batches_options {
    graft_part part;
    int64_t batch;
    graft_order order;
    uint64_t seed;
    int64_t variants; /* 0: plain rows; else each epoch draws one of the variants a sample */
} graft_row_batches_options;

/** Batches over stored rows. `features`, `data` and `prefix` have to outlive it. */
int graft_row_batches_open(graft_batches *out, const graft_features *features, const graft_data *data,
                           const graft_prefix *prefix, const graft_row_batches_options *options,
                           graft_err *err);
/** Batches of another source with the prefix run over their pictures; takes `inner` over. */
int graft_prefix_batches_open(graft_batches *out, graft_batches *inner, graft_prefix *prefix, graft_err *err);

#endif
