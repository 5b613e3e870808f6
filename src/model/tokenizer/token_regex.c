/* Regular expressions through PCRE2. Files carry them in Oniguruma's dialect; \w, \d and \s, whose Unicode
 * classes are not PCRE2's, are spelt out. */
#include "model/tokenizer/token_private.h"
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct graft_token_regex {
    pcre2_code *code;
};

static const char space_class[] =
    "\\x{9}-\\x{d} \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
static const char word_class[] = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"
                                 "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";

static void code_done(void *obj) {
    pcre2_code_free(obj);
}

static const char *class_of(char letter) {
    switch (letter) {
    case 's':
    case 'S':
        return space_class;
    case 'w':
    case 'W':
        return word_class;
    case 'd':
    case 'D':
        return "\\p{Nd}";
    default:
        return NULL;
    }
}

/* Appends escape \`letter`, inside a bracketed class or not; false when PCRE2 has no way to say it. */
static bool put_escape(graft_buf *b, char letter, bool inside, bool *supported) {
    const char *class = class_of(letter);
    *supported = true;
    if (!class) {
        /* \h is a hexadecimal digit there and white space here; \y, \K, \R and others differ or are not there
         */
        if (strchr("hHyYOXKCQEUuLl", letter)) *supported = false;
        return false;
    }
    bool negated = letter < 'a';
    if (inside &&
        negated) { /* a complement within a class: PCRE2's own, where it is the same but for U+180E */
        if (letter == 'W') *supported = false;
        return false;
    }
    if (inside)
        graft_buf_text(b, class);
    else
        graft_buf_printf(b, "[%s%s]", negated ? "^" : "", class);
    return true;
}

static int translate(graft_buf *b, const char *pattern, size_t size, bool *supported) {
    int inside = 0;
    *supported = true;
    for (size_t i = 0; i < size && *supported; i++) {
        char c = pattern[i];
        if (c == '\\' && i + 1 < size) {
            char letter = pattern[++i];
            if (!put_escape(b, letter, inside > 0, supported)) {
                const char two[2] = {c, letter};
                graft_buf_append(b, two, 2);
            }
            continue;
        }
        if (c == '[' && inside == 0) {
            inside = 1;
            graft_buf_append(b, "[", 1);
            if (i + 1 < size && pattern[i + 1] == '^') graft_buf_append(b, &pattern[++i], 1);
            if (i + 1 < size && pattern[i + 1] == ']') graft_buf_append(b, &pattern[++i], 1);
            continue;
        }
        if (inside && c == '[' && i + 1 < size && pattern[i + 1] != ':')
            *supported = false; /* nested class */
        if (inside && c == '&' && i + 1 < size && pattern[i + 1] == '&')
            *supported = false; /* intersection */
        if (c == ']' && inside && !(i > 0 && pattern[i - 1] == ':')) inside = 0;
        graft_buf_append(b, &c, 1);
    }
    return b->failed ? GRAFT_ENOMEM : 0;
}

static int compile(graft_token_regex *r, const graft_buf *b, const char *pattern, const char *origin,
                   graft_err *err) {
    int code;
    PCRE2_SIZE at;
    r->code = pcre2_compile((PCRE2_SPTR)b->data, b->size, PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code,
                            &at, NULL);
    if (!r->code) {
        PCRE2_UCHAR text[120];
        pcre2_get_error_message(code, text, sizeof text);
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: the regular expression '%s' is none that PCRE2 knows: %s", origin, pattern,
                             (const char *)text);
    }
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it the interpreter does the same */
    return 0;
}

int graft_token_regex_new(graft_token_regex **out, graft_arena *arena, const char *pattern, size_t size,
                          const char *origin, graft_err *err) {
    graft_token_regex *r = graft_arena_alloc(arena, sizeof *r);
    if (!r) return graft_err_nomem(err);
    graft_buf b;
    bool supported;
    graft_buf_init(&b, 1 << 20);
    int rc = size > 1 << 16 ? GRAFT_EUNSUPPORTED : translate(&b, pattern, size, &supported);
    if (rc == GRAFT_ENOMEM)
        rc = graft_err_nomem(err);
    else if (rc < 0 || !supported)
        rc = graft_err_set(err, GRAFT_EUNSUPPORTED,
                           "%s: the regular expression '%s' uses what PCRE2 cannot say", origin, pattern);
    else
        rc = compile(r, &b, pattern, origin, err);
    graft_buf_done(&b);
    if (rc == 0 && graft_arena_defer(arena, code_done, r->code) < 0) rc = graft_err_nomem(err);
    *out = r;
    return rc;
}

int graft_token_regex_split(const graft_token_regex *r, graft_token_scratch *s, const char *text, size_t size,
                            graft_err *err) {
    if (!s->match) s->match = pcre2_match_data_create(1, NULL);
    if (!s->match) return graft_err_nomem(err);
    size_t at = 0, previous = 0;
    int rc = 0;
    s->n_spans = 0;
    while (rc == 0 && at <= size) {
        int n = pcre2_match(r->code, (PCRE2_SPTR)text, size, at, PCRE2_NO_UTF_CHECK, s->match, NULL);
        if (n == PCRE2_ERROR_NOMATCH) break;
        if (n < 0)
            return graft_err_set(err, GRAFT_EDATA,
                                 "a regular expression of the tokenizer gave up on the text (PCRE2 %d)", n);
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(s->match);
        size_t begin = found[0], end = found[1];
        if (begin > previous) rc = graft_span_add(s, (uint32_t)previous, (uint32_t)begin, false, err);
        if (rc == 0) rc = graft_span_add(s, (uint32_t)begin, (uint32_t)end, true, err);
        previous = at = end;
        if (begin < end) continue;
        for (at++; at < size && !graft_utf8_begins(text, at);) at++;
    }
    if (rc == 0 && previous < size) rc = graft_span_add(s, (uint32_t)previous, (uint32_t)size, false, err);
    return rc;
}

int graft_token_literal_split(graft_token_scratch *s, const char *pattern, size_t pattern_size,
                              const char *text, size_t size, graft_err *err) {
    size_t previous = 0;
    int rc = 0;
    s->n_spans = 0;
    while (rc == 0 && pattern_size > 0 && previous < size) {
        const char *found = memmem(text + previous, size - previous, pattern, pattern_size);
        if (!found) break;
        size_t begin = (size_t)(found - text);
        if (begin > previous) rc = graft_span_add(s, (uint32_t)previous, (uint32_t)begin, false, err);
        previous = begin + pattern_size;
        if (rc == 0) rc = graft_span_add(s, (uint32_t)begin, (uint32_t)previous, true, err);
    }
    if (rc == 0 && previous < size) rc = graft_span_add(s, (uint32_t)previous, (uint32_t)size, false, err);
    return rc;
}
