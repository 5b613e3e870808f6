/* Activations computed a second time instead of being kept: the forward nodes are cut into segments, what
 * crosses a cut is kept, and what the backward pass needs from within a segment is computed again right
 * before its first reader there. So at most the crossing values and one segment's inside are alive at once
 * (Chen et al. 2016). The copies are the same ops on the same values and give the same bits: dropout is a
 * function of its seed; a batch norm's copy has no assignment, so running statistics move once. The last
 * segment is never computed again, for its backward pass comes at once; nor are results without a batch
 * dimension, which are small. */
#include "graph/op.h"
#include "graph/rewrite.h"

typedef struct segments {
    const graft_graph *g;
    size_t n_forward, n;
    size_t *segment;    /* per forward node: 0 .. n - 1 */
    int64_t *bytes;     /* per value: of one sample; 0 for views and what is no forward result */
    int32_t *last_read; /* per value: the last forward node that reads its bytes, or -1 */
    bool *is_kept;      /* per value: never replaced by a copy */
    bool *is_copied;    /* per forward node */
    size_t *first;      /* per segment: the backward node before which its copies stand; n_nodes: none */
} segments;

static bool reads_bytes(const graft_node *n, size_t k) {
    return n->in[k] != GRAFT_NONE && !(k < 32 && (n->op->shape_only >> k & 1));
}

static bool is_open(const graft_shape *s) {
    for (int i = 0; i < s->rank; i++) {
        if (graft_dim_is_open(s->dims[i])) return true;
    }
    return false;
}

static int64_t sample_bytes(const graft_value_info *v) {
    int64_t count = 1;
    for (int i = 0; i < v->shape.rank; i++)
        count *= graft_dim_is_open(v->shape.dims[i]) ? 1 : v->shape.dims[i];
    return count * (int64_t)graft_dtype_size(v->dtype);
}

/* The forward node that computes v, or -1. */
static int32_t forward_node(const segments *s, graft_value v) {
    const graft_value_info *info = graft_graph_value(s->g, v);
    return info->kind == GRAFT_RESULT && (size_t)info->node < s->n_forward ? info->node : -1;
}

static void measure(segments *s) {
    for (size_t v = 0; v < graft_graph_n_values(s->g); v++) s->last_read[v] = -1;
    for (size_t i = 0; i < s->n_forward; i++) {
        const graft_node *n = graft_graph_node_at(s->g, i);
        for (size_t o = 0; o < n->n_out; o++) {
            const graft_value_info *v = graft_graph_value(s->g, n->out[o]);
            s->bytes[n->out[o]] = n->op->view || !is_open(&v->shape) ? 0 : sample_bytes(v);
        }
        for (size_t k = 0; k < n->n_in; k++) {
            if (reads_bytes(n, k)) s->last_read[n->in[k]] = (int32_t)i;
        }
    }
}

/* crossing[i]: bytes of forward results that are computed before node i and read at or after it. */
static void measure_crossing(const segments *s, int64_t *crossing) {
    for (size_t i = 0; i < s->n_forward; i++) {
        const graft_node *n = graft_graph_node_at(s->g, i);
        for (size_t o = 0; o < n->n_out; o++) {
            graft_value v = n->out[o];
            for (int32_t j = (int32_t)i + 1; j <= s->last_read[v]; j++) crossing[j] += s->bytes[v];
        }
    }
}

/* Cuts so that segments are about equal in bytes: each cut is the cheapest place within half a segment of the
 * even one, the nearest of equals. */
static void cut(segments *s, int64_t *crossing, int64_t *before, size_t *cuts) {
    int64_t total = 0;
    for (size_t i = 0; i < s->n_forward; i++) {
        before[i] = total;
        const graft_node *n = graft_graph_node_at(s->g, i);
        for (size_t o = 0; o < n->n_out; o++) total += s->bytes[n->out[o]];
    }
    size_t n_cuts = 0;
    int64_t step = total / (int64_t)s->n;
    for (size_t k = 1; k < s->n; k++) {
        int64_t even = step * (int64_t)k, best_off = 0;
        size_t best = 0;
        for (size_t i = n_cuts ? cuts[n_cuts - 1] + 1 : 1; i < s->n_forward; i++) {
            int64_t off = before[i] > even ? before[i] - even : even - before[i];
            if (2 * off >= step) continue;
            if (best && (crossing[i] > crossing[best] || (crossing[i] == crossing[best] && off >= best_off)))
                continue;
            best = i;
            best_off = off;
        }
        if (best) cuts[n_cuts++] = best;
    }
    size_t at = 0;
    for (size_t i = 0; i < s->n_forward; i++) {
        if (at < n_cuts && i == cuts[at]) at++;
        s->segment[i] = at;
    }
    s->n = n_cuts + 1;
}

/* Kept: what a later segment, an output or an assignment reads, and what is small. */
static void find_kept(segments *s) {
    const graft_output *outputs;
    const graft_assign *assigns;
    size_t n_outputs = graft_graph_outputs(s->g, &outputs), n_assigns = graft_graph_assigns(s->g, &assigns);
    for (size_t i = 0; i < s->n_forward; i++) {
        const graft_node *n = graft_graph_node_at(s->g, i);
        for (size_t o = 0; o < n->n_out; o++) {
            graft_value v = n->out[o];
            bool crosses = s->last_read[v] >= 0 && s->segment[s->last_read[v]] != s->segment[i];
            s->is_kept[v] = crosses || !is_open(&graft_graph_value(s->g, v)->shape);
        }
    }
    for (size_t i = 0; i < n_outputs; i++) s->is_kept[outputs[i].value] = true;
    for (size_t i = 0; i < n_assigns; i++) s->is_kept[assigns[i].value] = true;
    /* A view that is kept keeps what it shows. */
    for (size_t i = s->n_forward; i-- > 0;) {
        const graft_node *n = graft_graph_node_at(s->g, i);
        if (n->op->view && s->is_kept[n->out[0]]) s->is_kept[n->in[0]] = true;
    }
}

/* Whether a reader of v is to get a copy: v lies inside a segment before the last. */
static bool is_inside(const segments *s, graft_value v) {
    int32_t node = v == GRAFT_NONE ? -1 : forward_node(s, v);
    return node >= 0 && !s->is_kept[v] && s->segment[node] + 1 < s->n;
}

static void find_copies(segments *s) {
    size_t n_nodes = graft_graph_n_nodes(s->g);
    for (size_t k = 0; k < s->n; k++) s->first[k] = n_nodes;
    for (size_t i = s->n_forward; i < n_nodes; i++) {
        const graft_node *n = graft_graph_node_at(s->g, i);
        for (size_t k = 0; k < n->n_in; k++) {
            if (!reads_bytes(n, k) || !is_inside(s, n->in[k])) continue;
            int32_t node = forward_node(s, n->in[k]);
            s->is_copied[node] = true;
            if (s->first[s->segment[node]] == n_nodes) s->first[s->segment[node]] = i;
        }
    }
    for (size_t i = s->n_forward; i-- > 0;) {
        const graft_node *n = graft_graph_node_at(s->g, i);
        for (size_t k = 0; s->is_copied[i] && k < n->n_in; k++) {
            if (reads_bytes(n, k) && is_inside(s, n->in[k])) s->is_copied[forward_node(s, n->in[k])] = true;
        }
    }
}

/* Copies the nodes of a segment that are computed again; from here on their results stand for the first ones.
 * What is kept keeps its first value. */
static void write_copies(graft_rewrite *r, const segments *s, size_t segment) {
    for (size_t i = 0; i < s->n_forward; i++) {
        if (!s->is_copied[i] || s->segment[i] != segment) continue;
        const graft_node *n = graft_graph_node_at(s->g, i);
        graft_value first[GRAFT_MAX_RESULTS];
        graft_node named = *n;
        named.name = graft_arena_printf(r->scratch, "again %s", *n->name ? n->name : n->op->name);
        if (!named.name) {
            graft_graph_fail(r->to, GRAFT_ENOMEM, "out of memory");
            return;
        }
        for (size_t o = 0; o < n->n_out; o++) first[o] = r->map[n->out[o]];
        graft_rewrite_copy(r, &named);
        for (size_t o = 0; o < n->n_out; o++) {
            if (s->is_kept[n->out[o]]) r->map[n->out[o]] = first[o];
        }
    }
}

static int find_segments(segments *s, graft_arena *scratch, graft_err *err) {
    size_t n_values = graft_graph_n_values(s->g), n = s->n_forward;
    s->segment = graft_arena_array(scratch, n, sizeof *s->segment);
    s->bytes = graft_arena_array(scratch, n_values, sizeof *s->bytes);
    s->last_read = graft_arena_array(scratch, n_values, sizeof *s->last_read);
    s->is_kept = graft_arena_array(scratch, n_values, sizeof *s->is_kept);
    s->is_copied = graft_arena_array(scratch, n, sizeof *s->is_copied);
    s->first = graft_arena_array(scratch, s->n, sizeof *s->first);
    int64_t *crossing = graft_arena_array(scratch, n, sizeof *crossing);
    int64_t *before = graft_arena_array(scratch, n, sizeof *before);
    size_t *cuts = graft_arena_array(scratch, s->n, sizeof *cuts);
    if (!s->segment || !s->bytes || !s->last_read || !s->is_kept || !s->is_copied || !s->first || !crossing ||
        !before || !cuts)
        return graft_err_nomem(err);
    measure(s);
    measure_crossing(s, crossing);
    cut(s, crossing, before, cuts);
    find_kept(s);
    find_copies(s);
    return 0;
}

int graft_graph_recompute(graft_graph **out, graft_arena *arena, const graft_graph *g, size_t n_forward,
                          int n_segments, graft_err *err) {
    if (n_forward > graft_graph_n_nodes(g))
        return graft_err_set(err, GRAFT_EINTERNAL, "recompute: the graph has fewer than %zu nodes",
                             n_forward);
    graft_rewrite r;
    int rc = graft_rewrite_begin(&r, arena, g, err);
    if (rc < 0) return rc;
    segments s = {.g = g, .n_forward = n_forward, .n = n_segments > 1 ? (size_t)n_segments : 1};
    rc = find_segments(&s, r.scratch, err);
    for (size_t i = 0; rc == 0 && i < graft_graph_n_nodes(g); i++) {
        for (size_t k = 0; i >= n_forward && k < s.n; k++) {
            if (s.first[k] == i) write_copies(&r, &s, k);
        }
        graft_rewrite_copy(&r, graft_graph_node_at(g, i));
    }
    if (rc == 0) graft_rewrite_ends(&r);
    return graft_rewrite_end(&r, out, rc, err);
}
