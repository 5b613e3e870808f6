/* Tables of pictures: growing arrays of rows and cells, and the choice of columns. A column that is not named
 * is guessed from its name or from what its first cells are, and the log says which was taken. */
#include "data/data_table.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_COLUMNS = 4096, PROBED = 20 };

void graft_table_done(graft_table *t) {
    free(t->columns);
    free(t->rows);
    free(t->cells);
    *t = (graft_table){0};
}

static int grow(void **items, size_t n, size_t *capacity, size_t size, graft_err *err) {
    if (n < *capacity) return 0;
    size_t more = *capacity ? *capacity : 64, bytes;
    if (!graft_size_add(*capacity, more, &more) || !graft_size_mul(more, size, &bytes))
        return graft_err_nomem(err);
    void *p = realloc(*items, bytes);
    if (!p) return graft_err_nomem(err);
    *items = p;
    *capacity = more;
    return 0;
}

int graft_table_add_column(graft_table *t, const char *name, graft_err *err) {
    if (t->n_columns >= MAX_COLUMNS)
        return graft_err_set(err, GRAFT_EFORMAT, "a table of more than %d columns", MAX_COLUMNS);
    int rc = grow((void **)&t->columns, t->n_columns, &t->columns_capacity, sizeof *t->columns, err);
    if (rc == 0) t->columns[t->n_columns++] = name;
    return rc;
}

int graft_table_add_row(graft_table *t, size_t line, graft_err *err) {
    int rc = grow((void **)&t->rows, t->n_rows, &t->rows_capacity, sizeof *t->rows, err);
    if (rc == 0) t->rows[t->n_rows++] = (graft_row){.line = line, .first_cell = t->n_cells};
    return rc;
}

int graft_table_add_cell(graft_table *t, size_t column, const char *text, graft_err *err) {
    int rc = grow((void **)&t->cells, t->n_cells, &t->cells_capacity, sizeof *t->cells, err);
    if (rc < 0) return rc;
    t->cells[t->n_cells++] = (graft_cell){column, text};
    t->rows[t->n_rows - 1].n_cells++;
    return 0;
}

const char *graft_table_cell(const graft_table *t, size_t row, size_t column) {
    const graft_row *r = &t->rows[row];
    if (r->n_cells == 0) return NULL; /* of a table without any cell there is no array */
    const graft_cell *cells = t->cells + r->first_cell;
    if (column < r->n_cells && cells[column].column == column) return cells[column].text;
    for (size_t i = 0; i < r->n_cells; i++)
        if (cells[i].column == column) return cells[i].text;
    return NULL;
}

int64_t graft_table_column(const graft_table *t, const char *name) {
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i], name) == 0) return (int64_t)i;
    return -1;
}

int graft_table_take_header(graft_table *t, const char *origin, graft_err *err) {
    size_t n = t->n_columns;
    t->n_columns = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = graft_table_cell(t, 0, i);
        if (graft_table_column(t, name) >= 0)
            return graft_err_set(err, GRAFT_EFORMAT, "%s: two columns are called '%s'", origin, name);
        t->columns[t->n_columns++] = name;
    }
    t->n_rows--;
    memmove(t->rows, t->rows + 1, t->n_rows * sizeof *t->rows);
    return 0;
}

int graft_table_read(graft_table *out, graft_arena *arena, const char *path, bool *is_bare, graft_err *err) {
    char *text;
    size_t size;
    int rc = graft_file_read(&text, &size, arena, path, (size_t)1 << 30, err);
    if (rc < 0) return rc;
    bool json = graft_has_extension(path, "jsonl") || graft_has_extension(path, "ndjson") || text[0] == '{';
    *is_bare = !json;
    if (json) return graft_jsonl_parse(out, arena, text, size, path, err);
    return graft_csv_rows(out, arena, text, size, graft_has_extension(path, "tsv") ? '\t' : '\0', path, err);
}

/* ---- Which column is what ---- */

static const char *const input_names[] = {"path",       "file",     "filename",   "file_name", "filepath",
                                          "file_path",  "image",    "img",        "picture",   "image_path",
                                          "image_name", "img_path", "image_file", "input",     NULL};
const char *const graft_label_columns[] = {"label",      "class",      "target",  "category", "labels",
                                           "class_name", "label_name", "species", "y",        NULL};
static const char *const split_names[] = {"split", "part", "subset", "partition", NULL};

int64_t graft_table_guess(const graft_table *t, const char *const *names) {
    for (; *names; names++)
        for (size_t i = 0; i < t->n_columns; i++)
            if (strcasecmp(t->columns[i], *names) == 0) return (int64_t)i;
    return -1;
}

int graft_table_named(const graft_table *t, const char *name, const char *what, const char *path,
                      int64_t *out, graft_err *err) {
    *out = graft_table_column(t, name);
    if (*out < 0 && strlen(name) < 6 && strspn(name, "0123456789") == strlen(name)) {
        int64_t number = strtol(name, NULL, 10);
        if (number >= 1 && number <= (int64_t)t->n_columns) *out = number - 1;
    }
    if (*out >= 0) return 0;
    graft_buf known;
    graft_buf_init(&known, 300);
    for (size_t i = 0; i < t->n_columns; i++) graft_buf_printf(&known, "%s%s", i ? ", " : "", t->columns[i]);
    int rc = graft_err_set(err, GRAFT_EUSAGE, "%s: no column '%s' for the %s; its columns are: %s", path,
                           name, what, known.data ? known.data : "");
    graft_buf_done(&known);
    return rc;
}

/* A path from a cell is below the table's folder, unless absolute. */
static char *resolve(graft_arena *arena, const char *table_path, const char *cell) {
    if (cell[0] == '/') return graft_arena_strdup(arena, cell);
    size_t dir = (size_t)(graft_path_name(table_path) - table_path);
    return graft_arena_printf(arena, "%.*s%s", (int)(dir > INT32_MAX ? 0 : dir), table_path, cell);
}

/* Are the first cells of a column files that exist? */
static bool holds_files(const graft_table *t, size_t column, const char *path) {
    graft_arena *scratch = graft_arena_new(NULL);
    size_t seen = 0, found = 0;
    for (size_t i = 0; scratch && i < t->n_rows && seen < PROBED; i++) {
        const char *cell = graft_table_cell(t, i, column);
        if (!cell || !*cell) continue;
        char *full = resolve(scratch, path, cell);
        seen++;
        if (full && (graft_path_is_file(full) || graft_is_picture_name(full))) found++;
    }
    graft_arena_free(scratch);
    return seen && found == seen;
}

/* Do all cells of a column name parts? */
static bool holds_parts(const graft_table *t, size_t column) {
    size_t seen = 0;
    graft_part part;
    for (size_t i = 0; i < t->n_rows; i++) {
        const char *cell = graft_table_cell(t, i, column);
        if (!cell || !*cell) continue;
        if (!graft_part_from_name(cell, strlen(cell), &part)) return false;
        seen++;
    }
    return seen > 0;
}

int64_t graft_table_split_column(const graft_table *t) {
    int64_t column = graft_table_guess(t, split_names);
    return column >= 0 && holds_parts(t, (size_t)column) ? column : -1;
}

static int choose(const graft_table *t, const char *path, const graft_data_options *o, graft_table_columns *c,
                  graft_err *err) {
    int rc = 0;
    *c = (graft_table_columns){-1, -1, -1, -1, -1};
    if (o->input_column && (rc = graft_table_named(t, o->input_column, "input", path, &c->input, err)) < 0)
        return rc;
    if (o->split_column && (rc = graft_table_named(t, o->split_column, "split", path, &c->split, err)) < 0)
        return rc;
    if (o->group_column && (rc = graft_table_named(t, o->group_column, "group", path, &c->group, err)) < 0)
        return rc;
    if (!o->split_column) c->split = graft_table_split_column(t);
    if (!o->input_column) c->input = graft_table_guess(t, input_names);
    for (size_t i = 0; c->input < 0 && i < t->n_columns; i++)
        if (holds_files(t, i, path)) c->input = (int64_t)i;
    if (c->input < 0)
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "%s: no column looks like paths of pictures; name it with --input, the label's with --label",
            path);
    if (o->labels == GRAFT_LABELS_IGNORED) return 0;
    if (o->label_column) return graft_table_named(t, o->label_column, "label", path, &c->label, err);
    c->label = graft_table_guess(t, graft_label_columns);
    int64_t free_column = -1, n_free = 0;
    for (int64_t i = 0; i < (int64_t)t->n_columns; i++) {
        if (i == c->input || i == c->split || i == c->group) continue;
        free_column = i;
        n_free++;
    }
    if (c->label < 0 && n_free == 1) c->label = free_column;
    if (c->label < 0 && n_free && o->labels == GRAFT_LABELS_NEEDED)
        return graft_err_set(err, GRAFT_EUSAGE, "%s: which column is the label? Name it with --label", path);
    return 0;
}

int graft_table_trimmed(const graft_table *t, graft_arena *arena, size_t row, int64_t column,
                        const char **out, graft_err *err) {
    *out = NULL;
    const char *text = column < 0 ? NULL : graft_table_cell(t, row, (size_t)column);
    if (!text) return 0;
    while (*text == ' ' || *text == '\t' || *text == '\n') text++;
    size_t n = strlen(text);
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t' || text[n - 1] == '\n')) n--;
    if (n == 0) return 0;
    *out = text[n] ? graft_arena_strndup(arena, text, n) : text;
    return *out ? 0 : graft_err_nomem(err);
}

int graft_table_answers(graft_listing *l, const graft_table *t, const char *path, size_t row,
                        const graft_table_columns *c, graft_found *f, graft_err *err) {
    const char *split = NULL;
    int rc = graft_table_trimmed(t, l->arena, row, c->label, &f->label, err);
    /* an empty cell is a sample of no class where there may be any number of them */
    if (!f->label && l->options->task == GRAFT_TASK_MULTILABEL && c->label >= 0 &&
        graft_table_cell(t, row, (size_t)c->label))
        f->label = "";
    if (rc == 0) rc = graft_table_trimmed(t, l->arena, row, c->group, &f->group, err);
    if (rc == 0) rc = graft_table_trimmed(t, l->arena, row, c->split, &split, err);
    if (rc < 0 || !split) return rc;
    if (!graft_part_from_name(split, strlen(split), &f->part))
        return graft_err_set(err, GRAFT_EDATA,
                             "%s, line %zu: '%s' in the column '%s' is neither train, val nor test", path,
                             t->rows[row].line, split, t->columns[c->split]);
    l->part_given[f->part] = true;
    return 0;
}

static const char *column_name(const graft_table *t, int64_t column) {
    return column < 0 ? NULL : t->columns[column];
}

static int list_rows(graft_listing *l, const graft_table *t, const char *path, const graft_table_columns *c,
                     graft_part part, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->n_rows; i++) {
        size_t line = t->rows[i].line;
        const char *input;
        graft_found f = {.row = -1, .source = -1, .part = part};
        if (t->rows[i].fault)
            return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: %s", path, line, t->rows[i].fault);
        if ((rc = graft_table_trimmed(t, l->arena, i, c->input, &input, err)) < 0) return rc;
        if (!input)
            return graft_err_set(err, GRAFT_EDATA, "%s, line %zu: the column '%s' is empty", path, line,
                                 t->columns[c->input]);
        if ((rc = graft_table_answers(l, t, path, i, c, &f, err)) < 0) return rc;
        f.relative = input;
        f.path = resolve(l->arena, path, input);
        f.origin = graft_arena_printf(l->arena, "%s, line %zu (%s)", path, line, input);
        if (!f.path || !f.origin) return graft_err_nomem(err);
        rc = graft_listing_add(l, &f, err);
    }
    return rc;
}

static int list_file(graft_listing *l, const char *path, graft_part part, graft_err *err) {
    if (l->options->modality == GRAFT_TEXTS) return graft_text_table_list(l, path, part, err);
    graft_table t = {0};
    graft_table_columns c;
    bool is_bare;
    int rc = graft_table_read(&t, l->arena, path, &is_bare, err);
    if (rc == 0 && is_bare) rc = graft_table_take_header(&t, path, err);
    if (rc == 0 && t.n_rows == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "%s holds no row below its header", path);
    if (rc == 0) rc = choose(&t, path, l->options, &c, err);
    if (rc == 0) rc = list_rows(l, &t, path, &c, part, err);
    if (rc == 0 && !l->description) {
        const char *label = column_name(&t, c.label), *split = column_name(&t, c.split);
        l->description = graft_arena_printf(
            l->arena, "a table with the picture's path in '%s'%s%s%s%s%s%s", t.columns[c.input],
            label ? ", its label in '" : " and no label", label ? label : "", label ? "'" : "",
            split ? ", its part in '" : "", split ? split : "", split ? "'" : "");
        if (!l->description) rc = graft_err_nomem(err);
    }
    graft_table_done(&t);
    return rc;
}

/* train.csv -> train; metadata.csv -> no part of its own (then *named is false). */
static bool is_table_of_folder(const char *name, graft_part *part, bool *named) {
    const char *extension = graft_path_extension(name);
    if (strcasecmp(extension, "csv") != 0 && strcasecmp(extension, "tsv") != 0 &&
        strcasecmp(extension, "jsonl") != 0)
        return false;
    size_t stem = (size_t)(extension - name) - 1;
    *named = graft_part_from_name(name, stem, part);
    return *named || (stem == 8 && strncasecmp(name, "metadata", stem) == 0);
}

int graft_table_sniff_folder(const graft_sniffed *s) {
    graft_part part;
    bool named;
    for (size_t i = 0; i < s->n_names; i++)
        if (is_table_of_folder(s->names[i], &part, &named)) return named ? 45 : 80;
    return 0;
}

int graft_table_list(graft_listing *l, const char *path, graft_err *err) {
    if (!graft_path_is_dir(path)) return list_file(l, path, GRAFT_TRAIN, err);
    char **names;
    size_t n;
    int rc = graft_dir_list(&names, &n, l->arena, path, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        graft_part part = GRAFT_TRAIN;
        bool named;
        if (!is_table_of_folder(names[i], &part, &named)) continue;
        char *full = graft_path_join(l->arena, path, names[i]);
        if (!full) return graft_err_nomem(err);
        rc = list_file(l, full, part, err);
        if (named) l->part_given[part] = true;
    }
    return rc;
}
