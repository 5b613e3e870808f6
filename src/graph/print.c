/* A graph as text: what it reads, one node a line, what it gives and what it assigns.
 *
 *     input  x F32 [N, 3, 32, 32]
 *     param  conv1.weight F32 [16, 3, 3, 3] trained
 *     %2 F32 [N, 16, 32, 32] = conv2d(x, conv1.weight, -, -)  # conv1
 *     output logits = %9
 *     assign fc.weight = %31 */
#include "graph/core.h"

#include "graph/op.h"

static void print_type(graft_buf *out, const graft_value_info *v) {
    graft_buf_printf(out, " %s [", graft_dtype_name(v->dtype));
    for (int i = 0; i < v->shape.rank; i++) {
        if (i) graft_buf_text(out, ", ");
        if (graft_dim_is_open(v->shape.dims[i])) {
            graft_buf_text(out, v->shape.dims[i] == GRAFT_DIM_BATCH ? "N" : "T");
        } else {
            graft_buf_printf(out, "%lld", (long long)v->shape.dims[i]);
        }
    }
    graft_buf_text(out, "]");
}

static void print_reference(graft_buf *out, const graft_graph *g, graft_value v) {
    if (v == GRAFT_NONE) {
        graft_buf_text(out, "-");
    } else if (g->values[v].name) {
        graft_buf_text(out, g->values[v].name);
    } else {
        graft_buf_printf(out, "%%%d", v);
    }
}

static void print_leaf(graft_buf *out, const graft_value_info *v) {
    const char *kind = v->kind == GRAFT_INPUT ? "input" : v->kind == GRAFT_PARAM ? "param" : "state";
    graft_buf_printf(out, "%s  %s", kind, v->name);
    print_type(out, v);
    if (v->source.variance) graft_buf_text(out, " folded");
    if (v->trained) graft_buf_text(out, " trained");
    graft_buf_text(out, "\n");
}

static void print_node(graft_buf *out, const graft_graph *g, const graft_node *n) {
    for (size_t o = 0; o < n->n_out; o++) {
        graft_buf_printf(out, "%s%%%d", o ? ", " : "", n->out[o]);
        print_type(out, &g->values[n->out[o]]);
    }
    graft_buf_printf(out, " = %s(", n->op->name);
    for (size_t i = 0; i < n->n_in; i++) {
        if (i) graft_buf_text(out, ", ");
        print_reference(out, g, n->in[i]);
    }
    graft_buf_printf(out, ")%s%s\n", *n->name ? "  # " : "", n->name);
}

void graft_graph_print(const graft_graph *g, graft_buf *out) {
    for (size_t v = 0; v < g->n_values; v++) {
        if (g->values[v].kind != GRAFT_RESULT) print_leaf(out, &g->values[v]);
    }
    for (size_t i = 0; i < g->n_nodes; i++) print_node(out, g, &g->nodes[i]);
    for (size_t i = 0; i < g->n_outputs; i++) {
        graft_buf_printf(out, "output %s = ", g->outputs[i].name);
        print_reference(out, g, g->outputs[i].value);
        graft_buf_text(out, "\n");
    }
    for (size_t i = 0; i < g->n_assigns; i++) {
        graft_buf_text(out, "assign ");
        print_reference(out, g, g->assigns[i].target);
        graft_buf_text(out, " = ");
        print_reference(out, g, g->assigns[i].value);
        graft_buf_text(out, "\n");
    }
}
