/* What a model's features say of a task before anything is trained: features at several boundaries out of one
 * forward pass, scores of them, and how near the data lie to what the model was trained on; from these the
 * accuracy that each plan should reach, and the plan to take. Private to transfer/.
 *
 *     taps → rows (bottleneck cache) → evidence (scores) → judgement → plan, ranking */
#ifndef GRAFT_TRANSFER_ADVISE_H
#define GRAFT_TRANSFER_ADVISE_H

#include "transfer/advise/scores.h"
#include "transfer/prefix.h"

/* ---- Taps: one row a sample that holds pooled values of several places. taps.c ---- */

enum { GRAFT_MOST_BOUNDARIES = 8 };

/** One place, and where its values lie in a row. */
typedef struct graft_tap {
    const char *plan; /* the plan whose frozen part ends there: "head", "top:1" */
    size_t first, width;
} graft_tap;

typedef struct graft_taps {
    graft_arena *arena;
    graft_transform transform;
    graft_prefix *prefix;
    graft_tap boundaries[GRAFT_MOST_BOUNDARIES];
    size_t n_boundaries;
    graft_tap input;  /* of pictures: the input, shrunk to at most 8 x 8; width 0: texts */
    graft_tap logits; /* what the model's own head says; width 0: it has none that was trained */
} graft_taps;

/** Plans' names parted by commas ("head,top:1"); NULL: head and the three stages below it. Feature maps are
 * averaged over their places, tokens over their text. With `source` the old head's answers are kept too.
 * EUSAGE: a plan that this model has not or that freezes nothing, more than GRAFT_MOST_BOUNDARIES. */
int graft_taps_open(graft_taps *out, const graft_env *env, const graft_model *m, const char *boundaries,
                    bool source, graft_precision dtype, graft_err *err);
void graft_taps_close(graft_taps *t);

/* ---- Evidence. evidence.c ---- */

typedef struct graft_boundary_evidence {
    const char *plan;
    int64_t width;
    graft_probe_result probe;
    double knn;     /* NaN: nothing could be asked */
    double *scores; /* as graft_transferabilities lists them; NaN: the model has no head of its own */
    double alike;   /* linear CKA with the boundary above; NaN: it is the first */
} graft_boundary_evidence;

/** How far the data lie from what the model was trained on, by its folder's reference. */
typedef struct graft_likeness_evidence {
    bool known;     /* false: the folder has no reference, and the rest means nothing */
    double frechet; /* over the reference's total variance */
    double mmd, proxy_a;
} graft_likeness_evidence;

typedef struct graft_model_evidence {
    int64_t n_train, n_used; /* samples of the training part, and those judged by */
    int64_t n_classes, n_least,
        n_most;               /* classes with an example; examples of the rarest and the commonest */
    double per_class;         /* n_train / n_classes */
    graft_probe_result input; /* of a linear head on the input itself: pixels, words */
    graft_boundary_evidence boundaries[GRAFT_MOST_BOUNDARIES]; /* from the head down */
    size_t n_boundaries;
    size_t n_stages; /* below the head */
    graft_likeness_evidence likeness;
    double seconds; /* of the forward pass, of the samples that the cache had not */
    int64_t cached, all;
    bool is_scratch; /* the model has no weights */
    bool texts;
} graft_model_evidence;

typedef struct graft_evidence_options {
    const char *boundaries; /* as graft_taps_open has them */
    graft_precision dtype;
    int64_t most; /* samples looked at; 0: 1000 */
    bool use_cache, source;
    const char *model_path; /* where the reference lies */
} graft_evidence_options;

/** Sees every sample of `data` (as graft_data_check does), settles them and judges the training part; at most
 * `most` of it, or five a class, spread evenly over each class. *out's arrays in the arena. The data have
 * classes, one a sample. EDATA: too few to judge by. */
int graft_evidence_gather(graft_model_evidence *out, graft_arena *arena, const graft_env *env,
                          const graft_model *m, graft_data *data, const graft_evidence_options *options,
                          graft_err *err);
/** As JSON; the caller owns one reference, NULL: out of memory. */
json_t *graft_evidence_json(const graft_model_evidence *e);

/* ---- Reference: what the training data looked like to the model. reference.c ---- */

#define GRAFT_REFERENCE_FILE "graft_reference.safetensors"

/** Rows [n, width] of the reference of a model's folder; *n 0 when there is none, or none of this width. In
 * the arena. */
int graft_reference_read(const float **rows, int64_t *n, graft_arena *arena, const char *folder,
                         int64_t width, graft_err *err);
/** The distances of rows [n, width] to those of the reference. */
int graft_likeness_measure(graft_likeness_evidence *out, const float *rows, int64_t n, int64_t width,
                           const char *folder, graft_err *err);

/* ---- Judgement: pure functions of the evidence. judge.c ---- */

typedef struct graft_cell {
    bool small, similar;
    double known; /* how much of the task the head's features hold, 0 to 1 */
    char why[384];
} graft_cell;

/** The cell of the size x similarity table. */
graft_cell graft_cell_of(const graft_model_evidence *e);
/** Accuracy that a plan should reach: "head", "top:N", "full". */
double graft_expected_accuracy(const graft_model_evidence *e, const char *plan);
/** The plan to take among `plans` (n), cheapest first: the head alone where nothing more is expected to gain
 * half a standard error of the probe (half a point at least), else the first that is about the best. */
size_t graft_choose_plan(const graft_model_evidence *e, const char *const *plans, size_t n);
/** Pictures of which the features say hardly more than the pixels do: the layers have to learn them anew,
 * from where they stand. */
bool graft_data_are_foreign(const graft_model_evidence *e);
/** Transfer has nothing to give: no boundary holds more of the task than the input itself. */
bool graft_transfer_is_useless(const graft_model_evidence *e);

#endif
