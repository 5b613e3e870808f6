/* A running average of all that is trained, beside it in the state under "<name>/average":
 *     average <- (1 - s) average + s w
 * with s = 1 - d after every update it is the exponential one, with s = 1 / k after the k-th of the last
 * epochs the uniform one of SWA (Izmailov et al. 2018, "Averaging weights leads to wider optima and better
 * generalization"). It is a program of its own over the same storage, so the step is what it is without.
 * Running statistics are averaged with the weights; averaged weights see other activations, so the uniform
 * average has its statistics measured anew, as the mean over the batches of the training part. */
#include "learn/run.h"

static const char SHARE[] = "share";

/* One lerp a trained parameter. */
static int average_graph(graft_graph **out, graft_arena *arena, const graft_graph *suffix, graft_err *err) {
    graft_graph *g = graft_graph_new(arena);
    if (!g) return graft_err_nomem(err);
    graft_value share = graft_graph_input(g, SHARE, GRAFT_F32, (graft_shape){1, {1}});
    size_t n = graft_graph_n_values(suffix);
    for (size_t v = 0; v < n && !graft_graph_failed(g); v++) {
        const graft_value_info *info = graft_graph_value(suffix, (graft_value)v);
        if (info->kind != GRAFT_PARAM || !info->trained) continue;
        const char *name = graft_arena_printf(arena, "%s" GRAFT_AVERAGE_ENDING, info->name);
        if (!name) return graft_err_nomem(err);
        const char *names[] = {info->name, name};
        graft_value values[2];
        graft_graph_scope(g, "average %s", info->name);
        for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
            values[i] = graft_graph_param(g, names[i], NULL, info->shape);
            graft_value_info *made = graft_graph_value_mut(g, values[i]);
            if (!made) return graft_graph_end(g, err);
            made->trained = true;
            made->source = info->source;
        }
        graft_graph_assign(g, values[1], graft_lerp(g, values[1], values[0], share));
    }
    *out = g;
    return graft_graph_end(g, err);
}

int graft_average_graphs_new(graft_average_graphs *out, graft_arena *arena, const graft_graph *suffix,
                             graft_err *err) {
    graft_graph *still = NULL, *normed = NULL;
    *out = (graft_average_graphs){0};
    int rc = average_graph(&out->update, arena, suffix, err);
    if (rc == 0) rc = graft_graph_rename_trained(&out->view, arena, suffix, GRAFT_AVERAGE_ENDING, err);
    if (rc == 0) rc = graft_graph_without_dropout(&still, arena, out->view, err);
    if (rc == 0) rc = graft_graph_measure_norms(&normed, arena, still, err);
    if (rc == 0) rc = graft_graph_fuse_training(&out->measure, arena, normed, err);
    return rc;
}

/* The statistics that the measuring graph assigns. */
static int find_statistics(graft_average *a, graft_err *err) {
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(a->graphs.measure, &assigns), largest = 0;
    a->statistics = graft_arena_array(a->arena, n + 1, sizeof *a->statistics);
    if (!a->statistics) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const graft_value_info *info = graft_graph_value(a->graphs.measure, assigns[i].target);
        graft_statistic *s = &a->statistics[a->n_statistics++];
        int64_t count = 0;
        if (!graft_shape_count(&info->shape, &count))
            return graft_err_set(err, GRAFT_EINTERNAL, "'%s' has no fixed shape", info->name);
        *s = (graft_statistic){.name = info->name, .shape = info->shape, .count = (size_t)count};
        s->sums = graft_arena_array(a->arena, s->count + 1, sizeof *s->sums);
        if (!s->sums) return graft_err_nomem(err);
        if (s->count > largest) largest = s->count;
    }
    a->room = graft_arena_array(a->arena, largest + 1, sizeof *a->room);
    return a->room ? 0 : graft_err_nomem(err);
}

int graft_average_init(graft_average *a, const graft_graph *suffix, graft_state *state, graft_precision dtype,
                       graft_err *err) {
    *a = (graft_average){.arena = graft_arena_new(NULL), .state = state};
    if (!a->arena) return graft_err_nomem(err);
    int rc = graft_average_graphs_new(&a->graphs, a->arena, suffix, err);
    graft_compile_options options = {.batch = 1};
    if (rc == 0) rc = graft_program_compile(&a->program, a->graphs.update, state, &options, err);
    if (rc == 0) rc = graft_graph_precision(a->graphs.measure, dtype, err);
    if (rc == 0) rc = find_statistics(a, err);
    a->measure = (graft_shapes){.graph = a->graphs.measure, .state = state};
    return rc;
}

void graft_average_done(graft_average *a) {
    graft_shapes_done(&a->measure);
    graft_program_free(a->program);
    graft_arena_free(a->arena);
}

int graft_average_add(const graft_average *a, double share, graft_err *err) {
    float *to = graft_program_input(a->program, SHARE, NULL);
    if (to) *to = (float)share;
    return graft_program_run(a->program, err);
}

/* Adds what the last batch's statistics were. */
static int add_statistics(const graft_average *a, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; i < a->n_statistics && rc == 0; i++) {
        const graft_statistic *s = &a->statistics[i];
        rc = graft_state_read(a->state, s->name, a->room, s->count, err);
        for (size_t k = 0; k < s->count && rc == 0; k++) s->sums[k] += (double)a->room[k];
    }
    return rc;
}

static int write_statistics(const graft_average *a, int64_t n_seen, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; i < a->n_statistics && rc == 0; i++) {
        const graft_statistic *s = &a->statistics[i];
        for (size_t k = 0; k < s->count; k++) a->room[k] = (float)(s->sums[k] / (double)n_seen);
        rc = graft_state_write(a->state, s->name, &s->shape, a->room, err);
    }
    return rc;
}

int graft_average_measure(graft_average *a, const graft_env *env, graft_batches *batches, int64_t epoch,
                          int64_t micro_batch, graft_err *err) {
    graft_batch b = {0};
    int64_t n_seen = 0;
    if (a->n_statistics == 0) return 0;
    for (size_t i = 0; i < a->n_statistics; i++)
        for (size_t k = 0; k < a->statistics[i].count; k++) a->statistics[i].sums[k] = 0.0;
    int rc = batches->begin(batches->self, epoch, 0, err);
    while (rc == 0 && (rc = batches->next(batches->self, &b, err)) == 1) {
        rc = graft_env_check(env, err);
        for (int64_t first = 0; first < b.n && rc == 0; first += micro_batch) {
            int64_t left = b.n - first, n = left < micro_batch ? left : micro_batch;
            graft_program *p = NULL;
            rc = graft_shapes_feed(&p, &a->measure, &b, first, n, micro_batch, err);
            if (rc == 0) rc = graft_program_run(p, err);
            if (rc == 0) rc = add_statistics(a, err);
            n_seen++;
        }
    }
    return rc < 0 || n_seen == 0 ? rc : write_statistics(a, n_seen, err);
}
