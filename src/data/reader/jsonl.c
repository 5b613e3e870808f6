/* JSON lines: an object a line, its members are the row's cells. Columns are the keys in the order in which
 * they first appear; a row need not have all of them. */
#include "data/data_table.h"
#include <string.h>

/* A list's values with separators in between; nothing when one of them is no cell. */
static int list_text(const json_t *list, graft_arena *arena, const char **out, graft_err *err);

/* The text that a value stands for; NULL for what is no cell. */
static int value_text(const json_t *v, graft_arena *arena, const char **out, graft_err *err) {
    *out = NULL;
    if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v)) return 0;
        *out = graft_arena_strdup(arena, json_string_value(v));
    } else if (json_is_integer(v))
        *out = graft_arena_printf(arena, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        *out = graft_arena_printf(arena, "%.17g", json_real_value(v));
    else if (json_is_boolean(v))
        *out = json_is_true(v) ? "true" : "false";
    else if (json_is_array(v))
        return list_text(v, arena, out, err);
    else
        return 0;
    return *out ? 0 : graft_err_nomem(err);
}

static int list_text(const json_t *list, graft_arena *arena, const char **out, graft_err *err) {
    size_t i;
    json_t *v;
    graft_buf b;
    graft_buf_init(&b, 0);
    bool is_whole = true;
    int rc = 0;
    json_array_foreach((json_t *)list, i, v) {
        const char *text = NULL;
        static const char between[] = {GRAFT_LABEL_SEPARATOR, '\0'};
        if (json_is_array(v)) is_whole = false; /* lists of lists are no cell */
        if (is_whole && rc == 0) rc = value_text(v, arena, &text, err);
        is_whole = is_whole && text;
        if (rc < 0 || !is_whole) break;
        graft_buf_text(&b, i ? between : "");
        graft_buf_text(&b, text);
    }
    if (rc == 0 && is_whole) {
        *out = b.failed ? NULL : graft_arena_strdup(arena, b.data ? b.data : "");
        if (!*out) rc = graft_err_nomem(err);
    }
    graft_buf_done(&b);
    return rc;
}

/* Half of a surrogate pair in a row's escapes: no character of any text. */
static bool has_half_surrogate(const char *text, size_t size) {
    for (size_t i = 0; i + 5 < size; i++) {
        if (text[i] != '\\') continue;
        i++; /* the escaped character, which may be a backslash */
        if (text[i] != 'u' || (text[i + 1] | 32) != 'd' || i + 4 >= size) continue;
        int third = text[i + 2] | 32; /* 8..b: the first half, c..f: the second */
        bool is_first = third == '8' || third == '9' || third == 'a' || third == 'b';
        if (!is_first && !(third >= 'c' && third <= 'f')) continue;
        if (!is_first || i + 10 >= size || text[i + 5] != '\\' || text[i + 6] != 'u' ||
            (text[i + 7] | 32) != 'd' || (text[i + 8] | 32) < 'c' || (text[i + 8] | 32) > 'f')
            return true;
        i += 10;
    }
    return false;
}

/* A row whose text is damaged while its neighbours may well be whole. *fault NULL: it is not. */
static int find_fault(const char *text, size_t size, graft_arena *arena, const char **fault, graft_err *err) {
    size_t bad = 0;
    *fault = NULL;
    if (!graft_is_utf8(text, size, &bad))
        *fault = graft_arena_printf(arena, "not UTF-8 text (byte %zu of the row is 0x%02X)", bad,
                                    (unsigned)(unsigned char)text[bad]);
    else if (has_half_surrogate(text, size))
        *fault = "half of a surrogate pair (\\ud800 to \\udfff) stands alone";
    else
        return 0;
    return *fault ? 0 : graft_err_nomem(err);
}

static int add_object(graft_table *t, graft_arena *arena, graft_map *columns, const json_t *o,
                      graft_err *err) {
    const char *key, *text;
    json_t *v;
    json_object_foreach((json_t *)o, key, v) {
        int64_t column = graft_map_get_str(columns, key);
        int rc = 0;
        if (column < 0) {
            char *name = graft_arena_strdup(arena, key);
            column = (int64_t)t->n_columns;
            if (!name || graft_map_put_str(columns, key, column) < 0) return graft_err_nomem(err);
            rc = graft_table_add_column(t, name, err);
        }
        if (rc == 0) rc = value_text(v, arena, &text, err);
        if (rc == 0 && text) rc = graft_table_add_cell(t, (size_t)column, text, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int add_line(graft_table *t, graft_arena *arena, graft_arena *scratch, graft_map *columns,
                    const char *text, size_t size, size_t line, const char *origin, graft_err *err) {
    json_t *o;
    const char *fault;
    char *where = graft_arena_printf(scratch, "%s, row at line %zu", origin, line);
    if (!where) return graft_err_nomem(err);
    int rc = find_fault(text, size, arena, &fault, err);
    if (rc == 0 && fault && (rc = graft_table_add_row(t, line, err)) == 0) {
        t->rows[t->n_rows - 1].fault = fault;
        return 0;
    }
    if (rc < 0) return rc;
    rc = graft_json_parse(&o, scratch, text, size, where, err);
    if (rc < 0) return rc;
    if (!json_is_object(o))
        return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: not a JSON object", origin, line);
    rc = graft_table_add_row(t, line, err);
    return rc < 0 ? rc : add_object(t, arena, columns, o, err);
}

int graft_jsonl_parse(graft_table *out, graft_arena *arena, const char *text, size_t size, const char *origin,
                      graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    graft_map *columns = graft_map_new(arena);
    const char *end = text + size;
    size_t line = 0;
    int rc = scratch && columns ? 0 : graft_err_nomem(err);
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3;
    while (rc == 0 && text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text)), *from = text;
        if (!stop) stop = end;
        text = stop + 1;
        line++;
        while (from < stop && (*from == ' ' || *from == '\t' || *from == '\r')) from++;
        if (from == stop) continue;
        rc = add_line(out, arena, scratch, columns, from, (size_t)(stop - from), line, origin, err);
        graft_arena_reset(scratch);
    }
    if (rc == 0 && out->n_rows == 0) rc = graft_err_set(err, GRAFT_EDATA, "%s is empty", origin);
    graft_arena_free(scratch);
    return rc;
}

static int sniff(const graft_sniffed *s) {
    if (s->is_dir) return 0; /* csv's sniff knows folders of either kind of table */
    if (graft_has_extension(s->path, "jsonl") || graft_has_extension(s->path, "ndjson")) return 91;
    return graft_has_extension(s->path, "json") && s->head_size && s->head[0] == '{' ? 60 : 0;
}

const graft_reader graft_reader_jsonl = {
    "jsonl", "JSON lines: an object a sample, with its path or text and its label", sniff, graft_table_list,
    GRAFT_READS_BOTH};
