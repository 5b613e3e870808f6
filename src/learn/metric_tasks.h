/* Metrics of tasks other than one class of several. Arrays live in the arena given; a ratio whose divisor is
 * 0 is 0. JSON objects are the caller's (one reference), NULL when out of memory. Part of learn.h. */
#ifndef GRAFT_LEARN_METRIC_TASKS_H
#define GRAFT_LEARN_METRIC_TASKS_H

#include "base/base.h"

/** Precision, recall and their harmonic mean. */
typedef struct graft_prf {
    double precision, recall, f1;
} graft_prf;

/** Of `hits` right ones among `predicted` and among `truth`. */
graft_prf graft_prf_of(int64_t hits, int64_t predicted, int64_t truth);
/** sum += weight x, for means. */
void graft_prf_add(graft_prf *sum, const graft_prf *x, double weight);
/** {"precision", "recall", "f1"}, and "support" unless that is negative. */
json_t *graft_prf_json(const graft_prf *p, int64_t support);

/* ---- Entities that tags spell
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct graft_entity_type {
    const char *name;
    graft_prf score;
    int64_t support, n_predicted, n_hits; /* entities */
} graft_entity_type;

typedef struct graft_entity_metrics {
    int64_t n, n_texts;               /* words with a tag; texts */
    double accuracy;                  /* of the tags of words */
    graft_prf micro, macro, weighted; /* over all entities; mean over types; the same weighted by support */
    graft_entity_type *types;         /* [n_types], by name: those that occur */
    size_t n_types;
} graft_entity_metrics;

/** Text after text, lengths[n_texts] words each, in truth and predicted; words whose true tag is negative are
 * passed over. Entities are counted as conlleval does (Tjong Kim Sang and Buchholz 2000), in every scheme at
 * once: an entity begins and ends where letter or type say so, an I without a B too, and it is right when
 * type, first and last word are. Errors: EDATA for a tag without a label, or no word. */
int graft_entity_metrics_compute(graft_entity_metrics *out, graft_arena *arena, const int32_t *truth,
                                 const int32_t *predicted, const int64_t *lengths, int64_t n_texts,
                                 const char *const *labels, size_t n_labels, graft_err *err);
/** {"n", "texts", "accuracy", "precision", "recall", "f1", "macro", "weighted", "types"}: the first F1 is
 * micro. */
json_t *graft_entity_metrics_json(const graft_entity_metrics *m);

/* ---- Numbers
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct graft_regression_metrics {
    int64_t n;
    double mse, mae, r2;      /* r2 of a constant truth: 1 when all is right, else 0 */
    double pearson, spearman; /* 0 where one side is constant; ties share the mean of their ranks */
} graft_regression_metrics;

/** predicted [n], truth [n]. Errors: EDATA when n is 0 or a number is not finite; ENOMEM. */
int graft_regression_metrics_compute(graft_regression_metrics *out, const float *predicted,
                                     const float *truth, int64_t n, graft_err *err);
json_t *graft_regression_metrics_json(const graft_regression_metrics *m);

/* ---- Any number of classes a sample
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct graft_multilabel_metrics {
    int64_t n, n_classes;
    double subset_accuracy, hamming_loss; /* samples with every class right; share of wrong decisions */
    double log_loss;                      /* binary cross-entropy, mean over samples and classes */
    double mean_average_precision;        /* over the classes that have a sample */
    graft_prf micro, macro, samples;      /* over all decisions; mean over classes; mean over samples */
    graft_prf *classes;                   /* [n_classes] */
    double *average_precision; /* [n_classes]: sum of precision times gain in recall, equal scores at once */
    int64_t *support;          /* [n_classes] */
} graft_multilabel_metrics;

/** logits [n, k], truth [n, k]: the sample has the class where it is above 0.5; it is predicted where the
 * logit is above cuts [k] (NULL: 0). Errors: EDATA when n is 0 or an output is not finite. */
int graft_multilabel_metrics_compute(graft_multilabel_metrics *out, graft_arena *arena, const float *logits,
                                     const float *truth, int64_t n, int64_t k, const double *cuts,
                                     graft_err *err);
/** {"n", "subset_accuracy", "hamming_loss", "log_loss", "mean_average_precision", "f1" (micro), "micro",
 * "macro", "samples", "classes"}. */
json_t *graft_multilabel_metrics_json(const graft_multilabel_metrics *m, const char *const *class_names);

#endif
