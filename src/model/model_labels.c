/* How many classes a model has and what they are called: the caller's word first, then the config's, then the
 * number of rows of the head in the file. */
#include "model/model_impl.h"
#include <stdio.h>
#include <string.h>

enum { LABELS_FILE_SIZE = 16 << 20, DEFAULT_CLASSES = 2 };

/* One name a line; an empty line may only end the file. */
static int read_labels_file(graft_labels *out, graft_arena *arena, const char *path, graft_err *err) {
    char *text;
    size_t size, n = 0, room = 1;
    int rc = graft_file_read(&text, &size, arena, path, LABELS_FILE_SIZE, err);
    if (rc < 0) return rc;
    if (memchr(text, '\0', size)) return graft_err_set(err, GRAFT_EFORMAT, "%s: it is not a text file", path);
    for (size_t i = 0; i < size; i++) room += text[i] == '\n';
    const char **names = graft_arena_array(arena, room, sizeof *names);
    if (!names) return graft_err_nomem(err);
    for (char *line = text, *end = text + size; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        char *next = stop ? stop + 1 : end;
        char *last = stop ? stop : end;
        while (last > line && (last[-1] == '\r' || last[-1] == ' ' || last[-1] == '\t')) last--;
        *last = '\0';
        if (last == line) {
            while (next < end && strchr("\r\n \t", *next)) next++;
            if (next < end)
                return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: it names no class", path, n + 1);
        } else {
            names[n++] = line;
        }
        line = next;
    }
    if (n == 0) return graft_err_set(err, GRAFT_EFORMAT, "%s: it names no class", path);
    *out = (graft_labels){names, n};
    return 0;
}

int graft_check_labels(const char *const *names, size_t n, graft_err *err) {
    for (size_t i = 0; i < n; i++) {
        json_t *text = json_string(names[i]); /* NULL for what is not UTF-8 */
        if (!text)
            return graft_err_set(err, GRAFT_EDATA, "the name of class %zu ('%s') is not UTF-8; rename it", i,
                                 names[i]);
        json_decref(text);
    }
    return 0;
}

static int copy_labels(graft_model *m, const char *const *names, size_t n, graft_err *err) {
    int rc = graft_check_labels(names, n, err);
    if (rc < 0) return rc;
    const char **copy = graft_arena_array(m->arena, n, sizeof *copy);
    if (!copy) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        if (!(copy[i] = graft_arena_strdup(m->arena, names[i]))) return graft_err_nomem(err);
    m->labels = copy;
    m->n_labels = n;
    m->labels_known = true;
    return 0;
}

static int number_labels(graft_model *m, size_t n, graft_err *err) {
    const char **names = graft_arena_array(m->arena, n, sizeof *names);
    if (!names) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        if (!(names[i] = graft_arena_printf(m->arena, "%zu", i))) return graft_err_nomem(err);
    m->labels = names;
    m->n_labels = n;
    m->labels_known = false;
    return 0;
}

/* Rows of the head in the file; 0 when there is none. */
static size_t head_rows(const graft_model *m) {
    char name[128];
    const char *module = graft_model_head_module(m);
    snprintf(name, sizeof name, "%s.weight", module);
    const graft_tensor *t = graft_model_source(m, name);
    const bool fits = t && t->shape.rank == (m->head->mark_rank ? m->head->mark_rank : 2);
    return fits && t->shape.dims[0] > 0 ? (size_t)t->shape.dims[0] : 0;
}

int graft_model_decide_labels(graft_model *m, const graft_model_options *o, graft_err *err) {
    graft_labels given = {o->labels, o->n_labels}, own = {0};
    int rc;
    if (o->labels_file && (rc = read_labels_file(&given, m->arena, o->labels_file, err)) < 0) return rc;
    size_t rows = head_rows(m);
    if (given.n > 0) {
        if (rows > 0 && rows != given.n)
            return graft_err_set(err, GRAFT_EUSAGE,
                                 "%zu labels are given, but the head of %s has %zu classes", given.n,
                                 m->weights_path, rows);
        return copy_labels(m, given.names, given.n, err);
    }
    if (m->config && (rc = m->family->labels(&own, m->arena, m->config, m->config_path, err)) < 0) return rc;
    if (m->adapter && rows > 0 && own.n != rows) own = (graft_labels){0}; /* the base's, of another head */
    if (own.names) return copy_labels(m, own.names, own.n, err);
    if (own.n > 0) return number_labels(m, own.n, err);
    return number_labels(m, rows > 0 ? rows : DEFAULT_CLASSES, err);
}

const char *const *graft_model_labels(const graft_model *m, size_t *n) {
    *n = m->n_labels;
    return m->labels;
}

bool graft_model_labels_are_known(const graft_model *m) {
    return m->labels_known;
}

int graft_model_set_labels(graft_model *m, const char *const *names, size_t n, graft_err *err) {
    if (n != m->n_labels)
        return graft_err_set(err, GRAFT_EUSAGE, "%zu labels are given, but the head of %s has %zu classes", n,
                             m->path, m->n_labels);
    return copy_labels(m, names, n, err);
}
