/* A text goes through the stages; its tokens are gathered in the scratch, from which windows are cut. */
#include "model/tokenizer/token_private.h"
#include <stdlib.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

void graft_encoding_done(graft_encoding *e) {
    graft_token_scratch *s = e->scratch;
    free(e->ids);
    free(e->type_ids);
    free(e->offsets);
    free(e->words);
    free(e->special);
    free(e->pair);
    if (s) {
        graft_aligned *texts[] = {&s->made, &s->work, &s->other, &s->spare};
        for (size_t i = 0; i < GRAFT_COUNT(texts); i++) {
            free(texts[i]->bytes);
            free(texts[i]->from);
        }
        free(s->pieces);
        free(s->next);
        free(s->spans);
        free(s->found);
        free(s->raw);
        free(s->numbers);
        free(s->points);
        free(s->cache);
        pcre2_match_data_free(s->match);
    }
    free(s);
    *e = (graft_encoding){0};
}

/* ---- Normalising ---- */

/* BERT's cleaning and lower case over ASCII, written where it stands; false when a control character has to
 * go, which changes the length. */
static bool lower_ascii(const graft_tokenizer *t, char *to, const char *from, uint32_t size) {
    uint32_t gone = 0;
    for (uint32_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)from[i];
        gone |= (uint32_t)(c < 0x20 && c != '\t' && c != '\n' && c != '\r') | (uint32_t)(c >= 0x7f);
        unsigned char lower = (unsigned char)(c - 'A') < 26 ? c + 32 : c;
        to[i] = (char)(lower < 0x20 ? ' ' : lower);
    }
    (void)t;
    return gone == 0;
}

static bool is_ascii(const char *s, uint32_t size) {
    unsigned char all = 0;
    for (uint32_t i = 0; i < size; i++) all |= (unsigned char)s[i];
    return all < 0x80;
}

/* All pieces without the general path, as long as that leaves lengths as they are. */
static int normalize_fast(const graft_tokenizer *t, graft_token_scratch *s, bool *done, graft_err *err) {
    *done = t->n_norms == 0 || (t->ascii_keeps && is_ascii(s->input, s->input_size));
    if (*done || !t->ascii_lower) return 0;
    int rc = graft_aligned_reserve(&s->made, s->input_size, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < s->n_pieces; i++) {
        const graft_piece *p = &s->pieces[i];
        if (p->token < 0 && !lower_ascii(t, s->made.bytes + p->begin, s->input + p->begin, p->end - p->begin))
            return 0;
        if (p->token >= 0) memcpy(s->made.bytes + p->begin, s->input + p->begin, p->end - p->begin);
    }
    s->made.size = s->input_size;
    s->text = s->made.bytes;
    *done = true;
    return 0;
}

static int normalize_slow(const graft_tokenizer *t, graft_token_scratch *s, graft_err *err) {
    int rc = 0;
    s->made.size = 0;
    for (size_t i = 0; rc == 0 && i < s->n_pieces; i++) {
        graft_piece *p = &s->pieces[i];
        rc = graft_text_take(s, p, err); /* from the input: s->text and s->identity still say so */
        if (rc == 0 && p->token < 0) rc = graft_normalize(t, s, p->origin, err);
        p->begin = s->made.size;
        if (rc == 0) rc = graft_text_append(&s->made, &s->work, err);
        p->end = s->made.size;
    }
    s->identity = false;
    s->text = s->made.bytes;
    return rc;
}

/* Added tokens out of the raw text, the rest normalised, added tokens out of that. */
static int prepare(const graft_tokenizer *t, graft_token_scratch *s, graft_err *err) {
    bool done;
    s->n_next = 0;
    int rc = graft_added_split(t, &t->raw_set, s, 0, s->input_size, err);
    graft_pieces_swap(s);
    if (rc == 0) rc = normalize_fast(t, s, &done, err);
    if (rc == 0 && !done) rc = normalize_slow(t, s, err);
    if (rc < 0 || (!t->normal_set.n && done)) return rc;
    for (size_t i = 0; rc == 0 && i < s->n_pieces; i++) {
        const graft_piece *p = &s->pieces[i];
        rc = p->token >= 0 ? graft_pieces_add(s, p->begin, p->end, p->token, err)
                           : graft_added_split(t, &t->normal_set, s, p->begin, p->end, err);
    }
    graft_pieces_swap(s);
    return rc;
}

/* ---- The model, behind a cache of words ---- */

static int run_model(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                     graft_err *err) {
    if (t->kind == GRAFT_MODEL_BPE) return graft_bpe_run(t, s, text, size, err);
    if (t->kind == GRAFT_MODEL_UNIGRAM) return graft_unigram_run(t, s, text, size, err);
    return graft_wordpiece_run(t, s, text, size, err);
}

static void keep(graft_cached *c, uint64_t hash, const graft_token_scratch *s, const char *text,
                 size_t size) {
    uint32_t end = 0;
    size_t n = 0;
    for (; n < s->n_found && n < GRAFT_CACHE_TOKENS; n++) {
        /* tokens one behind another only: an unknown character's bytes share a place */
        if (s->found[n].begin != end) break;
        end = s->found[n].end;
        c->ids[n] = s->found[n].id;
        c->ends[n] = (uint8_t)end;
    }
    c->hash = hash;
    c->size = n == s->n_found ? (uint8_t)size : 0;
    c->n = (uint8_t)n;
    memcpy(c->text, text, size);
}

int graft_model_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                    graft_err *err) {
    s->n_found = 0;
    if (size > GRAFT_CACHE_TEXT || !s->cache) return run_model(t, s, text, size, err);
    uint64_t hash = graft_token_hash(text, size);
    graft_cached *c = &s->cache[hash & ((1u << GRAFT_CACHE_BITS) - 1)];
    if (c->size == size && c->hash == hash && memcmp(c->text, text, size) == 0) {
        uint32_t begin = 0;
        int rc = 0;
        for (size_t i = 0; rc == 0 && i < c->n; i++) {
            rc = graft_found_add(s, c->ids[i], begin, c->ends[i], err);
            begin = c->ends[i];
        }
        return rc;
    }
    int rc = run_model(t, s, text, size, err);
    if (rc == 0) keep(c, hash, s, text, size);
    return rc;
}

/* ---- Tokens with their places in the input ---- */

static void place(const graft_token_scratch *s, uint32_t begin, uint32_t end, uint32_t out[2]) {
    if (!s->identity) {
        out[0] = s->made.from[begin][0];
        out[1] = s->made.from[end - 1][1];
        return;
    }
    while (begin > 0 && !graft_utf8_begins(s->input, begin)) begin--;
    while (end < s->input_size && !graft_utf8_begins(s->input, end)) end++;
    out[0] = begin;
    out[1] = end;
}

static uint16_t count_blanks(const graft_tokenizer *t, const char *s, uint32_t size, bool back) {
    uint32_t n = 0, at = back ? size : 0, step;
    while (back ? at > 0 : at < size) {
        uint32_t i = at;
        if (back)
            for (i--; !graft_utf8_begins(s, i);) i--;
        uint32_t c = graft_utf8_get(s + i, &step);
        if (!(graft_unicode_flags(t->flags, c) & GRAFT_UNI_SPACE)) break;
        at = back ? i : at + step;
        n++;
    }
    return (uint16_t)(n < UINT16_MAX ? n : UINT16_MAX);
}

static int add_raw(const graft_tokenizer *t, graft_token_scratch *s, int32_t id, int32_t word, uint32_t begin,
                   uint32_t end, const graft_piece *added, graft_err *err) {
    if (s->n_raw == s->raw_capacity) {
        int rc = graft_token_reserve(&s->raw, &s->raw_capacity, s->n_raw + 1, sizeof *s->raw, err);
        if (rc < 0) return rc;
    }
    graft_raw_token *r = &s->raw[s->n_raw++];
    uint32_t range[2];
    place(s, begin, end, range);
    *r = (graft_raw_token){.id = id, .word = word, .begin = range[0], .end = range[1]};
    if (!t->spaces) return 0;
    /* an added token's text is what it swallowed */
    uint32_t lead = added ? count_blanks(t, s->text + begin, end - begin, false) : t->spaces[id][0];
    uint32_t trail = added ? count_blanks(t, s->text + begin, end - begin, true) : t->spaces[id][1];
    r->one_lead = lead == 1;
    for (uint32_t at = r->begin; lead > 0 && at < r->end; lead--) {
        for (at++; at < r->end && !graft_utf8_begins(s->input, at);) at++;
        r->lead = at - r->begin;
    }
    for (uint32_t at = r->end; trail > 0 && at > r->begin; trail--) {
        for (at--; at > r->begin && !graft_utf8_begins(s->input, at);) at--;
        r->trail = r->end - at;
    }
    return 0;
}

static int run_pieces(const graft_tokenizer *t, graft_token_scratch *s, int32_t word, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n_pieces; i++) {
        const graft_piece *p = &s->pieces[i];
        int32_t w = word >= 0 ? word : (int32_t)i;
        if (p->token >= 0) {
            rc = add_raw(t, s, p->token, w, p->begin, p->end, p, err);
            continue;
        }
        uint32_t size = p->end - p->begin;
        rc = graft_model_run(t, s, s->text + p->begin, size, err);
        for (size_t k = 0; rc == 0 && k < s->n_found; k++) {
            const graft_found *f = &s->found[k];
            uint32_t end = f->end < size ? f->end : size;
            if (f->begin < end) rc = add_raw(t, s, f->id, w, p->begin + f->begin, p->begin + end, NULL, err);
        }
    }
    return rc;
}

static int encode_one(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                      int32_t word, graft_err *err) {
    if (size > GRAFT_TEXT_MAX)
        return graft_err_set(err, GRAFT_EDATA, "a text of %zu bytes is too long: at most %d", size,
                             GRAFT_TEXT_MAX);
    size_t valid = graft_utf8_valid(text, size, NULL);
    if (valid < size)
        return graft_err_set(err, GRAFT_EDATA, "byte %zu of the text (0x%02x) is not UTF-8", valid,
                             (unsigned char)text[valid]);
    graft_scratch_begin(s, text, size);
    s->n_pieces = 0;
    if (!size) return 0;
    int rc = prepare(t, s, err);
    if (rc == 0) rc = graft_pre_tokenize(t, s, err);
    if (rc == 0) rc = run_pieces(t, s, word, err);
    s->input = s->text = NULL;
    return rc;
}

static int begin_scratch(const graft_tokenizer *t, graft_encoding *out, graft_err *err) {
    if (!out->scratch) out->scratch = calloc(1, sizeof *out->scratch);
    graft_token_scratch *s = out->scratch;
    if (!s) return graft_err_nomem(err);
    if (!s->cache) s->cache = calloc((size_t)1 << GRAFT_CACHE_BITS, sizeof *s->cache);
    if (!s->cache) return graft_err_nomem(err);
    if (!graft_hash_equal(s->cache_of, t->hash)) {
        memset(s->cache, 0, sizeof *s->cache << GRAFT_CACHE_BITS);
        s->cache_of = t->hash;
    }
    s->n_raw = s->n_first = 0;
    s->has_pair = false;
    return 0;
}

int graft_tokenizer_encode(const graft_tokenizer *t, graft_encoding *out, const char *text, size_t size,
                           const char *pair, size_t pair_size, const graft_encode_options *o,
                           graft_err *err) {
    out->n = out->n_whole = 0;
    int rc = begin_scratch(t, out, err);
    if (rc == 0) rc = encode_one(t, out->scratch, text, size, -1, err);
    if (rc < 0) return rc;
    out->scratch->n_first = out->scratch->n_raw;
    out->scratch->has_pair = pair != NULL;
    if (pair) rc = encode_one(t, out->scratch, pair, pair_size, -1, err);
    return rc < 0 ? rc : graft_tokenizer_window(t, out, 0, o, err);
}

int graft_tokenizer_encode_words(const graft_tokenizer *t, graft_encoding *out, const char *const *words,
                                 const size_t *sizes, size_t n, const graft_encode_options *o,
                                 graft_err *err) {
    out->n = out->n_whole = 0;
    int rc = begin_scratch(t, out, err);
    if (rc == 0 && n > GRAFT_TEXT_MAX)
        return graft_err_set(err, GRAFT_EDATA, "%zu words are too many: at most %d", n, GRAFT_TEXT_MAX);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = encode_one(t, out->scratch, words[i], sizes[i], (int32_t)i, err);
    if (rc < 0) return rc;
    out->scratch->n_first = out->scratch->n_raw;
    return graft_tokenizer_window(t, out, 0, o, err);
}
