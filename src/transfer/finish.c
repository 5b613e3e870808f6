/* The folder that a fit leaves: model, metrics, record, probes; replayed before it is called done. */
#include "transfer/advise/auto.h"
#include "transfer/fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *choices_json(const graft_job *j) {
    json_t *a = json_array();
    for (size_t i = 0; i < j->n_phases; i++) {
        const graft_phase_choice *c = &j->choices[i];
        json_array_append_new(a,
                              json_pack("{s:s,s:I,s:f,s:f,s:b,s:I}", "plan", j->phases[i].plan, "epochs",
                                        (json_int_t)c->epochs, "lr", c->lr, "warmup", c->warmup, "augments",
                                        c->augments, "cache_variants", (json_int_t)c->variants));
    }
    return a;
}

/* What decides the bits of a run, as JSON: in graft.json, and hashed as the run's identity. */
json_t *graft_job_settings(const graft_job *j) {
    const graft_recipe *r = &j->recipe;
    char augment[256] = "none", fingerprint[33], preprocessing[33];
    if (graft_model_modality(j->model) == GRAFT_PICTURES)
        graft_augment_explain(&j->transform.augment, augment, sizeof augment);
    graft_hash_hex(graft_data_fingerprint(j->data), fingerprint);
    graft_hash_hex(graft_transform_hash(&j->transform), preprocessing);
    const graft_phase_choice *last = &j->choices[j->n_phases - 1];
    json_int_t epochs = 0;
    for (size_t i = 0; i < j->n_phases; i++) epochs += j->choices[i].epochs;
    json_t *o = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:i,s:s,s:s,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:b,s:s,s:"
        "s,s:I,s:b,s:I,s:I,s:I,s:s,s:f,s:I}",
        "graft", graft_version(), "plan", j->plan, "augment", augment, "data_fingerprint", fingerprint,
        "preprocessing", preprocessing, "epochs", epochs, "batch", (json_int_t)r->batch, "micro_batch",
        (json_int_t)r->micro_batch, "segments", r->segments, "optimizer", r->optimiser->name, "schedule",
        r->schedule->name, "lr", last->lr, "head_lr", j->options.head_lr, "backbone_lr_scale",
        j->options.backbone_lr_scale, "weight_decay", j->options.weight_decay, "warmup", last->warmup,
        "clip_norm", r->clip_norm, "label_smoothing", r->label_smoothing, "validation",
        j->options.data.validation, "trained_statistics",
        j->n_phases && j->choices[j->n_phases - 1].statistics, "sampler",
        j->order == GRAFT_BALANCED ? "balanced" : "shuffle", "class_weights",
        j->class_weights ? "auto" : "none", "cache_variants", (json_int_t)last->variants, "from_scratch",
        j->evidence.is_scratch, "early_stop", (json_int_t)r->early_stop, "eval_every",
        (json_int_t)r->eval_every, "seed", (json_int_t)j->options.seed, "task", graft_task_name(r->task),
        "test_share", j->options.data.test, "per_class", (json_int_t)j->options.data.per_class);
    if (o && j->n_phases > 1) json_object_set_new(o, "phases", choices_json(j));
    return graft_imbalance_settings(graft_regular_settings(o, j), j);
}

int graft_job_hash(graft_job *j, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *graph = NULL;
    if (!arena) return graft_err_nomem(err);
    int rc = graft_model_graph(&graph, arena, j->model, 0, 0, err);
    if (rc == 0) rc = graft_graph_hash(graph, &j->source, err);
    graft_arena_free(arena);
    return rc;
}

int graft_job_identity(const graft_job *j, size_t i, graft_hash *out, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_hasher *h = arena ? graft_hasher_new(arena) : NULL;
    json_t *settings = graft_job_settings(j);
    if (i == j->n_phases) {
        json_object_del(settings, "micro_batch"); /* each phase has its own */
        json_object_del(settings, "segments");
    }
    char *text =
        settings ? json_dumps(settings, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    int rc = h && text ? 0 : graft_err_nomem(err);
    if (rc == 0) {
        graft_hasher_text(h, text);
        graft_hasher_add(h, &j->source, sizeof j->source);
        graft_hasher_add(h, &j->recipe.dtype, sizeof j->recipe.dtype);
        graft_hasher_add(h, &i, sizeof i);
        *out = graft_hasher_end(h);
    }
    free(text);
    json_decref(settings);
    graft_arena_free(arena);
    return rc;
}

static json_t *metrics_of(const graft_measures *m) {
    return m->all ? json_incref(m->all) : json_null();
}

static json_t *history_json(const graft_training *t, graft_task task) {
    json_t *a = json_array();
    for (int64_t i = 0; i < t->n_epochs; i++) {
        const graft_epoch *e = &t->history[i];
        json_t *o = json_pack("{s:I,s:f,s:f,s:f,s:f}", "epoch", (json_int_t)e->epoch, "seconds", e->seconds,
                              "loss", e->train_loss, "accuracy", e->train_accuracy, "lr", e->lr);
        if (e->evaluated) {
            json_object_set_new(o, "val_loss", json_real(e->loss));
            char name[64];
            snprintf(name, sizeof name, "val_%s", graft_score_name(task));
            json_object_set_new(o, name, json_real(e->score));
        }
        json_array_append_new(a, o);
    }
    return a;
}

/* Whether the weights that were kept differ from the file's in a stage. */
static bool is_trained(const graft_job *j, size_t stage) {
    for (size_t i = 0; i <= j->relay.best_phase; i++)
        if (graft_phase_trained_in(&j->phases[i], j->model, stage) > 0) return true;
    return false;
}

/* How outputs become answers, into what is told of the run; NULL: out of memory. */
static json_t *with_decision(json_t *o, const graft_job *j) {
    size_t n = 0;
    const char *const *labels = graft_model_labels(j->model, &n);
    if (!o || graft_decision_record(&j->decision, o, labels, n) == 0) return o;
    json_decref(o);
    return NULL;
}

/* graft.json: how the model came about. */
static json_t *record_json(const graft_job *j) {
    json_t *trained = json_array();
    for (size_t i = 0; i < graft_model_n_stages(j->model); i++)
        if (is_trained(j, i))
            json_array_append_new(trained, json_string(graft_model_stage_name(j->model, i)));
    json_t *o = json_pack(
        "{s:o,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:I,s:o,s:O?}", "settings", graft_job_settings(j), "model",
        j->model_path, "data", j->data_path, "data_description", graft_data_description(j->data),
        "trained_stages", trained, "validation", metrics_of(&j->validation), "test", metrics_of(&j->test),
        "history", history_json(&j->training, j->recipe.task), "best_epoch",
        (json_int_t)j->training.best_epoch, "phases", graft_job_phases(j), "evidence", j->advice);
    if (o && j->rate_search) json_object_set(o, "lr_find", j->rate_search);
    if (o && j->diverged.code) json_object_set_new(o, "diverged", json_string(j->diverged.message));
    return with_decision(o, j);
}

/* The few that a card shows. */
static json_t *card_metrics(const graft_measures *m) {
    static const char *const shown[] = {"accuracy", "f1",       "micro_f1", "macro_f1",
                                        "log_loss", "spearman", "pearson",  "mse"};
    json_t *o = json_object();
    for (size_t i = 0; i < GRAFT_COUNT(shown); i++) {
        json_t *value = json_object_get(m->all, shown[i]);
        if (value) json_object_set(o, shown[i], value);
    }
    return o;
}

static json_t *result_json(const graft_job *j, double difference) {
    const graft_measures *m = j->test.n ? &j->test : &j->validation;
    json_t *o =
        json_pack("{s:s,s:s,s:I,s:I,s:f,s:f,s:I,s:b,s:f,s:f,s:I,s:s}", "out", j->out, "plan", j->plan,
                  "epochs", (json_int_t)j->training.n_epochs, "best_epoch",
                  (json_int_t)j->training.best_epoch, "seconds", graft_now() - j->begun, "training_seconds",
                  j->training.seconds, "peak_memory", (json_int_t)j->peak_memory, "resumed",
                  j->training.resumed, graft_score_name(j->recipe.task), m->score.score, "verify_difference",
                  difference, "n", (json_int_t)m->n, "score", graft_score_name(j->recipe.task));
    if (o) {
        json_object_set_new(o, "validation", metrics_of(&j->validation));
        json_object_set_new(o, "test", metrics_of(&j->test));
        if (j->rate_search) json_object_set(o, "lr_find", j->rate_search);
    }
    return with_decision(o, j);
}

/* --lr find: rates that nothing was searched for yet are none. */
static void tell_search(json_t *o) {
    size_t i;
    json_t *phase;
    json_object_set_new(o, "lr", json_string("find"));
    json_array_foreach(json_object_get(o, "phases"), i, phase) {
        json_object_set_new(phase, "lr", json_string("find"));
    }
}

int graft_job_describe(const graft_job *j, char **result, graft_err *err) {
    json_t *o = graft_job_settings(j);
    if (o) {
        json_object_del(o, "data_fingerprint"); /* nothing was read yet */
        if (j->options.lr < 0) tell_search(o);
        json_object_set_new(o, "peak_memory", json_integer((json_int_t)j->peak_memory));
    }
    return graft_print_json(result, o, err);
}

/* Whoever looks at the run later finds the answers beside the model; without them it is no less whole. */
static void keep_answers(const graft_job *j) {
    graft_err reason = {0};
    bool test = j->test.n > 0;
    const graft_measures *m = test ? &j->test : &j->validation;
    if (m->n == 0) {
        graft_answers_forget(j->out);
        return;
    }
    if (graft_answers_keep(j->out, &m->answers, j->recipe.task, j->data, test ? GRAFT_TEST : GRAFT_VAL,
                           &reason) < 0)
        graft_env_log(j->env, GRAFT_LOG_WARNING, "answers are not kept: %s", reason.message);
}

int graft_job_finish(graft_job *j, char **result, graft_err *err) {
    graft_feed probes = {0};
    double difference = 0.0;
    graft_tensor reference;
    const graft_measures *m = j->test.n ? &j->test : &j->validation;
    bool folds = j->options.calibrate && strcmp(j->options.calibrate, "fold") == 0;
    int rc = folds ? graft_decision_fold(&j->decision, j->model, err) : 0;
    if (rc < 0) return rc;
    json_t *record = record_json(j), *metrics = m->n ? card_metrics(m) : NULL;
    graft_save_info info = {.base_model = graft_path_name(j->model_path),
                            .dataset = graft_path_name(j->data_path),
                            .metrics = metrics,
                            .record = record,
                            .probe = &probes,
                            .reference = &reference};
    rc = record ? graft_job_record(j, record, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_probes_make(&probes, j->arena, j->model, j->data, err);
    if (rc == 0) rc = graft_job_reference(&reference, &info.n_reference, j, err);
    if (rc == 0 && j->options.merge) rc = graft_model_merge(j->model, err);
    if (rc == 0) rc = graft_model_save(j->model, j->env, j->out, &info, err);
    if (rc == 0) rc = graft_folder_replay(&difference, j->env, j->out, err);
    if (rc == 0) keep_answers(j);
    char *checkpoint = graft_path_join(j->arena, j->out, "checkpoint");
    if (rc == 0 && checkpoint) rc = graft_dir_remove(checkpoint, err);
    if (rc == 0 && result) rc = graft_print_json(result, result_json(j, difference), err);
    json_decref(record);
    json_decref(metrics);
    return rc;
}
