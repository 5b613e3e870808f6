/* The normalizers, each a pass over s->work. */
#include "model/tokenizer/token_private.h"
#include <string.h>

static bool is_nmt_control(uint32_t c) {
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
}

static bool is_nmt_space(uint32_t c) {
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

static bool drops(const graft_tokenizer *t, graft_norm_kind kind, uint32_t c) {
    switch (kind) {
    case GRAFT_NORM_CLEAN:
        return graft_unicode_flags(t->flags, c) & GRAFT_UNI_CONTROL;
    case GRAFT_NORM_DROP_NONSPACING:
        return graft_unicode_flags(t->flags, c) & GRAFT_UNI_NONSPACING;
    case GRAFT_NORM_DROP_MARKS:
        return graft_unicode_flags(t->flags, c) & GRAFT_UNI_MARK;
    default:
        return is_nmt_control(c);
    }
}

static uint32_t mapped(const graft_tokenizer *t, graft_norm_kind kind, uint32_t c) {
    if (kind == GRAFT_NORM_CLEAN) return graft_unicode_flags(t->flags, c) & GRAFT_UNI_SPACE ? ' ' : c;
    if (kind == GRAFT_NORM_NMT) return is_nmt_space(c) ? ' ' : c;
    return c;
}

/* Drops characters and maps the others. What is dropped belongs to the character before it, at the beginning
 * to none. */
static int filter(const graft_tokenizer *t, graft_token_scratch *s, uint32_t origin, graft_norm_kind kind,
                  graft_err *err) {
    const char *bytes = s->work.bytes;
    uint32_t size = s->work.size, i = 0, n, skip = 0;
    while (i < size && drops(t, kind, graft_utf8_get(bytes + i, &n))) {
        skip++;
        i += n;
    }
    graft_token_rewrite w;
    graft_token_rewrite_begin(&w, s, origin, i < size ? skip : 0, err);
    while (i < size) {
        uint32_t kept = graft_utf8_get(bytes + i, &n), c;
        int64_t dropped = 0;
        for (i += n; i < size && (c = graft_utf8_get(bytes + i, &n), drops(t, kind, c)); i += n) dropped++;
        graft_token_rewrite_put(&w, mapped(t, kind, kept), -dropped);
    }
    return graft_token_rewrite_end(&w);
}

/* CJK as BERT's own tokenizer has it: the blocks of ideographs, one of them short of its first code points.
 */
static bool is_chinese(uint32_t c) {
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
           (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x2f800 && c <= 0x2fa1f);
}

static int each_char(graft_token_scratch *s, uint32_t origin, graft_norm_kind kind, graft_err *err) {
    const char *bytes = s->work.bytes;
    uint32_t size = s->work.size, n, lower[2];
    graft_token_rewrite w;
    graft_token_rewrite_begin(&w, s, origin, 0, err);
    for (uint32_t i = 0; i < size; i += n) {
        uint32_t c = graft_utf8_get(bytes + i, &n);
        if (kind == GRAFT_NORM_LOWERCASE) {
            int count = graft_unicode_to_lower(c, lower);
            for (int k = 0; k < count; k++) graft_token_rewrite_put(&w, lower[k], k);
        } else if (is_chinese(c)) {
            graft_token_rewrite_put(&w, ' ', 0);
            graft_token_rewrite_put(&w, c, 1);
            graft_token_rewrite_put(&w, ' ', 1);
        } else {
            graft_token_rewrite_put(&w, c, 0);
        }
    }
    return graft_token_rewrite_end(&w);
}

static bool has_chinese(const graft_token_scratch *s) {
    uint32_t n;
    for (uint32_t i = 0; i < s->work.size; i += n)
        if (is_chinese(graft_utf8_get(s->work.bytes + i, &n))) return true;
    return false;
}

static int strip(const graft_tokenizer *t, graft_token_scratch *s, const graft_norm *norm, uint32_t origin,
                 graft_err *err) {
    const char *bytes = s->work.bytes;
    uint32_t end = s->work.size, n, lead = 0, begin = 0;
    int64_t trail = 0;
    for (; norm->left && begin < end; begin += n, lead++)
        if (!(graft_unicode_flags(t->flags, graft_utf8_get(bytes + begin, &n)) & GRAFT_UNI_SPACE)) break;
    for (; norm->right && end > begin; trail++) {
        uint32_t at = end - 1;
        while (!graft_utf8_begins(bytes, at)) at--;
        if (!(graft_unicode_flags(t->flags, graft_utf8_get(bytes + at, &n)) & GRAFT_UNI_SPACE)) break;
        end = at;
    }
    if (!lead && !trail) return 0;
    graft_token_rewrite w;
    graft_token_rewrite_begin(&w, s, origin, lead, err);
    for (uint32_t i = begin; i < end; i += n) {
        uint32_t c = graft_utf8_get(bytes + i, &n);
        graft_token_rewrite_put(&w, c, i + n == end ? -trail : 0);
    }
    return graft_token_rewrite_end(&w);
}

static int replace(graft_token_scratch *s, const graft_norm *norm, uint32_t origin, graft_err *err) {
    const graft_aligned *a = &s->work;
    int rc = norm->regex
                 ? graft_token_regex_split(norm->regex, s, a->bytes, a->size, err)
                 : graft_token_literal_split(s, norm->pattern, norm->pattern_size, a->bytes, a->size, err);
    bool found = false;
    for (size_t i = 0; rc == 0 && i < s->n_spans && !found; i++) found = s->spans[i].match;
    return found ? graft_aligned_replace(s, norm->content, norm->content_size, origin, err) : rc;
}

uint32_t graft_byte_to_char(unsigned char byte) {
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae) return byte;
    /* the other 68, in their order, are the characters from U+0100 */
    return 0x100u + (byte <= 0x20 ? byte : byte <= 0xa0 ? byte - 0x7fu + 0x21u : 0x43u);
}

int graft_char_to_byte(uint32_t c) {
    if (c < 0x100) return graft_byte_to_char((unsigned char)c) == c ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100);
    if (c <= 0x142) return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

int graft_normalize_bytes(graft_token_scratch *s, uint32_t origin, graft_err *err) {
    const char *bytes = s->work.bytes;
    graft_token_rewrite w;
    graft_token_rewrite_begin(&w, s, origin, 0, err);
    for (uint32_t i = 0; i < s->work.size; i++)
        graft_token_rewrite_put(&w, graft_byte_to_char((unsigned char)bytes[i]),
                                !graft_utf8_begins(bytes, i));
    return graft_token_rewrite_end(&w);
}

static int run(const graft_tokenizer *t, graft_token_scratch *s, const graft_norm *norm, uint32_t origin,
               graft_err *err) {
    switch (norm->kind) {
    case GRAFT_NORM_CLEAN:
    case GRAFT_NORM_DROP_NONSPACING:
    case GRAFT_NORM_DROP_MARKS:
    case GRAFT_NORM_NMT:
        return filter(t, s, origin, norm->kind, err);
    case GRAFT_NORM_CHINESE:
        if (!has_chinese(s)) return 0;
        return each_char(s, origin, norm->kind, err);
    case GRAFT_NORM_LOWERCASE:
        return each_char(s, origin, norm->kind, err);
    case GRAFT_NORM_NFC:
    case GRAFT_NORM_NFD:
    case GRAFT_NORM_NFKC:
    case GRAFT_NORM_NFKD:
        return graft_normalize_forms(t, s, origin, norm->kind, err);
    case GRAFT_NORM_STRIP:
        return strip(t, s, norm, origin, err);
    case GRAFT_NORM_REPLACE:
        return replace(s, norm, origin, err);
    case GRAFT_NORM_PREPEND:
        return graft_aligned_prepend(s, norm->content, norm->content_size, err);
    case GRAFT_NORM_PRECOMPILED:
        return graft_normalize_precompiled(t, s, norm, origin, err);
    case GRAFT_NORM_BYTES:
        return graft_normalize_bytes(s, origin, err);
    }
    return graft_err_set(err, GRAFT_EINTERNAL, "a normalizer without its pass");
}

int graft_normalize(const graft_tokenizer *t, graft_token_scratch *s, uint32_t origin, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->n_norms; i++) rc = run(t, s, &t->norms[i], origin, err);
    return rc;
}
