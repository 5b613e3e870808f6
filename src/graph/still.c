/* Without chance: every dropout and every dropped path is replaced by what it reads, and attention drops
 * nothing, for inference and for evaluation. */
#include "graph/op.h"
#include "graph/rewrite.h"

/* Attention without its seed. */
static void copy_attention(graft_rewrite *r, const graft_node *n) {
    enum { SEED = 4 };
    graft_attention_attr a = *(const graft_attention_attr *)n->attr;
    graft_value in[SEED + 1];
    a.p = 0;
    for (size_t k = 0; k < SEED; k++) in[k] = graft_rewrite_value(r, n->in[k]);
    in[SEED] = GRAFT_NONE;
    graft_rewrite_node(r, n, &a, in);
}

static void copy_attention_one(graft_rewrite *r, const graft_node *n) {
    enum { SEED = 4 };
    graft_attention_one_attr a = *(const graft_attention_one_attr *)n->attr;
    graft_value in[SEED + 1];
    a.p = 0;
    for (size_t k = 0; k < SEED; k++) in[k] = graft_rewrite_value(r, n->in[k]);
    in[SEED] = GRAFT_NONE;
    graft_rewrite_node(r, n, &a, in);
}

int graft_graph_without_dropout(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (n->op == &graft_op_dropout || n->op == &graft_op_drop_path) {
            r.map[n->out[0]] = graft_rewrite_value(&r, n->in[0]);
        } else if (n->op == &graft_op_attention) {
            copy_attention(&r, n);
        } else if (n->op == &graft_op_attention_one) {
            copy_attention_one(&r, n);
        } else if (n->op == &graft_op_dropout_grad) {
            graft_graph_fail(r.to, GRAFT_EINTERNAL,
                             "a dropout is taken out of a graph that has its gradient");
        } else {
            graft_rewrite_copy(&r, n);
        }
    }
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}

graft_value graft_graph_operand(const graft_graph *g, graft_value v) {
    const graft_value_info *info = graft_graph_value(g, v);
    bool is_operand = false;
    while (info && info->kind == GRAFT_RESULT) {
        const graft_node *n = graft_graph_node_at(g, (size_t)info->node);
        if (is_operand && n->op != &graft_op_dropout) break;
        is_operand = true;
        v = n->in[0];
        info = graft_graph_value(g, v);
    }
    return v;
}
