/* Metrics of predicted numbers. */
#include "learn/metric_tasks.h"

#include <math.h>
#include <stdlib.h>

/* sum (x - mean x)(y - mean y) / the root of both sums of squares; 0 where one is constant. */
static double correlation(const double *x, const double *y, int64_t n) {
    double mx = 0.0, my = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
    for (int64_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    double both = sqrt(xx) * sqrt(yy);
    return both > 0.0 ? fmin(fmax(xy / both, -1.0), 1.0) : 0.0;
}

typedef struct ranked {
    double value;
    int64_t at;
} ranked;

static int by_value(const void *a, const void *b) {
    double x = ((const ranked *)a)->value, y = ((const ranked *)b)->value;
    return (x > y) - (x < y);
}

/* Replaces values by ranks from 1; equal ones share the mean of theirs. */
static void rank(double *x, int64_t n, ranked *order) {
    for (int64_t i = 0; i < n; i++) order[i] = (ranked){x[i], i};
    qsort(order, (size_t)n, sizeof *order, by_value);
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && !(order[j].value > order[i].value);) j++;
        for (int64_t k = i; k < j; k++) x[order[k].at] = 0.5 * (double)(i + 1 + j);
    }
}

/* Constant numbers have no spread, whatever the rounding of their mean says. */
static bool is_constant(const double *x, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[0] || x[i] < x[0]) return false;
    return true;
}

static void measure(graft_regression_metrics *m, double *p, double *t, ranked *order) {
    double mean = 0.0, spread = 0.0;
    for (int64_t i = 0; i < m->n; i++) {
        double d = p[i] - t[i];
        m->mse += d * d / (double)m->n;
        m->mae += fabs(d) / (double)m->n;
        mean += t[i] / (double)m->n;
    }
    for (int64_t i = 0; i < m->n; i++) spread += (t[i] - mean) * (t[i] - mean);
    if (is_constant(t, m->n))
        m->r2 = m->mse > 0.0 ? 0.0 : 1.0;
    else
        m->r2 = 1.0 - m->mse * (double)m->n / spread;
    if (is_constant(t, m->n) || is_constant(p, m->n)) return;
    m->pearson = correlation(p, t, m->n);
    rank(p, m->n, order);
    rank(t, m->n, order);
    m->spearman = correlation(p, t, m->n);
}

int graft_regression_metrics_compute(graft_regression_metrics *out, const float *predicted,
                                     const float *truth, int64_t n, graft_err *err) {
    if (n < 1) return graft_err_set(err, GRAFT_EDATA, "no sample with a number to measure");
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(truth[i]))
            return graft_err_set(err, GRAFT_EDATA, "sample %lld: its number is not finite", (long long)i);
        if (!isfinite(predicted[i]))
            return graft_err_set(err, GRAFT_EDATA, "sample %lld: the model's output is not finite",
                                 (long long)i);
    }
    double *p = calloc((size_t)n, sizeof *p), *t = calloc((size_t)n, sizeof *t);
    ranked *order = calloc((size_t)n, sizeof *order);
    bool ok = p && t && order;
    if (ok) {
        graft_regression_metrics m = {.n = n};
        for (int64_t i = 0; i < n; i++) {
            p[i] = (double)predicted[i];
            t[i] = (double)truth[i];
        }
        measure(&m, p, t, order);
        *out = m;
    }
    free(p);
    free(t);
    free(order);
    return ok ? 0 : graft_err_nomem(err);
}

json_t *graft_regression_metrics_json(const graft_regression_metrics *m) {
    return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f}", "n", (json_int_t)m->n, "mse", m->mse, "mae", m->mae, "r2",
                     m->r2, "pearson", m->pearson, "spearman", m->spearman);
}
