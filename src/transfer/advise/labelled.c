/* Features in principal coordinates: by the eigenvectors of the smaller of X'X and XX'. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

#define GRAFT_TRANSFERABILITY(name) &graft_transferability_##name,
static const graft_transferability *const rows[] = {
#include "transfer/advise/score/list.h"
};
#undef GRAFT_TRANSFERABILITY

const graft_transferability *const *graft_transferabilities(size_t *n) {
    *n = GRAFT_COUNT(rows);
    return rows;
}

/* Axes whose square is below this share of the largest are rounding: float32 has no more. */
static const double LEAST = 1e-12;

/* T [n, rank] from the m eigenvectors (columns of `vectors`, values rising). With m = width T = X V; with m =
 * n, XX' = U S^2 U' and T = U S. */
static int take_axes(graft_labelled *f, graft_arena *arena, const double *x, const double *values,
                     const double *vectors, int64_t m, graft_err *err) {
    double largest = values[m - 1];
    while (f->rank < m && values[m - 1 - f->rank] > LEAST * largest) f->rank++;
    double *t = graft_arena_array(arena, (size_t)(f->n * f->rank) + 1, sizeof *t);
    double *squares = graft_arena_array(arena, (size_t)f->rank, sizeof *squares);
    double *mean = graft_arena_array(arena, (size_t)f->rank, sizeof *mean);
    double *axes = graft_doubles(m, f->rank);
    if (!t || !squares || !mean || !axes) {
        free(axes);
        return graft_err_nomem(err);
    }
    for (int64_t j = 0; j < f->rank; j++) squares[j] = values[m - 1 - j];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < f->rank; j++) axes[i * f->rank + j] = vectors[i * m + m - 1 - j];
    if (m == f->width) {
        graft_product(t, x, false, axes, false, f->n, f->rank, m);
    } else {
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < f->rank; j++)
                t[i * f->rank + j] = axes[i * f->rank + j] * sqrt(squares[j]);
    }
    free(axes);
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->rank; j++) mean[j] += t[i * f->rank + j] / (double)f->n;
    f->t = t;
    f->squares = squares;
    f->mean = mean;
    return 0;
}

static int decompose(graft_labelled *f, graft_arena *arena, const float *x, graft_err *err) {
    int64_t m = f->n < f->width ? f->n : f->width;
    double *wide = graft_doubles(f->n, f->width), *square = graft_doubles(m, m),
           *values = graft_doubles(m, 1);
    int rc = wide && square && values ? 0 : graft_err_nomem(err);
    bool finite = true, zero = true;
    for (int64_t i = 0; rc == 0 && i < f->n * f->width; i++) {
        wide[i] = (double)x[i];
        finite &= isfinite(wide[i]) != 0;
        zero &= wide[i] == 0.0;
    }
    if (rc == 0 && !finite)
        rc = graft_err_set(err, GRAFT_EDATA, "the model's features are not finite numbers");
    if (rc == 0 && zero) rc = graft_err_set(err, GRAFT_EDATA, "all of the model's features are zero");
    if (rc == 0) {
        graft_product(square, wide, m == f->width, wide, m != f->width, m, m,
                      m == f->width ? f->n : f->width);
        rc = graft_eigen(values, square, m, err);
    }
    if (rc == 0) rc = take_axes(f, arena, wide, values, square, m, err);
    free(wide);
    free(square);
    free(values);
    return rc;
}

int graft_labelled_make(graft_labelled *out, graft_arena *arena, const float *x, int64_t n, int64_t width,
                        const int32_t *y, int64_t k, const float *source, int64_t n_source, graft_err *err) {
    *out = (graft_labelled){.n = n, .width = width, .y = y, .k = k, .source = source, .n_source = n_source};
    if (n < 2 || width < 1 || k < 1)
        return graft_err_set(err, GRAFT_EDATA, "%lld samples are too few to judge features by", (long long)n);
    int64_t *counts = graft_arena_array(arena, (size_t)k, sizeof *counts);
    if (!counts) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++) counts[y[i]]++;
    for (int64_t c = 0; c < k; c++) out->n_present += counts[c] > 0;
    out->counts = counts;
    return decompose(out, arena, x, err);
}
