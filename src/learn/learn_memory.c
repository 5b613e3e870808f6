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

/* What programs planned so far hold. They run in turn and share the state's arena. */
typedef struct plan {
    graft_state *state;
    size_t arena, slots; /* the largest arena; trained values, moments, packed weights */
} plan;

/* Whether measuring statistics means running the graph over batches. */
static bool measures(const graft_graph *g) {
    const graft_assign *assigns;
    return graft_graph_assigns(g, &assigns) > 0;
}

static int add_program(plan *p, const graft_graph *g, int64_t batch, int64_t tokens, graft_err *err) {
    graft_program *program = NULL;
    graft_compile_options options = {.batch = batch, .tokens = tokens, .dry = true};
    int rc = graft_program_compile(&program, g, p->state, &options, err);
    if (rc < 0) return rc;
    graft_program_memory m = graft_program_needs(program);
    if (m.arena > p->arena) p->arena = m.arena;
    p->slots += m.state + m.weights;
    graft_program_free(program);
    return 0;
}

int graft_learn_memory(size_t *out, const graft_env *env, const graft_graph *suffix, const graft_recipe *r,
                       graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_step_graphs graphs;
    graft_evaluator e = {0};
    plan p = {0};
    const graft_recipe step = graft_recipe_of_step(r);
    int64_t step_tokens = r->tokens ? graft_tokens_room(step.tokens * step.micro_batch / step.batch + 1) : 0;
    int64_t tokens = r->tokens ? graft_tokens_room(r->tokens * r->micro_batch / r->batch + 1) : 0;
    int rc = arena ? graft_recipe_check(r, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_state_new(&p.state, env, err);
    if (rc == 0) rc = graft_learn_assemble(&graphs, arena, suffix, &step, err);
    if (rc == 0) rc = add_program(&p, graphs.step, step.micro_batch, step_tokens, err);
    if (rc == 0 && graphs.update) rc = add_program(&p, graphs.update, 1, 0, err);
    const graft_graph *judged = suffix;
    if (rc == 0 && (r->ema > 0.0 || r->swa > 0.0)) {
        graft_average_graphs average;
        rc = graft_average_graphs_new(&average, arena, suffix, err);
        if (rc == 0) rc = add_program(&p, average.update, 1, 0, err);
        if (rc == 0 && r->swa > 0.0 && measures(average.measure)) {
            rc = graft_graph_precision(average.measure, r->dtype, err);
            if (rc == 0) rc = add_program(&p, average.measure, r->micro_batch, tokens, err);
        }
        judged = average.view;
    }
    if (rc == 0) rc = graft_evaluator_init(&e, judged, p.state, r->task, r->class_names, r->dtype, err);
    if (rc == 0) rc = add_program(&p, e.shapes.graph, r->micro_batch, tokens, err);
    *out = p.arena + p.slots + trained_size(suffix);
    graft_evaluator_done(&e);
    graft_state_free(p.state);
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
        if (mean && mean->kind == GRAFT_PARAM && mean->trained) return true;
    }
    return false;
}

/* Segments worth trying: beyond a dozen a ResNet-50 gains nothing. */
static const int segment_tries[] = {0, 2, 4, 8, 12};

/* The next way, in order of preference, the first that fits being taken: more memory never gets a later one.
 * Halving the micro-batch costs least and comes first, unless batch norms would see the difference: then all
 * numbers of segments are tried at each micro-batch. False when there is none. */
static bool next_way(graft_recipe *r, size_t *i_try, bool keep_batch, int64_t least) {
    bool can_split = r->micro_batch > 1 && (r->micro_batch + 1) / 2 >= least,
         can_recompute = *i_try + 1 < GRAFT_COUNT(segment_tries);
    if (can_recompute && (keep_batch || !can_split)) {
        r->segments = segment_tries[++*i_try];
    } else if (can_split) {
        r->micro_batch = (r->micro_batch + 1) / 2;
        if (keep_batch) r->segments = segment_tries[ *i_try = 0];
    } else {
        return false;
    }
    return true;
}

int graft_learn_fit_memory(graft_recipe *r, const graft_env *env, const graft_graph *suffix, size_t limit,
                           int64_t least, graft_err *err) {
    bool keep_batch = has_trained_statistics(suffix);
    size_t needs = 0, i_try = 0;
    r->micro_batch = r->batch;
    r->segments = segment_tries[0];
    do {
        int rc = graft_learn_memory(&needs, env, suffix, r, err);
        if (rc < 0) return rc;
        if (needs > limit) continue;
        if (keep_batch && r->micro_batch < r->batch) {
            graft_env_log(env, GRAFT_LOG_WARNING,
                          "to stay within %.1f MiB batch norms see %lld of %lld samples at a time",
                          (double)limit / 0x1p20, (long long)r->micro_batch, (long long)r->batch);
        }
        return 0;
    } while (next_way(r, &i_try, keep_batch, least));
    return graft_err_set(err, GRAFT_EUSAGE,
                         "%s at a time needs %.1f MiB, more than the %.1f MiB allowed: train fewer layers "
                         "(--train) or raise --memory",
                         r->micro_batch > 1 ? "what is left of a batch" : "one sample",
                         (double)needs / 0x1p20, (double)limit / 0x1p20);
}
