/* Samples that are the same, or nearly so. Texts: see texts.c. Pictures that are the same, or look the same.
 * The same: equal content hashes. Look the same: the difference hash (does the grey level rise from one of 9
 * x 8 cells to the next?) differs in at most 3 of 64 bits, and the pictures shrunk to 16 x 16 correlate at
 * 0.98 or more. Only pictures of at least 64 pixels a side that are not plain take part: digits of 8 x 8
 * pixels would all look alike. */
#include "data/data_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_SIDE = 64, GRID = 16, MAX_BITS = 3, BANDS = 4, MARGIN = 2, MIN_SET_BITS = 6 };
static const uint64_t every_fourth = 0x1111111111111111;
static const double min_spread = 6.0, min_correlation = 0.98;

static unsigned grey_of(const graft_image *image, int x, int y) {
    const uint8_t *p = image->data + (size_t)y * image->stride + (size_t)x * (size_t)image->channels;
    return image->channels == 1 ? p[0] : (unsigned)(299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000;
}

/* How much of pixel `at` of `size` lies in its first cell, when `size` pixels make `cells` cells: in units of
 * which a pixel has `cells`. The rest lies in the next cell. */
static uint64_t share(int64_t at, int64_t size, int64_t cells, int64_t *cell) {
    int64_t from = at * cells;
    *cell = from / size;
    int64_t edge = (*cell + 1) * size;
    return (uint64_t)(from + cells <= edge ? cells : edge - from);
}

/* Exact means of the cells of a grid of `columns` x `rows`, in 1/16 of a grey level. */
static void shrink(unsigned *out, const graft_image *image, int columns, int rows) {
    uint64_t sums[(GRID + 1) * (GRID + 1)] = {0}, area = (uint64_t)image->width * (uint64_t)image->height;
    for (int y = 0; y < image->height; y++) {
        uint64_t strip[GRID + 1] = {0};
        int64_t r, c;
        for (int x = 0; x < image->width; x++) {
            uint64_t value = grey_of(image, x, y), first = share(x, image->width, columns, &c);
            strip[c] += value * first;
            strip[c + 1] += value * ((uint64_t)columns - first);
        }
        uint64_t first = share(y, image->height, rows, &r);
        for (c = 0; c < columns; c++) {
            sums[r * (GRID + 1) + c] += strip[c] * first;
            sums[(r + 1) * (GRID + 1) + c] += strip[c] * ((uint64_t)rows - first);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            out[r * columns + c] = (unsigned)((sums[r * (GRID + 1) + c] * 16 + area / 2) / area);
}

bool graft_likeness_of(graft_likeness *out, const graft_image *image) {
    unsigned cells[GRID * GRID];
    double sum = 0, squares = 0;
    if (image->width < MIN_SIDE || image->height < MIN_SIDE) return false;
    shrink(cells, image, GRID, GRID);
    for (int i = 0; i < GRID * GRID; i++) {
        double v = cells[i] / 16.0;
        out->grey[i] = (uint8_t)((cells[i] + 8) / 16 > 255 ? 255 : (cells[i] + 8) / 16);
        sum += v;
        squares += v * v;
    }
    double mean = sum / (GRID * GRID);
    if (sqrt(fmax(squares / (GRID * GRID) - mean * mean, 0)) < min_spread) return false;
    shrink(cells, image, 9, 8);
    out->bits = 0;
    for (int r = 0; r < 8; r++)
        for (int c = 0; c < 8; c++)
            out->bits = out->bits << 1 | (cells[r * 9 + c + 1] > cells[r * 9 + c] + 16 * MARGIN);
    return __builtin_popcountll(out->bits) >= MIN_SET_BITS;
}

bool graft_likeness_same(const graft_likeness *a, const graft_likeness *b) {
    if (__builtin_popcountll(a->bits ^ b->bits) > MAX_BITS) return false;
    double n = GRID * GRID, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (int i = 0; i < GRID * GRID; i++) {
        double x = a->grey[i], y = b->grey[i];
        sa += x;
        sb += y;
        saa += x * x;
        sbb += y * y;
        sab += x * y;
    }
    double covariance = sab - sa * sb / n, scale = sqrt((saa - sa * sa / n) * (sbb - sb * sb / n));
    return scale > 0 && covariance / scale >= min_correlation;
}

/* ---- Sets ---- */

static int64_t root(int64_t *set, int64_t i) {
    while (set[i] != i) i = set[i] = set[set[i]];
    return i;
}

static void join(int64_t *set, int64_t a, int64_t b) {
    a = root(set, a);
    b = root(set, b);
    if (a < b)
        set[b] = a;
    else
        set[a] = b;
}

typedef struct key {
    uint64_t hi, lo;
    int64_t sample;
} key;

static int by_key(const void *x, const void *y) {
    const key *a = x, *b = y;
    if (a->hi != b->hi) return a->hi < b->hi ? -1 : 1;
    if (a->lo != b->lo) return a->lo < b->lo ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

/* Joins samples of equal keys. */
static void join_equal(int64_t *set, key *keys, size_t n) {
    qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 1; i < n; i++)
        if (keys[i].hi == keys[i - 1].hi && keys[i].lo == keys[i - 1].lo)
            join(set, keys[i - 1].sample, keys[i].sample);
}

/* Two hashes within 3 bits agree in one of four bands of 16 bits: only those of equal bands are compared. A
 * band is every fourth bit, two columns of the picture, so that plain edges above and below leave something
 * in each. */
static void join_alike(const graft_data *d, int64_t *set, key *keys) {
    for (int band = 0; band < BANDS; band++) {
        size_t n = 0;
        for (int64_t i = 0; i < d->n; i++) {
            const graft_likeness *l = d->samples[i].likeness;
            if (l && d->samples[i].state != GRAFT_BAD)
                keys[n++] = (key){l->bits & every_fourth << band, l->bits, i};
        }
        qsort(keys, n, sizeof *keys, by_key);
        for (size_t i = 0; i < n; i++)
            for (size_t k = i + 1; k < n && keys[k].hi == keys[i].hi; k++) {
                if (__builtin_popcountll(keys[i].lo ^ keys[k].lo) > MAX_BITS) continue;
                int64_t a = keys[i].sample, b = keys[k].sample;
                if (root(set, a) == root(set, b)) continue;
                if (graft_likeness_same(d->samples[a].likeness, d->samples[b].likeness)) join(set, a, b);
            }
    }
}

int graft_duplicate_sets(const graft_data *d, int64_t *set, bool with_groups, graft_err *err) {
    key *keys = calloc((size_t)d->n + 1, sizeof *keys);
    if (!keys) return graft_err_nomem(err);
    size_t n = 0;
    for (int64_t i = 0; i < d->n; i++) {
        const graft_sample *s = &d->samples[i];
        set[i] = i;
        if (s->state != GRAFT_BAD && (s->content.lo || s->content.hi))
            keys[n++] = (key){s->content.hi, s->content.lo, i};
    }
    join_equal(set, keys, n);
    join_alike(d, set, keys);
    n = 0;
    for (int64_t i = 0; d->folded && i < d->n; i++)
        if (d->samples[i].state != GRAFT_BAD && (d->folded[i].lo || d->folded[i].hi))
            keys[n++] = (key){d->folded[i].hi, d->folded[i].lo, i};
    join_equal(set, keys, n);
    n = 0;
    for (int64_t i = 0; with_groups && i < d->n; i++)
        if (d->samples[i].group >= 0) keys[n++] = (key){0, (uint64_t)d->samples[i].group, i};
    join_equal(set, keys, n);
    for (int64_t i = 0; i < d->n; i++) set[i] = root(set, i);
    free(keys);
    return 0;
}

/* ---- Across given parts ---- */

/* The twin in `part` that shares i's content, else one that looks like it; -1. `first` and `next` list the
 * set's samples of train and val. */
static int64_t twin(const graft_data *d, int64_t i, graft_part part, const int64_t *first,
                    const int64_t *next, int64_t set, bool *same) {
    int64_t alike = -1;
    *same = false;
    for (int64_t k = first[set]; k >= 0; k = next[k]) {
        if (d->samples[k].part != part) continue;
        *same = graft_hash_equal(d->samples[k].content, d->samples[i].content);
        if (*same) return k;
        if (alike < 0 || k < alike) alike = k;
    }
    return alike;
}

int graft_duplicates_across(graft_data *d, graft_err *err) {
    size_t n = (size_t)d->n;
    if (!d->part_given[GRAFT_VAL] && !d->part_given[GRAFT_TEST]) return 0; /* a split made here has none */
    int64_t *set = calloc(3 * n + 1, sizeof *set);
    if (!set) return graft_err_nomem(err);
    int64_t *first = set + n, *next = set + 2 * n;
    int rc = graft_duplicate_sets(d, set, false, err);
    int64_t(*near)[2] = NULL, (*pairs)[2] = NULL;
    int64_t n_same = 0, n_near = 0;
    if (rc < 0) goto done;
    for (size_t i = 0; i < n; i++) first[i] = -1;
    for (int64_t i = d->n - 1; i >= 0; i--) {
        if (d->samples[i].part > GRAFT_VAL || d->samples[i].state == GRAFT_BAD) continue;
        next[i] = first[set[i]];
        first[set[i]] = i;
    }
    pairs = graft_arena_array(d->arena, n, sizeof *pairs);
    near = calloc(n + 1, sizeof *near);
    if (!pairs || !near) {
        rc = graft_err_nomem(err);
        goto done;
    }
    for (int64_t i = 0; i < d->n; i++) {
        bool same;
        graft_part part = d->samples[i].part;
        if (part == GRAFT_TRAIN || part == GRAFT_SPARE || d->samples[i].state == GRAFT_BAD) continue;
        int64_t k = twin(d, i, GRAFT_TRAIN, first, next, set[i], &same);
        if (k < 0 && part == GRAFT_TEST) k = twin(d, i, GRAFT_VAL, first, next, set[i], &same);
        if (k < 0) continue;
        int64_t(*to)[2] = same ? &pairs[n_same++] : &near[n_near++];
        (*to)[0] = i;
        (*to)[1] = k;
    }
    if (n_near) memcpy(pairs + n_same, near, (size_t)n_near * sizeof *pairs);
    d->duplicates = (graft_duplicates){n_same, n_near, (const int64_t(*)[2])pairs};
done:
    free(near);
    free(set);
    return rc;
}
