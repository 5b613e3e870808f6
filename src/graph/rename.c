/* The same graph over other storage: what it trains goes by another name. */
#include "graph/rewrite.h"

int graft_graph_rename_trained(graft_graph **out, graft_arena *arena, const graft_graph *g,
                               const char *ending, graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    size_t n_values = graft_graph_n_values(g);
    for (size_t v = 0; v < n_values; v++) {
        const graft_value_info *info = graft_graph_value(g, (graft_value)v);
        if (info->kind != GRAFT_PARAM || !info->trained) continue;
        const char *name = graft_arena_printf(arena, "%s%s", info->name, ending);
        if (!name) return graft_rewrite_end(&r, out, graft_err_nomem(err), err);
        r.map[v] = graft_graph_param(r.to, name, NULL, info->shape);
        graft_value_info *made = graft_graph_value_mut(r.to, r.map[v]);
        if (!made) break;
        made->trained = true;
        made->source = info->source;
    }
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) graft_rewrite_copy(&r, graft_graph_node_at(g, i));
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}
