/* WordPiece (Schuster and Nakajima 2012, as BERT has it): the longest token that begins the rest of a word,
 * again and again; a word that is left with a rest, or is too long, is one unknown token. WordLevel is its
 * first step. */
#include "model/tokenizer/token_private.h"
#include <string.h>

int graft_wordpiece_build(graft_tokenizer *t, const char *prefix, size_t prefix_size, graft_err *err) {
    if (graft_vocab_init(&t->inner, t->arena, t->vocab.n) < 0) return graft_err_nomem(err);
    for (size_t i = 0; i < t->n_texts; i++) {
        const graft_vocab_text *x = &t->texts[i];
        if (!x->text || x->size <= prefix_size || memcmp(x->text, prefix, prefix_size) != 0) continue;
        graft_vocab_add(&t->inner, x->text + prefix_size, x->size - (uint32_t)prefix_size, (int32_t)i);
    }
    return 0;
}

static int put_unknown(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                       graft_err *err) {
    s->n_found = 0;
    if (t->unknown < 0)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: '%.*s' is not in the vocabulary, which has no unknown token", t->origin,
                             (int)(size < 40 ? size : 40), text);
    return graft_found_add(s, t->unknown, 0, size, err);
}

static bool has_more_chars(const char *text, size_t size, uint32_t most) {
    if (size <= most) return false;
    uint32_t n = 0;
    for (size_t i = 0; i < size && n <= most; i++) n += graft_utf8_begins(text, i);
    return n > most;
}

int graft_wordpiece_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                        graft_err *err) {
    if (t->kind == GRAFT_MODEL_WORDLEVEL) {
        int32_t id = graft_vocab_find(&t->vocab, text, size);
        if (id >= 0) return graft_found_add(s, id, 0, size, err);
        return put_unknown(t, s, text, size, err);
    }
    if (has_more_chars(text, size, t->max_chars)) return put_unknown(t, s, text, size, err);
    for (size_t at = 0; at < size;) {
        const graft_vocab *v = at ? &t->inner : &t->vocab;
        size_t end = size - at > v->longest ? at + v->longest : size;
        while (end > at && end < size && !graft_utf8_begins(text, end)) end--;
        int32_t id = -1;
        while (end > at && (id = graft_vocab_find(v, text + at, end - at)) < 0)
            for (end--; end > at && !graft_utf8_begins(text, end);) end--;
        if (id < 0) return put_unknown(t, s, text, size, err);
        int rc = graft_found_add(s, id, at, end, err);
        if (rc < 0) return rc;
        at = end;
    }
    return 0;
}
