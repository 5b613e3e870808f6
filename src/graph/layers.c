/* Which layers a graph has, by what its nodes are: linear layers, convolutions, embeddings, each with the
 * weight that makes it, and what attention makes of a linear layer's output. So no family has to say it. */
#include "graph/op.h"

static graft_layer *find(const graft_layers *out, graft_value weight) {
    for (size_t i = 0; i < out->n; i++)
        if (out->items[i].weight == weight) return &out->items[i];
    return NULL;
}

/* The layer that a node is, its weight a parameter; false for other ops. */
static bool read_node(graft_layer *out, const graft_graph *g, const graft_node *n) {
    size_t at = 1;
    if (n->op == &graft_op_linear) {
        out->kind = ((const graft_linear_attr *)n->attr)->in_out ? GRAFT_LAYER_IN_OUT : GRAFT_LAYER_LINEAR;
    } else if (n->op == &graft_op_conv2d) {
        const graft_conv_attr *a = n->attr;
        bool plain = a->groups == 1 && a->dilation[0] == 1 && a->dilation[1] == 1;
        out->kind = plain ? GRAFT_LAYER_CONV : GRAFT_LAYER_ODD_CONV;
    } else if (n->op == &graft_op_embedding) {
        out->kind = GRAFT_LAYER_EMBEDDING;
        at = 0;
    } else {
        return false;
    }
    out->weight = n->in[at];
    return graft_graph_value(g, out->weight)->kind == GRAFT_PARAM;
}

/* The layer whose output v is, or a part of the columns of it; NULL when it is none. */
static graft_layer *behind(const graft_layers *layers, const graft_graph *g, graft_value v) {
    for (;;) {
        const graft_value_info *info = graft_graph_value(g, v);
        if (!info || info->kind != GRAFT_RESULT) return NULL;
        const graft_node *n = graft_graph_node_at(g, (size_t)info->node);
        if (n->op == &graft_op_linear) return find(layers, n->in[1]);
        if (n->op != &graft_op_slice) return NULL;
        v = n->in[0];
    }
}

static void find_roles(const graft_layers *layers, const graft_graph *g) {
    static const unsigned roles[] = {GRAFT_LAYER_QUERY, GRAFT_LAYER_KEY, GRAFT_LAYER_VALUE};
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        for (size_t k = 0; n->op == &graft_op_attention && k < GRAFT_COUNT(roles); k++) {
            graft_layer *layer = behind(layers, g, n->in[k]);
            if (layer) layer->roles |= roles[k];
        }
        const graft_value_info *x = n->op == &graft_op_linear ? graft_graph_value(g, n->in[0]) : NULL;
        if (!x || x->kind != GRAFT_RESULT) continue;
        graft_layer *layer = find(layers, n->in[1]);
        if (layer && graft_graph_node_at(g, (size_t)x->node)->op == &graft_op_attention)
            layer->roles |= GRAFT_LAYER_OUT;
    }
}

int graft_graph_layers(graft_layers *out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    size_t n_nodes = graft_graph_n_nodes(g);
    *out = (graft_layers){.items = graft_arena_array(arena, n_nodes + 1, sizeof *out->items)};
    if (!out->items) return graft_err_nomem(err);
    for (size_t i = 0; i < n_nodes; i++) {
        graft_layer layer = {0};
        if (!read_node(&layer, g, graft_graph_node_at(g, i)) || find(out, layer.weight)) continue;
        out->items[out->n++] = layer;
    }
    find_roles(out, g);
    return 0;
}
