/* Batches over stored rows: an epoch is an order and, with variants, a draw a sample, both functions of the
 * seed. */
#include "transfer/prefix.h"

#include <stdlib.h>
#include <string.h>

typedef struct row_batches {
    const graft_features *features;
    const graft_data *data;
    const graft_prefix *prefix;
    graft_row_batches_options options;
    const int64_t *members;
    int64_t n, epoch, at;
    int64_t *order;
    int32_t *labels;       /* [batch] */
    float *values;         /* [batch, row_count], value by value */
    graft_tensor *tensors; /* [n_values] */
} row_batches;

static int begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    row_batches *b = self;
    b->epoch = epoch;
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

static int next(void *self, graft_batch *out, graft_err *err) {
    row_batches *b = self;
    const graft_prefix *p = b->prefix;
    (void)err;
    if (b->at >= b->n) return 0;
    int64_t n = b->n - b->at < b->options.batch ? b->n - b->at : b->options.batch;
    float *to = b->values;
    for (size_t v = 0; v < p->n_values; v++) {
        b->tensors[v].data = to;
        b->tensors[v].shape.dims[0] = n;
        b->tensors[v].size = (size_t)n * p->counts[v] * sizeof *to;
        to += (size_t)n * p->counts[v];
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t sample = b->order[b->at + i];
        const float *row = row_of(b, sample);
        float *start = b->values;
        for (size_t v = 0; v < p->n_values; v++) {
            memcpy(start + (size_t)i * p->counts[v], row, p->counts[v] * sizeof *row);
            row += p->counts[v];
            start += (size_t)n * p->counts[v];
        }
        b->labels[i] = graft_data_sample(b->data, sample)->label;
    }
    *out = (graft_batch){.n = n,
                         .inputs = b->tensors,
                         .n_inputs = p->n_values,
                         .samples = b->order + b->at,
                         .labels = b->labels};
    b->at += n;
    return 1;
}

static void close_batches(void *self) {
    row_batches *b = self;
    free(b->order);
    free(b->labels);
    free(b->values);
    free(b->tensors);
    free(b);
}

int graft_row_batches_open(graft_batches *out, const graft_features *features, const graft_data *data,
                           const graft_prefix *prefix, const graft_row_batches_options *options,
                           graft_err *err) {
    row_batches *b = calloc(1, sizeof *b);
    if (!b) return graft_err_nomem(err);
    b->features = features;
    b->data = data;
    b->prefix = prefix;
    b->options = *options;
    b->members = graft_data_members(data, options->part, &b->n);
    b->order = malloc(((size_t)b->n + 1) * sizeof *b->order);
    b->labels = malloc((size_t)options->batch * sizeof *b->labels);
    b->values = malloc((size_t)options->batch * prefix->row_count * sizeof *b->values);
    b->tensors = calloc(prefix->n_values, sizeof *b->tensors);
    if (!b->order || !b->labels || !b->values || !b->tensors) {
        close_batches(b);
        return graft_err_nomem(err);
    }
    for (size_t v = 0; v < prefix->n_values; v++)
        b->tensors[v] =
            (graft_tensor){.name = prefix->names[v], .dtype = GRAFT_F32, .shape = prefix->shapes[v]};
    *out = (graft_batches){.self = b,
                           .n_samples = b->n,
                           .n_batches = (b->n + options->batch - 1) / options->batch,
                           .batch = options->batch,
                           .begin = begin,
                           .next = next,
                           .close = close_batches};
    return 0;
}
