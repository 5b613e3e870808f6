/* Likely label errors by confident learning, from probabilities that were not learnt from those labels. */
#include "report/maths.h"

#include <math.h>
#include <stdlib.h>

static int by_margin(const void *a, const void *b) {
    const graft_suspect *x = a, *y = b;
    double mx = x->other - x->given, my = y->other - y->given;
    if (mx != my) return mx > my ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The mean probability of a class among those who bear its label; 2, which nothing reaches, where nobody
 * does. */
static void find_thresholds(double *threshold, int64_t *count, const float *p, const int32_t *labels,
                            int64_t n, int64_t k) {
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] < 0 || labels[i] >= k) continue;
        threshold[labels[i]] += (double)p[i * k + labels[i]];
        count[labels[i]]++;
    }
    for (int64_t c = 0; c < k; c++) threshold[c] = count[c] ? threshold[c] / (double)count[c] : 2.0;
}

int graft_confident_errors(graft_suspect **out, int64_t *n_out, graft_arena *arena,
                           const float *probabilities, const int32_t *labels, int64_t n, int64_t k,
                           graft_err *err) {
    double *threshold = graft_arena_array(arena, (size_t)k + 1, sizeof *threshold);
    int64_t *count = graft_arena_array(arena, (size_t)k + 1, sizeof *count);
    *out = graft_arena_array(arena, (size_t)n + 1, sizeof **out);
    *n_out = 0;
    if (!threshold || !count || !*out) return graft_err_nomem(err);
    find_thresholds(threshold, count, probabilities, labels, n, k);
    for (int64_t i = 0; i < n; i++) {
        const float *p = probabilities + i * k;
        int64_t likely = -1;
        if (labels[i] < 0 || labels[i] >= k) continue;
        for (int64_t c = 0; c < k; c++)
            if ((double)p[c] >= threshold[c] && (likely < 0 || p[c] > p[likely])) likely = c;
        if (likely < 0 || likely == labels[i]) continue;
        (*out)[(*n_out)++] = (graft_suspect){.row = i,
                                             .label = labels[i],
                                             .likely = (int32_t)likely,
                                             .given = (double)p[labels[i]],
                                             .other = (double)p[likely]};
    }
    qsort(*out, (size_t)*n_out, sizeof **out, by_margin);
    return 0;
}

/* ---- Shares among the nearest --------------------------------------------------------------------------- */

typedef struct vote {
    const float *rows; /* of unit length */
    const int32_t *labels;
    int64_t n, d, k, nearest;
    float *out;
} vote;

static float dot(const float *a, const float *b, int64_t d) {
    float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < d; j++) sum += a[j] * b[j];
    return sum;
}

enum { MOST_NEAREST = 64 };

static int count_votes(void *user, size_t row, int thread) {
    const vote *v = user;
    int64_t i = (int64_t)row, found = 0;
    int64_t who[MOST_NEAREST];
    float near[MOST_NEAREST], *out = v->out + i * v->k;
    (void)thread;
    for (int64_t j = 0; j < v->n; j++) {
        if (j == i || v->labels[j] < 0) continue;
        float s = dot(v->rows + i * v->d, v->rows + j * v->d, v->d);
        if (found == v->nearest && s <= near[found - 1]) continue;
        int64_t at = found < v->nearest ? found++ : found - 1;
        for (; at > 0 && near[at - 1] < s; at--) {
            near[at] = near[at - 1];
            who[at] = who[at - 1];
        }
        near[at] = s;
        who[at] = j;
    }
    for (int64_t c = 0; c < v->k; c++) out[c] = 0.0F;
    for (int64_t e = 0; e < found; e++) out[v->labels[who[e]]] += 1.0F / (float)found;
    return 0;
}

int graft_neighbour_shares(float *out, const graft_env *env, const float *rows, const int32_t *labels,
                           int64_t n, int64_t d, int64_t k, int64_t nearest, graft_err *err) {
    float *unit = malloc((size_t)(n * d) * sizeof *unit + 1);
    if (!unit) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        float length = sqrtf(dot(rows + i * d, rows + i * d, d));
        for (int64_t j = 0; j < d; j++) unit[i * d + j] = length > 0.0F ? rows[i * d + j] / length : 0.0F;
    }
    vote v = {unit, labels, n, d, k, nearest < MOST_NEAREST ? nearest : MOST_NEAREST, out};
    int rc = v.nearest > 0 ? graft_parallel_for(graft_env_threads(env), (size_t)n, count_votes, &v) : 0;
    free(unit);
    return rc;
}
