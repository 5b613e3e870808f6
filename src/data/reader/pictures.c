/* Pictures without labels: one file, or every picture below a folder in the order of their paths. */
#include "data/reader.h"

static int sniff(const graft_sniffed *s) {
    if (!s->is_dir)
        return graft_is_picture_head(s->head, s->head_size) ? 95 : graft_is_picture_name(s->path) ? 70 : 0;
    if (s->labels == GRAFT_LABELS_IGNORED) return 60;
    for (size_t i = 0; i < s->n_names; i++)
        if (graft_is_picture_name(s->names[i])) return 40;
    return 0;
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    size_t before = out->n_items;
    if (!graft_path_is_dir(path)) {
        graft_found found = {
            .path = path, .relative = graft_path_name(path), .row = -1, .source = -1, .part = GRAFT_TRAIN};
        out->description = graft_arena_strdup(out->arena, "one picture");
        if (!out->description) return graft_err_nomem(err);
        return graft_listing_add(out, &found, err);
    }
    int64_t n_other = 0;
    int rc = graft_listing_walk(out, path, "", NULL, GRAFT_TRAIN, &n_other, err);
    if (rc < 0) return rc;
    if (out->n_items == before)
        return graft_err_set(err, GRAFT_EDATA, "'%s' holds no pictures that graft reads (JPEG, PNG, WebP)",
                             path);
    if (n_other)
        graft_env_log(out->env, GRAFT_LOG_WARNING,
                      "%s: %lld files are no pictures that graft reads: left out", path, (long long)n_other);
    out->description = graft_arena_strdup(out->arena, "pictures without labels");
    return out->description ? 0 : graft_err_nomem(err);
}

const graft_reader graft_reader_pictures = {"pictures", "a picture, or a folder of them, without labels",
                                            sniff, list, GRAFT_READS_PICTURES};
