/* The post-processor of a tokenizer.json, as two lists of pieces: for one text and for a pair. */
#include "model/tokenizer/token_private.h"
#include <string.h>

enum { PIECES_MAX = 4096 };

static int bad(const graft_tokenizer *t, const char *what, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %s", t->origin, what);
}

static int set_pieces(graft_tokenizer *t, int which, const graft_post_piece *pieces, size_t n,
                      graft_err *err) {
    graft_post *p = &t->post;
    p->pieces[which] = graft_arena_array(t->arena, n, sizeof *pieces);
    if (!p->pieces[which]) return graft_err_nomem(err);
    if (n) memcpy(p->pieces[which], pieces, n * sizeof *pieces);
    p->n_pieces[which] = n;
    p->n_special[which] = 0;
    for (size_t i = 0; i < n; i++) p->n_special[which] += pieces[i].sequence < 0;
    return 0;
}

/* ["[SEP]", 102] */
static int read_pair(const graft_tokenizer *t, const graft_node *n, const char *key, int32_t *id,
                     graft_err *err) {
    const graft_node *pair = graft_node_get(n, key), *text = graft_node_first(pair);
    int64_t value = -1;
    bool ok = pair && pair->type == GRAFT_NODE_LIST && pair->size == 2 && text->type == GRAFT_NODE_TEXT &&
              graft_node_to_int(graft_node_next(text), &value) && value >= 0 && value < GRAFT_ID_MAX;
    *id = (int32_t)value;
    return ok ? 0
              : graft_err_set(err, GRAFT_EFORMAT, "%s: '%s' of the post-processor must be a token and its id",
                              t->origin, key);
}

static int read_fixed(graft_tokenizer *t, const graft_node *n, bool roberta, graft_err *err) {
    int32_t cls, sep;
    int rc = read_pair(t, n, "cls", &cls, err);
    if (rc == 0) rc = read_pair(t, n, "sep", &sep, err);
    if (rc < 0) return rc;
    const graft_post_piece one[] = {{-1, cls, 0}, {0, 0, 0}, {-1, sep, 0}};
    const graft_post_piece bert[] = {{-1, cls, 0}, {0, 0, 0}, {-1, sep, 0}, {1, 0, 1}, {-1, sep, 1}};
    const graft_post_piece two[] = {{-1, cls, 0}, {0, 0, 0}, {-1, sep, 0},
                                    {-1, sep, 0}, {1, 0, 0}, {-1, sep, 0}};
    rc = set_pieces(t, 0, one, GRAFT_COUNT(one), err);
    if (rc < 0) return rc;
    t->post.template = true;
    return roberta ? set_pieces(t, 1, two, GRAFT_COUNT(two), err)
                   : set_pieces(t, 1, bert, GRAFT_COUNT(bert), err);
}

/* The ids that a special token of a template stands for. */
static int add_special(const graft_tokenizer *t, const graft_node *tokens, const graft_node *name,
                       int32_t type, graft_post_piece *pieces, size_t *n, graft_err *err) {
    const graft_node *token = graft_node_get(tokens, name->text), *ids = graft_node_get(token, "ids");
    if (!ids || ids->type != GRAFT_NODE_LIST)
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: the template's special token '%s' is not among its special_tokens",
                             t->origin, name->text);
    for (const graft_node *m = graft_node_first(ids); m; m = graft_node_next(m)) {
        int64_t id;
        if (!graft_node_to_int(m, &id) || id < 0 || id >= GRAFT_ID_MAX)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: the template's special token '%s' has an id out of range", t->origin,
                                 name->text);
        if (*n == PIECES_MAX) return bad(t, "a template of too many pieces", err);
        pieces[(*n)++] = (graft_post_piece){-1, (int32_t)id, type};
    }
    return 0;
}

static int add_piece(const graft_tokenizer *t, const graft_node *tokens, const graft_node *m,
                     graft_post_piece *pieces, size_t *n, graft_err *err) {
    const graft_node *sequence = graft_node_get(m, "Sequence"), *special = graft_node_get(m, "SpecialToken");
    const graft_node *of = sequence ? sequence : special, *id = graft_node_get(of, "id");
    int64_t type;
    int rc = graft_node_int(of, "type_id", 0, &type, t->origin, err);
    if (rc < 0) return rc;
    if (!id || id->type != GRAFT_NODE_TEXT || type < 0 || type > INT32_MAX || *n == PIECES_MAX)
        return bad(t, "a piece of the template is none", err);
    if (special) return add_special(t, tokens, id, (int32_t)type, pieces, n, err);
    bool b = graft_node_is_text(id, "B");
    if (!b && !graft_node_is_text(id, "A"))
        return bad(t, "a sequence of the template is neither A nor B", err);
    pieces[(*n)++] = (graft_post_piece){b, 0, (int32_t)type};
    return 0;
}

static int read_template(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    static const char *const keys[] = {"single", "pair"};
    graft_post_piece *all = graft_arena_array(t->arena, PIECES_MAX, sizeof *all);
    if (!all) return graft_err_nomem(err);
    t->post.template = true;
    for (int which = 0; which < 2; which++) {
        const graft_node *list = graft_node_get(n, keys[which]);
        size_t count = 0;
        int rc = 0;
        if (!list && which == 1) return 0; /* older files: pairs as without a template */
        if (!list || list->type != GRAFT_NODE_LIST) return bad(t, "a template must be a list of pieces", err);
        for (const graft_node *m = graft_node_first(list); rc == 0 && m; m = graft_node_next(m))
            rc = add_piece(t, graft_node_get(n, "special_tokens"), m, all, &count, err);
        for (size_t i = 0; rc == 0 && which == 0 && i < count; i++)
            if (all[i].sequence == 1) rc = bad(t, "the template for one text speaks of a second", err);
        if (rc == 0) rc = set_pieces(t, which, all, count, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int read_post(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    const graft_node *type = graft_node_get(n, "type");
    if (graft_node_is_text(type, "Sequence")) {
        const graft_node *members = graft_node_get(n, "processors");
        int rc = 0;
        for (const graft_node *m = graft_node_first(members); rc == 0 && m; m = graft_node_next(m))
            rc = read_post(t, m, err);
        return rc;
    }
    bool roberta = graft_node_is_text(type, "RobertaProcessing"),
         bytes = graft_node_is_text(type, "ByteLevel");
    bool bert = graft_node_is_text(type, "BertProcessing"),
         template = graft_node_is_text(type, "TemplateProcessing");
    if (!roberta && !bytes && !bert && !template) return graft_unsupported(t, "post-processor", type, err);
    if (t->post.template && !bytes) return graft_unsupported(t, "second post-processor", type, err);
    if (roberta || bytes) {
        bool trims;
        int rc = graft_node_bool(n, "trim_offsets", true, &trims, t->origin, err);
        if (rc == 0 && trims && t->post.trim)
            return graft_unsupported(t, "second trimming of offsets by", type, err);
        if (rc == 0 && trims)
            rc = graft_node_bool(n, "add_prefix_space", true, &t->post.prefix_space, t->origin, err);
        if (rc < 0) return rc;
        t->post.trim |= trims;
        if (bytes) return 0;
    }
    return template ? read_template(t, n, err) : read_fixed(t, n, roberta, err);
}

int graft_post_read(graft_tokenizer *t, const graft_node *n, graft_err *err) {
    static const graft_post_piece plain[] = {{0, 0, 0}, {1, 0, 1}};
    int rc = set_pieces(t, 0, plain, 1, err);
    if (rc == 0) rc = set_pieces(t, 1, plain, 2, err);
    if (rc < 0 || !n) return rc;
    return read_post(t, n, err);
}
