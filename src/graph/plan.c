/* What a set of marks means. A node is in the suffix when one of its inputs changes while training: a trained
 * or assigned parameter, a state, or a result of the suffix; and a dropout that lasts is. All else is the
 * frozen prefix, whose results stay the same for a sample as long as the marks do; what the suffix reads of
 * it is the boundary. */
#include "graph/op.h"
#include "graph/rewrite.h"

static bool changes(const graft_graph *g, graft_value v, const bool *prefix, const bool *assigned) {
    if (v == GRAFT_NONE) return false;
    const graft_value_info *info = graft_graph_value(g, v);
    switch (info->kind) {
    case GRAFT_INPUT:
        return false;
    case GRAFT_PARAM:
        return info->trained || assigned[v];
    case GRAFT_STATE:
        return true;
    case GRAFT_RESULT:
        return !prefix[info->node];
    }
    return true;
}

/* Marks v as crossing when it is an input or a result of the prefix. */
static void cross(const graft_graph *g, graft_value v, const bool *prefix, bool *crosses) {
    if (v == GRAFT_NONE) return;
    const graft_value_info *info = graft_graph_value(g, v);
    if (info->kind == GRAFT_INPUT || (info->kind == GRAFT_RESULT && prefix[info->node])) crosses[v] = true;
}

static void find_boundary(const graft_graph *g, const bool *prefix, bool *crosses) {
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        for (size_t k = 0; !prefix[i] && k < n->n_in; k++) cross(g, n->in[k], prefix, crosses);
    }
    const graft_output *outputs;
    const graft_assign *assigns;
    size_t n_outputs = graft_graph_outputs(g, &outputs), n_assigns = graft_graph_assigns(g, &assigns);
    for (size_t i = 0; i < n_outputs; i++) cross(g, outputs[i].value, prefix, crosses);
    for (size_t i = 0; i < n_assigns; i++) cross(g, assigns[i].value, prefix, crosses);
}

int graft_plan_derive(graft_plan *out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    *out = (graft_plan){0};
    int rc = graft_graph_end(g, err);
    if (rc < 0) return rc;
    size_t n_nodes = graft_graph_n_nodes(g), n_values = graft_graph_n_values(g);
    out->prefix = graft_arena_array(arena, n_nodes, sizeof *out->prefix);
    bool *assigned = graft_graph_assigned(g, arena),
         *crosses = graft_arena_array(arena, n_values, sizeof *crosses);
    if (!out->prefix || !assigned || !crosses) return graft_err_nomem(err);
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        bool is_suffix = n->op == &graft_op_dropout && ((const graft_dropout_attr *)n->attr)->lasts;
        for (size_t k = 0; k < n->n_in; k++)
            is_suffix = is_suffix || changes(g, n->in[k], out->prefix, assigned);
        out->prefix[i] = !is_suffix;
        if (is_suffix) {
            out->n_suffix++;
        } else {
            out->n_prefix++;
        }
    }
    find_boundary(g, out->prefix, crosses);
    for (size_t v = 0; v < n_values; v++) out->n_boundary += crosses[v];
    out->boundary = graft_arena_array(arena, out->n_boundary, sizeof *out->boundary);
    if (!out->boundary) return graft_err_nomem(err);
    size_t n = 0;
    for (size_t v = 0; v < n_values; v++) {
        if (crosses[v]) out->boundary[n++] = (graft_value)v;
    }
    return 0;
}
