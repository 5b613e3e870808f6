/* fastText's dictionary: counts, entries of word, NUL, count and kind (words first, then labels), and, where
 * the model was pruned, the buckets of n-grams that were kept. */
#include "model/vectors/fasttext.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WORD, LABEL };

const unsigned char *graft_ft_take(graft_ft_cursor *c, size_t size, const char *what) {
    if (size > c->size - c->at) {
        graft_err_set(c->err, GRAFT_EFORMAT,
                      "%s: ends within %s: %zu bytes wanted from byte %zu, %zu are there", c->origin, what,
                      size, c->at, c->size - c->at);
        return NULL;
    }
    const unsigned char *p = c->data + c->at;
    c->at += size;
    return p;
}

int graft_ft_take_i32(graft_ft_cursor *c, int32_t *out, const char *what) {
    const unsigned char *p = graft_ft_take(c, sizeof *out, what);
    if (!p) return GRAFT_EFORMAT;
    memcpy(out, p, sizeof *out);
    return 0;
}

int graft_ft_take_i64(graft_ft_cursor *c, int64_t *out, const char *what) {
    const unsigned char *p = graft_ft_take(c, sizeof *out, what);
    if (!p) return GRAFT_EFORMAT;
    memcpy(out, p, sizeof *out);
    return 0;
}

int graft_ft_take_bool(graft_ft_cursor *c, bool *out, const char *what) {
    const unsigned char *p = graft_ft_take(c, 1, what);
    if (!p) return GRAFT_EFORMAT;
    *out = *p != 0;
    return 0;
}

static int read_entry(graft_vectors *v, graft_ft_cursor *c, int32_t i, int32_t n_words) {
    static const char what[] = "the dictionary";
    size_t at = c->at;
    const unsigned char *nul = memchr(c->data + at, '\0', c->size - at);
    if (!nul) {
        return graft_err_set(c->err, GRAFT_EFORMAT, "%s: ends within the dictionary's entry %d at byte %zu",
                             c->origin, i, at);
    }
    size_t size = (size_t)(nul - c->data) - at;
    c->at += size + 1;
    const unsigned char *count_and_kind = graft_ft_take(c, sizeof(int64_t) + 1, what);
    if (!count_and_kind) return GRAFT_EFORMAT;
    if (count_and_kind[sizeof(int64_t)] != (i < n_words ? WORD : LABEL)) {
        return graft_err_set(c->err, GRAFT_EFORMAT,
                             "%s: entry %d of the dictionary, at byte %zu, is of the wrong kind: words come "
                             "first, then labels",
                             c->origin, i, at);
    }
    if (i >= n_words) return 0;
    int rc = graft_word_index_add(&v->words, at, size, c->err);
    if (rc == 0) { /* rows are numbered by it all the same */
        v->n_twice++;
        rc = graft_word_index_append(&v->words, at, size, c->err);
    }
    return rc < 0 ? rc : 0;
}

static int by_bucket(const void *a, const void *b) {
    const graft_ft_kept *x = a, *y = b;
    return (x->bucket > y->bucket) - (x->bucket < y->bucket);
}

static int read_kept(graft_ft_dictionary *d, graft_vectors *v, graft_ft_cursor *c, int64_t n) {
    const unsigned char *p = NULL;
    if (n > INT32_MAX) {
        return graft_err_set(c->err, GRAFT_EFORMAT, "%s: %" PRId64 " kept buckets are not possible",
                             c->origin, n);
    }
    if (n > 0) p = graft_ft_take(c, (size_t)n * sizeof *d->kept, "the list of kept buckets");
    if (n > 0 && !p) return GRAFT_EFORMAT;
    d->pruned = n >= 0;
    d->n_kept = n > 0 ? (size_t)n : 0;
    d->kept = graft_arena_array(v->arena, d->n_kept, sizeof *d->kept);
    if (!d->kept) return graft_err_nomem(c->err);
    if (p) memcpy(d->kept, p, d->n_kept * sizeof *d->kept);
    qsort(d->kept, d->n_kept, sizeof *d->kept, by_bucket);
    return 0;
}

int graft_ft_dictionary_read(graft_ft_dictionary *d, graft_vectors *v, graft_ft_cursor *c, int32_t version) {
    static const char what[] = "the dictionary's counts";
    int32_t n, n_labels;
    int64_t n_tokens, n_kept = -1;
    *d = (graft_ft_dictionary){.n_words = 0};
    int rc = graft_ft_take_i32(c, &n, what);
    if (rc == 0) rc = graft_ft_take_i32(c, &d->n_words, what);
    if (rc == 0) rc = graft_ft_take_i32(c, &n_labels, what);
    if (rc == 0) rc = graft_ft_take_i64(c, &n_tokens, what);
    if (rc == 0 && version) rc = graft_ft_take_i64(c, &n_kept, what);
    if (rc < 0) return rc;
    if (d->n_words < 0 || n_labels < 0 || (int64_t)d->n_words + n_labels != n) {
        return graft_err_set(c->err, GRAFT_EFORMAT,
                             "%s: a dictionary of %d entries cannot have %d words and %d labels", c->origin,
                             n, d->n_words, n_labels);
    }
    for (int32_t i = 0; i < n && rc == 0; i++) rc = read_entry(v, c, i, d->n_words);
    return rc < 0 ? rc : read_kept(d, v, c, n_kept);
}

int32_t graft_ft_dictionary_row(const graft_ft_dictionary *d, int32_t bucket) {
    const graft_ft_kept key = {.bucket = bucket};
    if (!d->pruned) return bucket;
    const graft_ft_kept *k = bsearch(&key, d->kept, d->n_kept, sizeof key, by_bucket);
    return k ? k->row : -1;
}
