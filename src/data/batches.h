/* What a trainer eats: batches of samples, whoever makes them. The loader makes them from pictures or texts,
 * the cache from stored boundary values; the trainer knows only this. A source is used by one thread at a
 * time. */
#ifndef GRAFT_DATA_BATCHES_H
#define GRAFT_DATA_BATCHES_H

#include "backend/backend.h"

/** One batch of n samples. Everything is borrowed from the source until its following next, begin or close.
 *
 * What has one row a sample lies in `inputs`. Texts have rows of another kind too: tokens. They are packed,
 * the tokens of a sample one after the other and sample after sample, without padding: sample i has the rows
 * spans[2 i] .. spans[2 i] + spans[2 i + 1] of every token input. Rows [first, first + n) of a batch
 * therefore are token rows that follow one another, and their spans count from the first of them. */
typedef struct graft_batch {
    int64_t n; /* samples here; the last batch of an epoch may have fewer than `batch` */
    const graft_tensor
        *inputs; /* first dim of each is n; a picture input is "pixel_values" [n, C, H, W] float32 */
    size_t n_inputs;
    const int64_t *samples; /* [n] indices into the data */
    const int32_t *labels;  /* [n] class indices, -1: none (and for tasks other than classes) */
    const float *targets;   /* [n, n_classes] that sum to 1 (mixup, cutmix), or NULL: use labels. Multi-label:
                               [n, n_classes] of 0 and 1; regression: [n, 1] (NaN: none) */
    int64_t n_tokens;       /* of all samples together; 0: these are no texts, and all below is NULL or 0 */
    const graft_tensor *token_inputs; /* first dim of each is n_tokens; the text loader's are "input_ids",
                                         "token_type_ids" and "position_ids", each [n_tokens] int32 */
    size_t n_token_inputs;
    const int32_t *spans;        /* [n, 2] first token and number of tokens, at least 1 */
    const int32_t *token_labels; /* tagging: [n_tokens] class of the word that begins here; -1: none begins,
                                    or it has none. Else NULL */
    const int32_t *token_words; /* tagging: [n_tokens] the word of its sample that begins here, -1: none. Else
                                   NULL. Words that were cut off have no token. */
    const int32_t *windows;     /* [n] which window of its text a sample is, from 0; NULL: texts were not cut
                                   into windows. A window of 1 and more goes on where sample - 1 ended */
} graft_batch;

/** What a program reads of a batch. */
static inline graft_feed graft_batch_feed(const graft_batch *b) {
    return (graft_feed){.n = b->n,
                        .n_tokens = b->n_tokens,
                        .inputs = b->inputs,
                        .n_inputs = b->n_inputs,
                        .token_inputs = b->token_inputs,
                        .n_token_inputs = b->n_token_inputs,
                        .spans = b->spans};
}

/** A source of batches. The same (epoch, first_batch) gives the same batches, bit for bit, however often it
 * is asked and on however many threads it works: that is what resuming rests on. */
typedef struct graft_batches {
    void *self;
    int64_t n_samples; /* in an epoch */
    int64_t n_batches; /* in an epoch */
    int64_t batch;     /* samples of a full batch */
    /** Starts epoch `epoch` (from 0) at its batch `first_batch` (from 0; n_batches: nothing is left). */
    int (*begin)(void *self, int64_t epoch, int64_t first_batch, graft_err *err);
    /** 1: *out is the next batch; 0: the epoch is over; negative: an error, the epoch is lost. */
    int (*next)(void *self, graft_batch *out, graft_err *err);
    /** Stops and frees the source. */
    void (*close)(void *self);
} graft_batches;

/** Calls close, if there is one, and clears the struct. */
static inline void graft_batches_close(graft_batches *b) {
    if (b->close) b->close(b->self);
    *b = (graft_batches){0};
}

#endif
