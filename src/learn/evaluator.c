/* Logits of every sample of a pass, by the suffix in inference form. */
#include "learn/run.h"

#include <string.h>

/* Folded and fused where nothing is trained; "logits" alone goes out. */
static int inference_graph(graft_graph **out, graft_arena *arena, const graft_graph *graph, graft_dtype dtype,
                           graft_err *err) {
    graft_graph *folded = NULL, *fused = NULL;
    graft_output logits = {"logits", graft_graph_find(graph, "logits")};
    if (logits.value == GRAFT_NONE)
        return graft_err_set(err, GRAFT_EINTERNAL, "the graph has no output 'logits'");
    int rc = graft_graph_extract(out, arena, graph, NULL, NULL, 0, &logits, 1, err);
    if (rc == 0) rc = graft_graph_fold(&folded, arena, *out, err);
    if (rc == 0) rc = graft_graph_fuse(&fused, arena, folded, err);
    if (rc == 0) rc = graft_graph_precision(fused, dtype, err);
    *out = fused;
    return rc;
}

int graft_evaluator_init(graft_evaluator *e, const graft_graph *graph, graft_state *state, graft_dtype dtype,
                         graft_err *err) {
    graft_graph *g = NULL;
    *e = (graft_evaluator){.arena = graft_arena_new(NULL)};
    if (!e->arena) return graft_err_nomem(err);
    int rc = inference_graph(&g, e->arena, graph, dtype, err);
    if (rc < 0) return rc;
    e->shapes = (graft_shapes){.graph = g, .state = state};
    const graft_shape *shape = &graft_graph_value(g, graft_graph_find(g, "logits"))->shape;
    e->n_classes = shape->dims[shape->rank - 1];
    return 0;
}

static int reserve(graft_evaluator *e, int64_t n, graft_err *err) {
    if (n <= e->capacity) return 0;
    e->logits = graft_arena_array(e->arena, (size_t)n * (size_t)e->n_classes, sizeof *e->logits);
    e->labels = graft_arena_array(e->arena, (size_t)n, sizeof *e->labels);
    e->capacity = e->logits && e->labels ? n : 0;
    return e->capacity ? 0 : graft_err_nomem(err);
}

/* One batch in pieces of max_rows samples. */
static int run_batch(graft_evaluator *e, const graft_batch *b, graft_err *err) {
    int64_t most = e->max_rows > 0 && e->max_rows < b->n ? e->max_rows : b->n;
    if (e->n + b->n > e->capacity)
        return graft_err_set(err, GRAFT_EINTERNAL, "more samples came than were announced");
    for (int64_t first = 0; first < b->n; first += most) {
        graft_program *p = NULL;
        int64_t n = b->n - first < most ? b->n - first : most;
        int rc = graft_shapes_get(&p, &e->shapes, n, err);
        if (rc == 0) rc = graft_batch_copy(p, b, first, n, err);
        if (rc == 0) rc = graft_program_run(p, err);
        if (rc < 0) return rc;
        size_t count = 0;
        const float *logits = graft_program_output(p, "logits", &count);
        memcpy(e->logits + (e->n + first) * e->n_classes, logits, count * sizeof *logits);
    }
    memcpy(e->labels + e->n, b->labels, (size_t)b->n * sizeof *b->labels);
    e->n += b->n;
    return 0;
}

int graft_evaluator_run(graft_evaluator *e, const graft_env *env, graft_batches *batches, graft_err *err) {
    graft_batch b = {0};
    int rc = reserve(e, batches->n_samples, err);
    if (rc == 0) rc = batches->begin(batches->self, 0, 0, err);
    e->n = 0;
    while (rc == 0 && (rc = batches->next(batches->self, &b, err)) == 1) {
        if ((rc = graft_env_check(env, err)) == 0) rc = run_batch(e, &b, err);
    }
    return rc;
}

void graft_evaluator_done(graft_evaluator *e) {
    graft_shapes_done(&e->shapes);
    graft_arena_free(e->arena);
}

int graft_evaluate(float **logits, int32_t **labels, int64_t *n, graft_arena *arena, const graft_env *env,
                   const graft_graph *graph, graft_state *state, graft_batches *batches, graft_dtype dtype,
                   graft_err *err) {
    graft_evaluator e;
    int rc = graft_evaluator_init(&e, graph, state, dtype, err);
    if (rc == 0) rc = graft_evaluator_run(&e, env, batches, err);
    if (rc == 0) {
        size_t count = (size_t)e.n * (size_t)e.n_classes;
        *logits = graft_arena_array(arena, count + 1, sizeof **logits);
        *labels = graft_arena_array(arena, (size_t)e.n + 1, sizeof **labels);
        *n = e.n;
        if (!*logits || !*labels) {
            rc = graft_err_nomem(err);
        } else if (e.n) {
            memcpy(*logits, e.logits, count * sizeof **logits);
            memcpy(*labels, e.labels, (size_t)e.n * sizeof **labels);
        }
    }
    graft_evaluator_done(&e);
    return rc;
}
