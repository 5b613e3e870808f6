/* The relay between two phases as a file: values that the next phase begins with, the best so far, moments
 * and update counts, the history. It is looked at as a whole before any of it is used. */
#include "transfer/fit.h"

#include <stdlib.h>
#include <string.h>

static const char VALUES[] = "values/", BEST[] = "best/", MOMENTS[] = "state/", RUN[] = "run";

/* ---- Writing ------------------------------------------------------------------------------------------------ */

static json_t *record_json(const graft_phase_record *r) {
    return json_pack("{s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:b,s:I,s:I}", "first_epoch", (json_int_t)r->first_epoch,
                     "n_epochs", (json_int_t)r->n_epochs, "n_steps", (json_int_t)r->n_steps, "best_epoch",
                     (json_int_t)r->best_epoch, "best_score", graft_json_exact(r->best.score), "best_loss",
                     graft_json_exact(r->best.loss), "best_refined", graft_json_exact(r->best.refined),
                     "stopped", r->stopped, "norm_batches", (json_int_t)r->norm_batches, "best_norm_batches",
                     (json_int_t)r->best_norm_batches);
}

static json_t *run_json(const graft_job *j, const char *identity) {
    const graft_relay *r = &j->relay;
    json_t *records = json_array(), *steps = json_object();
    for (size_t i = 0; i < r->next; i++) json_array_append_new(records, record_json(&j->records[i]));
    for (size_t k = 0; k < graft_model_n_params(j->model); k++)
        if (r->steps[k])
            json_object_set_new(steps, graft_model_param(j->model, k)->name, json_integer(r->steps[k]));
    return json_pack("{s:s,s:I,s:I,s:o,s:o,s:o,s:o}", "identity", identity, "best_phase",
                     (json_int_t)r->best_phase, "events", (json_int_t)r->events, "seconds",
                     graft_json_exact(j->training.seconds), "records", records, "steps", steps, "history",
                     graft_history_json(&j->training));
}

static int add_shelf(graft_tensor *items, size_t *n, graft_arena *arena, const char *prefix,
                     const graft_shelf *shelf, graft_err *err) {
    const graft_tensor *all;
    size_t count = graft_shelf_items(shelf, &all);
    for (size_t i = 0; i < count; i++) {
        items[*n] = all[i];
        items[*n].name = graft_arena_printf(arena, "%s%s", prefix, all[i].name);
        if (!items[(*n)++].name) return graft_err_nomem(err);
    }
    return 0;
}

/* Values that training has set are the model's own float32. */
static int add_values(graft_tensor *items, size_t *n, graft_arena *arena, const graft_job *j,
                      graft_err *err) {
    for (size_t k = 0; k < graft_model_n_params(j->model); k++) {
        const graft_param *p = graft_model_param(j->model, k);
        if (!j->relay.touched[k]) continue;
        items[*n] = p->tensor;
        items[*n].name = graft_arena_printf(arena, "%s%s", VALUES, p->name);
        if (!items[(*n)++].name) return graft_err_nomem(err);
    }
    return 0;
}

int graft_relay_save(const graft_job *j, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    const graft_tensor *all;
    graft_hash whose;
    char hex[33], *text = NULL;
    size_t n = 0, most = graft_shelf_items(j->relay.best, &all) + graft_shelf_items(j->relay.moments, &all) +
                         graft_model_n_params(j->model) + 1;
    graft_tensor *items = arena ? graft_arena_array(arena, most, sizeof *items) : NULL;
    char *dir = graft_job_checkpoint(j, 0),
         *path = arena && dir ? graft_path_join(arena, dir, GRAFT_RELAY_FILE) : NULL;
    int rc = items && path ? graft_job_identity(j, j->n_phases, &whose, err) : graft_err_nomem(err);
    if (rc == 0) rc = add_values(items, &n, arena, j, err);
    if (rc == 0) rc = add_shelf(items, &n, arena, BEST, j->relay.best, err);
    if (rc == 0) rc = add_shelf(items, &n, arena, MOMENTS, j->relay.moments, err);
    if (rc == 0) rc = graft_dir_make(dir, err);
    if (rc == 0) {
        graft_hash_hex(whose, hex);
        json_t *run = run_json(j, hex);
        text = run ? json_dumps(run, JSON_COMPACT) : NULL;
        json_decref(run);
        if (!text) rc = graft_err_nomem(err);
    }
    if (rc == 0) {
        size_t size = strlen(text);
        items[n++] = (graft_tensor){
            .name = RUN, .dtype = GRAFT_U8, .shape = {1, {(int64_t)size}}, .data = text, .size = size};
        rc = graft_safetensors_write(path, items, n, NULL, err);
    }
    free(text);
    graft_arena_free(arena);
    return rc;
}

/* ---- Reading ------------------------------------------------------------------------------------------------ */

typedef struct relay_file {
    graft_tensors tensors;
    json_t *run;
} relay_file;

static int64_t whole(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static void read_record(graft_phase_record *r, const json_t *o) {
    *r = (graft_phase_record){.first_epoch = whole(o, "first_epoch"),
                              .n_epochs = whole(o, "n_epochs"),
                              .n_steps = whole(o, "n_steps"),
                              .best_epoch = whole(o, "best_epoch"),
                              .best.score = graft_json_inexact(o, "best_score"),
                              .best.loss = graft_json_inexact(o, "best_loss"),
                              .best.refined = graft_json_inexact(o, "best_refined"),
                              .stopped = json_is_true(json_object_get(o, "stopped")),
                              .norm_batches = whole(o, "norm_batches"),
                              .best_norm_batches = whole(o, "best_norm_batches")};
}

/* Whether the records describe phases of this run, and the history their epochs. */
static bool is_place(const graft_job *j, const json_t *run) {
    const json_t *records = json_object_get(run, "records"), *history = json_object_get(run, "history");
    size_t n = json_array_size(records);
    int64_t epochs = 0, best = whole(run, "best_phase");
    if (n == 0 || n >= j->n_phases || best < 0 || (size_t)best >= n || whole(run, "events") < 0) return false;
    for (size_t i = 0; i < n; i++) {
        graft_phase_record r;
        read_record(&r, json_array_get(records, i));
        if (r.first_epoch != epochs + 1 || r.n_epochs < 1 || r.n_epochs > j->choices[i].epochs ||
            r.n_steps < 1 || r.best_epoch < 0 || r.best_epoch > epochs + r.n_epochs)
            return false;
        epochs += r.n_epochs;
    }
    return json_array_size(history) == (size_t)epochs;
}

/* What follows the prefix in a tensor's name; NULL: it begins otherwise. */
static const char *behind(const graft_tensor *t, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(t->name, prefix, n) == 0 ? t->name + n : NULL;
}

/* Whether every tensor belongs to a parameter, as float32 in its shape, and nothing that was trained lacks.
 */
static bool is_whole(const graft_job *j, const relay_file *f) {
    const json_t *steps = json_object_get(f->run, "steps");
    for (size_t i = 0; i < f->tensors.n_items; i++) {
        const graft_tensor *t = &f->tensors.items[i];
        const char *value = behind(t, VALUES), *name = value ? value : behind(t, BEST),
                   *moment = behind(t, MOMENTS);
        int64_t k = name     ? graft_model_param_index(j->model, name)
                    : moment ? graft_relay_owner(j->model, moment)
                             : -1;
        if (strcmp(t->name, RUN) == 0) continue;
        if (k < 0 || t->dtype != GRAFT_F32 ||
            !graft_shape_equal(&t->shape, &graft_model_param(j->model, (size_t)k)->shape))
            return false;
    }
    for (size_t k = 0; k < graft_model_n_params(j->model); k++) {
        const char *name = graft_model_param(j->model, k)->name;
        char full[512];
        int n = snprintf(full, sizeof full, "%s%s", VALUES, name);
        if (whole(steps, name) < 0) return false;
        if (whole(steps, name) > 0 &&
            (n < 0 || (size_t)n >= sizeof full || !graft_tensors_find(&f->tensors, full)))
            return false;
    }
    return true;
}

/* Why the file cannot be taken up, or NULL. */
static const char *find_fault(relay_file *f, const graft_job *j, graft_arena *arena, const char *path,
                              graft_err *reason) {
    char hex[33];
    graft_hash own;
    if (graft_safetensors_open(&f->tensors, arena, path, reason) < 0) return reason->message;
    const graft_tensor *t = graft_tensors_find(&f->tensors, RUN);
    if (!t) return "it does not say where the run stood";
    if (graft_json_parse(&f->run, arena, t->data, t->size, path, reason) < 0) return reason->message;
    if (graft_job_identity(j, j->n_phases, &own, reason) < 0) return reason->message;
    graft_hash_hex(own, hex);
    const char *whose = json_string_value(json_object_get(f->run, "identity"));
    if (!whose || strcmp(whose, hex) != 0) return "it belongs to a run with other data or options";
    if (!is_place(j, f->run)) return "it names no place in this run";
    return is_whole(j, f) ? NULL : "values are missing from it, or are of another shape";
}

static int put(graft_shelf *shelf, const char *name, const graft_tensor *t, graft_err *err) {
    float *to = NULL;
    int rc = graft_shelf_room(&to, shelf, name, &t->shape, err);
    if (rc == 0) memcpy(to, t->data, t->size);
    return rc;
}

static int take_tensor(graft_job *j, const graft_tensor *t, graft_err *err) {
    const char *name = behind(t, VALUES);
    int rc = 0;
    if (name) {
        j->relay.touched[graft_model_param_index(j->model, name)] = true;
        float *copy = malloc(t->size + 1); /* the file's bytes need not be aligned */
        if (!copy) return graft_err_nomem(err);
        memcpy(copy, t->data, t->size);
        rc = graft_model_set(j->model, name, copy, t->size / sizeof *copy, err);
        free(copy);
    } else if ((name = behind(t, BEST))) {
        rc = put(j->relay.best, name, t, err);
    } else if ((name = behind(t, MOMENTS))) {
        rc = put(j->relay.moments, name, t, err);
    }
    return rc;
}

static int take(graft_job *j, const relay_file *f, graft_err *err) {
    graft_relay *r = &j->relay;
    const json_t *records = json_object_get(f->run, "records"), *steps = json_object_get(f->run, "steps");
    int rc = 0;
    for (size_t i = 0; i < f->tensors.n_items && rc == 0; i++) rc = take_tensor(j, &f->tensors.items[i], err);
    if (rc < 0) return rc;
    r->next = json_array_size(records);
    r->best_phase = (size_t)whole(f->run, "best_phase");
    r->events = whole(f->run, "events");
    for (size_t i = 0; i < r->next; i++) {
        read_record(&j->records[i], json_array_get(records, i));
        r->epochs += j->records[i].n_epochs;
        r->updates += j->records[i].n_steps;
    }
    for (size_t k = 0; k < graft_model_n_params(j->model); k++)
        r->steps[k] = whole(steps, graft_model_param(j->model, k)->name);
    graft_history_read(&j->training, json_object_get(f->run, "history"));
    const graft_phase_record *best = &j->records[r->best_phase];
    j->training.best_epoch = best->best_epoch;
    j->training.best = best->best;
    j->training.n_steps = r->updates;
    j->training.seconds = graft_json_inexact(f->run, "seconds");
    j->training.resumed = true;
    return 0;
}

/* A run that begins anew takes up no later phase of an earlier one, whose log is gone. */
static int forget_later(const graft_job *j, graft_err *err) {
    int rc = 0;
    for (size_t i = 1; i < j->n_phases && rc == 0; i++) {
        char *dir = graft_job_checkpoint(j, i);
        rc = dir ? graft_dir_remove(dir, err) : graft_err_nomem(err);
    }
    return rc;
}

int graft_relay_load(graft_job *j, graft_err *err) {
    graft_err reason = {0};
    relay_file f = {.run = NULL};
    graft_arena *arena = graft_arena_new(NULL);
    char *dir = graft_job_checkpoint(j, 0),
         *path = arena && dir ? graft_path_join(arena, dir, GRAFT_RELAY_FILE) : NULL;
    int rc = path ? 0 : graft_err_nomem(err);
    if (rc == 0 && graft_path_is_file(path)) {
        rc = graft_data_check(j->data, err); /* what the data are is part of whose file it is */
        j->settled = rc == 0;
        const char *fault = rc == 0 ? find_fault(&f, j, arena, path, &reason) : NULL;
        if (fault)
            graft_env_log(j->env, GRAFT_LOG_WARNING, "%s is ignored: %s", path, fault);
        else if (rc == 0)
            rc = take(j, &f, err);
    }
    graft_arena_free(arena);
    return rc == 0 && j->relay.next == 0 ? forget_later(j, err) : rc;
}
