/* Logits of every sample of a pass, by the suffix in inference form. */
#include "learn/run.h"

#include <string.h>

/* Folded and fused where nothing is trained. All outputs go out: the logits, and what a head gives beside
 * them. */
static int inference_graph(graft_graph **out, graft_arena *arena, const graft_graph *graph,
                           graft_precision dtype, graft_err *err) {
    graft_graph *part = NULL, *still = NULL, *chosen = NULL, *folded = NULL;
    const graft_output *outputs;
    size_t n = graft_graph_outputs(graph, &outputs);
    if (graft_graph_find(graph, "logits") == GRAFT_NONE)
        return graft_err_set(err, GRAFT_EINTERNAL, "the graph has no output 'logits'");
    int rc = graft_graph_extract(&part, arena, graph, NULL, NULL, 0, outputs, n, err);
    if (rc == 0) rc = graft_graph_without_dropout(&still, arena, part, err);
    if (rc == 0) rc = graft_graph_choose_rows(&chosen, arena, still, err);
    if (rc == 0) rc = graft_graph_fold(&folded, arena, chosen, err);
    if (rc == 0) rc = graft_graph_fuse(out, arena, folded, err);
    if (rc == 0) rc = graft_graph_precision(*out, dtype, err);
    return rc;
}

int graft_evaluator_init(graft_evaluator *e, const graft_graph *graph, graft_state *state, graft_task task,
                         const char *const *class_names, graft_precision dtype, graft_err *err) {
    graft_graph *g = NULL;
    *e = (graft_evaluator){.arena = graft_arena_new(NULL)};
    if (!e->arena) return graft_err_nomem(err);
    int rc = inference_graph(&g, e->arena, graph, dtype, err);
    if (rc < 0) return rc;
    e->shapes = (graft_shapes){.graph = g, .state = state};
    const graft_shape *shape = &graft_graph_value(g, graft_graph_find(g, "logits"))->shape;
    e->answers.k = shape->dims[shape->rank - 1];
    e->crf = graft_learn_has_crf(graph);
    return graft_gather_init(&e->gather, e->arena, task, class_names, e->answers.k, err);
}

/* Room for n samples, or for as many rows, which tagging has more of. What was there is kept. */
static int reserve(graft_evaluator *e, int64_t samples, int64_t rows, graft_err *err) {
    graft_answers *a = &e->answers;
    if (samples > e->samples_room) {
        a->samples = graft_arena_array(e->arena, (size_t)samples, sizeof *a->samples);
        a->words = graft_arena_array(e->arena, (size_t)samples, sizeof *a->words);
        if (!a->samples || !a->words) return graft_err_nomem(err);
        e->samples_room = samples;
    }
    if (rows <= e->room) return 0;
    size_t k = (size_t)a->k, used = (size_t)a->n, room = (size_t)rows;
    float *logits = graft_arena_array(e->arena, room * k, sizeof *logits);
    float *targets = graft_arena_array(e->arena, room * k, sizeof *targets);
    int32_t *labels = graft_arena_array(e->arena, room, sizeof *labels);
    int32_t *predicted = graft_arena_array(e->arena, room, sizeof *predicted);
    if (!logits || !targets || !labels || !predicted) return graft_err_nomem(err);
    if (used) {
        memcpy(logits, a->logits, used * k * sizeof *logits);
        memcpy(targets, a->targets, used * k * sizeof *targets);
        memcpy(labels, a->labels, used * sizeof *labels);
        memcpy(predicted, a->predicted, used * sizeof *predicted);
    }
    a->logits = logits;
    a->targets = targets;
    a->labels = labels;
    a->predicted = predicted;
    e->room = rows;
    return 0;
}

/* The gathered text becomes an answer. */
static int close_text(graft_evaluator *e, graft_err *err) {
    graft_gather *g = &e->gather;
    graft_answers *a = &e->answers;
    if (!g->is_open) return 0;
    int rc = graft_gather_end(g, err);
    if (rc == 0 && a->n + g->n > e->room) rc = reserve(e, 0, 2 * e->room + g->n, err);
    if (rc < 0) return rc;
    size_t n = (size_t)g->n, k = (size_t)a->k;
    memcpy(a->logits + (size_t)a->n * k, g->logits, n * k * sizeof *a->logits);
    memcpy(a->labels + a->n, g->labels, n * sizeof *a->labels);
    if (g->task == GRAFT_TASK_TAGGING)
        memcpy(a->predicted + a->n, g->predicted, n * sizeof *a->predicted);
    else
        memcpy(a->targets + (size_t)a->n * k, g->target, k * sizeof *a->targets);
    a->samples[a->n_samples] = g->sample;
    a->words[a->n_samples++] = (int32_t)n;
    a->n += g->n;
    return 0;
}

static int keep_field(graft_evaluator *e, const graft_program *p, graft_err *err) {
    return graft_gather_field(&e->gather, graft_program_output(p, "crf.transitions", NULL),
                              graft_program_output(p, "crf.start_transitions", NULL),
                              graft_program_output(p, "crf.end_transitions", NULL), err);
}

/* Samples [first, first + n) of b, which p answered. */
static int keep(graft_evaluator *e, const graft_batch *b, int64_t first, int64_t n, const graft_program *p,
                graft_err *err) {
    const float *logits = graft_program_output(p, "logits", NULL);
    bool tags = e->gather.task == GRAFT_TASK_TAGGING;
    int rc = e->crf ? keep_field(e, p, err) : 0;
    for (int64_t i = first; i < first + n && rc == 0; i++) {
        int64_t row = tags ? b->spans[2 * i] - b->spans[2 * first] : i - first;
        if (!graft_gather_continues(&e->gather, b, i)) rc = close_text(e, err);
        if (rc == 0) rc = graft_gather_add(&e->gather, b, i, logits + row * e->answers.k, err);
    }
    return rc;
}

/* One batch in pieces of max_rows samples. */
static int run_batch(graft_evaluator *e, const graft_batch *b, int64_t rows, graft_err *err) {
    int64_t most = e->max_rows > 0 && e->max_rows < b->n ? e->max_rows : b->n;
    if (e->max_rows > 0 && e->max_rows < rows) rows = e->max_rows;
    if (e->answers.n_samples + b->n > e->samples_room)
        return graft_err_set(err, GRAFT_EINTERNAL, "more samples came than were announced");
    for (int64_t first = 0; first < b->n; first += most) {
        graft_program *p = NULL;
        int64_t n = b->n - first < most ? b->n - first : most;
        int rc = graft_shapes_feed(&p, &e->shapes, b, first, n, rows, err);
        if (rc == 0) rc = graft_program_run(p, err);
        if (rc == 0) rc = keep(e, b, first, n, p, err);
        if (rc < 0) return rc;
    }
    return 0;
}

int graft_evaluator_run(graft_evaluator *e, const graft_env *env, graft_batches *batches, graft_err *err) {
    graft_batch b = {0};
    int rc = reserve(e, batches->n_samples, batches->n_samples, err);
    if (rc == 0) rc = batches->begin(batches->self, 0, 0, err);
    e->answers.n = e->answers.n_samples = 0;
    e->gather.is_open = false;
    while (rc == 0 && (rc = batches->next(batches->self, &b, err)) == 1) {
        if ((rc = graft_env_check(env, err)) == 0) rc = run_batch(e, &b, batches->batch, err);
    }
    return rc < 0 ? rc : close_text(e, err);
}

void graft_evaluator_done(graft_evaluator *e) {
    graft_shapes_done(&e->shapes);
    graft_arena_free(e->arena);
}

static void *copy(graft_arena *arena, const void *from, size_t n, size_t size) {
    void *to = graft_arena_array(arena, n + 1, size);
    if (to && n) memcpy(to, from, n * size);
    return to;
}

int graft_evaluate(graft_answers *out, graft_arena *arena, const graft_env *env, const graft_graph *graph,
                   graft_state *state, graft_batches *batches, graft_task task,
                   const char *const *class_names, graft_precision dtype, graft_err *err) {
    graft_evaluator e;
    int rc = graft_evaluator_init(&e, graph, state, task, class_names, dtype, err);
    if (rc == 0) rc = graft_evaluator_run(&e, env, batches, err);
    if (rc == 0) {
        const graft_answers *a = &e.answers;
        size_t n = (size_t)a->n, k = (size_t)a->k, m = (size_t)a->n_samples;
        *out = *a;
        out->logits = copy(arena, a->logits, n * k, sizeof *a->logits);
        out->targets = copy(arena, a->targets, n * k, sizeof *a->targets);
        out->labels = copy(arena, a->labels, n, sizeof *a->labels);
        out->predicted = copy(arena, a->predicted, n, sizeof *a->predicted);
        out->samples = copy(arena, a->samples, m, sizeof *a->samples);
        out->words = copy(arena, a->words, m, sizeof *a->words);
        if (!out->logits || !out->targets || !out->labels || !out->predicted || !out->samples || !out->words)
            rc = graft_err_nomem(err);
    }
    graft_evaluator_done(&e);
    return rc;
}
