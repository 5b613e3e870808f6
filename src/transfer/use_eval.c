/* graft eval: metrics of a model on labelled data. Labels are matched by name: the data are opened with the
 * model's classes in the model's order. A checkpoint that names no classes takes the data's, in their order.
 */
#include "transfer/decision.h"
#include "transfer/use.h"

#include <string.h>

typedef struct evaluation {
    graft_env *env;
    const graft_use_options *options;
    graft_arena *arena;
    graft_model *model;
    graft_data *data;
    graft_part part;
    graft_use_rows rows;
    graft_decision decision;
    json_t *metrics;
} evaluation;

static int open_named(evaluation *e, const char *path, const char *const *names, size_t n, graft_err *err) {
    graft_data_choice choice = e->options->data;
    choice.validation = -1; /* what is there is measured; no part is made */
    choice.task = graft_task_name(graft_model_task(e->model));
    int rc = graft_data_open_choice(&e->data, e->env, path, &choice, graft_model_modality(e->model),
                                    GRAFT_LABELS_NEEDED, names, n, 0, err);
    return rc < 0 ? rc : graft_data_cut(e->data, e->model, err);
}

static int open_data(evaluation *e, const char *path, graft_err *err) {
    size_t n = 0;
    const char *const *labels = graft_model_labels(e->model, &n);
    if (graft_model_task(e->model) == GRAFT_TASK_REGRESSION) return open_named(e, path, NULL, 0, err);
    if (graft_model_labels_are_known(e->model)) return open_named(e, path, labels, n, err);
    int rc = open_named(e, path, NULL, 0, err);
    if (rc < 0) return rc;
    size_t found = (size_t)graft_data_n_classes(e->data);
    if (found != n) {
        return graft_err_set(err, GRAFT_EDATA,
                             "%s names no classes and has %zu, the data have %zu; name the model's, in the "
                             "order of its outputs, with --labels FILE",
                             graft_model_path(e->model), n, found);
    }
    const char **names = graft_arena_array(e->arena, n + 1, sizeof *names);
    if (!names) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) names[i] = graft_data_class(e->data, (int32_t)i);
    graft_env_log(e->env, GRAFT_LOG_INFO,
                  "%s names no classes: its %zu outputs are taken for the data's classes, %s to %s, in this "
                  "order",
                  graft_model_path(e->model), n, names[0], names[n - 1]);
    return graft_model_set_labels(e->model, names, n, err);
}

/* The part asked for, else the one that was kept from training. */
static int choose_part(evaluation *e, graft_err *err) {
    static const graft_part wanted[] = {GRAFT_TEST, GRAFT_VAL, GRAFT_ALL};
    static const graft_part known[] = {GRAFT_TRAIN, GRAFT_VAL, GRAFT_TEST, GRAFT_ALL};
    const char *name = e->options->part;
    int64_t n = 0;
    for (size_t i = 0; !name && i < GRAFT_COUNT(wanted); i++) {
        e->part = wanted[i];
        graft_data_members(e->data, e->part, &n);
        if (n > 0) return 0;
    }
    for (size_t i = 0; name && i < GRAFT_COUNT(known); i++) {
        e->part = known[i];
        if (strcmp(name, graft_part_name(known[i])) != 0) continue;
        graft_data_members(e->data, e->part, &n);
        if (n > 0) return 0;
        return graft_err_set(err, GRAFT_EDATA, "%s: the data have no part '%s'", graft_data_path(e->data),
                             name);
    }
    if (!name) return graft_err_set(err, GRAFT_EDATA, "%s: nothing labelled", graft_data_path(e->data));
    return graft_err_set(err, GRAFT_EUSAGE, "unknown part '%s', one of: train, val, test, all", name);
}

static int measure(evaluation *e, graft_err *err) {
    graft_row_batches_options o = {
        .part = e->part, .batch = e->options->batch > 0 ? e->options->batch : 32, .order = GRAFT_IN_ORDER};
    graft_batches batches = {0};
    graft_state *state = NULL;
    graft_answers answers = {0}, told = {0};
    size_t n = 0;
    graft_task task = graft_model_task(e->model);
    const char *const *labels = graft_model_labels(e->model, &n);
    int rc = graft_row_batches_open(&batches, e->rows.features, e->data, &e->rows.transform, e->rows.prefix,
                                    &o, err);
    if (rc == 0) rc = graft_state_new(&state, e->env, err);
    if (rc == 0)
        rc = graft_evaluate(&answers, e->arena, e->env, e->rows.suffix, state, &batches, task, labels,
                            GRAFT_PRECISION_FP32, err);
    if (rc == 0 && answers.n == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "%s: no sample could be read", graft_data_path(e->data));
    if (rc == 0) rc = graft_decision_apply(&told, e->arena, &e->decision, &answers, err);
    if (rc == 0) rc = graft_answers_json(&e->metrics, &told, task, labels, err);
    graft_batches_close(&batches);
    graft_state_free(state);
    return rc;
}

static int evaluate(evaluation *e, const char *path, graft_err *err) {
    int64_t n = 0;
    int rc = open_data(e, path, err);
    if (rc == 0) rc = choose_part(e, err);
    if (rc == 0 && !e->options->uncalibrated) rc = graft_decision_read(&e->decision, e->arena, e->model, err);
    const int64_t *members = rc == 0 ? graft_data_members(e->data, e->part, &n) : NULL;
    if (rc == 0) rc = graft_use_rows_open(&e->rows, e->env, e->model, e->data, members, n, e->options, err);
    return rc == 0 ? measure(e, err) : rc;
}

static int report(char **result, const evaluation *e, graft_err *err) {
    size_t n = 0;
    json_t *o = e->metrics;
    graft_model_labels(e->model, &n);
    double temperature = e->decision.temperature > 0.0 ? e->decision.temperature : 1.0;
    json_t *labels = json_array();
    for (size_t i = 0; i < n && labels; i++)
        json_array_append_new(labels, graft_json_string(graft_model_labels(e->model, &n)[i]));
    bool ok = o && labels && json_object_set(o, "labels", labels) == 0 &&
              json_object_set_new(o, "temperature", json_real(temperature)) == 0 &&
              json_object_set_new(o, "thresholds", json_boolean(e->decision.cuts != NULL)) == 0 &&
              json_object_set_new(o, "part", json_string(graft_part_name(e->part))) == 0 &&
              json_object_set_new(o, "n_bad", json_integer((json_int_t)graft_data_n_bad(e->data))) == 0 &&
              json_object_set_new(o, "model", graft_json_string(graft_model_path(e->model))) == 0 &&
              json_object_set_new(o, "data", graft_json_string(graft_data_path(e->data))) == 0;
    json_decref(labels);
    if (ok) return graft_print_json(result, o, err);
    json_decref(o);
    return graft_err_nomem(err);
}

int graft_eval(char **result, graft_env *env, const char *model, const char *data,
               const graft_use_options *options, graft_err *err) {
    static const graft_use_options none = GRAFT_USE_OPTIONS_INIT;
    evaluation e = {.env = env, .options = options ? options : &none, .arena = graft_arena_new(NULL)};
    *result = NULL;
    if (!e.arena) return graft_err_nomem(err);
    const char *adapter = NULL;
    int rc = graft_use_one_adapter(&adapter, e.options, err);
    if (rc == 0) rc = graft_use_model(&e.model, env, model, adapter, e.options, true, err);
    if (rc == 0) graft_precision_tell(env, e.options->precision);
    if (rc == 0) rc = evaluate(&e, data, err);
    if (rc == 0) rc = report(result, &e, err);
    graft_use_rows_close(&e.rows);
    graft_data_close(e.data);
    graft_model_close(e.model);
    graft_arena_free(e.arena);
    return rc;
}
