/* What the readers of lines share. */
#include "data/text_lines.h"
#include <string.h>

size_t graft_line_next(char **at, char *end, char **line) {
    char *from = *at, *stop = memchr(from, '\n', (size_t)(end - from));
    if (!stop) stop = end;
    *at = stop < end ? stop + 1 : end;
    *line = from;
    while (stop > from && stop[-1] == '\r') stop--;
    return (size_t)(stop - from);
}

int graft_lines_list(graft_listing *l, const char *path, graft_part part,
                     int (*parse)(graft_listing *l, char *text, size_t size, const char *origin,
                                  graft_part part, graft_err *err),
                     const char *description, graft_err *err) {
    char *text;
    size_t size;
    char *own = graft_arena_strdup(l->arena, path);
    if (!own) return graft_err_nomem(err);
    int rc = graft_listing_read(l, &text, &size, own, err);
    if (rc == 0) rc = parse(l, text, size, own, part, err);
    if (rc == 0 && !l->description) {
        l->description = graft_arena_strdup(l->arena, description);
        if (!l->description) rc = graft_err_nomem(err);
    }
    return rc;
}

int graft_lines_head(const graft_sniffed *s, bool (*is_mine)(const char *name), unsigned char *head,
                     size_t *size) {
    size_t room = *size;
    graft_part part;
    *size = 0;
    for (size_t i = 0; i < s->n_names; i++) {
        if (!is_mine(s->names[i]) || !graft_part_from_file(s->names[i], &part)) continue;
        graft_arena *arena = graft_arena_new(NULL);
        char *full = arena ? graft_path_join(arena, s->path, s->names[i]) : NULL;
        FILE *f = full ? fopen(full, "rbe") : NULL;
        if (f) *size = fread(head, 1, room, f);
        if (f) fclose(f);
        graft_arena_free(arena);
        return full ? 0 : GRAFT_ENOMEM;
    }
    return 0;
}
