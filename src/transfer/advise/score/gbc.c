/* Pandy et al. 2022, "Transferability Estimation using Bhattacharyya Class Separability": minus the sum over
 * pairs of classes of exp(-Bhattacharyya distance) of their Gaussians, spherical, on the 64 leading principal
 * coordinates. A class without a spread of its own (one example) is given that of the others. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

enum { AXES = 64 };

/* mean [k, d] and mean variance of an axis of each class. */
static void fit_classes(const graft_labelled *f, int64_t d, double *mean, double *variance) {
    double pooled = 0;
    int64_t n_pooled = 0;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < d; j++)
            mean[f->y[i] * d + j] += f->t[i * f->rank + j] / (double)f->counts[f->y[i]];
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < d; j++) {
            double x = f->t[i * f->rank + j] - mean[f->y[i] * d + j];
            variance[f->y[i]] += x * x / (double)d / (double)f->counts[f->y[i]];
        }
    for (int64_t c = 0; c < f->k; c++)
        if (f->counts[c] > 1) {
            pooled += variance[c] * (double)f->counts[c];
            n_pooled += f->counts[c];
        }
    pooled = n_pooled ? pooled / (double)n_pooled : 0.0;
    double least = 1e-9 * f->squares[0] / (double)f->n;
    for (int64_t c = 0; c < f->k; c++) variance[c] = fmax(f->counts[c] > 1 ? variance[c] : pooled, least);
}

static int score(double *out, const graft_labelled *f, graft_err *err) {
    int64_t d = f->rank < AXES ? f->rank : AXES;
    double *mean = graft_doubles(f->k, d), *variance = graft_doubles(f->k, 1);
    *out = 0.0;
    if (!mean || !variance) {
        free(mean);
        free(variance);
        return graft_err_nomem(err);
    }
    fit_classes(f, d, mean, variance);
    for (int64_t a = 0; a < f->k; a++)
        for (int64_t b = 0; b < a; b++) {
            double apart = 0, v = 0.5 * (variance[a] + variance[b]);
            if (f->counts[a] == 0 || f->counts[b] == 0) continue;
            for (int64_t j = 0; j < d; j++) {
                double x = mean[a * d + j] - mean[b * d + j];
                apart += x * x;
            }
            double distance = apart / (8.0 * v) + 0.5 * (double)d * log(v / sqrt(variance[a] * variance[b]));
            *out -= 2.0 * exp(-distance);
        }
    free(mean);
    free(variance);
    return 0;
}

const graft_transferability graft_transferability_gbc = {
    .name = "gbc", .help = "overlap of the classes' Gaussians (Pandy et al. 2022)", .score = score};
