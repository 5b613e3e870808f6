/* Batches over rows: stored ones, or such as the prefix makes of another source's batches.
 *
 * An epoch over stored rows is an order and, with variants, a draw a sample, both functions of the seed. Of
 * texts the loader says what else a batch holds (spans, tags): its tokens are at hand, and the rows take
 * their place. */
#include "transfer/prefix.h"

#include <stdlib.h>
#include <string.h>

typedef struct row_batches {
    const graft_features *features; /* NULL: rows are computed */
    graft_prefix *prefix;           /* where they are */
    const graft_data *data;
    graft_row_batches_options options;
    graft_batches inner; /* of texts, or of what is computed; else not open */
    const int64_t *members;
    int64_t n, epoch, at;
    int64_t *order;
    int32_t *labels;    /* [batch] */
    const float **rows; /* [batch] */
    float **computed;   /* [batch] into `room`, where rows are computed */
    float *room;
    size_t room_count;
    graft_row_tensors tensors;
} row_batches;

static void close_batches(void *self) {
    row_batches *b = self;
    graft_batches_close(&b->inner);
    graft_row_tensors_done(&b->tensors);
    free(b->order);
    free(b->labels);
    free(b->rows);
    free(b->computed);
    free(b->room);
    free(b);
}

static row_batches *new_batches(const graft_prefix *prefix, int64_t batch, graft_err *err) {
    row_batches *b = calloc(1, sizeof *b);
    if (b && graft_row_tensors_init(&b->tensors, prefix, NULL) == 0) {
        b->rows = calloc((size_t)batch + 1, sizeof *b->rows);
        b->computed = calloc((size_t)batch + 1, sizeof *b->computed);
        b->labels = calloc((size_t)batch + 1, sizeof *b->labels);
        if (b->rows && b->computed && b->labels) return b;
    }
    if (b) close_batches(b);
    graft_err_nomem(err);
    return NULL;
}

/* ---- Stored rows ---------------------------------------------------------------------------------------- */

static int begin_stored(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    row_batches *b = self;
    b->epoch = epoch;
    if (b->inner.begin) return b->inner.begin(b->inner.self, epoch, first_batch, err);
    b->at = first_batch * b->options.batch;
    return graft_sampler_epoch(b->order, b->data, b->members, b->n, b->options.order, b->options.seed, epoch,
                               err);
}

static const float *row_of(const row_batches *b, int64_t sample) {
    int64_t variant = -1;
    if (b->options.variants > 0) {
        graft_rng r = graft_rng_at(b->options.seed, (uint64_t)b->epoch, (uint64_t)sample, GRAFT_RNG_AUGMENT);
        variant = (int64_t)graft_rng_below(&r, (uint64_t)b->options.variants);
    }
    return graft_features_row(b->features, sample, variant);
}

/* The next batch without its inputs. */
static int next_samples(row_batches *b, graft_batch *out, graft_err *err) {
    if (b->inner.next) return b->inner.next(b->inner.self, out, err);
    if (b->at >= b->n) return 0;
    int64_t n = b->n - b->at < b->options.batch ? b->n - b->at : b->options.batch;
    for (int64_t i = 0; i < n; i++) b->labels[i] = graft_data_sample(b->data, b->order[b->at + i])->label;
    *out = (graft_batch){.n = n, .samples = b->order + b->at, .labels = b->labels};
    b->at += n;
    return 1;
}

static int next_stored(void *self, graft_batch *out, graft_err *err) {
    row_batches *b = self;
    int rc = next_samples(b, out, err);
    if (rc != 1) return rc;
    for (int64_t i = 0; i < out->n; i++) b->rows[i] = row_of(b, out->samples[i]);
    rc = graft_row_tensors_put(&b->tensors, out, b->rows, err);
    return rc < 0 ? rc : 1;
}

int graft_row_batches_open(graft_batches *out, const graft_features *features, graft_data *data,
                           const graft_transform *transform, const graft_prefix *prefix,
                           const graft_row_batches_options *options, graft_err *err) {
    row_batches *b = new_batches(prefix, options->batch, err);
    if (!b) return GRAFT_ENOMEM;
    b->features = features;
    b->data = data;
    b->options = *options;
    b->members = graft_data_members(data, options->part, &b->n);
    b->order = malloc(((size_t)b->n + 1) * sizeof *b->order);
    int rc = b->order ? 0 : graft_err_nomem(err);
    if (rc == 0 && graft_data_modality(data) == GRAFT_TEXTS) {
        graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
        o.part = options->part;
        o.batch = options->batch;
        o.order = options->order;
        o.seed = options->seed;
        rc = graft_loader_open(&b->inner, data, transform, &o, err);
    }
    if (rc < 0) {
        close_batches(b);
        return rc;
    }
    *out = (graft_batches){.self = b,
                           .n_samples = b->n,
                           .n_batches = (b->n + options->batch - 1) / options->batch,
                           .batch = options->batch,
                           .begin = begin_stored,
                           .next = next_stored,
                           .close = close_batches};
    return 0;
}

/* ---- Computed rows -------------------------------------------------------------------------------------- */

static int begin_computed(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    const row_batches *b = self;
    return b->inner.begin(b->inner.self, epoch, first_batch, err);
}

static int place_rows(row_batches *b, const graft_batch *batch, graft_err *err) {
    size_t total = 0;
    for (int64_t i = 0; i < batch->n; i++)
        total += graft_prefix_row(b->prefix, batch->spans ? batch->spans[2 * i + 1] : 0);
    if (total > b->room_count) {
        free(b->room);
        b->room = malloc(total * sizeof *b->room);
        b->room_count = b->room ? total : 0;
        if (!b->room) return graft_err_nomem(err);
    }
    float *at = b->room;
    for (int64_t i = 0; i < batch->n; i++) {
        b->rows[i] = b->computed[i] = at;
        at += graft_prefix_row(b->prefix, batch->spans ? batch->spans[2 * i + 1] : 0);
    }
    return 0;
}

static int next_computed(void *self, graft_batch *out, graft_err *err) {
    row_batches *b = self;
    int rc = b->inner.next(b->inner.self, out, err);
    if (rc != 1) return rc;
    rc = place_rows(b, out, err);
    if (rc == 0) rc = graft_prefix_run(b->prefix, out, b->computed, err);
    if (rc == 0) rc = graft_row_tensors_put(&b->tensors, out, b->rows, err);
    return rc < 0 ? rc : 1;
}

int graft_prefix_batches_open(graft_batches *out, graft_batches *inner, graft_prefix *prefix,
                              graft_err *err) {
    row_batches *b = new_batches(prefix, inner->batch, err);
    if (!b) return GRAFT_ENOMEM;
    b->prefix = prefix;
    b->inner = *inner;
    *out = *inner;
    *inner = (graft_batches){0};
    out->self = b;
    out->begin = begin_computed;
    out->next = next_computed;
    out->close = close_batches;
    return 0;
}
