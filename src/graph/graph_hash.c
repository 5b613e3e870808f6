/* The key of a graph: what it computes, not where it lies. Values are numbered as they are met, parameters go
 * in with the bytes of their sources and without their names (two checkpoints that name the same weights
 * differently compute the same), inputs, states and outputs with their names. */
#include "graph/graph.h"

#include "graph/op.h"

typedef struct keyer {
    const graft_graph *g;
    graft_hasher *h;
    int64_t *number; /* per value: 1 + its number, 0 when not met yet */
    int64_t n_met;
} keyer;

static void add_int(keyer *k, int64_t i) {
    graft_hasher_add(k->h, &i, sizeof i);
}

static void add_type(keyer *k, graft_dtype dtype, const graft_shape *s) {
    graft_hasher_text(k->h, graft_dtype_name(dtype));
    add_int(k, s->rank);
    for (int i = 0; i < s->rank; i++) add_int(k, s->dims[i]);
}

static void add_tensor(keyer *k, const graft_tensor *t) {
    add_int(k, t != NULL);
    if (!t) return;
    add_type(k, t->dtype, &t->shape);
    add_int(k, (int64_t)t->size);
    graft_hasher_add(k->h, t->data, t->size);
}

static void add_source(keyer *k, const graft_source *s) {
    add_tensor(k, s->tensor);
    add_int(k, s->variance != NULL);
    if (!s->variance) return;
    add_tensor(k, s->gamma);
    add_tensor(k, s->beta);
    add_tensor(k, s->mean);
    add_tensor(k, s->variance);
    graft_hasher_add(k->h, &s->eps, sizeof s->eps);
    add_int(k, s->is_bias);
}

static void add_value(keyer *k, graft_value v) {
    if (v == GRAFT_NONE) {
        add_int(k, 0);
        return;
    }
    bool is_new = k->number[v] == 0;
    if (is_new) k->number[v] = ++k->n_met;
    add_int(k, k->number[v]);
    if (!is_new) return;
    const graft_value_info *info = graft_graph_value(k->g, v);
    add_int(k, info->kind);
    add_type(k, info->dtype, &info->shape);
    if (info->kind == GRAFT_INPUT || info->kind == GRAFT_STATE) graft_hasher_text(k->h, info->name);
    if (info->kind == GRAFT_PARAM) add_source(k, &info->source);
}

static void add_node(keyer *k, const graft_node *n) {
    graft_hasher_text(k->h, n->op->name);
    graft_hasher_add(k->h, n->attr, n->op->attr_size);
    add_int(k, (int64_t)n->n_in);
    for (size_t i = 0; i < n->n_in; i++) add_value(k, n->in[i]);
    for (size_t o = 0; o < n->n_out; o++) add_value(k, n->out[o]);
}

int graft_graph_hash(const graft_graph *g, graft_hash *out, graft_err *err) {
    int rc = graft_graph_end(g, err);
    if (rc < 0) return rc;
    graft_arena *scratch = graft_arena_new(NULL);
    if (!scratch) return graft_err_nomem(err);
    keyer k = {.g = g, .h = graft_hasher_new(scratch)};
    k.number = graft_arena_array(scratch, graft_graph_n_values(g), sizeof *k.number);
    if (k.h && k.number) {
        const graft_output *outputs;
        const graft_assign *assigns;
        size_t n_outputs = graft_graph_outputs(g, &outputs), n_assigns = graft_graph_assigns(g, &assigns);
        graft_hasher_text(k.h, "graft graph 1");
        for (size_t i = 0; i < graft_graph_n_nodes(g); i++) add_node(&k, graft_graph_node_at(g, i));
        for (size_t i = 0; i < n_outputs; i++) {
            graft_hasher_text(k.h, outputs[i].name);
            add_value(&k, outputs[i].value);
        }
        for (size_t i = 0; i < n_assigns; i++) {
            add_value(&k, assigns[i].target);
            add_value(&k, assigns[i].value);
        }
        *out = graft_hasher_end(k.h);
    } else {
        rc = graft_err_nomem(err);
    }
    graft_arena_free(scratch);
    return rc;
}
