/* Rows of all samples: what the cache has is taken from it, the rest is decoded, run through the prefix and
 * put there. Without a cache (not wanted, or not writable) rows lie in memory. */
#include "transfer/prefix.h"

#include <stdlib.h>
#include <string.h>

typedef struct row_store {
    graft_cache *cache; /* NULL: in memory */
    const float **rows; /* [n_samples], NULL where there is none */
    float *memory;      /* rows computed here when there is no cache */
} row_store;

struct graft_features {
    const graft_env *env;
    graft_data *data;
    const graft_transform *transform;
    graft_prefix *prefix;
    graft_features_options options;
    row_store *stores; /* plain, then the variants */
    size_t n_stores;
    int64_t cached, all;
};

/* A row in the cache: the floats, then how the picture looked (near-duplicates are found from the cache too).
 */
typedef struct row_tail {
    graft_likeness likeness;
    uint8_t has_likeness, pad[7];
} row_tail;

static size_t row_size(const graft_features *f) {
    return f->prefix->row_count * sizeof(float) + sizeof(row_tail);
}

static int open_store(graft_features *f, row_store *s, int64_t variant, graft_err *err) {
    s->rows = calloc((size_t)graft_data_n_samples(f->data) + 1, sizeof *s->rows);
    if (!s->rows) return graft_err_nomem(err);
    if (!f->options.use_cache) return 0;
    graft_hash how = graft_preprocess_hash(&f->transform->preprocess);
    if (variant >= 0) { /* a variant is a function of policy and seed too */
        char text[320], policy[256];
        graft_augment_explain(&f->transform->augment, policy, sizeof policy);
        int n = snprintf(text, sizeof text, "%016llx%016llx %s %llu", (unsigned long long)how.hi,
                         (unsigned long long)how.lo, policy, (unsigned long long)f->options.seed);
        how = graft_hash_bytes(text, (size_t)n);
    }
    graft_hash key = graft_cache_key(f->prefix->hash, how, f->options.dtype, variant);
    graft_err reason = {0};
    if (graft_cache_open(&s->cache, f->env, key, row_size(f), graft_data_path(f->data), 0, &reason) < 0) {
        s->cache = NULL;
        graft_env_log(f->env, GRAFT_LOG_WARNING, "going on without the bottleneck cache: %s", reason.message);
    }
    return 0;
}

/* Fills what the cache holds already; *missing lists the samples that have to be computed. */
static int take_cached(graft_features *f, row_store *s, const int64_t *samples, int64_t n, bool note,
                       int64_t *missing, int64_t *n_missing, graft_err *err) {
    *n_missing = 0;
    for (int64_t i = 0; i < n; i++) {
        const graft_sample *sample = graft_data_sample(f->data, samples[i]);
        if (sample->state == GRAFT_BAD) continue;
        const float *row = s->cache ? graft_cache_get(s->cache, sample->content) : NULL;
        f->all++;
        if (!row) {
            missing[(*n_missing)++] = samples[i];
            continue;
        }
        f->cached++;
        s->rows[samples[i]] = row;
        row_tail tail;
        memcpy(&tail, row + f->prefix->row_count, sizeof tail);
        int rc =
            note ? graft_data_note_seen(f->data, samples[i], tail.has_likeness ? &tail.likeness : NULL, err)
                 : 0;
        if (rc < 0) return rc;
    }
    return 0;
}

static int keep_row(graft_features *f, row_store *s, int64_t sample, const float *row, int64_t slot,
                    unsigned char *packed, graft_err *err) {
    size_t floats = f->prefix->row_count;
    if (!s->cache) {
        float *to = s->memory + (size_t)slot * floats;
        memcpy(to, row, floats * sizeof *row);
        s->rows[sample] = to;
        return 0;
    }
    const graft_sample *info = graft_data_sample(f->data, sample);
    row_tail tail = {.has_likeness = info->likeness != NULL};
    if (info->likeness) tail.likeness = *info->likeness;
    memcpy(packed, row, floats * sizeof *row);
    memcpy(packed + floats * sizeof *row, &tail, sizeof tail);
    return graft_cache_put(s->cache, info->content, packed, err);
}

/* Decodes and runs `samples` in order; `variant` is the augmentation's epoch, -1: none. */
static int compute(graft_features *f, row_store *s, const int64_t *samples, int64_t n, int64_t variant,
                   bool check, graft_err *err) {
    graft_batches loader = {0};
    graft_batch b = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.samples = samples;
    o.n_samples = n;
    o.batch = f->prefix->batch;
    o.augment = variant >= 0;
    o.seed = f->options.seed;
    o.check = check;
    float *rows = malloc((size_t)f->prefix->batch * f->prefix->row_count * sizeof *rows);
    unsigned char *packed = malloc(row_size(f));
    if (!s->cache) s->memory = malloc((size_t)n * f->prefix->row_count * sizeof *s->memory + 1);
    int rc = rows && packed && (s->cache || s->memory) ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = graft_loader_open(&loader, f->data, f->transform, &o, err);
    if (rc == 0) rc = loader.begin(loader.self, variant < 0 ? 0 : variant, 0, err);
    double begun = graft_now();
    int64_t done = 0;
    while (rc == 0 && (rc = loader.next(loader.self, &b, err)) == 1) {
        rc = b.n ? graft_prefix_run(f->prefix, b.inputs[0].data, b.n, rows, err) : 0;
        for (int64_t i = 0; i < b.n && rc == 0; i++)
            rc = keep_row(f, s, b.samples[i], rows + (size_t)i * f->prefix->row_count, done + i, packed, err);
        done += b.n;
        graft_progress p = {"running the frozen part", done, n, graft_now() - begun, NULL};
        graft_env_progress(f->env, &p);
        if (rc == 0) rc = graft_env_check(f->env, err);
    }
    graft_batches_close(&loader);
    if (rc == 0 && s->cache) rc = graft_cache_flush(s->cache, err);
    for (int64_t i = 0; rc == 0 && s->cache && i < n; i++) {
        const graft_sample *sample = graft_data_sample(f->data, samples[i]);
        if (sample->state != GRAFT_BAD) s->rows[samples[i]] = graft_cache_get(s->cache, sample->content);
    }
    free(rows);
    free(packed);
    return rc;
}

static int fill(graft_features *f, row_store *s, const int64_t *samples, int64_t n, int64_t variant,
                bool check, graft_err *err) {
    int64_t *missing = malloc(((size_t)n + 1) * sizeof *missing), n_missing = 0;
    int rc = missing ? open_store(f, s, variant, err) : graft_err_nomem(err);
    if (rc == 0) rc = take_cached(f, s, samples, n, check, missing, &n_missing, err);
    if (rc == 0 && n_missing) rc = compute(f, s, missing, n_missing, variant, check, err);
    free(missing);
    return rc;
}

static int fill_plain(graft_features *f, graft_err *err) {
    const int64_t *samples = f->options.samples;
    int64_t n = samples ? f->options.n_samples : graft_data_n_samples(f->data), *all = NULL;
    if (!samples) {
        all = malloc(((size_t)n + 1) * sizeof *all);
        if (!all) return graft_err_nomem(err);
        for (int64_t i = 0; i < n; i++) all[i] = i;
        samples = all;
    }
    int rc = graft_data_hash(f->data, err);
    if (rc == 0) rc = fill(f, &f->stores[0], samples, n, -1, f->options.check, err);
    if (rc == 0 && f->options.check) rc = graft_data_settle(f->data, err);
    free(all);
    return rc;
}

int graft_features_new(graft_features **out, const graft_env *env, graft_data *data,
                       const graft_transform *transform, graft_prefix *prefix,
                       const graft_features_options *options, graft_err *err) {
    graft_features *f = calloc(1, sizeof *f);
    if (f) f->stores = calloc((size_t)options->variants + 1, sizeof *f->stores);
    if (!f || !f->stores) {
        free(f);
        return graft_err_nomem(err);
    }
    f->env = env;
    f->data = data;
    f->transform = transform;
    f->prefix = prefix;
    f->options = *options;
    f->n_stores = (size_t)options->variants + 1;
    int rc = fill_plain(f, err);
    for (int64_t v = 0; v < options->variants && rc == 0; v++) {
        int64_t n = 0;
        const int64_t *train = graft_data_members(data, GRAFT_TRAIN, &n);
        rc = fill(f, &f->stores[v + 1], train, n, v, false, err);
    }
    if (rc < 0) {
        graft_features_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

void graft_features_free(graft_features *f) {
    if (!f) return;
    for (size_t i = 0; i < f->n_stores; i++) {
        if (f->stores[i].cache) graft_cache_close(f->stores[i].cache);
        free(f->stores[i].rows);
        free(f->stores[i].memory);
    }
    free(f->stores);
    free(f);
}

const float *graft_features_row(const graft_features *f, int64_t sample, int64_t variant) {
    return f->stores[variant + 1].rows[sample];
}

void graft_features_counts(const graft_features *f, int64_t *cached, int64_t *all) {
    *cached = f->cached;
    *all = f->all;
}
