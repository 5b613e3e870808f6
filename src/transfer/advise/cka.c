#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

static double *centred(const graft_labelled *f) {
    double *x = graft_doubles(f->n, f->rank);
    for (int64_t i = 0; x && i < f->n; i++)
        for (int64_t j = 0; j < f->rank; j++) x[i * f->rank + j] = f->t[i * f->rank + j] - f->mean[j];
    return x;
}

/* |a' b|^2 of a [n, p], b [n, q]. */
static int cross(double *out, const double *a, int64_t p, const double *b, int64_t q, int64_t n,
                 graft_err *err) {
    double *c = graft_doubles(p, q);
    *out = 0.0;
    if (!c) return graft_err_nomem(err);
    graft_product(c, a, true, b, false, p, q, n);
    for (int64_t i = 0; i < p * q; i++) *out += c[i] * c[i];
    free(c);
    return 0;
}

int graft_cka(double *out, const graft_labelled *a, const graft_labelled *b, graft_err *err) {
    double *x = centred(a), *y = centred(b), xx = 0, yy = 0, xy = 0;
    int rc = x && y ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = cross(&xy, x, a->rank, y, b->rank, a->n, err);
    if (rc == 0) rc = cross(&xx, x, a->rank, x, a->rank, a->n, err);
    if (rc == 0) rc = cross(&yy, y, b->rank, y, b->rank, a->n, err);
    *out = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0.0;
    free(x);
    free(y);
    return rc;
}
