/* Texts that are longer than a model reads, as windows: samples of their own that share the text and its
 * answer. A window lies behind the one before it, so that whoever goes through samples in order meets a text
 * whole. Windows of a text are the same once case and blanks are folded, which keeps them on one side of a
 * split. */
#include "data/data_impl.h"
#include <stdlib.h>
#include <string.h>

typedef struct counting {
    const graft_data *d;
    const graft_text_transform *t;
    graft_encoding *encodings; /* one a thread */
    int32_t *windows;          /* [n] */
} counting;

/* A text that makes no tokens is one window: who loads it says why. */
static int count_one(void *user, size_t i, int thread) {
    const counting *c = user;
    graft_encoding *e = &c->encodings[thread];
    c->windows[i] = 1;
    if (c->d->samples[i].state == GRAFT_BAD) return 0;
    int rc = graft_text_encode(e, c->d, (int64_t)i, c->t, NULL, NULL, NULL);
    if (rc == 0 && e->n_windows > 1) c->windows[i] = e->n_windows < INT32_MAX ? (int32_t)e->n_windows : 1;
    return rc == GRAFT_ENOMEM ? rc : 0;
}

static int count(counting *c, graft_err *err) {
    int threads = graft_env_threads(c->d->env);
    c->encodings = calloc((size_t)threads, sizeof *c->encodings);
    c->windows = calloc((size_t)c->d->n + 1, sizeof *c->windows);
    int rc = c->encodings && c->windows ? 0 : GRAFT_ENOMEM;
    if (rc == 0) rc = graft_parallel_for(threads, (size_t)c->d->n, count_one, c);
    for (int k = 0; c->encodings && k < threads; k++) graft_encoding_done(&c->encodings[k]);
    free(c->encodings);
    return rc < 0 ? graft_err_nomem(err) : 0;
}

static int spread(graft_data *d, const int32_t *windows, int64_t n, graft_err *err) {
    size_t room = (size_t)n;
    graft_sample *samples = graft_arena_array(d->arena, room, sizeof *samples);
    int32_t *source = graft_arena_array(d->arena, room, sizeof *source);
    int64_t *text_of = graft_arena_array(d->arena, room, sizeof *text_of);
    graft_hash *folded = graft_arena_array(d->arena, room, sizeof *folded);
    if (!samples || !source || !text_of || !folded) return graft_err_nomem(err);
    for (int part = 0; part <= GRAFT_ALL; part++)
        if (!(d->members[part] = graft_arena_array(d->arena, room, sizeof(int64_t))))
            return graft_err_nomem(err);
    int64_t at = 0;
    for (int64_t i = 0; i < d->n; i++)
        for (int32_t w = 0; w < windows[i]; w++, at++) {
            samples[at] = d->samples[i];
            samples[at].window = w;
            source[at] = d->source[i];
            text_of[at] = i;
        }
    d->samples = samples;
    d->source = source;
    d->text_of = text_of;
    d->folded = folded;
    d->n = n;
    graft_members_rebuild(d);
    return 0;
}

int graft_data_window(graft_data *d, const graft_text_transform *t, graft_err *err) {
    if (!d->texts || t->stride <= 0) return 0;
    if (d->text_of || d->tokens || d->settled)
        return graft_err_set(err, GRAFT_EINTERNAL, "%s: windows are made before anything is read", d->path);
    counting c = {.d = d, .t = t};
    int64_t n = 0, n_long = 0, n_texts = d->n;
    int rc = count(&c, err);
    for (int64_t i = 0; i < d->n && rc == 0; i++) {
        n += c.windows[i];
        n_long += c.windows[i] > 1;
    }
    int64_t n_windows = n - (n_texts - n_long);
    if (rc == 0 && n > n_texts) rc = spread(d, c.windows, n, err);
    free(c.windows);
    if (rc == 0 && n_long)
        graft_env_log(d->env, GRAFT_LOG_INFO,
                      "%lld of %lld %s are longer than %lld tokens: read in %lld windows that share %lld",
                      (long long)n_long, (long long)n_texts, graft_data_noun(d), (long long)t->max_length,
                      (long long)n_windows, (long long)t->stride);
    return rc;
}
