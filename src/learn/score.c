/* What the answers of one pass are worth: by which number epochs are compared, and every metric of the task.
 */
#include "learn/learn.h"

const char *graft_score_name(graft_task task) {
    static const char *const names[] = {[GRAFT_TASK_CLASSES] = "accuracy",
                                        [GRAFT_TASK_MULTILABEL] = "f1",
                                        [GRAFT_TASK_REGRESSION] = "spearman",
                                        [GRAFT_TASK_TAGGING] = "f1"};
    return names[task];
}

bool graft_score_is_better(const graft_score *a, const graft_score *b, bool by_refinement) {
    if (by_refinement) return a->refined < b->refined;
    if (a->score > b->score) return true;
    return !(a->score < b->score) && a->loss < b->loss;
}

/* The metrics of whichever task it is. */
typedef union measured {
    graft_metrics classes;
    graft_multilabel_metrics labels;
    graft_regression_metrics numbers;
    graft_entity_metrics entities;
} measured;

static int measure_entities(graft_entity_metrics *out, const graft_answers *a, const char *const *class_names,
                            graft_arena *arena, graft_err *err) {
    int64_t *lengths = graft_arena_array(arena, (size_t)a->n_samples + 1, sizeof *lengths);
    if (!lengths) return graft_err_nomem(err);
    for (int64_t i = 0; i < a->n_samples; i++) lengths[i] = a->words[i];
    return graft_entity_metrics_compute(out, arena, a->labels, a->predicted, lengths, a->n_samples,
                                        class_names, (size_t)a->k, err);
}

static int measure(measured *out, const graft_answers *a, graft_task task, const char *const *class_names,
                   graft_arena *arena, graft_err *err) {
    switch (task) {
    case GRAFT_TASK_MULTILABEL:
        return graft_multilabel_metrics_compute(&out->labels, arena, a->logits, a->targets, a->n, a->k,
                                                a->cuts, err);
    case GRAFT_TASK_REGRESSION:
        return graft_regression_metrics_compute(&out->numbers, a->logits, a->targets, a->n, err);
    case GRAFT_TASK_TAGGING:
        return measure_entities(&out->entities, a, class_names, arena, err);
    default:
        return graft_metrics_decide(&out->classes, arena, a->logits, a->labels, a->n, a->k, a->cuts, err);
    }
}

static graft_score score_of(const measured *m, graft_task task) {
    switch (task) {
    case GRAFT_TASK_MULTILABEL:
        return (graft_score){.score = m->labels.micro.f1, .loss = m->labels.log_loss};
    case GRAFT_TASK_REGRESSION:
        return (graft_score){.score = m->numbers.spearman, .loss = m->numbers.mse};
    case GRAFT_TASK_TAGGING: /* among equally good entities, the tags of words */
        return (graft_score){.score = m->entities.micro.f1, .loss = 1.0 - m->entities.accuracy};
    default:
        return (graft_score){.score = m->classes.accuracy, .loss = m->classes.log_loss};
    }
}

int graft_answers_score(graft_score *out, const graft_answers *a, graft_task task,
                        const char *const *class_names, graft_err *err) {
    measured m;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    int rc = measure(&m, a, task, class_names, arena, err);
    if (rc == 0) *out = score_of(&m, task);
    graft_arena_free(arena);
    return rc;
}

int graft_answers_json(json_t **out, const graft_answers *a, graft_task task, const char *const *class_names,
                       graft_err *err) {
    measured m;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    int rc = measure(&m, a, task, class_names, arena, err);
    if (rc == 0)
        *out = task == GRAFT_TASK_MULTILABEL   ? graft_multilabel_metrics_json(&m.labels, class_names)
               : task == GRAFT_TASK_REGRESSION ? graft_regression_metrics_json(&m.numbers)
               : task == GRAFT_TASK_TAGGING    ? graft_entity_metrics_json(&m.entities)
                                               : graft_metrics_json(&m.classes, class_names);
    if (rc == 0 && !*out) rc = graft_err_nomem(err);
    graft_arena_free(arena);
    return rc;
}
