#include "transfer/advise/linalg.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

double *graft_doubles(int64_t m, int64_t n) {
    size_t size = 0;
    if (m < 0 || n < 0 || !graft_size_mul((size_t)m, (size_t)n, &size)) return NULL;
    return calloc(size + 1, sizeof(double));
}

void graft_product(double *out, const double *a, bool a_across, const double *b, bool b_across, int64_t m,
                   int64_t p, int64_t q) {
    if (m == 0 || p == 0) return;
    cblas_dgemm(CblasRowMajor, a_across ? CblasTrans : CblasNoTrans, b_across ? CblasTrans : CblasNoTrans,
                (int)m, (int)p, (int)q, 1.0, a,
                (int)(a_across ? m
                      : q > 0  ? q
                               : 1),
                b, (int)(b_across ? (q > 0 ? q : 1) : p), 0.0, out, (int)p);
}

static int failed(const char *what, lapack_int info, graft_err *err) {
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return graft_err_nomem(err);
    return graft_err_set(err, GRAFT_EDATA, "the features' %s could not be computed (%d)", what, (int)info);
}

int graft_eigen(double *values, double *a, int64_t n, graft_err *err) {
    /* of a symmetric matrix rows and columns are the same: no copy is turned about; the vectors come as rows
     */
    lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (int)n, a, (int)n, values);
    if (info != 0) return failed("eigenvalues", info, err);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < i; j++) {
            double kept = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = kept;
        }
    }
    return 0;
}

int graft_nuclear_norm(double *out, double *a, int64_t m, int64_t n, graft_err *err) {
    int64_t k = m < n ? m : n;
    double *values = graft_doubles(k, 1), none = 0.0;
    *out = 0.0;
    if (!values) return graft_err_nomem(err);
    lapack_int info =
        LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (int)n, (int)m, a, (int)n, values, &none, 1, &none, 1);
    for (int64_t i = 0; i < k; i++) *out += values[i];
    free(values);
    return info == 0 ? 0 : failed("singular values", info, err);
}

int graft_log_det(double *out, double *a, int64_t n, graft_err *err) {
    lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', (int)n, a, (int)n);
    *out = 0.0;
    for (int64_t i = 0; i < n && info == 0; i++) *out += 2.0 * log(a[i * n + i]);
    return info == 0 ? 0 : failed("determinant", info, err);
}

int graft_qr(double *a, int64_t m, int64_t n, graft_err *err) {
    double *tau = graft_doubles(n, 1);
    if (!tau) return graft_err_nomem(err);
    lapack_int info = LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, (int)m, (int)n, a, (int)n, tau);
    free(tau);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = 0.0;
    return info == 0 ? 0 : failed("QR decomposition", info, err);
}
