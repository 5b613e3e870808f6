/* |ma - mb|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)). With A = X'X, X the centred rows over sqrt(n), and B = Y'Y
 * alike, the last trace is the sum of the singular values of X Y', and X and Y may be replaced by the R of
 * their QR decompositions: no matrix is larger than the smaller of rows and columns asks for. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

typedef struct root {
    double *rows, *mean; /* [m, width], m = min(n, width); [width] */
    int64_t m;
    double trace;
} root;

static int make_root(root *r, const float *x, int64_t n, int64_t width, graft_err *err) {
    r->rows = graft_doubles(n, width);
    r->mean = graft_doubles(width, 1);
    r->m = n < width ? n : width;
    if (!r->rows || !r->mean) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) r->mean[j] += (double)x[i * width + j] / (double)n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) {
            double v = ((double)x[i * width + j] - r->mean[j]) / sqrt((double)n);
            r->rows[i * width + j] = v;
            r->trace += v * v;
        }
    return n > width ? graft_qr(r->rows, n, width, err) : 0;
}

int graft_frechet(double *out, double *scale, const float *a, int64_t n_a, const float *b, int64_t n_b,
                  int64_t width, graft_err *err) {
    root x = {0}, y = {0};
    double *cross = NULL, norm = 0, apart = 0;
    int rc = make_root(&x, a, n_a, width, err);
    if (rc == 0) rc = make_root(&y, b, n_b, width, err);
    if (rc == 0 && !(cross = graft_doubles(x.m, y.m))) rc = graft_err_nomem(err);
    if (rc == 0) {
        graft_product(cross, x.rows, false, y.rows, true, x.m, y.m, width);
        rc = graft_nuclear_norm(&norm, cross, x.m, y.m, err);
    }
    for (int64_t j = 0; j < width && rc == 0; j++) apart += (x.mean[j] - y.mean[j]) * (x.mean[j] - y.mean[j]);
    *out = fmax(apart + x.trace + y.trace - 2.0 * norm, 0.0);
    *scale = x.trace;
    free(cross);
    free(x.rows);
    free(x.mean);
    free(y.rows);
    free(y.mean);
    return rc;
}
