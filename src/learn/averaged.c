/* Training on averaged vectors; averaged.h says how the threads share the work. */
#include "learn/averaged_impl.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { WIDTH = 100, BUCKET = 2000000, EPOCHS = 5, MOST_WIDTH = 65536, MOST_NGRAMS = 10, CHUNK = 4 };
enum { MOST_CLASSES = 1 << 24, LARGEST_GROUP = 32, GROUPS = 256 };
enum { THREAD_WORK = 100000 };

/* One group of texts on its way. */
typedef struct group {
    int64_t begin, n; /* in the epoch's order */
    float *means;     /* [n, stride] */
} group;

typedef struct run {
    const graft_env *env;
    const graft_averaged_options *options;
    graft_averaged *m;
    const graft_averaged_kernels *kernels;
    int threads; /* that are worth their waiting for each other */
    graft_row_lists lists;
    const int32_t *labels;
    int64_t *order; /* texts with a row */
    int64_t n, group;
    double lr;
    float *means[2];  /* [group, stride] of the group in the linear layer, and of the next */
    float *gradients; /* [group, stride]: to be added to each row of a text */
    float *logits;    /* [n_classes] */
    int64_t epoch, n_rows_done, n_rows_total;
    double loss;
    int64_t n_right;
    int stop; /* an error code */
} run;

/* ---- The linear layer ---- */

/* logits to lr (y - p); returns the loss. */
static double errors_of(float *z, int64_t k, int32_t label, float lr) {
    float largest = z[0], sum = 0;
    for (int64_t i = 1; i < k; i++)
        if (z[i] > largest) largest = z[i];
    double target = (double)(z[label] - largest);
    for (int64_t i = 0; i < k; i++) {
        z[i] = expf(z[i] - largest);
        sum += z[i];
    }
    for (int64_t i = 0; i < k; i++) z[i] = lr * ((i == label ? 1.0F : 0.0F) - z[i] / sum);
    return log((double)sum) - target;
}

static int64_t largest_of(const float *z, int64_t k) {
    int64_t best = 0;
    for (int64_t i = 1; i < k; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

/* One text through the layer: gradient = share * sum of lr (y - p)_k w_k, then w_k += lr (y - p)_k mean. */
static void learn(run *r, const float *mean, float *gradient, int32_t label, float lr, float share) {
    size_t stride = (size_t)r->m->stride;
    int64_t k = r->m->n_classes;
    float *z = r->logits;
    r->kernels->dots(z, r->m->head, stride, mean, k);
    r->n_right += largest_of(z, k) == label;
    r->loss += errors_of(z, k, label, lr);
    r->kernels->step(r->m->head, stride, k, z, share, mean, gradient);
}

/* All texts of the group, one after another. */
static void run_head(run *r, const group *g) {
    size_t stride = (size_t)r->m->stride;
    double progress = (double)r->n_rows_done / (double)r->n_rows_total;
    float lr = (float)(r->lr * (1.0 - progress));
    for (int64_t i = 0; i < g->n; i++) {
        int64_t text = r->order[g->begin + i], n = r->lists.starts[text + 1] - r->lists.starts[text];
        learn(r, g->means + (size_t)i * stride, r->gradients + (size_t)i * stride, r->labels[text], lr,
              1.0F / (float)n);
        r->n_rows_done += n;
    }
    if (!isfinite(r->loss)) r->stop = GRAFT_EDATA;
    if (graft_env_is_cancelled(r->env)) r->stop = GRAFT_EINTERRUPTED;
}

/* ---- Rows ---- */

static void average(run *r, const group *g, int64_t chunk) {
    int64_t end = (chunk + 1) * CHUNK < g->n ? (chunk + 1) * CHUNK : g->n;
    for (int64_t i = chunk * CHUNK; i < end; i++) {
        int64_t text = r->order[g->begin + i], at = r->lists.starts[text];
        r->kernels->mean(g->means + (size_t)i * (size_t)r->m->stride, r->m->rows, (size_t)r->m->stride,
                         r->lists.rows + at, r->lists.starts[text + 1] - at);
    }
}

/* Which of `threads` adds to a row: a hash, since neighbouring rows are of words alike in frequency. */
static bool owns(uint32_t row, uint32_t thread, uint32_t threads) {
    uint32_t h = row * 2654435769U;
    return (uint32_t)(((uint64_t)h * threads) >> 32) == thread;
}

static void add_gradients(run *r, const group *g, int thread, int threads) {
    size_t stride = (size_t)r->m->stride;
    uint32_t first = r->options->frozen ? (uint32_t)r->m->n_words : 0;
    for (int64_t i = 0; i < g->n; i++) {
        int64_t text = r->order[g->begin + i];
        const float *gradient = r->gradients + (size_t)i * stride;
        for (int64_t at = r->lists.starts[text]; at < r->lists.starts[text + 1]; at++) {
            uint32_t row = r->lists.rows[at];
            if (row < first || (threads > 1 && !owns(row, (uint32_t)thread, (uint32_t)threads))) continue;
            r->kernels->add(r->m->rows + row * stride, gradient, stride);
        }
    }
}

/* ---- An epoch ---- */

/* Group i of the epoch, with means in one of two places; empty behind the last. */
static group group_at(const run *r, int64_t i) {
    group g = {.means = r->means[i & 1]};
    g.begin = i * r->group < r->n ? i * r->group : r->n;
    g.n = r->n - g.begin < r->group ? r->n - g.begin : r->group;
    return g;
}

/* Item 0 of a round is the linear layer of group i, the others are pieces of the averages of group i + 1. */
static void run_epoch(run *r) {
    int64_t n_groups = (r->n + r->group - 1) / r->group;
    const group first = group_at(r, 0);
    for (int64_t chunk = 0; chunk * CHUNK < first.n; chunk++) average(r, &first, chunk);
#pragma omp parallel num_threads(r->threads)
    for (int64_t i = 0, stop = 0; i < n_groups && !stop; i++) {
        const group now = group_at(r, i), next = group_at(r, i + 1);
        int64_t n_items = 1 + (next.n + CHUNK - 1) / CHUNK;
#pragma omp for schedule(dynamic, 1)
        for (int64_t item = 0; item < n_items; item++) {
            if (item == 0) {
                run_head(r, &now);
            } else {
                average(r, &next, item - 1);
            }
        }
        stop = r->stop; /* before the barrier: behind it another thread may be in the next round */
        add_gradients(r, &now, omp_get_thread_num(), omp_get_num_threads());
#pragma omp barrier
    }
}

static int end_epoch(run *r, double begun, graft_err *err) {
    char metrics[96], phase[64];
    double n = (double)r->n;
    if (r->stop == GRAFT_EINTERRUPTED) return graft_env_check(r->env, err);
    if (r->stop) {
        return graft_err_set(err, r->stop,
                             "the loss is no finite number in epoch %" PRId64
                             "; a rate below %g, or smaller pretrained vectors, may do",
                             r->epoch + 1, r->lr);
    }
    r->m->loss[r->epoch] = r->loss / n;
    r->m->accuracy[r->epoch] = (double)r->n_right / n;
    snprintf(metrics, sizeof metrics, "loss %.4f accuracy %.4f", r->loss / n, (double)r->n_right / n);
    snprintf(phase, sizeof phase, "epoch %" PRId64 " of %" PRId64, r->epoch + 1, r->options->epochs);
    const graft_progress_epoch over = {
        r->epoch + 1, r->options->epochs, r->loss / n, (double)r->n_right / n, NAN, NAN, "accuracy"};
    graft_progress p = {.phase = phase,
                        .done = r->n,
                        .total = r->n,
                        .seconds = graft_now() - begun,
                        .metrics = metrics,
                        .epoch = &over};
    graft_env_progress(r->env, &p);
    return 0;
}

static int run_epochs(run *r, graft_err *err) {
    int rc = 0;
    double begun = graft_now();
    for (r->epoch = 0; r->epoch < r->options->epochs && rc == 0; r->epoch++) {
        double epoch_begun = graft_now();
        r->loss = 0;
        r->n_right = 0;
        if (!r->options->keep_order) {
            graft_rng rng = graft_rng_at(r->options->seed, (uint64_t)r->epoch, 0, GRAFT_RNG_ORDER);
            graft_rng_shuffle(&rng, r->order, (size_t)r->n);
        }
        run_epoch(r);
        rc = end_epoch(r, epoch_begun, err);
    }
    r->m->seconds = graft_now() - begun;
    r->m->n_rows = r->n_rows_done;
    return rc;
}

/* ---- Before ---- */

static int check_options(graft_averaged_options *o, graft_err *err) {
    if (!o->width) o->width = WIDTH;
    if (!o->word_ngrams) o->word_ngrams = 1;
    if (!o->bucket) o->bucket = BUCKET;
    if (!o->epochs) o->epochs = EPOCHS;
    if (!(o->lr > 0) && !(o->lr < 0)) o->lr = 0.1;
    if (o->word_ngrams == 1) o->bucket = 0;
    bool fits = o->n_words >= 1 && o->n_classes >= 1 && o->n_classes <= MOST_CLASSES && o->width >= 1 &&
                o->width <= MOST_WIDTH && o->word_ngrams >= 1 && o->word_ngrams <= MOST_NGRAMS &&
                o->bucket >= 0 && o->n_words <= UINT32_MAX / 2 && o->bucket <= UINT32_MAX / 2 &&
                o->epochs >= 1 && o->lr > 0 && isfinite(o->lr) && o->group >= 0;
    if (fits) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "a classifier of %" PRId64 " words, %" PRId64
                         " classes, width %d, n-grams of %d in %" PRId64 " buckets, %" PRId64
                         " epochs at rate %g is not possible",
                         o->n_words, o->n_classes, o->width, o->word_ngrams, o->bucket, o->epochs, o->lr);
}

/* Initial rows: the pretrained ones, else uniform in (-1/width, 1/width), a function of seed and row. */
static void init_rows(const run *r) {
    const graft_averaged_options *o = r->options;
    graft_averaged *m = r->m;
    double bound = 1.0 / m->width;
#pragma omp parallel for num_threads(graft_env_threads(r->env)) schedule(static)
    for (int64_t i = 0; i < m->n_words + m->bucket; i++) {
        float *x = m->rows + (size_t)i * (size_t)m->stride;
        if (o->start && i < m->n_words && (!o->has_start || o->has_start[i])) {
            memcpy(x, o->start + (size_t)i * (size_t)m->width, (size_t)m->width * sizeof *x);
            continue;
        }
        graft_rng rng = graft_rng_at(o->seed, 0, (uint64_t)i, GRAFT_RNG_INIT);
        for (int j = 0; j < m->width; j++)
            x[j] = (float)(bound * ((double)graft_rng_u32(&rng) * 0x1p-31 - 1.0));
    }
}

/* Threads meet twice a group: as many as have THREAD_WORK multiplications each from one meeting to the other.
 */
static int threads_for(const run *r, int64_t n_rows) {
    double rows = (double)n_rows / (double)r->n * 2, classes = (double)r->m->n_classes * 3;
    double work = (double)r->group * (rows + classes) * (double)r->m->stride / THREAD_WORK;
    int most = graft_env_threads(r->env);
    return work < 2 ? 1 : work < most ? (int)work : most;
}

static float *matrix(graft_arena *arena, int64_t rows, int stride) {
    size_t count;
    if (!graft_size_mul((size_t)rows, (size_t)stride * sizeof(float), &count)) return NULL;
    return graft_arena_alloc_aligned(arena, count, 64);
}

static int make_model(graft_averaged *m, graft_arena *arena, const graft_averaged_options *o,
                      graft_err *err) {
    *m = (graft_averaged){.width = o->width,
                          .stride = (int)graft_size_align((size_t)o->width, GRAFT_AVERAGED_LANES),
                          .word_ngrams = o->word_ngrams,
                          .n_words = o->n_words,
                          .bucket = o->bucket,
                          .n_classes = o->n_classes};
    m->rows = matrix(arena, m->n_words + m->bucket, m->stride);
    m->head = matrix(arena, m->n_classes, m->stride);
    m->loss = graft_arena_array(arena, (size_t)o->epochs, sizeof *m->loss);
    m->accuracy = graft_arena_array(arena, (size_t)o->epochs, sizeof *m->accuracy);
    return m->rows && m->head && m->loss && m->accuracy ? 0 : graft_err_nomem(err);
}

/* Texts that have a row, checked labels, and room for two groups. */
static int prepare(run *r, graft_arena *scratch, const graft_texts *texts, graft_err *err) {
    const graft_averaged *m = r->m;
    int rc = graft_averaged_rows(&r->lists, scratch, m, texts, err);
    if (rc < 0) return rc;
    r->order = graft_arena_array(scratch, (size_t)texts->n, sizeof *r->order);
    if (!r->order) return graft_err_nomem(err);
    for (int64_t i = 0; i < texts->n; i++) {
        if (r->labels[i] < 0 || r->labels[i] >= m->n_classes) {
            return graft_err_set(err, GRAFT_EDATA,
                                 "text %" PRId64 " has label %d, which is not one of %" PRId64, i,
                                 r->labels[i], m->n_classes);
        }
        if (r->lists.starts[i + 1] > r->lists.starts[i]) r->order[r->n++] = i;
    }
    if (!r->n) return graft_err_set(err, GRAFT_EDATA, "no text has a word that is known");
    r->n_rows_total = r->lists.starts[texts->n] * r->options->epochs;
    r->group = r->options->group;
    if (!r->group) r->group = r->n / GROUPS + 1 < LARGEST_GROUP ? r->n / GROUPS + 1 : LARGEST_GROUP;
    if (r->group > r->n) r->group = r->n;
    r->threads = threads_for(r, r->lists.starts[texts->n]);
    for (int g = 0; g < 2; g++) r->means[g] = matrix(scratch, r->group, m->stride);
    r->gradients = matrix(scratch, r->group, m->stride);
    r->logits = graft_arena_array(scratch, (size_t)m->n_classes, sizeof *r->logits);
    bool all = r->means[0] && r->means[1] && r->gradients && r->logits;
    return all ? 0 : graft_err_nomem(err);
}

int graft_averaged_fit(graft_averaged *out, graft_arena *arena, const graft_env *env,
                       const graft_texts *texts, const int32_t *labels, const graft_averaged_options *options,
                       graft_err *err) {
    graft_averaged_options o = *options;
    run r = {.env = env, .options = &o, .m = out, .kernels = graft_averaged_choose(), .labels = labels};
    int rc = check_options(&o, err);
    if (rc < 0) return rc;
    r.lr = o.lr;
    rc = make_model(out, arena, &o, err);
    graft_arena *scratch = rc == 0 ? graft_arena_new(NULL) : NULL;
    if (rc == 0) rc = scratch ? prepare(&r, scratch, texts, err) : graft_err_nomem(err);
    if (rc == 0) {
        init_rows(&r);
        rc = run_epochs(&r, err);
    }
    graft_arena_free(scratch);
    return rc;
}
