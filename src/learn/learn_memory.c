/* Memory of a phase before it starts, from programs that are planned but not made. */
#include "learn/run.h"

/* Bytes of the trained parameters: the best epoch's copy on the host. */
static size_t trained_size(const graft_graph *g) {
    size_t total = 0, n = graft_graph_n_values(g);
    for (size_t v = 0; v < n; v++) {
        const graft_value_info *info = graft_graph_value(g, (graft_value)v);
        int64_t count = 0;
        if (info->kind == GRAFT_PARAM && info->trained && graft_shape_count(&info->shape, &count))
            total += (size_t)count * sizeof(float);
    }
    return total;
}

/* Adds what one graph's program leaves in the state to *total; its steps' memory is shared, so the largest
 * counts. */
static int add_program(size_t *total, size_t *steps, const graft_graph *g, graft_state *state, int64_t batch,
                       graft_err *err) {
    graft_program *p = NULL;
    graft_compile_options options = {.batch = batch, .dry = true};
    int rc = graft_program_compile(&p, g, state, &options, err);
    if (rc < 0) return rc;
    graft_program_memory m = graft_program_needs(p);
    *total += m.state + m.weights;
    if (m.arena > *steps) *steps = m.arena;
    graft_program_free(p);
    return 0;
}

int graft_learn_memory(size_t *out, const graft_env *env, const graft_graph *suffix, const graft_recipe *r,
                       graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_state *state = NULL;
    graft_step_graphs graphs;
    graft_evaluator e = {0};
    size_t steps = 0;
    int rc = arena ? graft_state_new(&state, env, err) : graft_err_nomem(err);
    *out = trained_size(suffix);
    if (rc == 0) rc = graft_learn_assemble(&graphs, arena, suffix, r, err);
    if (rc == 0) rc = add_program(out, &steps, graphs.step, state, r->micro_batch, err);
    if (rc == 0 && graphs.update) rc = add_program(out, &steps, graphs.update, state, 1, err);
    if (rc == 0) rc = graft_evaluator_init(&e, suffix, state, r->dtype, err);
    if (rc == 0) rc = add_program(out, &steps, e.shapes.graph, state, r->batch, err);
    *out += steps;
    graft_evaluator_done(&e);
    graft_state_free(state);
    graft_arena_free(arena);
    return rc;
}

/* Trained batch norms see the micro-batch: cutting the batch changes their statistics, computing again does
 * not. */
static bool has_trained_statistics(const graft_graph *g) {
    size_t n = graft_graph_n_nodes(g);
    for (size_t i = 0; i < n; i++) {
        const graft_node *node = graft_graph_node_at(g, i);
        if (node->n_in < 5) continue;
        const graft_value_info *mean = graft_graph_value(g, node->in[3]);
        if (mean->kind == GRAFT_PARAM && mean->trained) return true;
    }
    return false;
}

enum { MAX_SEGMENTS = 8 };

int graft_learn_fit_memory(graft_recipe *r, const graft_env *env, const graft_graph *suffix, size_t limit,
                           graft_err *err) {
    bool keep_batch = has_trained_statistics(suffix);
    size_t needs = 0;
    r->micro_batch = r->batch;
    r->segments = 0;
    for (;;) {
        int rc = graft_learn_memory(&needs, env, suffix, r, err);
        if (rc < 0 || needs <= limit) return rc;
        bool can_split = r->micro_batch > 1, can_recompute = r->segments < MAX_SEGMENTS;
        if (can_recompute && (keep_batch || !can_split)) {
            r->segments = r->segments ? 2 * r->segments : 2;
        } else if (can_split) {
            r->micro_batch = (r->micro_batch + 1) / 2;
        } else {
            return graft_err_set(
                err, GRAFT_EUSAGE,
                "one sample at a time needs %.1f MiB, more than the %.1f MiB allowed: train fewer layers "
                "(--train) or raise --memory",
                (double)needs / 0x1p20, (double)limit / 0x1p20);
        }
    }
}
