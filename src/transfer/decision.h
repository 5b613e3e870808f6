/* How a folder's outputs become answers: what is chosen after training on the validation part, kept in
 * graft.json, and used by predict and eval. Weights and logits stay as they are. Private to transfer/. */
#ifndef GRAFT_TRANSFER_DECISION_H
#define GRAFT_TRANSFER_DECISION_H

#include "transfer/transfer.h"

typedef struct graft_decision {
    double temperature; /* logits are divided by it; 0: they are not */
    double *thresholds; /* [k] of probability; NULL: the likeliest class, or labels of one half and more */
    double *cuts;       /* [k] the same for tempered logits, as graft_answers has them */
    graft_calibration calibration;
    graft_reliability test[2]; /* of a test part, before and after */
    bool has_test, folded;     /* folded: the temperature went into the head's weights */
} graft_decision;

/** Which of them are wanted, as graft_fit_options has them. EUSAGE for a word that is none, for thresholds
 * that the task has no use for, and for folding into a head that is more than one linear layer. */
int graft_decision_check(const graft_fit_options *o, const graft_model *m, graft_task task, int64_t n_classes,
                         graft_err *err);
/** Chooses on the answers to the validation part. Arrays in the arena. */
int graft_decision_make(graft_decision *d, graft_arena *arena, const graft_fit_options *o,
                        const graft_model *m, const graft_answers *validation, graft_task task,
                        graft_err *err);
/** *out: `a` with tempered logits, which live in the arena, and the cuts; all else is shared. */
int graft_decision_apply(graft_answers *out, graft_arena *arena, const graft_decision *d,
                         const graft_answers *a, graft_err *err);
/** Multiplies the classifier of `m` by 1 / temperature, which then is none. */
int graft_decision_fold(graft_decision *d, graft_model *m, graft_err *err);
/** "calibration" and "thresholds" into `record`; null where there is none. -1: out of memory. */
int graft_decision_record(const graft_decision *d, json_t *record, const char *const *labels, size_t n);
/** What the graft.json of the folder that `m` was opened from says; nothing where there is none. Classes are
 * found by name. EFORMAT when it says what cannot be. */
int graft_decision_read(graft_decision *d, graft_arena *arena, const graft_model *m, graft_err *err);

#endif
