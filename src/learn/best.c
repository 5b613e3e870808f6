/* The best epoch's weights, kept on the host. */
#include "learn/run.h"

#include <math.h>

int graft_best_init(graft_best *b, graft_arena *arena, const graft_graph *suffix, bool averaged,
                    graft_err *err) {
    size_t n = graft_graph_n_values(suffix);
    *b = (graft_best){.names = graft_arena_array(arena, n + 1, sizeof *b->names),
                      .from = graft_arena_array(arena, n + 1, sizeof *b->from),
                      .shapes = graft_arena_array(arena, n + 1, sizeof *b->shapes),
                      .counts = graft_arena_array(arena, n + 1, sizeof *b->counts)};
    if (!b->names || !b->from || !b->shapes || !b->counts) return graft_err_nomem(err);
    for (size_t v = 0; v < n; v++) {
        const graft_value_info *info = graft_graph_value(suffix, (graft_value)v);
        int64_t count = 0;
        if (info->kind != GRAFT_PARAM || !info->trained || !graft_shape_count(&info->shape, &count)) continue;
        b->names[b->n] = b->from[b->n] = info->name;
        if (averaged) b->from[b->n] = graft_arena_printf(arena, "%s" GRAFT_AVERAGE_ENDING, info->name);
        if (!b->from[b->n]) return graft_err_nomem(err);
        b->shapes[b->n] = info->shape;
        b->counts[b->n++] = (size_t)count;
    }
    return 0;
}

int graft_best_reserve(graft_best *b, graft_arena *arena, graft_err *err) {
    if (b->values) return 0;
    float **values = graft_arena_array(arena, b->n + 1, sizeof *values);
    for (size_t i = 0; values && i < b->n; i++) {
        values[i] = graft_arena_array(arena, b->counts[i] + 1, sizeof **values);
        if (!values[i]) values = NULL;
    }
    if (!values) return graft_err_nomem(err);
    b->values = values;
    return 0;
}

int graft_best_take(graft_best *b, graft_arena *arena, const graft_state *state, graft_err *err) {
    int rc = graft_best_reserve(b, arena, err);
    for (size_t i = 0; i < b->n && rc == 0; i++)
        rc = graft_state_read(state, b->from[i], b->values[i], b->counts[i], err);
    return rc;
}

int graft_best_restore(const graft_best *b, graft_state *state, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; b->values && i < b->n && rc == 0; i++)
        rc = graft_state_write(state, b->names[i], &b->shapes[i], b->values[i], err);
    return rc;
}

int graft_best_shelve(const graft_best *b, graft_shelf *shelf, const graft_state *state, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; i < b->n && rc == 0; i++) rc = graft_shelf_take(shelf, state, b->names[i], err);
    return rc;
}

size_t graft_best_size(const graft_best *b) {
    size_t total = 0;
    for (size_t i = 0; i < b->n; i++) total += b->counts[i] * sizeof(float);
    return total;
}

const char *graft_best_not_finite(const graft_best *b, const graft_state *state, float *room) {
    for (size_t i = 0; i < b->n; i++) {
        size_t k = 0;
        if (graft_state_read(state, b->names[i], room, b->counts[i], NULL) < 0) continue;
        while (k < b->counts[i] && isfinite(room[k])) k++;
        if (k < b->counts[i]) return b->names[i];
    }
    return NULL;
}
