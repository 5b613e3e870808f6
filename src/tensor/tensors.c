#include "tensor/tensors.h"

#include <string.h>

int graft_tensors_init(graft_tensors *out, graft_arena *arena, size_t capacity, const char *format,
                       graft_err *err) {
    *out = (graft_tensors){.format = format};
    out->items = graft_arena_array(arena, capacity, sizeof *out->items);
    out->index = graft_map_new(arena);
    return out->items && out->index ? 0 : graft_err_nomem(err);
}

int graft_tensors_add(graft_tensors *ts, const graft_tensor *t, const char *origin, graft_err *err) {
    if (graft_map_get_str(ts->index, t->name) >= 0) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: tensor '%s' is there twice", origin, t->name);
    }
    if (graft_map_put_str(ts->index, t->name, (int64_t)ts->n_items) < 0) return graft_err_nomem(err);
    ts->items[ts->n_items++] = *t;
    return 0;
}

int graft_tensors_join(graft_tensors *out, graft_arena *arena, const graft_tensors *a, const graft_tensors *b,
                       const char *module, const char *origin, graft_err *err) {
    int rc = graft_tensors_init(out, arena, a->n_items + b->n_items, a->format, err);
    for (size_t i = 0; i < a->n_items && rc == 0; i++) rc = graft_tensors_add(out, &a->items[i], origin, err);
    for (size_t i = 0; i < b->n_items && rc == 0; i++) {
        graft_tensor t = b->items[i];
        const char *leaf = strrchr(t.name, '.');
        t.name = graft_arena_printf(arena, "%s.%s", module, leaf ? leaf + 1 : t.name);
        rc = t.name ? graft_tensors_add(out, &t, origin, err) : graft_err_nomem(err);
    }
    return rc;
}

int graft_tensors_strip(graft_tensors *ts, graft_arena *arena, const char *prefix, graft_err *err) {
    size_t size = strlen(prefix);
    for (size_t i = 0; i < ts->n_items; i++) {
        if (strncmp(ts->items[i].name, prefix, size) != 0) return 0;
    }
    graft_map *index = graft_map_new(arena);
    if (!index) return graft_err_nomem(err);
    for (size_t i = 0; i < ts->n_items; i++) {
        ts->items[i].name += size;
        if (graft_map_put_str(index, ts->items[i].name, (int64_t)i) < 0) return graft_err_nomem(err);
    }
    ts->index = index;
    return 0;
}

const graft_tensor *graft_tensors_find(const graft_tensors *ts, const char *name) {
    int64_t i = ts->index ? graft_map_get_str(ts->index, name) : -1;
    return i >= 0 ? &ts->items[i] : NULL;
}

bool graft_tensor_bytes(graft_dtype t, const graft_shape *s, size_t *out) {
    int64_t count;
    return graft_shape_count(s, &count) && graft_size_mul((size_t)count, graft_dtype_size(t), out);
}
