/* The best path: best_j = max_i (best_i + A_ij) + e_j word by word, then back along the maxima. */
#include "model/tags.h"

#include <stdlib.h>
#include <string.h>

static double score_of(const graft_crf *c, const float *values, int64_t at, int64_t row, int64_t column) {
    bool exists = !c->allowed || c->allowed[row * c->k + column] > 0.0F;
    return exists ? (double)values[at] : (double)GRAFT_CRF_FORBIDDEN;
}

/* One word: from best to next; from_tag[j] is where the best path to j came from. */
static void advance(const double *steps, int64_t k, const float *e, const double *best, double *next,
                    int32_t *from_tag) {
    for (int64_t j = 0; j < k; j++) {
        next[j] = best[0] + steps[j];
        from_tag[j] = 0;
    }
    for (int64_t i = 1; i < k; i++) {
        const double *row = steps + i * k, at = best[i];
        for (int64_t j = 0; j < k; j++) {
            double s = at + row[j];
            from_tag[j] = s > next[j] ? (int32_t)i : from_tag[j];
            next[j] = s > next[j] ? s : next[j];
        }
    }
    for (int64_t j = 0; j < k; j++) next[j] += (double)e[j];
}

static int64_t argmax(const double *x, int64_t n) {
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[at]) at = i;
    return at;
}

/* work: steps (k,k), then two rows */
static double decode(const graft_crf *c, const float *emissions, int64_t n, int32_t *tags, double *work,
                     int32_t *from_tag) {
    const int64_t k = c->k;
    double *steps = work, *best = work + k * k, *next = best + k;
    for (int64_t i = 0; i < k * k; i++) steps[i] = score_of(c, c->transitions, i, i / k, i % k);
    for (int64_t j = 0; j < k; j++) best[j] = score_of(c, c->start, j, k, j) + (double)emissions[j];
    for (int64_t t = 1; t < n; t++) {
        advance(steps, k, emissions + t * k, best, next, from_tag + t * k);
        double *swap = best;
        best = next;
        next = swap;
    }
    for (int64_t j = 0; j < k; j++) best[j] += score_of(c, c->end, j, k + 1, j);
    int64_t at = argmax(best, k);
    double score = best[at];
    for (int64_t t = n - 1; t >= 0; t--) {
        tags[t] = (int32_t)at;
        if (t > 0) at = from_tag[t * k + at];
    }
    return score;
}

int graft_crf_decode(const graft_crf *crf, const float *emissions, int64_t n, int32_t *tags, double *score,
                     graft_err *err) {
    if (score) *score = 0.0;
    if (n == 0) return 0;
    size_t k = (size_t)crf->k;
    double *work = calloc(k + 2, k * sizeof *work);
    int32_t *from_tag = calloc((size_t)n, k * sizeof *from_tag);
    if (work && from_tag) {
        double best = decode(crf, emissions, n, tags, work, from_tag);
        if (score) *score = best;
    }
    int rc = work && from_tag ? 0 : graft_err_nomem(err);
    free(work);
    free(from_tag);
    return rc;
}
