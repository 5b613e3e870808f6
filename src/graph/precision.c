/* What is computed in another precision than float32.
 *
 * bf16x3: the products of linear layers and of their gradients, with nodes' attributes saying so; all values
 * stay float32.
 *
 * bf16: results are, those that the row of their op allows, but for what leaves the graph (outputs,
 * assigned values), what a loss reads as its logits, and the sums of what stays float32, so gradients of
 * parameters do too. A view has the type of what it shows. */
#include "graph/graph.h"

#include "graph/op.h"

/* keep[v]: v stays float32 because of who reads it. */
static void find_kept(const graft_graph *g, bool *keep) {
    const graft_output *outputs;
    const graft_assign *assigns;
    size_t n_outputs = graft_graph_outputs(g, &outputs), n_assigns = graft_graph_assigns(g, &assigns);
    for (size_t i = 0; i < n_outputs; i++) keep[outputs[i].value] = true;
    for (size_t i = 0; i < n_assigns; i++) keep[assigns[i].value] = true;
    for (size_t i = graft_graph_n_nodes(g); i-- > 0;) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (n->op->loss || (n->op->view && keep[n->out[0]])) keep[n->in[0]] = true;
    }
}

static bool is_bf16(const graft_graph *g, graft_value v) {
    return graft_graph_value(g, v)->dtype == GRAFT_BF16;
}

static void mark_node(graft_graph *g, const graft_node *n, const bool *keep) {
    for (size_t o = 0; o < n->n_out; o++) {
        graft_value_info *v = graft_graph_value_mut(g, n->out[o]);
        if (v->dtype != GRAFT_F32 && v->dtype != GRAFT_BF16) continue;
        bool allowed = (n->op->bf16 >> o & 1) != 0;
        if (n->op == &graft_op_sum_into) allowed = is_bf16(g, n->in[0]) && is_bf16(g, n->in[1]);
        if (n->op == &graft_op_linear_dx && n->in[2] != GRAFT_NONE) allowed = is_bf16(g, n->in[2]);
        if (n->op->view) allowed = is_bf16(g, n->in[0]);
        v->dtype = allowed && !keep[n->out[o]] ? GRAFT_BF16 : GRAFT_F32;
    }
}

static int mark_products(graft_graph *g, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(g) && rc == 0; i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (n->op != &graft_op_linear && n->op != &graft_op_linear_dx && n->op != &graft_op_linear_dw)
            continue;
        graft_linear_attr a = *(const graft_linear_attr *)n->attr;
        a.bf16x3 = 1;
        rc = graft_graph_node_set(g, i, &a, err);
    }
    return rc;
}

int graft_graph_precision(graft_graph *g, graft_precision precision, graft_err *err) {
    int rc = graft_graph_end(g, err);
    if (rc < 0 || precision == GRAFT_PRECISION_FP32) return rc;
    if (precision == GRAFT_PRECISION_BF16X3) return mark_products(g, err);
    if (precision != GRAFT_PRECISION_BF16)
        return graft_err_set(err, GRAFT_EUSAGE, "%d is no precision", (int)precision);
    graft_arena *scratch = graft_arena_new(NULL);
    bool *keep = scratch ? graft_arena_array(scratch, graft_graph_n_values(g), sizeof *keep) : NULL;
    if (keep) {
        find_kept(g, keep);
        for (size_t i = 0; i < graft_graph_n_nodes(g); i++) mark_node(g, graft_graph_node_at(g, i), keep);
    } else {
        rc = graft_err_nomem(err);
    }
    graft_arena_free(scratch);
    return rc;
}
