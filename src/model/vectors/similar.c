/* Nearest neighbours by cosine: every row is read once, each thread keeps its own best in a heap, and a total
 * order (score, then number) makes the answer independent of who saw what. */
#include "model/vectors/format.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, LANES = 16, SHOWN = 64 };

/* Sums in lanes, which the compiler keeps in vector registers: x.y and y.y. */
static void dot_and_square(const float *x, const float *y, size_t n, float *dot, float *square) {
    float d[LANES] = {0}, s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            d[k] += x[i + k] * y[i + k];
            s[k] += y[i + k] * y[i + k];
        }
    }
    for (size_t k = 0; i < n; i++, k++) {
        d[k] += x[i] * y[i];
        s[k] += y[i] * y[i];
    }
    for (size_t half = LANES / 2; half; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            d[k] += d[k + half];
            s[k] += s[k + half];
        }
    }
    *dot = d[0];
    *square = s[0];
}

/* ---- The best k ---- */

/* A heap whose first item is the worst kept. */
typedef struct best {
    graft_neighbour *items;
    size_t n, most;
} best;

static bool is_worse(const graft_neighbour *a, const graft_neighbour *b) {
    return a->score < b->score || (a->score <= b->score && a->word > b->word);
}

static void swap(graft_neighbour *a, graft_neighbour *b) {
    graft_neighbour t = *a;
    *a = *b;
    *b = t;
}

static void sink(best *b, size_t i) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= b->n) return;
        if (child + 1 < b->n && is_worse(&b->items[child + 1], &b->items[child])) child++;
        if (!is_worse(&b->items[child], &b->items[i])) return;
        swap(&b->items[i], &b->items[child]);
        i = child;
    }
}

static void offer(best *b, graft_neighbour x) {
    if (b->n == b->most) {
        if (!b->most || !is_worse(&b->items[0], &x)) return;
        b->items[0] = x;
        sink(b, 0);
        return;
    }
    size_t i = b->n++;
    b->items[i] = x;
    for (; i && is_worse(&b->items[i], &b->items[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&b->items[i], &b->items[(i - 1) / 2]);
}

static int best_first(const void *a, const void *b) {
    return is_worse(a, b) ? 1 : is_worse(b, a) ? -1 : 0;
}

/* ---- The scan ---- */

typedef struct scan {
    const graft_vectors *v;
    const graft_env *env;
    const float *queries; /* [n_queries, width] */
    float *lengths;       /* [n_queries] */
    const int *signs;     /* [n_queries] of a product; NULL: one query, whose cosine is the score */
    size_t n_queries;
    const int64_t *left_out; /* sorted */
    size_t n_left_out;
    best *bests; /* a thread's each */
    float *rows; /* [threads, width] */
    graft_err *errs;
} scan;

static int by_number(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* What a row of this length squared is worth. */
static float score_of(const scan *s, const float *row, size_t width, float square) {
    float dot, unused, right = 1, wrong = 1;
    for (size_t q = 0; q < s->n_queries; q++) {
        dot_and_square(s->queries + q * width, row, width, &dot, &unused);
        float cosine = dot / (sqrtf(square) * s->lengths[q]);
        if (!s->signs) return cosine;
        if (s->signs[q] > 0)
            right *= (1 + cosine) / 2;
        else
            wrong *= (1 + cosine) / 2;
    }
    return right / (wrong + 1e-6F);
}

static int scan_block(void *user, size_t block, int thread) {
    scan *s = user;
    int64_t begin = (int64_t)block * BLOCK, n = graft_vectors_n(s->v);
    int64_t end = begin + BLOCK < n ? begin + BLOCK : n;
    size_t width = (size_t)graft_vectors_width(s->v);
    float *row = s->rows + (size_t)thread * width, dot, square;
    int rc = graft_env_check(s->env, &s->errs[thread]);
    for (int64_t i = begin; i < end && rc == 0; i++) {
        if (bsearch(&i, s->left_out, s->n_left_out, sizeof i, by_number)) continue;
        rc = graft_vectors_row(s->v, i, row, &s->errs[thread]);
        if (rc < 0) break;
        dot_and_square(row, row, width, &dot, &square);
        if (square > 0) offer(&s->bests[thread], (graft_neighbour){i, score_of(s, row, width, square)});
    }
    return rc;
}

/* The error that the lowest failing block met: graft_parallel_for gives its code, and of two threads that
 * failed alike either message is true. */
static int tell(const scan *s, int threads, int rc, graft_err *err) {
    for (int t = 0; t < threads; t++)
        if (s->errs[t].code == rc) return graft_err_set(err, rc, "%s", s->errs[t].message);
    return rc;
}

static int run(scan *s, graft_arena *arena, graft_neighbour *out, size_t *n_out, size_t k, graft_err *err) {
    size_t n = (size_t)graft_vectors_n(s->v), blocks = (n + BLOCK - 1) / BLOCK;
    int threads = graft_env_threads(s->env);
    if ((size_t)threads > blocks) threads = (int)blocks;
    if (k > n) k = n;
    s->bests = graft_arena_array(arena, (size_t)threads, sizeof *s->bests);
    s->errs = graft_arena_array(arena, (size_t)threads, sizeof *s->errs);
    s->rows = graft_arena_array(arena, (size_t)threads * (size_t)graft_vectors_width(s->v), sizeof *s->rows);
    if (!s->bests || !s->errs || !s->rows) return graft_err_nomem(err);
    for (int t = 0; t < threads; t++) {
        s->bests[t].most = k;
        s->bests[t].items = graft_arena_array(arena, k, sizeof *out);
        if (!s->bests[t].items) return graft_err_nomem(err);
    }
    int rc = graft_parallel_for(threads, blocks, scan_block, s);
    if (rc < 0) return tell(s, threads, rc, err);
    best all = {.items = out, .most = k};
    for (int t = 0; t < threads; t++)
        for (size_t i = 0; i < s->bests[t].n; i++) offer(&all, s->bests[t].items[i]);
    qsort(out, all.n, sizeof *out, best_first);
    *n_out = all.n;
    return 0;
}

static int find(graft_neighbour *out, size_t *n_out, scan *s, size_t k, const int64_t *left_out,
                size_t n_left_out, graft_err *err) {
    const size_t width = (size_t)graft_vectors_width(s->v);
    float dot, square;
    *n_out = 0;
    graft_arena *arena = graft_arena_new(NULL);
    int64_t *sorted = arena ? graft_arena_array(arena, n_left_out, sizeof *sorted) : NULL;
    s->lengths = arena ? graft_arena_array(arena, s->n_queries, sizeof *s->lengths) : NULL;
    int rc = sorted && s->lengths ? 0 : graft_err_nomem(err);
    for (size_t q = 0; q < s->n_queries && rc == 0; q++) {
        dot_and_square(s->queries + q * width, s->queries + q * width, width, &dot, &square);
        s->lengths[q] = sqrtf(square);
        if (!(square > 0) || !isfinite(square))
            rc = graft_err_set(err, GRAFT_EDATA, "a vector of no length or without bounds has no neighbours");
    }
    if (rc == 0 && k) {
        if (n_left_out) memcpy(sorted, left_out, n_left_out * sizeof *sorted);
        qsort(sorted, n_left_out, sizeof *sorted, by_number);
        s->left_out = sorted;
        s->n_left_out = n_left_out;
        rc = run(s, arena, out, n_out, k, err);
    }
    graft_arena_free(arena);
    return rc;
}

int graft_vectors_similar(graft_neighbour *out, size_t *n_out, const graft_vectors *v, const graft_env *env,
                          const float *query, size_t k, const int64_t *left_out, size_t n_left_out,
                          graft_err *err) {
    scan s = {.v = v, .env = env, .queries = query, .n_queries = 1};
    return find(out, n_out, &s, k, left_out, n_left_out, err);
}

int graft_vectors_similar_product(graft_neighbour *out, size_t *n_out, const graft_vectors *v,
                                  const graft_env *env, const float *queries, const int *signs,
                                  size_t n_queries, size_t k, const int64_t *left_out, size_t n_left_out,
                                  graft_err *err) {
    scan s = {.v = v, .env = env, .queries = queries, .signs = signs, .n_queries = n_queries};
    return find(out, n_out, &s, k, left_out, n_left_out, err);
}

/* ---- Queries made of words ---- */

int graft_vectors_mean(const graft_vectors *v, const graft_word *words, const int *signs, size_t n,
                       float *out, graft_err *err) {
    size_t width = (size_t)graft_vectors_width(v);
    float dot, square;
    float *x = calloc(width, sizeof *x);
    int rc = x ? 0 : graft_err_nomem(err);
    memset(out, 0, width * sizeof *out);
    for (size_t i = 0; i < n && rc == 0; i++) {
        int shown = words[i].size < SHOWN ? (int)words[i].size : SHOWN;
        rc = graft_vectors_get(v, words[i].text, words[i].size, x, err);
        if (rc < 0) break;
        dot_and_square(x, x, width, &dot, &square);
        if (rc == 0 || !(square > 0)) {
            rc = graft_err_set(err, GRAFT_EDATA, "'%.*s' has no vector in %s", shown, words[i].text,
                               v->origin);
            break;
        }
        rc = 0;
        for (size_t j = 0; j < width; j++) out[j] += (float)signs[i] * (x[j] / sqrtf(square));
    }
    free(x);
    if (rc < 0) return rc;
    dot_and_square(out, out, width, &dot, &square);
    if (!(square > 0) || !isfinite(square))
        return graft_err_set(err, GRAFT_EDATA, "the words cancel out: there is no direction to look in");
    for (size_t j = 0; j < width; j++) out[j] /= sqrtf(square);
    return 0;
}
