/* The stages of a tokenizer.json: normalizers, pre-tokenizers, post-processor, added tokens, truncation.
 * Sequences, also nested, become flat lists. */
#include "model/tokenizer/token_private.h"
#include <string.h>

int graft_unsupported(const graft_tokenizer *t, const char *what, const graft_node *type, graft_err *err) {
    bool named = type && type->type == GRAFT_NODE_TEXT;
    return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: the %s '%s' is not supported", t->origin, what,
                         named ? type->text : "without a type");
}

static int bad(const graft_tokenizer *t, const char *what, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %s", t->origin, what);
}

/* Steps of a list that sequences may nest in: how many, at most. */
static size_t count_steps(const graft_node *n, const char *list) {
    const graft_node *members = graft_node_get(n, list);
    if (!graft_node_is_text(graft_node_get(n, "type"), "Sequence") || !members) return 4;
    size_t count = 0;
    for (const graft_node *m = graft_node_first(members); m; m = graft_node_next(m))
        count += count_steps(m, list);
    return count;
}

typedef int (*step_reader)(graft_tokenizer *t, const graft_node *n, graft_err *err);

static int read_steps(graft_tokenizer *t, const graft_node *n, const char *list, step_reader read,
                      graft_err *err) {
    if (!graft_node_is_text(graft_node_get(n, "type"), "Sequence")) return read(t, n, err);
    const graft_node *members = graft_node_get(n, list);
    if (!members || members->type != GRAFT_NODE_LIST) return bad(t, "a Sequence without its list", err);
    int rc = 0;
    for (const graft_node *m = graft_node_first(members); rc == 0 && m; m = graft_node_next(m))
        rc = read_steps(t, m, list, read, err);
    return rc;
}

graft_norm *graft_norm_add(graft_tokenizer *t, graft_norm_kind kind) {
    graft_norm *n = &t->norms[t->n_norms++];
    n->kind = kind;
    return n;
}

graft_pre *graft_pre_add(graft_tokenizer *t, graft_pre_kind kind) {
    graft_pre *p = &t->pres[t->n_pres++];
    p->kind = kind;
    return p;
}

/* {"String": …} or {"Regex": …}, or a text alone. */
static int read_pattern(graft_tokenizer *t, const graft_node *n, graft_token_regex **regex, const char **text,
                        uint32_t *size, graft_err *err) {
    const graft_node *pattern = graft_node_get(n, "pattern");
    const graft_node *literal =
        pattern && pattern->type == GRAFT_NODE_TEXT ? pattern : graft_node_get(pattern, "String");
    const graft_node *expression = graft_node_get(pattern, "Regex");
    const graft_node *any = expression ? expression : literal;
    if (!any || any->type != GRAFT_NODE_TEXT) return bad(t, "a 'pattern' without String or Regex", err);
    *text = any->text;
    *size = any->size;
    if (!expression) return 0;
    return graft_token_regex_new(regex, t->arena, any->text, any->size, t->origin, err);
}

/* ---- Normalizers ---- */

static int read_bert(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    bool clean, chinese, lower, accents;
    int rc;
    if ((rc = graft_node_bool(n, "clean_text", true, &clean, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "handle_chinese_chars", true, &chinese, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "lowercase", true, &lower, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "strip_accents", lower, &accents, t->origin, err)) < 0)
        return rc;
    if (clean) graft_norm_add(t, GRAFT_NORM_CLEAN);
    if (chinese) graft_norm_add(t, GRAFT_NORM_CHINESE);
    if (accents) {
        graft_norm_add(t, GRAFT_NORM_NFD);
        graft_norm_add(t, GRAFT_NORM_DROP_NONSPACING);
    }
    if (lower) graft_norm_add(t, GRAFT_NORM_LOWERCASE);
    return 0;
}

static int base64(const char *s, size_t size, graft_buf *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    signed char value[256];
    memset(value, -1, sizeof value);
    for (int i = 0; i < 64; i++) value[(unsigned char)digits[i]] = (signed char)i;
    while (size > 0 && s[size - 1] == '=') size--;
    uint32_t bits = 0, n_bits = 0;
    for (size_t i = 0; i < size; i++) {
        int v = value[(unsigned char)s[i]];
        if (v < 0) return GRAFT_EFORMAT;
        bits = bits << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        const char byte = (char)(bits >> n_bits & 0xff);
        graft_buf_append(out, &byte, 1);
    }
    return out->failed ? GRAFT_ENOMEM : 0;
}

static int read_precompiled(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    const graft_node *map;
    int rc = graft_node_text(n, "precompiled_charsmap", &map, t->origin, err);
    if (rc < 0) return rc;
    if (!map || !map->size) return 0; /* some files have an empty one, which changes nothing */
    graft_buf b;
    graft_buf_init(&b, 0);
    rc = base64(map->text, map->size, &b);
    if (rc == GRAFT_EFORMAT) rc = bad(t, "'precompiled_charsmap' is not base64", err);
    if (rc == GRAFT_ENOMEM) rc = graft_err_nomem(err);
    if (rc == 0)
        rc = graft_precompiled_read(graft_norm_add(t, GRAFT_NORM_PRECOMPILED), t->arena,
                                    (unsigned char *)b.data, b.size, t->origin, err);
    graft_buf_done(&b);
    return rc;
}

static int read_content(graft_tokenizer *t, graft_norm *norm, const graft_node *n, const char *key,
                        graft_err *err) {
    const graft_node *content;
    int rc = graft_node_text(n, key, &content, t->origin, err);
    if (rc == 0 && !content)
        rc = graft_err_set(err, GRAFT_EFORMAT, "%s: a normalizer without '%s'", t->origin, key);
    if (rc < 0) return rc;
    norm->content = content->text;
    norm->content_size = content->size;
    return 0;
}

static int read_norm(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    static const struct {
        const char *name;
        graft_norm_kind kind;
    } plain[] = {{"StripAccents", GRAFT_NORM_DROP_MARKS},
                 {"NFC", GRAFT_NORM_NFC},
                 {"NFD", GRAFT_NORM_NFD},
                 {"NFKC", GRAFT_NORM_NFKC},
                 {"NFKD", GRAFT_NORM_NFKD},
                 {"Lowercase", GRAFT_NORM_LOWERCASE},
                 {"Nmt", GRAFT_NORM_NMT},
                 {"ByteLevel", GRAFT_NORM_BYTES}};
    const graft_node *type = graft_node_get(n, "type");
    int rc;
    for (size_t i = 0; i < GRAFT_COUNT(plain); i++) {
        if (!graft_node_is_text(type, plain[i].name)) continue;
        graft_norm_add(t, plain[i].kind);
        return 0;
    }
    if (graft_node_is_text(type, "BertNormalizer")) return read_bert(t, n, err);
    if (graft_node_is_text(type, "Precompiled")) return read_precompiled(t, n, err);
    if (graft_node_is_text(type, "Prepend"))
        return read_content(t, graft_norm_add(t, GRAFT_NORM_PREPEND), n, "prepend", err);
    if (graft_node_is_text(type, "Strip")) {
        graft_norm *norm = graft_norm_add(t, GRAFT_NORM_STRIP);
        rc = graft_node_bool(n, "strip_left", true, &norm->left, t->origin, err);
        return rc < 0 ? rc : graft_node_bool(n, "strip_right", true, &norm->right, t->origin, err);
    }
    if (graft_node_is_text(type, "Replace")) {
        graft_norm *norm = graft_norm_add(t, GRAFT_NORM_REPLACE);
        rc = read_pattern(t, n, &norm->regex, &norm->pattern, &norm->pattern_size, err);
        return rc < 0 ? rc : read_content(t, norm, n, "content", err);
    }
    return graft_unsupported(t, "normalizer", type, err);
}

int graft_norms_read(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    if (!n) return 0;
    t->norms = graft_arena_array(t->arena, 5 * count_steps(n, "normalizers") + 5, sizeof *t->norms);
    if (!t->norms) return graft_err_nomem(err);
    return read_steps(t, n, "normalizers", read_norm, err);
}

/* ---- Pre-tokenizers ---- */

static int read_behaviour(const graft_tokenizer *t, const graft_node *n, graft_behaviour absent,
                          graft_behaviour *out, graft_err *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const graft_node *text = graft_node_get(n, "behavior");
    *out = absent;
    if (!text) return 0;
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        if (!graft_node_is_text(text, names[i])) continue;
        *out = (graft_behaviour)i;
        return 0;
    }
    return graft_unsupported(t, "behaviour of a pre-tokenizer", text, err);
}

static int read_point(const graft_tokenizer *t, const graft_node *n, const char *key, uint32_t absent,
                      uint32_t *out, graft_err *err) {
    const graft_node *text;
    int rc = graft_node_text(n, key, &text, t->origin, err);
    uint32_t size = 0;
    *out = absent;
    if (rc < 0 || (!text && absent)) return rc;
    if (text && text->size) *out = graft_utf8_get(text->text, &size);
    return text && size == text->size && size
               ? 0
               : graft_err_set(err, GRAFT_EFORMAT, "%s: '%s' must be one character", t->origin, key);
}

static int read_metaspace(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    graft_pre *p = graft_pre_add(t, GRAFT_PRE_METASPACE);
    const graft_node *scheme = graft_node_get(n, "prepend_scheme");
    bool prefix;
    int rc = read_point(t, n, "replacement", 0x2581, &p->point, err);
    if (rc == 0) rc = graft_node_bool(n, "add_prefix_space", true, &prefix, t->origin, err);
    if (rc == 0) rc = graft_node_bool(n, "split", true, &p->split, t->origin, err);
    if (rc < 0) return rc;
    p->prepend = prefix ? GRAFT_PREPEND_ALWAYS : GRAFT_PREPEND_NEVER;
    if (!scheme) return 0;
    p->prepend = graft_node_is_text(scheme, "always")  ? GRAFT_PREPEND_ALWAYS
                 : graft_node_is_text(scheme, "first") ? GRAFT_PREPEND_FIRST
                                                       : GRAFT_PREPEND_NEVER;
    if (p->prepend == GRAFT_PREPEND_NEVER && !graft_node_is_text(scheme, "never"))
        return graft_unsupported(t, "Metaspace prepend_scheme", scheme, err);
    return 0;
}

static int read_byte_level(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    graft_pre *p = graft_pre_add(t, GRAFT_PRE_BYTES);
    int rc = graft_node_bool(n, "add_prefix_space", true, &p->prefix_space, t->origin, err);
    return rc < 0 ? rc : graft_node_bool(n, "use_regex", true, &p->use_regex, t->origin, err);
}

static int read_split(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    graft_pre *p = graft_pre_add(t, GRAFT_PRE_SPLIT);
    int rc = read_pattern(t, n, &p->regex, &p->pattern, &p->pattern_size, err);
    if (rc == 0) rc = read_behaviour(t, n, GRAFT_SPLIT_REMOVED, &p->behaviour, err);
    return rc < 0 ? rc : graft_node_bool(n, "invert", false, &p->invert, t->origin, err);
}

static int read_pre(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    const graft_node *type = graft_node_get(n, "type");
    if (graft_node_is_text(type, "ByteLevel")) return read_byte_level(t, n, err);
    if (graft_node_is_text(type, "Metaspace")) return read_metaspace(t, n, err);
    if (graft_node_is_text(type, "Split")) return read_split(t, n, err);
    if (graft_node_is_text(type, "BertPreTokenizer")) return graft_pre_add(t, GRAFT_PRE_BERT), 0;
    if (graft_node_is_text(type, "Whitespace")) return graft_pre_add(t, GRAFT_PRE_WHITESPACE), 0;
    if (graft_node_is_text(type, "WhitespaceSplit")) return graft_pre_add(t, GRAFT_PRE_WHITESPACE_SPLIT), 0;
    if (graft_node_is_text(type, "UnicodeScripts")) return graft_pre_add(t, GRAFT_PRE_SCRIPTS), 0;
    if (graft_node_is_text(type, "Punctuation"))
        return read_behaviour(t, n, GRAFT_SPLIT_ISOLATED, &graft_pre_add(t, GRAFT_PRE_PUNCTUATION)->behaviour,
                              err);
    if (graft_node_is_text(type, "Digits"))
        return graft_node_bool(n, "individual_digits", false, &graft_pre_add(t, GRAFT_PRE_DIGITS)->individual,
                               t->origin, err);
    if (graft_node_is_text(type, "CharDelimiterSplit"))
        return read_point(t, n, "delimiter", 0, &graft_pre_add(t, GRAFT_PRE_DELIMITER)->point, err);
    if (graft_node_is_text(type, "FixedLength")) {
        int64_t length;
        int rc = graft_node_int(n, "length", 5, &length, t->origin, err);
        if (rc == 0 && (length < 1 || length > GRAFT_TEXT_MAX))
            rc = bad(t, "'length' of FixedLength is none", err);
        if (rc == 0) graft_pre_add(t, GRAFT_PRE_FIXED)->length = (uint32_t)length;
        return rc;
    }
    return graft_unsupported(t, "pre-tokenizer", type, err);
}

int graft_pres_read(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    if (!n) return 0;
    t->pres = graft_arena_array(t->arena, count_steps(n, "pretokenizers") + 1, sizeof *t->pres);
    if (!t->pres) return graft_err_nomem(err);
    return read_steps(t, n, "pretokenizers", read_pre, err);
}

/* ---- Added tokens ---- */

static int read_added(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    const graft_node *content;
    int64_t id;
    graft_added *a = &t->added[t->n_added];
    int rc;
    if ((rc = graft_node_text(n, "content", &content, t->origin, err)) < 0 ||
        (rc = graft_node_int(n, "id", -1, &id, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "single_word", false, &a->single_word, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "lstrip", false, &a->left, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "rstrip", false, &a->right, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "special", false, &a->special, t->origin, err)) < 0 ||
        (rc = graft_node_bool(n, "normalized", !a->special, &a->normalized, t->origin, err)) < 0)
        return rc;
    if (!content) return bad(t, "an added token without 'content'", err);
    if (!content->size) return 0; /* the reference ignores it too */
    int32_t known = graft_vocab_find(&t->vocab, content->text, content->size);
    if (id < 0 || id >= GRAFT_ID_MAX)
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: the added token '%s' has id %lld, which is out of range", t->origin,
                             content->text, (long long)id);
    if (known >= 0 && known != id)
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: the added token '%s' has id %lld, but %d in the vocabulary", t->origin,
                             content->text, (long long)id, (int)known);
    a->text = content->text;
    a->size = content->size;
    a->id = (int32_t)id;
    t->n_added++;
    return 0;
}

int graft_added_read(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    if (!n) return 0;
    if (n->type != GRAFT_NODE_LIST) return bad(t, "'added_tokens' must be a list", err);
    t->added = graft_arena_array(t->arena, n->size + 1, sizeof *t->added);
    if (!t->added) return graft_err_nomem(err);
    int rc = 0;
    for (const graft_node *m = graft_node_first(n); rc == 0 && m; m = graft_node_next(m))
        rc = read_added(t, m, err);
    return rc;
}

static int read_truncation(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    static const char *const names[] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
    const graft_node *strategy = graft_node_get(n, "strategy"), *direction = graft_node_get(n, "direction");
    if (!n) return 0;
    int rc = graft_node_int(n, "max_length", 0, &t->max_length, t->origin, err);
    if (rc == 0) rc = graft_node_int(n, "stride", 0, &t->stride, t->origin, err);
    if (rc < 0) return rc;
    if (t->max_length < 0 || t->stride < 0) return bad(t, "a negative number in 'truncation'", err);
    t->from_left = graft_node_is_text(direction, "Left");
    for (size_t i = 0; strategy && i <= GRAFT_COUNT(names); i++) {
        if (i == GRAFT_COUNT(names)) return graft_unsupported(t, "truncation strategy", strategy, err);
        if (!graft_node_is_text(strategy, names[i])) continue;
        t->strategy = i == 0 ? GRAFT_TRUNCATE_LONGEST : i == 1 ? GRAFT_TRUNCATE_FIRST : GRAFT_TRUNCATE_SECOND;
        break;
    }
    return 0;
}

int graft_stages_read(graft_tokenizer *t, const graft_node *root, graft_err *err) {
    int rc;
    if ((rc = graft_model_read(t, graft_node_get(root, "model"), err)) < 0 ||
        (rc = graft_added_read(t, graft_node_get(root, "added_tokens"), err)) < 0 ||
        (rc = graft_norms_read(t, graft_node_get(root, "normalizer"), err)) < 0 ||
        (rc = graft_post_read(t, graft_node_get(root, "post_processor"), err)) < 0)
        return rc;
    return read_truncation(t, graft_node_get(root, "truncation"), err);
}
