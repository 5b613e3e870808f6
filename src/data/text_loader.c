/* Batches of texts: their tokens, packed. All are made when the loader is opened; a batch is then copied
 * together in microseconds, so that nothing has to be done ahead.
 *
 *     sample      0        1      2
 *     input_ids   t t t t | t t | t t t     [n_tokens]
 *     position    0 1 2 3 | 0 1 | 0 1 2     + position_offset
 *     spans       (0, 4)   (4, 2) (6, 3)    [n, 2] */
#include "data/data_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IDS, TYPES, POSITIONS, N_INPUTS, LABELS = N_INPUTS, WORDS, N_ROWS };

typedef struct text_loader {
    graft_arena *arena;
    graft_data *d;
    const graft_transform *transform;
    graft_loader_options o;
    const graft_token_run *runs;
    int64_t n, batch, n_batches, width; /* width: of targets */
    int64_t *members, *order;
    int64_t epoch, next;
    bool active;
    int64_t *samples;
    int32_t *labels, *spans, *windows; /* windows NULL: there are none */
    float *targets;
    int32_t *rows[N_ROWS]; /* [batch * the longest text] tokens of the batch; the last two for tagging */
    graft_tensor inputs[N_INPUTS];
} text_loader;

static int begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    text_loader *l = self;
    if (epoch < 0 || first_batch < 0 || first_batch > l->n_batches)
        return graft_err_set(err, GRAFT_EUSAGE, "batch %lld of epoch %lld: the epoch has %lld",
                             (long long)first_batch, (long long)epoch, (long long)l->n_batches);
    int rc = graft_sampler_epoch(l->order, l->d, l->members, l->n, l->o.order, l->o.seed, epoch, err);
    l->epoch = epoch;
    l->next = first_batch;
    l->active = rc == 0;
    return rc;
}

/* Which samples the batch has: in a checking pass the bad ones are left out. */
static int gather(text_loader *l, int64_t *n, int64_t *n_tokens, graft_err *err) {
    int64_t first = l->next * l->batch, end = first + l->batch < l->n ? first + l->batch : l->n;
    *n = *n_tokens = 0;
    for (int64_t place = first; place < end; place++) {
        int64_t i = l->order[place];
        const graft_sample *s = &l->d->samples[i];
        if (s->state == GRAFT_BAD) {
            if (l->o.check) continue;
            return graft_err_set(err, GRAFT_EDATA, "%s: %s", s->origin, s->reason);
        }
        l->samples[(*n)++] = i;
        *n_tokens += l->runs[i].n;
    }
    return 0;
}

static void copy_tokens(text_loader *l, const graft_token_run *run, int64_t at) {
    size_t n = (size_t)run->n;
    memcpy(l->rows[IDS] + at, run->ids, n * sizeof(int32_t));
    int64_t limit = l->transform->text.n_types ? l->transform->text.n_types : INT32_MAX;
    for (size_t k = 0; k < n; k++) {
        l->rows[TYPES][at + (int64_t)k] = run->types && run->types[k] < limit ? run->types[k] : 0;
        l->rows[POSITIONS][at + (int64_t)k] = (int32_t)k + l->transform->text.position_offset;
    }
}

static void copy_tags(text_loader *l, const graft_token_run *run, int64_t sample, int64_t at) {
    const int32_t *tags = l->d->tags + l->d->first_word[graft_text_index(l->d, sample)];
    memcpy(l->rows[WORDS] + at, run->words, (size_t)run->n * sizeof(int32_t));
    for (int32_t k = 0; k < run->n; k++)
        l->rows[LABELS][at + k] = run->words[k] < 0 ? -1 : tags[run->words[k]];
}

static void fill_targets(text_loader *l, int64_t row, int64_t sample) {
    float *to = l->targets + row * l->width;
    if (l->d->task == GRAFT_TASK_REGRESSION) {
        *to = graft_data_value(l->d, sample);
        return;
    }
    size_t n;
    const int32_t *classes = graft_data_classes(l->d, sample, &n);
    memset(to, 0, (size_t)l->width * sizeof *to);
    for (size_t k = 0; k < n; k++) to[classes[k]] = 1;
}

static int next(void *self, graft_batch *out, graft_err *err) {
    static const char *const names[N_INPUTS] = {"input_ids", "token_type_ids", "position_ids"};
    text_loader *l = self;
    bool tags = l->d->task == GRAFT_TASK_TAGGING;
    int64_t n = 0, n_tokens = 0, at = 0;
    if (!l->active) return graft_err_set(err, GRAFT_EUSAGE, "next without begin, or after an error");
    int rc = graft_env_check(l->d->env, err);
    if (rc == 0 && l->next == l->n_batches) return 0;
    if (rc == 0) rc = gather(l, &n, &n_tokens, err);
    if (rc < 0) {
        l->active = false;
        return rc;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t sample = l->samples[i];
        const graft_token_run *run = &l->runs[sample];
        copy_tokens(l, run, at);
        if (tags) copy_tags(l, run, sample, at);
        if (l->targets) fill_targets(l, i, sample);
        l->labels[i] = l->d->samples[sample].label;
        if (l->windows) l->windows[i] = l->d->samples[sample].window;
        l->spans[2 * i] = (int32_t)at;
        l->spans[2 * i + 1] = run->n;
        at += run->n;
    }
    for (int k = 0; k < N_INPUTS; k++)
        l->inputs[k] = (graft_tensor){
            names[k], GRAFT_I32, {1, {n_tokens}}, l->rows[k], (size_t)n_tokens * sizeof(int32_t), false};
    l->next++;
    *out = (graft_batch){.n = n,
                         .samples = l->samples,
                         .labels = l->labels,
                         .targets = l->targets,
                         .n_tokens = n_tokens,
                         .token_inputs = l->inputs,
                         .n_token_inputs = N_INPUTS,
                         .spans = l->spans,
                         .windows = l->windows,
                         .token_labels = tags ? l->rows[LABELS] : NULL,
                         .token_words = tags ? l->rows[WORDS] : NULL};
    return 1;
}

static void close_loader(void *self) {
    text_loader *l = self;
    graft_arena_free(l->arena);
    free(l);
}

static int make_arrays(text_loader *l, graft_err *err) {
    size_t b = (size_t)l->batch;
    l->order = graft_arena_array(l->arena, (size_t)l->n, sizeof *l->order);
    l->samples = graft_arena_array(l->arena, b, sizeof *l->samples);
    l->labels = graft_arena_array(l->arena, b, sizeof *l->labels);
    l->spans = graft_arena_array(l->arena, 2 * b, sizeof *l->spans);
    l->width = l->d->task == GRAFT_TASK_REGRESSION   ? 1
               : l->d->task == GRAFT_TASK_MULTILABEL ? l->d->n_classes
                                                     : 0;
    if (l->d->text_of && !(l->windows = graft_arena_array(l->arena, b, sizeof *l->windows)))
        return graft_err_nomem(err);
    if (l->width && l->d->has_labels)
        l->targets = graft_arena_array(l->arena, b * (size_t)l->width, sizeof *l->targets);
    bool is_whole =
        l->order && l->samples && l->labels && l->spans && (l->targets || !l->width || !l->d->has_labels);
    return is_whole ? 0 : graft_err_nomem(err);
}

/* Room for a batch of the longest texts: a batch is then made without allocating. */
static int make_rows(text_loader *l, graft_err *err) {
    int32_t longest = 1;
    size_t count;
    for (int64_t i = 0; i < l->n; i++)
        if (l->runs[l->members[i]].n > longest) longest = l->runs[l->members[i]].n;
    if (!graft_size_mul((size_t)l->batch, (size_t)longest, &count) || count > INT32_MAX)
        return graft_err_set(err, GRAFT_EUSAGE, "a batch of %lld texts of %d tokens: give a smaller --batch",
                             (long long)l->batch, longest);
    for (int k = 0; k < (l->d->task == GRAFT_TASK_TAGGING ? N_ROWS : N_INPUTS); k++)
        if (!(l->rows[k] = graft_arena_array(l->arena, count, sizeof(int32_t)))) return graft_err_nomem(err);
    return 0;
}

uint64_t graft_text_loader_bytes(int64_t batch, const graft_transform *transform) {
    return (uint64_t)batch * (uint64_t)transform->text.max_length * N_ROWS * sizeof(int32_t);
}

int graft_text_loader_open(graft_batches *out, graft_data *d, const graft_transform *transform,
                           const graft_loader_options *options, graft_err *err) {
    if (!transform->text.tokenizer)
        return graft_err_set(err, GRAFT_EUSAGE, "%s: texts, and a transform of pictures", d->path);
    text_loader *l = calloc(1, sizeof *l);
    if (!l) return graft_err_nomem(err);
    *l = (text_loader){.d = d, .transform = transform, .o = *options, .arena = graft_arena_new(NULL)};
    int threads = l->o.threads > 0 ? l->o.threads : graft_env_threads(d->env);
    int rc =
        l->arena ? graft_loader_members(&l->members, &l->n, l->arena, d, &l->o, err) : graft_err_nomem(err);
    if (rc == 0) {
        l->batch = graft_loader_batch(&l->o, l->n);
        l->n_batches = (l->n + l->batch - 1) / l->batch;
        rc = make_arrays(l, err);
    }
    if (rc == 0)
        rc = graft_tokens_make(&l->runs, d, &transform->text, l->members, l->n, l->o.check, threads, err);
    if (rc == 0 && l->o.check) rc = graft_data_judge_so_far(d, err);
    if (rc == 0) rc = make_rows(l, err);
    if (rc < 0) {
        close_loader(l);
        return rc;
    }
    *out = (graft_batches){l, l->n, l->n_batches, l->batch, begin, next, close_loader};
    return 0;
}
