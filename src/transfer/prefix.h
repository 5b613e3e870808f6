/* The frozen prefix as a program, and its results as rows: what crosses the boundary, all values of a sample
 * one after the other, float32. A value of tokens takes as many places as the sample has tokens. Private to
 * transfer/. */
#ifndef GRAFT_TRANSFER_PREFIX_H
#define GRAFT_TRANSFER_PREFIX_H

#include "transfer/transfer.h"

typedef struct graft_boundary {
    const char *name;  /* "boundary.0" ...: output of the prefix, input of the suffix */
    graft_shape shape; /* its first dim is open */
    size_t count;      /* floats a sample, or a token */
    bool by_token;
} graft_boundary;

typedef struct graft_prefix {
    graft_arena *arena;
    const graft_env *env;
    graft_graph *graph;     /* what the program computes */
    graft_state *state;     /* NULL until there is a program */
    graft_program *program; /* NULL until a row is computed */
    int64_t batch, tokens;  /* the program always runs with this many rows, so that a row's bits depend on it
                               alone; tokens 0: of pictures */
    size_t n_values;
    graft_boundary *values;
    bool by_token;   /* one of them is: rows are of different sizes */
    graft_hash hash; /* structure and weights of the prefix */
    size_t memory;   /* bytes planned */
} graft_prefix;

/** The parts of a marked graph. Without a frozen node *prefix is NULL and *suffix the whole graph, and so
 * where pictures are read beside what is frozen: rows stand in their place, while texts keep their tokens.
 * The suffix lives in the arena; it reads boundary values, and "spans" where it pools or mixes tokens.
 * `batch` is how many samples the prefix runs at once, 0: as many as in all runs, so that rows are the same;
 * `longest` the most tokens of a text, 0 for pictures. The program is made when a row is asked for: env,
 * graph and what is frozen in it stay as they are while the prefix lives. */
int graft_prefix_split(graft_prefix **prefix, graft_graph **suffix, graft_arena *arena, const graft_env *env,
                       const graft_graph *graph, graft_precision dtype, int64_t batch, int64_t longest,
                       graft_err *err);
/** The part of a graph that computes `values` [n], all of it frozen: a row holds them one after the other.
 * Which values they are is part of the hash. */
int graft_prefix_of_values(graft_prefix **out, const graft_env *env, const graft_graph *graph,
                           const graft_value *values, size_t n, graft_precision dtype, int64_t longest,
                           graft_err *err);
/** Whether the frozen prefix of a marked graph does enough of the work to be kept: not so where adapters
 * begin at the first layer, and what is frozen before them is four times as large as it is dear. */
bool graft_prefix_pays(const graft_graph *graph, graft_arena *arena);
/** The whole graph as the suffix of no prefix. */
int graft_prefix_none(graft_graph **suffix, graft_arena *arena, const graft_graph *graph, graft_err *err);
void graft_prefix_free(graft_prefix *p); /* NULL allowed */
/** Floats of a row of a sample of so many tokens. */
size_t graft_prefix_row(const graft_prefix *p, int64_t tokens);
/** Rows of all samples of a batch, into rows[i] each. */
int graft_prefix_run(graft_prefix *p, const graft_batch *b, float *const *rows, graft_err *err);

/** The tensors that a suffix reads in place of a batch's own inputs, filled from rows. */
typedef struct graft_row_tensors {
    const graft_prefix *prefix;
    graft_tensor *inputs, *token_inputs; /* of samples; of tokens */
    size_t n_inputs, n_token_inputs;
    float *values; /* what they point into */
    size_t room;
} graft_row_tensors;

int graft_row_tensors_init(graft_row_tensors *t, const graft_prefix *p, graft_err *err);
void graft_row_tensors_done(graft_row_tensors *t);
/** Puts rows[i], of the samples of *b, in place of b's inputs. `b` has spans where rows are by token. */
int graft_row_tensors_put(graft_row_tensors *t, graft_batch *b, const float *const *rows, graft_err *err);

/** Sees every sample that is not yet seen and settles the data, as graft_data_check does; what pictures look
 * like is taken from the bottleneck cache and kept there. The contents have to be hashed. seen.c */
int graft_seen_check(const graft_env *env, graft_data *d, graft_err *err);

/** Rows of all samples of some data, filled once: from the cache where it has them, else computed. */
typedef struct graft_features graft_features;

typedef struct graft_features_options {
    graft_precision dtype;
    int64_t variants; /* augmented variants of the train part beside the plain rows; 0: none */
    uint64_t seed;    /* of the variants */
    bool use_cache;
    bool check;             /* the plain pass sees every sample, then settles the data; where that leaves
                               samples out, it comes first, and these have no rows */
    bool partial;           /* with `samples`: nothing but these is read, and the data are not settled */
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

/** Batches over stored rows. `features`, `data`, `transform` and `prefix` have to outlive it. */
int graft_row_batches_open(graft_batches *out, const graft_features *features, graft_data *data,
                           const graft_transform *transform, const graft_prefix *prefix,
                           const graft_row_batches_options *options, graft_err *err);
/** Batches of another source with the prefix run over them; takes `inner` over. */
int graft_prefix_batches_open(graft_batches *out, graft_batches *inner, graft_prefix *prefix, graft_err *err);

/** How a model's inputs are made of samples; `augment` (NULL: none) is of pictures. */
int graft_transform_of(graft_transform *out, const graft_model *m, const graft_augment *augment,
                       graft_err *err);
/** Of everything that decides the inputs of a sample, augmentation apart. */
graft_hash graft_transform_hash(const graft_transform *t);
/** Tokens of the longest text that a model is given; 0 of pictures. */
int64_t graft_model_longest(const graft_model *m);

#endif
