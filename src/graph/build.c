/* Building: values and nodes are added one by one; the first error is kept with the name of its node, and
 * everything after it does nothing, so that a model's layers can be written down without a check a line. */
#include "graph/core.h"

#include "graph/op.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAPACITY = 32 };

bool graft_graph_failed(const graft_graph *g) {
    return g->error.code != 0;
}

void graft_graph_fail(graft_graph *g, int code, const char *format, ...) {
    if (g->error.code) return;
    char text[sizeof g->error.message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    graft_err_set(&g->error, code, "%s%s%s", g->scope, *g->scope ? ": " : "", text);
}

int graft_graph_end(const graft_graph *g, graft_err *err) {
    if (g->error.code && err) *err = g->error;
    return g->error.code;
}

static void fail_nomem(graft_graph *g) {
    if (!g->error.code) graft_err_nomem(&g->error);
}

/* Room for one more item of `size` bytes; the old array stays in the arena until that goes. */
static bool make_room(graft_graph *g, void **items, size_t n, size_t *capacity, size_t size) {
    if (n < *capacity) return true;
    size_t larger = *capacity ? 2 * *capacity : FIRST_CAPACITY;
    void *moved = graft_arena_array(g->arena, larger, size);
    if (!moved) {
        fail_nomem(g);
        return false;
    }
    if (n) memcpy(moved, *items, n * size);
    *items = moved;
    *capacity = larger;
    return true;
}

static graft_value add_value(graft_graph *g, const graft_value_info *info) {
    void *values = g->values;
    if (g->n_values >= INT32_MAX) {
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "more than %d values in one graph", INT32_MAX);
        return GRAFT_NONE;
    }
    if (!make_room(g, &values, g->n_values, &g->values_capacity, sizeof *g->values)) return GRAFT_NONE;
    g->values = values;
    g->values[g->n_values] = *info;
    return (graft_value)g->n_values++;
}

/* Dims are positive or open. */
static bool is_shape_valid(const graft_shape *s) {
    if (s->rank < 0 || s->rank > GRAFT_MAX_RANK) return false;
    graft_shape bound = *s;
    for (int i = 0; i < s->rank; i++) {
        if (graft_dim_is_open(bound.dims[i])) bound.dims[i] = 1;
        if (bound.dims[i] <= 0) return false;
    }
    int64_t count;
    return graft_shape_count(&bound, &count);
}

static graft_value add_leaf(graft_graph *g, graft_value_kind kind, const char *name, graft_dtype dtype,
                            graft_shape shape, const graft_tensor *tensor) {
    if (graft_graph_failed(g)) return GRAFT_NONE;
    char text[128];
    if (!name || !*name) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "an input, parameter or state has no name");
        return GRAFT_NONE;
    }
    if (graft_map_get_str(g->names, name) >= 0) {
        graft_graph_fail(g, GRAFT_EFORMAT, "two inputs, parameters or states are named '%s'", name);
        return GRAFT_NONE;
    }
    if (!is_shape_valid(&shape)) {
        graft_graph_fail(g, GRAFT_ESHAPE, "'%s' cannot have the shape %s", name,
                         graft_shape_print(&shape, text, sizeof text));
        return GRAFT_NONE;
    }
    graft_value_info info = {.kind = kind, .dtype = dtype, .shape = shape, .node = -1};
    info.source.tensor = tensor;
    info.name = graft_arena_strdup(g->arena, name);
    graft_value v = info.name ? add_value(g, &info) : GRAFT_NONE;
    if (v == GRAFT_NONE || graft_map_put_str(g->names, name, v) < 0) {
        fail_nomem(g);
        return GRAFT_NONE;
    }
    return v;
}

graft_value graft_graph_input(graft_graph *g, const char *name, graft_dtype dtype, graft_shape shape) {
    return add_leaf(g, GRAFT_INPUT, name, dtype, shape, NULL);
}

graft_value graft_graph_param(graft_graph *g, const char *name, const graft_tensor *tensor,
                              graft_shape shape) {
    char a[96], b[96];
    if (tensor && !graft_graph_failed(g) && !graft_shape_equal(&tensor->shape, &shape)) {
        graft_graph_fail(g, GRAFT_ESHAPE, "tensor '%s' is %s where the model needs %s", name ? name : "",
                         graft_shape_print(&tensor->shape, a, sizeof a),
                         graft_shape_print(&shape, b, sizeof b));
        return GRAFT_NONE;
    }
    return add_leaf(g, GRAFT_PARAM, name, GRAFT_F32, shape, tensor);
}

graft_value graft_graph_state(graft_graph *g, const char *name, graft_shape shape) {
    return add_leaf(g, GRAFT_STATE, name, GRAFT_F32, shape, NULL);
}

static bool is_value(const graft_graph *g, graft_value v) {
    return v >= 0 && (size_t)v < g->n_values;
}

void graft_graph_output(graft_graph *g, const char *name, graft_value v) {
    if (graft_graph_failed(g)) return;
    if (!is_value(g, v)) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "output '%s' is no value of the graph", name);
        return;
    }
    if (graft_map_get_str(g->output_names, name) >= 0) {
        graft_graph_fail(g, GRAFT_EFORMAT, "two outputs are named '%s'", name);
        return;
    }
    void *outputs = g->outputs;
    if (!make_room(g, &outputs, g->n_outputs, &g->outputs_capacity, sizeof *g->outputs)) return;
    g->outputs = outputs;
    const char *kept = graft_arena_strdup(g->arena, name);
    if (!kept || graft_map_put_str(g->output_names, name, (int64_t)g->n_outputs) < 0) {
        fail_nomem(g);
        return;
    }
    g->outputs[g->n_outputs++] = (graft_output){.name = kept, .value = v};
}

void graft_graph_assign(graft_graph *g, graft_value target, graft_value value) {
    if (graft_graph_failed(g)) return;
    if (!is_value(g, target) || !is_value(g, value)) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "an assignment names no value of the graph");
        return;
    }
    const graft_value_info *t = &g->values[target];
    if (t->kind != GRAFT_PARAM && t->kind != GRAFT_STATE) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "only parameters and states can be assigned");
        return;
    }
    if (!graft_shape_equal(&t->shape, &g->values[value].shape)) {
        graft_graph_fail(g, GRAFT_ESHAPE, "'%s' is assigned a value of another shape", t->name);
        return;
    }
    void *assigns = g->assigns;
    if (!make_room(g, &assigns, g->n_assigns, &g->assigns_capacity, sizeof *g->assigns)) return;
    g->assigns = assigns;
    g->assigns[g->n_assigns++] = (graft_assign){.target = target, .value = value};
}

void graft_graph_scope(graft_graph *g, const char *format, ...) {
    if (graft_graph_failed(g)) return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *scope = graft_arena_strdup(g->arena, text);
    if (scope) {
        g->scope = scope;
    } else {
        fail_nomem(g);
    }
}

/* Runs the row's shape rule; false after an error, which then is the graph's. */
static bool infer(graft_graph *g, const graft_op *op, const void *attr, const graft_value *in, size_t n_in,
                  graft_shape *shape, graft_dtype *dtype) {
    const graft_value_info **infos = graft_arena_array(g->arena, n_in, sizeof *infos);
    if (!infos) {
        fail_nomem(g);
        return false;
    }
    for (size_t i = 0; i < n_in; i++) {
        if (in[i] != GRAFT_NONE && !is_value(g, in[i])) {
            graft_graph_fail(g, GRAFT_EINTERNAL, "%s: input %zu is no value of the graph", op->name, i);
            return false;
        }
        infos[i] = in[i] == GRAFT_NONE ? NULL : &g->values[in[i]];
    }
    graft_op_types types = {.in = infos, .n_in = n_in, .attr = attr, .out_shape = shape, .out_dtype = dtype};
    graft_err err = {0};
    int rc = op->shape(&types, &err);
    if (rc < 0) {
        graft_graph_fail(g, rc, "%s: %s", op->name, err.message);
        return false;
    }
    char text[128];
    for (size_t o = 0; o < op->n_out; o++) {
        if (is_shape_valid(&shape[o])) continue;
        graft_graph_fail(g, GRAFT_ESHAPE, "%s: the result would have the shape %s", op->name,
                         graft_shape_print(&shape[o], text, sizeof text));
        return false;
    }
    return true;
}

static void add_node(graft_graph *g, const graft_op *op, const void *attr, const graft_value *in, size_t n_in,
                     graft_value *out) {
    graft_shape shape[GRAFT_MAX_RESULTS] = {0};
    graft_dtype dtype[GRAFT_MAX_RESULTS];
    for (size_t o = 0; o < GRAFT_MAX_RESULTS; o++) dtype[o] = GRAFT_F32;
    if (op->n_out < 1 || op->n_out > GRAFT_MAX_RESULTS || !attr != !op->attr_size) {
        graft_graph_fail(g, GRAFT_EINTERNAL, "%s: results or attributes are not what the row says", op->name);
        return;
    }
    if (!infer(g, op, attr, in, n_in, shape, dtype)) return;
    graft_value *in_kept = graft_arena_array(g->arena, n_in, sizeof *in_kept);
    graft_value *out_kept = graft_arena_array(g->arena, op->n_out, sizeof *out_kept);
    void *attr_kept = op->attr_size ? graft_arena_alloc(g->arena, op->attr_size) : NULL;
    void *nodes = g->nodes;
    if (!in_kept || !out_kept || (op->attr_size && !attr_kept) || g->n_nodes >= INT32_MAX ||
        !make_room(g, &nodes, g->n_nodes, &g->nodes_capacity, sizeof *g->nodes)) {
        fail_nomem(g);
        return;
    }
    g->nodes = nodes;
    if (n_in) memcpy(in_kept, in, n_in * sizeof *in);
    if (attr_kept) memcpy(attr_kept, attr, op->attr_size);
    for (size_t o = 0; o < op->n_out; o++) {
        graft_value_info info = {
            .kind = GRAFT_RESULT, .dtype = dtype[o], .shape = shape[o], .node = (int32_t)g->n_nodes};
        out_kept[o] = add_value(g, &info);
        if (out_kept[o] == GRAFT_NONE) return;
    }
    g->nodes[g->n_nodes++] = (graft_node){.op = op,
                                          .attr = attr_kept,
                                          .in = in_kept,
                                          .n_in = n_in,
                                          .out = out_kept,
                                          .n_out = op->n_out,
                                          .name = g->scope};
    memcpy(out, out_kept, op->n_out * sizeof *out);
}

void graft_graph_node(graft_graph *g, const graft_op *op, const void *attr, const graft_value *in,
                      size_t n_in, graft_value *out) {
    for (size_t o = 0; o < op->n_out; o++) out[o] = GRAFT_NONE;
    if (!graft_graph_failed(g)) add_node(g, op, attr, in, n_in, out);
}
