/* From a graph to a program, and running it.
 *
 * Memory of a program: one arena, shared with the state's other programs (one runs at a time), in which every
 * buffer (input, activation, gradient, layout change, the libraries' scratch) has an offset planned by
 * liveness, inputs alive from before the first step, outputs to after the last; and the state's slots, which
 * lie outside.
 *
 *     arena  |x.....|conv1 y......|relu y ...|scratch|...       slots (state)  |w1|w2|momentum|... */
#include "backend/lowering.h"

#include <stdlib.h>
#include <string.h>

typedef struct port {
    const char *name;
    graft_buffer buffer;
    size_t size, count; /* bytes; elements */
} port;

/* Where the buffers lie now; the state's memory moves when a larger program comes. */
typedef struct placement {
    void **addresses; /* of every buffer */
    size_t *offsets;  /* in the state's memory; unused for slots */
    graft_slot **slots;
    size_t n_buffers;
    uint64_t generation; /* of the memory that `addresses` speak of; 0: none yet */
} placement;

struct graft_program {
    graft_arena *arena;
    graft_state *state;
    const graft_backend *backend;
    placement *place; /* NULL in a dry program */
    graft_step *steps;
    const char **labels; /* per step: its node's op and name, for traces and errors */
    size_t n_steps;
    port *inputs, *outputs;
    size_t n_inputs, n_outputs;
    graft_program_memory needs;
};

void *graft_program_buffer(const graft_program *p, graft_buffer b) {
    return b == GRAFT_NONE ? NULL : p->place->addresses[b];
}

void *graft_program_device(const graft_program *p) {
    return graft_state_device(p->state);
}

/* ---- Compiling --------------------------------------------------------------------------------------------
 */

static int bind_values(graft_lowering *l, const graft_compile_options *options, graft_err *err) {
    size_t n = graft_graph_n_values(l->graph), n_nodes = graft_graph_n_nodes(l->graph);
    l->values = graft_arena_array(l->scratch, n ? n : 1, sizeof *l->values);
    if (!l->values) return graft_err_nomem(err);
    for (size_t v = 0; v < n; v++) {
        graft_low_value *x = &l->values[v];
        x->info = *graft_graph_value(l->graph, (graft_value)v);
        x->last_use = -1;
        for (int i = 0; i < x->info.shape.rank; i++) {
            int64_t *dim = &x->info.shape.dims[i];
            if (*dim == GRAFT_DIM_BATCH) *dim = options->batch;
            if (*dim == GRAFT_DIM_TOKENS) *dim = options->tokens;
            if (*dim < 1)
                return graft_err_set(err, GRAFT_ESHAPE,
                                     "a program of this graph needs at least one sample and one token");
        }
    }
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *node = graft_graph_node_at(l->graph, i);
        for (size_t k = 0; k < node->n_in; k++) {
            bool shape_only = k < 32 && (node->op->shape_only >> k & 1u);
            if (node->in[k] != GRAFT_NONE && !shape_only) l->values[node->in[k]].last_use = (int32_t)i;
        }
    }
    const graft_output *outputs;
    const graft_assign *assigns;
    size_t n_outputs = graft_graph_outputs(l->graph, &outputs),
           n_assigns = graft_graph_assigns(l->graph, &assigns);
    for (size_t i = 0; i < n_outputs; i++) l->values[outputs[i].value].last_use = (int32_t)n_nodes;
    for (size_t i = 0; i < n_assigns; i++) l->values[assigns[i].value].last_use = (int32_t)n_nodes;
    return 0;
}

static int make_inputs(graft_lowering *l, graft_program *p, graft_err *err) {
    size_t n = graft_graph_n_values(l->graph);
    p->inputs = graft_arena_array(p->arena, n ? n : 1, sizeof *p->inputs);
    if (!p->inputs) return graft_err_nomem(err);
    for (size_t v = 0; v < n; v++) {
        const graft_value_info *info = &l->values[v].info;
        if (info->kind != GRAFT_INPUT) continue;
        graft_layout *layout = NULL;
        int rc = l->backend->plain(&layout, l->scratch, info->dtype, &info->shape, err);
        graft_buffer b = GRAFT_NONE;
        if (rc == 0) rc = graft_lower_new(l, (graft_value)v, layout, &b, err);
        if (rc < 0) return rc;
        l->buffers[b].span.first = -1; /* written before the first step */
        port *in = &p->inputs[p->n_inputs++];
        in->name = graft_arena_strdup(p->arena, info->name);
        in->buffer = b;
        in->size = l->backend->size(layout);
        if (!in->name) return graft_err_nomem(err);
    }
    return 0;
}

/* A parameter that no node reads may still be assigned to another. */
static int read_at_all(graft_lowering *l, graft_value v, graft_err *err) {
    graft_layout *layout = NULL;
    graft_buffer b;
    if (l->values[v].reprs) return 0;
    int rc = l->backend->plain(&layout, l->scratch, GRAFT_F32, graft_lower_shape(l, v), err);
    return rc < 0 ? rc : graft_lower_want(l, v, layout, &b, err);
}

/* Outputs become float32 in C order. What the step changes is shown as it was before. */
static int make_outputs(graft_lowering *l, graft_program *p, graft_err *err) {
    const graft_output *outputs;
    size_t n = graft_graph_outputs(l->graph, &outputs);
    p->outputs = graft_arena_array(p->arena, n + 1, sizeof *p->outputs);
    if (!p->outputs) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        graft_layout *layout = NULL;
        graft_value v = outputs[i].value;
        port *out = &p->outputs[p->n_outputs++];
        int rc = l->backend->plain(&layout, l->scratch, GRAFT_F32, graft_lower_shape(l, v), err);
        if (rc == 0) rc = graft_lower_want(l, v, layout, &out->buffer, err);
        if (rc < 0) return rc;
        graft_buffer from = out->buffer;
        if (l->buffers[from].slot && l->buffers[from].slot->changes) {
            rc = graft_lower_new(l, v, layout, &out->buffer, err);
            if (rc == 0) rc = l->backend->reorder(l, from, layout, out->buffer, layout, err);
            if (rc < 0) return rc;
        }
        out->name = graft_arena_strdup(p->arena, outputs[i].name);
        out->size = l->backend->size(layout);
        out->count = out->size / sizeof(float);
        if (!out->name) return graft_err_nomem(err);
        graft_span *s = &l->buffers[out->buffer].span;
        s->last = INT32_MAX; /* read after the last step */
        if (s->first == INT32_MAX) s->first = -1;
    }
    return 0;
}

/* What assigned values were computed elsewhere goes home. */
static int make_assigns(graft_lowering *l, graft_err *err) {
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(l->graph, &assigns);
    for (size_t i = 0; i < n; i++) {
        graft_buffer home = GRAFT_NONE;
        int rc = read_at_all(l, assigns[i].value, err);
        if (rc < 0) return rc;
        const graft_repr *from = l->values[assigns[i].value].reprs;
        if (!l->values[assigns[i].target].reprs)
            rc = graft_lower_want(l, assigns[i].target, from->layout, &home, err);
        if (rc < 0) return rc;
        const graft_repr *to = l->values[assigns[i].target].reprs;
        if (to->buffer == from->buffer) continue;
        if ((rc = l->backend->reorder(l, from->buffer, from->layout, to->buffer, to->layout, err)) < 0)
            return rc;
    }
    return 0;
}

static int lower_nodes(graft_lowering *l, graft_err *err) {
    size_t n = graft_graph_n_nodes(l->graph);
    for (size_t i = 0; i < n; i++) {
        const graft_node *node = graft_graph_node_at(l->graph, i);
        l->node = (int32_t)i;
        int rc = l->backend->prepare(l, node, err);
        if (rc < 0) return rc;
    }
    l->node = (int32_t)n;
    return 0;
}

static int make_labels(graft_lowering *l, graft_program *p, graft_err *err) {
    p->labels = graft_arena_array(p->arena, l->n_steps + 1, sizeof *p->labels);
    if (!p->labels) return graft_err_nomem(err);
    size_t n = graft_graph_n_nodes(l->graph);
    for (size_t i = 0; i < l->n_steps; i++) {
        const graft_step *s = &l->steps[i];
        if ((size_t)s->node >= n) {
            p->labels[i] = "end";
            continue;
        }
        const graft_node *node = graft_graph_node_at(l->graph, (size_t)s->node);
        char shape[96];
        graft_shape_print(graft_lower_shape(l, node->out[0]), shape, sizeof shape);
        p->labels[i] = graft_arena_printf(
            p->arena, "%-22s %-40s %-22s %s", s->is_reorder ? "reorder" : node->op->name,
            node->name ? node->name : "", shape, graft_dtype_name(graft_lower_dtype(l, node->out[0])));
        if (!p->labels[i]) return graft_err_nomem(err);
    }
    return 0;
}

/* Takes the addresses of now: nothing to do unless the state's memory has moved. */
static int take_place(const graft_program *p, graft_err *err) {
    placement *place = p->place;
    uint64_t generation = 0;
    unsigned char *memory = graft_state_memory(p->state, &generation);
    if (generation == place->generation) return 0;
    if (!memory) return graft_err_nomem(err);
    for (size_t i = 0; i < place->n_buffers; i++)
        place->addresses[i] = place->slots[i] ? place->slots[i]->data : memory + place->offsets[i];
    for (size_t i = 0; i < p->n_steps; i++) {
        int rc = p->steps[i].bind ? p->steps[i].bind(p->steps[i].self, p, err) : 0;
        if (rc < 0) return rc;
    }
    place->generation = generation;
    return 0;
}

/* Offsets for every buffer that is not a slot; then, unless dry, memory, weights and addresses. */
static int place_buffers(graft_lowering *l, graft_program *p, bool dry, graft_err *err) {
    size_t n = l->n_buffers;
    graft_span *spans = graft_arena_array(l->scratch, n + 1, sizeof *spans);
    placement *place = graft_arena_alloc(p->arena, sizeof *place);
    if (!spans || !place) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        spans[i] = l->buffers[i].span;
        if (l->buffers[i].slot) spans[i].last = spans[i].first - 1;
    }
    int rc = graft_memory_plan(spans, n, &l->needs.arena, err);
    if (rc < 0 || dry) return rc;
    place->n_buffers = n;
    place->addresses = graft_arena_array(p->arena, n + 1, sizeof *place->addresses);
    place->offsets = graft_arena_array(p->arena, n + 1, sizeof *place->offsets);
    place->slots = graft_arena_array(p->arena, n + 1, sizeof *place->slots);
    if (!place->addresses || !place->offsets || !place->slots) return graft_err_nomem(err);
    p->steps = l->steps;
    p->n_steps = l->n_steps;
    p->place = place;
    for (size_t i = 0; i < n && rc == 0; i++) {
        place->slots[i] = l->buffers[i].slot;
        place->offsets[i] = spans[i].offset;
        if (place->slots[i]) rc = graft_slot_fill(l->state, place->slots[i], err);
    }
    if (rc == 0) rc = graft_state_reserve(l->state, l->needs.arena + 1, err);
    return rc < 0 ? rc : take_place(p, err);
}

int graft_program_compile(graft_program **out, const graft_graph *g, graft_state *state,
                          const graft_compile_options *options, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL), *scratch = graft_arena_new(NULL);
    graft_program *p = arena ? graft_arena_alloc(arena, sizeof *p) : NULL;
    int rc = 0;
    if (!p || !scratch) {
        rc = graft_err_nomem(err);
        goto done;
    }
    *p = (graft_program){.arena = arena, .state = state, .backend = graft_state_backend(state)};
    graft_lowering l = {
        .arena = arena, .scratch = scratch, .graph = g, .state = state, .backend = p->backend};
    p->backend->run_begin(graft_state_device(state));
    if ((rc = bind_values(&l, options, err)) == 0 && (rc = make_inputs(&l, p, err)) == 0 &&
        (rc = lower_nodes(&l, err)) == 0 && (rc = make_outputs(&l, p, err)) == 0 &&
        (rc = make_assigns(&l, err)) == 0 && (rc = make_labels(&l, p, err)) == 0) {
        rc = place_buffers(&l, p, options->dry, err);
    }
    p->backend->run_end(graft_state_device(state));
    p->needs = l.needs;
    p->needs.n_steps = l.n_steps;
done:
    graft_arena_free(scratch);
    if (rc < 0) {
        graft_arena_free(arena);
        return rc;
    }
    *out = p;
    return 0;
}

void graft_program_free(graft_program *p) {
    if (p) graft_arena_free(p->arena);
}

/* ---- Running ----------------------------------------------------------------------------------------------
 */

static const port *find_port(const port *ports, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(ports[i].name, name) == 0) return &ports[i];
    return NULL;
}

void *graft_program_input(const graft_program *p, const char *name, size_t *size) {
    const port *in = find_port(p->inputs, p->n_inputs, name);
    if (!in || !p->place || take_place(p, NULL) < 0) return NULL;
    if (size) *size = in->size;
    return graft_program_buffer(p, in->buffer);
}

const float *graft_program_output(const graft_program *p, const char *name, size_t *count) {
    const port *out = find_port(p->outputs, p->n_outputs, name);
    if (!out || !p->place || take_place(p, NULL) < 0) return NULL;
    if (count) *count = out->count;
    return graft_program_buffer(p, out->buffer);
}

static int run_steps(graft_program *p, double *seconds, graft_err *err) {
    if (!p->place) return graft_err_set(err, GRAFT_EUSAGE, "a dry program cannot run");
    int rc = take_place(p, err);
    if (rc < 0) return rc;
    p->backend->run_begin(graft_program_device(p));
    for (size_t i = 0; i < p->n_steps; i++) {
        double begun = seconds ? graft_now() : 0;
        if (p->steps[i].run(p->steps[i].self) < 0) {
            rc =
                graft_err_set(err, GRAFT_EINTERNAL, "kernel %s failed at %s", p->steps[i].impl, p->labels[i]);
            break;
        }
        if (seconds) seconds[i] = graft_now() - begun;
    }
    p->backend->run_end(graft_program_device(p));
    return rc;
}

int graft_program_run(graft_program *p, graft_err *err) {
    return run_steps(p, NULL, err);
}

graft_program_memory graft_program_needs(const graft_program *p) {
    return p->needs;
}

int graft_program_trace(graft_program *p, graft_buf *out, graft_err *err) {
    double *seconds = calloc(p->n_steps + 1, sizeof *seconds);
    if (!seconds) return graft_err_nomem(err);
    int rc = run_steps(p, seconds, err);
    for (size_t i = 0; rc == 0 && i < p->n_steps; i++)
        graft_buf_printf(out, "%9.1f us  %s  %s\n", 1e6 * seconds[i], p->labels[i], p->steps[i].impl);
    free(seconds);
    return rc == 0 && out->failed ? graft_err_nomem(err) : rc;
}
