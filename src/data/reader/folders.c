/* Class folders: a folder a class, the class is the folder's name; all of them once more under train, val and
 * test where there are such. Pictures, or text files, may lie deeper in a class's folder. */
#include "data/reader.h"
#include <string.h>

/* 1 when an entry is a folder that counts, with its path in *full; 0 when not; negative: an error. */
static int is_folder(graft_arena *arena, const char *path, const char *name, char **full, graft_err *err) {
    *full = graft_path_join(arena, path, name);
    if (!*full) return graft_err_nomem(err);
    return name[0] != '.' && strcmp(name, "__MACOSX") != 0 && graft_path_is_dir(*full);
}

static int sniff(const graft_sniffed *s) {
    if (!s->is_dir) return 0;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return GRAFT_ENOMEM;
    int found = 0;
    for (size_t i = 0; i < s->n_names && found == 0; i++) {
        char *full;
        if (!graft_is_sample_name(s->names[i], s->modality))
            found = is_folder(arena, s->path, s->names[i], &full, NULL);
    }
    graft_arena_free(arena);
    return found > 0 ? 50 : found;
}

/* One folder whose folders are classes. Pictures beside them belong to no class. */
static int list_classes(graft_listing *out, const char *path, const char *relative, graft_part part,
                        int64_t *n_other, int64_t *n_loose, graft_err *err) {
    char **names, *full;
    size_t n;
    int rc = graft_dir_list(&names, &n, out->arena, path, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int found = is_folder(out->arena, path, names[i], &full, err);
        if (found < 0) return found;
        if (!found) {
            *n_loose += graft_is_sample_name(names[i], out->options->modality);
            continue;
        }
        size_t before = out->n_items;
        char *below = *relative ? graft_path_join(out->arena, relative, names[i]) : names[i];
        if (!below) return graft_err_nomem(err);
        rc = graft_listing_walk(out, full, below, names[i], part, n_other, err);
        if (rc == 0 && out->n_items == before)
            graft_env_log(out->env, GRAFT_LOG_WARNING, "the class folder '%s' holds no %s: left out", full,
                          graft_sample_kind(out->options->modality));
    }
    return rc;
}

static int has_folders(const graft_listing *l, const char *path, graft_err *err) {
    char **names, *full;
    size_t n;
    int found = graft_dir_list(&names, &n, l->arena, path, err);
    for (size_t i = 0; found == 0 && i < n; i++)
        if (!graft_is_sample_name(names[i], l->options->modality))
            found = is_folder(l->arena, path, names[i], &full, err);
    return found;
}

/* What an entry is: a part is called like one and holds folders, for a folder "train" of pictures alone may
 * well be a class of vehicles. */
typedef enum entry { NO_FOLDER, A_FOLDER, A_PART } entry;

static int entry_of(graft_listing *out, const char *path, const char *name, char **full, graft_part *part,
                    graft_err *err) {
    int found = is_folder(out->arena, path, name, full, err);
    if (found <= 0) return found < 0 ? found : NO_FOLDER;
    if (!graft_part_from_name(name, strlen(name), part)) return A_FOLDER;
    found = has_folders(out, *full, err);
    return found < 0 ? found : found ? A_PART : A_FOLDER;
}

/* The folder is divided when one of its folders is the part train, or all of them are parts. 1, 0 or an
 * error. */
static int is_divided(graft_listing *out, const char *path, char *const *names, size_t n, graft_err *err) {
    bool has_train = false, has_part = false, has_other = false;
    for (size_t i = 0; i < n; i++) {
        char *full;
        graft_part part;
        int is = entry_of(out, path, names[i], &full, &part, err);
        if (is < 0) return is;
        has_part = has_part || is == A_PART;
        has_train = has_train || (is == A_PART && part == GRAFT_TRAIN);
        has_other = has_other || is == A_FOLDER;
    }
    return has_train || (has_part && !has_other);
}

static int list_parts(graft_listing *out, const char *path, char *const *names, size_t n, graft_buf *said,
                      int64_t *n_other, int64_t *n_loose, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *full;
        graft_part part;
        int is = entry_of(out, path, names[i], &full, &part, err);
        if (is < 0) return is;
        if (is == A_FOLDER)
            graft_env_log(out->env, GRAFT_LOG_WARNING,
                          "the folder '%s' is no train, val or test with class folders in it: left out",
                          full);
        if (is != A_PART) continue;
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
    const char *kind = graft_sample_kind(out->options->modality);
    int rc = graft_dir_list(&names, &n, out->arena, path, err);
    int divided = rc == 0 ? is_divided(out, path, names, n, err) : rc;
    if (divided < 0)
        rc = divided;
    else if (divided) {
        graft_buf_text(&said, " under ");
        rc = list_parts(out, path, names, n, &said, &n_other, &n_loose, err);
    } else
        rc = list_classes(out, path, "", GRAFT_TRAIN, &n_other, &n_loose, err);
    if (rc == 0 && out->n_items == before)
        rc = graft_err_set(err, GRAFT_EDATA, "'%s' holds no %s in its class folders", path, kind);
    if (rc == 0 && n_loose)
        graft_env_log(out->env, GRAFT_LOG_WARNING,
                      "%s: %lld %s lie beside the class folders, not in one: left out", path,
                      (long long)n_loose, out->options->modality == GRAFT_TEXTS ? "text files" : "pictures");
    if (rc == 0 && n_other)
        graft_env_log(out->env, GRAFT_LOG_WARNING, "%s: %lld files are no %s: left out", path,
                      (long long)n_other, kind);
    if (rc == 0 && (said.failed || !(out->description = graft_arena_strdup(out->arena, said.data))))
        rc = graft_err_nomem(err);
    graft_buf_done(&said);
    return rc;
}

const graft_reader graft_reader_folders = {
    "folders", "a folder a class, with or without train/ val/ test/ above", sniff, list, GRAFT_READS_BOTH};
