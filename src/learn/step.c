/* One update: targets from labels, micro-batches through the step's program, the update's program at the end.
 *
 * With labels t_i, class weights w and smoothing e the target is w_c ((1 - e) [c = t_i] + e / K) and a sample
 * weighs 1 / sum_j w_{t_j} over the whole batch; with soft targets it weighs 1 / N: PyTorch's
 * CrossEntropyLoss. */
#include "learn/run.h"

#include <string.h>

int graft_stepper_init(graft_stepper *s, const graft_graph *suffix, graft_state *state, const graft_recipe *r,
                       graft_err *err) {
    graft_step_graphs graphs;
    *s = (graft_stepper){.arena = graft_arena_new(NULL), .recipe = r, .state = state};
    if (!s->arena) return graft_err_nomem(err);
    int rc = graft_recipe_check(r, err);
    if (rc == 0) rc = graft_learn_assemble(&graphs, s->arena, suffix, r, err);
    if (rc < 0) return rc;
    size_t rows = (size_t)r->batch;
    s->step = (graft_shapes){.graph = graphs.step, .state = state};
    s->target = graft_arena_array(s->arena, rows * (size_t)r->n_classes, sizeof *s->target);
    s->weight = graft_arena_array(s->arena, rows, sizeof *s->weight);
    if (!s->target || !s->weight) return graft_err_nomem(err);
    graft_program *first = NULL;
    if ((rc = graft_shapes_get(&first, &s->step, r->micro_batch, err)) < 0 || !graphs.update) return rc;
    graft_compile_options options = {.batch = 1};
    if ((rc = graft_program_compile(&s->update, graphs.update, state, &options, err)) < 0) return rc;
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(graphs.step, &assigns);
    s->gradients = graft_arena_array(s->arena, n + 1, sizeof *s->gradients);
    if (!s->gradients) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const graft_value_info *info = graft_graph_value(graphs.step, assigns[i].target);
        if (info->kind == GRAFT_STATE) s->gradients[s->n_gradients++] = info->name;
    }
    return 0;
}

void graft_stepper_done(graft_stepper *s) {
    graft_shapes_done(&s->step);
    graft_program_free(s->update);
    graft_arena_free(s->arena);
}

static int check_labels(const graft_batch *b, int64_t k, graft_err *err) {
    for (int64_t i = 0; i < b->n; i++) {
        if (b->labels[i] >= 0 && b->labels[i] < k) continue;
        return graft_err_set(err, GRAFT_EDATA, "sample %lld has class %d, the head has %lld classes",
                             (long long)(b->samples ? b->samples[i] : i), b->labels[i], (long long)k);
    }
    return 0;
}

static void make_targets(graft_stepper *s, const graft_batch *b) {
    const graft_recipe *r = s->recipe;
    int64_t k = r->n_classes;
    const float *cw = r->class_weights;
    double smooth = r->label_smoothing / (double)k, total = 0.0;
    for (int64_t i = 0; i < b->n; i++) {
        float *row = s->target + i * k;
        double weight = cw && !b->targets ? (double)cw[b->labels[i]] : 1.0;
        for (int64_t c = 0; c < k; c++) {
            double t = b->targets ? (double)b->targets[i * k + c] : (double)(c == b->labels[i]);
            double mixed = (1.0 - r->label_smoothing) * t + smooth;
            row[c] = (float)(cw && r->loss->weighs_target ? (double)cw[c] * mixed : mixed);
        }
        s->weight[i] = (float)(r->loss->weighs_target ? 1.0 : weight);
        total += weight;
    }
    /* a batch whose every class weighs nothing teaches nothing */
    double scale = total > 0.0 ? 1.0 / total : 0.0;
    for (int64_t i = 0; i < b->n; i++) s->weight[i] = (float)((double)s->weight[i] * scale);
}

static int64_t count_hits(const float *logits, const graft_batch *b, int64_t first, int64_t n, int64_t k) {
    int64_t hits = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *z = logits + i * k;
        int64_t best = 0;
        for (int64_t c = 1; c < k; c++)
            if (z[c] > z[best]) best = c;
        hits += best == b->labels[first + i];
    }
    return hits;
}

static void set_scalar(const graft_program *p, const char *name, double value) {
    float *to = graft_program_input(p, name, NULL);
    if (to) *to = (float)value;
}

static void set_rate(const graft_stepper *s, const graft_program *p, int64_t update, int64_t n_updates) {
    set_scalar(p, "lr", graft_recipe_rate(s->recipe, update, n_updates));
    set_scalar(p, "step", (double)(update + 1));
}

static int run_micro(graft_stepper *s, const graft_batch *b, int64_t first, int64_t n, int64_t update,
                     int64_t n_updates, graft_err *err) {
    graft_program *p = NULL;
    size_t k = (size_t)s->recipe->n_classes;
    int rc = graft_shapes_get(&p, &s->step, n, err);
    if (rc == 0) rc = graft_batch_copy(p, b, first, n, err);
    if (rc < 0) return rc;
    memcpy(graft_program_input(p, "target", NULL), s->target + (size_t)first * k,
           (size_t)n * k * sizeof(float));
    memcpy(graft_program_input(p, "weight", NULL), s->weight + first, (size_t)n * sizeof(float));
    set_rate(s, p, update, n_updates);
    int32_t *seed = graft_program_input(p, "seed", NULL);
    if (seed) {
        seed[0] = (int32_t)(update * s->recipe->batch + first);
        seed[1] = (int32_t)(uint32_t)(s->recipe->seed ^ s->recipe->seed >> 32);
    }
    if ((rc = graft_program_run(p, err)) < 0) return rc;
    s->loss += (double)*graft_program_output(p, "loss", NULL);
    s->hits += count_hits(graft_program_output(p, "logits", NULL), b, first, n, s->recipe->n_classes);
    return 0;
}

int graft_stepper_run(graft_stepper *s, const graft_batch *b, int64_t update, int64_t n_updates,
                      graft_err *err) {
    int rc = 0;
    if (b->n > s->recipe->batch) {
        return graft_err_set(err, GRAFT_EINTERNAL, "a batch of %lld samples came where %lld were announced",
                             (long long)b->n, (long long)s->recipe->batch);
    }
    if (!b->targets && (rc = check_labels(b, s->recipe->n_classes, err)) < 0) return rc;
    make_targets(s, b);
    s->loss = 0.0;
    s->hits = 0;
    for (int64_t first = 0; first < b->n && rc == 0; first += s->recipe->micro_batch) {
        int64_t left = b->n - first;
        rc = run_micro(s, b, first, left < s->recipe->micro_batch ? left : s->recipe->micro_batch, update,
                       n_updates, err);
    }
    if (rc < 0 || !s->update) return rc;
    set_rate(s, s->update, update, n_updates);
    rc = graft_program_run(s->update, err);
    for (size_t i = 0; i < s->n_gradients; i++) graft_state_zero(s->state, s->gradients[i]);
    return rc;
}
