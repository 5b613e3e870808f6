/* Huang et al. 2022, "Frustratingly Easy Transferability Estimation": the coding rate of all features less
 * that of the features within each class. Features are centred and scaled to a mean square of 1, so that
 * models of different scale are judged alike; a class weighs as it has examples. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DISTORTION = 1e-4;

/* log det(I + c Z'Z) of rows z [n, d], through the smaller of Z'Z and ZZ'. `square` has room for it. */
static int log_det_of(double *out, double *square, const double *z, int64_t n, int64_t d, double c,
                      graft_err *err) {
    int64_t m = n < d ? n : d;
    graft_product(square, z, m == d, z, m != d, m, m, m == d ? n : d);
    for (int64_t i = 0; i < m * m; i++) square[i] *= c;
    for (int64_t i = 0; i < m; i++) square[i * m + i] += 1.0;
    return graft_log_det(out, square, m, err);
}

static int rates(double *out, const graft_labelled *f, double *z, double *class_rows, double *square,
                 graft_err *err) {
    int64_t d = f->rank;
    double total = 0, whole = 0;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < d; j++) {
            z[i * d + j] = f->t[i * d + j] - f->mean[j];
            total += z[i * d + j] * z[i * d + j];
        }
    if (!(total > 0)) return 0;
    double scale = (double)f->n / total / DISTORTION;
    int rc = log_det_of(&whole, square, z, f->n, d, scale / (double)f->n, err);
    *out = 0.5 * whole;
    for (int64_t c = 0; c < f->k && rc == 0; c++) {
        int64_t n = 0;
        double within = 0;
        for (int64_t i = 0; i < f->n; i++)
            if (f->y[i] == c) memcpy(class_rows + n++ * d, z + i * d, (size_t)d * sizeof *z);
        if (n == 0) continue;
        rc = log_det_of(&within, square, class_rows, n, d, scale / (double)n, err);
        *out -= 0.5 * within * (double)n / (double)f->n;
    }
    return rc;
}

static int score(double *out, const graft_labelled *f, graft_err *err) {
    double *z = graft_doubles(f->n, f->rank), *class_rows = graft_doubles(f->n, f->rank);
    double *square = graft_doubles(f->rank, f->rank);
    *out = 0.0;
    int rc = z && class_rows && square ? rates(out, f, z, class_rows, square, err) : graft_err_nomem(err);
    free(z);
    free(class_rows);
    free(square);
    return rc;
}

const graft_transferability graft_transferability_transrate = {
    .name = "transrate",
    .help = "coding rate of all features less that within classes (Huang et al. 2022)",
    .score = score};
