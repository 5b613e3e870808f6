/* Lines as the fastText program reads them for classification (Joulin et al., 2017, arXiv 1607.01759): each
 * begins with its labels, words that begin with "__label__". A label further on in a line is left in the
 * text. */
#include "data/text_lines.h"
#include <string.h>

static const char prefix[] = "__label__";
enum { PREFIX = sizeof prefix - 1 };

static bool is_label(const char *at, const char *end) {
    return end - at > PREFIX && memcmp(at, prefix, PREFIX) == 0 && !graft_is_blank(at + PREFIX, 1);
}

/* The labels in front, with separators between them, and the rest of the line. */
static int take_labels(graft_listing *l, char **at, const char *end, const char **label, graft_err *err) {
    static const char between[] = {GRAFT_LABEL_SEPARATOR, '\0'};
    graft_buf b;
    graft_buf_init(&b, 0);
    *label = NULL;
    while (*at < end && is_label(*at, end)) {
        char *from = *at + PREFIX, *to = from;
        while (to < end && !graft_is_blank(to, 1)) to++;
        if (b.size) graft_buf_text(&b, between);
        graft_buf_append(&b, from, (size_t)(to - from));
        *at = to;
        while (*at < end && graft_is_blank(*at, 1)) ++*at;
    }
    int rc = 0;
    if (b.size && !b.failed) *label = graft_arena_strdup(l->arena, b.data);
    if (b.failed || (b.size && !*label)) rc = graft_err_nomem(err);
    graft_buf_done(&b);
    return rc;
}

int graft_fasttext_parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                         graft_err *err) {
    char *at = text, *end = text + size, *from;
    size_t line = 0, before = l->n_items;
    while (at < end) {
        size_t n = graft_line_next(&at, end, &from);
        line++;
        if (graft_is_blank(from, n)) continue;
        graft_found f = {.path = origin,
                         .relative = graft_path_name(origin),
                         .row = (int64_t)line,
                         .source = -1,
                         .part = part};
        char *body = from;
        int rc = take_labels(l, &body, from + n, &f.label, err);
        if (rc < 0) return rc;
        f.text = (graft_text){.text = body, .size = n - (size_t)(body - from)};
        f.origin = graft_arena_printf(l->arena, "%s, line %zu", origin, line);
        if (!f.origin) return graft_err_nomem(err);
        if ((rc = graft_listing_add_text(l, &f, err)) < 0) return rc;
    }
    return l->n_items > before ? 0 : graft_err_set(err, GRAFT_EDATA, "%s holds no line", origin);
}

static int list_file(graft_listing *l, const char *path, graft_part part, graft_err *err) {
    return graft_lines_list(l, path, part, graft_fasttext_parse, "lines with __label__ in front", err);
}

static bool begins_with_label(const unsigned char *head, size_t size) {
    const char *at = (const char *)head, *end = at + size;
    if (size >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0) at += 3;
    while (at < end && graft_is_blank(at, 1)) at++;
    return at < end && is_label(at, end);
}

static bool is_mine(const char *name) {
    return graft_has_extension(name, "txt") || graft_has_extension(name, "ft") ||
           graft_has_extension(name, "fasttext");
}

static int sniff(const graft_sniffed *s) {
    unsigned char head[512];
    size_t size = sizeof head;
    if (!s->is_dir) return begins_with_label(s->head, s->head_size) ? 96 : 0;
    if (graft_lines_head(s, is_mine, head, &size) < 0) return GRAFT_ENOMEM;
    return begins_with_label(head, size) ? 86 : 0;
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    if (!graft_path_is_dir(path)) return list_file(out, path, GRAFT_TRAIN, err);
    return graft_listing_parts(out, path, is_mine, list_file, err);
}

const graft_reader graft_reader_fasttext = {"fasttext", "lines of text with __label__x in front", sniff, list,
                                            GRAFT_READS_TEXTS};
