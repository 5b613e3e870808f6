/* A part of a graph as a graph of its own: the nodes that `outputs` need, back to `inputs`. An assignment
 * belongs to the part when it is computed by one node whose results-as-inputs all are in the part (the
 * running statistics of a batch norm do; an optimiser's update does not when the gradient is outside). */
#include "graph/op.h"
#include "graph/rewrite.h"

typedef struct part {
    const graft_graph *g;
    bool *is_cut;    /* per value: one of `inputs` */
    bool *is_needed; /* per node */
} part;

static const graft_node *producer(const graft_graph *g, graft_value v) {
    const graft_value_info *info = graft_graph_value(g, v);
    return info && info->kind == GRAFT_RESULT ? graft_graph_node_at(g, (size_t)info->node) : NULL;
}

static void need_value(part *p, graft_value v) {
    if (v == GRAFT_NONE || p->is_cut[v]) return;
    const graft_value_info *info = graft_graph_value(p->g, v);
    if (info->kind == GRAFT_RESULT) p->is_needed[info->node] = true;
}

/* Whether v is a result that the part has. */
static bool has_result(const part *p, graft_value v) {
    const graft_value_info *info = graft_graph_value(p->g, v);
    return p->is_cut[v] || (info->kind == GRAFT_RESULT && p->is_needed[info->node]);
}

static bool has_assign(const part *p, const graft_assign *a) {
    const graft_node *n = producer(p->g, a->value);
    if (!n || p->is_cut[a->target]) return false;
    if (has_result(p, a->value)) return true;
    size_t n_had = 0;
    for (size_t i = 0; i < n->n_in; i++) {
        if (n->in[i] == GRAFT_NONE) continue;
        if (has_result(p, n->in[i])) {
            n_had++;
        } else if (producer(p->g, n->in[i])) {
            return false;
        }
    }
    return n_had > 0;
}

static int find_part(part *p, const graft_output *outputs, size_t n_outputs, bool *is_assigned,
                     graft_err *err) {
    for (size_t i = 0; i < n_outputs; i++) {
        if (!graft_graph_value(p->g, outputs[i].value))
            return graft_err_set(err, GRAFT_EINTERNAL, "extract: output '%s' is no value of the graph",
                                 outputs[i].name);
        need_value(p, outputs[i].value);
    }
    for (size_t i = graft_graph_n_nodes(p->g); i-- > 0;) {
        const graft_node *n = graft_graph_node_at(p->g, i);
        for (size_t k = 0; p->is_needed[i] && k < n->n_in; k++) need_value(p, n->in[k]);
    }
    const graft_assign *assigns;
    size_t n_assigns = graft_graph_assigns(p->g, &assigns);
    for (size_t i = 0; i < n_assigns; i++) is_assigned[i] = has_assign(p, &assigns[i]);
    for (size_t i = 0; i < n_assigns; i++) {
        if (is_assigned[i]) need_value(p, assigns[i].value);
    }
    return 0;
}

static int cut_inputs(graft_rewrite *r, part *p, const graft_value *inputs, const char *const *names,
                      size_t n, graft_err *err) {
    for (size_t i = 0; i < n; i++) {
        const graft_value_info *v = graft_graph_value(p->g, inputs[i]);
        if (!v)
            return graft_err_set(err, GRAFT_EINTERNAL, "extract: input '%s' is no value of the graph",
                                 names[i]);
        p->is_cut[inputs[i]] = true;
        r->map[inputs[i]] = graft_graph_input(r->to, names[i], v->dtype, v->shape);
    }
    return 0;
}

int graft_graph_extract(graft_graph **out, graft_arena *arena, const graft_graph *g,
                        const graft_value *inputs, const char *const *input_names, size_t n_inputs,
                        const graft_output *outputs, size_t n_outputs, graft_err *err) {
    graft_rewrite r;
    const graft_assign *assigns;
    size_t n_assigns = graft_graph_assigns(g, &assigns), n_nodes = graft_graph_n_nodes(g);
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    part p = {.g = g};
    p.is_cut = graft_arena_array(r.scratch, graft_graph_n_values(g), sizeof *p.is_cut);
    p.is_needed = graft_arena_array(r.scratch, n_nodes, sizeof *p.is_needed);
    bool *is_assigned = graft_arena_array(r.scratch, n_assigns, sizeof *is_assigned);
    if (!p.is_cut || !p.is_needed || !is_assigned) rc = graft_err_nomem(err);
    if (rc == 0) rc = cut_inputs(&r, &p, inputs, input_names, n_inputs, err);
    if (rc == 0) rc = find_part(&p, outputs, n_outputs, is_assigned, err);
    for (size_t i = 0; rc == 0 && i < n_nodes; i++) {
        if (p.is_needed[i]) graft_rewrite_copy(&r, graft_graph_node_at(g, i));
    }
    for (size_t i = 0; rc == 0 && i < n_outputs; i++)
        graft_graph_output(r.to, outputs[i].name, graft_rewrite_value(&r, outputs[i].value));
    for (size_t i = 0; rc == 0 && i < n_assigns; i++) {
        if (!is_assigned[i]) continue;
        graft_graph_assign(r.to, graft_rewrite_value(&r, assigns[i].target),
                           graft_rewrite_value(&r, assigns[i].value));
    }
    return graft_rewrite_end(&r, out, rc, err);
}
