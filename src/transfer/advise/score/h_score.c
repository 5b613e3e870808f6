/* tr(cov(f)^-1 cov(E[f | y])), Bao et al. 2019, "An Information-Theoretic Approach to Transferability", with
 * the covariance shrunk (Ibrahim et al. 2021, "Newer is not always better"): without it fewer samples than
 * features give the number of classes - 1, whatever the features. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

/* Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices": the share
 * of mu I in the estimate. Needs only traces, the same in every basis: beta = (mean |x|^4 - |S|^2) / (d n),
 * delta = |S|^2 / d - mu^2. */
static double shrinkage(const graft_labelled *f, double *mu) {
    double n = (double)f->n, d = (double)f->width, fourth = 0, trace = 0, mean2 = 0, norm = 0, cross = 0;
    for (int64_t i = 0; i < f->n; i++) {
        double square = 0;
        for (int64_t j = 0; j < f->rank; j++) {
            double x = f->t[i * f->rank + j] - f->mean[j];
            square += x * x;
        }
        fourth += square * square / n;
        trace += square / n;
    }
    /* S = diag(s / n) - m m' */
    for (int64_t j = 0; j < f->rank; j++) {
        double s = f->squares[j] / n, m2 = f->mean[j] * f->mean[j];
        norm += s * s;
        cross += s * m2;
        mean2 += m2;
    }
    norm += mean2 * mean2 - 2.0 * cross;
    *mu = trace / d;
    double delta = norm / d - *mu * *mu, beta = (fourth - norm) / (d * n);
    if (!(delta > 0)) return 0.0;
    return beta < 0 ? 0.0 : beta > delta ? 1.0 : beta / delta;
}

/* g' (diag(b) - r m m')^-1 g, by Sherman and Morrison. */
static double quadratic(const double *g, const double *b, const double *m, double r, int64_t n) {
    double gg = 0, gm = 0, mm = 0;
    for (int64_t j = 0; j < n; j++) {
        gg += g[j] * g[j] / b[j];
        gm += g[j] * m[j] / b[j];
        mm += m[j] * m[j] / b[j];
    }
    return gg + r * gm * gm / (1.0 - r * mm);
}

static int score(double *out, const graft_labelled *f, graft_err *err) {
    double mu = 0, a = shrinkage(f, &mu), n = (double)f->n;
    double *b = graft_doubles(f->rank, 1), *g = graft_doubles(f->k, f->rank);
    *out = 0.0;
    if (!b || !g) {
        free(b);
        free(g);
        return graft_err_nomem(err);
    }
    /* beside rounding nothing is left of a direction in which nothing varies: keep it out of the inverse */
    double least = 1e-12 * f->squares[0] / n;
    for (int64_t j = 0; j < f->rank; j++) b[j] = fmax((1.0 - a) * f->squares[j] / n + a * mu, least);
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->rank; j++) g[f->y[i] * f->rank + j] += f->t[i * f->rank + j] - f->mean[j];
    /* classes' covariance is shrunk by the same share towards 0 */
    for (int64_t c = 0; c < f->k; c++)
        if (f->counts[c])
            *out += (1.0 - a) * quadratic(g + c * f->rank, b, f->mean, 1.0 - a, f->rank) /
                    ((double)f->counts[c] * n);
    free(b);
    free(g);
    return 0;
}

const graft_transferability graft_transferability_h_score = {
    .name = "h_score",
    .help = "variance between classes over all variance, shrunk (Bao et al. 2019, Ibrahim et al. 2021)",
    .score = score};
