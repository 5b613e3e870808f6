#include "tensor/torch.h"

#include "tensor/tensors.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_NESTING = 3, UNFOLD_RATIO = 16, UNFOLD_FREE = 1 << 20 };

typedef struct state {
    graft_tensors *out;
    graft_arena *arena;
    const graft_torch_bytes *bytes;
    const char *origin;
    graft_err *err;
    size_t unfolded; /* bytes copied out of strided views so far */
} state;

static bool has_tensor(const graft_pickle *dict) {
    for (size_t i = 1; i < dict->as.list.n; i += 2) {
        if (dict->as.list.items[i]->kind == GRAFT_PICKLE_TENSOR) return true;
    }
    return false;
}

/* The last value under a key, as Python would have it. */
static const graft_pickle *dict_get(const graft_pickle *dict, const char *key) {
    for (size_t i = dict->as.list.n; i >= 2; i -= 2) {
        if (graft_pickle_is(dict->as.list.items[i - 2], GRAFT_PICKLE_TEXT, key))
            return dict->as.list.items[i - 1];
    }
    return NULL;
}

/* The dict of tensors: under one of the names that training scripts use, or `v` itself. */
static const graft_pickle *find_state(const graft_pickle *v, int depth) {
    static const char *const keys[] = {"state_dict", "model_state_dict", "model", "net",
                                       "network",    "weights",          "params"};
    if (v->kind != GRAFT_PICKLE_DICT || depth > MAX_NESTING) return NULL;
    for (size_t i = 0; i < GRAFT_COUNT(keys); i++) {
        const graft_pickle *inner = dict_get(v, keys[i]);
        const graft_pickle *found = inner ? find_state(inner, depth + 1) : NULL;
        if (found) return found;
    }
    return has_tensor(v) ? v : NULL;
}

static bool is_c_order(const graft_torch_view *v) {
    int64_t expected = 1;
    for (int i = v->shape.rank - 1; i >= 0; i--) {
        if (v->shape.dims[i] != 1 && v->strides[i] != expected) return false;
        if (__builtin_mul_overflow(expected, v->shape.dims[i], &expected)) return false;
    }
    return true;
}

/* One past the last element that the view touches, counted from the start of the storage; false: overflow. */
static bool view_end(const graft_torch_view *v, int64_t *out) {
    int64_t end = 1, step;
    if (__builtin_add_overflow(end, v->offset, &end)) return false;
    for (int i = 0; i < v->shape.rank; i++) {
        if (__builtin_mul_overflow(v->shape.dims[i] - 1, v->strides[i], &step)) return false;
        if (__builtin_add_overflow(end, step, &end)) return false;
    }
    *out = end;
    return true;
}

static int unfold(state *s, graft_tensor *t, const graft_torch_view *v, const unsigned char *base) {
    size_t width = graft_dtype_size(t->dtype), n = t->size / width;
    size_t limit = s->bytes->file_size > SIZE_MAX / UNFOLD_RATIO / 2
                       ? SIZE_MAX / 2
                       : s->bytes->file_size * UNFOLD_RATIO + UNFOLD_FREE;
    if (t->size > limit || s->unfolded > limit - t->size) {
        return graft_err_set(s->err, GRAFT_EFORMAT,
                             "%s: tensor '%s' repeats its storage into %zu bytes, out of proportion",
                             s->origin, t->name, t->size);
    }
    s->unfolded += t->size;
    unsigned char *copy = graft_arena_alloc(s->arena, t->size);
    if (!copy) return graft_err_nomem(s->err);
    int64_t at[GRAFT_MAX_RANK] = {0}, from = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(copy + i * width, base + (size_t)from * width, width);
        for (int d = v->shape.rank - 1; d >= 0; d--) {
            from += v->strides[d];
            if (++at[d] < v->shape.dims[d]) break;
            from -= v->strides[d] * at[d];
            at[d] = 0;
        }
    }
    t->data = copy;
    return 0;
}

static int make_tensor(state *s, graft_tensor *t, const graft_torch_view *v) {
    const unsigned char *data;
    size_t size, skip;
    int64_t end;
    char shape[128];
    if (v->dtype == GRAFT_N_DTYPES) {
        return graft_err_set(s->err, GRAFT_EUNSUPPORTED,
                             "%s: tensor '%s' has elements of '%s', which are not read", s->origin, t->name,
                             v->storage->class_name);
    }
    t->dtype = v->dtype;
    t->shape = v->shape;
    graft_shape_print(&t->shape, shape, sizeof shape);
    if (!graft_tensor_bytes(t->dtype, &t->shape, &t->size)) {
        return graft_err_set(s->err, GRAFT_EFORMAT, "%s: tensor '%s' has a shape %s too large to be",
                             s->origin, t->name, shape);
    }
    if (t->size == 0) {
        t->data = "";
        return 0;
    }
    int rc = s->bytes->find(s->bytes->user, v->storage, &data, &size, s->err);
    if (rc < 0) return rc;
    size_t width = graft_dtype_size(t->dtype);
    bool fits = view_end(v, &end) &&
                graft_size_mul((size_t)v->storage->view_offset, v->storage->element_size, &skip) &&
                skip <= size && (size_t)end <= (size - skip) / width;
    if (!fits) {
        return graft_err_set(s->err, GRAFT_EFORMAT,
                             "%s: tensor '%s' (%s, offset %" PRId64
                             ") reaches past its storage '%s' of %zu bytes",
                             s->origin, t->name, shape, v->offset, v->storage->key, size);
    }
    const unsigned char *base = data + skip + (size_t)v->offset * width;
    t->data = base;
    return is_c_order(v) ? 0 : unfold(s, t, v, base);
}

static int add_item(state *s, const graft_pickle *key, const graft_pickle *value) {
    if (key->kind != GRAFT_PICKLE_TEXT || value->kind != GRAFT_PICKLE_TENSOR)
        return 0; /* counters, extra state */
    if (memchr(key->as.text.data, '\0', key->as.text.size)) {
        return graft_err_set(s->err, GRAFT_EFORMAT, "%s: a tensor's name has a zero byte in it", s->origin);
    }
    graft_tensor t = {.name = graft_arena_strndup(s->arena, key->as.text.data, key->as.text.size)};
    if (!t.name) return graft_err_nomem(s->err);
    int64_t old = graft_map_get_str(s->out->index, t.name);
    int rc = make_tensor(s, &t, value->as.view);
    if (rc < 0) return rc;
    if (old >= 0) {
        s->out->items[old] = t;
        return 0;
    }
    return graft_tensors_add(s->out, &t, s->origin, s->err);
}

static int no_state(const graft_pickle *value, const char *origin, graft_err *err) {
    if (value->kind == GRAFT_PICKLE_OPAQUE) {
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s: holds an object of class '%.*s', not a dict of tensors; save its state_dict()", origin,
            (int)(value->as.text.size < 100 ? value->as.text.size : 100), value->as.text.data);
    }
    return graft_err_set(
        err, GRAFT_EFORMAT,
        "%s: no dict of tensors in it (looked at the top and under 'state_dict', 'model_state_dict', "
        "'model', 'net', 'network', 'weights' and 'params')",
        origin);
}

int graft_torch_state(graft_tensors *out, graft_arena *arena, const graft_pickle *value,
                      const graft_torch_bytes *bytes, const char *format, const char *origin,
                      graft_err *err) {
    const graft_pickle *dict = find_state(value, 0);
    if (!dict) return no_state(value, origin, err);
    graft_tensors made;
    state s = {.out = &made, .arena = arena, .bytes = bytes, .origin = origin, .err = err};
    int rc = graft_tensors_init(&made, arena, dict->as.list.n / 2, format, err);
    for (size_t i = 0; i + 1 < dict->as.list.n && rc == 0; i += 2) {
        rc = add_item(&s, dict->as.list.items[i], dict->as.list.items[i + 1]);
    }
    /* DistributedDataParallel and torch.compile put their own name before every tensor's, in either order */
    static const char *const wrappers[] = {"module.", "_orig_mod.", "module."};
    for (size_t i = 0; i < GRAFT_COUNT(wrappers) && rc == 0; i++) {
        rc = graft_tensors_strip(&made, arena, wrappers[i], err);
    }
    if (rc == 0) *out = made;
    return rc;
}
