/* What the files of the trainer share. Private to learn/. */
#ifndef GRAFT_LEARN_RUN_H
#define GRAFT_LEARN_RUN_H

#include "learn/learn.h"

enum { GRAFT_MAX_SHAPES = 32 };

/** Whether the graph's head is a conditional random field: its loss is of the whole text (graft_crf_loss),
 * its answer the best path. */
bool graft_learn_has_crf(const graft_graph *g);

/** Output of the program that updates: the factor of all gradients, where they are clipped. */
#define GRAFT_CLIP_SCALE "clip scale"

/** States of this ending hold gathered gradients: zero between updates. */
#define GRAFT_GRADIENT_ENDING "/gradient"

/** EUSAGE, naming the field, when a recipe cannot be followed. */
int graft_recipe_check(const graft_recipe *r, graft_err *err);

/** One graph as programs of several sizes, compiled when first asked for. */
typedef struct graft_shapes {
    const graft_graph *graph;
    graft_state *state;
    graft_program *programs[GRAFT_MAX_SHAPES];
    int64_t batch[GRAFT_MAX_SHAPES], tokens[GRAFT_MAX_SHAPES];
    size_t n;
} graft_shapes;

int graft_shapes_get(graft_program **out, graft_shapes *s, int64_t batch, int64_t tokens, graft_err *err);
/** The program for samples [first, first + n) of a batch, with its inputs written. Programs of texts have
 * room for `rows` samples, whatever n is, so that few serve all. */
int graft_shapes_feed(graft_program **out, graft_shapes *s, const graft_batch *b, int64_t first, int64_t n,
                      int64_t rows, graft_err *err);
/** Bytes of the largest arena of these programs: they run in turn and share it. */
size_t graft_shapes_arena(const graft_shapes *s);
void graft_shapes_done(graft_shapes *s);

/** Forward passes over batches, for evaluation: the suffix in inference form. */
typedef struct graft_evaluator {
    graft_arena *arena;
    graft_shapes shapes;
    int64_t max_rows; /* samples run at once; 0: a whole batch */
    bool crf;
    graft_gather gather;        /* the text that is being answered */
    graft_answers answers;      /* of the last pass */
    int64_t room, samples_room; /* rows and samples that its arrays have room for */
} graft_evaluator;

int graft_evaluator_init(graft_evaluator *e, const graft_graph *graph, graft_state *state, graft_task task,
                         const char *const *class_names, graft_precision dtype, graft_err *err);
/** One pass; the results stay in e->answers. */
int graft_evaluator_run(graft_evaluator *e, const graft_env *env, graft_batches *batches, graft_err *err);
void graft_evaluator_done(graft_evaluator *e);

/** Adds the recipe's further terms to *loss, a scalar of g, which was made of `suffix`. EUSAGE says what one
 * of them lacks. terms.c */
int graft_terms_add(graft_value *loss, graft_arena *arena, graft_graph *g, const graft_graph *suffix,
                    const graft_recipe *r, graft_err *err);

enum { GRAFT_TWIN_INPUTS = 12 };

/** Room for a batch in which each sample stands twice. twins.c */
typedef struct graft_twins {
    graft_tensor inputs[GRAFT_TWIN_INPUTS]; /* of samples, then of tokens */
    void *data[GRAFT_TWIN_INPUTS + 4];
    size_t sizes[GRAFT_TWIN_INPUTS + 4];
} graft_twins;

/** `out` is b with samples 2i and 2i + 1 being b's sample i; borrowed until the next call. */
int graft_twins_put(graft_twins *t, graft_batch *out, const graft_batch *b, int64_t n_classes,
                    graft_err *err);
void graft_twins_done(graft_twins *t);

/** The recipe as the step's program sees it: with twins its batches are twice as large. */
graft_recipe graft_recipe_of_step(const graft_recipe *r);

/** Where it began, in words: the inputs of a sample (*is_data), the layer of `parameter` where that is not
 * finite (NULL: all are), else the first layer whose answer to a sample of `b` (NULL: not known) is not
 * finite with the state's weights, else the gradient. Norms that are trained see `rows` samples at once.
 * diverged.c */
void graft_diverged_where(char *out, size_t room, bool *is_data, const graft_graph *suffix,
                          graft_state *state, const graft_batch *b, int64_t rows, const char *parameter);

/** One update of the weights from one batch. */
typedef struct graft_stepper {
    graft_arena *arena;
    graft_recipe recipe; /* of the step */
    graft_twins twins;
    graft_shapes step;
    bool crf;
    graft_program *update; /* NULL without accumulation */
    graft_state *state;
    const char **gradients; /* states to clear after an update */
    size_t n_gradients;
    float *target, *weight; /* [rows, n_classes], [rows] of the batch: samples, or tokens for tagging */
    int64_t rows_room;
    double loss;          /* of the last update's batch */
    bool refused;         /* the last update was not made: its gradient is not finite */
    int64_t hits, judged; /* rows of it that were classified rightly before the update, of so many */
} graft_stepper;

int graft_stepper_init(graft_stepper *s, const graft_graph *suffix, graft_state *state, const graft_recipe *r,
                       graft_err *err);
/** `update` counts from 0; the rate is the schedule's at `update` of `n_updates`. */
int graft_stepper_run(graft_stepper *s, const graft_batch *b, int64_t update, int64_t n_updates,
                      graft_err *err);
void graft_stepper_done(graft_stepper *s);

/** Averages of what is trained lie in the state under these names. */
#define GRAFT_AVERAGE_ENDING "/average"

/** The graphs around a running average: what draws it towards the weights by the input "share", the suffix
 * over it, and the suffix that takes its statistics from a batch. */
typedef struct graft_average_graphs {
    graft_graph *update, *view, *measure;
} graft_average_graphs;

int graft_average_graphs_new(graft_average_graphs *out, graft_arena *arena, const graft_graph *suffix,
                             graft_err *err);

typedef struct graft_statistic {
    const char *name;
    graft_shape shape;
    double *sums; /* over batches */
    size_t count;
} graft_statistic;

/** The running average of all that is trained; begins as what is trained does. weight_average.c */
typedef struct graft_average {
    graft_arena *arena; /* NULL: there is none */
    graft_state *state;
    graft_average_graphs graphs;
    graft_program *program;
    graft_shapes measure;
    graft_statistic *statistics; /* running statistics that train */
    size_t n_statistics;
    float *room; /* of the largest of them */
} graft_average;

/** After the step's programs were compiled, whose layouts it takes. */
int graft_average_init(graft_average *a, const graft_graph *suffix, graft_state *state, graft_precision dtype,
                       graft_err *err);
void graft_average_done(graft_average *a);
/** average <- (1 - share) average + share w; share 1 copies. */
int graft_average_add(const graft_average *a, double share, graft_err *err);
/** Its running statistics become the mean of those of one epoch's batches, if any train. */
int graft_average_measure(graft_average *a, const graft_env *env, graft_batches *batches, int64_t epoch,
                          int64_t micro_batch, graft_err *err);

/** Where a run stands between two updates, apart from the state. */
typedef struct graft_run {
    int64_t epoch, batch; /* next batch to take: epoch from 0 */
    int64_t update;       /* updates made */
    int64_t stale;        /* evaluations since the best */
    int64_t averaged;     /* epochs whose ends are in the uniform average, or were copied to it */
    double loss_sum, seconds, epoch_seconds;
    int64_t hits, judged, seen; /* of the epoch under way */
    int64_t events;             /* of the log */
    graft_training result;
} graft_run;

/** The best weights so far: trained parameters of the suffix, by name. */
typedef struct graft_best {
    const char **names;
    const char **from; /* where their values are read: their own names, or those of the average */
    graft_shape *shapes;
    float **values; /* NULL until there is a best epoch */
    size_t *counts;
    size_t n;
} graft_best;

/** `averaged`: what is kept is their running average. */
int graft_best_init(graft_best *b, graft_arena *arena, const graft_graph *suffix, bool averaged,
                    graft_err *err);
int graft_best_take(graft_best *b, graft_arena *arena, const graft_state *state, graft_err *err);
/** The parameters' current values onto the shelf. */
int graft_best_shelve(const graft_best *b, graft_shelf *shelf, const graft_state *state, graft_err *err);
int graft_best_restore(const graft_best *b, graft_state *state, graft_err *err);
/** Makes room for values when there is none yet. */
int graft_best_reserve(graft_best *b, graft_arena *arena, graft_err *err);
/** Bytes of the values, whether there are any yet or not. */
size_t graft_best_size(const graft_best *b);
/** The first parameter whose current value is not finite, or NULL; `room` holds the largest. */
const char *graft_best_not_finite(const graft_best *b, const graft_state *state, float *room);

/** Writes the resume point of `io` atomically. */
int graft_checkpoint_save(const graft_trainer_io *io, const graft_run *run, const graft_best *best,
                          graft_err *err);
/** Bytes that a resume point takes, about. */
size_t graft_checkpoint_size(const graft_trainer_io *io, const graft_best *best);
/** Reads it into run (history as long as the recipe's epochs), best and state, whose programs are made.
 * *found is false when there is none, or none that is whole and this run's: then a warning says so and
 * nothing has changed. */
int graft_checkpoint_load(bool *found, const graft_trainer_io *io, const graft_recipe *recipe, graft_run *run,
                          graft_best *best, graft_arena *arena, graft_err *err);

#endif
