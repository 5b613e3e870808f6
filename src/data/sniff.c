/* Which reader a path is for: each is shown the path, its first bytes or its names, and says how sure it is.
 */
#include "data/reader.h"
#include <string.h>

#define GRAFT_READER(name) &graft_reader_##name,
static const graft_reader *const readers[] = {
#include "data/reader/list.h"
};
#undef GRAFT_READER

static int by_name(const graft_reader **out, const char *format, unsigned reads, graft_err *err) {
    char known[256] = "";
    for (size_t i = 0; i < GRAFT_COUNT(readers); i++) {
        if (!(readers[i]->reads & reads)) continue;
        if (strcmp(readers[i]->name, format) == 0) {
            *out = readers[i];
            return 0;
        }
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", readers[i]->name);
    }
    return graft_err_set(err, GRAFT_EUSAGE, "unknown data format '%s', one of: %s", format, known);
}

static int find_nothing(const graft_sniffed *s, graft_err *err) {
    bool texts = s->modality == GRAFT_TEXTS;
    if (s->is_dir)
        return graft_err_set(
            err, GRAFT_EDATA,
            "'%s' holds nothing that graft reads: give a folder with one folder of %s a class, %s", s->path,
            texts ? "text files (.txt)" : "pictures (JPEG, PNG, WebP)",
            texts ? "a table, or train.tsv, dev.tsv and test.tsv (or .csv, .jsonl, .conll) in one folder"
                  : "a table or an array file");
    if (s->head_size == 0) return graft_err_set(err, GRAFT_EDATA, "'%s' is empty", s->path);
    return graft_err_set(
        err, GRAFT_EFORMAT, "'%s' is no data that graft reads: %s", s->path,
        texts ? "CSV, TSV or JSON lines with a column of texts, CoNLL columns, __label__ lines; and "
                "lines of text where no labels are needed"
              : "pictures (JPEG, PNG, WebP), CSV, TSV or JSON lines with a header, IDX, NPY or NPZ");
}

int graft_sniff(const graft_reader **out, const char *path, const graft_data_options *o, graft_err *err) {
    const unsigned reads = o->modality == GRAFT_TEXTS ? GRAFT_READS_TEXTS : GRAFT_READS_PICTURES;
    graft_label_use labels = o->labels;
    if (o->format) return by_name(out, o->format, reads, err);
    graft_sniffed s = {
        .path = path, .labels = labels, .is_dir = graft_path_is_dir(path), .modality = o->modality};
    unsigned char head[4096];
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
        bool is_sample =
            labels == GRAFT_LABELS_IGNORED && o->modality == GRAFT_PICTURES && graft_is_picture_name(path);
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
        int sure = readers[i]->reads & reads ? readers[i]->sniff(&s) : 0;
        if (sure < 0) {
            rc = graft_err_nomem(err);
            goto done;
        }
        if (sure <= best) continue;
        best = sure;
        *out = readers[i];
    }
    if (!*out) rc = find_nothing(&s, err);
done:
    graft_arena_free(arena);
    return rc;
}
