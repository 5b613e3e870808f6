/* Weights, moments and statistics shared by programs: changing values once, by name, in the layout that the
 * first program chose; frozen weights once for every layout that some program packs them into. */
#include "backend/lower.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct graft_state {
    graft_arena *arena;
    const graft_backend *backend;
    void *device;
    graft_slot **slots;
    size_t n_slots, capacity;
    graft_map *changing; /* name -> index in slots */
    const char **names;  /* of the changing ones */
    size_t n_names, names_capacity;
    size_t size;
    unsigned char *memory; /* of the programs' steps */
    size_t memory_size;
    uint64_t generation;
};

int graft_state_new(graft_state **out, const graft_env *env, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    graft_state *s = graft_arena_alloc(arena, sizeof *s);
    int rc = GRAFT_ENOMEM;
    if (s) s->changing = graft_map_new(arena);
    if (!s || !s->changing) {
        graft_err_nomem(err);
        goto fail;
    }
    s->arena = arena;
    s->backend = &graft_backend_cpu;
    rc = s->backend->open(&s->device, arena, graft_env_threads(env), err);
    if (rc < 0) goto fail;
    *out = s;
    return 0;
fail:
    graft_arena_free(arena);
    return rc;
}

void graft_state_free(graft_state *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_slots; i++) {
        free(s->slots[i]->data);
        free(s->slots[i]->pending);
    }
    free(s->slots);
    free(s->names);
    free(s->memory);
    graft_arena_free(s->arena);
}

const graft_backend *graft_state_backend(const graft_state *s) {
    return s->backend;
}

void *graft_state_device(const graft_state *s) {
    return s->device;
}

graft_slot *graft_state_find(const graft_state *s, const char *name) {
    int64_t i = graft_map_get_str(s->changing, name);
    return i < 0 ? NULL : s->slots[i];
}

/* Doubles an array of pointers when it is full. */
static int grow(void **items, size_t n, size_t *capacity, graft_err *err) {
    if (n < *capacity) return 0;
    size_t more = *capacity ? *capacity * 2 : 64;
    void *p = realloc(*items, more * sizeof(void *));
    if (!p) return graft_err_nomem(err);
    *items = p;
    *capacity = more;
    return 0;
}

static int add_slot(graft_state *s, graft_slot **out, const char *name, const graft_shape *shape,
                    bool changes, graft_err *err) {
    int rc = grow((void **)&s->slots, s->n_slots, &s->capacity, err);
    if (rc < 0) return rc;
    if (changes && (rc = grow((void **)&s->names, s->n_names, &s->names_capacity, err)) < 0) return rc;
    graft_slot *slot = graft_arena_alloc(s->arena, sizeof *slot);
    char *copy = graft_arena_strdup(s->arena, name);
    if (!slot || !copy) return graft_err_nomem(err);
    if (changes && graft_map_put_str(s->changing, copy, (int64_t)s->n_slots) < 0) return graft_err_nomem(err);
    slot->name = copy;
    slot->shape = *shape;
    slot->changes = changes;
    s->slots[s->n_slots++] = slot;
    if (changes) s->names[s->n_names++] = copy;
    *out = slot;
    return 0;
}

static bool same_source(const graft_source *a, const graft_source *b) {
    return a->tensor == b->tensor && a->gamma == b->gamma && a->beta == b->beta && a->mean == b->mean &&
           a->variance == b->variance && !(a->eps < b->eps) && !(a->eps > b->eps) && a->is_bias == b->is_bias;
}

graft_slot *graft_state_find_packed(const graft_state *s, const graft_value_info *info,
                                    const graft_layout *layout) {
    for (size_t i = 0; i < s->n_slots; i++) {
        graft_slot *c = s->slots[i];
        if (!c->changes && same_source(&c->source, &info->source) &&
            graft_shape_equal(&c->shape, &info->shape) && strcmp(c->name, info->name) == 0 &&
            s->backend->same(c->layout, layout))
            return c;
    }
    return NULL;
}

int graft_state_slot(graft_state *s, graft_slot **out, const graft_value_info *info,
                     const graft_layout *layout, bool *is_new, graft_err *err) {
    bool changes = info->trained || info->kind == GRAFT_STATE;
    graft_slot *slot = NULL;
    *is_new = false;
    if (changes) {
        slot = graft_state_find(s, info->name);
        if (slot && !graft_shape_equal(&slot->shape, &info->shape)) {
            return graft_err_set(err, GRAFT_ESHAPE, "'%s' has another shape in the state than in the graph",
                                 info->name);
        }
    } else {
        slot = graft_state_find_packed(s, info, layout);
    }
    if (!slot || !slot->layout) {
        graft_layout *copy = NULL; /* first: a slot is whole, or is not there */
        int rc = s->backend->clone(&copy, s->arena, layout, err);
        if (rc == 0 && !slot) rc = add_slot(s, &slot, info->name, &info->shape, changes, err);
        if (rc < 0) return rc;
        slot->layout = copy;
        slot->source = info->source;
        *is_new = true;
    }
    *out = slot;
    return 0;
}

/* Huge pages when the block is large: weights and arenas are walked from end to end. What does not fill a
 * huge page lies on small ones, for the rest of it would be held for nothing (a fifth of BERT-base's
 * weights). */
static void *alloc_pages(size_t size) {
    const size_t huge = (size_t)2 << 20;
    size_t align = size >= huge ? huge : 64;
    void *p = NULL;
    if (posix_memalign(&p, align, size ? size : 1) != 0) return NULL;
    if (align == huge) (void)madvise(p, size / huge * huge, MADV_HUGEPAGE);
    return p;
}

int graft_state_reserve(graft_state *s, size_t size, graft_err *err) {
    if (s->memory && size <= s->memory_size) return 0;
    free(s->memory); /* first: the old block and the new need not fit beside each other */
    s->memory_size = 0;
    s->generation++;
    s->memory = alloc_pages(size);
    if (!s->memory) return graft_err_nomem(err);
    s->memory_size = size;
    return 0;
}

unsigned char *graft_state_memory(const graft_state *s, uint64_t *generation) {
    *generation = s->generation;
    return s->memory;
}

/* Float32 in C order from or to a slot's layout. */
static int convert_plain(const graft_state *s, const graft_slot *slot, float *plain, bool to_slot,
                         graft_err *err) {
    graft_arena *tmp = graft_arena_new(NULL);
    if (!tmp) return graft_err_nomem(err);
    graft_layout *layout = NULL;
    int rc = s->backend->plain(&layout, tmp, GRAFT_F32, &slot->shape, err);
    if (rc < 0) {
        /* reported by the backend */
    } else if (to_slot) {
        rc = s->backend->convert(s->device, plain, layout, slot->data, slot->layout, err);
    } else {
        rc = s->backend->convert(s->device, slot->data, slot->layout, plain, layout, err);
    }
    graft_arena_free(tmp);
    return rc;
}

static size_t plain_count(const graft_shape *shape) {
    int64_t n = 0;
    return graft_shape_count(shape, &n) ? (size_t)n : 0;
}

/* The slot's value as float32: what was written to the state, else its source. NULL: zeros. */
static int read_plain(float **out, const graft_slot *slot, graft_err *err) {
    const graft_source *source = &slot->source;
    *out = slot->pending;
    if (*out || (!source->tensor && !source->gamma)) return 0;
    float *plain = malloc(plain_count(&slot->shape) * sizeof *plain + 1);
    int rc = plain ? graft_source_read(source, &slot->shape, plain, err) : graft_err_nomem(err);
    if (rc < 0) {
        free(plain);
        return rc;
    }
    if (source->tensor) graft_tensor_drop(source->tensor); /* it is packed soon */
    *out = plain;
    return 0;
}

/* The float32 values come first: the room that they give back is then that of the next slot's, and no part of
 * the gaps that aligned blocks leave between them has been touched. */
int graft_slot_fill(graft_state *s, graft_slot *slot, graft_err *err) {
    if (slot->data) return 0;
    size_t size = s->backend->size(slot->layout);
    float *plain = NULL;
    int rc = read_plain(&plain, slot, err);
    if (rc < 0) return rc;
    slot->data = alloc_pages(size);
    if (!slot->data) rc = graft_err_nomem(err);
    if (rc == 0) memset(slot->data, 0, size); /* the padding of blocked layouts has to be zero */
    if (rc == 0 && plain) rc = convert_plain(s, slot, plain, true, err);
    if (rc < 0) { /* still empty: another attempt reads it again */
        if (plain != slot->pending) free(plain);
        free(slot->data);
        slot->data = NULL;
        return rc;
    }
    free(plain);
    slot->pending = NULL;
    s->size += size;
    return 0;
}

static const graft_slot *readable(const graft_state *s, const char *name, size_t count, graft_err *err) {
    const graft_slot *slot = graft_state_find(s, name);
    if (!slot || (!slot->data && !slot->pending)) {
        graft_err_set(err, GRAFT_EUSAGE, "the state has no value named '%s'", name);
        return NULL;
    }
    if (plain_count(&slot->shape) != count) {
        graft_err_set(err, GRAFT_ESHAPE, "'%s' has %zu elements, not %zu", name, plain_count(&slot->shape),
                      count);
        return NULL;
    }
    return slot;
}

int graft_state_read(const graft_state *s, const char *name, float *out, size_t count, graft_err *err) {
    graft_err local;
    const graft_slot *slot = readable(s, name, count, err ? err : &local);
    if (!slot) return err ? err->code : local.code;
    if (!slot->data) {
        memcpy(out, slot->pending, count * sizeof *out);
        return 0;
    }
    return convert_plain(s, slot, out, false, err);
}

int graft_state_write(graft_state *s, const char *name, const graft_shape *shape, const float *in,
                      graft_err *err) {
    graft_slot *slot = graft_state_find(s, name);
    int rc = 0;
    if (!slot && (rc = add_slot(s, &slot, name, shape, true, err)) < 0) return rc;
    if (!graft_shape_equal(&slot->shape, shape)) {
        return graft_err_set(err, GRAFT_ESHAPE, "'%s' has another shape in the state", name);
    }
    size_t count = plain_count(shape);
    float *copy = malloc(count * sizeof *copy + 1);
    if (!copy) return graft_err_nomem(err);
    memcpy(copy, in, count * sizeof *copy);
    if (slot->data) {
        rc = convert_plain(s, slot, copy, true, err);
        free(copy);
        return rc;
    }
    free(slot->pending);
    slot->pending = copy;
    return 0;
}

size_t graft_state_names(const graft_state *s, const char *const **names) {
    *names = s->names;
    return s->n_names;
}

const graft_shape *graft_state_shape(const graft_state *s, const char *name) {
    const graft_slot *slot = graft_state_find(s, name);
    return slot ? &slot->shape : NULL;
}

void graft_state_zero(graft_state *s, const char *name) {
    graft_slot *slot = graft_state_find(s, name);
    if (!slot) return;
    if (slot->data) memset(slot->data, 0, s->backend->size(slot->layout));
    if (slot->pending) memset(slot->pending, 0, plain_count(&slot->shape) * sizeof *slot->pending);
}

size_t graft_state_size(const graft_state *s) {
    return s->size;
}
