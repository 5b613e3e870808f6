#include "evaluate.h"

#include "graph/op.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static double *new_doubles(graft_arena *arena, int64_t count) {
    double *d = graft_arena_array(arena, (size_t)count, sizeof *d);
    assert_non_null(d);
    return d;
}

static void read_tensor(graft_arena *arena, const graft_tensor *t, double *out, int64_t count) {
    if (!t) return;
    float *f = graft_arena_array(arena, (size_t)count, sizeof *f);
    assert_non_null(f);
    graft_tensor_to_f32(t, f);
    for (int64_t i = 0; i < count; i++) out[i] = (double)f[i];
}

/* The folding of source.c once more, without its rounding. */
static void read_source(graft_arena *arena, const graft_source *s, const graft_shape *shape, double *out,
                        int64_t count) {
    read_tensor(arena, s->tensor, out, count);
    if (!s->variance) return;
    int64_t channels = shape->dims[0];
    double *norm[4];
    const graft_tensor *tensors[4] = {s->gamma, s->beta, s->mean, s->variance};
    for (int i = 0; i < 4; i++) {
        norm[i] = new_doubles(arena, channels);
        read_tensor(arena, tensors[i], norm[i], channels);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t o = i / (count / channels);
        double a = norm[0][o] / sqrt(norm[3][o] + s->eps);
        const double w = s->tensor || s->is_bias ? out[i] : 1;
        out[i] = s->is_bias ? norm[1][o] + (w - norm[2][o]) * a : w * a;
    }
}

static void set_leaf(graft_arena *arena, const graft_value_info *v, const graft_shape *shape,
                     const evaluate_binding *bindings, size_t n_bindings, double *out, int64_t count) {
    for (size_t i = 0; i < n_bindings; i++) {
        if (strcmp(bindings[i].name, v->name) != 0) continue;
        memcpy(out, bindings[i].data, (size_t)count * sizeof *out);
        return;
    }
    if (v->kind == GRAFT_PARAM) read_source(arena, &v->source, shape, out, count);
}

static void run_node(graft_arena *arena, evaluation *e, const graft_node *n) {
    const double **in = graft_arena_array(arena, n->n_in, sizeof *in);
    graft_shape *in_shape = graft_arena_array(arena, n->n_in, sizeof *in_shape);
    double *out[4];
    graft_shape out_shape[4];
    assert_true(in && in_shape);
    for (size_t k = 0; k < n->n_in; k++) {
        if (n->in[k] == GRAFT_NONE) continue;
        in[k] = e->values[n->in[k]];
        in_shape[k] = e->shapes[n->in[k]];
    }
    for (size_t o = 0; o < n->n_out; o++) {
        out[o] = e->values[n->out[o]];
        out_shape[o] = e->shapes[n->out[o]];
    }
    graft_op_call call = {.in = in,
                          .in_shape = in_shape,
                          .n_in = n->n_in,
                          .out = out,
                          .out_shape = out_shape,
                          .n_out = n->n_out,
                          .attr = n->attr};
    assert_non_null(n->op->reference);
    n->op->reference(&call);
}

evaluation evaluate(graft_arena *arena, const graft_graph *g, int64_t batch, const evaluate_binding *bindings,
                    size_t n_bindings) {
    return evaluate_tokens(arena, g, batch, 1, bindings, n_bindings);
}

evaluation evaluate_tokens(graft_arena *arena, const graft_graph *g, int64_t batch, int64_t tokens,
                           const evaluate_binding *bindings, size_t n_bindings) {
    size_t n = graft_graph_n_values(g);
    evaluation e = {.values = graft_arena_array(arena, n, sizeof *e.values),
                    .shapes = graft_arena_array(arena, n, sizeof *e.shapes),
                    .counts = graft_arena_array(arena, n, sizeof *e.counts)};
    assert_true(e.values && e.shapes && e.counts);
    for (size_t v = 0; v < n; v++) {
        const graft_value_info *info = graft_graph_value(g, (graft_value)v);
        e.shapes[v] = info->shape;
        for (int i = 0; i < info->shape.rank; i++) {
            if (e.shapes[v].dims[i] == GRAFT_DIM_BATCH) e.shapes[v].dims[i] = batch;
            if (e.shapes[v].dims[i] == GRAFT_DIM_TOKENS) e.shapes[v].dims[i] = tokens;
        }
        assert_true(graft_shape_count(&e.shapes[v], &e.counts[v]));
        e.values[v] = new_doubles(arena, e.counts[v]);
        if (info->kind != GRAFT_RESULT)
            set_leaf(arena, info, &e.shapes[v], bindings, n_bindings, e.values[v], e.counts[v]);
    }
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) run_node(arena, &e, graft_graph_node_at(g, i));
    return e;
}

const double *evaluation_of(const evaluation *e, const graft_graph *g, const char *name, int64_t *count) {
    const graft_output *outputs;
    size_t n = graft_graph_outputs(g, &outputs);
    graft_value v = GRAFT_NONE;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(outputs[i].name, name) == 0) v = outputs[i].value;
    }
    if (v == GRAFT_NONE) v = graft_graph_find(g, name);
    if (v == GRAFT_NONE) fail_msg("the graph has no '%s'", name);
    if (count) *count = e->counts[v];
    return e->values[v];
}

double evaluate_difference(const double *a, const double *b, int64_t count) {
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(b[i]));
        difference = fmax(difference, fabs(a[i] - b[i]));
        if (!(a[i] == a[i]) || !(b[i] == b[i])) return INFINITY;
    }
    return largest > 0 ? difference / largest : difference;
}
