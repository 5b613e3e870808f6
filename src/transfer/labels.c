/* Classes: those of the data, in the model's order where the model has the same; and the head that goes with
 * them. */
#include "transfer/fit.h"

#include <math.h>
#include <string.h>

int graft_data_open_choice(graft_data **out, const graft_env *env, const char *path,
                           const graft_data_choice *choice, graft_modality modality, graft_label_use labels,
                           const char *const *class_names, size_t n_class_names, uint64_t seed,
                           graft_err *err) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    int rc = graft_task_find(&o.task, choice->task, err);
    if (rc < 0) return rc;
    o.modality = modality;
    o.pair_column = choice->pair_column;
    o.input_column = choice->input_column;
    o.label_column = choice->label_column;
    o.group_column = choice->group_column;
    o.group_pattern = choice->group_pattern;
    o.labels = labels;
    o.class_names = class_names;
    o.n_class_names = (int32_t)n_class_names;
    o.labels_file = class_names ? NULL : choice->labels_file;
    o.validation = choice->validation;
    o.test = choice->test;
    o.per_class = choice->per_class;
    o.seed = seed;
    o.max_bad = choice->max_bad;
    o.strict = choice->strict;
    return graft_data_open(out, env, path, &o, err);
}

static const char *const tasks[] = {[GRAFT_TASK_CLASSES] = "classes",
                                    [GRAFT_TASK_MULTILABEL] = "multilabel",
                                    [GRAFT_TASK_REGRESSION] = "regression",
                                    [GRAFT_TASK_TAGGING] = "tagging"};

const char *graft_task_name(graft_task task) {
    return tasks[task];
}

int graft_task_find(graft_task *out, const char *name, graft_err *err) {
    *out = GRAFT_TASK_CLASSES;
    for (size_t i = 0; name && i < GRAFT_COUNT(tasks); i++) {
        if (strcmp(tasks[i], name) != 0) continue;
        *out = (graft_task)i;
        return 0;
    }
    if (!name) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "unknown --task '%s', one of: classes, multilabel, regression, tagging", name);
}

static bool has_label(const char *const *labels, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(labels[i], name) == 0) return true;
    return false;
}

static bool same_classes(const graft_model *m, const graft_data *d) {
    size_t n = 0;
    const char *const *labels = graft_model_labels(m, &n);
    if (graft_data_task(d) != graft_model_task(m)) return false;
    if (graft_data_task(d) == GRAFT_TASK_REGRESSION) return true;
    if (!graft_model_labels_are_known(m) || n != (size_t)graft_data_n_classes(d)) return false;
    for (int32_t c = 0; c < graft_data_n_classes(d); c++)
        if (!has_label(labels, n, graft_data_class(d, c))) return false;
    return true;
}

/* The same classes as the model knows: data take the model's order, the head stays. */
static int adopt_order(graft_job *j, graft_err *err) {
    size_t n = 0;
    const char *const *labels = graft_model_labels(j->model, &n);
    graft_data_close(j->data);
    j->data = NULL;
    graft_env_log(j->env, GRAFT_LOG_INFO,
                  "the data have the model's own %zu classes: its head is kept and trained on", n);
    int rc = graft_data_open_choice(&j->data, j->env, j->data_path, &j->options.data,
                                    graft_model_modality(j->model), GRAFT_LABELS_NEEDED, labels, n,
                                    j->options.seed, err);
    return rc < 0 ? rc : graft_data_cut(j->data, j->model, err);
}

/* Whether outputs without names answer for the data's classes in their order: a few training samples say so,
 * by more right answers than chance would give one time in a thousand. */
static int knows_classes(bool *knows, graft_job *j, graft_err *err) {
    enum { ASKED = 128 };
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *graph = NULL;
    graft_state *state = NULL;
    graft_transform plain;
    graft_batches loader = {0};
    graft_answers answers = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    int64_t samples[ASKED], n = 0, hits = 0, judged = 0;
    const int64_t *members = graft_data_members(j->data, GRAFT_TRAIN, &n);
    o.samples = samples;
    o.n_samples = n < ASKED ? n : ASKED;
    for (int64_t i = 0; i < o.n_samples; i++) samples[i] = members[i * n / o.n_samples];
    int rc = arena ? graft_transform_of(&plain, j->model, NULL, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_model_graph(&graph, arena, j->model, 0, 0, err);
    if (rc == 0) rc = graft_state_new(&state, j->env, err);
    if (rc == 0) rc = graft_loader_open(&loader, j->data, &plain, &o, err);
    if (rc == 0)
        rc = graft_evaluate(&answers, arena, j->env, graph, state, &loader, GRAFT_TASK_CLASSES, NULL,
                            GRAFT_PRECISION_FP32, err);
    for (int64_t i = 0; i < answers.n && rc == 0; i++) {
        const float *z = answers.logits + i * answers.k;
        int64_t best = 0;
        for (int64_t k = 1; k < answers.k; k++) best = z[k] > z[best] ? k : best;
        judged += answers.labels[i] >= 0;
        hits += answers.labels[i] == best;
    }
    double chance = answers.k > 0 ? 1.0 / (double)answers.k : 1.0, expected = chance * (double)judged;
    *knows = rc == 0 && (double)hits > expected + 3.1 * sqrt(expected * (1.0 - chance));
    graft_batches_close(&loader);
    graft_state_free(state);
    graft_arena_free(arena);
    return rc;
}

/* A checkpoint that names no classes but has as many as the data, and answers for them: its outputs are taken
 * for them, in their order, as graft eval does. */
static int adopt_names(graft_job *j, const char *const *names, size_t n, graft_err *err) {
    graft_env_log(
        j->env, GRAFT_LOG_INFO,
        "%s names no classes: its %zu outputs are taken for the data's classes, in their order, and "
        "its head is trained on",
        j->model_path, n);
    return graft_model_set_labels(j->model, names, n, err);
}

int graft_job_head(graft_job *j, graft_err *err) {
    bool number = graft_data_task(j->data) == GRAFT_TASK_REGRESSION;
    const char *head = j->options.head ? j->options.head : "linear";
    bool same_head = !j->options.head || !strcmp(head, graft_model_head_name(j->model));
    if (!strcmp(head, "crf") && graft_data_task(j->data) != GRAFT_TASK_TAGGING)
        return graft_err_set(err, GRAFT_EUSAGE, "--head crf is for tagged words; the data have none");
    if (same_head && !graft_model_head_is_new(j->model) && same_classes(j->model, j->data))
        return number ? 0 : adopt_order(j, err);
    int rc = graft_model_set_task(j->model, graft_data_task(j->data), err);
    if (rc < 0) return rc;
    size_t n = number ? 1 : (size_t)graft_data_n_classes(j->data), kept = 0, old = 0;
    const char **names = graft_arena_array(j->arena, n + 1, sizeof *names);
    if (!names) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) names[i] = number ? "LABEL_0" : graft_data_class(j->data, (int32_t)i);
    graft_model_labels(j->model, &old);
    bool knows = false;
    if (same_head && !graft_model_head_is_new(j->model) && !graft_model_labels_are_known(j->model) &&
        old == n && graft_data_task(j->data) == GRAFT_TASK_CLASSES &&
        (rc = knows_classes(&knows, j, err)) < 0)
        return rc;
    if (knows) return adopt_names(j, names, n, err);
    rc = graft_model_head(j->model, head, names, n, j->options.seed, &kept, err);
    if (rc == 0) {
        graft_env_log(j->env, GRAFT_LOG_INFO,
                      "new head for %zu classes in place of %zu; %zu rows kept by name", n, old, kept);
    }
    return rc;
}
