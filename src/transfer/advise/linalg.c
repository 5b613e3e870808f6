/* OpenBLAS is loaded when it is first needed: most commands never are, and it would cost them more than the
 * rest of their start. Once loaded it stays, and the system's loader is who remembers it. LAPACK's own
 * interface is called, which is column-major and takes the lengths of its texts last; a row-major matrix is
 * its transpose. */
#include "transfer/advise/linalg.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void gemm_function(int order, int a_across, int b_across, int m, int n, int k, double alpha,
                           const double *a, int lda, const double *b, int ldb, double beta, double *c,
                           int ldc);
typedef void syevd_function(const char *job, const char *half, const int *n, double *a, const int *lda,
                            double *values, double *work, const int *n_work, int *iwork, const int *n_iwork,
                            int *info, size_t job_size, size_t half_size);
typedef void gesdd_function(const char *job, const int *m, const int *n, double *a, const int *lda,
                            double *values, double *u, const int *ldu, double *v, const int *ldv,
                            double *work, const int *n_work, int *iwork, int *info, size_t job_size);
typedef void potrf_function(const char *half, const int *n, double *a, const int *lda, int *info,
                            size_t half_size);
typedef void gelqf_function(const int *m, const int *n, double *a, const int *lda, double *tau, double *work,
                            const int *n_work, int *info);

enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 }; /* of cblas.h */

static void *open_library(void) {
    static const char *const names[] = {"libopenblas.so.0", "libopenblaso.so.0", "libopenblasp.so.0",
                                        "libopenblas.so"};
    const char *own = getenv("GRAFT_OPENBLAS");
    const int how = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
    if (own && *own) return dlopen(own, how);
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        void *library = dlopen(names[i], how);
        if (library) return library;
    }
    return NULL;
}

/* The function of this name, into the pointer to one at `out`. */
static int find(void *out, const char *name, graft_err *err) {
    void *library = open_library(), *symbol = library ? dlsym(library, name) : NULL;
    const char *reason = symbol ? NULL : dlerror();
    if (symbol) memcpy(out, &symbol, sizeof symbol);
    if (symbol) dlclose(library); /* stays in place, and its functions with it */
    if (symbol) return 0;
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "features are judged with OpenBLAS, which cannot be loaded (%s): install it, on "
                         "Debian and Ubuntu by apt-get install libopenblas0-openmp, or name its file in "
                         "GRAFT_OPENBLAS",
                         reason ? reason : name);
}

int graft_linalg_check(graft_err *err) {
    syevd_function *syevd;
    return find(&syevd, "dsyevd_", err);
}

double *graft_doubles(int64_t m, int64_t n) {
    size_t size = 0;
    if (m < 0 || n < 0 || !graft_size_mul((size_t)m, (size_t)n, &size)) return NULL;
    return calloc(size + 1, sizeof(double));
}

/* What gemm does, where there is none. */
static void multiply(double *out, const double *a, bool a_across, const double *b, bool b_across, int64_t m,
                     int64_t p, int64_t q) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < p; j++) {
            double sum = 0.0;
            for (int64_t l = 0; l < q; l++)
                sum += a[a_across ? l * m + i : i * q + l] * b[b_across ? j * q + l : l * p + j];
            out[i * p + j] = sum;
        }
}

void graft_product(double *out, const double *a, bool a_across, const double *b, bool b_across, int64_t m,
                   int64_t p, int64_t q) {
    gemm_function *gemm;
    int depth = (int)(q > 0 ? q : 1);
    if (m == 0 || p == 0) return;
    if (find(&gemm, "cblas_dgemm", NULL) < 0)
        multiply(out, a, a_across, b, b_across, m, p, q);
    else
        gemm(ROW_MAJOR, a_across ? TRANSPOSED : AS_IT_IS, b_across ? TRANSPOSED : AS_IT_IS, (int)m, (int)p,
             (int)q, 1.0, a, a_across ? (int)m : depth, b, b_across ? depth : (int)p, 0.0, out, (int)p);
}

static int failed(const char *what, int info, graft_err *err) {
    return graft_err_set(err, GRAFT_EDATA, "the features' %s could not be computed (%d)", what, info);
}

int graft_eigen(double *values, double *a, int64_t n, graft_err *err) {
    syevd_function *syevd;
    double wanted = 0.0, *work = NULL;
    int size = (int)n, query = -1, n_iwork = 0, n_work = 0, info = 0, *iwork = NULL;
    int rc = find(&syevd, "dsyevd_", err);
    if (rc < 0) return rc;
    syevd("V", "U", &size, a, &size, values, &wanted, &query, &n_iwork, &query, &info, 1, 1);
    n_work = (int)wanted;
    work = graft_doubles(n_work, 1);
    iwork = calloc((size_t)n_iwork + 1, sizeof *iwork);
    rc = work && iwork ? 0 : graft_err_nomem(err);
    if (rc == 0) syevd("V", "U", &size, a, &size, values, work, &n_work, iwork, &n_iwork, &info, 1, 1);
    free(work);
    free(iwork);
    if (rc == 0 && info != 0) rc = failed("eigenvalues", info, err);
    for (int64_t i = 0; i < n && rc == 0; i++) { /* the vectors came as rows */
        for (int64_t j = 0; j < i; j++) {
            double kept = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = kept;
        }
    }
    return rc;
}

int graft_nuclear_norm(double *out, double *a, int64_t m, int64_t n, graft_err *err) {
    gesdd_function *gesdd;
    int64_t k = m < n ? m : n;
    int rows = (int)n, columns = (int)m, one = 1, query = -1, n_work = 0, info = 0;
    double *values = graft_doubles(k, 1), *work = NULL, wanted = 0.0, none = 0.0;
    int *iwork = calloc(8 * (size_t)k + 1, sizeof *iwork);
    *out = 0.0;
    int rc = values && iwork ? find(&gesdd, "dgesdd_", err) : graft_err_nomem(err);
    if (rc == 0) {
        gesdd("N", &rows, &columns, a, &rows, values, &none, &one, &none, &one, &wanted, &query, iwork, &info,
              1);
        n_work = (int)wanted;
        if (!(work = graft_doubles(n_work, 1))) rc = graft_err_nomem(err);
    }
    if (rc == 0)
        gesdd("N", &rows, &columns, a, &rows, values, &none, &one, &none, &one, work, &n_work, iwork, &info,
              1);
    if (rc == 0 && info != 0) rc = failed("singular values", info, err);
    for (int64_t i = 0; i < k && rc == 0; i++) *out += values[i];
    free(values);
    free(iwork);
    free(work);
    return rc;
}

int graft_log_det(double *out, double *a, int64_t n, graft_err *err) {
    potrf_function *potrf;
    int size = (int)n, info = 0;
    *out = 0.0;
    int rc = find(&potrf, "dpotrf_", err);
    if (rc < 0) return rc;
    potrf("U", &size, a, &size, &info, 1);
    for (int64_t i = 0; i < n && info == 0; i++) *out += 2.0 * log(a[i * n + i]);
    return info == 0 ? 0 : failed("determinant", info, err);
}

/* A = QR is A' = R'Q', the LQ decomposition of what LAPACK sees. */
int graft_qr(double *a, int64_t m, int64_t n, graft_err *err) {
    gelqf_function *gelqf;
    int rows = (int)n, columns = (int)m, query = -1, n_work = 0, info = 0;
    double *tau = graft_doubles(n, 1), *work = NULL, wanted = 0.0;
    int rc = tau ? find(&gelqf, "dgelqf_", err) : graft_err_nomem(err);
    if (rc == 0) {
        gelqf(&rows, &columns, a, &rows, tau, &wanted, &query, &info);
        n_work = (int)wanted;
        if (!(work = graft_doubles(n_work, 1))) rc = graft_err_nomem(err);
    }
    if (rc == 0) gelqf(&rows, &columns, a, &rows, tau, work, &n_work, &info);
    if (rc == 0 && info != 0) rc = failed("QR decomposition", info, err);
    free(tau);
    free(work);
    for (int64_t i = 0; i < n && rc == 0; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = 0.0;
    return rc;
}
