/* Elementwise ops join the op that computes what they read, where nothing else reads it: y = max(0, op(x)),
 * y = max(0, op(x) + residual), of a convolution or in training of a batch norm, and y = act(linear(x) +
 * residual) become one node with a flag and one more input. A chain is a node that stays, its base, and what
 * joined it; the fused node stands where the base stood, or where the add stood when there is one, since the
 * residual has to be there; what reads the base's statistics moves with it. */
#include "graph/op.h"
#include "graph/rewrite.h"

#include <stddef.h>
#include <string.h>

/* Ops that have a flag for relu: where it lies in the attributes, whether their gradient rule knows of it. Of
 * a linear layer the flag is an activation, of which relu is one. */
typedef struct act_flag {
    const graft_op *op;
    size_t at, size;
    bool in_training;
} act_flag;

#define FLAG(op, type, field, in_training)                                                                   \
    { &graft_op_##op, offsetof(type, field), sizeof(((type *)0)->field), in_training }
static const act_flag flags[] = {
    FLAG(conv2d, graft_conv_attr, relu, true),     FLAG(linear, graft_linear_attr, act, false),
    FLAG(batch_norm, graft_norm_attr, relu, true), FLAG(batch_norm_train, graft_norm_attr, relu, true),
    FLAG(add, graft_add_attr, relu, true),
};

typedef struct chain {
    int32_t base;         /* node that the others join */
    graft_value residual; /* of the old graph: what an add brought, or GRAFT_NONE */
    graft_value tail;     /* of the old graph: what the fused node's first result stands for */
    int32_t act; /* that joined, or that the base has already: a graft_act, or relu where there is a flag */
} chain;

typedef struct fusing {
    const graft_graph *g;
    const int32_t *uses;
    chain *chains;  /* per node: the chain that stands there; base -1 where the node joined another */
    int32_t *place; /* per node: where the chain that it belongs to stands */
    bool in_training;
} fusing;

static const act_flag *flag_of(const graft_op *op, bool in_training) {
    for (size_t i = 0; i < GRAFT_COUNT(flags); i++) {
        if (flags[i].op == op && (!in_training || flags[i].in_training)) return &flags[i];
    }
    return NULL;
}

static int32_t act_of(const graft_node *n, const act_flag *flag) {
    int64_t wide = 0;
    int32_t narrow = 0;
    const char *at = (const char *)n->attr + flag->at;
    if (flag->size == sizeof narrow) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide ? GRAFT_ACT_RELU : GRAFT_ACT_NONE;
}

static void set_act(void *attr, const act_flag *flag, int32_t act) {
    int64_t wide = act;
    memcpy((char *)attr + flag->at, flag->size == sizeof wide ? (void *)&wide : (void *)&act, flag->size);
}

/* The chain that ends in v and may still grow, as nothing but one node reads v; NULL when there is none. */
static chain *growing(const fusing *f, graft_value v) {
    const graft_value_info *info = graft_graph_value(f->g, v);
    if (info->kind != GRAFT_RESULT || f->uses[v] != 1) return NULL;
    chain *c = &f->chains[f->place[info->node]];
    return c->tail == v && !c->act ? c : NULL;
}

static void join_act(fusing *f, size_t i, const graft_node *n, int32_t act) {
    chain *c = growing(f, n->in[0]);
    if (!c) return;
    const graft_op *base = graft_graph_node_at(f->g, (size_t)c->base)->op;
    if (!flag_of(base, f->in_training) || (act != GRAFT_ACT_RELU && base != &graft_op_linear)) return;
    f->place[i] = f->place[graft_graph_value(f->g, n->in[0])->node];
    f->chains[i].base = -1;
    c->tail = n->out[0];
    c->act = act;
}

/* Whether a residual may join as input 3: in training where the gradient rule knows what to do with it. */
static bool takes_residual(const fusing *f, const graft_node *base) {
    bool has_room = base->op == &graft_op_linear ||
                    base->op == (f->in_training ? &graft_op_batch_norm_train : &graft_op_conv2d);
    return has_room && base->in[3] == GRAFT_NONE;
}

/* An operand whose op takes a residual, to which the other operand may be added; the later of two. */
static chain *sum_operand(const fusing *f, const graft_node *n, graft_value *residual) {
    chain *best = NULL;
    for (size_t k = 0; k < 2; k++) {
        chain *c = growing(f, n->in[k]);
        if (!c || c->residual != GRAFT_NONE) continue;
        if (!takes_residual(f, graft_graph_node_at(f->g, (size_t)c->base))) continue;
        if (best && best->base > c->base) continue;
        best = c;
        *residual = n->in[1 - k];
    }
    return best;
}

static void join_add(fusing *f, size_t i, const graft_node *n) {
    graft_value residual = GRAFT_NONE;
    chain *c = sum_operand(f, n, &residual);
    if (!c) return;
    f->chains[i].base = c->base;
    f->chains[i].residual = residual;
    f->place[c->base] = (int32_t)i;
    c->base = -1;
}

static void find_chains(fusing *f) {
    for (size_t i = 0; i < graft_graph_n_nodes(f->g); i++) {
        const graft_node *n = graft_graph_node_at(f->g, i);
        const act_flag *flag = flag_of(n->op, false);
        f->place[i] = (int32_t)i;
        f->chains[i] = (chain){.base = (int32_t)i,
                               .residual = GRAFT_NONE,
                               .tail = n->out[0],
                               .act = flag ? act_of(n, flag) : GRAFT_ACT_NONE};
        if (n->op == &graft_op_relu) join_act(f, i, n, GRAFT_ACT_RELU);
        if (n->op == &graft_op_activation) join_act(f, i, n, ((const graft_activation_attr *)n->attr)->act);
        if (n->op == &graft_op_add) join_add(f, i, n);
    }
}

static void build_chain(graft_rewrite *r, const fusing *f, const chain *c) {
    const graft_node *n = graft_graph_node_at(f->g, (size_t)c->base);
    if (c->tail == n->out[0]) {
        graft_rewrite_copy(r, n);
        return;
    }
    void *attr = graft_arena_alloc(r->scratch, n->op->attr_size);
    graft_value *in = graft_arena_array(r->scratch, n->n_in, sizeof *in);
    if (!attr || !in) {
        graft_graph_fail(r->to, GRAFT_ENOMEM, "out of memory");
        return;
    }
    if (n->op->attr_size) memcpy(attr, n->attr, n->op->attr_size);
    if (c->act) set_act(attr, flag_of(n->op, false), c->act);
    for (size_t k = 0; k < n->n_in; k++) in[k] = graft_rewrite_value(r, n->in[k]);
    if (c->residual != GRAFT_NONE) in[3] = graft_rewrite_value(r, c->residual);
    graft_rewrite_node(r, n, attr, in);
    graft_rewrite_map(r, c->tail, r->map[n->out[0]]);
}

/* Whether node i reads the statistics of a batch norm that stands behind it now. */
static bool waits(const fusing *f, size_t i) {
    const graft_node *n = graft_graph_node_at(f->g, i);
    if (n->op != &graft_op_running_update) return false;
    const graft_value_info *batch = graft_graph_value(f->g, n->in[1]);
    return batch->kind == GRAFT_RESULT && f->place[batch->node] > (int32_t)i;
}

/* The nodes that waited for the chain that stands at `place`. */
static void build_waiting(graft_rewrite *r, const fusing *f, size_t place) {
    int32_t base = f->chains[place].base;
    for (size_t i = (size_t)base + 1; i < place; i++) {
        const graft_node *n = graft_graph_node_at(f->g, i);
        if (waits(f, i) && graft_graph_value(f->g, n->in[1])->node == base) graft_rewrite_copy(r, n);
    }
}

static int fuse(graft_graph **out, graft_arena *arena, const graft_graph *g, bool in_training,
                graft_err *err) {
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    size_t n_nodes = graft_graph_n_nodes(g);
    int32_t *uses = graft_arena_array(r.scratch, graft_graph_n_values(g), sizeof *uses);
    fusing f = {.g = g, .uses = uses, .in_training = in_training};
    f.chains = graft_arena_array(r.scratch, n_nodes, sizeof *f.chains);
    f.place = graft_arena_array(r.scratch, n_nodes, sizeof *f.place);
    if (!uses || !f.chains || !f.place) return graft_rewrite_end(&r, out, graft_err_nomem(err), err);
    graft_graph_count_uses(g, uses);
    find_chains(&f);
    for (size_t i = 0; i < n_nodes; i++) {
        if (f.chains[i].base < 0 || waits(&f, i)) continue;
        build_chain(&r, &f, &f.chains[i]);
        build_waiting(&r, &f, i);
    }
    graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, 0, err);
}

int graft_graph_fuse(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    return fuse(out, arena, g, false, err);
}

int graft_graph_fuse_training(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err) {
    return fuse(out, arena, g, true, err);
}
