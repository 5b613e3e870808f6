/* Which reader a path is for: each is shown the path, its first bytes or its names, and says how sure it is.
 */
#include "data/reader.h"
#include <string.h>

#define GRAFT_READER(name) &graft_reader_##name,
static const graft_reader *const readers[] = {
#include "data/reader/list.h"
};
#undef GRAFT_READER

static int by_name(const graft_reader **out, const char *format, graft_err *err) {
    char known[256] = "";
    for (size_t i = 0; i < GRAFT_COUNT(readers); i++) {
        if (strcmp(readers[i]->name, format) == 0) {
            *out = readers[i];
            return 0;
        }
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", readers[i]->name);
    }
    return graft_err_set(err, GRAFT_EUSAGE, "unknown data format '%s', one of: %s", format, known);
}

int graft_sniff(const graft_reader **out, const char *path, const char *format, graft_label_use labels,
                graft_err *err) {
    if (format) return by_name(out, format, err);
    graft_sniffed s = {.path = path, .labels = labels, .is_dir = graft_path_is_dir(path)};
    unsigned char head[512];
    graft_arena *arena = NULL;
    int rc = 0, best = 0;
    if (s.is_dir) {
        char **names;
        if (!(arena = graft_arena_new(NULL))) return graft_err_nomem(err);
        if ((rc = graft_dir_list(&names, &s.n_names, arena, path, err)) < 0) goto done;
        s.names = names;
    } else {
        /* one of several pictures that cannot be opened becomes a bad sample, as one that cannot be decoded
         */
        FILE *f = fopen(path, "rbe");
        bool is_sample = labels == GRAFT_LABELS_IGNORED && graft_is_picture_name(path);
        if (!f && !is_sample) return graft_err_errno(err, "open", path);
        if (f) s.head_size = fread(head, 1, sizeof head, f);
        s.head = head;
        bool failed = f && ferror(f) != 0;
        if (failed) rc = graft_err_errno(err, "read", path);
        if (f) fclose(f);
        if (failed) return rc;
    }
    *out = NULL;
    for (size_t i = 0; i < GRAFT_COUNT(readers); i++) {
        int sure = readers[i]->sniff(&s);
        if (sure < 0) {
            rc = graft_err_nomem(err);
            goto done;
        }
        if (sure <= best) continue;
        best = sure;
        *out = readers[i];
    }
    if (*out) goto done;
    if (s.is_dir)
        rc = graft_err_set(
            err, GRAFT_EDATA,
            "'%s' holds nothing that graft reads: give a folder with one folder of pictures (JPEG, "
            "PNG, WebP) a class, a table or an array file",
            path);
    else if (s.head_size == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "'%s' is empty", path);
    else
        rc = graft_err_set(
            err, GRAFT_EFORMAT,
            "'%s' is no data that graft reads: pictures (JPEG, PNG, WebP), CSV, TSV or JSON lines with "
            "a header, IDX, NPY or NPZ",
            path);
done:
    graft_arena_free(arena);
    return rc;
}
