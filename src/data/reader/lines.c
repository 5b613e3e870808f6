/* Texts without labels: a file with a text a line, or a folder of text files, each of them one text. */
#include "data/text_lines.h"
#include <string.h>

int graft_lines_parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                      graft_err *err) {
    char *at = text, *end = text + size, *from;
    size_t line = 0;
    while (at < end) {
        size_t n = graft_line_next(&at, end, &from);
        graft_found f = {.path = origin,
                         .relative = graft_path_name(origin),
                         .row = (int64_t)++line,
                         .source = -1,
                         .part = part};
        f.text = (graft_text){.text = from, .size = n};
        f.origin = graft_arena_printf(l->arena, "%s, line %zu", origin, line);
        if (!f.origin) return graft_err_nomem(err);
        int rc = graft_listing_add_text(l, &f, err);
        if (rc < 0) return rc;
    }
    return line ? 0 : graft_err_set(err, GRAFT_EDATA, "%s is empty", origin);
}

static int sniff(const graft_sniffed *s) {
    if (!s->is_dir) {
        bool is_text = graft_has_extension(s->path, "txt") || !*graft_path_extension(s->path);
        return !is_text || s->head_size == 0 ? 0 : s->labels == GRAFT_LABELS_IGNORED ? 40 : 20;
    }
    bool has_texts = false, has_parts = false;
    graft_part part;
    for (size_t i = 0; i < s->n_names; i++) {
        bool is_text = graft_is_sample_name(s->names[i], GRAFT_TEXTS);
        has_texts = has_texts || is_text;
        has_parts = has_parts || (is_text && graft_part_from_file(s->names[i], &part));
    }
    if (s->labels != GRAFT_LABELS_IGNORED) return has_texts ? 20 : 0;
    return has_texts && !has_parts ? 60 : 30;
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    if (!graft_path_is_dir(path))
        return graft_lines_list(out, path, GRAFT_TRAIN, graft_lines_parse, "a text a line, without labels",
                                err);
    int64_t n_other = 0;
    size_t before = out->n_items;
    int rc = graft_listing_walk(out, path, "", NULL, GRAFT_TRAIN, &n_other, err);
    if (rc < 0) return rc;
    if (out->n_items == before)
        return graft_err_set(err, GRAFT_EDATA, "'%s' holds no text file (.txt)", path);
    if (n_other)
        graft_env_log(out->env, GRAFT_LOG_WARNING, "%s: %lld files are no text files (.txt): left out", path,
                      (long long)n_other);
    out->description = graft_arena_strdup(out->arena, "text files without labels");
    return out->description ? 0 : graft_err_nomem(err);
}

const graft_reader graft_reader_lines = {"lines", "a text a line, or a folder of text files, without labels",
                                         sniff, list, GRAFT_READS_TEXTS};
