/* What a graph costs: multiply-adds of convolutions and linear layers a sample, which is where the time of a
 * network goes. Their gradients cost as much again each: once for the weights, where they are trained, and
 * once for the input, where something before it is. */
#include "graph/op.h"

/* Multiply-adds of node n with a batch of one, or 0 for what is no product. */
static double products(const graft_graph *g, const graft_node *n) {
    bool is_conv = n->op == &graft_op_conv2d;
    if (!is_conv && n->op != &graft_op_linear) return 0.0;
    const graft_shape *w = &graft_graph_value(g, n->in[1])->shape,
                      *y = &graft_graph_value(g, n->out[0])->shape;
    double count = 1.0;
    for (int i = 0; i < y->rank; i++) count *= y->dims[i] < 0 ? 1.0 : (double)y->dims[i];
    for (int i = 1; i < w->rank; i++) count *= (double)w->dims[i];
    return count;
}

graft_cost graft_graph_cost(const graft_graph *g, const graft_plan *plan) {
    graft_cost cost = {0};
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        double m = products(g, n);
        if (m <= 0.0) continue;
        *(plan->prefix[i] ? &cost.frozen : &cost.forward) += m;
        if (plan->prefix[i]) continue;
        const graft_value_info *x = graft_graph_value(g, n->in[0]);
        const graft_value_info *w = graft_graph_value(g, n->in[1]);
        if (w->trained || w->kind == GRAFT_RESULT)
            cost.backward += m; /* a result: with an adapter merged in */
        if (x->kind == GRAFT_RESULT && !plan->prefix[x->node]) cost.backward += m;
    }
    return cost;
}
