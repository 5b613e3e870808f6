/* Lowering: from nodes to steps. Keeps, for every value, its representations, and for every buffer, the steps
 * that touch it; program.c drives it and reads the result. */
#include "backend/lowering.h"

#include <string.h>

graft_arena *graft_lower_arena(graft_lowering *l) {
    return l->arena;
}

void *graft_lower_device(graft_lowering *l) {
    return graft_state_device(l->state);
}

const graft_shape *graft_lower_shape(const graft_lowering *l, graft_value v) {
    return &l->values[v].info.shape;
}

graft_dtype graft_lower_dtype(const graft_lowering *l, graft_value v) {
    return l->values[v].info.dtype;
}

static bool lies_in(const graft_lowering *l, graft_value v, graft_buffer b) {
    for (const graft_repr *r = l->values[v].reprs; r; r = r->next)
        if (r->buffer == b) return true;
    return false;
}

/* Whether what a node makes of a parameter or state is what the step leaves there. */
static bool is_assigned(const graft_lowering *l, graft_value target, graft_value value) {
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(l->graph, &assigns);
    for (size_t i = 0; i < n; i++)
        if (assigns[i].target == target && assigns[i].value == value) return true;
    return false;
}

bool graft_lower_may_take(const graft_lowering *l, const graft_node *n, size_t o, graft_buffer b) {
    int from = n->op->alias[o];
    if (from < 0 || (size_t)from >= n->n_in || n->in[from] == GRAFT_NONE) return false;
    if (!lies_in(l, n->in[from], b) || l->buffers[b].last_use > l->node) return false;
    if (l->buffers[b].slot && !is_assigned(l, n->in[from], n->out[o])) return false;
    for (size_t i = 0; i < n->n_in; i++) {
        bool shape_only = i < 32 && (n->op->shape_only >> i & 1u);
        if (i == (size_t)from || n->in[i] == GRAFT_NONE || shape_only) continue;
        if (lies_in(l, n->in[i], b)) return false;
    }
    return true;
}

bool graft_lower_is_used(const graft_lowering *l, graft_value v) {
    return v != GRAFT_NONE && l->values[v].last_use >= 0;
}

bool graft_lower_is_frozen(const graft_lowering *l, graft_value v) {
    const graft_value_info *info = &l->values[v].info;
    return info->kind == GRAFT_PARAM && !info->trained;
}

bool graft_lower_is_packed(const graft_lowering *l, graft_value v, const graft_layout *layout) {
    return graft_lower_is_frozen(l, v) && graft_state_find_packed(l->state, &l->values[v].info, layout);
}

bool graft_lower_is_read_by(const graft_lowering *l, graft_value v, const graft_op *op) {
    size_t n = graft_graph_n_nodes(l->graph);
    for (size_t i = 0; i < n; i++) {
        const graft_node *node = graft_graph_node_at(l->graph, i);
        for (size_t k = 0; node->op == op && k < node->n_in; k++)
            if (node->in[k] == v) return true;
    }
    return false;
}

bool graft_lower_has(const graft_lowering *l, const graft_op *op) {
    size_t n = graft_graph_n_nodes(l->graph);
    for (size_t i = 0; i < n; i++)
        if (graft_graph_node_at(l->graph, i)->op == op) return true;
    return false;
}

static int new_buffer(graft_lowering *l, size_t size, graft_slot *slot, graft_buffer *out, graft_err *err) {
    if (l->n_buffers == l->buffers_capacity) {
        size_t more = l->buffers_capacity ? 2 * l->buffers_capacity : 256;
        graft_low_buffer *p = graft_arena_array(l->scratch, more, sizeof *p);
        if (!p) return graft_err_nomem(err);
        if (l->n_buffers) memcpy(p, l->buffers, l->n_buffers * sizeof *p);
        l->buffers = p;
        l->buffers_capacity = more;
    }
    l->buffers[l->n_buffers] = (graft_low_buffer){
        .span = {.size = size, .first = INT32_MAX, .last = -1}, .slot = slot, .last_use = -1};
    *out = (graft_buffer)l->n_buffers++;
    return 0;
}

static int add_repr(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer b,
                    graft_err *err) {
    graft_repr *r = graft_arena_alloc(l->scratch, sizeof *r);
    if (!r) return graft_err_nomem(err);
    r->layout = layout;
    r->buffer = b;
    graft_repr **end = &l->values[v].reprs;
    while (*end) end = &(*end)->next;
    *end = r;
    graft_low_buffer *at = &l->buffers[b];
    if (l->values[v].last_use > at->last_use) at->last_use = l->values[v].last_use;
    return 0;
}

/* Steps and buffers that all programs keep outside their arena. */
static int add_slot_repr(graft_lowering *l, graft_value v, graft_slot *slot, bool is_new, graft_buffer *out,
                         graft_err *err) {
    size_t size = l->backend->size(slot->layout);
    int rc = new_buffer(l, size, slot, out, err);
    if (rc < 0) return rc;
    if (is_new) *(slot->changes ? &l->needs.state : &l->needs.weights) += size;
    return add_repr(l, v, slot->layout, *out, err);
}

/* A parameter or state gets its home (the state's slot) as first representation. */
static int place_home(graft_lowering *l, graft_value v, const graft_layout *layout, graft_err *err) {
    graft_low_value *x = &l->values[v];
    graft_slot *slot = NULL;
    graft_layout *plain = NULL;
    bool is_new = false;
    graft_buffer b;
    if (l->backend->dtype(layout) !=
        GRAFT_F32) { /* masters stay float32: a bf16 wish is met by a step's reorder */
        int rc = l->backend->plain(&plain, l->scratch, GRAFT_F32, &x->info.shape, err);
        if (rc < 0) return rc;
        layout = plain;
    }
    int rc = graft_state_slot(l->state, &slot, &x->info, layout, &is_new, err);
    return rc < 0 ? rc : add_slot_repr(l, v, slot, is_new, &b, err);
}

static bool changes(const graft_value_info *info) {
    return info->kind == GRAFT_STATE || (info->kind == GRAFT_PARAM && info->trained);
}

const graft_layout *graft_lower_layout(const graft_lowering *l, graft_value v) {
    const graft_low_value *x = &l->values[v];
    if (x->reprs) return x->reprs->layout;
    if (changes(&x->info)) {
        const graft_slot *slot = graft_state_find(l->state, x->info.name);
        if (slot) return slot->layout;
    }
    return NULL;
}

/* The repr of v in `layout`, or NULL. */
static const graft_repr *find_repr(const graft_lowering *l, graft_value v, const graft_layout *layout) {
    const graft_repr *r = l->values[v].reprs;
    while (r && !l->backend->same(r->layout, layout)) r = r->next;
    return r;
}

/* A further repr, by a layout change in each step. */
static int reorder(graft_lowering *l, graft_value v, const graft_repr *from, const graft_layout *layout,
                   graft_buffer *out, graft_err *err) {
    int rc = new_buffer(l, l->backend->size(layout), NULL, out, err);
    if (rc < 0) return rc;
    graft_layout *copy = NULL;
    if ((rc = l->backend->clone(&copy, l->scratch, layout, err)) < 0) return rc;
    if ((rc = l->backend->reorder(l, from->buffer, from->layout, *out, copy, err)) < 0) return rc;
    l->needs.n_reorders++;
    return add_repr(l, v, copy, *out, err);
}

int graft_lower_derive(graft_lowering *l, graft_value v, const graft_layout *from, const graft_layout *layout,
                       graft_buffer *out, graft_err *err) {
    const graft_repr *there = find_repr(l, v, layout), *first = find_repr(l, v, from);
    if (there) {
        *out = there->buffer;
        return 0;
    }
    if (!first)
        return graft_err_set(err, GRAFT_EINTERNAL, "value %d has not the layout to begin with", (int)v);
    return reorder(l, v, first, layout, out, err);
}

int graft_lower_want(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer *out,
                     graft_err *err) {
    graft_low_value *x = &l->values[v];
    int rc;
    if (!x->reprs && changes(&x->info) && (rc = place_home(l, v, layout, err)) < 0) return rc;
    const graft_repr *there = find_repr(l, v, layout);
    if (there) {
        *out = there->buffer;
        return 0;
    }
    if (x->info.kind == GRAFT_PARAM && !x->info.trained) {
        graft_slot *slot = NULL;
        bool is_new = false;
        rc = graft_state_slot(l->state, &slot, &x->info, layout, &is_new, err);
        return rc < 0 ? rc : add_slot_repr(l, v, slot, is_new, out, err);
    }
    if (!x->reprs) {
        return graft_err_set(err, GRAFT_EINTERNAL, "value %d is read before it is computed", (int)v);
    }
    return reorder(l, v, x->reprs, layout, out, err);
}

int graft_lower_home(graft_lowering *l, graft_value v, const graft_layout *layout, graft_err *err) {
    const graft_low_value *x = &l->values[v];
    return !x->reprs && changes(&x->info) ? place_home(l, v, layout, err) : 0;
}

int graft_lower_new(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer *out,
                    graft_err *err) {
    int rc = new_buffer(l, l->backend->size(layout), NULL, out, err);
    return rc < 0 ? rc : graft_lower_reuse(l, v, layout, *out, err);
}

int graft_lower_reuse(graft_lowering *l, graft_value v, const graft_layout *layout, graft_buffer b,
                      graft_err *err) {
    graft_layout *copy = NULL;
    int rc = l->backend->clone(&copy, l->scratch, layout, err);
    return rc < 0 ? rc : add_repr(l, v, copy, b, err);
}

int graft_lower_scratch(graft_lowering *l, size_t size, graft_buffer *out, graft_err *err) {
    *out = GRAFT_NONE;
    return size ? new_buffer(l, size, NULL, out, err) : 0;
}

int graft_lower_emit(graft_lowering *l, const graft_step *step, const graft_buffer *buffers, size_t n_buffers,
                     graft_err *err) {
    if (l->n_steps == l->steps_capacity) {
        size_t more = l->steps_capacity ? 2 * l->steps_capacity : 256;
        graft_step *p = graft_arena_array(l->arena, more, sizeof *p);
        if (!p) return graft_err_nomem(err);
        if (l->n_steps) memcpy(p, l->steps, l->n_steps * sizeof *p);
        l->steps = p;
        l->steps_capacity = more;
    }
    int32_t at = (int32_t)l->n_steps;
    for (size_t i = 0; i < n_buffers; i++) {
        if (buffers[i] == GRAFT_NONE) continue;
        graft_span *s = &l->buffers[buffers[i]].span;
        if (at < s->first) s->first = at;
        if (at > s->last) s->last = at;
    }
    l->steps[l->n_steps] = *step;
    l->steps[l->n_steps++].node = l->node;
    if (step->is_reference) l->needs.n_reference++;
    return 0;
}
