/* Named float32 values on the host: what one phase of a run hands to the next. */
#include "learn/learn.h"

#include <string.h>

struct graft_shelf {
    graft_arena *arena;
    graft_map *index;
    graft_tensor *items;
    size_t n, room;
};

int graft_shelf_new(graft_shelf **out, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_shelf *s = arena ? graft_arena_alloc(arena, sizeof *s) : NULL;
    if (s) *s = (graft_shelf){.arena = arena, .index = graft_map_new(arena)};
    if (!s || !s->index) {
        graft_arena_free(arena);
        return graft_err_nomem(err);
    }
    *out = s;
    return 0;
}

void graft_shelf_free(graft_shelf *s) {
    if (s) graft_arena_free(s->arena);
}

static int add(graft_shelf *s, const char *name, const graft_shape *shape, size_t count, graft_err *err) {
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        graft_tensor *items = graft_arena_array(s->arena, room, sizeof *items);
        if (!items) return graft_err_nomem(err);
        if (s->n) memcpy(items, s->items, s->n * sizeof *items);
        s->items = items;
        s->room = room;
    }
    const char *own = graft_arena_strdup(s->arena, name);
    float *values = graft_arena_array(s->arena, count + 1, sizeof *values);
    if (!own || !values || graft_map_put_str(s->index, own, (int64_t)s->n) < 0) return graft_err_nomem(err);
    s->items[s->n++] = (graft_tensor){
        .name = own, .dtype = GRAFT_F32, .shape = *shape, .data = values, .size = count * sizeof *values};
    return 0;
}

int graft_shelf_room(float **out, graft_shelf *s, const char *name, const graft_shape *shape,
                     graft_err *err) {
    int64_t i = graft_map_get_str(s->index, name), count = 0;
    *out = NULL;
    if (!graft_shape_count(shape, &count))
        return graft_err_set(err, GRAFT_ESHAPE, "'%s' has no fixed number of elements", name);
    if (i < 0) {
        int rc = add(s, name, shape, (size_t)count, err);
        if (rc < 0) return rc;
        i = (int64_t)s->n - 1;
    }
    if (!graft_shape_equal(&s->items[i].shape, shape))
        return graft_err_set(err, GRAFT_ESHAPE, "'%s' changed its shape from one phase to the next", name);
    *out = (float *)s->items[i].data;
    return 0;
}

size_t graft_shelf_items(const graft_shelf *s, const graft_tensor **out) {
    *out = s->items;
    return s->n;
}

const graft_tensor *graft_shelf_find(const graft_shelf *s, const char *name) {
    int64_t i = graft_map_get_str(s->index, name);
    return i < 0 ? NULL : &s->items[i];
}

int graft_shelf_take(graft_shelf *s, const graft_state *state, const char *name, graft_err *err) {
    const graft_shape *shape = graft_state_shape(state, name);
    float *values = NULL;
    int64_t count = 0;
    if (!shape) return graft_err_set(err, GRAFT_EINTERNAL, "the state has no '%s'", name);
    int rc = graft_shelf_room(&values, s, name, shape, err);
    if (rc < 0) return rc;
    (void)graft_shape_count(shape, &count); /* it has one: there is room */
    return graft_state_read(state, name, values, (size_t)count, err);
}
