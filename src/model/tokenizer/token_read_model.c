/* The model of a tokenizer.json: vocabulary and merges. */
#include "model/tokenizer/token_private.h"
#include <math.h>
#include <string.h>

static int bad(const graft_tokenizer *t, const char *what, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %s", t->origin, what);
}

/* {"token": id, …} becomes the texts of all ids. */
static int read_vocab(graft_tokenizer *t, const graft_node *vocab, graft_err *err) {
    if (!vocab || vocab->type != GRAFT_NODE_OBJECT) return bad(t, "the model has no vocabulary", err);
    int64_t most = -1, id;
    for (const graft_node *m = graft_node_first(vocab); m; m = graft_node_next(m)) {
        if (!graft_node_to_int(m, &id) || id < 0 || id >= GRAFT_ID_MAX)
            return graft_err_set(err, GRAFT_EFORMAT, "%s: the id of token '%s' is out of range", t->origin,
                                 m->key);
        if (id > most) most = id;
    }
    size_t n = (size_t)(most + 1);
    graft_vocab_text *texts = graft_arena_array(t->arena, n, sizeof *texts);
    if (!texts) return graft_err_nomem(err);
    for (const graft_node *m = graft_node_first(vocab); m; m = graft_node_next(m)) {
        graft_node_to_int(m, &id);
        if (texts[id].text)
            return graft_err_set(err, GRAFT_EFORMAT, "%s: the tokens '%s' and '%s' have one id, %lld",
                                 t->origin, texts[id].text, m->key, (long long)id);
        texts[id] = (graft_vocab_text){m->key, m->key_size};
    }
    return graft_vocab_set(t, texts, n, err);
}

static int read_unknown(graft_tokenizer *t, const graft_node *n, const char *absent, graft_err *err) {
    const graft_node *text;
    int rc = graft_node_text(n, "unk_token", &text, t->origin, err);
    t->unknown_named = text || absent;
    t->unknown = text     ? graft_vocab_find(&t->vocab, text->text, text->size)
                 : absent ? graft_vocab_find(&t->vocab, absent, strlen(absent))
                          : -1;
    return rc;
}

static int read_wordpiece(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    const graft_node *prefix;
    int64_t most;
    int rc;
    if ((rc = read_vocab(t, graft_node_get(n, "vocab"), err)) < 0 ||
        (rc = read_unknown(t, n, "[UNK]", err)) < 0 ||
        (rc = graft_node_text(n, "continuing_subword_prefix", &prefix, t->origin, err)) < 0 ||
        (rc = graft_node_int(n, "max_input_chars_per_word", 100, &most, t->origin, err)) < 0)
        return rc;
    if (most < 0) return bad(t, "'max_input_chars_per_word' is negative", err);
    t->max_chars = most > GRAFT_TEXT_MAX ? GRAFT_TEXT_MAX : (uint32_t)most;
    return prefix ? graft_wordpiece_build(t, prefix->text, prefix->size, err)
                  : graft_wordpiece_build(t, "##", 2, err);
}

/* "a b" or ["a", "b"] */
static bool read_merge(const graft_node *m, graft_vocab_text out[2]) {
    if (m->type == GRAFT_NODE_TEXT) {
        const char *space = memchr(m->text, ' ', m->size);
        if (!space || memchr(space + 1, ' ', m->size - (size_t)(space + 1 - m->text))) return false;
        uint32_t left = (uint32_t)(space - m->text);
        out[0] = (graft_vocab_text){m->text, left};
        out[1] = (graft_vocab_text){space + 1, m->size - left - 1};
        return true;
    }
    const graft_node *a = m->type == GRAFT_NODE_LIST && m->size == 2 ? graft_node_first(m) : NULL;
    const graft_node *b = a ? graft_node_next(a) : NULL;
    if (!a || a->type != GRAFT_NODE_TEXT || b->type != GRAFT_NODE_TEXT) return false;
    out[0] = (graft_vocab_text){a->text, a->size};
    out[1] = (graft_vocab_text){b->text, b->size};
    return true;
}

static int read_merges(graft_tokenizer *t, const graft_node *list, graft_err *err) {
    if (list && list->type != GRAFT_NODE_LIST) return bad(t, "'merges' must be a list", err);
    size_t n = list ? list->size : 0, i = 0;
    graft_arena *arena = graft_arena_new(NULL);
    graft_vocab_text(*merges)[2] = arena ? graft_arena_array(arena, n, sizeof *merges) : NULL;
    int rc = merges ? 0 : graft_err_nomem(err);
    for (const graft_node *m = graft_node_first(list); rc == 0 && m; m = graft_node_next(m), i++) {
        if (!read_merge(m, merges[i]))
            rc = graft_err_set(err, GRAFT_EFORMAT, "%s: merge %zu is no pair of tokens", t->origin, i);
    }
    if (rc == 0) rc = graft_bpe_build(t, (const graft_vocab_text(*)[2])merges, n, err);
    graft_arena_free(arena);
    return rc;
}

static int read_bpe(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    graft_bpe *b = &t->bpe;
    const graft_node *prefix, *suffix;
    int rc;
    if ((rc = read_vocab(t, graft_node_get(n, "vocab"), err)) < 0 ||
        (rc = read_unknown(t, n, NULL, err)) < 0 ||
        (rc = graft_node_text(n, "continuing_subword_prefix", &prefix, t->origin, err)) < 0 ||
        (rc = graft_node_text(n, "end_of_word_suffix", &suffix, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "fuse_unk", false, &b->fuse_unknown, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "byte_fallback", false, &b->byte_fallback, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "ignore_merges", false, &b->ignore_merges, t->origin, err)) < 0)
        return rc;
    if ((prefix && prefix->size > 64) || (suffix && suffix->size > 64))
        return bad(t, "a prefix or suffix of more than 64 bytes", err);
    if (prefix) {
        b->prefix = prefix->text;
        b->prefix_size = prefix->size;
    }
    if (suffix) {
        b->suffix = suffix->text;
        b->suffix_size = suffix->size;
    }
    return read_merges(t, graft_node_get(n, "merges"), err);
}

/* [["piece", score], …] */
static int read_unigram(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    const graft_node *vocab = graft_node_get(n, "vocab");
    if (!vocab || vocab->type != GRAFT_NODE_LIST || vocab->size >= GRAFT_ID_MAX)
        return bad(t, "the vocabulary of Unigram must be a list of pieces and scores", err);
    graft_vocab_text *texts = graft_arena_array(t->arena, vocab->size, sizeof *texts);
    double *scores = graft_arena_array(t->arena, vocab->size, sizeof *scores);
    if (!texts || !scores) return graft_err_nomem(err);
    size_t i = 0;
    for (const graft_node *m = graft_node_first(vocab); m; m = graft_node_next(m), i++) {
        const graft_node *text = m->type == GRAFT_NODE_LIST && m->size == 2 ? graft_node_first(m) : NULL;
        if (!text || text->type != GRAFT_NODE_TEXT ||
            !graft_node_to_real(graft_node_next(text), &scores[i]) || !isfinite(scores[i]))
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: entry %zu of the vocabulary is no piece with its score", t->origin, i);
        texts[i] = (graft_vocab_text){text->text, text->size};
    }
    int64_t unknown;
    int rc = graft_vocab_set(t, texts, vocab->size, err);
    if (rc == 0) rc = graft_node_int(n, "unk_id", -1, &unknown, t->origin, err);
    if (rc == 0) rc = graft_node_bool(n, "byte_fallback", false, &t->unigram.byte_fallback, t->origin, err);
    if (rc < 0) return rc;
    if (unknown >= (int64_t)vocab->size || unknown < -1)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: unk_id %lld is out of range", t->origin,
                             (long long)unknown);
    t->unknown = (int32_t)unknown;
    return graft_unigram_build(t, scores, vocab->size, err);
}

/* Files of the first years name no type: by their fields. */
static graft_model_kind guess_kind(const graft_node *n) {
    const graft_node *vocab = graft_node_get(n, "vocab");
    if (graft_node_get(n, "merges")) return GRAFT_MODEL_BPE;
    if (vocab && vocab->type == GRAFT_NODE_LIST) return GRAFT_MODEL_UNIGRAM;
    return graft_node_get(n, "continuing_subword_prefix") ? GRAFT_MODEL_WORDPIECE : GRAFT_MODEL_WORDLEVEL;
}

int graft_model_read(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    static const char *const names[] = {"WordPiece", "WordLevel", "BPE", "Unigram"};
    const graft_node *type = graft_node_get(n, "type");
    if (!n || n->type != GRAFT_NODE_OBJECT) return bad(t, "no 'model': not a tokenizer.json", err);
    size_t i = 0;
    while (type && i < GRAFT_COUNT(names) && !graft_node_is_text(type, names[i])) i++;
    if (i == GRAFT_COUNT(names)) return graft_unsupported(t, "model", type, err);
    t->kind = type ? (graft_model_kind)i : guess_kind(n);
    switch (t->kind) {
    case GRAFT_MODEL_BPE:
        return read_bpe(t, n, err);
    case GRAFT_MODEL_UNIGRAM:
        return read_unigram(t, n, err);
    case GRAFT_MODEL_WORDPIECE:
        return read_wordpiece(t, n, err);
    case GRAFT_MODEL_WORDLEVEL:
        break;
    }
    int rc = read_vocab(t, graft_node_get(n, "vocab"), err);
    return rc < 0 ? rc : read_unknown(t, n, "<unk>", err);
}
