/* Regular expressions through PCRE2. Files carry them in Oniguruma's dialect; \w, \d and \s, whose Unicode
 * classes are not PCRE2's, are spelt out. */
#include "model/tokenizer/token_private.h"
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct graft_token_regex {
    pcre2_code *code;
};

/* White space, and all else; \w; letters and numbers of Unicode 15 and 16, which this PCRE2 may not know yet.
 */
#define SPACES                                                                                               \
    "\\x{9}-\\x{d} \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES                                                                                            \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}" \
    "-\\x{2027}"                                                                                             \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define NEW_LETTERS                                                                                          \
    "\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}"                         \
    "\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}"                   \
    "\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}"           \
    "\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}"                    \
    "\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}\\x{18cff}"         \
    "\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}"                    \
    "\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NEW_NUMBERS                                                                                          \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"                   \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}"                   \
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"
#define NEW_MARKS                                                                                            \
    "\\x{897}\\x{cf3}\\x{ece}\\x{10d69}-\\x{10d6d}\\x{10efc}-\\x{10eff}\\x{11241}"                           \
    "\\x{113b8}-\\x{113c0}\\x{113c2}\\x{113c5}\\x{113c7}-\\x{113ca}\\x{113cc}-\\x{113d0}\\x{113d2}"          \
    "\\x{113e1}-\\x{113e2}\\x{11f00}-\\x{11f01}\\x{11f03}\\x{11f34}-\\x{11f3a}\\x{11f3e}-\\x{11f42}"         \
    "\\x{11f5a}\\x{13440}\\x{13447}-\\x{13455}\\x{1611e}-\\x{1612f}\\x{1e08f}\\x{1e4ec}-\\x{1e4ef}"          \
    "\\x{1e5ee}-\\x{1e5ef}"
#define WORDS                                                                                                \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}"         \
    "\\x{1f170}-\\x{1f189}" NEW_LETTERS NEW_NUMBERS NEW_MARKS
/* What \w takes in besides where it stands alone: Oniguruma looks Latin-1 up in another table there. */
#define WORDS_ALONE WORDS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

static void code_done(void *obj) {
    pcre2_code_free(obj);
}

/* What a class is within brackets; NULL: not one that is spelt out. */
static const char *class_of(char letter, bool inside) {
    switch (letter) {
    case 's':
        return SPACES;
    case 'S':
        return NO_SPACES;
    case 'w':
    case 'W':
        return inside ? WORDS : WORDS_ALONE;
    case 'd':
    case 'D':
        return "\\p{Nd}" NEW_NUMBERS;
    default:
        return NULL;
    }
}

/* \p{L} and \p{N} in their spellings, of which *size is the length. */
static const char *property_of(const char *s, size_t left, size_t *size) {
    static const struct {
        const char *name, *class;
    } properties[] = {{"\\p{L}", "\\p{L}" NEW_LETTERS}, {"\\pL", "\\p{L}" NEW_LETTERS},
                      {"\\p{N}", "\\p{N}" NEW_NUMBERS}, {"\\pN", "\\p{N}" NEW_NUMBERS},
                      {"\\p{M}", "\\p{M}" NEW_MARKS},   {"\\p{Nd}", "\\p{Nd}" NEW_NUMBERS}};
    for (size_t i = 0; i < GRAFT_COUNT(properties); i++) {
        *size = strlen(properties[i].name);
        if (left >= *size && memcmp(s, properties[i].name, *size) == 0) return properties[i].class;
    }
    return NULL;
}

/* Writes the escape at s in PCRE2's words and gives its size; 0 when it cannot be said. */
static size_t put_escape(graft_buf *b, const char *s, size_t left, bool inside) {
    size_t size = 2;
    char letter = s[1];
    const char *class = letter == 'p' ? property_of(s, left, &size) : class_of(letter, inside);
    if (letter == 'b' && !inside) {
        graft_buf_text(b, "(?:(?<=[" WORDS_ALONE "])(?![" WORDS_ALONE "])|(?<![" WORDS_ALONE
                          "])(?=[" WORDS_ALONE "]))");
        return 2;
    }
    if (!class) {
        /* \h is a hexadecimal digit there and white space here; \y, \K and others differ or are not there */
        if (strchr("hHyYOXKCQEUuLlBGRN", letter) && letter) return 0;
        graft_buf_append(b, s, 2);
        return 2;
    }
    bool negated = letter == 'W' || letter == 'D';
    if (inside && negated) return 0;
    graft_buf_printf(b, inside ? "%s%s" : "[%s%s]", negated ? "^" : "", class);
    return size;
}

static int translate(graft_buf *b, const char *pattern, size_t size, bool *supported) {
    int inside = 0;
    *supported = true;
    for (size_t i = 0; i < size && *supported; i++) {
        char c = pattern[i];
        if (c == '\\' && i + 1 < size) {
            size_t n = put_escape(b, pattern + i, size - i, inside > 0);
            if (!n) *supported = false;
            i += n ? n - 1 : 1;
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
    graft_buf_text(&b, "(*LIMIT_MATCH=1000000)"); /* a pattern that backtracks without end gives up */
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
        if (n == PCRE2_ERROR_JIT_STACKLIMIT)
            n = pcre2_match(r->code, (PCRE2_SPTR)text, size, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match,
                            NULL);
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
