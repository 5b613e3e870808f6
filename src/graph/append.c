/* Two graphs become one: what both read under one name is the same value. */
#include "graph/graph.h"

/* The value of `to` that stands for the leaf: the one of its name, else a copy. */
static graft_value leaf_of(graft_graph *to, const graft_value_info *info) {
    graft_value v = graft_graph_find(to, info->name);
    if (v != GRAFT_NONE) return v;
    if (info->kind == GRAFT_INPUT) return graft_graph_input(to, info->name, info->dtype, info->shape);
    v = info->kind == GRAFT_STATE ? graft_graph_state(to, info->name, info->shape)
                                  : graft_graph_param(to, info->name, NULL, info->shape);
    graft_value_info *made = graft_graph_value_mut(to, v);
    if (!made) return GRAFT_NONE;
    made->trained = info->trained;
    made->source = info->source;
    return v;
}

static void append_node(graft_graph *to, const graft_graph *from, const graft_node *n, graft_value *map,
                        graft_value *in) {
    for (size_t k = 0; k < n->n_in; k++) {
        in[k] = GRAFT_NONE;
        if (n->in[k] == GRAFT_NONE) continue;
        if (map[n->in[k]] == GRAFT_NONE) map[n->in[k]] = leaf_of(to, graft_graph_value(from, n->in[k]));
        in[k] = map[n->in[k]];
    }
    graft_value out[4];
    graft_graph_scope(to, "%s", n->name);
    graft_graph_node(to, n->op, n->attr, in, n->n_in, out);
    for (size_t o = 0; o < n->n_out; o++) map[n->out[o]] = out[o];
}

int graft_graph_append(graft_graph *to, const graft_graph *from, graft_value *map, graft_err *err) {
    size_t most = 1;
    for (size_t v = 0; v < graft_graph_n_values(from); v++) map[v] = GRAFT_NONE;
    for (size_t i = 0; i < graft_graph_n_nodes(from); i++)
        if (graft_graph_node_at(from, i)->n_in > most) most = graft_graph_node_at(from, i)->n_in;
    graft_value *in = graft_arena_array(graft_graph_arena(to), most, sizeof *in);
    if (!in) return graft_err_nomem(err);
    for (size_t i = 0; i < graft_graph_n_nodes(from) && !graft_graph_failed(to); i++)
        append_node(to, from, graft_graph_node_at(from, i), map, in);
    return graft_graph_end(to, err);
}
