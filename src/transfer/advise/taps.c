#include "transfer/advise/advise.h"

#include <stdio.h>
#include <string.h>

/* Values of one graph that are tapped, in the order of a row. */
typedef struct building {
    graft_taps *taps;
    const graft_model *m;
    graft_graph *g;
    graft_value values[4 * GRAFT_MOST_BOUNDARIES + 2];
    size_t n, at; /* at: floats so far */
} building;

static int64_t count_of(const graft_graph *g, graft_value v) {
    graft_shape one = graft_graph_value(g, v)->shape;
    int64_t count = 0;
    one.dims[0] = 1;
    return graft_shape_count(&one, &count) ? count : 0;
}

static int add(building *b, graft_tap *tap, graft_value v, graft_err *err) {
    int rc = graft_graph_end(b->g, err);
    if (rc < 0) return rc;
    if (b->n == GRAFT_COUNT(b->values))
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "more values cross the boundaries than can be judged");
    size_t count = (size_t)count_of(b->g, v);
    b->values[b->n++] = v;
    tap->width += count;
    b->at += count;
    return 0;
}

/* Averages over places and tokens; what else a value has stays. GRAFT_NONE: it has no samples. */
static graft_value pooled(building *b, graft_value v) {
    graft_shape shape = graft_graph_value(b->g, v)->shape;
    graft_value spans = graft_graph_find(b->g, "spans");
    if (shape.rank == 4) return graft_global_avg_pool(b->g, v);
    if (shape.rank == 3) return graft_span_pool(b->g, v, GRAFT_NONE, GRAFT_SPAN_MEAN);
    if (shape.rank == 2 && shape.dims[0] == GRAFT_DIM_TOKENS && spans != GRAFT_NONE)
        return graft_span_pool(b->g, v, spans, GRAFT_SPAN_MEAN);
    return shape.dims[0] == GRAFT_DIM_BATCH ? v : (graft_value)GRAFT_NONE;
}

/* All outputs but the pooled features, which only look back. */
static int whole_graph(graft_graph **out, graft_arena *arena, const graft_model *m, graft_err *err) {
    graft_graph *g = NULL;
    const graft_output *all;
    graft_output logits = {0};
    int rc = graft_model_graph(&g, arena, m, 0, 0, err);
    if (rc < 0) return rc;
    size_t n = graft_graph_outputs(g, &all);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, "logits") == 0) logits = all[i];
    if (!logits.name) return graft_err_set(err, GRAFT_EINTERNAL, "the model has no logits");
    return graft_graph_extract(out, arena, g, NULL, NULL, 0, &logits, 1, err);
}

/* What crosses the boundary of a plan. */
static int add_boundary(building *b, const char *plan, graft_err *err) {
    const graft_evidence none = {0};
    graft_arena *arena = b->taps->arena;
    graft_phase *phases = NULL;
    graft_plan derived;
    size_t n_phases = 0;
    graft_tap *tap = &b->taps->boundaries[b->taps->n_boundaries];
    *tap = (graft_tap){.first = b->at};
    int rc = graft_strategy_phases(&phases, &n_phases, &tap->plan, arena, b->m, plan, &none, err);
    if (rc == 0) rc = graft_mark_trained(b->g, b->m, &phases[0], false, err);
    if (rc == 0) rc = graft_plan_derive(&derived, arena, b->g, err);
    for (size_t i = 0; rc == 0 && i < derived.n_boundary; i++) {
        if (graft_graph_value(b->g, derived.boundary[i])->kind != GRAFT_RESULT) continue;
        graft_value v = pooled(b, derived.boundary[i]);
        if (v != GRAFT_NONE) rc = add(b, tap, v, err);
    }
    if (rc == 0 && tap->width == 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "plan '%s' freezes nothing of %s: there is no boundary to look at", plan,
                             graft_model_path(b->m));
    if (rc == 0) b->taps->n_boundaries++;
    return rc;
}

static int add_boundaries(building *b, const char *boundaries, graft_err *err) {
    char plan[128];
    int rc = 0;
    while (*boundaries && rc == 0) {
        size_t n = strcspn(boundaries, ",");
        if (b->taps->n_boundaries == GRAFT_MOST_BOUNDARIES)
            return graft_err_set(err, GRAFT_EUSAGE, "at most %d boundaries can be judged at once",
                                 GRAFT_MOST_BOUNDARIES);
        snprintf(plan, sizeof plan, "%.*s", (int)(n < sizeof plan ? n : sizeof plan - 1), boundaries);
        rc = add_boundary(b, plan, err);
        boundaries += n + (boundaries[n] == ',');
    }
    return rc;
}

/* Head and the three stages below it, as far as something is left below them. */
static int add_usual(building *b, graft_err *err) {
    size_t n_below = graft_model_n_stages(b->m) - 1;
    char plan[32];
    int rc = add_boundary(b, "head", err);
    for (size_t i = 1; i < n_below && i <= 3 && rc == 0; i++) {
        snprintf(plan, sizeof plan, "top:%zu", i);
        rc = add_boundary(b, plan, err);
    }
    return rc;
}

/* The input in at most 8 x 8 places: what a task asks of pictures that no network is needed for. */
static int add_input(building *b, graft_err *err) {
    graft_value x = graft_graph_find(b->g, "pixel_values");
    if (x == GRAFT_NONE) return 0;
    graft_shape shape = graft_graph_value(b->g, x)->shape;
    graft_pool_attr a = {0};
    for (int i = 0; i < 2; i++) {
        int64_t size = shape.dims[2 + i];
        if (size < 1) return 0;
        a.kernel[i] = a.stride[i] = (int32_t)((size + 7) / 8);
    }
    b->taps->input.first = b->at;
    return add(b, &b->taps->input, graft_flatten(b->g, graft_avg_pool2d(b->g, x, a)), err);
}

static int add_logits(building *b, graft_err *err) {
    const graft_output *outputs;
    size_t n_labels = 0;
    graft_model_labels(b->m, &n_labels);
    if (graft_model_head_is_new(b->m) || graft_model_is_scratch(b->m) || n_labels < 2 ||
        graft_model_task(b->m) != GRAFT_TASK_CLASSES)
        return 0;
    graft_graph_outputs(b->g, &outputs);
    b->taps->logits.first = b->at;
    return add(b, &b->taps->logits, outputs[0].value, err);
}

int graft_taps_open(graft_taps *out, const graft_env *env, const graft_model *m, const char *boundaries,
                    bool source, graft_precision dtype, graft_err *err) {
    *out = (graft_taps){.arena = graft_arena_new(NULL)};
    if (!out->arena) return graft_err_nomem(err);
    building b = {.taps = out, .m = m};
    int rc = graft_transform_of(&out->transform, m, NULL, err);
    if (rc == 0) rc = whole_graph(&b.g, out->arena, m, err);
    if (rc == 0) rc = boundaries ? add_boundaries(&b, boundaries, err) : add_usual(&b, err);
    if (rc == 0) rc = add_input(&b, err);
    if (rc == 0 && source) rc = add_logits(&b, err);
    if (rc == 0)
        rc =
            graft_prefix_of_values(&out->prefix, env, b.g, b.values, b.n, dtype, graft_model_longest(m), err);
    return rc;
}

void graft_taps_close(graft_taps *t) {
    graft_prefix_free(t->prefix);
    graft_arena_free(t->arena);
}
