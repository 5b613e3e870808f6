/* Intervals and paired tests by the incomplete beta function, of which Student's t and the binomial
 * distribution are both cases. */
#include "learn/statistics.h"

#include <math.h>
#include <stdlib.h>

/* The continued fraction of DLMF 8.17.22, evaluated forward by Lentz's method (Thompson and Barnett 1986). It
 * converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b) {
    const double tiny = 1e-300;
    double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0);
    d = 1.0 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < 100000; m++) {
        double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        double steps[2] = {even, odd}, last = 1.0;
        for (int i = 0; i < 2; i++) {
            d = 1.0 + steps[i] * d;
            c = 1.0 + steps[i] / c;
            d = 1.0 / (fabs(d) < tiny ? tiny : d);
            if (fabs(c) < tiny) c = tiny;
            last = c * d;
            f *= last;
        }
        if (fabs(last - 1.0) < 1e-16) break;
    }
    return f;
}

/* lgamma leaves the sign of its gamma in a variable of the whole process. */
static double log_gamma(double x) {
    int sign = 0;
    return lgamma_r(x, &sign);
}

double graft_beta_share(double x, double a, double b) {
    if (!(x > 0.0)) return 0.0;
    if (x >= 1.0) return 1.0;
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(x, a, b) / a;
    return 1.0 - front * beta_fraction(1.0 - x, b, a) / b;
}

double graft_beta_quantile(double p, double a, double b) {
    double low = 0.0, high = 1.0;
    for (;;) {
        double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high) return middle;
        if (graft_beta_share(middle, a, b) < p)
            low = middle;
        else
            high = middle;
    }
}

double graft_student_quantile(double p, double freedom) {
    if (p < 0.5) return -graft_student_quantile(1.0 - p, freedom);
    /* P(|T| > t) = I_x(freedom / 2, 1/2), x = freedom / (freedom + t^2) */
    double x = graft_beta_quantile(2.0 * (1.0 - p), 0.5 * freedom, 0.5);
    return sqrt(freedom * (1.0 - x) / x);
}

double graft_normal_quantile(double p) {
    if (p < 0.5) return -graft_normal_quantile(1.0 - p);
    double low = 0.0, high = 40.0;
    for (;;) {
        double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high) return middle;
        if (0.5 * erfc(middle / sqrt(2.0)) > 1.0 - p)
            low = middle;
        else
            high = middle;
    }
}

graft_interval graft_interval_of(const double *values, int64_t n, double level) {
    graft_interval r = {NAN, NAN, NAN, NAN, n};
    double sum = 0.0, squares = 0.0;
    if (n < 1) return r;
    for (int64_t i = 0; i < n; i++) sum += values[i];
    r.mean = sum / (double)n;
    if (n < 2) return r;
    for (int64_t i = 0; i < n; i++) squares += (values[i] - r.mean) * (values[i] - r.mean);
    r.sd = sqrt(squares / (double)(n - 1));
    double half = graft_student_quantile(0.5 + 0.5 * level, (double)(n - 1)) * r.sd / sqrt((double)n);
    r.low = r.mean - half;
    r.high = r.mean + half;
    return r;
}

void graft_share_wilson(double *low, double *high, double k, int64_t n, double level) {
    *low = 0.0;
    *high = 1.0;
    if (n < 1) return;
    double z = graft_normal_quantile(0.5 + 0.5 * level), p = k / (double)n, zz = z * z / (double)n;
    double middle = (p + 0.5 * zz) / (1.0 + zz);
    double half = sqrt(zz * (p * (1.0 - p) + 0.25 * zz)) / (1.0 + zz);
    *low = k <= 0.0 ? 0.0 : middle - half;
    *high = k >= (double)n ? 1.0 : middle + half;
}

void graft_share_exact(double *low, double *high, int64_t k, int64_t n, double level) {
    double outside = 0.5 * (1.0 - level);
    *low = k <= 0 ? 0.0 : graft_beta_quantile(outside, (double)k, (double)(n - k) + 1.0);
    *high = k >= n ? 1.0 : graft_beta_quantile(1.0 - outside, (double)k + 1.0, (double)(n - k));
}

double graft_mcnemar(int64_t better, int64_t worse) {
    int64_t less = better < worse ? better : worse, n = better + worse;
    if (n == 0) return 1.0;
    if (n > 10000) {
        double distance = fabs((double)(better - worse)) - 1.0;
        return erfc(fmax(distance, 0.0) / sqrt(2.0 * (double)n));
    }
    /* P(X <= less) for X of n fair coins is I_1/2(n - less, less + 1) */
    double p = 2.0 * graft_beta_share(0.5, (double)(n - less), (double)less + 1.0);
    return p < 1.0 ? p : 1.0;
}

typedef struct ranked {
    double p;
    size_t index;
} ranked;

static int by_p(const void *x, const void *y) {
    const ranked *a = x, *b = y;
    if (a->p != b->p) return a->p < b->p ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

int graft_holm(double *adjusted, const double *p, size_t n, graft_err *err) {
    ranked *order = malloc((n + 1) * sizeof *order);
    size_t m = 0;
    double most = 0.0;
    if (!order) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        if (!isnan(p[i])) order[m++] = (ranked){p[i], i};
    for (size_t i = 0; i < n; i++) adjusted[i] = p[i];
    qsort(order, m, sizeof *order, by_p);
    for (size_t i = 0; i < m; i++) {
        double q = fmin(1.0, (double)(m - i) * order[i].p);
        most = fmax(most, q);
        adjusted[order[i].index] = most;
    }
    free(order);
    return 0;
}
