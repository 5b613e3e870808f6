/* From a suffix with trained marks to the graph of one step: training form, loss, gradient, clipping,
 * updates.
 *
 * Without accumulation one graph does it all. With it, `step` adds each gradient to a state
 * "<param>/gradient", and `update` clips what was gathered, applies it and sets it back to zero. */
#include "learn/run.h"

#include <math.h>

typedef struct assembly {
    graft_arena *arena;
    graft_graph *graph;
    const graft_recipe *recipe;
    graft_value *params, *grads; /* trained parameters that have a gradient */
    size_t n_params;
} assembly;

static bool is_assigned(const graft_graph *g, graft_value v) {
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(g, &assigns);
    for (size_t i = 0; i < n; i++)
        if (assigns[i].target == v) return true;
    return false;
}

/* Trained parameters, without those that the graph assigns already (running statistics). */
static int find_params(assembly *a, graft_err *err) {
    size_t n = graft_graph_n_values(a->graph);
    a->params = graft_arena_array(a->arena, n + 1, sizeof *a->params);
    a->grads = graft_arena_array(a->arena, n + 1, sizeof *a->grads);
    if (!a->params || !a->grads) return graft_err_nomem(err);
    a->n_params = 0;
    for (size_t v = 0; v < n; v++) {
        const graft_value_info *info = graft_graph_value(a->graph, (graft_value)v);
        if (info->kind == GRAFT_PARAM && info->trained && !is_assigned(a->graph, (graft_value)v))
            a->params[a->n_params++] = (graft_value)v;
    }
    if (a->n_params == 0)
        return graft_err_set(err, GRAFT_EUSAGE, "nothing is trained: the plan freezes every parameter");
    return 0;
}

bool graft_learn_has_crf(const graft_graph *g) {
    return graft_graph_find(g, "crf.transitions") != GRAFT_NONE;
}

/* The logits that the loss sees; the graph's own stay what they are. */
static graft_value add_prior(const assembly *a, graft_graph *g, graft_value logits) {
    int64_t k = a->recipe->n_classes;
    if (!a->recipe->logit_adjust) return logits;
    graft_tensor *row = graft_arena_alloc(a->arena, sizeof *row);
    if (!row) {
        graft_graph_fail(g, GRAFT_ENOMEM, "out of memory");
        return GRAFT_NONE;
    }
    *row = (graft_tensor){.name = "logit adjustment",
                          .dtype = GRAFT_F32,
                          .shape = {1, {k}},
                          .data = a->recipe->logit_adjust,
                          .size = (size_t)k * sizeof(float)};
    return graft_add_row(g, logits, graft_graph_param(g, row->name, row, row->shape));
}

/* A target a sample, or a token. */
static graft_value add_loss(const assembly *a, graft_graph *g, graft_value logits) {
    int64_t k = a->recipe->n_classes, rows = graft_graph_value(g, logits)->shape.dims[0];
    graft_value target = graft_graph_input(g, "target", GRAFT_F32, (graft_shape){2, {rows, k}});
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {rows}});
    return a->recipe->loss->build(g, add_prior(a, g, logits), target, weight, a->recipe);
}

/* The tags of a text are one target. */
static graft_value add_crf(const assembly *a, graft_graph *g, graft_value logits) {
    graft_value tags = graft_graph_input(g, "tags", GRAFT_I32, (graft_shape){1, {GRAFT_DIM_TOKENS}});
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value spans = graft_graph_find(g, "spans");
    if (spans == GRAFT_NONE)
        spans = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    return graft_crf_loss(g, logits, tags, weight, spans, a->recipe->class_names,
                          (size_t)a->recipe->n_classes);
}

/* Forward in training form, then loss and gradients. *n_forward counts the nodes before the gradient's. */
static int build_backward(assembly *a, const graft_graph *suffix, size_t *n_forward, graft_err *err) {
    graft_graph *chosen = NULL, *normed = NULL, *folded = NULL, *fused = NULL, *g = NULL;
    int rc = graft_graph_choose_rows(&chosen, a->arena, suffix, err);
    if (rc == 0) rc = graft_graph_train_norms(&normed, a->arena, chosen, err);
    if (rc == 0) rc = graft_graph_fold(&folded, a->arena, normed, err);
    if (rc == 0) rc = graft_graph_fuse_training(&fused, a->arena, folded, err);
    if (rc == 0) rc = graft_graph_subsample(&g, a->arena, fused, err);
    if (rc < 0) return rc;
    a->graph = g;
    if ((rc = find_params(a, err)) < 0) return rc;
    graft_value logits = graft_graph_find(g, "logits");
    if (logits == GRAFT_NONE)
        return graft_err_set(err, GRAFT_EINTERNAL, "the graph to train has no output 'logits'");
    graft_graph_scope(g, "loss");
    graft_value loss = graft_learn_has_crf(g) ? add_crf(a, g, logits) : add_loss(a, g, logits);
    if ((rc = graft_terms_add(&loss, a->arena, g, suffix, a->recipe, err)) < 0) return rc;
    graft_graph_output(g, "loss", loss);
    *n_forward = graft_graph_n_nodes(g);
    return graft_graph_grad(g, loss, a->params, a->n_params, a->grads, err);
}

/* Keeps the parameters that the loss depends on. */
static int drop_untouched(assembly *a, graft_err *err) {
    size_t kept = 0;
    for (size_t i = 0; i < a->n_params; i++) {
        if (a->grads[i] == GRAFT_NONE) continue;
        a->params[kept] = a->params[i];
        a->grads[kept++] = a->grads[i];
    }
    a->n_params = kept;
    return kept ? 0 : graft_err_set(err, GRAFT_EUSAGE, "the loss depends on no trained parameter");
}

/* L2-SP: the gradients of the pull to where the parameters began (Li et al. 2018) join those of the loss,
 * once an update. The pretrained part of another term may have brought where they began. */
static void add_pulls(const assembly *a, graft_graph *g, const graft_value *params, graft_value *grads) {
    const graft_recipe *r = a->recipe;
    for (size_t i = 0; i < a->n_params && r->l2_sp > 0.0 && !graft_graph_failed(g); i++) {
        const graft_value_info *info = graft_graph_value(g, params[i]);
        const graft_tensor *start = r->start ? r->start(r->user, info->name) : NULL;
        if (!start) continue;
        const char *name = graft_arena_printf(a->arena, "%s/start", info->name);
        if (!name) {
            graft_graph_fail(g, GRAFT_ENOMEM, "out of memory");
            return;
        }
        graft_graph_scope(g, "pull %s", info->name);
        graft_value w0 = graft_graph_find(g, name);
        if (w0 == GRAFT_NONE) w0 = graft_graph_param(g, name, start, info->shape);
        grads[i] = graft_pull(g, grads[i], params[i], w0, r->l2_sp);
    }
}

static void add_updates(const assembly *a, graft_graph *g, const graft_value *params, graft_value *grads) {
    const graft_recipe *r = a->recipe;
    add_pulls(a, g, params, grads);
    graft_graph_scope(g, "update");
    graft_value lr = graft_graph_input(g, "lr", GRAFT_F32, (graft_shape){1, {1}});
    graft_value step = graft_graph_input(g, "step", GRAFT_F32, (graft_shape){1, {1}});
    /* without a limit the factor still tells whether the gradient is one: it is no number where it is not */
    graft_value scale =
        graft_clip_scale(g, grads, a->n_params, r->clip_norm > 0.0 ? r->clip_norm : (double)INFINITY);
    graft_graph_output(g, GRAFT_CLIP_SCALE, scale);
    for (size_t i = 0; i < a->n_params; i++) {
        const char *name = graft_graph_value(g, params[i])->name;
        graft_param_group group = r->group(r->user, name);
        graft_graph_scope(g, "update %s", name);
        r->optimiser->update(g, params[i], grads[i], lr, step, scale, &group, r);
    }
}

static graft_value gradient_state(const assembly *a, graft_graph *g, graft_value like) {
    const graft_value_info *info = graft_graph_value(g, like);
    const char *name = graft_arena_printf(a->arena, "%s" GRAFT_GRADIENT_ENDING, info->name);
    graft_shape shape = info->shape;
    if (!name) graft_graph_fail(g, GRAFT_ENOMEM, "out of memory");
    return name ? graft_graph_state(g, name, shape) : GRAFT_NONE;
}

/* In the step's graph: gathered += gradient. */
static void gather(const assembly *a) {
    graft_graph_scope(a->graph, "gather");
    for (size_t i = 0; i < a->n_params; i++) {
        graft_value sum = gradient_state(a, a->graph, a->params[i]);
        graft_graph_assign(a->graph, sum, graft_sum_into(a->graph, sum, a->grads[i]));
    }
}

/* The update's own graph: reads what was gathered. Clearing it is the trainer's (graft_state_zero). */
static int build_update(graft_graph **out, const assembly *a, graft_err *err) {
    graft_graph *g = graft_graph_new(a->arena);
    graft_value *params = graft_arena_array(a->arena, a->n_params + 1, sizeof *params);
    graft_value *grads = graft_arena_array(a->arena, a->n_params + 1, sizeof *grads);
    if (!g || !params || !grads) return graft_err_nomem(err);
    for (size_t i = 0; i < a->n_params; i++) {
        const graft_value_info *info = graft_graph_value(a->graph, a->params[i]);
        params[i] = graft_graph_param(g, info->name, info->source.tensor, info->shape);
        if (params[i] == GRAFT_NONE) break;
        graft_graph_value_mut(g, params[i])->trained = true;
        grads[i] = gradient_state(a, g, params[i]);
    }
    add_updates(a, g, params, grads);
    *out = g;
    return graft_graph_end(g, err);
}

int graft_learn_assemble(graft_step_graphs *out, graft_arena *arena, const graft_graph *suffix,
                         const graft_recipe *r, graft_err *err) {
    assembly a = {.arena = arena, .recipe = r};
    size_t n_forward = 0;
    *out = (graft_step_graphs){0};
    int rc = build_backward(&a, suffix, &n_forward, err);
    if (rc == 0) rc = drop_untouched(&a, err);
    if (rc < 0) return rc;
    bool gathers = r->micro_batch < r->batch;
    if (gathers) {
        gather(&a);
        rc = build_update(&out->update, &a, err);
    } else {
        add_updates(&a, a.graph, a.params, a.grads);
    }
    graft_graph *joined = NULL, *again = NULL;
    if (rc == 0) rc = graft_graph_fuse_gradient(&joined, arena, a.graph, err);
    if (rc == 0) a.graph = joined;
    if (rc == 0 && r->segments > 1) {
        rc = graft_graph_recompute(&again, arena, a.graph, n_forward, r->segments, err);
        a.graph = again;
    }
    if (rc == 0) rc = graft_graph_precision(a.graph, r->dtype, err);
    out->step = a.graph;
    return rc;
}
