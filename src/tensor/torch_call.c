/* The fixed list of names that a checkpoint's pickle may call, and what each gives. Nothing here runs code of
 * the pickle's choosing: a tensor becomes a view, a dict a dict, and names of harmless data an opaque value.
 */
#include "tensor/torch.h"

#include <string.h>

typedef struct call {
    graft_arena *arena;
    const char *name, *origin;
    graft_err *err;
    graft_pickle *const *args;
    size_t n_args;
} call;

graft_pickle *graft_pickle_new(graft_arena *arena, graft_pickle_kind kind) {
    graft_pickle *v = graft_arena_alloc(arena, sizeof *v);
    if (v) v->kind = kind;
    return v;
}

graft_pickle *graft_pickle_text(graft_arena *arena, graft_pickle_kind kind, const char *data, size_t size) {
    graft_pickle *v = graft_pickle_new(arena, kind);
    if (v) v->as.text.data = data;
    if (v) v->as.text.size = size;
    return v;
}

int graft_pickle_append(graft_arena *arena, graft_pickle *to, graft_pickle *item) {
    if (to->as.list.n == to->as.list.capacity) {
        size_t capacity = to->as.list.capacity ? to->as.list.capacity * 2 : 8;
        graft_pickle **items = graft_arena_array(arena, capacity, sizeof *items);
        if (!items) return GRAFT_ENOMEM;
        if (to->as.list.n) memcpy(items, to->as.list.items, to->as.list.n * sizeof *items);
        to->as.list.items = items;
        to->as.list.capacity = capacity;
    }
    to->as.list.items[to->as.list.n++] = item;
    return 0;
}

bool graft_pickle_is(const graft_pickle *v, graft_pickle_kind kind, const char *s) {
    return v->kind == kind && v->as.text.size == strlen(s) &&
           memcmp(v->as.text.data, s, v->as.text.size) == 0;
}

static int bad_arguments(const call *c) {
    return graft_err_set(c->err, GRAFT_EFORMAT, "%s: '%s' is given arguments that do not fit it", c->origin,
                         c->name);
}

static int give(graft_pickle **out, graft_pickle *v, graft_err *err) {
    *out = v;
    return v ? 0 : graft_err_nomem(err);
}

/* Names that stand for data and nothing else: kept as opaque values. */
static int call_opaque(graft_pickle **out, const call *c) {
    return give(out, graft_pickle_text(c->arena, GRAFT_PICKLE_OPAQUE, c->name, strlen(c->name)), c->err);
}

/* OrderedDict() or OrderedDict([[key, value], ...]), the latter from Python 2. */
static int call_dict(graft_pickle **out, const call *c) {
    graft_pickle *d = graft_pickle_new(c->arena, GRAFT_PICKLE_DICT);
    const graft_pickle *pairs = c->n_args == 1 ? c->args[0] : NULL;
    if (!d) return graft_err_nomem(c->err);
    if (c->n_args > 1) return bad_arguments(c);
    for (size_t i = 0; pairs && pairs->kind == GRAFT_PICKLE_LIST && i < pairs->as.list.n; i++) {
        const graft_pickle *p = pairs->as.list.items[i];
        if ((p->kind != GRAFT_PICKLE_LIST && p->kind != GRAFT_PICKLE_TUPLE) || p->as.list.n != 2)
            return bad_arguments(c);
        if (graft_pickle_append(c->arena, d, p->as.list.items[0]) < 0 ||
            graft_pickle_append(c->arena, d, p->as.list.items[1]) < 0) {
            return graft_err_nomem(c->err);
        }
    }
    *out = d;
    return 0;
}

static int call_empty_dict(graft_pickle **out, const call *c) {
    return give(out, graft_pickle_new(c->arena, GRAFT_PICKLE_DICT), c->err);
}

/* torch.Size((2, 3)) is a tuple. */
static int call_first(graft_pickle **out, const call *c) {
    if (c->n_args < 1) return bad_arguments(c);
    *out = c->args[0];
    return 0;
}

/* torch.nn.parameter: a parameter is its tensor. */
static int call_parameter(graft_pickle **out, const call *c) {
    if (c->n_args < 2) return bad_arguments(c);
    *out = c->args[0];
    return 0;
}

/* torch._tensor._rebuild_from_type_v2(function, type, arguments, state) */
static int call_from_type(graft_pickle **out, const call *c) {
    if (c->n_args < 3 || c->args[0]->kind != GRAFT_PICKLE_GLOBAL || c->args[2]->kind != GRAFT_PICKLE_TUPLE ||
        strcmp(c->args[0]->as.text.data, c->name) == 0) {
        return bad_arguments(c);
    }
    return graft_pickle_call(out, c->arena, c->args[0]->as.text.data, c->args[2], c->origin, c->err);
}

/* Sizes and strides of a tensor; the storage's length is checked when its bytes are at hand. */
static int read_dims(const call *c, const graft_pickle *tuple, int64_t *out, int *n) {
    if (tuple->kind != GRAFT_PICKLE_TUPLE) return bad_arguments(c);
    if (tuple->as.list.n > GRAFT_MAX_RANK) {
        return graft_err_set(c->err, GRAFT_EUNSUPPORTED,
                             "%s: a tensor of %zu dimensions; at most %d are possible", c->origin,
                             tuple->as.list.n, GRAFT_MAX_RANK);
    }
    *n = (int)tuple->as.list.n;
    for (int i = 0; i < *n; i++) {
        const graft_pickle *d = tuple->as.list.items[i];
        if (d->kind != GRAFT_PICKLE_INT || d->as.integer < 0) return bad_arguments(c);
        out[i] = d->as.integer;
    }
    return 0;
}

static bool dtype_of_name(const char *name, graft_dtype *out) {
    static const struct {
        const char *name;
        graft_dtype dtype;
    } names[] = {{"float32", GRAFT_F32},   {"float64", GRAFT_F64}, {"float16", GRAFT_F16},
                 {"bfloat16", GRAFT_BF16}, {"int64", GRAFT_I64},   {"int32", GRAFT_I32},
                 {"int16", GRAFT_I16},     {"int8", GRAFT_I8},     {"uint64", GRAFT_U64},
                 {"uint32", GRAFT_U32},    {"uint16", GRAFT_U16},  {"uint8", GRAFT_U8},
                 {"bool", GRAFT_BOOL}};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        if (strcmp(name, names[i].name) != 0) continue;
        *out = names[i].dtype;
        return true;
    }
    return false;
}

/* _rebuild_tensor(storage, offset, size, stride), _v2(…, requires_grad, hooks[, metadata]) and
 * _v3(…, requires_grad, hooks, dtype[, metadata]) over an untyped storage. */
static int call_tensor(graft_pickle **out, const call *c) {
    graft_pickle *v = graft_pickle_new(c->arena, GRAFT_PICKLE_TENSOR);
    graft_torch_view *t = graft_arena_alloc(c->arena, sizeof *t);
    if (!v || !t) return graft_err_nomem(c->err);
    bool is_v3 = c->name[strlen(c->name) - 1] == '3';
    if (c->n_args < (is_v3 ? 7u : 4u) || c->args[0]->kind != GRAFT_PICKLE_STORAGE ||
        c->args[1]->kind != GRAFT_PICKLE_INT || c->args[1]->as.integer < 0) {
        return bad_arguments(c);
    }
    int n_strides = 0;
    int rc = read_dims(c, c->args[2], t->shape.dims, &t->shape.rank);
    if (rc == 0) rc = read_dims(c, c->args[3], t->strides, &n_strides);
    if (rc == 0 && n_strides != t->shape.rank) rc = bad_arguments(c);
    if (rc < 0) return rc;
    t->storage = c->args[0]->as.storage;
    t->offset = c->args[1]->as.integer;
    t->dtype = t->storage->dtype;
    if (is_v3) {
        const graft_pickle *dtype = c->args[6];
        if (dtype->kind != GRAFT_PICKLE_GLOBAL) return bad_arguments(c);
        if (strncmp(dtype->as.text.data, "torch.", 6) != 0 ||
            !dtype_of_name(dtype->as.text.data + 6, &t->dtype)) {
            t->dtype = GRAFT_N_DTYPES;
        }
    }
    v->as.view = t;
    *out = v;
    return 0;
}

static const struct {
    const char *name;
    int (*fn)(graft_pickle **out, const call *c);
} callables[] = {
    {"torch._utils._rebuild_tensor_v2", call_tensor},
    {"torch._utils._rebuild_tensor", call_tensor},
    {"torch._utils._rebuild_tensor_v3", call_tensor},
    {"torch._utils._rebuild_parameter", call_parameter},
    {"torch._utils._rebuild_parameter_with_state", call_parameter},
    {"torch._tensor._rebuild_from_type_v2", call_from_type},
    {"torch.nn.parameter.Parameter", call_first},
    {"collections.OrderedDict", call_dict},
    {"collections.defaultdict", call_empty_dict},
    {"torch.Size", call_first},
    {"collections.Counter", call_opaque},
    {"collections.deque", call_opaque},
    {"torch.device", call_opaque},
    {"torch.Generator", call_opaque},
    {"builtins.set", call_opaque},
    {"builtins.frozenset", call_opaque},
    {"builtins.complex", call_opaque},
    {"builtins.slice", call_opaque},
    {"builtins.range", call_opaque},
    {"builtins.bytearray", call_opaque},
    {"__builtin__.set", call_opaque},
    {"__builtin__.frozenset", call_opaque},
    {"__builtin__.complex", call_opaque},
    {"__builtin__.bytearray", call_opaque},
    {"_codecs.encode", call_opaque},
    {"copyreg._reconstructor", call_opaque},
    {"copy_reg._reconstructor", call_opaque},
    {"numpy.dtype", call_opaque},
    {"numpy.ndarray", call_opaque},
    {"numpy.core.multiarray.scalar", call_opaque},
    {"numpy._core.multiarray.scalar", call_opaque},
    {"numpy.core.multiarray._reconstruct", call_opaque},
    {"numpy._core.multiarray._reconstruct", call_opaque},
    {"datetime.datetime", call_opaque},
    {"datetime.date", call_opaque},
    {"datetime.timedelta", call_opaque},
    {"decimal.Decimal", call_opaque},
    {"uuid.UUID", call_opaque},
    {"pathlib.Path", call_opaque},
    {"pathlib.PosixPath", call_opaque},
    {"pathlib.PurePosixPath", call_opaque},
    {"pathlib.WindowsPath", call_opaque},
    {"pathlib._local.PosixPath", call_opaque},
};

int graft_pickle_call(graft_pickle **out, graft_arena *arena, const char *name, const graft_pickle *args,
                      const char *origin, graft_err *err) {
    const call c = {.arena = arena,
                    .name = name,
                    .origin = origin,
                    .err = err,
                    .args = args->as.list.items,
                    .n_args = args->as.list.n};
    *out = NULL;
    for (size_t i = 0; i < GRAFT_COUNT(callables); i++) {
        if (strcmp(name, callables[i].name) == 0) return callables[i].fn(out, &c);
    }
    return graft_err_set(
        err, GRAFT_EUNSUPPORTED,
        "%s: graft refuses to run '%s', which this pickle asks for; save the model's state_dict alone, best "
        "as safetensors",
        origin, name);
}

/* ---- Storages
 * ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    graft_dtype dtype; /* GRAFT_N_DTYPES: skipped over, never read */
    size_t element_size;
} storage_classes[] = {
    {"FloatStorage", GRAFT_F32, 4},
    {"DoubleStorage", GRAFT_F64, 8},
    {"HalfStorage", GRAFT_F16, 2},
    {"BFloat16Storage", GRAFT_BF16, 2},
    {"LongStorage", GRAFT_I64, 8},
    {"IntStorage", GRAFT_I32, 4},
    {"ShortStorage", GRAFT_I16, 2},
    {"CharStorage", GRAFT_I8, 1},
    {"ByteStorage", GRAFT_U8, 1},
    {"BoolStorage", GRAFT_BOOL, 1},
    {"UntypedStorage", GRAFT_U8, 1},
    {"ComplexFloatStorage", GRAFT_N_DTYPES, 8},
    {"ComplexDoubleStorage", GRAFT_N_DTYPES, 16},
    {"QInt8Storage", GRAFT_N_DTYPES, 1},
    {"QUInt8Storage", GRAFT_N_DTYPES, 1},
    {"QInt32Storage", GRAFT_N_DTYPES, 4},
};

static bool is_storage_module(const char *module, size_t size) {
    static const char *const modules[] = {"torch", "torch.cuda", "torch.storage"};
    for (size_t i = 0; i < GRAFT_COUNT(modules); i++) {
        if (strlen(modules[i]) == size && memcmp(module, modules[i], size) == 0) return true;
    }
    return false;
}

static int fill_class(graft_torch_storage *s, const char *global, const char *origin, graft_err *err) {
    const char *dot = strrchr(global, '.');
    const char *name = dot ? dot + 1 : global;
    s->class_name = global;
    s->dtype = GRAFT_N_DTYPES;
    if (!dot || !is_storage_module(global, (size_t)(dot - global))) {
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: '%s' is no class of tensor storage", origin,
                             global);
    }
    for (size_t i = 0; i < GRAFT_COUNT(storage_classes); i++) {
        if (strcmp(name, storage_classes[i].name) != 0) continue;
        s->dtype = storage_classes[i].dtype;
        s->element_size = storage_classes[i].element_size;
    }
    return 0;
}

int graft_pickle_storage(graft_pickle **out, graft_arena *arena, const graft_pickle *id, const char *origin,
                         graft_err *err) {
    const call c = {.arena = arena, .name = "a persistent id", .origin = origin, .err = err};
    graft_pickle *const *args = id->as.list.items;
    if (id->kind != GRAFT_PICKLE_TUPLE || id->as.list.n < 2 || args[1]->kind != GRAFT_PICKLE_GLOBAL) {
        return bad_arguments(&c);
    }
    if (graft_pickle_is(args[0], GRAFT_PICKLE_TEXT,
                        "module")) { /* a class with its source text, which stays unread */
        *out = args[1];
        return 0;
    }
    if (!graft_pickle_is(args[0], GRAFT_PICKLE_TEXT, "storage") || id->as.list.n < 5 ||
        args[2]->kind != GRAFT_PICKLE_TEXT || args[4]->kind != GRAFT_PICKLE_INT || args[4]->as.integer < 0) {
        return bad_arguments(&c);
    }
    graft_pickle *v = graft_pickle_new(arena, GRAFT_PICKLE_STORAGE);
    graft_torch_storage *s = graft_arena_alloc(arena, sizeof *s);
    if (!v || !s) return graft_err_nomem(err);
    s->key = graft_arena_strndup(arena, args[2]->as.text.data, args[2]->as.text.size);
    if (!s->key) return graft_err_nomem(err);
    s->n_elements = args[4]->as.integer;
    const graft_pickle *view =
        id->as.list.n > 5 ? args[5] : NULL; /* (key, offset, size), of the years before 0.4 */
    if (view && view->kind == GRAFT_PICKLE_TUPLE && view->as.list.n == 3) {
        const graft_pickle *offset = view->as.list.items[1];
        if (offset->kind != GRAFT_PICKLE_INT || offset->as.integer < 0) return bad_arguments(&c);
        s->view_offset = offset->as.integer;
    }
    int rc = fill_class(s, args[1]->as.text.data, origin, err);
    v->as.storage = s;
    *out = v;
    return rc;
}
