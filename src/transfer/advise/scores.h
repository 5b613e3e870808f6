/* How well features suit a task, without training: pure functions of rows and classes, in double. Features of
 * [n, width] are turned once into their principal coordinates (at most min(n, width) columns, inner products
 * unchanged), from which every score that does not ask for the axes follows cheaply, whether n or width is
 * the larger. Private to transfer/advise/. */
#ifndef GRAFT_TRANSFER_ADVISE_SCORES_H
#define GRAFT_TRANSFER_ADVISE_SCORES_H

#include "base/base.h"

/** Labelled features in principal coordinates. */
typedef struct graft_labelled {
    int64_t n, width, rank;
    const double *t;       /* [n, rank]: X V, of X = U S V' (not centred); columns by falling square */
    const double *squares; /* [rank]: S squared */
    const double *mean;    /* [rank]: of the rows of t */
    const int32_t *y;      /* [n] in [0, k) */
    int64_t k;
    const int64_t *counts; /* [k] */
    int64_t n_present;     /* classes with an example */
    const float *source; /* [n, n_source] what the model's old head says, probabilities; NULL: it has none */
    int64_t n_source;
} graft_labelled;

/** Of x [n, width] and classes y [n] in [0, k); y, source (may be NULL) are borrowed, the rest lies in the
 * arena. EDATA: fewer than two rows, values that are not finite, all rows zero; ENOMEM. */
int graft_labelled_make(graft_labelled *out, graft_arena *arena, const float *x, int64_t n, int64_t width,
                        const int32_t *y, int64_t k, const float *source, int64_t n_source, graft_err *err);

/** One score of transferability; higher is better. */
typedef struct graft_transferability {
    const char *name, *help;
    bool needs_source; /* of the old head's probabilities */
    int (*score)(double *out, const graft_labelled *f, graft_err *err);
} graft_transferability;

#define GRAFT_TRANSFERABILITY(name) extern const graft_transferability graft_transferability_##name;
#include "transfer/advise/score/list.h"
#undef GRAFT_TRANSFERABILITY

/** All rows of list.h. */
const graft_transferability *const *graft_transferabilities(size_t *n);

/** Leave-one-out accuracy of the 20 nearest by cosine, weighed by exp(cosine / 0.07) (Wu et al. 2018). A
 * class with one example cannot be found this way and is not asked for; *n_asked (may be NULL) counts the
 * rest. NaN when nothing can be asked. knn.c */
int graft_knn_accuracy(double *out, int64_t *n_asked, const graft_labelled *f, graft_err *err);

typedef struct graft_probe_options {
    int64_t folds;    /* 0: 5 */
    double tolerance; /* of the gradient's largest entry; 0: 1e-4 */
    double decay;     /* of the weights; 0: the best of 1e-1, 1e-2, 1e-3, 1e-4 by log loss */
    int threads;      /* folds at once; 0: one. The result is the same */
} graft_probe_options;

/** What a linear head would reach, by stratified cross-validation. */
typedef struct graft_probe_result {
    double accuracy, log_loss;
    double error;    /* standard error of the accuracy, of a proportion */
    double decay;    /* chosen */
    int64_t n;       /* examples asked */
    int64_t n_alone; /* classes of one example: they help to train, and are not asked */
} graft_probe_result;

/** Multinomial logistic regression with weight decay on centred rows scaled to a mean square of 1. A fold
 * tests the examples whose number within their class is it, modulo folds. NaN where nothing can be asked.
 * linear_probe.c */
int graft_probe_cross_validate(graft_probe_result *out, const graft_labelled *f,
                               const graft_probe_options *options, graft_err *err);

/** Linear centred kernel alignment of two sets of features of the same n samples (Kornblith et al. 2019); 0
 * where one of them is constant. cka.c */
int graft_cka(double *out, const graft_labelled *a, const graft_labelled *b, graft_err *err);

/* ---- Two samples of one model's features: a [n_a, width], b [n_b, width] ---- */

/** Squared Frechet distance of the two Gaussians (Dowson and Landau 1982; Heusel et al. 2017), and the first
 * one's total variance, for scale. Covariances are divided by n. frechet.c */
int graft_frechet(double *out, double *scale, const float *a, int64_t n_a, const float *b, int64_t n_b,
                  int64_t width, graft_err *err);
/** Unbiased squared maximum mean discrepancy under exp(-d^2 / (2 s^2)), s the median distance of all pairs
 * (Gretton et al. 2012). mmd.c */
int graft_mmd(double *out, const float *a, int64_t n_a, const float *b, int64_t n_b, int64_t width,
              graft_err *err);
/** 2 (1 - 2 error) of a linear head that tells a from b, cross-validated, as many rows of each
 * (Ben-David et al. 2007); 0: cannot be told apart, 2: always. proxy_a.c */
int graft_proxy_a(double *out, const float *a, int64_t n_a, const float *b, int64_t n_b, int64_t width,
                  graft_err *err);

#endif
