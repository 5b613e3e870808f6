/* The door of learn/: a suffix graph with a loss becomes a training step, batches and a schedule make it a
 * run, and metrics say what it was worth. learn/ sees batches, never files of pictures and never the cache:
 * whoever makes the batches is data/'s or transfer/'s business.
 *
 *     suffix graph ─assemble─► step graph ─compile─► program ─trainer─► best weights, history, metrics */
#ifndef GRAFT_LEARN_H
#define GRAFT_LEARN_H

#include "backend/backend.h"
#include "data/data.h"
#include "learn/averaged.h"
#include "learn/calibrate.h"
#include "learn/gather.h"
#include "learn/metric_tasks.h"
#include "learn/statistics.h"

typedef struct graft_recipe graft_recipe;

/* ---- Rows: loss, optimiser, schedule, metric (each folder's list.h)
 * ------------------------------------------ */

typedef struct graft_loss {
    const char *name;
    const char *help;
    /** Adds the loss to a graph: logits (BATCH,K), target (BATCH,K), weight (BATCH,) -> scalar. */
    graft_value (*build)(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                         const graft_recipe *r);
    /** Class weights multiply the entries of the target, as PyTorch's CrossEntropyLoss has it; else the
     * sample. */
    bool weighs_target;
    /** One sample's loss on the host, for evaluation: logits and target of K values. NULL: it depends on
     * more.
     */
    double (*value)(const float *logits, const float *target, size_t k);
} graft_loss;

/** What of a parameter an optimiser has to know. */
typedef struct graft_param_group {
    double lr_scale;     /* times the schedule's rate */
    double weight_decay; /* 0 for norms, biases */
    double steps_before; /* updates that it had in earlier phases: Adam's bias correction counts them */
} graft_param_group;

typedef struct graft_optimiser {
    const char *name;
    const char *help;
    double default_lr, default_weight_decay;
    /** Adds the update of one parameter. `step` is the (1,) input that counts updates from 1. */
    void (*update)(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value step,
                   graft_value g_scale, const graft_param_group *group, const graft_recipe *recipe);
} graft_optimiser;

typedef struct graft_schedule {
    const char *name;
    const char *help;
    /** Factor of the base rate at update `step` (from 0) of `n_steps` without warm-up. */
    double (*factor)(double step, double n_steps);
    bool warms_up; /* rises by itself and takes no warm-up before it */
} graft_schedule;

/** What a further term of the loss is made of. */
typedef struct graft_term {
    const graft_recipe *recipe;
    graft_value logits, features; /* (N,K); what the classifier reads (N,D) */
    graft_value start_features;   /* the same of the pretrained model; GRAFT_NONE unless asked for */
    graft_value weight;           /* (N): 1 / the weights of the whole batch; 0: the row is padding */
} graft_term;

/** A term that is added to the loss times its strength. */
typedef struct graft_regulariser {
    const char *name;     /* its option */
    size_t strength;      /* where a graft_recipe has it, a double; 0 there: the term is left out */
    bool needs_start;     /* reads start_features */
    bool shapes_features; /* left out where the features are frozen, as in a phase of the head alone */
    /** Why it cannot be added, or NULL. May be NULL. */
    const char *(*refuse)(const graft_recipe *r, const graft_graph *suffix);
    /** Adds a scalar. An input "part" (1) is the share of the batch's samples that the step sees. */
    graft_value (*build)(graft_graph *g, const graft_term *at);
} graft_regulariser;

/** All rows, NULL-terminated. */
const graft_regulariser *const *graft_regularisers(void);
/** Its strength in a recipe. */
double graft_regulariser_strength(const graft_regulariser *row, const graft_recipe *r);

const graft_loss *graft_loss_find(const char *name);           /* NULL: none of that name */
const graft_optimiser *graft_optimiser_find(const char *name); /* NULL: none of that name */
const graft_schedule *graft_schedule_find(const char *name);   /* NULL: none of that name */
/** Names of all rows, NULL-terminated. */
const char *const *graft_loss_names(void);
const char *const *graft_optimiser_names(void);
const char *const *graft_schedule_names(void);

/* ---- Recipe: how one phase is trained
 * ------------------------------------------------------------------------- */

struct graft_recipe {
    const graft_loss *loss;
    const graft_optimiser *optimiser;
    const graft_schedule *schedule;
    double lr;                /* base rate, of a parameter with lr_scale 1 */
    double momentum;          /* SGD */
    bool nesterov;            /* SGD */
    double beta1, beta2, eps; /* Adam, AdamW */
    double warmup;            /* share of all updates in which the rate rises from 0, before the schedule */
    double clip_norm;         /* 0: none */
    double label_smoothing;   /* 0..1 */
    bool by_refinement; /* classes: the best epoch is that of the least log loss on the validation part once a
                           temperature is chosen for it, not the one of the highest score: it tells epochs
                           apart that a few answers cannot (Berta et al. 2025, "Rethinking early stopping:
                           refine, then calibrate") */
    const float *class_weights; /* [K] or NULL */
    double focal_gamma;         /* of the focal loss */
    const float *logit_adjust; /* [K] added to the logits in the loss alone (Menon et al. 2021: tau log prior,
                                  so that a rare class needs a larger logit), or NULL */
    int64_t epochs;
    int64_t epochs_before, updates_before; /* of earlier phases of the run: batches and dropout go on from
                                              there; the schedule begins anew */
    int64_t epochs_all;                    /* of all phases, to be told; 0: there is one */
    graft_task task;
    int64_t n_classes;              /* outputs: classes, tags, or 1 number */
    const char *const *class_names; /* tagging: [n_classes], entities are read from them; else may be NULL */
    int64_t tokens; /* texts: the most tokens of a batch, for knowing the memory; 0: these are no texts */
    int64_t batch;  /* effective batch: samples an update */
    int64_t micro_batch; /* samples a step of the program; divides or equals batch; the rest is accumulated */
    int segments;        /* recomputation of activations: 0 none, else number of segments */
    graft_precision dtype;
    uint64_t seed;      /* dropout */
    int64_t eval_every; /* epochs between evaluations; 0: 1 */
    int64_t early_stop; /* evaluations without improvement before stopping; 0: never */
    double ema; /* decay of the weights' exponential average, which is what is evaluated and kept; 0: none */
    double swa; /* share of the epochs, the last ones, whose weights are averaged and kept; 0: none */
    double r_drop, bss, delta; /* strengths of further terms (regulariser/); 0: none */
    double l2_sp;              /* alpha of alpha / 2 |w - start(w)|^2, a term of the loss; 0: none */
    /** The value that a parameter is drawn to, which outlives the run; NULL: to none. May itself be NULL. */
    const graft_tensor *(*start)(void *user, const char *param);
    /** Rate and decay of a parameter by its name. */
    graft_param_group (*group)(void *user, const char *param);
    void *user;
};

/** Rate at update `step` (from 0) of `n_steps`: base rate, schedule, warm-up. Where the last epochs are
 * averaged, the rate stays what it is when they begin: weights that hardly move have no average. */
double graft_recipe_rate(const graft_recipe *r, int64_t step, int64_t n_steps);
/** First of the epochs (from 0) that are averaged; `epochs` where none is. */
int64_t graft_recipe_first_averaged(const graft_recipe *r);
/** Decay of the exponential average at update `update` (from 0): min(ema, (1 + t) / (10 + t)), so that it is
 * young while the run is, and a short run is not judged by the weights it began with. */
double graft_recipe_ema(const graft_recipe *r, int64_t update);

/* ---- Assembly
 * -------------------------------------------------------------------------------------------------- */

/** Graphs of one phase. With accumulation `step` adds gradients to states "<param>/gradient" and `update`
 * applies and clears them; without, `step` does both and `update` is NULL. Inputs of `step` beside the
 * suffix's own: "target" (BATCH,K), "weight" (BATCH,), "lr" (1,), "step" (1,), and "seed" (2,) I32 where
 * there is dropout. Output "loss". */
typedef struct graft_step_graphs {
    graft_graph *step, *update;
} graft_step_graphs;

/** Batch norms marked trained are turned into training form, joined with their relu; then loss, gradient,
 * clipping, updates, recomputation and precision. `suffix` has output "logits" and trained marks. */
int graft_learn_assemble(graft_step_graphs *out, graft_arena *arena, const graft_graph *suffix,
                         const graft_recipe *r, graft_err *err);

/** Bytes a phase holds at its peak, from programs that are planned but not made: arenas (programs that run in
 * turn share one), weights, moments, statistics, the best epoch's copy. graft_training's peak_memory is the
 * same number after the run, unless the suffix shares its state with others. */
int graft_learn_memory(size_t *out, const graft_env *env, const graft_graph *suffix, const graft_recipe *r,
                       graft_err *err);
/** Chooses micro_batch and segments so that graft_learn_memory stays within `limit`, the cheapest way first;
 * the effective batch is unchanged. Where statistics of batch norms are trained, activations are computed
 * again before the batch is cut, and cutting it is said in env's log. No micro-batch is smaller than `least`.
 * EUSAGE when not even that many samples fit, naming what they need. */
int graft_learn_fit_memory(graft_recipe *r, const graft_env *env, const graft_graph *suffix, size_t limit,
                           int64_t least, graft_err *err);

/* ---- Metrics
 * ------------------------------------------------------------------------------------------------------ */

/** Above so many classes a confusion matrix says nothing and fills the memory. */
enum { GRAFT_MAX_CONFUSION = 2000 };

/** Everything a classifier's logits say about labelled samples. Arrays live in the arena given. */
typedef struct graft_metrics {
    int64_t n, n_classes;
    double accuracy, top5, log_loss, ece, macro_f1, balanced_accuracy;
    double *precision, *recall, *f1; /* [n_classes] */
    int64_t *support;                /* [n_classes] */
    int64_t
        *confusion; /* [n_classes, n_classes]: row true, column predicted; NULL above GRAFT_MAX_CONFUSION */
} graft_metrics;

/** logits [n, k], labels [n] in [0, k). ECE with 15 equal-width bins of confidence (Guo et al. 2017). Errors:
 *  EDATA when n is 0, a label is out of range or an output is not finite. */
int graft_metrics_compute(graft_metrics *out, graft_arena *arena, const float *logits, const int32_t *labels,
                          int64_t n, int64_t k, graft_err *err);
/** The same where class argmax_c (z_c - cuts_c) is said; NULL: none is cut. */
int graft_metrics_decide(graft_metrics *out, graft_arena *arena, const float *logits, const int32_t *labels,
                         int64_t n, int64_t k, const double *cuts, graft_err *err);
/** That class of logits z [k]. */
int64_t graft_decide(const float *z, int64_t k, const double *cuts);
/** As JSON: every metric at the top level; "classes" by name; "confusion" where there is one. The caller owns
 * one reference; NULL when out of memory. */
json_t *graft_metrics_json(const graft_metrics *m, const char *const *class_names);

/** By what one pass is judged. */
typedef struct graft_score {
    double score, loss; /* higher, lower is better */
    double refined;     /* log loss with a temperature of its own: lower; where the recipe goes by it */
} graft_score;

/** Whether a is better than b: the higher score, and among equal ones the lower loss; or the lower refined
 * loss alone. */
bool graft_score_is_better(const graft_score *a, const graft_score *b, bool by_refinement);

typedef struct graft_answers graft_answers;
/** "accuracy", "f1" of entities or of labels, "spearman". */
const char *graft_score_name(graft_task task);
/** `class_names` [k] are read for tagging only. EDATA when there is nothing to judge. */
int graft_answers_score(graft_score *out, const graft_answers *a, graft_task task,
                        const char *const *class_names, graft_err *err);
/** Every metric of the task at the top level, the score among them. The caller owns one reference. */
int graft_answers_json(json_t **out, const graft_answers *a, graft_task task, const char *const *class_names,
                       graft_err *err);

/* ---- Run log: one event a line
 * --------------------------------------------------------------------------------------- */

typedef struct graft_runlog graft_runlog;
/** Appends to `path`, after dropping a last line that a kill cut short. NULL path: events go nowhere. */
int graft_runlog_open(graft_runlog **out, const char *path, graft_err *err);
/** Drops every event past the first n: what a resumed run will write again. */
int graft_runlog_keep(graft_runlog *log, int64_t n, graft_err *err);
/** Writes {"event": name, ...fields}; takes over `fields`. */
int graft_runlog_write(graft_runlog *log, const char *event, json_t *fields, graft_err *err);
/** Writes the numbers of every "epoch" event to TensorBoard's event files in `folder` too. */
int graft_runlog_tensorboard(graft_runlog *log, const char *folder, graft_err *err);
int64_t graft_runlog_count(const graft_runlog *log);
void graft_runlog_close(graft_runlog *log);

/* ---- Shelf: named values on the host
 * ------------------------------------------------------------------------------- */

/** What one phase of a run hands to the next: parameters, moments, float32 by name. */
typedef struct graft_shelf graft_shelf;

int graft_shelf_new(graft_shelf **out, graft_err *err);
void graft_shelf_free(graft_shelf *s); /* NULL allowed */
/** Where the values of `name` lie, zero at first; the shape stays (ESHAPE). Until the shelf is freed. */
int graft_shelf_room(float **out, graft_shelf *s, const char *name, const graft_shape *shape, graft_err *err);
/** Copies the current value that the state has of `name`. */
int graft_shelf_take(graft_shelf *s, const graft_state *state, const char *name, graft_err *err);
/** NULL when there is none of that name. Until another name is added. */
const graft_tensor *graft_shelf_find(const graft_shelf *s, const char *name);
/** All, in the order of their adding. Likewise. */
size_t graft_shelf_items(const graft_shelf *s, const graft_tensor **out);

/* ---- Trainer
 * ----------------------------------------------------------------------------------------------------------
 */

typedef struct graft_epoch {
    int64_t epoch; /* from 1 */
    double seconds, lr, train_loss, train_accuracy;
    bool evaluated;
    double loss, score; /* on the validation part; graft_score_name says what the score is */
} graft_epoch;

typedef struct graft_training {
    graft_epoch *history; /* [n_epochs], in the arena given */
    int64_t n_epochs;
    int64_t best_epoch; /* from 1; 0: none was evaluated */
    graft_score best;
    int64_t n_steps; /* updates */
    double seconds;
    size_t peak_memory; /* bytes held: programs, the whole state, the best weights */
    bool resumed;
} graft_training;

/** What a run works with. All borrowed. */
typedef struct graft_trainer_io {
    const graft_env *env;
    const graft_graph *suffix; /* inputs named as the batches' inputs; output "logits"; trained marks */
    graft_state *state;        /* holds the best epoch's weights at the end */
    graft_batches *train;
    graft_batches *validation;  /* NULL: the last epoch is kept */
    const char *checkpoint_dir; /* NULL: none; else a resume point is kept there */
    graft_hash identity; /* of everything that decides the run: a checkpoint of another run is refused */
    /** At most one resume point in so many seconds, at any update; 0: a minute within an epoch, a second from
     * epoch to epoch, and never more than a twentieth of the time. */
    double checkpoint_seconds;
    graft_runlog *log;
    /** Of a run that is not taken up: the log keeps so many events and goes on with {"event": "phase"} of
     * these fields (NULL: none; borrowed), and its seconds count from here. */
    int64_t events_before;
    json_t *opening;
    double seconds_before;
    graft_shelf *last; /* NULL, or takes the trained parameters as the last update left them */
} graft_trainer_io;

/** Trains, evaluates, keeps the best (score, then loss), stops early where asked. A cancelled or killed
 * run is taken up from its checkpoint by the same call and ends with the same bits. EINTERRUPTED after a
 * resume point was written; EIO when the disk has no room for resume points (one that cannot be written later
 * is a warning); EDIVERGED at the first loss, gradient, weight or answer that is not finite, naming epoch,
 * batch and the layer where it began; the best weights so far stay in the state, and *out says of which
 * epoch. */
int graft_trainer_run(graft_training *out, graft_arena *arena, const graft_trainer_io *io,
                      const graft_recipe *recipe, graft_err *err);

/* ---- Looking for a rate ------------------------------------------------------------------------------------ */

/** From the lowest to the highest rate of a search. */
#define GRAFT_RATE_RANGE 1e6

typedef struct graft_rate_point {
    double rate, loss, smoothed; /* the batch's loss before the update at this rate */
} graft_rate_point;

typedef struct graft_rate_search {
    graft_rate_point *points; /* [n]; fewer than were asked for where the loss ran away */
    int64_t n;
    double steepest,
        minimum;      /* rates where the smoothed loss falls the most steeply, and where it is lowest */
    double suggested; /* the geometric mean of `steepest` and a tenth of `minimum` */
} graft_rate_search;

/** Rate range test (Smith 2017): up to n updates on training batches, from a thousandth of the recipe's rate
 * to a thousand times it, with weights and moments of their own: nothing of it stays. EDIVERGED when no rate
 * lowers the loss. Points in the arena. */
int graft_rate_find(graft_rate_search *out, graft_arena *arena, const graft_env *env,
                    const graft_graph *suffix, graft_batches *train, const graft_recipe *recipe, int64_t n,
                    graft_err *err);
/** {"suggested", "steepest", "minimum", "rates", "losses", "smoothed"}. The caller owns one reference. */
json_t *graft_rate_json(const graft_rate_search *r);
/** The smoothed loss over the rate in characters, as lines of the log. */
void graft_rate_plot(const graft_rate_search *r, const graft_env *env);

/** History as JSON, bit for bit; the caller owns one reference, NULL when out of memory. */
json_t *graft_history_json(const graft_training *t);
/** Appends what it holds to t->history, which has room for it. */
void graft_history_read(graft_training *t, const json_t *history);

/** Whether a run left a resume point in `checkpoint_dir`. */
bool graft_checkpoint_exists(const char *checkpoint_dir);
/** Removes the resume point, where there is one. */
int graft_checkpoint_remove(const char *checkpoint_dir, graft_err *err);

/** What a model answered to the samples of one pass, in the order of the batches, and the truth. The windows
 * of a text that follow each other are one answer: see gather.h. */
struct graft_answers {
    int64_t n, k;       /* rows: samples; tagging: the words that have a token */
    float *logits;      /* [n, k] */
    int32_t *labels;    /* [n] class, -1: none */
    int32_t *predicted; /* tagging: [n] the likeliest class, or the best path of a conditional random field */
    float *targets;     /* [n, k] of multi-label and regression; else of no meaning */
    int64_t n_samples;
    int64_t *samples;   /* [n_samples] indices into the data; of windows the first */
    int32_t *words;     /* tagging: [n_samples] rows of each sample; else of no meaning */
    const double *cuts; /* [k] subtracted from the logits before it is chosen what is said, of classes and of
                           multi-label; NULL: nothing */
};

/** Answers of one pass over `batches`. The graph has output "logits"; `state` supplies trained weights.
 * class_names [k] are read where the head is a conditional random field. Arrays in the arena. */
int graft_evaluate(graft_answers *out, graft_arena *arena, const graft_env *env, const graft_graph *graph,
                   graft_state *state, graft_batches *batches, graft_task task,
                   const char *const *class_names, graft_precision dtype, graft_err *err);

#endif
