/* The tokens of texts, made once and kept with the data. Each thread has blocks of memory of its own, in
 * which the tokens of its samples lie one after the other: ids, then where words begin (tagging), then types
 * (pairs). */
#include "data/data_impl.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Of a text longer than this only the beginning is tokenized: no model reads further without windows, and a
 * file without a line's end must not take minutes. */
enum { MAX_BYTES = 1 << 20, BLOCK = 1 << 20 };

typedef struct block {
    struct block *next;
    size_t used, size;
    unsigned char bytes[];
} block;

typedef struct graft_token_store {
    struct graft_token_store *next;
    const graft_tokenizer *tokenizer;
    int64_t max_length, stride;
    graft_token_run *runs; /* [n_samples] */
    block *blocks;
} graft_token_store;

/* They go with the data's arena. */
static void free_stores(void *data) {
    graft_data *d = data;
    graft_token_store *s = d->tokens;
    d->tokens = NULL;
    while (s) {
        graft_token_store *next = s->next;
        for (block *b = s->blocks; b;) {
            block *after = b->next;
            free(b);
            b = after;
        }
        free(s->runs);
        free(s);
        s = next;
    }
}

int64_t graft_data_tokens(const graft_data *d, int64_t i) {
    return d->tokens && d->tokens->runs[i].ids ? d->tokens->runs[i].n : -1;
}

/* The store of this tokenizer and length, in front of the others. */
static int store_of(graft_token_store **out, graft_data *d, const graft_text_transform *t, graft_err *err) {
    graft_token_store **at = &d->tokens, *s;
    while ((s = *at) &&
           (s->tokenizer != t->tokenizer || s->max_length != t->max_length || s->stride != t->stride))
        at = &s->next;
    if (s)
        *at = s->next;
    else {
        if (!d->tokens && graft_arena_defer(d->arena, free_stores, d) < 0) return graft_err_nomem(err);
        s = calloc(1, sizeof *s);
        if (s) s->runs = calloc((size_t)d->n + 1, sizeof *s->runs);
        if (!s || !s->runs) {
            free(s);
            return graft_err_nomem(err);
        }
        s->tokenizer = t->tokenizer;
        s->max_length = t->max_length;
        s->stride = t->stride;
    }
    s->next = d->tokens;
    d->tokens = *out = s;
    return 0;
}

/* ---- The pass ---- */

typedef struct maker {
    graft_eye eye;
    graft_encoding encoding;
    int64_t encoded; /* the text that it holds; -1: none */
    block *blocks;
    graft_err err;
    size_t failed; /* the sample that the error is about */
} maker;

typedef struct pass {
    graft_data *d;
    graft_token_store *store;
    const graft_text_transform *t;
    const int64_t *todo;
    size_t n;
    bool check;
    maker *makers; /* one a thread */
    atomic_llong done;
    double began, told;
} pass;

static void *take_bytes(maker *m, size_t size) {
    size = graft_size_align(size, sizeof(int32_t));
    block *b = m->blocks;
    if (!b || b->size - b->used < size) {
        size_t room = size > BLOCK ? size : BLOCK;
        if (!(b = malloc(sizeof *b + room))) return NULL;
        b->next = m->blocks;
        b->used = 0;
        b->size = room;
        m->blocks = b;
    }
    void *p = b->bytes + b->used;
    b->used += size;
    return p;
}

/* The size of a text's beginning, ended before a character that would not fit. */
static size_t cut_bytes(const char *text, size_t size, size_t most) {
    if (size <= most) return size;
    size = most;
    while (size && ((unsigned char)text[size] & 0xC0) == 0x80) size--;
    return size;
}

int graft_text_encode(graft_encoding *e, const graft_data *d, int64_t i, const graft_text_transform *t,
                      int64_t *encoded, bool *is_cut, graft_err *err) {
    const graft_encode_options o = {.max_length = t->max_length, .stride = t->stride};
    const size_t most = t->stride > 0 ? GRAFT_TEXT_MAX : MAX_BYTES;
    int64_t text = graft_text_index(d, i), window = d->samples[i].window;
    graft_words w;
    graft_text x;
    graft_data_words(d, i, &w);
    graft_data_text(d, i, &x);
    size_t size = cut_bytes(x.text, x.size, most),
           pair_size = x.pair ? cut_bytes(x.pair, x.pair_size, most) : 0;
    int rc = 0;
    if (is_cut) *is_cut = size < x.size || pair_size < x.pair_size;
    if (!encoded || *encoded != text) {
        if (encoded) *encoded = -1;
        rc = d->task == GRAFT_TASK_TAGGING
                 ? graft_tokenizer_encode_words(t->tokenizer, e, w.words, w.sizes, w.n, &o, err)
                 : graft_tokenizer_encode(t->tokenizer, e, x.text, size, x.pair, pair_size, &o, err);
        if (rc == 0 && encoded) *encoded = text;
        if (window == 0) return rc;
    }
    return rc < 0 ? rc : graft_tokenizer_window(t->tokenizer, e, (size_t)window, &o, err);
}

/* Which word begins at each token, -1: none. A window may begin within a word, whose beginning another window
 * has. */
static void find_words(int32_t *begins, const graft_encoding *e, bool first_window) {
    int32_t last = -1;
    for (size_t k = 0; k < e->n; k++) {
        int32_t word = e->special[k] ? -1 : e->words[k];
        bool inside = last < 0 && !first_window && e->offsets[k][0] > 0;
        begins[k] = word != last && !inside ? word : -1;
        if (word >= 0) last = word;
    }
}

/* Copies the tokens into the store. */
static int keep(const pass *p, maker *m, int64_t i, bool is_cut, graft_err *err) {
    const graft_encoding *e = &m->encoding;
    graft_token_run *run = &p->store->runs[i];
    bool words = p->d->task == GRAFT_TASK_TAGGING, types = false;
    size_t n = e->n;
    if (n == 0)
        return graft_err_set(err, GRAFT_EDATA, "%s: the tokenizer makes no token of it",
                             p->d->samples[i].origin);
    if (n > (size_t)p->t->max_length)
        return graft_err_set(err, GRAFT_EINTERNAL, "%s: %zu tokens where at most %lld were asked for",
                             p->d->samples[i].origin, n, (long long)p->t->max_length);
    for (size_t k = 0; k < n; k++) types = types || e->type_ids[k] != 0;
    int32_t *ids = take_bytes(m, n * (sizeof *ids * (words ? 2 : 1) + types));
    if (!ids) return graft_err_nomem(err);
    memcpy(ids, e->ids, n * sizeof *ids);
    int32_t *begins = words ? ids + n : NULL;
    if (words) find_words(begins, e, p->d->samples[i].window == 0);
    uint8_t *type = types ? (uint8_t *)(ids + n * (words ? 2 : 1)) : NULL;
    for (size_t k = 0; types && k < n; k++) type[k] = (uint8_t)e->type_ids[k];
    *run = (graft_token_run){ids, begins, type, (int32_t)n,
                             is_cut || (e->n_whole > n && (e->n_windows == 1 || p->t->stride == 0))};
    return 0;
}

static void tell(pass *p, bool last) {
    double now = graft_now();
    if (!last && now - p->told < 0.1) return;
    p->told = now;
    graft_progress g = {.phase = "tokenizing",
                        .done = atomic_load(&p->done),
                        .total = (int64_t)p->n,
                        .seconds = now - p->began};
    graft_env_progress(p->d->env, &g);
}

static int make_one(void *user, size_t at, int thread) {
    pass *p = user;
    maker *m = &p->makers[thread];
    int64_t i = p->todo[at];
    graft_err own = {0};
    bool is_cut = false;
    int rc = graft_env_check(p->d->env, &m->err);
    if (rc == 0 && p->check && p->d->samples[i].state == GRAFT_UNSEEN)
        rc = graft_data_see(p->d, i, true, &m->eye, &m->err);
    if (rc == 0) {
        rc = graft_text_encode(&m->encoding, p->d, i, p->t, &m->encoded, &is_cut, &own);
        if (rc == 0) rc = keep(p, m, i, is_cut, &own);
        if (rc < 0 && p->check)
            rc = graft_data_note_bad(p->d, i, &own, &m->err);
        else if (rc < 0)
            m->err = own;
    }
    if (rc < 0) m->failed = at;
    atomic_fetch_add(&p->done, 1);
    if (thread == 0) tell(p, false);
    return rc;
}

static void say_cut(const pass *p) {
    int64_t n_cut = 0;
    for (size_t k = 0; k < p->n; k++) n_cut += p->store->runs[p->todo[k]].is_cut;
    if (n_cut)
        graft_env_log(
            p->d->env, GRAFT_LOG_WARNING,
            "%lld of %zu %s are longer than %lld tokens and were cut; --max-length changes that, and "
            "--stride reads them in windows",
            (long long)n_cut, p->n, graft_data_noun(p->d), (long long)p->t->max_length);
}

static int run(pass *p, int threads, graft_err *err) {
    p->makers = calloc((size_t)threads, sizeof *p->makers);
    if (!p->makers) return graft_err_nomem(err);
    for (int t = 0; t < threads; t++) p->makers[t].encoded = -1;
    p->began = graft_now();
    int rc = graft_parallel_for(threads, p->n, make_one, p);
    const maker *first = NULL;
    for (int t = 0; t < threads; t++) {
        maker *m = &p->makers[t];
        if (m->err.code && (!first || m->failed < first->failed)) first = m;
        for (block **end = &m->blocks; *end; end = &(*end)->next)
            if (!(*end)->next) {
                (*end)->next = p->store->blocks;
                p->store->blocks = m->blocks;
                break;
            }
    }
    if (rc < 0 && first && err) *err = first->err;
    for (int t = 0; t < threads; t++) {
        graft_eye_done(&p->makers[t].eye);
        graft_encoding_done(&p->makers[t].encoding);
    }
    free(p->makers);
    if (rc == 0) {
        tell(p, true);
        say_cut(p);
    }
    return rc;
}

int graft_tokens_make(const graft_token_run **runs, graft_data *d, const graft_text_transform *t,
                      const int64_t *samples, int64_t n, bool check, int threads, graft_err *err) {
    pass p = {.d = d, .t = t, .check = check};
    int64_t *todo = malloc(((size_t)n + 1) * sizeof *todo);
    bool *listed = calloc((size_t)d->n + 1, sizeof *listed); /* a sample may stand twice */
    int rc = todo && listed ? store_of(&p.store, d, t, err) : graft_err_nomem(err);
    for (int64_t k = 0; rc == 0 && k < n; k++) {
        int64_t i = samples[k];
        if (listed[i] || d->samples[i].state == GRAFT_BAD || p.store->runs[i].ids) continue;
        listed[i] = true;
        todo[p.n++] = i;
    }
    p.todo = todo;
    if (rc == 0 && p.n) rc = run(&p, threads, err);
    if (rc == 0) *runs = p.store->runs;
    free(todo);
    free(listed);
    return rc;
}
