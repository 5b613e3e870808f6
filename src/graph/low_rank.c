/* Low-rank adapters (Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1):
 *
 *     y = W x + b   becomes   y = (W x + b) + s B (A d(x)),      d: dropout, s: alpha / r
 *
 * Of a convolution A has its kernel, stride and padding, and B is a 1x1 convolution; where that is less work
 * it runs once with W + s B A instead, which gives the same answers and gradients. Nothing but nodes is
 * added, so gradient, memory and the frozen prefix come out as for any other layer. */
#include "graph/op.h"
#include "graph/rewrite.h"

typedef struct adapting {
    graft_rewrite r;
    const graft_adapter *adapters;
    graft_map *by_weight; /* name of a weight -> its adapter */
    bool *found;          /* per adapter */
} adapting;

/* Two layers may share a weight; they then share its adapter. */
static graft_value param(graft_graph *g, const char *name, const graft_tensor *value, graft_shape shape) {
    graft_value v = graft_graph_find(g, name);
    return v != GRAFT_NONE ? v : graft_graph_param(g, name, value, shape);
}

/* Each adapter drops for itself, and otherwise than the graph's own dropouts, which are numbered from 0. */
static graft_value drop(graft_graph *g, graft_value x, double p, size_t number) {
    const int64_t first = 1 << 24;
    const graft_dropout_attr a = {.p = p, .salt = first + (int64_t)number};
    if (!(p > 0)) return x;
    graft_value seed = graft_graph_find(g, "seed"), y;
    if (seed == GRAFT_NONE) seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    graft_graph_node(g, &graft_op_dropout, &a, (graft_value[]){x, seed}, 2, &y);
    return y;
}

static bool is_plain(const graft_node *n) {
    if (n->op == &graft_op_linear)
        return ((const graft_linear_attr *)n->attr)->act == GRAFT_ACT_NONE && n->in[3] == GRAFT_NONE;
    const graft_conv_attr *a = n->attr;
    return !a->relu && n->in[3] == GRAFT_NONE && a->groups == 1 && a->dilation[0] == 1 && a->dilation[1] == 1;
}

static graft_value low_rank(graft_graph *g, const graft_node *n, graft_value x, const graft_adapter *ad,
                            size_t number) {
    graft_value a = param(g, ad->a, ad->a_value, ad->a_shape), b = param(g, ad->b, ad->b_value, ad->b_shape);
    x = drop(g, x, ad->dropout, number);
    if (n->op == &graft_op_linear)
        return graft_linear(g, graft_scale(g, graft_linear(g, x, a, GRAFT_NONE), ad->scale), b, GRAFT_NONE);
    const graft_conv_attr one = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    graft_value h = graft_conv2d(g, x, a, GRAFT_NONE, GRAFT_NONE, *(const graft_conv_attr *)n->attr);
    return graft_conv2d(g, graft_scale(g, h, ad->scale), b, GRAFT_NONE, GRAFT_NONE, one);
}

/* The adapter of the layer that node n is; NULL when it has none. */
static const graft_adapter *adapter_of(const adapting *p, const graft_node *n) {
    if (n->op != &graft_op_linear && n->op != &graft_op_conv2d) return NULL;
    const graft_value_info *w = graft_graph_value(p->r.from, n->in[1]);
    int64_t i = w->kind == GRAFT_PARAM ? graft_map_get_str(p->by_weight, w->name) : -1;
    if (i < 0) return NULL;
    p->found[i] = true;
    return &p->adapters[i];
}

/* Whether a convolution runs once with W + s B A, in place of three times. That takes the gradient of the
 * whole weight, O K multiply-adds a pixel; the pair B A beside it takes r (K + O) forwards and for each of
 * two gradients. But a convolution of so few channels fills no vectors, and reads and writes as much as a
 * large one: it was worth about two and a half times its multiply-adds (nets of 16 to 512 channels at sides
 * of 2 to 56). What is dropped for the adapter alone keeps it apart. */
static bool is_merged(const graft_graph *g, const graft_node *n, const graft_adapter *ad) {
    const double lanes = 16.0, worth = 2.5;
    if (n->op != &graft_op_conv2d || ad->dropout > 0.0) return false;
    const graft_shape *w = &graft_graph_value(g, n->in[1])->shape;
    const double outs = (double)w->dims[0], ins = (double)(w->dims[1] * w->dims[2] * w->dims[3]),
                 r = (double)ad->a_shape.dims[0];
    return outs * ins < 3.0 * worth * (r > lanes ? r : lanes) * (ins + outs);
}

static void merge(adapting *p, const graft_node *n, const graft_adapter *ad) {
    graft_graph *g = p->r.to;
    graft_value in[4];
    for (size_t k = 0; k < GRAFT_COUNT(in); k++) in[k] = graft_rewrite_value(&p->r, n->in[k]);
    graft_graph_scope(g, "%s adapter", n->name ? n->name : ad->weight);
    in[1] = graft_merged_weight(g, in[1], param(g, ad->a, ad->a_value, ad->a_shape),
                                param(g, ad->b, ad->b_value, ad->b_shape), ad->scale);
    graft_rewrite_node(&p->r, n, n->attr, in);
}

static void adapt_node(adapting *p, const graft_node *n) {
    const graft_adapter *ad = adapter_of(p, n);
    graft_graph *g = p->r.to;
    if (ad && !is_plain(n)) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "%s: a layer of this kind takes no adapter", ad->weight);
        return;
    }
    if (ad && is_merged(p->r.from, n, ad)) {
        merge(p, n, ad);
        return;
    }
    graft_rewrite_copy(&p->r, n);
    if (!ad) return;
    graft_graph_scope(g, "%s adapter", n->name ? n->name : ad->weight);
    graft_value y = p->r.map[n->out[0]];
    graft_value more = low_rank(g, n, graft_rewrite_value(&p->r, n->in[0]), ad, (size_t)(ad - p->adapters));
    graft_rewrite_map(&p->r, n->out[0], graft_add(g, y, more, 0));
}

int graft_graph_adapt(graft_graph **out, graft_arena *arena, const graft_graph *g,
                      const graft_adapter *adapters, size_t n, graft_err *err) {
    adapting p = {.adapters = adapters};
    int rc = graft_rewrite_begin(&p.r, arena, g, err);
    if (rc < 0) return rc;
    p.by_weight = graft_map_new(p.r.scratch);
    p.found = graft_arena_array(p.r.scratch, n + 1, sizeof *p.found);
    rc = p.by_weight && p.found ? 0 : graft_err_nomem(err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (graft_map_put_str(p.by_weight, adapters[i].weight, (int64_t)i) < 0) rc = graft_err_nomem(err);
    for (size_t i = 0; i < graft_graph_n_nodes(g) && rc == 0; i++) adapt_node(&p, graft_graph_node_at(g, i));
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!p.found[i])
            rc = graft_err_set(err, GRAFT_EINTERNAL, "no layer has the adapted weight '%s'",
                               adapters[i].weight);
    if (rc == 0) graft_rewrite_ends(&p.r);
    return graft_rewrite_end(&p.r, out, rc, err);
}
