/* error(n) = a + b n^-c. For a given exponent the other two are linear, so that the whole fit is a search
 * along one line (variable projection, Golub and Pereyra 1973): a grid of exponents, then golden section
 * around the best. The band is a parametric bootstrap (Efron and Tibshirani 1993): with two or three runs a
 * size, drawing from the runs themselves would know only a handful of worlds. */
#include "learn/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_GRID = 64, N_DRAWS = 1000 };
static const double least_c = 0.05, most_c = 4.0;

/* What is fitted: errors y at sizes n, in units of the smallest size, with weights. */
typedef struct sizes {
    size_t n;
    double *log_n, *y, *weight;
    double *powers; /* [N_GRID, n] n^-c of the grid */
    double unit;
    int64_t freedom; /* of the spread of the runs */
} sizes;

typedef struct fit {
    double a, b, loss;
} fit;

static double loss_of(const sizes *s, const double *x, double a, double b) {
    double loss = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        double d = s->y[i] - a - b * x[i];
        loss += s->weight[i] * d * d;
    }
    return loss;
}

/* The best a, b >= 0 for x = n^-c: inside, or on one of the two borders. */
static fit fit_linear(const sizes *s, const double *x) {
    double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;
    for (size_t i = 0; i < s->n; i++) {
        w += s->weight[i];
        wx += s->weight[i] * x[i];
        wxx += s->weight[i] * x[i] * x[i];
        wy += s->weight[i] * s->y[i];
        wxy += s->weight[i] * x[i] * s->y[i];
    }
    double det = w * wxx - wx * wx;
    if (det > 1e-14 * w * wxx) {
        fit inside = {.a = (wxx * wy - wx * wxy) / det, .b = (w * wxy - wx * wy) / det};
        if (inside.a >= 0 && inside.b >= 0) {
            inside.loss = loss_of(s, x, inside.a, inside.b);
            return inside;
        }
    }
    fit level = {.a = fmax(0.0, wy / w)}, power = {.b = fmax(0.0, wxy / wxx)};
    level.loss = loss_of(s, x, level.a, 0.0);
    power.loss = loss_of(s, x, 0.0, power.b);
    return level.loss <= power.loss ? level : power;
}

static double grid_c(size_t i) {
    return least_c * pow(most_c / least_c, (double)i / (N_GRID - 1));
}

static fit fit_exponent(const sizes *s, double c, double *x) {
    for (size_t i = 0; i < s->n; i++) x[i] = exp(-c * s->log_n[i]);
    return fit_linear(s, x);
}

/* `x` has room for n numbers. */
static void fit_curve(const sizes *s, double *x, double out[3]) {
    const double ratio = 0.6180339887498949;
    size_t best = 0;
    double best_loss = INFINITY;
    for (size_t i = 0; i < N_GRID; i++) {
        double loss = fit_linear(s, s->powers + i * s->n).loss;
        if (loss >= best_loss) continue;
        best_loss = loss;
        best = i;
    }
    double low = grid_c(best ? best - 1 : 0), high = grid_c(best + 1 < N_GRID ? best + 1 : best);
    for (int i = 0; i < 60 && high - low > 1e-10 * high; i++) {
        double left = high - ratio * (high - low), right = low + ratio * (high - low);
        if (fit_exponent(s, left, x).loss <= fit_exponent(s, right, x).loss)
            high = right;
        else
            low = left;
    }
    double c = 0.5 * (low + high);
    fit f = fit_exponent(s, c, x);
    out[0] = f.a;
    out[1] = f.b * pow(s->unit, c);
    out[2] = c;
}

static double mean_of(const graft_curve_point *p) {
    return graft_interval_of(p->errors, p->n_runs, 0.95).mean;
}

/* Variance of the runs around their sizes' means, over all sizes; NaN when no size has two runs. */
static double pooled_variance(int64_t *freedom, const graft_curve_point *points, size_t n) {
    double squares = 0.0;
    *freedom = 0;
    for (size_t i = 0; i < n; i++) {
        if (points[i].n_runs < 2) continue;
        double sd = graft_interval_of(points[i].errors, points[i].n_runs, 0.95).sd;
        squares += sd * sd * (double)(points[i].n_runs - 1);
        *freedom += points[i].n_runs - 1;
    }
    return *freedom ? squares / (double)*freedom : NAN;
}

static double binomial_variance(double error, int64_t n_test) {
    double n = n_test > 0 ? (double)n_test : 1.0, share = (error * n + 1.0) / (n + 2.0);
    return share * (1.0 - share) / n;
}

/* Variance of a size's mean. A size's own spread over few runs is itself a guess: half of it is that of all
 * sizes. What is less than half a test sample is no spread at all. */
static double variance_of(const graft_curve_point *p, double pooled, int64_t n_test) {
    double mean = mean_of(p), least = 0.5 / (n_test > 0 ? (double)n_test : 1.0);
    if (isnan(pooled)) return binomial_variance(mean, n_test);
    double own = pooled;
    if (p->n_runs >= 2) {
        double sd = graft_interval_of(p->errors, p->n_runs, 0.95).sd;
        own = sd * sd;
    }
    return fmax(0.5 * (own + pooled), least * least) / (double)p->n_runs;
}

/* Squared residuals beyond what the spread of the runs explains say that the law itself is off: variances
 * grow by their ratio (Birge 1932). Three sizes are met exactly and cannot say so. */
static double misfit(const sizes *s, const double p[3]) {
    double loss = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        double d = s->y[i] - p[0] - p[1] * pow(s->unit, -p[2]) * exp(-p[2] * s->log_n[i]);
        loss += s->weight[i] * d * d;
    }
    return s->n > 3 ? fmax(1.0, loss / (double)(s->n - 3)) : 1.0;
}

/* The sizes' means in another world. Each is off by the spread of its runs, whose size is itself a guess:
 * Student's t with the freedom that all runs together have. All are off together by the luck of the test
 * samples, unless that is what a single run's spread was taken from. */
static void draw_means(sizes *s, const double *mean, int64_t n_test, double ratio, graft_rng *r) {
    double luck = s->freedom ? graft_rng_normal(r) : 0.0, half = 0.5 * (double)s->freedom;
    for (size_t i = 0; i < s->n; i++) {
        double t = graft_rng_normal(r);
        if (s->freedom) t /= sqrt(graft_rng_gamma(r, half) / half);
        double y = mean[i] + sqrt(ratio / s->weight[i]) * t + sqrt(binomial_variance(mean[i], n_test)) * luck;
        s->y[i] = fmin(1.0, fmax(0.0, y));
    }
}

static int make_sizes(sizes *s, graft_arena *arena, const graft_curve_point *points, size_t n, int64_t n_test,
                      graft_err *err) {
    size_t n_different = 0;
    s->n = n;
    s->log_n = graft_arena_array(arena, n + 1, sizeof *s->log_n);
    s->y = graft_arena_array(arena, n + 1, sizeof *s->y);
    s->weight = graft_arena_array(arena, n + 1, sizeof *s->weight);
    s->powers = graft_arena_array(arena, (n + 1) * N_GRID, sizeof *s->powers);
    if (!s->log_n || !s->y || !s->weight || !s->powers) return graft_err_nomem(err);
    s->unit = INFINITY;
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++) again = again || points[k].n == points[i].n;
        if (!(points[i].n >= 1) || points[i].n_runs < 1)
            return graft_err_set(err, GRAFT_EDATA, "a learning curve needs sizes of at least one sample");
        n_different += !again;
        s->unit = fmin(s->unit, points[i].n);
    }
    if (n_different < 3)
        return graft_err_set(err, GRAFT_EDATA, "a learning curve needs three sizes; there %s %zu",
                             n_different == 1 ? "is" : "are", n_different);
    double pooled = pooled_variance(&s->freedom, points, n);
    for (size_t i = 0; i < n; i++) {
        s->log_n[i] = log(points[i].n / s->unit);
        s->y[i] = mean_of(&points[i]);
        s->weight[i] = 1.0 / variance_of(&points[i], pooled, n_test);
    }
    for (size_t g = 0; g < N_GRID; g++)
        for (size_t i = 0; i < n; i++) s->powers[g * n + i] = exp(-grid_c(g) * s->log_n[i]);
    return 0;
}

int graft_curve_fit(graft_curve *out, graft_arena *arena, const graft_curve_point *points, size_t n_points,
                    int64_t n_test, uint64_t seed, graft_err *err) {
    sizes s;
    double found[3], ratio = 1.0;
    graft_arena *own = graft_arena_new(NULL);
    double *x = own ? graft_arena_array(own, n_points + 1, sizeof *x) : NULL;
    double *mean = own ? graft_arena_array(own, n_points + 1, sizeof *mean) : NULL;
    int rc = x && mean ? make_sizes(&s, own, points, n_points, n_test, err) : graft_err_nomem(err);
    if (rc == 0) {
        fit_curve(&s, x, found);
        ratio = misfit(&s, found);
        memcpy(mean, s.y, n_points * sizeof *mean);
        *out = (graft_curve){found[0], found[1], found[2], N_DRAWS, NULL};
        out->draws = graft_arena_array(arena, N_DRAWS, sizeof *out->draws);
        if (!out->draws) rc = graft_err_nomem(err);
    }
    for (size_t d = 0; rc == 0 && d < N_DRAWS; d++) {
        graft_rng r = graft_rng_at(seed, 0, d, GRAFT_RNG_BOOTSTRAP);
        draw_means(&s, mean, n_test, ratio, &r);
        fit_curve(&s, x, out->draws[d]);
    }
    graft_arena_free(own);
    return rc;
}

static double error_at(const double p[3], double n) {
    return p[0] + p[1] * pow(n, -p[2]);
}

double graft_curve_at(const graft_curve *c, double n) {
    return error_at((double[]){c->a, c->b, c->c}, n);
}

static double needed(const double p[3], double error) {
    return error > p[0] ? fmax(1.0, pow(p[1] / (error - p[0]), 1.0 / p[2])) : INFINITY;
}

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* Percentiles; between infinities nothing is interpolated. */
static double quantile(const double *sorted, size_t n, double p) {
    double place = p * (double)(n - 1);
    size_t i = (size_t)place;
    double share = place - (double)i;
    if (share == 0.0 || i + 1 >= n || isinf(sorted[i + 1]))
        return sorted[share > 0.5 && i + 1 < n ? i + 1 : i];
    return sorted[i] + share * (sorted[i + 1] - sorted[i]);
}

/* The percentile interval of one number of each draw: the error at `at`, its fall from `at` to `to`, or the
 * samples for an error of `at`. */
typedef enum number { ERROR, FALL, NEEDED } number;

static int percentiles(double *low, double *high, const graft_curve *c, number which, double at, double to,
                       double level, graft_err *err) {
    double *values = malloc((c->n_draws + 1) * sizeof *values);
    if (!values) return graft_err_nomem(err);
    for (size_t i = 0; i < c->n_draws; i++) {
        const double *p = c->draws[i];
        values[i] = which == ERROR  ? error_at(p, at)
                    : which == FALL ? error_at(p, at) - error_at(p, to)
                                    : needed(p, at);
    }
    qsort(values, c->n_draws, sizeof *values, by_value);
    *low = quantile(values, c->n_draws, 0.5 - 0.5 * level);
    *high = quantile(values, c->n_draws, 0.5 + 0.5 * level);
    free(values);
    return 0;
}

int graft_curve_band(double *low, double *high, const graft_curve *c, double n, double level,
                     graft_err *err) {
    return percentiles(low, high, c, ERROR, n, 0.0, level, err);
}

int graft_curve_gain(double *gain, double *low, double *high, const graft_curve *c, double from, double to,
                     double level, graft_err *err) {
    *gain = graft_curve_at(c, from) - graft_curve_at(c, to);
    return percentiles(low, high, c, FALL, from, to, level, err);
}

int graft_curve_needed(double *n, double *low, double *high, const graft_curve *c, double error, double level,
                       graft_err *err) {
    *n = needed((double[]){c->a, c->b, c->c}, error);
    return percentiles(low, high, c, NEEDED, error, 0.0, level, err);
}
