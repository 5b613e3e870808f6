/* safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes without a hole. Every rule of
 * the format is checked here before a byte of data is handed out; the reader copies nothing. */
#include "tensor/tensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_CEILING = 100 * 1000 * 1000 };

typedef struct reader {
    const char *origin;
    const unsigned char *buffer; /* the first byte after the header */
    size_t buffer_size, buffer_at;
    graft_arena *arena;
    graft_err *err;
} reader;

static bool parse_dtype(const char *text, graft_dtype *out) {
    for (int t = 0; t < GRAFT_N_DTYPES; t++) {
        if (strcmp(text, graft_dtype_name((graft_dtype)t)) != 0) continue;
        *out = (graft_dtype)t;
        return true;
    }
    return false;
}

static int parse_shape(const reader *r, const char *name, const json_t *shape, graft_shape *out) {
    if (!json_is_array(shape)) {
        return graft_err_set(r->err, GRAFT_EFORMAT, "%s: tensor '%s' has no 'shape' list", r->origin, name);
    }
    size_t rank = json_array_size(shape);
    if (rank > GRAFT_MAX_RANK) {
        return graft_err_set(r->err, GRAFT_EUNSUPPORTED,
                             "%s: tensor '%s' has %zu dimensions; at most %d are possible", r->origin, name,
                             rank, GRAFT_MAX_RANK);
    }
    out->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0) {
            return graft_err_set(r->err, GRAFT_EFORMAT, "%s: tensor '%s' has a dimension that is not a size",
                                 r->origin, name);
        }
        out->dims[i] = (int64_t)json_integer_value(d);
    }
    return 0;
}

/* `data_offsets`, checked against the buffer and against what type and shape ask for. */
static int parse_offsets(const reader *r, const json_t *offsets, graft_tensor *t) {
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first)) {
        return graft_err_set(r->err, GRAFT_EFORMAT, "%s: tensor '%s' has no valid pair of 'data_offsets'",
                             r->origin, t->name);
    }
    size_t begin = (size_t)json_integer_value(first), end = (size_t)json_integer_value(last), need;
    if (end > r->buffer_size) {
        return graft_err_set(
            r->err, GRAFT_EFORMAT,
            "%s: tensor '%s' ends at byte %zu of the data, past their end at byte %zu (file byte %zu): "
            "the file is cut short or damaged",
            r->origin, t->name, end, r->buffer_size, r->buffer_at + r->buffer_size);
    }
    char shape[128];
    if (!graft_tensor_bytes(t->dtype, &t->shape, &need)) {
        return graft_err_set(r->err, GRAFT_EFORMAT, "%s: tensor '%s' has a shape %s too large to be",
                             r->origin, t->name, graft_shape_print(&t->shape, shape, sizeof shape));
    }
    if (need != end - begin) {
        return graft_err_set(r->err, GRAFT_EFORMAT,
                             "%s: tensor '%s' at file byte %zu has %zu bytes, but %s of shape %s takes %zu",
                             r->origin, t->name, r->buffer_at + begin, end - begin,
                             graft_dtype_name(t->dtype), graft_shape_print(&t->shape, shape, sizeof shape),
                             need);
    }
    t->data = r->buffer + begin;
    t->size = need;
    return 0;
}

static int parse_entry(const reader *r, const char *key, const json_t *entry, graft_tensor *out) {
    char *name = graft_arena_strdup(r->arena, key);
    if (!name) return graft_err_nomem(r->err);
    *out = (graft_tensor){.name = name};
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype) {
        return graft_err_set(r->err, GRAFT_EFORMAT, "%s: tensor '%s' has no 'dtype'", r->origin, name);
    }
    if (!parse_dtype(dtype, &out->dtype)) {
        return graft_err_set(r->err, GRAFT_EUNSUPPORTED,
                             "%s: tensor '%s' has elements of type '%s', which are not read", r->origin, name,
                             dtype);
    }
    int rc = parse_shape(r, name, json_object_get(entry, "shape"), &out->shape);
    return rc < 0 ? rc : parse_offsets(r, json_object_get(entry, "data_offsets"), out);
}

static int check_metadata(const reader *r, const json_t *metadata) {
    bool ok = json_is_object(metadata);
    json_t *object = (json_t *)(uintptr_t)metadata; /* jansson's iterators take no const */
    for (void *it = ok ? json_object_iter(object) : NULL; it && ok; it = json_object_iter_next(object, it)) {
        ok = json_is_string(json_object_iter_value(it));
    }
    if (ok) return 0;
    return graft_err_set(r->err, GRAFT_EFORMAT, "%s: '__metadata__' is not a map from text to text",
                         r->origin);
}

static int compare_places(const void *a, const void *b) {
    const graft_tensor *x = a, *y = b;
    uintptr_t xb = (uintptr_t)x->data, yb = (uintptr_t)y->data;
    if (xb != yb) return xb < yb ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Sorted by place, each tensor begins where the last one ended, and the last ends with the data. */
static int check_places(const reader *r, const graft_tensor *items, size_t n_items) {
    size_t end = 0;
    for (size_t i = 0; i < n_items; i++) {
        size_t begin = (size_t)((const unsigned char *)items[i].data - r->buffer);
        if (begin != end) {
            return graft_err_set(r->err, GRAFT_EFORMAT,
                                 "%s: tensor '%s' begins at file byte %zu, not at %zu: %s", r->origin,
                                 items[i].name, r->buffer_at + begin, r->buffer_at + end,
                                 begin < end ? "it overlaps the one before" : "a gap lies before it");
        }
        end += items[i].size;
    }
    if (end == r->buffer_size) return 0;
    return graft_err_set(r->err, GRAFT_EFORMAT,
                         "%s: the tensors end at file byte %zu, the file at %zu: %zu bytes too many",
                         r->origin, r->buffer_at + end, r->buffer_at + r->buffer_size, r->buffer_size - end);
}

static int parse_header(const reader *r, const json_t *header, graft_tensors *out) {
    size_t n = json_object_size(header);
    graft_tensor *items = graft_arena_array(r->arena, n, sizeof *items);
    if (!items) return graft_err_nomem(r->err);
    size_t n_items = 0;
    json_t *object = (json_t *)(uintptr_t)header; /* jansson's iterators take no const */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *value = json_object_iter_value(it);
        int rc = strcmp(key, "__metadata__") == 0 ? check_metadata(r, value)
                                                  : parse_entry(r, key, value, &items[n_items++]);
        if (rc < 0) return rc;
    }
    qsort(items, n_items, sizeof *items, compare_places);
    int rc = check_places(r, items, n_items);
    if (rc == 0) rc = graft_tensors_init(out, r->arena, n_items, "safetensors", r->err);
    for (size_t i = 0; i < n_items && rc == 0; i++) rc = graft_tensors_add(out, &items[i], r->origin, r->err);
    return rc;
}

int graft_safetensors_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                            const char *origin, graft_err *err) {
    const unsigned char *bytes = data;
    *out = (graft_tensors){0};
    if (size < 10) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: %zu bytes are too few for a safetensors file", origin,
                             size);
    }
    uint64_t header_size;
    memcpy(&header_size, bytes, sizeof header_size);
    if (header_size > HEADER_CEILING || header_size > size - 8) {
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: the header is said to take %" PRIu64
                             " bytes, but %zu follow (at most %d are read): not a "
                             "safetensors file, or cut short",
                             origin, header_size, size - 8, HEADER_CEILING);
    }
    if (bytes[8] != '{') {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: the header at byte 8 does not begin with '{'", origin);
    }
    reader r = {.origin = origin, .arena = arena, .err = err};
    r.buffer_at = 8 + (size_t)header_size;
    r.buffer = bytes + r.buffer_at;
    r.buffer_size = size - r.buffer_at;
    graft_arena *parsing = graft_arena_new(NULL);
    if (!parsing) return graft_err_nomem(err);
    json_t *header;
    int rc = graft_json_parse(&header, parsing, (const char *)bytes + 8, (size_t)header_size, origin, err);
    if (rc == 0) rc = parse_header(&r, header, out);
    graft_arena_free(parsing);
    if (rc < 0) *out = (graft_tensors){0};
    return rc;
}

int graft_safetensors_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    graft_mapped map;
    *out = (graft_tensors){0};
    int rc = graft_file_map(&map, arena, path, err);
    if (rc == 0) rc = graft_safetensors_parse(out, arena, map.data, map.size, path, err);
    for (size_t i = 0; rc == 0 && i < out->n_items; i++) out->items[i].mapped = true;
    return rc;
}
