/* Rows of samples: what the cache has is taken from it, the rest is decoded, run through the prefix and
 * put there. Without a cache (not wanted, or not writable) rows lie in memory. */
#include "transfer/prefix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of one size and one variant. */
typedef struct row_store {
    graft_cache *cache; /* NULL: in memory */
    bool opened;
} row_store;

struct graft_features {
    const graft_env *env;
    graft_data *data;
    const graft_transform *transform;
    graft_prefix *prefix;
    graft_features_options options;
    graft_arena *arena;  /* of rows that no cache holds */
    row_store *stores;   /* [n_passes, n_sizes]: plain, then the variants */
    const float ***rows; /* [n_passes][n_samples], NULL where there is none */
    size_t n_passes, n_sizes;
    int64_t cached, all;
};

/* A row in the cache: the floats, then how the picture looked (near-duplicates are found from the cache too).
 */
typedef struct row_tail {
    graft_likeness likeness;
    uint8_t has_likeness, pad[7];
} row_tail;

/* Rows by token come in few sizes: a store holds those of up to so many tokens more than the store before. */
enum { TOKENS_STEP = 16 };

static int64_t tokens_of(const graft_features *f, int64_t sample) {
    return f->prefix->by_token ? graft_data_tokens(f->data, sample) : 0;
}

static size_t size_of(const graft_features *f, int64_t sample) {
    int64_t tokens = tokens_of(f, sample);
    return tokens > 0 ? (size_t)((tokens + TOKENS_STEP - 1) / TOKENS_STEP) : 0;
}

/* Floats that a store of this size keeps a row. */
static size_t store_floats(const graft_features *f, size_t size) {
    return graft_prefix_row(f->prefix, (int64_t)size * TOKENS_STEP);
}

static size_t row_size(const graft_features *f, size_t size) {
    return store_floats(f, size) * sizeof(float) + sizeof(row_tail);
}

/* What a row depends on beside prefix, dtype and content. */
static graft_hash how_made(const graft_features *f, int64_t variant, size_t size) {
    graft_hash how = graft_transform_hash(f->transform);
    char text[384], policy[256] = "";
    if (variant < 0 && size == 0) return how;
    if (variant >= 0) graft_augment_explain(&f->transform->augment, policy, sizeof policy);
    int n = snprintf(text, sizeof text, "%016llx%016llx %s %llu %zu", (unsigned long long)how.hi,
                     (unsigned long long)how.lo, policy,
                     variant >= 0 ? (unsigned long long)f->options.seed : 0ULL, size);
    return graft_hash_bytes(text, (size_t)n);
}

static row_store *store_of(graft_features *f, int64_t variant, int64_t sample) {
    size_t size = size_of(f, sample);
    row_store *s = &f->stores[(size_t)(variant + 1) * f->n_sizes + size];
    if (s->opened) return s;
    s->opened = true;
    if (!f->options.use_cache) return s;
    graft_hash key = graft_cache_key(f->prefix->hash, how_made(f, variant, size), f->options.dtype, variant);
    graft_err reason = {0};
    if (graft_cache_open(&s->cache, f->env, key, row_size(f, size), graft_data_path(f->data), 0, &reason) <
        0) {
        s->cache = NULL;
        f->options.use_cache = false;
        graft_env_log(f->env, GRAFT_LOG_WARNING, "going on without the bottleneck cache: %s", reason.message);
    }
    return s;
}

/* Fills what the cache holds already; *missing lists the samples that have to be computed. */
static int take_cached(graft_features *f, int64_t variant, const int64_t *samples, int64_t n, bool note,
                       int64_t *missing, int64_t *n_missing, graft_err *err) {
    *n_missing = 0;
    for (int64_t i = 0; i < n; i++) {
        const graft_sample *sample = graft_data_sample(f->data, samples[i]);
        if (sample->state == GRAFT_BAD) continue;
        row_store *s = store_of(f, variant, samples[i]);
        const float *row = s->cache ? graft_cache_get(s->cache, sample->content) : NULL;
        f->all++;
        if (!row) {
            missing[(*n_missing)++] = samples[i];
            continue;
        }
        f->cached++;
        f->rows[variant + 1][samples[i]] = row;
        row_tail tail;
        memcpy(&tail, row + store_floats(f, size_of(f, samples[i])), sizeof tail);
        int rc =
            note ? graft_data_note_seen(f->data, samples[i], tail.has_likeness ? &tail.likeness : NULL, err)
                 : 0;
        if (rc < 0) return rc;
    }
    return 0;
}

/* `row` has `floats` values, and room for as many as its store keeps. */
static int keep_row(graft_features *f, int64_t variant, int64_t sample, const float *row, size_t floats,
                    unsigned char *packed, graft_err *err) {
    row_store *s = store_of(f, variant, sample);
    if (!s->cache) {
        float *to = graft_arena_array(f->arena, floats, sizeof *to);
        if (!to) return graft_err_nomem(err);
        memcpy(to, row, floats * sizeof *row);
        f->rows[variant + 1][sample] = to;
        return 0;
    }
    const graft_sample *info = graft_data_sample(f->data, sample);
    row_tail tail = {.has_likeness = info->likeness != NULL};
    if (info->likeness) tail.likeness = *info->likeness;
    size_t size = size_of(f, sample), whole = store_floats(f, size) * sizeof *row;
    memcpy(packed, row, floats * sizeof *row);
    memset(packed + floats * sizeof *row, 0, whole - floats * sizeof *row);
    memcpy(packed + whole, &tail, sizeof tail);
    return graft_cache_put(s->cache, info->content, packed, err);
}

/* Rows of the cache are borrowed when all of them are in their place. */
static int take_put(graft_features *f, int64_t variant, const int64_t *samples, int64_t n, graft_err *err) {
    for (size_t size = 0; size < f->n_sizes; size++) {
        row_store *s = &f->stores[(size_t)(variant + 1) * f->n_sizes + size];
        int rc = s->cache ? graft_cache_flush(s->cache, err) : 0;
        if (rc < 0) return rc;
    }
    for (int64_t i = 0; i < n; i++) {
        const graft_sample *sample = graft_data_sample(f->data, samples[i]);
        row_store *s = sample->state == GRAFT_BAD ? NULL : store_of(f, variant, samples[i]);
        if (s && s->cache) f->rows[variant + 1][samples[i]] = graft_cache_get(s->cache, sample->content);
    }
    return 0;
}

/* Where the rows of a batch are computed, and one is packed. */
typedef struct row_room {
    float *values, **rows;
    unsigned char *packed;
} row_room;

/* Samples loaded at once. The prefix takes as many texts as its tokens hold: of a long batch only the last
 * run is not full. */
static int64_t load_of(const graft_features *f) {
    enum { TEXTS = 1024, LONG_ROWS = 128 };
    if (f->prefix->tokens == 0) return f->prefix->batch;
    return f->prefix->by_token ? LONG_ROWS : TEXTS;
}

static int make_room(row_room *r, const graft_features *f, graft_err *err) {
    size_t batch = (size_t)load_of(f), most = store_floats(f, f->n_sizes - 1);
    r->values = malloc(batch * most * sizeof *r->values + 1);
    r->rows = malloc(batch * sizeof *r->rows);
    r->packed = malloc(row_size(f, f->n_sizes - 1));
    if (!r->values || !r->rows || !r->packed) return graft_err_nomem(err);
    for (size_t i = 0; i < batch; i++) r->rows[i] = r->values + i * most;
    return 0;
}

static void free_room(row_room *r) {
    free(r->values);
    free(r->rows);
    free(r->packed);
}

static int compute_batch(graft_features *f, const graft_batch *b, int64_t variant, row_room *r,
                         graft_err *err) {
    int rc = b->n ? graft_prefix_run(f->prefix, b, r->rows, err) : 0;
    for (int64_t i = 0; i < b->n && rc == 0; i++) {
        size_t floats = graft_prefix_row(f->prefix, b->spans ? b->spans[2 * i + 1] : 0);
        rc = keep_row(f, variant, b->samples[i], r->rows[i], floats, r->packed, err);
    }
    return rc;
}

/* Decodes and runs `samples` in order; `variant` is the augmentation's epoch, -1: none. */
static int compute(graft_features *f, const int64_t *samples, int64_t n, int64_t variant, bool check,
                   graft_err *err) {
    graft_batches loader = {0};
    graft_batch b = {0};
    row_room room = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.samples = samples;
    o.n_samples = n;
    o.batch = load_of(f);
    o.augment = variant >= 0;
    o.seed = f->options.seed;
    o.check = check;
    int rc = make_room(&room, f, err);
    if (rc == 0) rc = graft_loader_open(&loader, f->data, f->transform, &o, err);
    if (rc == 0) rc = loader.begin(loader.self, variant < 0 ? 0 : variant, 0, err);
    double begun = graft_now();
    int64_t done = 0;
    while (rc == 0 && (rc = loader.next(loader.self, &b, err)) == 1) {
        rc = compute_batch(f, &b, variant, &room, err);
        done += b.n;
        graft_progress p = {
            .phase = "running the frozen part", .done = done, .total = n, .seconds = graft_now() - begun};
        graft_env_progress(f->env, &p);
        if (rc == 0) rc = graft_env_check(f->env, err);
    }
    graft_batches_close(&loader);
    if (rc == 0) rc = take_put(f, variant, samples, n, err);
    free_room(&room);
    return rc;
}

static int fill(graft_features *f, const int64_t *samples, int64_t n, int64_t variant, bool check,
                graft_err *err) {
    int64_t *missing = malloc(((size_t)n + 1) * sizeof *missing), n_missing = 0;
    int rc =
        missing ? take_cached(f, variant, samples, n, check, missing, &n_missing, err) : graft_err_nomem(err);
    if (rc == 0 && n_missing) rc = compute(f, missing, n_missing, variant, check, err);
    free(missing);
    return rc;
}

/* The size of a text's row is known by its tokens: opening a loader makes them. */
static int make_tokens(graft_features *f, const int64_t *samples, int64_t n, bool check, graft_err *err) {
    graft_batches loader = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.samples = samples;
    o.n_samples = n;
    o.check = check;
    int rc = graft_loader_open(&loader, f->data, f->transform, &o, err);
    graft_batches_close(&loader);
    return rc;
}

/* Sees every sample and makes the parts, with what the cache has in place of decoding. */
static int settle_first(graft_features *f, const int64_t *samples, int64_t n, graft_err *err) {
    bool is_text = graft_data_modality(f->data) == GRAFT_TEXTS;
    int64_t *missing = malloc(((size_t)n + 1) * sizeof *missing), n_missing = 0;
    int rc = missing ? take_cached(f, -1, samples, n, true, missing, &n_missing, err) : graft_err_nomem(err);
    /* a text of which no tokens can be made is none of any part */
    if (rc == 0 && is_text && n_missing) rc = make_tokens(f, missing, n_missing, true, err);
    if (rc == 0)
        rc = f->options.use_cache ? graft_seen_check(f->env, f->data, err) : graft_data_check(f->data, err);
    free(missing);
    f->all = f->cached = 0;
    return rc;
}

/* The samples that have a part in the run. */
static int64_t list_used(int64_t *out, const graft_data *d) {
    static const graft_part parts[] = {GRAFT_TRAIN, GRAFT_VAL, GRAFT_TEST};
    int64_t n = 0;
    for (size_t i = 0; i < GRAFT_COUNT(parts); i++) {
        int64_t n_members = 0;
        const int64_t *members = graft_data_members(d, parts[i], &n_members);
        for (int64_t k = 0; k < n_members; k++) out[n++] = members[k];
    }
    return n;
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
    int rc =
        f->options.partial ? graft_data_hash_some(f->data, samples, n, err) : graft_data_hash(f->data, err);
    if (rc == 0 && f->prefix->by_token) rc = make_tokens(f, samples, n, false, err);
    bool check = f->options.check;
    if (rc == 0 && check && all && graft_data_leaves_out(f->data)) {
        rc = settle_first(f, samples, n, err);
        n = list_used(all, f->data);
        check = false;
    }
    if (rc == 0) rc = fill(f, samples, n, -1, check, err);
    if (rc == 0 && check && !f->options.partial) rc = graft_data_settle(f->data, err);
    free(all);
    return rc;
}

static int make_tables(graft_features *f, graft_err *err) {
    size_t n = (size_t)graft_data_n_samples(f->data);
    f->arena = graft_arena_new(NULL);
    if (!f->arena) return graft_err_nomem(err);
    if (f->prefix->by_token)
        f->n_sizes += (size_t)(f->transform->text.max_length + TOKENS_STEP - 1) / TOKENS_STEP;
    f->stores = graft_arena_array(f->arena, f->n_passes * f->n_sizes, sizeof *f->stores);
    f->rows = graft_arena_array(f->arena, f->n_passes, sizeof *f->rows);
    if (!f->stores || !f->rows) return graft_err_nomem(err);
    for (size_t i = 0; i < f->n_passes; i++)
        if (!(f->rows[i] = graft_arena_array(f->arena, n + 1, sizeof **f->rows))) return graft_err_nomem(err);
    return 0;
}

int graft_features_new(graft_features **out, const graft_env *env, graft_data *data,
                       const graft_transform *transform, graft_prefix *prefix,
                       const graft_features_options *options, graft_err *err) {
    graft_features *f = calloc(1, sizeof *f);
    if (!f) return graft_err_nomem(err);
    f->env = env;
    f->data = data;
    f->transform = transform;
    f->prefix = prefix;
    f->options = *options;
    f->n_passes = (size_t)options->variants + 1;
    f->n_sizes = 1;
    int rc = make_tables(f, err);
    if (rc == 0) rc = fill_plain(f, err);
    for (int64_t v = 0; v < options->variants && rc == 0; v++) {
        int64_t n = 0;
        const int64_t *train = graft_data_members(data, GRAFT_TRAIN, &n);
        rc = fill(f, train, n, v, false, err);
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
    for (size_t i = 0; f->stores && i < f->n_passes * f->n_sizes; i++)
        if (f->stores[i].cache) graft_cache_close(f->stores[i].cache);
    graft_arena_free(f->arena);
    free(f);
}

const float *graft_features_row(const graft_features *f, int64_t sample, int64_t variant) {
    return f->rows[variant + 1][sample];
}

void graft_features_counts(const graft_features *f, int64_t *cached, int64_t *all) {
    *cached = f->cached;
    *all = f->all;
}
