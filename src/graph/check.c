/* The verifier: what every graph promises to those that read it. A failure is a pass's mistake, never a
 * model's. */
#include "graph/core.h"

#include "graph/op.h"

static int wrong(graft_err *err, const graft_node *n, const char *what) {
    return graft_err_set(err, GRAFT_EINTERNAL, "graph: node '%s' (%s): %s", n->name, n->op->name, what);
}

/* F32 and BF16 stand for each other: precision.c changes the one into the other after inference. */
static bool is_same_dtype(graft_dtype a, graft_dtype b) {
    bool a_real = a == GRAFT_F32 || a == GRAFT_BF16, b_real = b == GRAFT_F32 || b == GRAFT_BF16;
    return a == b || (a_real && b_real);
}

static int check_inputs(const graft_graph *g, size_t i, const graft_value_info **infos, graft_err *err) {
    const graft_node *n = &g->nodes[i];
    for (size_t k = 0; k < n->n_in; k++) {
        infos[k] = NULL;
        if (n->in[k] == GRAFT_NONE) continue;
        infos[k] = graft_graph_value(g, n->in[k]);
        if (!infos[k]) return wrong(err, n, "an input is no value of the graph");
        if (infos[k]->kind == GRAFT_RESULT && infos[k]->node >= (int32_t)i)
            return wrong(err, n, "an input is computed later");
    }
    return 0;
}

static int check_results(const graft_graph *g, size_t i, const graft_value_info **infos, graft_err *err) {
    const graft_node *n = &g->nodes[i];
    if (n->n_out != n->op->n_out || n->n_out > GRAFT_MAX_RESULTS)
        return wrong(err, n, "the number of results is not the row's");
    graft_shape shape[GRAFT_MAX_RESULTS] = {0};
    graft_dtype dtype[GRAFT_MAX_RESULTS];
    for (size_t o = 0; o < GRAFT_MAX_RESULTS; o++) dtype[o] = GRAFT_F32;
    graft_op_types types = {
        .in = infos, .n_in = n->n_in, .attr = n->attr, .out_shape = shape, .out_dtype = dtype};
    graft_err why = {0};
    if (n->op->shape(&types, &why) < 0) return wrong(err, n, why.message);
    for (size_t o = 0; o < n->n_out; o++) {
        const graft_value_info *v = graft_graph_value(g, n->out[o]);
        if (!v || v->kind != GRAFT_RESULT || v->node != (int32_t)i)
            return wrong(err, n, "a result does not name its node");
        if (!graft_shape_equal(&v->shape, &shape[o]) || !is_same_dtype(v->dtype, dtype[o]))
            return wrong(err, n, "a result has another shape or type than its row infers");
    }
    return 0;
}

static int check_values(const graft_graph *g, graft_err *err) {
    size_t n_results = 0;
    for (size_t i = 0; i < g->n_nodes; i++) n_results += g->nodes[i].n_out;
    for (size_t v = 0; v < g->n_values; v++) {
        const graft_value_info *info = &g->values[v];
        if (info->kind == GRAFT_RESULT) {
            if (info->node < 0 || (size_t)info->node >= g->n_nodes || n_results-- == 0)
                return graft_err_set(err, GRAFT_EINTERNAL, "graph: result %zu belongs to no node", v);
        } else if (!info->name || graft_map_get_str(g->names, info->name) != (int64_t)v) {
            return graft_err_set(err, GRAFT_EINTERNAL, "graph: value %zu cannot be found by name", v);
        }
    }
    if (n_results)
        return graft_err_set(err, GRAFT_EINTERNAL, "graph: a result is computed by two nodes or none");
    return 0;
}

static int check_ends(const graft_graph *g, bool *assigned, graft_err *err) {
    for (size_t i = 0; i < g->n_outputs; i++) {
        if (!graft_graph_value(g, g->outputs[i].value))
            return graft_err_set(err, GRAFT_EINTERNAL, "graph: output '%s' is no value", g->outputs[i].name);
    }
    for (size_t i = 0; i < g->n_assigns; i++) {
        const graft_value_info *t = graft_graph_value(g, g->assigns[i].target);
        const graft_value_info *v = graft_graph_value(g, g->assigns[i].value);
        if (!t || !v || (t->kind != GRAFT_PARAM && t->kind != GRAFT_STATE) ||
            !graft_shape_equal(&t->shape, &v->shape))
            return graft_err_set(err, GRAFT_EINTERNAL, "graph: assignment %zu does not fit its target", i);
        if (assigned[g->assigns[i].target])
            return graft_err_set(err, GRAFT_EINTERNAL, "graph: '%s' is assigned twice", t->name);
        assigned[g->assigns[i].target] = true;
    }
    return 0;
}

int graft_graph_check(const graft_graph *g, graft_err *err) {
    int rc = graft_graph_end(g, err);
    if (rc < 0) return rc;
    graft_arena *scratch = graft_arena_new(NULL);
    if (!scratch) return graft_err_nomem(err);
    size_t most = 0;
    for (size_t i = 0; i < g->n_nodes; i++) most = g->nodes[i].n_in > most ? g->nodes[i].n_in : most;
    const graft_value_info **infos = graft_arena_array(scratch, most, sizeof *infos);
    bool *assigned = graft_arena_array(scratch, g->n_values, sizeof *assigned);
    if (!infos || !assigned) rc = graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < g->n_nodes; i++) {
        rc = check_inputs(g, i, infos, err);
        if (rc == 0) rc = check_results(g, i, infos, err);
    }
    if (rc == 0) rc = check_values(g, err);
    if (rc == 0) rc = check_ends(g, assigned, err);
    graft_arena_free(scratch);
    return rc;
}
