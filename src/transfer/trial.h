/* One training run that leaves no folder: what comparing, probing and searching are made of. Private to
 * transfer/. */
#ifndef GRAFT_TRANSFER_TRIAL_H
#define GRAFT_TRANSFER_TRIAL_H

#include "transfer/fit.h"

/** What a run has shown. Everything lives in the arena given but the two JSON objects. */
typedef struct graft_trial {
    const char *plan; /* text of the plan, as chosen */
    graft_task task;
    int64_t n_train; /* samples trained on */
    const char *const *labels;
    size_t n_labels;
    graft_training training; /* history by epoch, seconds, best epoch */
    /* of the best epoch, with the temperature and the cuts that the scores are of; n 0: there is no such part
     */
    graft_answers validation, test;
    graft_answers unlabelled; /* to samples without a class, where they were asked for */
    bool has_train_score;     /* it was asked for, and there were not too many answers to keep */
    graft_score train_score, validation_score, test_score;
    json_t *validation_metrics, *test_metrics; /* NULL: no such part */
    json_t *settings;                          /* what decides the run's bits */
    const char *diverged; /* NULL, or where it ran into numbers that are not finite, after the best epoch */
    size_t peak_memory;   /* bytes */
    double seconds;       /* all of it: opening, features, training, measuring */
} graft_trial;

/** Trains as graft_fit does with the same options, out of the same bottleneck cache, and keeps the
 * measurements in place of the model. `samples` of the answers are indices into the data, which are listed
 * alike in every run over the same path and the same choice, whatever seed and per_class. Errors as
 * graft_fit's. */
int graft_trial_run(graft_trial *out, graft_arena *arena, graft_env *env, const char *model, const char *data,
                    const graft_fit_options *options, graft_err *err);
/** The same, and what `extras` ask for. */
int graft_trial_run_more(graft_trial *out, graft_arena *arena, graft_env *env, const char *model,
                         const char *data, const graft_fit_options *options, graft_extras extras,
                         graft_err *err);
void graft_trial_done(graft_trial *t);
/** Adds every option that decides what a trial shows, its seed and plan too; data and model apart. */
void graft_trial_hash(graft_hasher *h, const graft_fit_options *f);

#endif
