/* What is decided after training, on answers that training did not see: how sure a logit is (temperature
 * scaling), and from where on a class is said (thresholds). Neither changes the order of a class's samples.
 * Part of learn.h. */
#ifndef GRAFT_LEARN_CALIBRATE_H
#define GRAFT_LEARN_CALIBRATE_H

#include "model/model.h"

struct graft_answers;

/** How far probabilities can be trusted. */
typedef struct graft_reliability {
    double log_loss; /* mean over samples (tags: words); multi-label: over samples and classes */
    double ece;      /* expected calibration error, 15 bins of equal width (Guo et al. 2017): of the likeliest
                        class's probability; multi-label: of every class's */
} graft_reliability;

typedef struct graft_calibration {
    int64_t n;          /* labelled answers it rests on; 0: none, and the temperature is 1 */
    double temperature; /* logits are divided by it */
    bool smoothed;      /* every answer was right: it comes of smoothed truths */
    bool checked,
        refused;        /* the gain was cross-validated, and was not beyond its error: the temperature is 1 */
    double gain, error; /* of log loss by the temperature, on answers that had no part in choosing it, and its
                           standard error */
    graft_reliability before, after;
} graft_calibration;

/** Reliability of answers whose logits are divided by `temperature`. Zeros where nothing is labelled. */
graft_reliability graft_answers_reliability(const struct graft_answers *a, graft_task task,
                                            double temperature);
/** The temperature of the least log loss (Guo et al. 2017, "On calibration of modern neural networks"), of
 * sigmoids where the task is multi-label, in [0.01, 100]. Where every answer is right the loss falls without
 * end as logits grow; then truths are smoothed by 1 / (n + 1) of a sample, after Platt 1999. n is 0 for
 * numbers and without labels. */
graft_calibration graft_calibrate(const struct graft_answers *a, graft_task task);
/** Below this number of answers the temperature is made to prove itself. */
enum { GRAFT_CALIBRATION_FEW = 100 };
/** Chooses the temperature without each fifth of the answers in turn. Unless these lose less log loss by it
 * than by none, by more than the standard error, the temperature becomes 1: of few answers it is mostly their
 * luck. ENOMEM. */
int graft_calibration_check(graft_calibration *c, const struct graft_answers *a, graft_task task,
                            graft_err *err);
/** {"temperature", "n", "log_loss_before", "log_loss_after", "ece_before", "ece_after"}, and where it was
 * checked "gain", "gain_error", "refused". The caller owns one
 * reference; NULL: out of memory. */
json_t *graft_calibration_json(const graft_calibration *c);

/** Thresholds of probability [k] that give the best F1 on these answers, whose logits are probabilities' as
 * they stand: multi-label of every class alone, halfway between the two answers around it; a class with fewer
 * than 5 samples takes the one that is best for all classes together. Of two classes: the second one's
 * threshold of the best macro F1, and what it leaves for the first. EUSAGE for other tasks and more classes;
 * EDATA when nothing is labelled. Arrays in the arena. */
int graft_thresholds_f1(double **out, graft_arena *arena, const struct graft_answers *a, graft_task task,
                        graft_err *err);
/** What is subtracted from logits so that thresholds become the usual rule: log t of classes, of which the
 * greatest is said; log t - log(1 - t) of labels, which are said above 0. */
double graft_threshold_cut(double threshold, graft_task task);

#endif
