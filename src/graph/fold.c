/* Frozen batch norms disappear into the convolution before them: y = conv(x, w') + b' with the weights of
 * source.c. Only where all six parameters are constants with a tensor behind them, and nothing else reads the
 * value between. Where an adapter is merged into the weight, w is what it is merged into, and the norm scales
 * the rows of its b too. */
#include "graph/op.h"
#include "graph/rewrite.h"

typedef struct folding {
    const graft_graph *g;
    const bool *assigned;
    const int32_t *uses;
    int32_t *norm_of; /* per node: the batch norm that goes into this convolution, or -1 */
    bool *is_gone;    /* per node: a batch norm that went, or a merged weight that is made anew */
} folding;

static bool is_plain_constant(const folding *f, graft_value v) {
    if (!graft_value_is_constant(f->g, v, f->assigned)) return false;
    const graft_source *s = &graft_graph_value(f->g, v)->source;
    return s->tensor && !s->variance;
}

/* The node that merges an adapter into v, which nothing else reads; NULL when there is none. */
static const graft_node *merge_of(const folding *f, graft_value v) {
    const graft_value_info *info = graft_graph_value(f->g, v);
    if (info->kind != GRAFT_RESULT || f->uses[v] != 1) return NULL;
    const graft_node *n = graft_graph_node_at(f->g, (size_t)info->node);
    return n->op == &graft_op_merged_weight && is_plain_constant(f, n->in[0]) ? n : NULL;
}

/* The node index of the convolution that batch norm n can go into, or -1. */
static int32_t conv_before(const folding *f, const graft_node *n) {
    const graft_value_info *x = graft_graph_value(f->g, n->in[0]);
    if (x->kind != GRAFT_RESULT || f->uses[n->in[0]] != 1) return -1;
    for (size_t k = 1; k < n->n_in; k++) {
        if (!is_plain_constant(f, n->in[k])) return -1;
    }
    const graft_node *conv = graft_graph_node_at(f->g, (size_t)x->node);
    if (conv->op != &graft_op_conv2d || conv->in[3] != GRAFT_NONE) return -1;
    if (((const graft_conv_attr *)conv->attr)->relu) return -1;
    if (!is_plain_constant(f, conv->in[1]) && !merge_of(f, conv->in[1])) return -1;
    return conv->in[2] == GRAFT_NONE || is_plain_constant(f, conv->in[2]) ? x->node : -1;
}

/* A parameter named "<base>+<norm>", so that its name says all that its value comes from. Two convolutions
 * that share both get the one. */
static graft_value folded_param(graft_graph *to, const char *base, const char *norm, graft_source source,
                                graft_shape shape) {
    const char *name = graft_arena_printf(graft_graph_arena(to), "%s+%s", base, norm);
    if (!name) {
        graft_graph_fail(to, GRAFT_ENOMEM, "out of memory");
        return GRAFT_NONE;
    }
    graft_value v = graft_graph_find(to, name);
    if (v != GRAFT_NONE) return v;
    v = graft_graph_param(to, name, NULL, shape);
    if (v != GRAFT_NONE) graft_graph_value_mut(to, v)->source = source;
    return v;
}

/* The adapter that `merge` merges, into the folded weight w. */
static graft_value merge_again(graft_rewrite *r, const graft_node *merge, graft_value w, graft_source source,
                               const graft_value_info *gamma) {
    source.tensor = NULL;
    const graft_value factor = folded_param(r->to, "1", gamma->name, source, gamma->shape);
    const graft_value b = graft_scale_rows(r->to, graft_rewrite_value(r, merge->in[2]), factor);
    return graft_merged_weight(r->to, w, graft_rewrite_value(r, merge->in[1]), b,
                               ((const graft_scale_attr *)merge->attr)->factor);
}

static void build_folded(graft_rewrite *r, const graft_node *conv, const graft_node *norm,
                         const graft_node *merge) {
    const graft_graph *g = r->from;
    const graft_value_info *w = graft_graph_value(g, merge ? merge->in[0] : conv->in[1]),
                           *b = graft_graph_value(g, conv->in[2]);
    const graft_value_info *gamma = graft_graph_value(g, norm->in[1]),
                           *beta = graft_graph_value(g, norm->in[2]);
    const graft_norm_attr *norm_attr = norm->attr;
    graft_conv_attr attr = *(const graft_conv_attr *)conv->attr;
    attr.relu = norm_attr->relu != 0;
    graft_source source = {.tensor = w->source.tensor,
                           .gamma = gamma->source.tensor,
                           .beta = beta->source.tensor,
                           .mean = graft_graph_value(g, norm->in[3])->source.tensor,
                           .variance = graft_graph_value(g, norm->in[4])->source.tensor,
                           .eps = norm_attr->eps};
    graft_graph_scope(r->to, "%s", conv->name);
    graft_value new_w = folded_param(r->to, w->name, gamma->name, source, w->shape);
    if (merge) new_w = merge_again(r, merge, new_w, source, gamma);
    source.tensor = b ? b->source.tensor : NULL;
    source.is_bias = true;
    graft_value new_b = folded_param(r->to, b ? b->name : w->name, beta->name, source, beta->shape);
    graft_value x = graft_rewrite_value(r, conv->in[0]);
    graft_rewrite_map(r, norm->out[0], graft_conv2d(r->to, x, new_w, new_b, GRAFT_NONE, attr));
}

int graft_graph_fold(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    size_t n_nodes = graft_graph_n_nodes(g);
    folding f = {.g = g, .assigned = graft_graph_assigned(g, r.scratch)};
    int32_t *uses = graft_arena_array(r.scratch, graft_graph_n_values(g), sizeof *uses);
    f.norm_of = graft_arena_array(r.scratch, n_nodes, sizeof *f.norm_of);
    f.is_gone = graft_arena_array(r.scratch, n_nodes, sizeof *f.is_gone);
    if (!f.assigned || !uses || !f.norm_of || !f.is_gone)
        return graft_rewrite_end(&r, out, graft_err_nomem(err), err);
    graft_graph_count_uses(g, uses);
    f.uses = uses;
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        f.norm_of[i] = -1;
        int32_t conv = n->op == &graft_op_batch_norm ? conv_before(&f, n) : -1;
        if (conv < 0) continue;
        f.norm_of[conv] = (int32_t)i;
        f.is_gone[i] = true;
        const graft_node *merge = merge_of(&f, graft_graph_node_at(g, (size_t)conv)->in[1]);
        if (merge) f.is_gone[graft_graph_value(g, merge->out[0])->node] = true;
    }
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (f.is_gone[i]) continue;
        if (f.norm_of[i] >= 0) {
            build_folded(&r, n, graft_graph_node_at(g, (size_t)f.norm_of[i]), merge_of(&f, n->in[1]));
        } else {
            graft_rewrite_copy(&r, n);
        }
    }
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}
