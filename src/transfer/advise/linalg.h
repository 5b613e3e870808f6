/* The few calls of BLAS and LAPACK that the scores need, on row-major doubles. OpenBLAS is loaded at the
 * first of them; Debian's libopenblas0-openmp runs them on the threads of OpenMP, as all of graft's own
 * loops, any other does too. GRAFT_OPENBLAS names its file. */
#ifndef GRAFT_TRANSFER_ADVISE_LINALG_H
#define GRAFT_TRANSFER_ADVISE_LINALG_H

#include "base/base.h"

/** Can OpenBLAS be loaded? EUNSUPPORTED says what to install. */
int graft_linalg_check(graft_err *err);
/** out [m, p] = a [m, q] b [q, p]; `a_across`: a is given as [q, m], `b_across`: b as [p, q].
 * Without OpenBLAS by plain loops; the others are EUNSUPPORTED then. */
void graft_product(double *out, const double *a, bool a_across, const double *b, bool b_across, int64_t m,
                   int64_t p, int64_t q);
/** Eigenvalues of the symmetric a [n, n], rising, into values [n]; a becomes the vectors, a column each. */
int graft_eigen(double *values, double *a, int64_t n, graft_err *err);
/** Sum of the singular values of a [m, n], which is overwritten. */
int graft_nuclear_norm(double *out, double *a, int64_t m, int64_t n, graft_err *err);
/** log det of a symmetric positive definite a [n, n], which is overwritten. */
int graft_log_det(double *out, double *a, int64_t n, graft_err *err);
/** a [m, n], m >= n, becomes in its first n rows the R of its QR decomposition. */
int graft_qr(double *a, int64_t m, int64_t n, graft_err *err);
/** Zeroed doubles of [m, n], to be freed; NULL when there is no room. */
double *graft_doubles(int64_t m, int64_t n);

#endif
