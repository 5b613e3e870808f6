/* The resume point: one safetensors file, replaced atomically, with everything that changes (weights,
 * statistics, moments), the best weights so far, and where the run stands as JSON. It says whose it is: a run
 * with another identity does not take it up. */
#include "learn/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char STATE_PREFIX[] = "state/", BEST_PREFIX[] = "best/", RUN_NAME[] = "run",
                  FILE_NAME[] = "resume.safetensors";

static int64_t whole(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static json_t *run_json(const graft_trainer_io *io, const graft_run *run) {
    char identity[33];
    graft_hash_hex(io->identity, identity);
    json_t *history = graft_history_json(&run->result);
    return json_pack(
        "{s:s,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "identity", identity,
        "epoch", (json_int_t)run->epoch, "batch", (json_int_t)run->batch, "update", (json_int_t)run->update,
        "stale", (json_int_t)run->stale, "averaged", (json_int_t)run->averaged, "loss_sum",
        graft_json_exact(run->loss_sum), "seconds", graft_json_exact(run->seconds), "epoch_seconds",
        graft_json_exact(run->epoch_seconds), "hits", (json_int_t)run->hits, "judged",
        (json_int_t)run->judged, "seen", (json_int_t)run->seen, "events", (json_int_t)run->events,
        "best_epoch", (json_int_t)run->result.best_epoch, "best_score",
        graft_json_exact(run->result.best.score), "best_loss", graft_json_exact(run->result.best.loss),
        "best_refined", graft_json_exact(run->result.best.refined), "history", history);
}

static bool is_gradient(const char *name) {
    size_t n = strlen(name), k = strlen(GRAFT_GRADIENT_ENDING);
    return n >= k && strcmp(name + n - k, GRAFT_GRADIENT_ENDING) == 0;
}

static graft_tensor float_tensor(const char *name, const graft_shape *shape, const float *data,
                                 size_t count) {
    return (graft_tensor){
        .name = name, .dtype = GRAFT_F32, .shape = *shape, .data = data, .size = count * sizeof *data};
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

/* Every changing value of the state as a tensor whose data are read when they are written. Gathered gradients
 * are left out: a resume point lies between updates, where they are zero. */
static int state_tensors(graft_tensor *items, size_t *n, graft_arena *arena, const graft_state *state,
                         graft_err *err) {
    const char *const *names;
    size_t n_names = graft_state_names(state, &names);
    for (size_t i = 0; i < n_names; i++) {
        const graft_shape *shape = graft_state_shape(state, names[i]);
        int64_t count = 0;
        if (is_gradient(names[i]) || !graft_shape_count(shape, &count)) continue;
        char *name = graft_arena_printf(arena, "%s%s", STATE_PREFIX, names[i]);
        if (!name) return graft_err_nomem(err);
        items[(*n)++] = float_tensor(name, shape, NULL, (size_t)count);
    }
    return 0;
}

static int read_state(void *user, const graft_tensor *t, void *out, graft_err *err) {
    return graft_state_read(user, t->name + strlen(STATE_PREFIX), out, t->size / sizeof(float), err);
}

static int best_tensors(graft_tensor *items, size_t *n, graft_arena *arena, const graft_best *best,
                        graft_err *err) {
    for (size_t i = 0; best->values && i < best->n; i++) {
        char *name = graft_arena_printf(arena, "%s%s", BEST_PREFIX, best->names[i]);
        if (!name) return graft_err_nomem(err);
        items[(*n)++] = float_tensor(name, &best->shapes[i], best->values[i], best->counts[i]);
    }
    return 0;
}

int graft_checkpoint_save(const graft_trainer_io *io, const graft_run *run, const graft_best *best,
                          graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    const char *const *names;
    size_t n = 0, n_names = graft_state_names(io->state, &names);
    json_t *json = run_json(io, run);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    graft_tensor *items = graft_arena_array(arena, n_names + best->n + 1, sizeof *items);
    char *path = graft_path_join(arena, io->checkpoint_dir, FILE_NAME);
    int rc = text && items && path ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = state_tensors(items, &n, arena, io->state, err);
    if (rc == 0) rc = best_tensors(items, &n, arena, best, err);
    if (rc == 0) rc = graft_dir_make(io->checkpoint_dir, err);
    if (rc == 0) {
        size_t size = strlen(text);
        items[n++] = (graft_tensor){
            .name = RUN_NAME, .dtype = GRAFT_U8, .shape = {1, {(int64_t)size}}, .data = text, .size = size};
        rc = graft_safetensors_stream(path, items, n, NULL, read_state, io->state, err);
    }
    free(text);
    json_decref(json);
    graft_arena_free(arena);
    return rc;
}

size_t graft_checkpoint_size(const graft_trainer_io *io, const graft_best *best) {
    const char *const *names;
    size_t n_names = graft_state_names(io->state, &names), total = graft_best_size(best);
    for (size_t i = 0; i < n_names; i++) {
        int64_t count = 0;
        if (!is_gradient(names[i]) && graft_shape_count(graft_state_shape(io->state, names[i]), &count))
            total += (size_t)count * sizeof(float);
    }
    return total + (n_names + best->n + 16) * 256; /* the header, the run */
}

bool graft_checkpoint_exists(const char *checkpoint_dir) {
    graft_arena *arena = graft_arena_new(NULL);
    char *path = arena ? graft_path_join(arena, checkpoint_dir, FILE_NAME) : NULL;
    bool exists = path && graft_path_is_file(path);
    graft_arena_free(arena);
    return exists;
}

int graft_checkpoint_remove(const char *checkpoint_dir, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    char *path = arena ? graft_path_join(arena, checkpoint_dir, FILE_NAME) : NULL;
    int rc = path ? 0 : graft_err_nomem(err);
    if (rc == 0 && unlink(path) < 0 && errno != ENOENT) rc = graft_err_errno(err, "remove", path);
    graft_arena_free(arena);
    return rc;
}

/* ---- Reading ------------------------------------------------------------------------------------------------ */

typedef struct resume_point {
    const graft_trainer_io *io;
    graft_arena *arena; /* of the names, the mapped file and the JSON */
    graft_tensors tensors;
    const json_t *run;
} resume_point;

/* Whether the numbers describe a place in this run. */
static bool is_place(const json_t *o, const graft_recipe *r, int64_t n_batches) {
    int64_t epoch = whole(o, "epoch"), batch = whole(o, "batch"), best = whole(o, "best_epoch");
    return epoch >= 0 && epoch < r->epochs && batch >= 0 && batch <= n_batches &&
           whole(o, "update") == epoch * n_batches + batch && best >= 0 && best <= epoch &&
           json_array_size(json_object_get(o, "history")) == (size_t)epoch && whole(o, "stale") >= 0 &&
           whole(o, "events") >= 0;
}

static const graft_tensor *tensor_of(const resume_point *p, const char *prefix, const char *name,
                                     const graft_shape *shape) {
    char *full = graft_arena_printf(p->arena, "%s%s", prefix, name);
    const graft_tensor *t = full ? graft_tensors_find(&p->tensors, full) : NULL;
    return t && t->dtype == GRAFT_F32 && graft_shape_equal(&t->shape, shape) ? t : NULL;
}

/* Whether every value that changes is there, and the best weights where there is a best epoch. */
static bool is_whole(const resume_point *p, const graft_best *best) {
    const char *const *names;
    size_t n = graft_state_names(p->io->state, &names);
    for (size_t i = 0; i < n; i++) {
        const graft_shape *shape = graft_state_shape(p->io->state, names[i]);
        if (!is_gradient(names[i]) && !tensor_of(p, STATE_PREFIX, names[i], shape)) return false;
    }
    for (size_t i = 0; whole(p->run, "best_epoch") > 0 && i < best->n; i++)
        if (!tensor_of(p, BEST_PREFIX, best->names[i], &best->shapes[i])) return false;
    return true;
}

/* Why the file cannot be taken up, or NULL. */
static const char *find_fault(resume_point *p, const graft_recipe *r, const graft_best *best,
                              const char *path, graft_err *reason) {
    char identity[33];
    json_t *o = NULL;
    if (graft_safetensors_open(&p->tensors, p->arena, path, reason) < 0) return reason->message;
    const graft_tensor *t = graft_tensors_find(&p->tensors, RUN_NAME);
    if (!t) return "it does not say where the run stood";
    if (graft_json_parse(&o, p->arena, t->data, t->size, path, reason) < 0) return reason->message;
    p->run = o;
    graft_hash_hex(p->io->identity, identity);
    const char *whose = json_string_value(json_object_get(o, "identity"));
    if (!whose || strcmp(whose, identity) != 0) return "it belongs to a run with other data or options";
    if (!is_place(o, r, p->io->train->n_batches)) return "it names no place in this run";
    return is_whole(p, best) ? NULL : "values are missing from it";
}

static void read_run(graft_run *run, const json_t *o) {
    graft_training *t = &run->result;
    run->epoch = whole(o, "epoch");
    run->batch = whole(o, "batch");
    run->update = whole(o, "update");
    run->stale = whole(o, "stale");
    run->averaged = whole(o, "averaged");
    run->loss_sum = graft_json_inexact(o, "loss_sum");
    run->seconds = graft_json_inexact(o, "seconds");
    run->epoch_seconds = graft_json_inexact(o, "epoch_seconds");
    run->hits = whole(o, "hits");
    run->judged = whole(o, "judged");
    run->seen = whole(o, "seen");
    run->events = whole(o, "events");
    t->best_epoch = whole(o, "best_epoch");
    t->best.score = graft_json_inexact(o, "best_score");
    t->best.loss = graft_json_inexact(o, "best_loss");
    t->best.refined = graft_json_inexact(o, "best_refined");
    graft_history_read(t, json_object_get(o, "history"));
}

/* Values back into the state and the best weights; all are known to be there. */
static int read_values(const resume_point *p, graft_best *best, graft_arena *arena, graft_err *err) {
    const char *const *names;
    size_t n = graft_state_names(p->io->state, &names);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const graft_shape *shape = graft_state_shape(p->io->state, names[i]);
        if (is_gradient(names[i])) continue;
        const graft_tensor *t = tensor_of(p, STATE_PREFIX, names[i], shape);
        rc = t ? graft_state_write(p->io->state, names[i], shape, t->data, err) : graft_err_nomem(err);
    }
    if (rc < 0 || whole(p->run, "best_epoch") < 1) return rc;
    if ((rc = graft_best_reserve(best, arena, err)) < 0) return rc;
    for (size_t i = 0; i < best->n; i++) {
        const graft_tensor *t = tensor_of(p, BEST_PREFIX, best->names[i], &best->shapes[i]);
        if (!t) return graft_err_nomem(err);
        memcpy(best->values[i], t->data, t->size);
    }
    return 0;
}

int graft_checkpoint_load(bool *found, const graft_trainer_io *io, const graft_recipe *recipe, graft_run *run,
                          graft_best *best, graft_arena *arena, graft_err *err) {
    graft_err reason = {0};
    *found = false;
    resume_point p = {.io = io, .arena = graft_arena_new(NULL)}; /* unmapped before the file is replaced */
    char *path = p.arena ? graft_path_join(p.arena, io->checkpoint_dir, FILE_NAME) : NULL;
    int rc = path ? 0 : graft_err_nomem(err);
    if (rc == 0 && graft_path_is_file(path)) {
        const char *fault = find_fault(&p, recipe, best, path, &reason);
        if (fault) {
            graft_env_log(io->env, GRAFT_LOG_WARNING, "the resume point %s is ignored: %s", path, fault);
        } else {
            read_run(run, p.run);
            rc = read_values(&p, best, arena, err);
            *found = rc == 0;
        }
    }
    graft_arena_free(p.arena);
    return rc;
}
