/* Making a graph and looking at it. */
#include "graph/core.h"
#include "graph/op.h"

#include <string.h>

graft_graph *graft_graph_new(graft_arena *arena) {
    graft_graph *g = graft_arena_alloc(arena, sizeof *g);
    if (!g) return NULL;
    g->arena = arena;
    g->names = graft_map_new(arena);
    g->output_names = graft_map_new(arena);
    g->scope = "";
    return g->names && g->output_names ? g : NULL;
}

graft_arena *graft_graph_arena(const graft_graph *g) {
    return g->arena;
}

const char *graft_graph_scope_name(const graft_graph *g) {
    return g->scope;
}

size_t graft_graph_n_values(const graft_graph *g) {
    return g->n_values;
}

size_t graft_graph_n_nodes(const graft_graph *g) {
    return g->n_nodes;
}

const graft_value_info *graft_graph_value(const graft_graph *g, graft_value v) {
    return v >= 0 && (size_t)v < g->n_values ? &g->values[v] : NULL;
}

graft_value_info *graft_graph_value_mut(graft_graph *g, graft_value v) {
    return v >= 0 && (size_t)v < g->n_values ? &g->values[v] : NULL;
}

const graft_node *graft_graph_node_at(const graft_graph *g, size_t i) {
    return i < g->n_nodes ? &g->nodes[i] : NULL;
}

int graft_graph_node_set(graft_graph *g, size_t i, const void *attr, graft_err *err) {
    const size_t size = g->nodes[i].op->attr_size;
    void *copy = graft_arena_alloc(g->arena, size);
    if (!copy) return graft_err_nomem(err);
    memcpy(copy, attr, size);
    g->nodes[i].attr = copy;
    return 0;
}

size_t graft_graph_outputs(const graft_graph *g, const graft_output **out) {
    if (out) *out = g->outputs;
    return g->n_outputs;
}

size_t graft_graph_assigns(const graft_graph *g, const graft_assign **out) {
    if (out) *out = g->assigns;
    return g->n_assigns;
}

graft_value graft_graph_find(const graft_graph *g, const char *name) {
    int64_t v = graft_map_get_str(g->names, name);
    if (v >= 0) return (graft_value)v;
    int64_t i = graft_map_get_str(g->output_names, name);
    return i >= 0 ? g->outputs[i].value : GRAFT_NONE;
}

void graft_graph_count_uses(const graft_graph *g, int32_t *uses) {
    memset(uses, 0, g->n_values * sizeof *uses);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const graft_node *n = &g->nodes[i];
        for (size_t k = 0; k < n->n_in; k++) {
            if (n->in[k] != GRAFT_NONE) uses[n->in[k]]++;
        }
    }
    for (size_t i = 0; i < g->n_outputs; i++) uses[g->outputs[i].value]++;
    for (size_t i = 0; i < g->n_assigns; i++) uses[g->assigns[i].value]++;
}
