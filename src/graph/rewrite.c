#include "graph/rewrite.h"

#include "graph/op.h"

int graft_rewrite_begin(graft_rewrite *r, graft_arena *arena, const graft_graph *from, graft_err *err) {
    *r = (graft_rewrite){.from = from};
    int rc = graft_graph_end(from, err);
    if (rc < 0) return rc;
    size_t n_values = graft_graph_n_values(from);
    r->to = graft_graph_new(arena);
    r->scratch = graft_arena_new(NULL);
    r->map = r->scratch ? graft_arena_array(r->scratch, n_values, sizeof *r->map) : NULL;
    if (!r->to || !r->map) {
        graft_arena_free(r->scratch);
        return graft_err_nomem(err);
    }
    for (size_t v = 0; v < n_values; v++) r->map[v] = GRAFT_NONE;
    return 0;
}

static graft_value copy_leaf(graft_graph *to, const graft_value_info *v) {
    graft_value made = GRAFT_NONE;
    switch (v->kind) {
    case GRAFT_INPUT:
        made = graft_graph_input(to, v->name, v->dtype, v->shape);
        break;
    case GRAFT_PARAM:
        made = graft_graph_param(to, v->name, NULL, v->shape);
        break;
    case GRAFT_STATE:
        made = graft_graph_state(to, v->name, v->shape);
        break;
    case GRAFT_RESULT:
        graft_graph_fail(to, GRAFT_EINTERNAL, "a result is read that the pass has not copied");
        break;
    }
    if (made == GRAFT_NONE) return made;
    graft_value_info *info = graft_graph_value_mut(to, made);
    info->dtype = v->dtype;
    info->trained = v->trained;
    info->source = v->source;
    return made;
}

graft_value graft_rewrite_value(graft_rewrite *r, graft_value v) {
    if (v == GRAFT_NONE) return GRAFT_NONE;
    if (r->map[v] == GRAFT_NONE) r->map[v] = copy_leaf(r->to, graft_graph_value(r->from, v));
    return r->map[v];
}

void graft_rewrite_map(graft_rewrite *r, graft_value v, graft_value new_value) {
    if (new_value == GRAFT_NONE) return;
    r->map[v] = new_value;
    graft_dtype dtype = graft_graph_value(r->from, v)->dtype;
    graft_value_info *info = graft_graph_value_mut(r->to, new_value);
    if (info->kind == GRAFT_RESULT && (info->dtype == GRAFT_F32 || info->dtype == GRAFT_BF16))
        info->dtype = dtype;
}

void graft_rewrite_node(graft_rewrite *r, const graft_node *n, const void *attr, const graft_value *in) {
    graft_value results[GRAFT_MAX_RESULTS];
    graft_value *mapped = NULL;
    if (!in) {
        mapped = graft_arena_array(r->scratch, n->n_in, sizeof *mapped);
        if (!mapped) {
            graft_graph_fail(r->to, GRAFT_ENOMEM, "out of memory");
            return;
        }
        for (size_t i = 0; i < n->n_in; i++) mapped[i] = graft_rewrite_value(r, n->in[i]);
    }
    graft_graph_scope(r->to, "%s", n->name);
    graft_graph_node(r->to, n->op, attr, in ? in : mapped, n->n_in, results);
    for (size_t o = 0; o < n->n_out; o++) graft_rewrite_map(r, n->out[o], results[o]);
}

void graft_rewrite_copy(graft_rewrite *r, const graft_node *n) {
    graft_rewrite_node(r, n, n->attr, NULL);
}

void graft_rewrite_ends(graft_rewrite *r) {
    const graft_output *outputs;
    const graft_assign *assigns;
    size_t n_outputs = graft_graph_outputs(r->from, &outputs),
           n_assigns = graft_graph_assigns(r->from, &assigns);
    for (size_t i = 0; i < n_outputs; i++)
        graft_graph_output(r->to, outputs[i].name, graft_rewrite_value(r, outputs[i].value));
    for (size_t i = 0; i < n_assigns; i++)
        graft_graph_assign(r->to, graft_rewrite_value(r, assigns[i].target),
                           graft_rewrite_value(r, assigns[i].value));
}

int graft_rewrite_end(graft_rewrite *r, graft_graph **out, int rc, graft_err *err) {
    graft_arena_free(r->scratch);
    if (rc == 0) rc = graft_graph_check(r->to, err);
    if (rc == 0) *out = r->to;
    return rc;
}

bool graft_value_is_constant(const graft_graph *g, graft_value v, const bool *assigned) {
    const graft_value_info *info = graft_graph_value(g, v);
    return info && info->kind == GRAFT_PARAM && !info->trained && !assigned[v];
}

bool *graft_graph_assigned(const graft_graph *g, graft_arena *arena) {
    bool *assigned = graft_arena_array(arena, graft_graph_n_values(g), sizeof *assigned);
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(g, &assigns);
    for (size_t i = 0; assigned && i < n; i++) assigned[assigns[i].target] = true;
    return assigned;
}
