#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Squared distances of all pairs of x [n, width] into d [n, n], which holds the products. */
static void distances(double *d, const double *x, int64_t n, int64_t width) {
    graft_product(d, x, false, x, true, n, n, width);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (i != j) d[i * n + j] = d[i * n + i] + d[j * n + j] - 2.0 * d[i * n + j];
    for (int64_t i = 0; i < n; i++) d[i * n + i] = 0.0;
}

/* d [n, n] was made of both diagonals: the median of the distances above it, squared. */
static double median_of(const double *d, int64_t n, double *room) {
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++) room[m++] = fmax(d[i * n + j], 0.0);
    qsort(room, (size_t)m, sizeof *room, by_size);
    double median = 0.5 * (sqrt(room[(m - 1) / 2]) + sqrt(room[m / 2]));
    return median * median;
}

int graft_mmd(double *out, const float *a, int64_t n_a, const float *b, int64_t n_b, int64_t width,
              graft_err *err) {
    int64_t n = n_a + n_b;
    double *x = graft_doubles(n, width), *d = graft_doubles(n, n), *room = graft_doubles(n, n);
    double within_a = 0, within_b = 0, between = 0;
    int rc = x && d && room ? 0 : graft_err_nomem(err);
    *out = 0.0;
    if (rc == 0 && (n_a < 2 || n_b < 2))
        rc = graft_err_set(err, GRAFT_EDATA, "two samples of each side at least are needed to compare them");
    if (rc == 0) {
        for (int64_t i = 0; i < n * width; i++) x[i] = (double)(i < n_a * width ? a[i] : b[i - n_a * width]);
        distances(d, x, n, width);
        double square = median_of(d, n, room);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i + 1; j < n; j++) {
                double k = square > 0 ? exp(-fmax(d[i * n + j], 0.0) / (2.0 * square)) : 1.0;
                *(j < n_a ? &within_a : i < n_a ? &between : &within_b) += k;
            }
        *out = 2.0 * within_a / (double)(n_a * (n_a - 1)) + 2.0 * within_b / (double)(n_b * (n_b - 1)) -
               2.0 * between / (double)(n_a * n_b);
    }
    free(x);
    free(d);
    free(room);
    return rc;
}
