/* After the gradient is added: what arrives on two paths at a batch norm is summed by its gradient's own
 * node, which reads both anyway, where nothing else reads the sum; and what comes back through a linear layer
 * is added to what has come already by the layer's own product, in the place of the sum. */
#include "graph/op.h"
#include "graph/rewrite.h"

enum { DY = 1, DY2 = 7 }; /* inputs of batch_norm_train_grad */
enum { SUM = 2 };         /* of linear_dx */

/* The node whose result n alone reads as its dy, when it is a sum that n may take over; NULL when not. */
static const graft_node *sum_of(const graft_graph *g, const graft_node *n, const int32_t *uses) {
    if (n->op != &graft_op_batch_norm_train_grad || n->in[DY2] != GRAFT_NONE) return NULL;
    const graft_value_info *dy = graft_graph_value(g, n->in[DY]);
    if (dy->kind != GRAFT_RESULT || uses[n->in[DY]] != 1) return NULL;
    const graft_node *sum = graft_graph_node_at(g, (size_t)dy->node);
    return sum->op == &graft_op_sum_into ? sum : NULL;
}

/* Which input of the sum n is what a linear layer gives back and nothing else reads; -1 when neither is. The
 * later one where both are, since the other stays what is added to. */
static int product_of(const graft_graph *g, const graft_node *n, const int32_t *uses) {
    int found = -1;
    int32_t place = -1;
    for (int k = 0; n->op == &graft_op_sum_into && k < 2; k++) {
        const graft_value_info *d = graft_graph_value(g, n->in[k]);
        if (d->kind != GRAFT_RESULT || uses[n->in[k]] != 1 || d->node < place) continue;
        const graft_node *from = graft_graph_node_at(g, (size_t)d->node);
        if (from->op != &graft_op_linear_dx || from->in[SUM] != GRAFT_NONE) continue;
        found = k;
        place = d->node;
    }
    return found;
}

static void join_product(graft_rewrite *r, const graft_node *n, int k) {
    const graft_node *product =
        graft_graph_node_at(r->from, (size_t)graft_graph_value(r->from, n->in[k])->node);
    const graft_value in[] = {graft_rewrite_value(r, product->in[0]), graft_rewrite_value(r, product->in[1]),
                              graft_rewrite_value(r, n->in[1 - k])};
    graft_rewrite_node(r, product, product->attr, in);
    graft_rewrite_map(r, n->out[0], r->map[product->out[0]]);
}

static void join(graft_rewrite *r, const graft_node *n, const graft_node *sum) {
    graft_value *in = graft_arena_array(r->scratch, n->n_in, sizeof *in);
    if (!in) {
        graft_graph_fail(r->to, GRAFT_ENOMEM, "out of memory");
        return;
    }
    for (size_t i = 0; i < n->n_in; i++) in[i] = i == DY ? GRAFT_NONE : graft_rewrite_value(r, n->in[i]);
    in[DY] = graft_rewrite_value(r, sum->in[0]);
    in[DY2] = graft_rewrite_value(r, sum->in[1]);
    graft_rewrite_node(r, n, n->attr, in);
}

int graft_graph_fuse_gradient(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    size_t n_nodes = graft_graph_n_nodes(g);
    int32_t *uses = graft_arena_array(r.scratch, graft_graph_n_values(g), sizeof *uses);
    bool *joined = graft_arena_array(r.scratch, n_nodes + 1, sizeof *joined);
    if (!uses || !joined) return graft_rewrite_end(&r, out, graft_err_nomem(err), err);
    graft_graph_count_uses(g, uses);
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i), *sum = sum_of(g, n, uses);
        if (sum) joined[graft_graph_value(g, n->in[DY])->node] = true;
    }
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        const int k = joined[i] ? -1 : product_of(g, n, uses);
        if (k >= 0) joined[graft_graph_value(g, n->in[k])->node] = true;
    }
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i), *sum = sum_of(g, n, uses);
        if (joined[i]) continue;
        const int k = product_of(g, n, uses);
        if (sum) {
            join(&r, n, sum);
        } else if (k >= 0) {
            join_product(&r, n, k);
        } else {
            graft_rewrite_copy(&r, n);
        }
    }
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}
