/* You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning". */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

/* Both denominators are kept from 0 by as much as the authors' program does. */
static const double EPSILON = 1e-5;

/* log evidence / n of y = X w + noise, w ~ N(0, 1/alpha), noise ~ N(0, 1/beta), at the alpha and beta that
 * MacKay's fixed point finds. z [rank] is U'y, rest = |y|^2 - |z|^2. */
static double evidence(const graft_labelled *f, const double *z, double rest) {
    double alpha = 1.0, beta = 1.0, n = (double)f->n, weights = 0, residual = 0;
    for (int i = 0; i < 100; i++) {
        double ratio = alpha / beta, gamma = 0;
        weights = 0;
        residual = rest;
        for (int64_t j = 0; j < f->rank; j++) {
            double s = f->squares[j], shrunk = z[j] / (s + ratio);
            gamma += s / (s + ratio);
            weights += s * shrunk * shrunk;
            residual += ratio * shrunk * ratio * shrunk;
        }
        alpha = gamma / (weights + EPSILON);
        beta = (n - gamma) / (residual + EPSILON);
        if (fabs(alpha / beta - ratio) <= 1e-9 * ratio) break;
    }
    double sum = 0;
    for (int64_t j = 0; j < f->rank; j++) sum += log(alpha) - log(alpha + beta * f->squares[j]);
    return 0.5 * (sum / n + log(beta) - (beta * residual + alpha * weights) / n - log(2.0 * M_PI));
}

static int score(double *out, const graft_labelled *f, graft_err *err) {
    double *z = graft_doubles(f->rank, 1);
    *out = 0.0;
    if (!z) return graft_err_nomem(err);
    for (int64_t c = 0; c < f->k; c++) {
        double rest = (double)f->counts[c];
        if (f->counts[c] == 0) continue;
        for (int64_t j = 0; j < f->rank; j++) z[j] = 0.0;
        for (int64_t i = 0; i < f->n; i++)
            for (int64_t j = 0; j < f->rank && f->y[i] == c; j++) z[j] += f->t[i * f->rank + j];
        for (int64_t j = 0; j < f->rank; j++) {
            z[j] /= sqrt(f->squares[j]);
            rest -= z[j] * z[j];
        }
        *out += evidence(f, z, rest > 0 ? rest : 0) / (double)f->n_present;
    }
    free(z);
    return 0;
}

const graft_transferability graft_transferability_logme = {
    .name = "logme",
    .help = "log evidence of a linear model of the classes (You et al. 2021)",
    .score = score};
