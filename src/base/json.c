#include "base/json.h"

#include "base/base.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_CEILING = 100 * 1000 * 1000 };

static void value_free(void *value) {
    json_decref(value);
}

int graft_json_parse(json_t **out, graft_arena *arena, const char *text, size_t size, const char *origin,
                     graft_err *err) {
    json_error_t e;
    *out = NULL;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    if (!value) {
        if (json_error_code(&e) == json_error_out_of_memory) return graft_err_nomem(err);
        return graft_err_set(err, GRAFT_EFORMAT, "%s: not JSON, line %d column %d (byte %d): %s", origin,
                             e.line, e.column, e.position, e.text);
    }
    if (graft_arena_defer(arena, value_free, value) < 0) return graft_err_nomem(err);
    *out = value;
    return 0;
}

int graft_json_read(json_t **out, graft_arena *arena, const char *path, graft_err *err) {
    char *text;
    size_t size;
    *out = NULL;
    graft_arena *file = graft_arena_new(NULL);
    if (!file) return graft_err_nomem(err);
    int rc = graft_file_read(&text, &size, file, path, FILE_CEILING, err);
    if (rc == 0) rc = graft_json_parse(out, arena, text, size, path, err);
    graft_arena_free(file);
    return rc;
}

static void print_indent(graft_buf *b, int depth) {
    graft_buf_text(b, "\n");
    for (int i = 0; i < depth; i++) graft_buf_text(b, "  ");
}

static void print_text(graft_buf *b, const char *s, size_t size) {
    graft_buf_text(b, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            const char escaped[2] = {'\\', (char)c};
            graft_buf_append(b, escaped, 2);
        } else if (c == '\n') {
            graft_buf_text(b, "\\n");
        } else if (c == '\t') {
            graft_buf_text(b, "\\t");
        } else if (c < 0x20) {
            graft_buf_printf(b, "\\u%04x", (unsigned)c);
        } else {
            graft_buf_append(b, s + i, 1);
        }
    }
    graft_buf_text(b, "\"");
}

/* The shortest of 15 to 17 digits that reads back the same, with a point or exponent so that it stays a real:
 * jansson's own 17 digits turn 0.1 into 0.10000000000000001. */
static void print_real(graft_buf *b, double x) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    graft_buf_text(b, text);
    if (!strpbrk(text, ".e")) graft_buf_text(b, ".0");
}

/* Numbers ("2" before "10", as the class indices of id2label are kept) in their order, all else bytewise. */
static int compare_keys(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    size_t n = strlen(x), m = strlen(y);
    bool numbers = n > 0 && m > 0 && strspn(x, "0123456789") == n && strspn(y, "0123456789") == m;
    if (numbers && n != m) return n < m ? -1 : 1;
    return strcmp(x, y);
}

static void print_value(graft_buf *b, const json_t *v, int depth);

static void print_object(graft_buf *b, const json_t *o, int depth) {
    size_t n = json_object_size(o), i = 0;
    const char **keys = n ? calloc(n, sizeof *keys) : NULL;
    if (n && !keys) {
        b->failed = true;
        return;
    }
    json_t *object = (json_t *)(uintptr_t)o; /* jansson's iterators take no const */
    for (void *it = json_object_iter(object); it && i < n; it = json_object_iter_next(object, it)) {
        keys[i++] = json_object_iter_key(it);
    }
    if (n) qsort(keys, n, sizeof *keys, compare_keys);
    graft_buf_text(b, "{");
    for (i = 0; i < n; i++) {
        if (i) graft_buf_text(b, ",");
        print_indent(b, depth + 1);
        print_text(b, keys[i], strlen(keys[i]));
        graft_buf_text(b, ": ");
        print_value(b, json_object_get(o, keys[i]), depth + 1);
    }
    if (n) print_indent(b, depth);
    graft_buf_text(b, "}");
    free(keys);
}

static void print_array(graft_buf *b, const json_t *a, int depth) {
    size_t n = json_array_size(a);
    graft_buf_text(b, "[");
    for (size_t i = 0; i < n; i++) {
        if (i) graft_buf_text(b, ",");
        print_indent(b, depth + 1);
        print_value(b, json_array_get(a, i), depth + 1);
    }
    if (n) print_indent(b, depth);
    graft_buf_text(b, "]");
}

static void print_value(graft_buf *b, const json_t *v, int depth) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        print_object(b, v, depth);
        break;
    case JSON_ARRAY:
        print_array(b, v, depth);
        break;
    case JSON_STRING:
        print_text(b, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        graft_buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        print_real(b, json_real_value(v));
        break;
    case JSON_TRUE:
        graft_buf_text(b, "true");
        break;
    case JSON_FALSE:
        graft_buf_text(b, "false");
        break;
    case JSON_NULL:
        graft_buf_text(b, "null");
        break;
    }
}

void graft_json_print(graft_buf *out, const json_t *value) {
    print_value(out, value, 0);
}

json_t *graft_json_string(const char *text) {
    json_t *value = json_string(text);
    char *copy = value ? NULL : strdup(text);
    if (!copy) return value;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    value = json_string(copy);
    free(copy);
    return value;
}

int graft_json_write(const char *path, const json_t *value, graft_err *err) {
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_json_print(&b, value);
    graft_buf_text(&b, "\n");
    int rc = b.failed ? graft_err_nomem(err) : graft_file_write(path, b.data, b.size, err);
    graft_buf_done(&b);
    return rc;
}

static int wrong_type(const json_t *v, const char *key, const char *wanted, const char *origin,
                      graft_err *err) {
    static const char *const names[] = {"an object",     "a list", "a text", "an integer",
                                        "a real number", "true",   "false",  "null"};
    return graft_err_set(err, GRAFT_EFORMAT, "%s: '%s' must be %s, not %s", origin, key, wanted,
                         names[json_typeof(v)]);
}

/* The member, or NULL when absent or null. */
static const json_t *member(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

int graft_json_int(const json_t *o, const char *key, int64_t absent, int64_t *out, const char *origin,
                   graft_err *err) {
    const json_t *v = member(o, key);
    if (v && !json_is_integer(v)) return wrong_type(v, key, "an integer", origin, err);
    *out = v ? (int64_t)json_integer_value(v) : absent;
    return 0;
}

int graft_json_real(const json_t *o, const char *key, double absent, double *out, const char *origin,
                    graft_err *err) {
    const json_t *v = member(o, key);
    if (v && !json_is_number(v)) return wrong_type(v, key, "a number", origin, err);
    *out = v ? json_number_value(v) : absent;
    return 0;
}

int graft_json_bool(const json_t *o, const char *key, bool absent, bool *out, const char *origin,
                    graft_err *err) {
    const json_t *v = member(o, key);
    if (v && !json_is_boolean(v)) return wrong_type(v, key, "true or false", origin, err);
    *out = v ? json_is_true(v) : absent;
    return 0;
}

int graft_json_text(const json_t *o, const char *key, const char *absent, const char **out,
                    const char *origin, graft_err *err) {
    const json_t *v = member(o, key);
    if (v && !json_is_string(v)) return wrong_type(v, key, "a text", origin, err);
    *out = v ? json_string_value(v) : absent;
    return 0;
}

json_t *graft_json_exact(double x) {
    char text[40];
    snprintf(text, sizeof text, "%a", x);
    return json_string(text);
}

double graft_json_inexact(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? strtod(text, NULL) : 0.0;
}
