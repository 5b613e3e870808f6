/* What the files of graft_compare share: the plan of its runs, what each has shown, and the evidence made of
 * them.
 *
 *     plans x sizes x seeds → runs, each a graft_trial or read back from OUT/runs.jsonl → evidence →
 * conclusion
 *
 * Private to transfer/. */
#ifndef GRAFT_TRANSFER_COMPARE_H
#define GRAFT_TRANSFER_COMPARE_H

#include "transfer/fit.h"
#include "transfer/trial.h"

#include <pthread.h>

enum { GRAFT_COMPARE_MOST_PLANS = 32, GRAFT_COMPARE_MOST_SIZES = 32, GRAFT_COMPARE_MOST_SEEDS = 100 };

typedef struct graft_compare_plan {
    const char *name;  /* as asked for: "scratch", "top:1" */
    const char *train; /* what graft_fit is given as its plan */
    const char *about; /* "pretrained, head only" */
    bool from_scratch;
    int64_t n_trained; /* parameters, of the phase that trains the most */
    double work;       /* multiply-adds of a run, planned, but for what all plans have alike */
    double update;     /* multiply-adds of one update */
    size_t memory;     /* bytes of a run, planned */
} graft_compare_plan;

typedef struct graft_compare_place {
    size_t plan, size, seed;
} graft_compare_place;

typedef struct graft_compare_size {
    int64_t per_class;       /* labels of a class, validation's among them; 0: all */
    int64_t n_short_classes; /* that have fewer */
} graft_compare_size;

/** What one run has shown. Numbers that there are none of are NaN. */
typedef struct graft_compare_run {
    double score, validation, train; /* of the samples that judge, of validation, of those trained on */
    double seconds;                  /* all of it */
    int64_t labels, n_train, n_validation, n_epochs, best_epoch;
    size_t memory;
    graft_epoch *history; /* [n_epochs] */
    int64_t n;            /* samples that judge */
    int64_t *samples;     /* [n] indices into the data */
    float *loss; /* [n] how wrong: 0 or 1 of a class; wrong classes, wrong words; the distance of a number */
    int64_t n_doubts; /* samples of which the answers' doubt is known, largest size alone */
    int64_t *doubt_samples;
    int32_t *predicted;   /* [n_doubts] */
    float *margin;        /* [n_doubts] probability of the likeliest class less that of the second */
    const char *diverged; /* NULL, or where numbers stopped being finite; without a score there was no epoch
                             before that could be kept */
} graft_compare_run;

typedef struct graft_voices graft_voices;
typedef struct graft_voice graft_voice;

typedef struct graft_comparison {
    graft_env *env;
    graft_voices *voices;  /* what the runs say, on its way to env */
    graft_voice *opening;  /* what opening says */
    pthread_mutex_t guard; /* of what runs side by side change: arena, runs, lost, log, what is said */
    graft_arena *arena;
    const char *model, *data, *out;
    graft_compare_options options;
    graft_compare_plan *plans;
    graft_compare_size *sizes; /* rising */
    size_t n_plans, n_sizes, n_seeds;
    graft_job facts;          /* the first plan's job, not trained: data that are settled, and the model */
    int64_t n_classes;        /* 1 for tasks without one class a sample: labels are counted by it */
    bool validation_is_made;  /* so that its labels count as given to a run */
    const char *judged;       /* "given", "held out", "validation": where the samples that judge come from */
    graft_hash identity;      /* of everything that decides runs, but plan, size and seed */
    graft_compare_run **runs; /* [n_seeds, n_sizes, n_plans]; NULL: not run */
    const graft_compare_run **lost; /* [n_sizes, n_plans] the run that came to nothing; NULL: none */
    graft_runlog *log;
    int lock;
    double begun;
    bool finished; /* every run that was planned is there */
} graft_comparison;

/** The run of a plan, size and seed, or NULL: it was not made, or is left out. */
graft_compare_run *graft_comparison_run(const graft_comparison *c, size_t plan, size_t size, size_t seed);
/** Keeps a run. One that came to nothing leaves its plan out at its size, and at every size where that is the
 * largest: what is left would be the mean of the seeds that went well. */
void graft_comparison_put(graft_comparison *c, graft_compare_run *r, size_t plan, size_t size, size_t seed);
/** Why the plan is left out at a size; NULL: it is not. */
const char *graft_comparison_lost(const graft_comparison *c, size_t plan, size_t size);
/** Labels of a size, by class, mean over the runs; NaN: no run. */
double graft_comparison_labels(const graft_comparison *c, size_t size);

/** Reads --plans and --per-class, opens model and data as the first plan does, checks every plan, and drops
 * plans and sizes that are nothing of their own. compare_plan.c */
int graft_comparison_plan(graft_comparison *c, graft_err *err);
/** Trains one run in its own environment; takes the guard to keep what it has shown. compare_run.c */
int graft_comparison_train(graft_compare_run **out, graft_comparison *c, graft_env *env, size_t plan,
                           size_t size, size_t seed, graft_err *err);
/** How many of these runs [n] go side by side, from their order, their work and their memory. compare_jobs.c
 */
int graft_comparison_jobs(size_t *out, const graft_comparison *c, const graft_compare_place *places, size_t n,
                          graft_err *err);
/** Trains every run that is not there, several side by side. compare_team.c */
int graft_comparison_run_all(graft_comparison *c, graft_err *err);

/** Makes OUT and locks it, before anything of another comparison there is written over. */
int graft_comparison_take_out(graft_comparison *c, graft_err *err);
/** Opens OUT/runs.jsonl and takes back the runs that were asked for. compare_log.c */
int graft_comparison_open_log(graft_comparison *c, graft_err *err);
/** Adds a run to that file; *run becomes what the file says of it. */
int graft_comparison_note(graft_compare_run **run, graft_comparison *c, size_t plan, size_t size, size_t seed,
                          graft_err *err);

/** Environments whose log and progress go on to `env`, with what is running named: warnings once each, the
 * progress of one run at a time. They take the guard for it: whoever holds it says nothing through them.
 * compare_voice.c */
int graft_voices_new(graft_voices **out, graft_env *env, pthread_mutex_t *guard, graft_err *err);
void graft_voices_free(graft_voices *all); /* with every voice; NULL allowed */
void graft_voices_stop(graft_voices *all); /* cancels them */
int graft_voice_new(graft_voice **out, graft_voices *all, int threads, graft_err *err);
graft_env *graft_voice_env(graft_voice *v);
/** What is running now; are its warnings worth telling? */
void graft_voice_begin(graft_voice *v, const char *what, bool tells);
void graft_voice_end(graft_voice *v);

/** Two plans on one size, seed by seed and sample by sample. */
typedef struct graft_pairing {
    graft_interval difference; /* of the scores, a's less b's, over the seeds that both have */
    int64_t better, worse;     /* samples on which a was less, more wrong than b, over these seeds together */
    double p;                  /* McNemar's; NaN without a common seed */
} graft_pairing;

/** compare_evidence.c */
int graft_comparison_pair(graft_pairing *out, const graft_comparison *c, size_t a, size_t b, size_t size,
                          graft_err *err);
/** Mean and interval over the seeds of one number of a plan's runs on a size. */
typedef enum graft_compare_number {
    GRAFT_COMPARE_SCORE,
    GRAFT_COMPARE_VALIDATION,
    GRAFT_COMPARE_TRAIN,
    GRAFT_COMPARE_GAP, /* train less score */
    GRAFT_COMPARE_SECONDS,
    GRAFT_COMPARE_LABELS
} graft_compare_number;
graft_interval graft_comparison_interval(const graft_comparison *c, size_t plan, size_t size,
                                         graft_compare_number number);

/** What is known of a plan, made of its runs. */
typedef struct graft_compare_evidence {
    graft_interval score; /* on the largest size */
    graft_pairing best;   /* the best plan against it */
    double p_holm;
    bool differs; /* the best is better beyond chance */
    double
        seconds_to_best; /* of training, to within a point of the best plan's validation score; NaN: never */
    bool has_curve;
    graft_curve curve;
    const char *curve_problem;
    double more, gain, gain_low, gain_high; /* labels a class; NaN without a curve */
    double needed, needed_low, needed_high; /* labels a class for `reach`; NaN: cannot be told */
    bool extrapolated;
} graft_compare_evidence;

/** The most that a run of the plan needed, in bytes. */
size_t graft_comparison_memory(const graft_comparison *c, size_t plan);
/** How far scores reach below 1: 2 for a correlation, else 1. Errors of a curve are shares of it. */
double graft_comparison_span(const graft_comparison *c);
/** Evidence of every plan, and which is the best: the highest mean score, of equals the least memory. */
int graft_comparison_evidence(graft_compare_evidence **out, size_t *best, double *reach,
                              const graft_comparison *c, graft_err *err);
/** In plain words, decided by the tests: an object of verdict and text. compare_conclusion.c */
int graft_comparison_conclude(json_t **out, const graft_comparison *c, const graft_compare_evidence *e,
                              size_t best, graft_err *err);
/** What the answers on the largest size are least sure of: an object, or null. compare_label.c */
int graft_comparison_label_next(json_t **out, const graft_comparison *c, graft_err *err);
/** All of it, as it stands in compare.json. compare_json.c */
int graft_comparison_json(json_t **out, const graft_comparison *c, graft_err *err);

/** A number, or null for one that is none. */
json_t *graft_json_number(double x);

#endif
