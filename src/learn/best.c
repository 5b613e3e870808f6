/* The best epoch's weights, kept on the host. */
#include "learn/run.h"

int graft_best_init(graft_best *b, graft_arena *arena, const graft_graph *suffix, graft_err *err) {
    size_t n = graft_graph_n_values(suffix);
    *b = (graft_best){.names = graft_arena_array(arena, n + 1, sizeof *b->names),
                      .shapes = graft_arena_array(arena, n + 1, sizeof *b->shapes),
                      .counts = graft_arena_array(arena, n + 1, sizeof *b->counts)};
    if (!b->names || !b->shapes || !b->counts) return graft_err_nomem(err);
    for (size_t v = 0; v < n; v++) {
        const graft_value_info *info = graft_graph_value(suffix, (graft_value)v);
        int64_t count = 0;
        if (info->kind != GRAFT_PARAM || !info->trained || !graft_shape_count(&info->shape, &count)) continue;
        b->names[b->n] = info->name;
        b->shapes[b->n] = info->shape;
        b->counts[b->n++] = (size_t)count;
    }
    return 0;
}

int graft_best_take(graft_best *b, graft_arena *arena, const graft_state *state, graft_err *err) {
    if (!b->values) {
        float **values = graft_arena_array(arena, b->n + 1, sizeof *values);
        for (size_t i = 0; values && i < b->n; i++) {
            values[i] = graft_arena_array(arena, b->counts[i] + 1, sizeof **values);
            if (!values[i]) values = NULL;
        }
        if (!values) return graft_err_nomem(err);
        b->values = values;
    }
    int rc = 0;
    for (size_t i = 0; i < b->n && rc == 0; i++)
        rc = graft_state_read(state, b->names[i], b->values[i], b->counts[i], err);
    return rc;
}

int graft_best_restore(const graft_best *b, graft_state *state, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; b->values && i < b->n && rc == 0; i++)
        rc = graft_state_write(state, b->names[i], &b->shapes[i], b->values[i], err);
    return rc;
}
