/* The resume point: one safetensors file, replaced atomically, with everything that changes (weights,
 * statistics, moments), the best weights so far, and where the run stands as JSON. It says whose it is: a run
 * with another identity does not take it up. */
#include "learn/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char STATE_PREFIX[] = "state/", BEST_PREFIX[] = "best/", RUN_NAME[] = "run";

/* Doubles as hexadecimal text: they come back bit for bit. */
static json_t *exact(double x) {
    char text[40];
    snprintf(text, sizeof text, "%a", x);
    return json_string(text);
}

static double inexact(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? strtod(text, NULL) : 0.0;
}

static int64_t whole(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static json_t *epoch_json(const graft_epoch *e) {
    return json_pack("{s:I,s:o,s:o,s:o,s:o,s:b,s:o,s:o,s:o}", "epoch", (json_int_t)e->epoch, "seconds",
                     exact(e->seconds), "lr", exact(e->lr), "train_loss", exact(e->train_loss),
                     "train_accuracy", exact(e->train_accuracy), "evaluated", e->evaluated, "loss",
                     exact(e->loss), "accuracy", exact(e->accuracy), "macro_f1", exact(e->macro_f1));
}

static json_t *run_json(const graft_trainer_io *io, const graft_run *run) {
    char identity[33];
    graft_hash_hex(io->identity, identity);
    json_t *history = json_array();
    for (int64_t i = 0; i < run->result.n_epochs; i++)
        json_array_append_new(history, epoch_json(&run->result.history[i]));
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "identity", identity,
                     "epoch", (json_int_t)run->epoch, "batch", (json_int_t)run->batch, "update",
                     (json_int_t)run->update, "stale", (json_int_t)run->stale, "loss_sum",
                     exact(run->loss_sum), "seconds", exact(run->seconds), "epoch_seconds",
                     exact(run->epoch_seconds), "hits", (json_int_t)run->hits, "seen", (json_int_t)run->seen,
                     "events", (json_int_t)run->events, "best_epoch", (json_int_t)run->result.best_epoch,
                     "best_accuracy", exact(run->result.best_accuracy), "best_loss",
                     exact(run->result.best_loss), "history", history);
}

static graft_tensor float_tensor(const char *name, const graft_shape *shape, const float *data,
                                 size_t count) {
    return (graft_tensor){
        .name = name, .dtype = GRAFT_F32, .shape = *shape, .data = data, .size = count * sizeof *data};
}

/* Every changing value of the state as a tensor, gradients under way not counted (a resume point lies between
 * updates). */
static int state_tensors(graft_tensor *items, size_t *n, graft_arena *arena, const graft_state *state,
                         graft_err *err) {
    const char *const *names;
    size_t n_names = graft_state_names(state, &names);
    int rc = 0;
    for (size_t i = 0; i < n_names && rc == 0; i++) {
        const graft_shape *shape = graft_state_shape(state, names[i]);
        int64_t count = 0;
        if (!graft_shape_count(shape, &count)) continue;
        float *data = graft_arena_array(arena, (size_t)count + 1, sizeof *data);
        char *name = graft_arena_printf(arena, "%s%s", STATE_PREFIX, names[i]);
        if (!data || !name) return graft_err_nomem(err);
        rc = graft_state_read(state, names[i], data, (size_t)count, err);
        items[(*n)++] = float_tensor(name, shape, data, (size_t)count);
    }
    return rc;
}

int graft_checkpoint_save(const graft_trainer_io *io, const graft_run *run, const graft_best *best,
                          graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    const char *const *names;
    size_t n = 0, n_names = graft_state_names(io->state, &names);
    json_t *json = run_json(io, run);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    graft_tensor *items = arena ? graft_arena_array(arena, n_names + best->n + 1, sizeof *items) : NULL;
    int rc = text && items ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = state_tensors(items, &n, arena, io->state, err);
    for (size_t i = 0; rc == 0 && best->values && i < best->n; i++) {
        char *name = graft_arena_printf(arena, "%s%s", BEST_PREFIX, best->names[i]);
        if (!name) rc = graft_err_nomem(err);
        items[n++] = float_tensor(name, &best->shapes[i], best->values[i], best->counts[i]);
    }
    if (rc == 0) {
        size_t size = strlen(text);
        items[n++] = (graft_tensor){
            .name = RUN_NAME, .dtype = GRAFT_U8, .shape = {1, {(int64_t)size}}, .data = text, .size = size};
        char *path = graft_path_join(arena, io->checkpoint_dir, "resume.safetensors");
        rc = path ? graft_dir_make(io->checkpoint_dir, err) : graft_err_nomem(err);
        if (rc == 0) rc = graft_safetensors_write(path, items, n, NULL, err);
    }
    free(text);
    json_decref(json);
    graft_arena_free(arena);
    return rc;
}

static void read_run(graft_run *run, const json_t *o, int64_t max_epochs) {
    graft_training *t = &run->result;
    run->epoch = whole(o, "epoch");
    run->batch = whole(o, "batch");
    run->update = whole(o, "update");
    run->stale = whole(o, "stale");
    run->loss_sum = inexact(o, "loss_sum");
    run->seconds = inexact(o, "seconds");
    run->epoch_seconds = inexact(o, "epoch_seconds");
    run->hits = whole(o, "hits");
    run->seen = whole(o, "seen");
    run->events = whole(o, "events");
    t->best_epoch = whole(o, "best_epoch");
    t->best_accuracy = inexact(o, "best_accuracy");
    t->best_loss = inexact(o, "best_loss");
    const json_t *history = json_object_get(o, "history");
    for (size_t i = 0; i < json_array_size(history) && (int64_t)i < max_epochs; i++) {
        const json_t *e = json_array_get(history, i);
        t->history[t->n_epochs++] = (graft_epoch){.epoch = whole(e, "epoch"),
                                                  .seconds = inexact(e, "seconds"),
                                                  .lr = inexact(e, "lr"),
                                                  .train_loss = inexact(e, "train_loss"),
                                                  .train_accuracy = inexact(e, "train_accuracy"),
                                                  .evaluated = json_is_true(json_object_get(e, "evaluated")),
                                                  .loss = inexact(e, "loss"),
                                                  .accuracy = inexact(e, "accuracy"),
                                                  .macro_f1 = inexact(e, "macro_f1")};
    }
}

/* Values back into the state and the best weights. */
static int read_values(const graft_tensors *ts, const graft_trainer_io *io, graft_best *best,
                       graft_arena *arena, graft_err *err) {
    size_t prefix = strlen(STATE_PREFIX);
    int rc = 0;
    for (size_t i = 0; i < ts->n_items && rc == 0; i++) {
        const graft_tensor *t = &ts->items[i];
        if (strncmp(t->name, STATE_PREFIX, prefix) != 0) continue;
        rc = graft_state_write(io->state, t->name + prefix, &t->shape, t->data, err);
    }
    float **values = graft_arena_array(arena, best->n + 1, sizeof *values);
    if (!values) return graft_err_nomem(err);
    size_t n_found = 0;
    for (size_t i = 0; i < best->n && rc == 0; i++) {
        char *name = graft_arena_printf(arena, "%s%s", BEST_PREFIX, best->names[i]);
        values[i] = graft_arena_array(arena, best->counts[i] + 1, sizeof **values);
        if (!name || !values[i]) return graft_err_nomem(err);
        const graft_tensor *t = graft_tensors_find(ts, name);
        if (!t || t->size != best->counts[i] * sizeof(float)) continue;
        memcpy(values[i], t->data, t->size);
        n_found++;
    }
    if (n_found == best->n) best->values = values;
    return rc;
}

int graft_checkpoint_load(bool *found, const graft_trainer_io *io, graft_run *run, graft_best *best,
                          graft_arena *arena, graft_err *err) {
    graft_tensors ts;
    graft_err reason = {0};
    json_t *o = NULL;
    char identity[33];
    *found = false;
    char *path = graft_path_join(arena, io->checkpoint_dir, "resume.safetensors");
    if (!path) return graft_err_nomem(err);
    if (!graft_path_is_file(path)) return 0;
    graft_arena *files = graft_arena_new(NULL); /* unmapped before the file is replaced */
    if (!files) return graft_err_nomem(err);
    int rc = graft_safetensors_open(&ts, files, path, &reason);
    const graft_tensor *t = rc == 0 ? graft_tensors_find(&ts, RUN_NAME) : NULL;
    if (rc == 0 && t) rc = graft_json_parse(&o, files, t->data, t->size, path, &reason);
    if (rc < 0 || !t) {
        graft_env_log(io->env, GRAFT_LOG_WARNING, "the resume point is not usable and is ignored: %s",
                      rc < 0 ? reason.message : "it does not say where the run stood");
        graft_arena_free(files);
        return 0;
    }
    graft_hash_hex(io->identity, identity);
    const char *whose = json_string_value(json_object_get(o, "identity"));
    if (!whose || strcmp(whose, identity) != 0) {
        graft_env_log(io->env, GRAFT_LOG_WARNING,
                      "%s belongs to a run with other data or options and is ignored", path);
    } else {
        int64_t max_epochs = run->result.n_epochs; /* room in history */
        run->result.n_epochs = 0;
        read_run(run, o, max_epochs);
        rc = read_values(&ts, io, best, arena, err);
        *found = rc == 0;
    }
    graft_arena_free(files);
    return rc;
}
