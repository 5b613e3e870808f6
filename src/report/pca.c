/* The principal plane: subspace iteration with a block somewhat wider than the plane. */
#include "report/maths.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 10, ROUNDS = 24, SWEEPS = 30 };

typedef struct plane {
    const float *rows;
    int64_t n, d;
    double *mean;   /* [d] */
    double *basis;  /* [d, BLOCK] orthonormal columns */
    double *spread; /* [n, BLOCK] centred rows along the basis */
    int64_t block;
} plane;

static void centre(plane *p) {
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->d; j++) p->mean[j] += (double)p->rows[i * p->d + j];
    for (int64_t j = 0; j < p->d; j++) p->mean[j] /= (double)p->n;
}

/* spread = (rows - mean) basis */
static void project(plane *p) {
    memset(p->spread, 0, (size_t)(p->n * BLOCK) * sizeof *p->spread);
    for (int64_t i = 0; i < p->n; i++) {
        double *to = p->spread + i * BLOCK;
        for (int64_t j = 0; j < p->d; j++) {
            double x = (double)p->rows[i * p->d + j] - p->mean[j];
            const double *b = p->basis + j * BLOCK;
            for (int64_t c = 0; c < BLOCK; c++) to[c] += x * b[c];
        }
    }
}

/* basis = (rows - mean)^T spread */
static void gather(plane *p) {
    memset(p->basis, 0, (size_t)(p->d * BLOCK) * sizeof *p->basis);
    for (int64_t i = 0; i < p->n; i++) {
        const double *s = p->spread + i * BLOCK;
        for (int64_t j = 0; j < p->d; j++) {
            double x = (double)p->rows[i * p->d + j] - p->mean[j];
            double *b = p->basis + j * BLOCK;
            for (int64_t c = 0; c < BLOCK; c++) b[c] += x * s[c];
        }
    }
}

/* Modified Gram-Schmidt; a column that vanishes stays zero. */
static void orthonormalise(plane *p) {
    for (int64_t c = 0; c < BLOCK; c++) {
        double norm = 0.0;
        for (int64_t before = 0; before < c; before++) {
            double dot = 0.0;
            for (int64_t j = 0; j < p->d; j++) dot += p->basis[j * BLOCK + c] * p->basis[j * BLOCK + before];
            for (int64_t j = 0; j < p->d; j++) p->basis[j * BLOCK + c] -= dot * p->basis[j * BLOCK + before];
        }
        for (int64_t j = 0; j < p->d; j++) norm += p->basis[j * BLOCK + c] * p->basis[j * BLOCK + c];
        norm = c < p->block && norm > 1e-30 ? 1.0 / sqrt(norm) : 0.0;
        for (int64_t j = 0; j < p->d; j++) p->basis[j * BLOCK + c] *= norm;
    }
}

/* Jacobi's rotations of a small symmetric matrix; the columns of v become its eigenvectors. */
static void diagonalise(double a[BLOCK][BLOCK], double v[BLOCK][BLOCK]) {
    for (int i = 0; i < BLOCK; i++)
        for (int j = 0; j < BLOCK; j++) v[i][j] = i == j;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        for (int p = 0; p < BLOCK; p++) {
            for (int q = p + 1; q < BLOCK; q++) {
                if (fabs(a[p][q]) <= 1e-15 * sqrt(fabs(a[p][p] * a[q][q]))) continue;
                double theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                double t = copysign(1.0, theta) / (fabs(theta) + sqrt(theta * theta + 1.0));
                double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
                for (int k = 0; k < BLOCK; k++) {
                    double x = a[k][p], y = a[k][q];
                    a[k][p] = c * x - s * y;
                    a[k][q] = s * x + c * y;
                }
                for (int k = 0; k < BLOCK; k++) {
                    double x = a[p][k], y = a[q][k];
                    a[p][k] = c * x - s * y;
                    a[q][k] = s * x + c * y;
                }
                for (int k = 0; k < BLOCK; k++) {
                    double x = v[k][p], y = v[k][q];
                    v[k][p] = c * x - s * y;
                    v[k][q] = s * x + c * y;
                }
            }
        }
    }
}

/* Columns of v with the two largest eigenvalues. */
static void two_largest(double a[BLOCK][BLOCK], int order[2]) {
    order[0] = 0;
    for (int c = 1; c < BLOCK; c++)
        if (a[c][c] > a[order[0]][order[0]]) order[0] = c;
    order[1] = order[0] == 0 ? 1 : 0;
    for (int c = 0; c < BLOCK; c++)
        if (c != order[0] && a[c][c] > a[order[1]][order[1]]) order[1] = c;
}

/* Within the subspace, the two directions of the widest spread, with their signs settled. */
static void finish(plane *p, float *out) {
    double a[BLOCK][BLOCK] = {{0}}, v[BLOCK][BLOCK];
    int order[2];
    for (int64_t i = 0; i < p->n; i++)
        for (int r = 0; r < BLOCK; r++)
            for (int c = 0; c < BLOCK; c++) a[r][c] += p->spread[i * BLOCK + r] * p->spread[i * BLOCK + c];
    diagonalise(a, v);
    two_largest(a, order);
    for (int axis = 0; axis < 2; axis++) {
        double largest = 0.0;
        for (int64_t j = 0; j < p->d; j++) {
            double loading = 0.0;
            for (int c = 0; c < BLOCK; c++) loading += p->basis[j * BLOCK + c] * v[c][order[axis]];
            if (fabs(loading) > fabs(largest) * (1.0 + 1e-9)) largest = loading;
        }
        for (int64_t i = 0; i < p->n; i++) {
            double x = 0.0;
            for (int c = 0; c < BLOCK; c++) x += p->spread[i * BLOCK + c] * v[c][order[axis]];
            out[2 * i + axis] = (float)(largest < 0.0 ? -x : x);
        }
    }
}

int graft_pca_plane(float *out, const float *rows, int64_t n, int64_t d, graft_err *err) {
    if (n <= 0 || d <= 0) return graft_err_set(err, GRAFT_EDATA, "no rows to lay out");
    plane p = {.rows = rows, .n = n, .d = d, .block = d < BLOCK ? d : BLOCK};
    p.mean = calloc((size_t)d, sizeof *p.mean);
    p.basis = calloc((size_t)d, BLOCK * sizeof *p.basis);
    p.spread = calloc((size_t)n, BLOCK * sizeof *p.spread);
    int rc = p.mean && p.basis && p.spread ? 0 : graft_err_nomem(err);
    if (rc == 0) {
        graft_rng rng = graft_rng_at(0, 0, 0, GRAFT_RNG_INIT);
        for (int64_t j = 0; j < d * BLOCK; j++) p.basis[j] = graft_rng_normal(&rng);
        centre(&p);
        orthonormalise(&p);
        for (int round = 0; round < ROUNDS; round++) {
            project(&p);
            gather(&p);
            orthonormalise(&p);
        }
        project(&p);
        finish(&p, out);
    }
    free(p.mean);
    free(p.basis);
    free(p.spread);
    return rc;
}
