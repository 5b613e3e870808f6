/* Class folders: a folder a class, the class is the folder's name; all of them once more under train, val and
 * test where there are such. Pictures may lie deeper in a class's folder. */
#include "data/reader.h"
#include <string.h>

static bool is_folder(graft_arena *arena, const char *path, const char *name, char **full) {
    *full = graft_path_join(arena, path, name);
    return *full && name[0] != '.' && strcmp(name, "__MACOSX") != 0 && graft_path_is_dir(*full);
}

static int sniff(const graft_sniffed *s) {
    if (!s->is_dir) return 0;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return 0;
    int sure = 0;
    for (size_t i = 0; i < s->n_names && !sure; i++) {
        char *full;
        if (!graft_is_picture_name(s->names[i]) && is_folder(arena, s->path, s->names[i], &full)) sure = 50;
    }
    graft_arena_free(arena);
    return sure;
}

/* One folder whose folders are classes. Pictures beside them belong to no class. */
static int list_classes(graft_listing *out, const char *path, const char *relative, graft_part part,
                        int64_t *n_other, int64_t *n_loose, graft_err *err) {
    char **names, *full;
    size_t n;
    int rc = graft_dir_list(&names, &n, out->arena, path, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!is_folder(out->arena, path, names[i], &full)) {
            if (graft_is_picture_name(names[i])) ++*n_loose;
            continue;
        }
        size_t before = out->n_items;
        char *below = *relative ? graft_path_join(out->arena, relative, names[i]) : names[i];
        if (!below) return graft_err_nomem(err);
        rc = graft_listing_walk(out, full, below, names[i], part, n_other, err);
        if (rc == 0 && out->n_items == before)
            graft_env_log(out->env, GRAFT_LOG_WARNING, "the class folder '%s' holds no picture: left out",
                          full);
    }
    return rc;
}

static bool has_folders(graft_arena *arena, const char *path) {
    char **names, *full;
    size_t n;
    if (graft_dir_list(&names, &n, arena, path, NULL) < 0) return false;
    for (size_t i = 0; i < n; i++)
        if (!graft_is_picture_name(names[i]) && is_folder(arena, path, names[i], &full)) return true;
    return false;
}

/* A part is called like one and holds folders; a folder "train" of pictures alone may well be a class of
 * vehicles. */
static bool is_part(graft_listing *out, const char *path, const char *name, char **full, graft_part *part) {
    return graft_part_from_name(name, strlen(name), part) && is_folder(out->arena, path, name, full) &&
           has_folders(out->arena, *full);
}

/* The folder is divided when one of its folders is the part train, or all of them are parts. */
static bool is_divided(graft_listing *out, const char *path, char *const *names, size_t n) {
    bool has_train = false, has_part = false, has_other = false;
    for (size_t i = 0; i < n; i++) {
        char *full;
        graft_part part;
        if (is_part(out, path, names[i], &full, &part)) {
            has_part = true;
            has_train = has_train || part == GRAFT_TRAIN;
        } else if (is_folder(out->arena, path, names[i], &full))
            has_other = true;
    }
    return has_train || (has_part && !has_other);
}

static int list_parts(graft_listing *out, const char *path, char *const *names, size_t n, graft_buf *said,
                      int64_t *n_other, int64_t *n_loose, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *full;
        graft_part part;
        if (!is_part(out, path, names[i], &full, &part)) {
            if (is_folder(out->arena, path, names[i], &full))
                graft_env_log(out->env, GRAFT_LOG_WARNING,
                              "the folder '%s' is no train, val or test with class folders in it: left out",
                              full);
            continue;
        }
        size_t before = out->n_items;
        rc = list_classes(out, full, names[i], part, n_other, n_loose, err);
        if (out->n_items == before) continue;
        bool first =
            !out->part_given[GRAFT_TRAIN] && !out->part_given[GRAFT_VAL] && !out->part_given[GRAFT_TEST];
        graft_buf_printf(said, "%s%s", first ? "" : ", ", names[i]);
        out->part_given[part] = true;
    }
    return rc;
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    char **names;
    size_t n, before = out->n_items;
    int64_t n_other = 0, n_loose = 0;
    graft_buf said;
    graft_buf_init(&said, 0);
    graft_buf_text(&said, "class folders");
    int rc = graft_dir_list(&names, &n, out->arena, path, err);
    if (rc == 0 && is_divided(out, path, names, n)) {
        graft_buf_text(&said, " under ");
        rc = list_parts(out, path, names, n, &said, &n_other, &n_loose, err);
    } else if (rc == 0)
        rc = list_classes(out, path, "", GRAFT_TRAIN, &n_other, &n_loose, err);
    if (rc == 0 && out->n_items == before)
        rc = graft_err_set(err, GRAFT_EDATA,
                           "'%s' holds no picture that graft reads (JPEG, PNG, WebP) in its class folders",
                           path);
    if (rc == 0 && n_loose)
        graft_env_log(out->env, GRAFT_LOG_WARNING,
                      "%s: %lld pictures lie beside the class folders, not in one: left out", path,
                      (long long)n_loose);
    if (rc == 0 && n_other)
        graft_env_log(out->env, GRAFT_LOG_WARNING,
                      "%s: %lld files are no pictures that graft reads: left out", path, (long long)n_other);
    if (rc == 0 && (said.failed || !(out->description = graft_arena_strdup(out->arena, said.data))))
        rc = graft_err_nomem(err);
    graft_buf_done(&said);
    return rc;
}

const graft_reader graft_reader_folders = {
    "folders", "a folder a class, with or without train/ val/ test/ above", sniff, list};
