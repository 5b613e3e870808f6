/* Opening from bytes, and what can be asked of an open tokenizer. */
#include "model/tokenizer/token_private.h"
#include <string.h>

int graft_tokenizer_new(graft_tokenizer **out, const char *origin, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tokenizer *t = arena ? graft_arena_alloc(arena, sizeof *t) : NULL;
    *out = t;
    if (!t) {
        graft_arena_free(arena);
        return graft_err_nomem(err);
    }
    t->arena = arena;
    t->origin = graft_arena_strdup(arena, origin);
    t->flags = graft_unicode_table(arena);
    t->unknown = t->pad = -1;
    if (t->origin && t->flags) return 0;
    graft_tokenizer_close(t);
    *out = NULL;
    return graft_err_nomem(err);
}

void graft_tokenizer_close(graft_tokenizer *t) {
    if (t) graft_arena_free(t->arena);
}

/* Added tokens get their place among the texts. */
static int join_added(graft_tokenizer *t, graft_err *err) {
    size_t n = t->n_texts;
    for (size_t i = 0; i < t->n_added; i++)
        if ((size_t)t->added[i].id >= n) n = (size_t)t->added[i].id + 1;
    if (n == t->n_texts && !t->n_added) return 0;
    graft_vocab_text *texts = graft_arena_array(t->arena, n, sizeof *texts);
    if (!texts) return graft_err_nomem(err);
    if (t->n_texts) memcpy(texts, t->texts, t->n_texts * sizeof *texts);
    for (size_t i = 0; i < t->n_added; i++) {
        const graft_added *a = &t->added[i];
        graft_vocab_text *x = &texts[a->id];
        if (x->text && (x->size != a->size || memcmp(x->text, a->text, a->size) != 0))
            return graft_err_set(err, GRAFT_EFORMAT, "%s: the tokens '%s' and '%s' have one id, %d",
                                 t->origin, x->text, a->text, (int)a->id);
        *x = (graft_vocab_text){a->text, a->size};
    }
    t->texts = texts;
    t->n_texts = n;
    return 0;
}

/* What texts that are all ASCII can skip. */
static void judge_ascii(graft_tokenizer *t) {
    static const graft_norm_kind bert[] = {GRAFT_NORM_CLEAN, GRAFT_NORM_CHINESE, GRAFT_NORM_NFD,
                                           GRAFT_NORM_DROP_NONSPACING, GRAFT_NORM_LOWERCASE};
    size_t at = 0;
    bool clean = false, lower = false;
    t->ascii_lower = t->ascii_keeps = t->n_norms > 0;
    for (size_t i = 0; i < t->n_norms; i++) {
        graft_norm_kind k = t->norms[i].kind;
        while (at < GRAFT_COUNT(bert) && bert[at] != k) at++;
        clean |= k == GRAFT_NORM_CLEAN;
        lower |= k == GRAFT_NORM_LOWERCASE;
        if (k < GRAFT_NORM_NFC || k > GRAFT_NORM_NFKD) t->ascii_keeps = false;
    }
    t->ascii_lower &= at < GRAFT_COUNT(bert) && clean && lower;
}

static int count_spaces(graft_tokenizer *t, graft_err *err) {
    if (!t->post.trim) return 0;
    t->spaces = graft_arena_array(t->arena, t->n_texts, sizeof *t->spaces);
    if (!t->spaces) return graft_err_nomem(err);
    for (size_t i = 0; i < t->n_texts; i++) {
        const graft_vocab_text *x = &t->texts[i];
        bool leading = true;
        uint16_t run = 0;
        uint32_t n;
        for (uint32_t k = 0; x->text && k < x->size; k += n) {
            uint32_t c = graft_utf8_get(x->text + k, &n);
            bool blank = c == 0x120 || (graft_unicode_flags(t->flags, c) & GRAFT_UNI_SPACE);
            run = blank ? (uint16_t)(run + (run < UINT16_MAX)) : 0;
            leading &= blank;
            if (leading) t->spaces[i][0] = run;
        }
        t->spaces[i][1] = run;
    }
    return 0;
}

static void find_pad(graft_tokenizer *t) {
    static const char *const names[] = {"[PAD]", "<pad>", "<|pad|>", "<PAD>"};
    for (size_t i = 0; i < GRAFT_COUNT(names) && t->pad < 0; i++) t->pad = graft_tokenizer_id(t, names[i]);
}

static int check_post(const graft_tokenizer *t, graft_err *err) {
    for (int which = 0; which < 2; which++) {
        for (size_t i = 0; i < t->post.n_pieces[which]; i++) {
            const graft_post_piece *p = &t->post.pieces[which][i];
            if (p->sequence < 0 && !graft_tokenizer_token(t, p->id))
                return graft_err_set(err, GRAFT_EFORMAT,
                                     "%s: the post-processor adds token %d, which there is not", t->origin,
                                     (int)p->id);
        }
    }
    return 0;
}

int graft_tokenizer_finish(graft_tokenizer *t, graft_err *err) {
    int rc = join_added(t, err);
    if (rc == 0) rc = check_post(t, err);
    if (rc == 0) rc = count_spaces(t, err);
    if (rc == 0 && t->post.trim && t->kind == GRAFT_MODEL_UNIGRAM)
        rc = graft_err_set(err, GRAFT_EUNSUPPORTED,
                           "%s: trimmed offsets with a Unigram model are not supported", t->origin);
    judge_ascii(t);
    find_pad(t);
    return rc < 0 ? rc : graft_added_build(t, err);
}

/* Byte-level splitting right before BPE: the model then reads bytes and needs no characters for them. */
static void keep_bytes(graft_tokenizer *t, const graft_node *model) {
    graft_pre *last = t->n_pres ? &t->pres[t->n_pres - 1] : NULL;
    const graft_node *prefix = graft_node_get(model, "continuing_subword_prefix");
    const graft_node *suffix = graft_node_get(model, "end_of_word_suffix"),
                     *type = graft_node_get(model, "type");
    bool bpe = type ? graft_node_is_text(type, "BPE") : graft_node_get(model, "merges") != NULL;
    bool affixes = (prefix && prefix->size) || (suffix && suffix->size);
    if (!last || last->kind != GRAFT_PRE_BYTES || !bpe || affixes) return;
    if (graft_node_get(model, "byte_fallback") &&
        graft_node_get(model, "byte_fallback")->type == GRAFT_NODE_TRUE)
        return;
    last->keep_bytes = true;
    t->bpe.raw = true;
}

static int read_root(graft_tokenizer *t, const graft_node *root, graft_err *err) {
    int rc = graft_pres_read(t, graft_node_get(root, "pre_tokenizer"), err);
    if (rc < 0) return rc;
    keep_bytes(t, graft_node_get(root, "model"));
    rc = graft_stages_read(t, root, err);
    return rc < 0 ? rc : graft_tokenizer_finish(t, err);
}

int graft_tokenizer_parse(graft_tokenizer **out, const char *json, size_t size, const char *origin,
                          graft_err *err) {
    graft_tokenizer *t;
    const graft_node *root;
    *out = NULL;
    size_t valid = graft_utf8_valid(json, size, NULL);
    if (valid < size)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: byte %zu (0x%02x) is not UTF-8", origin, valid,
                             (unsigned char)json[valid]);
    int rc = graft_tokenizer_new(&t, origin, err);
    if (rc < 0) return rc;
    t->hash = graft_hash_bytes(json, size);
    char *copy = graft_arena_alloc(t->arena, size + 1);
    if (copy && size) memcpy(copy, json, size);
    rc = copy ? graft_node_parse(&root, t->arena, copy, size, t->origin, err) : graft_err_nomem(err);
    if (rc == 0) rc = read_root(t, root, err);
    if (rc < 0)
        graft_tokenizer_close(t);
    else
        *out = t;
    return rc;
}

size_t graft_tokenizer_size(const graft_tokenizer *t) {
    return t->n_texts;
}

const char *graft_tokenizer_token(const graft_tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n_texts ? t->texts[id].text : NULL;
}

int32_t graft_tokenizer_id(const graft_tokenizer *t, const char *token) {
    size_t size = strlen(token);
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].size == size && memcmp(t->added[i].text, token, size) == 0) return t->added[i].id;
    return graft_vocab_find(&t->vocab, token, size);
}

int32_t graft_tokenizer_unknown(const graft_tokenizer *t) {
    return t->unknown;
}

int32_t graft_tokenizer_special(const graft_tokenizer *t, size_t i, size_t *n) {
    *n = t->n_added;
    return i < t->n_added && t->added[i].special ? t->added[i].id : -1;
}

const graft_post_piece *graft_tokenizer_template(const graft_tokenizer *t, bool pair, size_t *n) {
    *n = t->post.n_pieces[pair];
    return t->post.pieces[pair];
}

int32_t graft_tokenizer_pad(const graft_tokenizer *t) {
    return t->pad;
}

int64_t graft_tokenizer_max_length(const graft_tokenizer *t) {
    if (!t->max_length || !t->config_length) return t->max_length + t->config_length;
    return t->max_length < t->config_length ? t->max_length : t->config_length;
}

graft_hash graft_tokenizer_hash(const graft_tokenizer *t) {
    return t->hash;
}
