/* A 1x1 convolution with a stride reads every stride-th pixel alone: these are taken first, and its gradients
 * then run over a quarter of the pixels, without the strided kernels that libraries do not care for. */
#include "graph/op.h"
#include "graph/rewrite.h"

static bool is_strided_point(const graft_graph *g, const graft_node *n) {
    if (n->op != &graft_op_conv2d) return false;
    const graft_conv_attr *a = n->attr;
    const graft_shape *w = &graft_graph_value(g, n->in[1])->shape;
    return w->dims[2] == 1 && w->dims[3] == 1 && a->stride[0] > 1 && a->stride[0] == a->stride[1] &&
           a->pad[0] == 0 && a->pad[1] == 0;
}

int graft_graph_subsample(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (!is_strided_point(g, n)) {
            graft_rewrite_copy(&r, n);
            continue;
        }
        graft_conv_attr a = *(const graft_conv_attr *)n->attr;
        graft_value in[4];
        for (size_t k = 0; k < GRAFT_COUNT(in); k++) in[k] = graft_rewrite_value(&r, n->in[k]);
        graft_graph_scope(r.to, "%s", n->name);
        in[0] = graft_subsample_pad(r.to, in[0], a.stride[0], 0, 0);
        a.stride[0] = a.stride[1] = 1;
        graft_rewrite_node(&r, n, &a, in);
    }
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}
