#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

enum { NEIGHBOURS = 20, BLOCK = 256 };
static const double TEMPERATURE = 0.07;

/* The nearest of row i, by falling cosine; of equal ones the first. */
static int64_t find_nearest(int64_t *nearest, const double *cosines, int64_t n, int64_t i) {
    int64_t found = 0;
    for (int64_t j = 0; j < n; j++) {
        if (j == i || (found == NEIGHBOURS && cosines[j] <= cosines[nearest[found - 1]])) continue;
        int64_t at = found < NEIGHBOURS ? found++ : found - 1;
        for (; at > 0 && cosines[nearest[at - 1]] < cosines[j]; at--) nearest[at] = nearest[at - 1];
        nearest[at] = j;
    }
    return found;
}

/* Whether most of the neighbours' weight is of row i's class; of equal classes the first. `votes` [k]. */
static bool is_found(const graft_labelled *f, const double *cosines, int64_t i, double *votes) {
    int64_t nearest[NEIGHBOURS], best = 0, found = find_nearest(nearest, cosines, f->n, i);
    for (int64_t c = 0; c < f->k; c++) votes[c] = 0;
    for (int64_t j = 0; j < found; j++)
        votes[f->y[nearest[j]]] += exp((cosines[nearest[j]] - cosines[nearest[0]]) / TEMPERATURE);
    for (int64_t c = 1; c < f->k; c++)
        if (votes[c] > votes[best]) best = c;
    return best == f->y[i];
}

static void make_unit(double *unit, const graft_labelled *f) {
    for (int64_t i = 0; i < f->n; i++) {
        double square = 0;
        for (int64_t j = 0; j < f->rank; j++) square += f->t[i * f->rank + j] * f->t[i * f->rank + j];
        for (int64_t j = 0; j < f->rank; j++)
            unit[i * f->rank + j] = square > 0 ? f->t[i * f->rank + j] / sqrt(square) : 0.0;
    }
}

int graft_knn_accuracy(double *out, int64_t *n_asked, const graft_labelled *f, graft_err *err) {
    double *unit = graft_doubles(f->n, f->rank), *cosines = graft_doubles(BLOCK, f->n);
    double *votes = graft_doubles(f->k, 1);
    int64_t asked = 0, right = 0;
    int rc = unit && cosines && votes ? 0 : graft_err_nomem(err);
    if (rc == 0) make_unit(unit, f);
    for (int64_t first = 0; first < f->n && rc == 0; first += BLOCK) {
        int64_t n = f->n - first < BLOCK ? f->n - first : BLOCK;
        graft_product(cosines, unit + first * f->rank, false, unit, true, n, f->n, f->rank);
        for (int64_t i = 0; i < n; i++) {
            if (f->counts[f->y[first + i]] < 2) continue;
            asked++;
            right += is_found(f, cosines + i * f->n, first + i, votes);
        }
    }
    *out = asked ? (double)right / (double)asked : NAN;
    if (n_asked) *n_asked = asked;
    free(unit);
    free(cosines);
    free(votes);
    return rc;
}
