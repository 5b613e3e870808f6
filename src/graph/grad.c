/* Reverse accumulation: the gradient of a scalar as further nodes of the same graph. Only values on a path
 * from `wrt` to the loss get a gradient; the rules of the ops say which nodes compute it. What arrives at a
 * value from several readers is summed in the reverse order of the readers, so that the same graph always
 * gives the same bits. Griewank and Walther 2008, "Evaluating derivatives", chapter 3. */
#include "graph/core.h"

#include "graph/op.h"

typedef struct reverse {
    graft_graph *g;
    size_t n_nodes, n_values; /* of the forward part */
    bool *depends;            /* per value: on some wrt */
    bool *on_path;            /* per node: from a wrt to the loss */
    graft_value *gradient;    /* per value: d(loss)/d(value) so far */
    graft_value loss;
    graft_arena *scratch;
} reverse;

static bool is_real(const graft_graph *g, graft_value v) {
    graft_dtype t = graft_graph_value(g, v)->dtype;
    return t == GRAFT_F32 || t == GRAFT_BF16;
}

/* depends, forwards from wrt; on_path, backwards from the loss. */
static int find_paths(reverse *r, const graft_value *wrt, size_t n_wrt, graft_err *err) {
    const graft_graph *g = r->g;
    bool *reaches = graft_arena_array(r->scratch, r->n_values, sizeof *reaches);
    if (!reaches) return graft_err_nomem(err);
    for (size_t i = 0; i < n_wrt; i++) {
        if (!graft_graph_value(g, wrt[i]))
            return graft_err_set(err, GRAFT_EINTERNAL, "gradient: value %zu of wrt is not of the graph", i);
        r->depends[wrt[i]] = true;
    }
    for (size_t i = 0; i < r->n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        bool depends = false;
        for (size_t k = 0; k < n->n_in; k++)
            depends = depends || (n->in[k] != GRAFT_NONE && r->depends[n->in[k]]);
        for (size_t o = 0; depends && o < n->n_out; o++) r->depends[n->out[o]] = is_real(g, n->out[o]);
    }
    reaches[r->loss] = true;
    for (size_t i = r->n_nodes; i-- > 0;) {
        const graft_node *n = graft_graph_node_at(g, i);
        for (size_t o = 0; o < n->n_out; o++)
            r->on_path[i] = r->on_path[i] || (reaches[n->out[o]] && r->depends[n->out[o]]);
        for (size_t k = 0; r->on_path[i] && k < n->n_in; k++) {
            if (n->in[k] != GRAFT_NONE) reaches[n->in[k]] = true;
        }
    }
    return 0;
}

/* All ops on the path without a rule, in one line. */
static int check_rules(const reverse *r, graft_err *err) {
    graft_buf names;
    graft_buf_init(&names, 256);
    for (size_t i = 0; i < r->n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(r->g, i);
        if (!r->on_path[i] || n->op->grad) continue;
        graft_buf_printf(&names, "%s%s", names.size ? ", " : "", n->op->name);
        if (*n->name) graft_buf_printf(&names, " (%s)", n->name);
    }
    int rc = 0;
    if (names.size)
        rc = graft_err_set(err, GRAFT_EUNSUPPORTED, "no gradient is known for %s%s", names.data,
                           names.failed ? ", ..." : "");
    graft_buf_done(&names);
    return rc;
}

/* d(loss)/d(loss): the rule of a loss takes its absence as 1; any other op gets a parameter that holds 1. */
static int seed(reverse *r, graft_err *err) {
    const graft_value_info *info = graft_graph_value(r->g, r->loss);
    int64_t count;
    if (!graft_shape_count(&info->shape, &count) || count != 1)
        return graft_err_set(err, GRAFT_ESHAPE, "gradient: the loss is not a single number");
    if (info->kind != GRAFT_RESULT || graft_graph_node_at(r->g, (size_t)info->node)->op->loss) return 0;
    static const float one = 1;
    static const char name[] = "d loss";
    graft_value there = graft_graph_find(r->g, name); /* another loss of this graph had it made */
    if (there != GRAFT_NONE && graft_shape_equal(&graft_graph_value(r->g, there)->shape, &info->shape)) {
        r->gradient[r->loss] = there;
        return 0;
    }
    graft_tensor *t = graft_arena_alloc(graft_graph_arena(r->g), sizeof *t);
    if (!t) return graft_err_nomem(err);
    *t = (graft_tensor){
        .name = name, .dtype = GRAFT_F32, .shape = info->shape, .data = &one, .size = sizeof one};
    r->gradient[r->loss] = graft_graph_param(r->g, name, t, t->shape);
    return 0;
}

static void accumulate(reverse *r, graft_value v, graft_value d) {
    if (r->gradient[v] == GRAFT_NONE) {
        r->gradient[v] = d;
        return;
    }
    graft_value sum;
    graft_graph_node(r->g, &graft_op_sum_into, NULL, (graft_value[]){r->gradient[v], d}, 2, &sum);
    r->gradient[v] = sum;
}

/* Adds the gradient nodes of node i. */
static int step_back(reverse *r, size_t i, graft_err *err) {
    graft_node n = *graft_graph_node_at(r->g, i); /* the array moves while nodes are added */
    graft_value dout[GRAFT_MAX_RESULTS];
    bool arrives = false;
    for (size_t o = 0; o < n.n_out; o++) {
        dout[o] = r->gradient[n.out[o]];
        arrives = arrives || dout[o] != GRAFT_NONE || (n.op->loss && n.out[o] == r->loss);
    }
    if (!arrives) return 0;
    bool *wanted = graft_arena_array(r->scratch, n.n_in, sizeof *wanted);
    graft_value *din = graft_arena_array(r->scratch, n.n_in, sizeof *din);
    if (!wanted || !din) return graft_err_nomem(err);
    for (size_t k = 0; k < n.n_in; k++) {
        wanted[k] = n.in[k] != GRAFT_NONE && r->depends[n.in[k]];
        din[k] = GRAFT_NONE;
    }
    graft_graph_scope(r->g, "d %s", *n.name ? n.name : n.op->name);
    n.op->grad(r->g, &n, dout, wanted, din);
    for (size_t k = 0; k < n.n_in && !graft_graph_failed(r->g); k++) {
        if (wanted[k] && din[k] != GRAFT_NONE) accumulate(r, n.in[k], din[k]);
    }
    return graft_graph_end(r->g, err);
}

int graft_graph_grad(graft_graph *g, graft_value loss, const graft_value *wrt, size_t n_wrt,
                     graft_value *grads, graft_err *err) {
    for (size_t i = 0; i < n_wrt; i++) grads[i] = GRAFT_NONE;
    int rc = graft_graph_end(g, err);
    if (rc < 0) return rc;
    if (!graft_graph_value(g, loss))
        return graft_err_set(err, GRAFT_EINTERNAL, "gradient: the loss is no value");
    reverse r = {
        .g = g, .loss = loss, .n_nodes = graft_graph_n_nodes(g), .n_values = graft_graph_n_values(g)};
    r.scratch = graft_arena_new(NULL);
    if (!r.scratch) return graft_err_nomem(err);
    r.depends = graft_arena_array(r.scratch, r.n_values, sizeof *r.depends);
    r.on_path = graft_arena_array(r.scratch, r.n_nodes, sizeof *r.on_path);
    r.gradient = graft_arena_array(r.scratch, r.n_values, sizeof *r.gradient);
    if (!r.depends || !r.on_path || !r.gradient) rc = graft_err_nomem(err);
    for (size_t v = 0; rc == 0 && v < r.n_values; v++) r.gradient[v] = GRAFT_NONE;
    if (rc == 0) rc = find_paths(&r, wrt, n_wrt, err);
    if (rc == 0) rc = check_rules(&r, err);
    if (rc == 0) rc = seed(&r, err);
    const char *scope = graft_graph_scope_name(g);
    for (size_t i = r.n_nodes; rc == 0 && i-- > 0;) {
        if (r.on_path[i]) rc = step_back(&r, i, err);
    }
    graft_graph_scope(g, "%s", scope);
    for (size_t i = 0; rc == 0 && i < n_wrt; i++) grads[i] = r.gradient[wrt[i]];
    if (rc == 0) rc = graft_graph_end(g, err);
    graft_arena_free(r.scratch);
    return rc;
}
