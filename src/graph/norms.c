/* Which batch norms learn statistics: those whose running mean is marked trained. */
#include "graph/op.h"
#include "graph/rewrite.h"

/* Their momentum is their own, or `momentum` where that is not negative. */
static int train_norms(graft_graph **out, graft_arena *arena, const graft_graph *g, double momentum,
                       graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (n->op != &graft_op_batch_norm || !graft_graph_value(g, n->in[3])->trained) {
            graft_rewrite_copy(&r, n);
            continue;
        }
        graft_value in[5];
        graft_norm_attr a = *(const graft_norm_attr *)n->attr;
        if (momentum >= 0) a.momentum = momentum;
        for (size_t k = 0; k < GRAFT_COUNT(in); k++) in[k] = graft_rewrite_value(&r, n->in[k]);
        graft_graph_scope(r.to, "%s", n->name);
        graft_rewrite_map(&r, n->out[0], graft_batch_norm_train(r.to, in[0], in[1], in[2], in[3], in[4], a));
    }
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}

int graft_graph_train_norms(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    return train_norms(out, arena, g, -1, err);
}

int graft_graph_measure_norms(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    return train_norms(out, arena, g, 1, err);
}
