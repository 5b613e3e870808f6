/* The pre-tokenizers: each goes over all pieces that are still text and splits them. */
#include "model/tokenizer/token_private.h"
#include <string.h>

/* ---- Finding spans ---- */

typedef bool (*char_test)(const graft_tokenizer *t, const graft_pre *p, uint32_t c);

static bool is_space(const graft_tokenizer *t, const graft_pre *p, uint32_t c) {
    (void)p;
    return graft_unicode_flags(t->flags, c) & GRAFT_UNI_SPACE;
}

static bool is_punctuation(const graft_tokenizer *t, const graft_pre *p, uint32_t c) {
    (void)p;
    return graft_unicode_flags(t->flags, c) & GRAFT_UNI_PUNCTUATION;
}

static bool is_number(const graft_tokenizer *t, const graft_pre *p, uint32_t c) {
    (void)p;
    return graft_unicode_flags(t->flags, c) & GRAFT_UNI_NUMBER;
}

static bool is_point(const graft_tokenizer *t, const graft_pre *p, uint32_t c) {
    (void)t;
    return c == p->point;
}

/* Each character that passes is a match of its own. */
static int find_chars(const graft_tokenizer *t, const graft_pre *p, graft_token_scratch *s, const char *text,
                      uint32_t size, char_test test, graft_err *err) {
    uint32_t previous = 0, n;
    int rc = 0;
    s->n_spans = 0;
    for (uint32_t i = 0; rc == 0 && i < size; i += n) {
        uint32_t c = graft_utf8_get(text + i, &n);
        if (!test(t, p, c)) continue;
        if (previous < i) rc = graft_span_add(s, previous, i, false, err);
        if (rc == 0) rc = graft_span_add(s, i, i + n, true, err);
        previous = i + n;
    }
    if (rc == 0 && previous < size) rc = graft_span_add(s, previous, size, false, err);
    return rc;
}

/* \w+|[^\w\s]+ : runs of word characters, and of what is neither those nor white space. */
static int split_whitespace(const graft_tokenizer *t, graft_token_scratch *s, const graft_piece *piece,
                            graft_err *err) {
    const char *text = s->text;
    int rc = 0;
    uint32_t n, begin = piece->begin;
    int kind = -1; /* of the run that begins at `begin`: 0 space, 1 word, 2 other */
    for (uint32_t i = piece->begin; rc == 0 && i < piece->end; i += n) {
        uint32_t flags = graft_unicode_flags(t->flags, graft_utf8_get(text + i, &n));
        int now = flags & GRAFT_UNI_WORD ? 1 : flags & GRAFT_UNI_SPACE ? 0 : 2;
        if (now == kind) continue;
        if (kind > 0) rc = graft_pieces_add(s, begin, i, -1, err);
        kind = now;
        begin = i;
    }
    if (rc == 0 && kind > 0) rc = graft_pieces_add(s, begin, piece->end, -1, err);
    return rc;
}

/* ---- Byte-level's regular expression, by hand:
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ ---- */

enum { LETTER, DIGIT, BLANK, OTHER };

static int class_at(const graft_tokenizer *t, const char *s, uint32_t *n) {
    uint32_t flags = graft_unicode_flags(t->flags, graft_utf8_get(s, n));
    return flags & GRAFT_UNI_LETTER  ? LETTER
           : flags & GRAFT_UNI_DIGIT ? DIGIT
           : flags & GRAFT_UNI_BLANK ? BLANK
                                     : OTHER;
}

static uint32_t contraction(const char *s, uint32_t left) {
    if (left < 2 || s[0] != '\'') return 0;
    if (strchr("stmd", s[1]) && s[1]) return 2;
    bool long_one = left >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') ||
                                  (s[1] == 'l' && s[2] == 'l'));
    return long_one ? 3 : 0;
}

static uint32_t run_end(const graft_tokenizer *t, const char *text, uint32_t at, uint32_t end, int class) {
    uint32_t n;
    while (at < end && class_at(t, text + at, &n) == class) at += n;
    return at;
}

static uint32_t next_word(const graft_tokenizer *t, const char *text, uint32_t at, uint32_t end) {
    uint32_t n, size = contraction(text + at, end - at);
    if (size) return at + size;
    int class = class_at(t, text + at, &n);
    if (class != BLANK) return run_end(t, text, at + n, end, class);
    if (text[at] == ' ' && at + 1 < end) {
        int behind = class_at(t, text + at + 1, &n);
        if (behind != BLANK) return run_end(t, text, at + 1 + n, end, behind);
    }
    uint32_t stop = run_end(t, text, at, end, BLANK);
    if (stop == end) return stop;
    /* the last blank of several is left to what follows it */
    uint32_t last = stop - 1;
    while (!graft_utf8_begins(text, last)) last--;
    return last > at ? last : stop;
}

static int split_words(const graft_tokenizer *t, graft_token_scratch *s, const graft_piece *piece,
                       graft_err *err) {
    int rc = 0;
    for (uint32_t at = piece->begin, end; rc == 0 && at < piece->end; at = end) {
        end = next_word(t, s->text, at, piece->end);
        rc = graft_pieces_add(s, at, end, -1, err);
    }
    return rc;
}

/* ---- From spans to pieces ---- */

static bool merges(graft_behaviour behaviour, bool match, bool previous) {
    return behaviour == GRAFT_SPLIT_CONTIGUOUS ? match == previous : match && !previous;
}

/* Joins spans as the behaviour says, in place. Merging with the next goes from the end to the beginning. */
static void join_spans(graft_token_scratch *s, graft_behaviour behaviour) {
    size_t n = s->n_spans, kept = 0;
    bool back = behaviour == GRAFT_SPLIT_NEXT, previous = false;
    for (size_t i = 0; i < n; i++) {
        graft_span span = s->spans[back ? n - 1 - i : i];
        graft_span *last = kept ? &s->spans[back ? n - kept : kept - 1] : NULL;
        if (last && merges(behaviour, span.match, previous)) {
            if (back)
                last->begin = span.begin;
            else
                last->end = span.end;
        } else {
            kept++;
            s->spans[back ? n - kept : kept - 1] = span;
        }
        previous = span.match;
    }
    if (back) memmove(s->spans, s->spans + (n - kept), kept * sizeof *s->spans);
    s->n_spans = kept;
}

static int add_spans(graft_token_scratch *s, const graft_piece *piece, graft_behaviour behaviour, bool invert,
                     graft_err *err) {
    if (invert)
        for (size_t i = 0; i < s->n_spans; i++) s->spans[i].match = !s->spans[i].match;
    if (behaviour >= GRAFT_SPLIT_PREVIOUS) join_spans(s, behaviour);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n_spans; i++) {
        const graft_span *span = &s->spans[i];
        if (behaviour == GRAFT_SPLIT_REMOVED && span->match) continue;
        rc = graft_pieces_add(s, piece->begin + span->begin, piece->begin + span->end, -1, err);
    }
    return rc;
}

static int split_bert(const graft_tokenizer *t, graft_token_scratch *s, const graft_piece *piece,
                      graft_err *err) {
    const char *text = s->text;
    uint32_t begin = piece->begin, n;
    int rc = 0;
    for (uint32_t i = piece->begin; rc == 0 && i < piece->end; i += n) {
        uint32_t flags = graft_unicode_flags(t->flags, graft_utf8_get(text + i, &n)) &
                         (GRAFT_UNI_SPACE | GRAFT_UNI_PUNCTUATION);
        if (!flags) continue;
        if (begin < i) rc = graft_pieces_add(s, begin, i, -1, err);
        if (rc == 0 && !(flags & GRAFT_UNI_SPACE)) rc = graft_pieces_add(s, i, i + n, -1, err);
        begin = i + n;
    }
    return rc < 0 || begin >= piece->end ? rc : graft_pieces_add(s, begin, piece->end, -1, err);
}

static int split_fixed(graft_token_scratch *s, const graft_piece *piece, uint32_t length, graft_err *err) {
    uint32_t begin = piece->begin, count = 0;
    int rc = 0;
    for (uint32_t i = piece->begin; rc == 0 && i < piece->end; i++) {
        if (!graft_utf8_begins(s->text, i) || count++ < length) continue;
        rc = graft_pieces_add(s, begin, i, -1, err);
        begin = i;
        count = 1;
    }
    return rc < 0 ? rc : graft_pieces_add(s, begin, piece->end, -1, err);
}

/* Between characters of two scripts. Those of none, such as a blank, go with what stands before them; at the
 * beginning they are dropped. */
static int split_scripts(graft_token_scratch *s, const graft_piece *piece, graft_err *err) {
    uint32_t begin = piece->begin, last = 0, n;
    int rc = 0;
    for (uint32_t i = piece->begin; rc == 0 && i < piece->end; i += n) {
        uint32_t script = graft_unicode_script(graft_utf8_get(s->text + i, &n));
        if (script == 0 || script == last) continue;
        if (last) rc = graft_pieces_add(s, begin, i, -1, err);
        begin = i;
        last = script;
    }
    return rc < 0 || !last ? rc : graft_pieces_add(s, begin, piece->end, -1, err);
}

static int split_piece(const graft_tokenizer *t, const graft_pre *p, graft_token_scratch *s,
                       const graft_piece *piece, graft_err *err) {
    const char *text = s->text + piece->begin;
    uint32_t size = piece->end - piece->begin;
    graft_behaviour behaviour = p->behaviour;
    int rc;
    switch (p->kind) {
    case GRAFT_PRE_BERT:
        return split_bert(t, s, piece, err);
    case GRAFT_PRE_WHITESPACE:
        return split_whitespace(t, s, piece, err);
    case GRAFT_PRE_SCRIPTS:
        return split_scripts(s, piece, err);
    case GRAFT_PRE_FIXED:
        return split_fixed(s, piece, p->length, err);
    case GRAFT_PRE_BYTES:
        if (p->use_regex) return split_words(t, s, piece, err);
        return graft_pieces_add(s, piece->begin, piece->end, -1, err);
    case GRAFT_PRE_WHITESPACE_SPLIT:
        rc = find_chars(t, p, s, text, size, is_space, err);
        behaviour = GRAFT_SPLIT_REMOVED;
        break;
    case GRAFT_PRE_PUNCTUATION:
        rc = find_chars(t, p, s, text, size, is_punctuation, err);
        break;
    case GRAFT_PRE_DIGITS:
        rc = find_chars(t, p, s, text, size, is_number, err);
        behaviour = p->individual ? GRAFT_SPLIT_ISOLATED : GRAFT_SPLIT_CONTIGUOUS;
        break;
    case GRAFT_PRE_METASPACE:
        if (!p->split) return graft_pieces_add(s, piece->begin, piece->end, -1, err);
        rc = find_chars(t, p, s, text, size, is_point, err);
        behaviour = GRAFT_SPLIT_NEXT;
        break;
    case GRAFT_PRE_DELIMITER:
        rc = find_chars(t, p, s, text, size, is_point, err);
        behaviour = GRAFT_SPLIT_REMOVED;
        break;
    default:
        rc = p->regex ? graft_token_regex_split(p->regex, s, text, size, err)
                      : graft_token_literal_split(s, p->pattern, p->pattern_size, text, size, err);
        break;
    }
    return rc < 0 ? rc : add_spans(s, piece, behaviour, p->invert, err);
}

static int split_all(const graft_tokenizer *t, const graft_pre *p, graft_token_scratch *s, graft_err *err) {
    int rc = 0;
    s->n_next = 0;
    for (size_t i = 0; rc == 0 && i < s->n_pieces; i++) {
        const graft_piece *piece = &s->pieces[i];
        rc = piece->token >= 0 ? graft_pieces_add(s, piece->begin, piece->end, piece->token, err)
                               : split_piece(t, p, s, piece, err);
    }
    if (rc == 0) graft_pieces_swap(s);
    return rc;
}

/* ---- What rewrites before or after it splits ---- */

static bool begins_with(const graft_aligned *a, const char *text, uint32_t size) {
    return a->size >= size && memcmp(a->bytes, text, size) == 0;
}

static int rewrite_metaspace(const graft_pre *p, graft_token_scratch *s, const graft_piece *piece,
                             graft_err *err) {
    char mark[4];
    uint32_t size = graft_utf8_put(mark, p->point);
    int rc = graft_token_literal_split(s, " ", 1, s->work.bytes, s->work.size, err);
    if (rc == 0) rc = graft_aligned_replace(s, mark, size, piece->origin, err);
    if (rc < 0) return rc;
    bool wanted =
        p->prepend == GRAFT_PREPEND_ALWAYS || (p->prepend == GRAFT_PREPEND_FIRST && piece->origin == 0);
    return wanted && !begins_with(&s->work, mark, size) ? graft_aligned_prepend(s, mark, size, err) : 0;
}

typedef enum rewriting { REWRITE_METASPACE, REWRITE_PREFIX, REWRITE_BYTES } rewriting;

static int rewrite_piece(const graft_pre *p, graft_token_scratch *s, const graft_piece *piece, rewriting what,
                         graft_err *err) {
    if (what == REWRITE_METASPACE) return rewrite_metaspace(p, s, piece, err);
    if (what == REWRITE_BYTES) return graft_normalize_bytes(s, piece->origin, err);
    return begins_with(&s->work, " ", 1) ? 0 : graft_aligned_prepend(s, " ", 1, err);
}

/* Makes the text anew, piece by piece; s->other and s->work are in use meanwhile, so it is built in a third.
 */
static int rewrite_all(const graft_pre *p, graft_token_scratch *s, rewriting what, graft_err *err) {
    graft_aligned built = s->spare;
    int rc = graft_text_align(s, err);
    built.size = 0;
    for (size_t i = 0; rc == 0 && i < s->n_pieces; i++) {
        graft_piece *piece = &s->pieces[i];
        rc = graft_text_take(s, piece, err);
        if (rc == 0 && piece->token < 0) rc = rewrite_piece(p, s, piece, what, err);
        piece->begin = built.size;
        if (rc == 0) rc = graft_text_append(&built, &s->work, err);
        piece->end = built.size;
    }
    s->spare = s->made;
    s->made = built;
    s->text = built.bytes;
    return rc;
}

static bool wants_prefix(const graft_token_scratch *s) {
    for (size_t i = 0; i < s->n_pieces; i++)
        if (s->pieces[i].token < 0 && s->text[s->pieces[i].begin] != ' ') return true;
    return false;
}

int graft_pre_tokenize(const graft_tokenizer *t, graft_token_scratch *s, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->n_pres && s->n_pieces > 0; i++) {
        const graft_pre *p = &t->pres[i];
        if (p->kind == GRAFT_PRE_METASPACE) rc = rewrite_all(p, s, REWRITE_METASPACE, err);
        if (p->kind == GRAFT_PRE_BYTES && p->prefix_space && wants_prefix(s))
            rc = rewrite_all(p, s, REWRITE_PREFIX, err);
        if (rc == 0) rc = split_all(t, p, s, err);
        if (rc == 0 && p->kind == GRAFT_PRE_BYTES && !p->keep_bytes)
            rc = rewrite_all(p, s, REWRITE_BYTES, err);
    }
    return rc;
}
