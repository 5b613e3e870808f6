/* The linear map that brings vectors of one space closest to those of another: least squares over pairs, both
 * sides centred, with a ridge that is a small share of the vectors' own variance. */
#include "base/base.h"
#include "model/vectors_words.h"
#include <math.h>
#include <string.h>

#define RIDGE 1e-3

static void take_means(double *mean, const float *x, size_t n, size_t d) {
    memset(mean, 0, d * sizeof *mean);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++) mean[k] += (double)x[i * d + k] / (double)n;
}

/* The lower triangle of x^T x into xx (d,d), x^T y into xy (d,width), of centred pairs. */
static void sum_products(const graft_vectors_map *m, const float *x, const float *y, size_t n, double *xx,
                         double *xy, int threads) {
    const size_t d = m->d, width = m->width;
    (void)threads; /* of the thread sanitizer's build, which has no OpenMP */
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
    for (size_t a = 0; a < d; a++)
        for (size_t i = 0; i < n; i++) {
            const double xa = (double)x[i * d + a] - m->from_mean[a];
            for (size_t b = 0; b <= a; b++) xx[a * d + b] += xa * ((double)x[i * d + b] - m->from_mean[b]);
            for (size_t k = 0; k < width; k++)
                xy[a * width + k] += xa * ((double)y[i * width + k] - m->to_mean[k]);
        }
}

/* Cholesky's factor L of the lower triangle of a (d,d), in its place; false where it is not positive. */
static bool factorise(double *a, size_t d) {
    for (size_t j = 0; j < d; j++) {
        for (size_t k = 0; k < j; k++) a[j * d + j] -= a[j * d + k] * a[j * d + k];
        if (!(a[j * d + j] > 0)) return false;
        a[j * d + j] = sqrt(a[j * d + j]);
        for (size_t i = j + 1; i < d; i++) {
            for (size_t k = 0; k < j; k++) a[i * d + j] -= a[i * d + k] * a[j * d + k];
            a[i * d + j] /= a[j * d + j];
        }
    }
    return true;
}

/* L L^T z = b for every column of b (d,width), in its place. */
static void solve(const double *l, size_t d, double *b, size_t width) {
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < i; k++)
            for (size_t c = 0; c < width; c++) b[i * width + c] -= l[i * d + k] * b[k * width + c];
        for (size_t c = 0; c < width; c++) b[i * width + c] /= l[i * d + i];
    }
    for (size_t i = d; i-- > 0;) {
        for (size_t k = i + 1; k < d; k++)
            for (size_t c = 0; c < width; c++) b[i * width + c] -= l[k * d + i] * b[k * width + c];
        for (size_t c = 0; c < width; c++) b[i * width + c] /= l[i * d + i];
    }
}

int graft_vectors_map_fit(graft_vectors_map *out, graft_arena *arena, const float *x, const float *y,
                          size_t n, size_t d, size_t width, int threads, graft_err *err) {
    double *xx = graft_arena_array(arena, d * d, sizeof *xx), trace = 0;
    double *map = graft_arena_array(arena, d * width, sizeof *map);
    double *means = graft_arena_array(arena, d + width, sizeof *means);
    if (!xx || !map || !means) return graft_err_nomem(err);
    *out = (graft_vectors_map){.d = d, .width = width, .map = map, .from_mean = means, .to_mean = means + d};
    take_means(means, x, n, d);
    take_means(means + d, y, n, width);
    memset(xx, 0, d * d * sizeof *xx);
    memset(map, 0, d * width * sizeof *map);
    sum_products(out, x, y, n, xx, map, threads);
    for (size_t a = 0; a < d; a++) trace += xx[a * d + a];
    for (size_t a = 0; a < d; a++) xx[a * d + a] += RIDGE * trace / (double)d;
    if (!factorise(xx, d))
        return graft_err_set(err, GRAFT_EDATA, "the vectors of the shared words are all the same");
    solve(xx, d, map, width);
    return 0;
}

void graft_vectors_map_apply(const graft_vectors_map *m, const float *x, float *out) {
    for (size_t k = 0; k < m->width; k++) {
        double sum = m->to_mean[k];
        for (size_t a = 0; a < m->d; a++) sum += ((double)x[a] - m->from_mean[a]) * m->map[a * m->width + k];
        out[k] = (float)sum;
    }
}

int graft_vectors_map_judge(double *cosine, const graft_vectors_map *m, graft_arena *arena, const float *x,
                            const float *y, size_t n, graft_err *err) {
    float *made = graft_arena_array(arena, m->width, sizeof *made);
    double total = 0;
    if (!made) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        double dot = 0, a = 0, b = 0;
        graft_vectors_map_apply(m, x + i * m->d, made);
        for (size_t k = 0; k < m->width; k++) {
            double p = (double)made[k] - m->to_mean[k], q = (double)y[i * m->width + k] - m->to_mean[k];
            dot += p * q;
            a += p * p;
            b += q * q;
        }
        total += a > 0 && b > 0 ? dot / sqrt(a * b) : 0;
    }
    *cosine = n ? total / (double)n : 0;
    return 0;
}
