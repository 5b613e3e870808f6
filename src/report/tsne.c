/* t-SNE: neighbours attract, everything repels.
 *
 * p(j|i) is a Gaussian of the distance whose width makes the perplexity the one asked for; p = (p(j|i) +
 * p(i|j)) / 2n; q is Student's t of the plane's distances. The gradient of KL(p, q) is
 *     4 sum_j (p - q) (y_i - y_j) / (1 + |y_i - y_j|^2),
 * whose second part, over all pairs, is two sums: of w^2 (y_i - y_j), w = 1 / (1 + d^2), and Z of w. */
#include "report/maths.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double exaggeration = 12.0;

/* One row's neighbour and how much it attracts. */
typedef struct pull {
    int32_t to;
    float p;
} pull;

typedef struct layout {
    const graft_env *env;
    const float *rows;
    int64_t n, d, nearest;
    pull *near;       /* [n, nearest]: p(j|i) */
    int64_t *first;   /* [n + 1] into `pulls` */
    pull *pulls;      /* symmetric */
    float *x, *y;     /* [n] */
    double *force;    /* [n, 2] attraction */
    double *push;     /* [n, 2] repulsion, not yet divided by Z */
    double *weight;   /* [n] row sums of w */
    double *step;     /* [n, 2] last update */
    double *gain;     /* [n, 2] */
    float *distances; /* [threads, n] */
} layout;

static int by_distance(const void *a, const void *b) {
    const pull *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

static float squared_distance(const float *a, const float *b, int64_t d) {
    float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < d; j++) sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sum;
}

/* The width at which the entropy of the neighbours' shares is log(perplexity), by bisection. */
static void settle_width(pull *near, int64_t n, double perplexity) {
    double low = 0.0, high = INFINITY, beta = 1.0, wanted = log(perplexity), least = (double)near[0].p;
    /* in units of the nearest distances, so that the first guess is a sensible one */
    double unit = fmax((double)near[n - 1].p - least, 1e-30);
    for (int round = 0; round < 100; round++) {
        double sum = 0.0, moment = 0.0;
        for (int64_t j = 0; j < n; j++) {
            double e = ((double)near[j].p - least) / unit, share = exp(-beta * e);
            sum += share;
            moment += e * share;
        }
        double off = log(sum) + beta * moment / sum - wanted;
        if (fabs(off) < 1e-6) break;
        if (off > 0.0) {
            low = beta;
            beta = isinf(high) ? beta * 2.0 : (low + high) / 2.0;
        } else {
            high = beta;
            beta = (low + high) / 2.0;
        }
    }
    double sum = 0.0;
    for (int64_t j = 0; j < n; j++) sum += exp(-beta * ((double)near[j].p - least) / unit);
    for (int64_t j = 0; j < n; j++)
        near[j].p = (float)(exp(-beta * ((double)near[j].p - least) / unit) / sum);
}

/* Keeps the `nearest` smallest of all distances: those at most the largest of a heap whose root it is. */
static void keep_nearest(const layout *l, int64_t i, const float *distances, pull *heap) {
    int64_t n = 0;
    for (int64_t j = 0; j < l->n; j++) {
        if (j == i) continue;
        if (n == l->nearest && distances[j] >= heap[0].p) continue;
        int64_t at = n < l->nearest ? n++ : 0;
        pull item = {(int32_t)j, distances[j]};
        if (at > 0) { /* rises from the end */
            while (at > 0 && heap[(at - 1) / 2].p < item.p) {
                heap[at] = heap[(at - 1) / 2];
                at = (at - 1) / 2;
            }
        } else { /* sinks from the root */
            for (int64_t child; (child = 2 * at + 1) < n; at = child) {
                if (child + 1 < n && heap[child + 1].p > heap[child].p) child++;
                if (heap[child].p <= item.p) break;
                heap[at] = heap[child];
            }
        }
        heap[at] = item;
    }
    qsort(heap, (size_t)n, sizeof *heap, by_distance);
}

typedef struct search {
    layout *l;
    double perplexity;
} search;

static int find_neighbours(void *user, size_t i, int thread) {
    const search *s = user;
    layout *l = s->l;
    float *distances = l->distances + (int64_t)thread * l->n;
    pull *near = l->near + (int64_t)i * l->nearest;
    for (int64_t j = 0; j < l->n; j++)
        distances[j] = squared_distance(l->rows + (int64_t)i * l->d, l->rows + j * l->d, l->d);
    keep_nearest(l, (int64_t)i, distances, near);
    settle_width(near, l->nearest, s->perplexity);
    return graft_env_check(l->env, NULL);
}

static int by_target(const void *a, const void *b) {
    const pull *x = a, *y = b;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* p = (p(j|i) + p(i|j)) / 2n, as lists a row. */
static int make_symmetric(layout *l, graft_err *err) {
    size_t most = 2 * (size_t)(l->n * l->nearest);
    int64_t *at = calloc((size_t)l->n + 1, sizeof *at);
    l->pulls = malloc((most + 1) * sizeof *l->pulls);
    if (!at || !l->pulls) {
        free(at);
        return graft_err_nomem(err);
    }
    for (int64_t e = 0; e < l->n * l->nearest; e++) l->first[l->near[e].to + 1]++;
    for (int64_t i = 0; i < l->n; i++) l->first[i + 1] += l->first[i] + l->nearest;
    memcpy(at, l->first, (size_t)l->n * sizeof *at);
    for (int64_t i = 0; i < l->n; i++) {
        for (int64_t e = i * l->nearest; e < (i + 1) * l->nearest; e++) {
            float p = l->near[e].p / (2.0F * (float)l->n);
            int32_t to = l->near[e].to;
            l->pulls[at[i]++] = (pull){to, p};
            l->pulls[at[to]++] = (pull){(int32_t)i, p};
        }
    }
    free(at);
    /* a pair that is near from both sides stands twice; equal targets lie side by side after sorting */
    int64_t end = 0;
    for (int64_t i = 0, from = 0; i < l->n; i++) {
        int64_t to = l->first[i + 1];
        qsort(l->pulls + from, (size_t)(to - from), sizeof *l->pulls, by_target);
        l->first[i] = end;
        for (int64_t e = from; e < to; e++) {
            if (end > l->first[i] && l->pulls[end - 1].to == l->pulls[e].to)
                l->pulls[end - 1].p += l->pulls[e].p;
            else
                l->pulls[end++] = l->pulls[e];
        }
        from = to;
    }
    l->first[l->n] = end;
    return 0;
}

static void repel(layout *l, int64_t i) {
    float x = l->x[i], y = l->y[i], fx = 0.0F, fy = 0.0F, sum = 0.0F;
    const float *xs = l->x, *ys = l->y;
#pragma omp simd reduction(+ : fx, fy, sum)
    for (int64_t j = 0; j < l->n; j++) {
        float dx = x - xs[j], dy = y - ys[j], w = 1.0F / (1.0F + dx * dx + dy * dy);
        sum += w;
        fx += w * w * dx;
        fy += w * w * dy;
    }
    l->push[2 * i] = (double)fx;
    l->push[2 * i + 1] = (double)fy;
    l->weight[i] = (double)sum - 1.0; /* itself */
}

static void attract(layout *l, int64_t i) {
    double fx = 0.0, fy = 0.0;
    for (int64_t e = l->first[i]; e < l->first[i + 1]; e++) {
        const pull *p = &l->pulls[e];
        float dx = l->x[i] - l->x[p->to], dy = l->y[i] - l->y[p->to];
        float w = p->p / (1.0F + dx * dx + dy * dy);
        fx += (double)(w * dx);
        fy += (double)(w * dy);
    }
    l->force[2 * i] = fx;
    l->force[2 * i + 1] = fy;
}

/* One step of gradient descent with momentum and a gain for each coordinate (Jacobs 1988). */
static void descend(layout *l, double factor, double momentum, double rate) {
#pragma omp parallel for num_threads(graft_env_threads(l->env)) schedule(static)
    for (int64_t i = 0; i < l->n; i++) {
        repel(l, i);
        attract(l, i);
    }
    double z = 0.0, mean[2] = {0.0, 0.0};
    for (int64_t i = 0; i < l->n; i++) z += l->weight[i];
    z = fmax(z, DBL_MIN);
    for (int64_t c = 0; c < 2 * l->n; c++) {
        double gradient = 4.0 * (factor * l->force[c] - l->push[c] / z);
        l->gain[c] = gradient * l->step[c] < 0.0 ? l->gain[c] + 0.2 : fmax(l->gain[c] * 0.8, 0.01);
        l->step[c] = momentum * l->step[c] - rate * l->gain[c] * gradient;
        float *at = c % 2 ? &l->y[c / 2] : &l->x[c / 2];
        *at += (float)l->step[c];
        mean[c % 2] += (double)*at / (double)l->n;
    }
    for (int64_t i = 0; i < l->n; i++) {
        l->x[i] -= (float)mean[0];
        l->y[i] -= (float)mean[1];
    }
}

static double divergence(layout *l) {
    double z = 0.0, kl = 0.0;
    for (int64_t i = 0; i < l->n; i++) {
        repel(l, i);
        z += l->weight[i];
    }
    for (int64_t i = 0; i < l->n; i++) {
        for (int64_t e = l->first[i]; e < l->first[i + 1]; e++) {
            const pull *p = &l->pulls[e];
            double dx = (double)(l->x[i] - l->x[p->to]), dy = (double)(l->y[i] - l->y[p->to]);
            double q = fmax(1.0 / (1.0 + dx * dx + dy * dy) / z, DBL_EPSILON);
            if (p->p > 0.0F) kl += (double)p->p * log((double)p->p / q);
        }
    }
    return kl;
}

/* The principal plane, its first axis shrunk to a spread of 1e-4. */
static int begin(layout *l, graft_err *err) {
    float *plane = malloc((size_t)l->n * 2 * sizeof *plane);
    int rc = plane ? graft_pca_plane(plane, l->rows, l->n, l->d, err) : graft_err_nomem(err);
    double squares = 0.0;
    for (int64_t i = 0; i < l->n && rc == 0; i++) squares += (double)plane[2 * i] * (double)plane[2 * i];
    double spread = sqrt(squares / (double)l->n);
    for (int64_t i = 0; i < l->n && rc == 0; i++) {
        l->x[i] = spread > 0.0 ? (float)((double)plane[2 * i] / spread * 1e-4) : 0.0F;
        l->y[i] = spread > 0.0 ? (float)((double)plane[2 * i + 1] / spread * 1e-4) : 0.0F;
        l->gain[2 * i] = l->gain[2 * i + 1] = 1.0;
    }
    free(plane);
    return rc;
}

static int make_arrays(layout *l, graft_err *err) {
    size_t n = (size_t)l->n;
    l->near = calloc(n * (size_t)l->nearest, sizeof *l->near);
    l->first = calloc(n + 1, sizeof *l->first);
    l->x = calloc(n, sizeof *l->x);
    l->y = calloc(n, sizeof *l->y);
    l->force = calloc(2 * n, sizeof *l->force);
    l->push = calloc(2 * n, sizeof *l->push);
    l->weight = calloc(n, sizeof *l->weight);
    l->step = calloc(2 * n, sizeof *l->step);
    l->gain = calloc(2 * n, sizeof *l->gain);
    l->distances = calloc(n * (size_t)graft_env_threads(l->env), sizeof *l->distances);
    bool ok = l->near && l->first && l->x && l->y && l->force && l->push && l->weight && l->step && l->gain &&
              l->distances;
    return ok ? 0 : graft_err_nomem(err);
}

static void free_arrays(layout *l) {
    free(l->near);
    free(l->first);
    free(l->pulls);
    free(l->x);
    free(l->y);
    free(l->force);
    free(l->push);
    free(l->weight);
    free(l->step);
    free(l->gain);
    free(l->distances);
}

static int run(layout *l, int64_t iterations, graft_err *err) {
    double rate = fmax((double)l->n / exaggeration / 4.0, 50.0);
    int64_t early = iterations / 4;
    int rc = 0;
    for (int64_t t = 0; t < iterations && rc == 0; t++) {
        if (t == early) { /* gains and momentum are those of another landscape */
            memset(l->step, 0, 2 * (size_t)l->n * sizeof *l->step);
            for (int64_t c = 0; c < 2 * l->n; c++) l->gain[c] = 1.0;
        }
        descend(l, t < early ? exaggeration : 1.0, t < early ? 0.5 : 0.8, rate);
        rc = graft_env_check(l->env, err);
    }
    return rc;
}

int graft_tsne(float *out, double *kl, const graft_env *env, const float *rows, int64_t n, int64_t d,
               const graft_tsne_options *options, graft_err *err) {
    double perplexity = options && options->perplexity > 0.0 ? options->perplexity : 30.0;
    if (n < 5 || n > GRAFT_TSNE_MOST || d <= 0)
        return graft_err_set(err, GRAFT_EDATA, "t-SNE is for 5 to %d rows, not %lld", GRAFT_TSNE_MOST,
                             (long long)n);
    perplexity = fmin(perplexity, (double)(n - 1) / 3.0);
    layout l = {.env = env, .rows = rows, .n = n, .d = d};
    l.nearest = (int64_t)(3.0 * perplexity) + 1;
    if (l.nearest > n - 1) l.nearest = n - 1;
    search s = {&l, perplexity};
    int rc = make_arrays(&l, err);
    if (rc == 0) rc = graft_parallel_for(graft_env_threads(env), (size_t)n, find_neighbours, &s);
    if (rc == GRAFT_EINTERRUPTED) graft_env_check(env, err);
    if (rc == 0) rc = make_symmetric(&l, err);
    if (rc == 0) rc = begin(&l, err);
    if (rc == 0) rc = run(&l, options && options->iterations > 0 ? options->iterations : 1000, err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        out[2 * i] = l.x[i];
        out[2 * i + 1] = l.y[i];
    }
    if (rc == 0 && kl) *kl = divergence(&l);
    free_arrays(&l);
    return rc;
}
