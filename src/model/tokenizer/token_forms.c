/* Unicode's normalization forms (UAX 15) and SentencePiece's compiled map of characters, with alignments. */
#include "model/tokenizer/token_private.h"
#include <string.h>
#include <utf8proc.h>

/* One character of a form under way: how it changes the text, and its combining class. */
typedef struct part {
    uint32_t c;
    int32_t change;
    int32_t class;
} part;

static int32_t class_of(const graft_tokenizer *t, uint32_t c) {
    if (c < 0x300 || (graft_unicode_flags(t->flags, c) & GRAFT_UNI_UNKNOWN)) return 0;
    return utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

static int decompose(const graft_tokenizer *t, uint32_t c, bool compat, int32_t out[32]) {
    out[0] = (int32_t)c;
    if (c < 0xa0 || (graft_unicode_flags(t->flags, c) & GRAFT_UNI_UNKNOWN)) return 1;
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    if (compat) options |= UTF8PROC_COMPAT;
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out, 32, options, &boundary);
    return n >= 1 && n <= 32 ? (int)n : 1;
}

/* Marks behind a starter go by class; equal ones keep their order. */
static void sort_marks(part *p, size_t n) {
    for (size_t i = 1; i < n; i++) {
        part x = p[i];
        size_t k = i;
        for (; k > 0 && p[k - 1].class > x.class; k--) p[k] = p[k - 1];
        p[k] = x;
    }
}

/* Runs of marks of a hostile text can be long: a merge by counting classes keeps the sort linear. */
static void sort_long(part *p, part *spare, size_t n) {
    size_t count[256] = {0}, at = 0;
    for (size_t i = 0; i < n; i++) count[p[i].class & 255]++;
    for (size_t i = 0; i < 256; i++) {
        size_t c = count[i];
        count[i] = at;
        at += c;
    }
    for (size_t i = 0; i < n; i++) spare[count[p[i].class & 255]++] = p[i];
    memcpy(p, spare, n * sizeof *p);
}

static void sort_all(part *p, part *spare, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        if (p[i].class != 0) {
            while (end < n && p[end].class != 0) end++;
            if (end - i > 32)
                sort_long(p + i, spare, end - i);
            else
                sort_marks(p + i, end - i);
        }
        i = end;
    }
}

/* The character that two make, or 0. */
static uint32_t compose(const graft_tokenizer *t, uint32_t a, uint32_t b) {
    if (b < 0x300 ||
        ((graft_unicode_flags(t->flags, a) | graft_unicode_flags(t->flags, b)) & GRAFT_UNI_UNKNOWN))
        return 0;
    int32_t pair[3] = {(int32_t)a, (int32_t)b, 0};
    return utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) == 1 ? (uint32_t)pair[0] : 0;
}

static void put(graft_token_rewrite *w, part p) {
    graft_token_rewrite_put(w, p.c, p.change);
}

/* A starter takes in what composes with it and is not blocked by a mark of its own or a higher class in
 * between. */
static void put_composed(const graft_tokenizer *t, graft_token_rewrite *w, part *p, size_t n) {
    for (size_t i = 0; i < n;) {
        if (p[i].class != 0) {
            put(w, p[i++]);
            continue;
        }
        part starter = p[i++];
        size_t kept = i, end = i; /* p[kept..end): marks that stay */
        int32_t last = -1;        /* class of the last that stays */
        for (; i < n; i++) {
            uint32_t c = last < p[i].class ? compose(t, starter.c, p[i].c) : 0;
            if (c) {
                starter.c = c;
                starter.change += p[i].change - 1;
            } else if (p[i].class == 0) {
                break; /* the next starter */
            } else {
                last = p[i].class;
                p[end++] = p[i];
            }
        }
        put(w, starter);
        for (; kept < end; kept++) put(w, p[kept]);
    }
}

static bool is_plain(const graft_token_scratch *s, uint32_t below) {
    uint32_t n;
    for (uint32_t i = 0; i < s->work.size; i += n)
        if (graft_utf8_get(s->work.bytes + i, &n) >= below) return false;
    return true;
}

int graft_normalize_forms(const graft_tokenizer *t, graft_token_scratch *s, uint32_t origin,
                          graft_norm_kind kind, graft_err *err) {
    bool compat = kind == GRAFT_NORM_NFKC || kind == GRAFT_NORM_NFKD;
    bool composes = kind == GRAFT_NORM_NFC || kind == GRAFT_NORM_NFKC;
    if (is_plain(s, 0x80)) return 0;
    size_t n = 0;
    int32_t parts[32];
    uint32_t bytes;
    for (uint32_t i = 0; i < s->work.size; i += bytes) {
        int count = decompose(t, graft_utf8_get(s->work.bytes + i, &bytes), compat, parts);
        size_t want = (n + (size_t)count) * 2 * (sizeof(part) / sizeof *s->points);
        int rc = graft_token_reserve(&s->points, &s->points_capacity, want, sizeof *s->points, err);
        if (rc < 0) return rc;
        part *p = (part *)s->points;
        for (int k = 0; k < count; k++)
            p[n++] = (part){(uint32_t)parts[k], k > 0, class_of(t, (uint32_t)parts[k])};
    }
    part *p = (part *)s->points;
    sort_all(p, p + n, n);
    graft_token_rewrite w;
    graft_token_rewrite_begin(&w, s, origin, 0, err);
    if (composes) {
        put_composed(t, &w, p, n);
    } else {
        for (size_t i = 0; i < n; i++) put(&w, p[i]);
    }
    return graft_token_rewrite_end(&w);
}

/* ---- Precompiled ---- */

static uint32_t unit_offset(uint32_t unit) {
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

int graft_precompiled_read(graft_norm *out, graft_arena *arena, const unsigned char *bytes, size_t size,
                           const char *origin, graft_err *err) {
    uint32_t trie_size =
        size >= 4 ? bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24
                  : 0;
    if (size < 4 || trie_size > size - 4 || trie_size % 4 != 0 || trie_size == 0)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: its precompiled map of characters is cut or not one",
                             origin);
    out->texts_size = size - 4 - trie_size;
    uint32_t *trie = graft_arena_alloc(arena, trie_size);
    char *texts = graft_arena_alloc(arena, out->texts_size + 1);
    if (!trie || !texts) return graft_err_nomem(err);
    for (size_t i = 0; i < trie_size / 4; i++) {
        const unsigned char *b = bytes + 4 + 4 * i;
        trie[i] = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    }
    memcpy(texts, bytes + 4 + trie_size, out->texts_size);
    if (graft_utf8_valid(texts, out->texts_size, NULL) != out->texts_size)
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: its precompiled map of characters holds texts that are not UTF-8", origin);
    out->trie = trie;
    out->n_trie = trie_size / 4;
    out->texts = texts;
    return 0;
}

/* The text that replaces the shortest prefix of `key` in the map, which is what the reference takes; NULL:
 * none. */
static const char *find_mapped(const graft_norm *norm, const char *key, uint32_t size) {
    size_t node = unit_offset(norm->trie[0]);
    for (uint32_t i = 0; i < size && key[i]; i++) {
        unsigned char c = (unsigned char)key[i];
        node ^= c;
        if (node >= norm->n_trie) return NULL;
        uint32_t unit = norm->trie[node];
        if ((unit & (1u << 31 | 0xff)) != c) return NULL;
        node ^= unit_offset(unit);
        if (!(unit >> 8 & 1)) continue;
        if (node >= norm->n_trie) return NULL;
        uint32_t at = norm->trie[node] & 0x7fffffff;
        bool begins = at < norm->texts_size && graft_utf8_begins(norm->texts, at);
        return begins ? norm->texts + at : at == norm->texts_size ? "" : NULL;
    }
    return NULL;
}

static uint32_t count_chars(const char *s, uint32_t size) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < size; i++) n += graft_utf8_begins(s, i);
    return n;
}

/* The last character that was put, which takes in what is dropped behind it. */
typedef struct mapper {
    graft_token_rewrite w;
    uint32_t last;
    int64_t change;
    bool has_last;
} mapper;

static void put_last(mapper *m) {
    if (m->has_last) graft_token_rewrite_put(&m->w, m->last, m->change);
}

static void put_char(mapper *m, uint32_t c, int64_t change) {
    put_last(m);
    m->last = c;
    m->change = change;
    m->has_last = true;
}

/* Puts what replaces [text, size); false when nothing does. Characters replace one another in turn; what
 * there are more of is new, what there are fewer of goes with the last. */
static bool put_mapped(mapper *m, const graft_norm *norm, const char *text, uint32_t size) {
    const char *to = find_mapped(norm, text, size);
    if (!to) return false;
    uint32_t bytes = (uint32_t)strlen(to), n, i = 0;
    uint32_t replaced = count_chars(text, size), count = count_chars(to, bytes);
    for (uint32_t at = 0; at < bytes; at += n) put_char(m, graft_utf8_get(to + at, &n), i++ >= replaced);
    if (count < replaced) m->change -= replaced - count;
    return true;
}

int graft_normalize_precompiled(const graft_tokenizer *t, graft_token_scratch *s, const graft_norm *norm,
                                uint32_t origin, graft_err *err) {
    (void)t;
    const char *bytes = s->work.bytes;
    uint32_t size = s->work.size;
    bool modified = false;
    mapper m = {0};
    graft_token_rewrite_begin(&m.w, s, origin, 0, err);
    for (uint32_t i = 0; i < size;) {
        uint32_t n, last = graft_utf8_get(bytes + i, &n), end = i + n, k;
        for (utf8proc_int32_t state = 0; end < size; end += n) { /* to the end of the grapheme */
            uint32_t c = graft_utf8_get(bytes + end, &n);
            if ((last < 0x80 && c < 0x80 && last != '\r') ||
                utf8proc_grapheme_break_stateful((utf8proc_int32_t)last, (utf8proc_int32_t)c, &state))
                break;
            last = c;
        }
        if (end - i < 6 && put_mapped(&m, norm, bytes + i, end - i)) {
            modified = true;
        } else {
            for (k = i; k < end; k += n) {
                uint32_t c = graft_utf8_get(bytes + k, &n);
                if (put_mapped(&m, norm, bytes + k, n))
                    modified = true;
                else
                    put_char(&m, c, 0);
            }
        }
        i = end;
    }
    put_last(&m);
    return m.w.rc == 0 && !modified ? 0 : graft_token_rewrite_end(&m.w);
}
