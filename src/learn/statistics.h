/* What differences between runs are worth: intervals over seeds and over samples, paired tests, and learning
 * curves that are carried on past what was measured. Plain numbers in, plain numbers out. */
#ifndef GRAFT_LEARN_STATISTICS_H
#define GRAFT_LEARN_STATISTICS_H

#include "base/base.h"

/* ---- Intervals ---- */

/** Mean of n values and the interval of Student's t that holds the expected value; low, high and sd are NaN
 * for n < 2, all for n 0. */
typedef struct graft_interval {
    double mean, low, high, sd;
    int64_t n;
} graft_interval;

/** `level` is the confidence in (0, 1), such as 0.95. */
graft_interval graft_interval_of(const double *values, int64_t n, double level);
/** The interval of Wilson (1927) of a share of k among n samples; 0 and 1 for n 0. k may be no whole number
 * (a mean over runs). */
void graft_share_wilson(double *low, double *high, double k, int64_t n, double level);
/** The interval of Clopper and Pearson (1934), which never holds the share less often than `level`. */
void graft_share_exact(double *low, double *high, int64_t k, int64_t n, double level);

/** The regularised incomplete beta function I_x(a, b), a, b > 0, x in [0, 1]. */
double graft_beta_share(double x, double a, double b);
/** The x at which it is p. */
double graft_beta_quantile(double p, double a, double b);
/** Quantile p of Student's t with `freedom` degrees. */
double graft_student_quantile(double p, double freedom);
/** Quantile p of the standard normal distribution. */
double graft_normal_quantile(double p);

/* ---- Paired tests ---- */

/** Two-sided p of McNemar's test (1947) for `better` and `worse` discordant pairs: exact, by the binomial
 * distribution, up to ten thousand pairs, then by chi square with Edwards' correction. It is the sign test
 * too.
 */
double graft_mcnemar(int64_t better, int64_t worse);
/** Holm's step-down adjustment (1979) of n values of p, so that they stand beside each other; NaN are left
 * out of the count and stay. `adjusted` may be `p`. ENOMEM. */
int graft_holm(double *adjusted, const double *p, size_t n, graft_err *err);

/* ---- Learning curves ---- */

/** Errors (1 - score) of the runs on n labelled samples. */
typedef struct graft_curve_point {
    double n;
    const double *errors;
    int64_t n_runs;
} graft_curve_point;

/** error(n) = a + b n^-c, a >= 0, b >= 0, c > 0, fitted by weighted least squares, and the same fitted to
 * `n_draws` bootstrap worlds. */
typedef struct graft_curve {
    double a, b, c;
    size_t n_draws;
    double (*draws)[3]; /* [n_draws] of a, b, c, in the arena */
} graft_curve;

/** Fits at least three different sizes. `n_test` samples stand behind each error. The draws, a function of
 * `seed`, are worlds that differ by the spread of the runs (Student's t; where every size has one run, the
 * binomial spread of the test samples), by the luck of the test samples, which all sizes share, and by how
 * far the law misses the means. Errors: EDATA (fewer than three sizes, a size below 1), ENOMEM. The power
 * law: Hestness et al. 2017, "Deep learning scaling is predictable, empirically"; its limits: Viering and
 * Loog 2022, "The shape of learning curves". */
int graft_curve_fit(graft_curve *out, graft_arena *arena, const graft_curve_point *points, size_t n_points,
                    int64_t n_test, uint64_t seed, graft_err *err);
double graft_curve_at(const graft_curve *c, double n);
/** Percentile interval of the error at n. ENOMEM. */
int graft_curve_band(double *low, double *high, const graft_curve *c, double n, double level, graft_err *err);
/** How much smaller the error is at `to` than at `from`, with its percentile interval. ENOMEM. */
int graft_curve_gain(double *gain, double *low, double *high, const graft_curve *c, double from, double to,
                     double level, graft_err *err);
/** Samples at which the error is `error`, with its percentile interval; INFINITY: never. ENOMEM. */
int graft_curve_needed(double *n, double *low, double *high, const graft_curve *c, double error, double level,
                       graft_err *err);

#endif
