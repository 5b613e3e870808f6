/* Added tokens: the leftmost, and there the longest, is cut out of the text before all else. */
#include "model/tokenizer/token_private.h"
#include <stdlib.h>
#include <string.h>

static int compare_added(const void *a, const void *b) {
    const graft_added *x = *(const graft_added *const *)a, *y = *(const graft_added *const *)b;
    unsigned char p = (unsigned char)x->match[0], q = (unsigned char)y->match[0];
    if (p != q) return p < q ? -1 : 1;
    if (x->match_size != y->match_size) return x->match_size > y->match_size ? -1 : 1;
    int order = memcmp(x->match, y->match, x->match_size);
    if (order) return order;
    /* one that normalises to another's text: special ones come first, then as the file has them */
    if (x->special != y->special) return x->special ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int build_set(graft_tokenizer *t, graft_added_set *set, bool normalized, graft_err *err) {
    set->tokens = graft_arena_array(t->arena, t->n_added, sizeof *set->tokens);
    if (!set->tokens) return graft_err_nomem(err);
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].normalized == normalized) set->tokens[set->n++] = &t->added[i];
    qsort(set->tokens, set->n, sizeof *set->tokens, compare_added);
    size_t at = 0;
    for (int b = 0; b <= 256; b++) {
        while (at < set->n && (unsigned char)set->tokens[at]->match[0] < b) at++;
        set->first[b] = (uint32_t)at;
    }
    set->only = -1;
    if (set->n && set->tokens[0]->match[0] == set->tokens[set->n - 1]->match[0])
        set->only = (unsigned char)set->tokens[0]->match[0];
    return 0;
}

/* What a token that is looked for in normalised text looks like there. */
static int normalize_match(graft_tokenizer *t, graft_added *a, graft_token_scratch *s, graft_err *err) {
    graft_piece whole = {0, a->size, 0, -1};
    graft_scratch_begin(s, a->text, a->size);
    int rc = graft_text_take(s, &whole, err);
    if (rc == 0) rc = graft_normalize(t, s, 0, err);
    if (rc < 0) return rc;
    if (!s->work.size)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: the added token '%s' is empty once normalised",
                             t->origin, a->text);
    a->match = graft_arena_strndup(t->arena, s->work.bytes, s->work.size);
    a->match_size = s->work.size;
    return a->match ? 0 : graft_err_nomem(err);
}

int graft_added_build(graft_tokenizer *t, graft_err *err) {
    graft_encoding e = {0};
    graft_token_scratch *s = calloc(1, sizeof *s);
    int rc = s ? 0 : graft_err_nomem(err);
    e.scratch = s;
    for (size_t i = 0; rc == 0 && i < t->n_added; i++) {
        graft_added *a = &t->added[i];
        a->match = a->text;
        a->match_size = a->size;
        if (a->normalized) rc = normalize_match(t, a, s, err);
    }
    graft_encoding_done(&e);
    if (rc == 0) rc = build_set(t, &t->raw_set, false, err);
    if (rc == 0) rc = build_set(t, &t->normal_set, true, err);
    return rc;
}

/* The longest token of the set at text[at], or NULL. */
static const graft_added *match_at(const graft_added_set *set, const char *text, uint32_t at, uint32_t end) {
    unsigned char b = (unsigned char)text[at];
    for (uint32_t i = set->first[b]; i < set->first[b + 1]; i++) {
        const graft_added *a = set->tokens[i];
        if (a->match_size <= end - at && memcmp(text + at, a->match, a->match_size) == 0) return a;
    }
    return NULL;
}

static const graft_added *next_match(const graft_added_set *set, const char *text, uint32_t *at,
                                     uint32_t end) {
    for (; *at < end; ++*at) {
        if (set->only >= 0) {
            const char *found = memchr(text + *at, set->only, end - *at);
            if (!found) return NULL;
            *at = (uint32_t)(found - text);
        }
        const graft_added *a = match_at(set, text, *at, end);
        if (a) return a;
    }
    return NULL;
}

static bool is_flag(const graft_tokenizer *t, const char *text, uint32_t at, uint32_t flag) {
    uint32_t n;
    return graft_unicode_flags(t->flags, graft_utf8_get(text + at, &n)) & flag;
}

static uint32_t char_before(const char *text, uint32_t at) {
    for (at--; !graft_utf8_begins(text, at);) at--;
    return at;
}

/* A word character on either side of [at, stop), within [begin, end). */
static bool is_within_word(const graft_tokenizer *t, const char *text, uint32_t begin, uint32_t at,
                           uint32_t stop, uint32_t end) {
    return (at > begin && is_flag(t, text, char_before(text, at), GRAFT_UNI_WORD)) ||
           (stop < end && is_flag(t, text, stop, GRAFT_UNI_WORD));
}

int graft_added_split(const graft_tokenizer *t, const graft_added_set *set, graft_token_scratch *s,
                      uint32_t begin, uint32_t end, graft_err *err) {
    const char *text = s->text;
    uint32_t done = begin, at = begin, n;
    int rc = 0;
    const graft_added *a;
    while (rc == 0 && set->n && (a = next_match(set, text, &at, end)) != NULL) {
        uint32_t start = at, stop = at + a->match_size;
        at = stop;
        if (a->single_word && is_within_word(t, text, begin, start, stop, end)) continue;
        if (a->left)
            while (start > done && is_flag(t, text, char_before(text, start), GRAFT_UNI_SPACE))
                start = char_before(text, start);
        if (a->right)
            for (; stop < end && is_flag(t, text, stop, GRAFT_UNI_SPACE); stop += n)
                graft_utf8_get(text + stop, &n);
        if (done < start) rc = graft_pieces_add(s, done, start, -1, err);
        if (rc == 0) rc = graft_pieces_add(s, start, stop, a->id, err);
        done = stop;
        if (at < stop) at = stop;
    }
    return rc < 0 || done >= end ? rc : graft_pieces_add(s, done, end, -1, err);
}
