/* What is decided after training: a temperature, thresholds; into graft.json and out of it. */
#include "transfer/decision.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *text, const char *word) {
    return text && strcmp(text, word) == 0;
}

static bool wants_thresholds(const graft_fit_options *o, graft_task task) {
    return o->thresholds ? is(o->thresholds, "f1") : task == GRAFT_TASK_MULTILABEL;
}

int graft_decision_check(const graft_fit_options *o, const graft_model *m, graft_task task, int64_t n_classes,
                         graft_err *err) {
    const char *calibrate = o->calibrate, *thresholds = o->thresholds;
    if (calibrate && !is(calibrate, "temperature") && !is(calibrate, "fold") && !is(calibrate, "none"))
        return graft_err_set(err, GRAFT_EUSAGE, "unknown --calibrate '%s', one of: temperature, fold, none",
                             calibrate);
    if (thresholds && !is(thresholds, "f1") && !is(thresholds, "none"))
        return graft_err_set(err, GRAFT_EUSAGE, "unknown --thresholds '%s', one of: f1, none", thresholds);
    if (is(calibrate, "fold") && strcmp(graft_model_head_name(m), "linear") != 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--calibrate fold is for a linear head, this one is %s: leave it out, graft "
                             "predict divides by the temperature",
                             graft_model_head_name(m));
    bool two = task == GRAFT_TASK_CLASSES && n_classes == 2;
    if (is(thresholds, "f1") && task != GRAFT_TASK_MULTILABEL && !two)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--thresholds f1 is for two classes and for several labels a sample; where more "
                             "classes differ in size there are --logit-adjust 1 and --class-weights auto");
    return 0;
}

static int set_cuts(graft_decision *d, graft_arena *arena, size_t k, graft_task task, graft_err *err) {
    if (!(d->cuts = graft_arena_array(arena, k + 1, sizeof *d->cuts))) return graft_err_nomem(err);
    for (size_t c = 0; c < k; c++) d->cuts[c] = graft_threshold_cut(d->thresholds[c], task);
    return 0;
}

int graft_decision_make(graft_decision *d, graft_arena *arena, const graft_fit_options *o,
                        const graft_model *m, const graft_answers *validation, graft_task task,
                        graft_err *err) {
    graft_answers tempered;
    *d = (graft_decision){.temperature = 0};
    /* the scores of a conditional random field's words are no probabilities of tags */
    bool tempers = !is(o->calibrate, "none") && !is(graft_model_head_name(m), "crf");
    if (tempers) d->calibration = graft_calibrate(validation, task);
    if (d->calibration.n > 0 && d->calibration.n < GRAFT_CALIBRATION_FEW &&
        graft_calibration_check(&d->calibration, validation, task, err) < 0)
        return GRAFT_ENOMEM;
    if (d->calibration.n > 0) d->temperature = d->calibration.temperature;
    if (!wants_thresholds(o, task) || validation->n == 0) return 0;
    graft_arena *scratch = graft_arena_new(NULL);
    int rc = scratch ? graft_decision_apply(&tempered, scratch, d, validation, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_thresholds_f1(&d->thresholds, arena, &tempered, task, err);
    if (rc == 0) rc = set_cuts(d, arena, (size_t)validation->k, task, err);
    graft_arena_free(scratch);
    return rc;
}

int graft_decision_apply(graft_answers *out, graft_arena *arena, const graft_decision *d,
                         const graft_answers *a, graft_err *err) {
    size_t n = (size_t)(a->n * a->k);
    *out = *a;
    out->cuts = d->cuts;
    if (!(d->temperature > 0.0)) return 0;
    if (!(out->logits = graft_arena_array(arena, n + 1, sizeof *out->logits))) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) out->logits[i] = (float)((double)a->logits[i] / d->temperature);
    return 0;
}

int graft_decision_fold(graft_decision *d, graft_model *m, graft_err *err) {
    int rc = 0;
    if (!(d->temperature > 0.0)) return 0;
    for (size_t i = 0; i < graft_model_n_params(m) && rc == 0; i++) {
        const graft_param *p = graft_model_param(m, i);
        int64_t count = 0;
        if (!p->head || p->joins || !graft_shape_count(&p->shape, &count)) continue;
        float *values = malloc((size_t)count * sizeof *values + 1);
        rc = values ? graft_model_get(m, p->name, values, (size_t)count, err) : graft_err_nomem(err);
        for (int64_t k = 0; k < count && rc == 0; k++)
            values[k] = (float)((double)values[k] / d->temperature);
        if (rc == 0) rc = graft_model_set(m, p->name, values, (size_t)count, err);
        free(values);
    }
    d->folded = true;
    d->temperature = 0.0;
    return rc;
}

/* ---- graft.json ---- */

static json_t *calibration_json(const graft_decision *d) {
    if (d->calibration.n == 0) return json_null();
    json_t *o = graft_calibration_json(&d->calibration);
    if (!o) return NULL;
    bool ok = json_object_set_new(o, "folded", json_boolean(d->folded)) == 0;
    if (d->has_test)
        ok = ok && json_object_set_new(o, "test",
                                       json_pack("{s:f,s:f,s:f,s:f}", "log_loss_before", d->test[0].log_loss,
                                                 "log_loss_after", d->test[1].log_loss, "ece_before",
                                                 d->test[0].ece, "ece_after", d->test[1].ece)) == 0;
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static json_t *thresholds_json(const graft_decision *d, const char *const *labels, size_t n) {
    if (!d->thresholds) return json_null();
    json_t *o = json_object();
    bool ok = o != NULL;
    for (size_t c = 0; c < n && ok; c++)
        ok = json_object_set_new(o, labels[c], json_real(d->thresholds[c])) == 0;
    if (ok) return o;
    json_decref(o);
    return NULL;
}

int graft_decision_record(const graft_decision *d, json_t *record, const char *const *labels, size_t n) {
    int rc = json_object_set_new(record, "calibration", calibration_json(d));
    return rc == 0 ? json_object_set_new(record, "thresholds", thresholds_json(d, labels, n)) : -1;
}

static int read_temperature(graft_decision *d, const json_t *record, const char *path, graft_err *err) {
    const json_t *o = json_object_get(record, "calibration");
    if (!o || json_is_null(o)) return 0;
    double t = 0.0;
    bool folded = false;
    if (!json_is_object(o))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: \"calibration\" is no object", path);
    int rc = graft_json_real(o, "temperature", 1.0, &t, path, err);
    if (rc == 0) rc = graft_json_bool(o, "folded", false, &folded, path, err);
    if (rc < 0) return rc;
    if (!(t >= 1e-6 && t <= 1e6))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: a temperature of %g is not possible", path, t);
    d->temperature = folded ? 0.0 : t;
    d->folded = folded;
    return 0;
}

static int read_thresholds(graft_decision *d, graft_arena *arena, const json_t *record, const graft_model *m,
                           const char *path, graft_err *err) {
    const json_t *o = json_object_get(record, "thresholds");
    size_t n = 0;
    const char *const *labels = graft_model_labels(m, &n);
    graft_task task = graft_model_task(m);
    if (!o || json_is_null(o) || (task != GRAFT_TASK_MULTILABEL && task != GRAFT_TASK_CLASSES)) return 0;
    if (!json_is_object(o)) return graft_err_set(err, GRAFT_EFORMAT, "%s: \"thresholds\" is no object", path);
    if (!(d->thresholds = graft_arena_array(arena, n + 1, sizeof *d->thresholds)))
        return graft_err_nomem(err);
    for (size_t c = 0; c < n; c++) {
        const json_t *v = json_object_get(o, labels[c]);
        d->thresholds[c] = v ? json_number_value(v) : 0.5;
        if (!v || (json_is_number(v) && d->thresholds[c] >= 0.0 && d->thresholds[c] <= 1.0)) continue;
        return graft_err_set(err, GRAFT_EFORMAT, "%s: the threshold of '%s' is no number from 0 to 1", path,
                             labels[c]);
    }
    return set_cuts(d, arena, n, task, err);
}

int graft_decision_read(graft_decision *d, graft_arena *arena, const graft_model *m, graft_err *err) {
    json_t *record = NULL;
    const char *folder = graft_model_path(m);
    *d = (graft_decision){.temperature = 0};
    if (!graft_path_is_dir(folder)) return 0;
    const char *path = graft_path_join(arena, folder, "graft.json");
    if (!path) return graft_err_nomem(err);
    if (!graft_path_is_file(path)) return 0;
    int rc = graft_json_read(&record, arena, path, err);
    if (rc == 0 && json_is_object(record)) rc = read_temperature(d, record, path, err);
    if (rc == 0 && json_is_object(record)) rc = read_thresholds(d, arena, record, m, path, err);
    return rc;
}
