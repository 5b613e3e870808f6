/* Where of each text only the first or the last token is read in the end, as by BERT's and GPT-2's heads, all
 * that lies between and works row by row is computed for that token alone: pooling moves up, through linear
 * layers, norms, activations and sums, and through an attention's queries. Of the last layer of a transformer
 * the keys and the values are left; the others, ten twelfths of its products, become a row a text.
 *
 * A value may shrink when whatever reads it wants the same token's row of it. Rows of absent texts, which
 * pooling leaves 0, are set to 0 again where pooling stood, since biases have been added on the way. A
 * dropout on the way counts its rows anew, so it drops others than it would have. */
#include "graph/op.h"
#include "graph/rewrite.h"

/* What is read of a value: nothing yet, a graft_span_kind's row of each text, or all. */
enum { NOTHING = -1, ALL = -2 };

typedef struct choosing {
    graft_rewrite r;
    graft_value spans; /* of the texts; of the old graph */
    int32_t *wanted;   /* per value of the old graph */
    graft_value *rows; /* per value of the old graph that stays whole: its pooled rows in the new, or NONE */
} choosing;

/* Bit k: row i of the node's first result needs row i of its input k and no other. 0: it is not so. */
static uint32_t row_inputs(const graft_node *n, graft_value spans) {
    if (n->op == &graft_op_linear) return 1u | 1u << 3;
    if (n->op == &graft_op_add) return 1u | 1u << 1;
    if (n->op == &graft_op_concat && ((const graft_concat_attr *)n->attr)->axis > 0 && n->n_in < 8)
        return (1u << n->n_in) - 1u;
    if (n->op == &graft_op_slice) return ((const graft_slice_attr *)n->attr)->axis > 0 ? 1u : 0u;
    if (n->op == &graft_op_drop_path) return n->in[2] == spans ? 1u : 0u;
    if (n->op == &graft_op_attention) return n->in[3] == spans ? 1u : 0u; /* its q */
    if (n->op == &graft_op_activation || n->op == &graft_op_relu || n->op == &graft_op_scale ||
        n->op == &graft_op_layer_norm || n->op == &graft_op_dropout || n->op == &graft_op_unit_rows)
        return 1u;
    return 0u;
}

static bool is_choice(const choosing *c, const graft_node *n) {
    if (n->op != &graft_op_span_pool || n->in[1] == GRAFT_NONE || n->in[1] != c->spans) return false;
    const int32_t kind = ((const graft_span_pool_attr *)n->attr)->kind;
    return kind == GRAFT_SPAN_FIRST || kind == GRAFT_SPAN_LAST;
}

static void want(const choosing *c, graft_value v, int32_t kind) {
    if (v == GRAFT_NONE) return;
    int32_t *w = &c->wanted[v];
    *w = *w == NOTHING || *w == kind ? kind : ALL;
}

/* The node whose results are computed for the chosen rows alone. */
static bool shrinks(const choosing *c, const graft_node *n) {
    if (c->wanted[n->out[0]] < 0 || !row_inputs(n, c->spans)) return false;
    for (size_t o = 1; o < n->n_out; o++)
        if (c->wanted[n->out[o]] != NOTHING) return false;
    return true;
}

/* From the last node to the first: what all readers of a value want is known before it is computed. */
static void find_wanted(const choosing *c) {
    const graft_graph *g = c->r.from;
    const graft_output *outputs;
    const graft_assign *assigns;
    const size_t n_outputs = graft_graph_outputs(g, &outputs), n_assigns = graft_graph_assigns(g, &assigns);
    for (size_t v = 0; v < graft_graph_n_values(g); v++) c->wanted[v] = NOTHING;
    for (size_t i = 0; i < n_outputs; i++) want(c, outputs[i].value, ALL);
    for (size_t i = 0; i < n_assigns; i++) want(c, assigns[i].value, ALL);
    for (size_t i = graft_graph_n_nodes(g); i-- > 0;) {
        const graft_node *n = graft_graph_node_at(g, i);
        const uint32_t in_rows = shrinks(c, n) ? row_inputs(n, c->spans) : is_choice(c, n) ? 1u : 0u;
        const int32_t kind =
            is_choice(c, n) ? ((const graft_span_pool_attr *)n->attr)->kind : c->wanted[n->out[0]];
        for (size_t k = 0; k < n->n_in; k++) want(c, n->in[k], k < 32 && in_rows >> k & 1 ? kind : ALL);
    }
}

/* Whether v is computed for the chosen rows alone. */
static bool is_shrunk(const choosing *c, graft_value v) {
    const graft_value_info *info = graft_graph_value(c->r.from, v);
    if (info->kind != GRAFT_RESULT) return false;
    const graft_node *n = graft_graph_node_at(c->r.from, (size_t)info->node);
    return v == n->out[0] && shrinks(c, n);
}

/* The rows of v that `kind` chooses, in the new graph. */
static graft_value rows_of(choosing *c, graft_value v, int32_t kind) {
    if (v == GRAFT_NONE || is_shrunk(c, v)) return graft_rewrite_value(&c->r, v);
    graft_value *there = &c->rows[2 * (size_t)v + (kind == GRAFT_SPAN_LAST)];
    if (*there == GRAFT_NONE)
        *there = graft_span_pool(c->r.to, graft_rewrite_value(&c->r, v), graft_rewrite_value(&c->r, c->spans),
                                 kind);
    return *there;
}

static void add_attention(choosing *c, const graft_node *n, int32_t kind, const graft_value *in) {
    const graft_attention_attr *a = n->attr;
    const graft_attention_one_attr one = {
        .heads = a->heads, .causal = a->causal, .scale = a->scale, .p = a->p, .salt = a->salt, .kind = kind};
    graft_value out[2];
    graft_graph_node(c->r.to, &graft_op_attention_one, &one, in, n->n_in, out);
    graft_rewrite_map(&c->r, n->out[0], out[0]);
}

static void shrink(choosing *c, const graft_node *n) {
    enum { MOST = 8 };
    graft_value in[MOST];
    const int32_t kind = c->wanted[n->out[0]];
    const uint32_t in_rows = row_inputs(n, c->spans);
    graft_graph_scope(c->r.to, "%s", n->name);
    for (size_t k = 0; k < n->n_in && k < MOST; k++)
        in[k] = in_rows >> k & 1 ? rows_of(c, n->in[k], kind) : graft_rewrite_value(&c->r, n->in[k]);
    if (n->op == &graft_op_attention) {
        add_attention(c, n, kind, in);
        return;
    }
    if (n->op == &graft_op_drop_path) in[2] = GRAFT_NONE; /* a row is a sample now */
    graft_rewrite_node(&c->r, n, n->attr, in);
}

static void copy_node(choosing *c, const graft_node *n) {
    if (shrinks(c, n)) {
        shrink(c, n);
    } else if (is_choice(c, n) && is_shrunk(c, n->in[0])) {
        graft_graph_scope(c->r.to, "%s", n->name);
        graft_rewrite_map(&c->r, n->out[0],
                          graft_span_pool(c->r.to, graft_rewrite_value(&c->r, n->in[0]),
                                          graft_rewrite_value(&c->r, c->spans), GRAFT_SPAN_PRESENT));
    } else {
        graft_rewrite_copy(&c->r, n);
    }
}

int graft_graph_choose_rows(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    choosing c = {.spans = GRAFT_NONE};
    int rc = graft_rewrite_begin(&c.r, arena, g, err);
    if (rc < 0) return rc;
    const size_t n_values = graft_graph_n_values(g);
    c.wanted = graft_arena_array(c.r.scratch, n_values + 1, sizeof *c.wanted);
    c.rows = graft_arena_array(c.r.scratch, 2 * n_values + 1, sizeof *c.rows);
    if (!c.wanted || !c.rows) return graft_rewrite_end(&c.r, out, graft_err_nomem(err), err);
    for (size_t v = 0; v < 2 * n_values; v++) c.rows[v] = GRAFT_NONE;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++)
        if (graft_graph_node_at(g, i)->op == &graft_op_span_pool) c.spans = graft_graph_node_at(g, i)->in[1];
    find_wanted(&c);
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) copy_node(&c, graft_graph_node_at(g, i));
    graft_rewrite_ends(&c.r);
    return graft_rewrite_end(&c.r, out, 0, err);
}
