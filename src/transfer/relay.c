/* What one phase hands to the next: the weights it came to, the optimiser's moments and update counts by
 * parameter, and the best weights of all phases so far.
 *
 * The next phase goes on with the last weights, as if nothing had happened, unless the phase was stopped
 * early: then its best epoch is where it was last of use. Parameters that rest in a phase keep their moments.
 */
#include "transfer/fit.h"

#include <stdlib.h>
#include <string.h>

char *graft_job_checkpoint(const graft_job *j, size_t i) {
    char name[48];
    if (!j->out) return NULL;
    snprintf(name, sizeof name, i ? "checkpoint/phase-%zu" : "checkpoint", i + 1);
    return graft_path_join(j->arena, j->out, name);
}

int graft_relay_open(graft_job *j, graft_err *err) {
    graft_relay *r = &j->relay;
    size_t n = graft_model_n_params(j->model);
    char *checkpoint = graft_job_checkpoint(j, 0);
    int64_t epochs = 0;
    for (size_t i = 0; i < j->n_phases; i++) epochs += j->choices[i].epochs;
    j->training = (graft_training){
        .history = graft_arena_array(j->arena, (size_t)epochs + 1, sizeof *j->training.history)};
    r->touched = graft_arena_array(j->arena, n + 1, sizeof *r->touched);
    if (!j->training.history || !r->touched || (j->out && !checkpoint)) return graft_err_nomem(err);
    /* a resume point that turns out to be of no use leaves the log of another run */
    bool stale = checkpoint && graft_path_is_dir(checkpoint);
    r->events = stale ? 0 : graft_runlog_count(j->log);
    if (j->n_phases == 1) return 0;
    r->steps = graft_arena_array(j->arena, n + 1, sizeof *r->steps);
    int rc = r->steps ? graft_shelf_new(&r->best, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_shelf_new(&r->moments, err);
    return rc < 0 || !j->out ? rc : graft_relay_load(j, err);
}

void graft_relay_close(graft_relay *r) {
    graft_shelf_free(r->best);
    graft_shelf_free(r->moments);
}

size_t graft_relay_size(const graft_job *j, size_t i) {
    bool sgd = strcmp(j->recipe.optimiser->name, "sgd") == 0;
    bool averages = j->recipe.ema > 0 || j->recipe.swa > 0;
    size_t moments = (sgd ? 1U : 2U) + averages, values = 0;
    for (size_t k = 0; k < graft_model_n_params(j->model) && j->n_phases > 1; k++) {
        bool before = false;
        int64_t count = 0;
        if (!graft_shape_count(&graft_model_param(j->model, k)->shape, &count)) continue;
        for (size_t e = 0; e < i; e++) before = before || j->phases[e].trains[k];
        if (before) values += (size_t)count * (1 + moments);
        if (j->phases[i].trains[k] && i + 1 < j->n_phases) values += (size_t)count;
    }
    return values * sizeof(float);
}

double graft_relay_steps(const graft_relay *r, const graft_model *m, const char *name) {
    int64_t i = r->steps ? graft_model_param_index(m, name) : -1;
    return i < 0 ? 0.0 : (double)r->steps[i];
}

/* ---- Moments ------------------------------------------------------------------------------------------------ */

int64_t graft_relay_owner(const graft_model *m, const char *moment) {
    const char *slash = strrchr(moment, '/');
    char *name = slash ? strndup(moment, (size_t)(slash - moment)) : NULL;
    int64_t i = name ? graft_model_param_index(m, name) : -1;
    free(name);
    return i;
}

int graft_relay_moments(const graft_job *j, size_t i, graft_state *state, graft_err *err) {
    const graft_tensor *items;
    size_t n = j->relay.moments ? graft_shelf_items(j->relay.moments, &items) : 0;
    int rc = 0;
    for (size_t k = 0; k < n && rc == 0; k++) {
        int64_t owner = graft_relay_owner(j->model, items[k].name);
        if (owner >= 0 && j->phases[i].trains[owner])
            rc = graft_state_write(state, items[k].name, &items[k].shape, items[k].data, err);
    }
    return rc;
}

static bool ends_in(const char *name, const char *ending) {
    size_t n = strlen(name), k = strlen(ending);
    return n >= k && strcmp(name + n - k, ending) == 0;
}

/* A phase that was stopped goes on from its best weights, and so does their average. */
static int begin_average(graft_job *j, const graft_state *state, const char *average, graft_err *err) {
    const char *name = graft_model_param(j->model, (size_t)graft_relay_owner(j->model, average))->name;
    const graft_shape *shape = graft_state_shape(state, average);
    float *values = NULL;
    int64_t count = 0;
    int rc = graft_shelf_room(&values, j->relay.moments, average, shape, err);
    return rc == 0 && graft_shape_count(shape, &count)
               ? graft_state_read(state, name, values, (size_t)count, err)
               : rc;
}

static int take_moments(graft_job *j, const graft_state *state, bool stopped, graft_err *err) {
    static const char gradient[] = "/gradient", /* gathered ones: zero between updates */
        average[] = "/average";
    const char *const *names;
    size_t n = graft_state_names(state, &names);
    int rc = 0;
    for (size_t k = 0; k < n && rc == 0; k++) {
        if (ends_in(names[k], gradient) || graft_relay_owner(j->model, names[k]) < 0) continue;
        rc = stopped && ends_in(names[k], average) ? begin_average(j, state, names[k], err)
                                                   : graft_shelf_take(j->relay.moments, state, names[k], err);
    }
    return rc;
}

/* ---- Weights ------------------------------------------------------------------------------------------------ */

/* Whether the phase of this suffix trained parameter k. */
static bool trained_here(const graft_job *j, const graft_graph *suffix, size_t k) {
    graft_value v = graft_graph_find(suffix, graft_model_param(j->model, k)->name);
    return v != GRAFT_NONE && graft_graph_value(suffix, v)->kind == GRAFT_PARAM &&
           graft_graph_value(suffix, v)->trained;
}

static bool trains_in_some_phase(const graft_job *j, size_t k) {
    for (size_t i = 0; i < j->n_phases; i++)
        if (j->phases[i].trains[k]) return true;
    return false;
}

static int set_from_state(graft_job *j, const graft_param *p, const graft_state *state, graft_err *err) {
    int64_t count = 0;
    if (!graft_shape_count(&p->shape, &count)) return 0;
    float *values = malloc((size_t)count * sizeof *values + 1);
    int rc = values ? graft_state_read(state, p->name, values, (size_t)count, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_model_set(j->model, p->name, values, (size_t)count, err);
    free(values);
    return rc;
}

static int set_from_shelf(graft_job *j, const graft_tensor *t, graft_err *err) {
    return graft_model_set(j->model, t->name, t->data, t->size / sizeof(float), err);
}

/* Values at this phase's best epoch: of the state where the phase trained them, else the model's, but those
 * that are still the file's. */
static int keep_best(graft_job *j, const graft_graph *suffix, const graft_state *state, graft_err *err) {
    int rc = 0;
    for (size_t k = 0; k < graft_model_n_params(j->model) && rc == 0; k++) {
        const graft_param *p = graft_model_param(j->model, k);
        float *values = NULL;
        int64_t count = 0;
        if (trained_here(j, suffix, k)) {
            rc = graft_shelf_take(j->relay.best, state, p->name, err);
        } else if (trains_in_some_phase(j, k) && !graft_model_is_read(j->model, p->name) &&
                   graft_shape_count(&p->shape, &count)) {
            rc = graft_shelf_room(&values, j->relay.best, p->name, &p->shape, err);
            if (rc == 0) rc = graft_model_get(j->model, p->name, values, (size_t)count, err);
        }
    }
    return rc;
}

/* The model takes what this phase trained: from the shelf, or from the state where there is none. */
static int go_on(graft_job *j, const graft_graph *suffix, const graft_state *state, const graft_shelf *last,
                 graft_err *err) {
    int rc = 0;
    for (size_t k = 0; k < graft_model_n_params(j->model) && rc == 0; k++) {
        const graft_param *p = graft_model_param(j->model, k);
        if (!trained_here(j, suffix, k)) continue;
        const graft_tensor *t = last ? graft_shelf_find(last, p->name) : NULL;
        rc = t ? set_from_shelf(j, t, err) : set_from_state(j, p, state, err);
        j->relay.touched[k] = true;
    }
    return rc;
}

/* The model as it was at the best epoch of all; what only a later phase has trained becomes the file's again.
 */
static int go_back(graft_job *j, graft_err *err) {
    int rc = 0;
    for (size_t k = 0; k < graft_model_n_params(j->model) && rc == 0; k++) {
        const graft_param *p = graft_model_param(j->model, k);
        const graft_tensor *t = graft_shelf_find(j->relay.best, p->name);
        if (t)
            rc = set_from_shelf(j, t, err);
        else if (j->relay.touched[k])
            (void)graft_model_restore(j->model, p->name); /* it was the file's, or the shelf would have it */
    }
    return rc;
}

/* ---- The end of a phase ------------------------------------------------------------------------------------- */

static void join_history(graft_job *j, size_t i, const graft_training *t) {
    graft_training *all = &j->training;
    const graft_recipe *r = &j->recipe;
    int64_t before = j->relay.epochs, kept = t->best_epoch ? t->best_epoch : t->n_epochs;
    /* micro-batches that a norm saw in an epoch, as PyTorch counts them */
    int64_t batches = t->n_epochs && j->choices[i].statistics
                          ? t->n_steps / t->n_epochs * ((r->batch + r->micro_batch - 1) / r->micro_batch)
                          : 0;
    j->records[i] = (graft_phase_record){.first_epoch = before + 1,
                                         .n_epochs = t->n_epochs,
                                         .n_steps = t->n_steps,
                                         .best_epoch = t->best_epoch ? before + t->best_epoch : 0,
                                         .best = t->best,
                                         .stopped = t->n_epochs < r->epochs,
                                         .norm_batches = batches * t->n_epochs,
                                         .best_norm_batches = batches * kept};
    if (j->records[i].stopped) j->records[i].norm_batches = batches * kept;
    for (int64_t e = 0; e < t->n_epochs; e++) {
        all->history[all->n_epochs] = t->history[e];
        all->history[all->n_epochs++].epoch += before;
    }
    all->n_steps += t->n_steps;
    all->seconds = t->seconds;
    all->resumed |= t->resumed;
    if (t->peak_memory > all->peak_memory) all->peak_memory = t->peak_memory;
    j->relay.epochs += t->n_epochs;
    j->relay.updates += t->n_steps;
}

/* Of two phases that go by it by the refined loss; without evaluations it is the later phase. */
static bool is_better(const graft_job *j, size_t i) {
    const graft_training *all = &j->training;
    const graft_phase_record *r = &j->records[i], *best = &j->records[j->relay.best_phase];
    if (r->best_epoch == 0 || all->best_epoch == 0) return true;
    return graft_score_is_better(&r->best, &best->best,
                                 graft_phase_is_refined(j, i) &&
                                     graft_phase_is_refined(j, j->relay.best_phase));
}

static void count_steps(graft_job *j, const graft_graph *suffix, int64_t n_steps) {
    for (size_t k = 0; j->relay.steps && k < graft_model_n_params(j->model); k++)
        if (trained_here(j, suffix, k)) j->relay.steps[k] += n_steps;
}

/* Batches that each norm saw until the weights that were kept. */
static void count_batches(graft_job *j) {
    for (size_t i = 0; i <= j->relay.best_phase; i++) {
        const graft_phase_record *r = &j->records[i];
        int64_t n = i == j->relay.best_phase ? r->best_norm_batches : r->norm_batches;
        for (size_t k = 0; k < graft_model_n_params(j->model); k++)
            if (j->phases[i].trains[k])
                graft_model_count_batches(j->model, graft_model_param(j->model, k)->name, n);
    }
}

/* What is kept comes first, so that a kill in between finds the one or the other. */
static int keep_place(graft_job *j, size_t ended, graft_err *err) {
    graft_err reason;
    char *checkpoint = graft_job_checkpoint(j, ended);
    if (!j->out) return 0;
    if (!checkpoint) return graft_err_nomem(err);
    j->relay.events = graft_runlog_count(j->log);
    if (graft_relay_save(j, &reason) == 0) return graft_checkpoint_remove(checkpoint, err);
    graft_env_log(j->env, GRAFT_LOG_WARNING, "the end of a phase was not kept: %s", reason.message);
    return 0;
}

int graft_relay_take(graft_job *j, size_t i, const graft_graph *suffix, const graft_state *state,
                     const graft_shelf *last, const graft_training *t, graft_err *err) {
    bool is_last = i + 1 == j->n_phases;
    join_history(j, i, t);
    count_steps(j, suffix, t->n_steps);
    const graft_phase_record *r = &j->records[i];
    bool better = is_better(j, i);
    int rc = 0;
    if (better) {
        j->relay.best_phase = i;
        j->training.best_epoch = r->best_epoch;
        j->training.best = r->best;
        if (!is_last) rc = keep_best(j, suffix, state, err);
    }
    if (rc == 0) rc = go_on(j, suffix, state, is_last || r->stopped ? NULL : last, err);
    if (rc == 0 && is_last && !better) rc = go_back(j, err);
    if (rc == 0 && is_last) count_batches(j);
    if (rc == 0 && !is_last) rc = take_moments(j, state, r->stopped, err);
    j->relay.next = i + 1;
    return rc < 0 || is_last ? rc : keep_place(j, i, err);
}

int graft_relay_end_before(graft_job *j, size_t i, graft_err *err) {
    j->n_phases = j->relay.next = i;
    int rc = go_back(j, err);
    if (rc == 0) count_batches(j);
    return rc;
}

json_t *graft_job_phases(const graft_job *j) {
    json_t *a = json_array();
    for (size_t i = 0; i < j->n_phases && a; i++) {
        const graft_phase_choice *c = &j->choices[i];
        const graft_phase_record *r = &j->records[i];
        json_int_t trained = 0;
        for (size_t s = 0; s < graft_model_n_stages(j->model); s++)
            trained += graft_phase_trained_in(&j->phases[i], j->model, s);
        json_array_append_new(
            a, json_pack("{s:s,s:I,s:I,s:I,s:I,s:b,s:f,s:f,s:I,s:I,s:b}", "plan", j->phases[i].plan, "epochs",
                         (json_int_t)c->epochs, "first_epoch", (json_int_t)r->first_epoch, "epochs_run",
                         (json_int_t)r->n_epochs, "updates", (json_int_t)r->n_steps, "stopped_early",
                         r->stopped, "lr", c->lr, "warmup", c->warmup, "trained_parameters", trained,
                         "best_epoch", (json_int_t)r->best_epoch, "kept", i == j->relay.best_phase));
    }
    return a;
}
