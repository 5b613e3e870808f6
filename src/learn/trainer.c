/* The run: epochs of updates, an evaluation after each, the best kept, a resume point now and then.
 *
 * Everything that decides a result is a function of (recipe, batches, state); the clock only decides when a
 * resume point is written and what is shown. */
#include "learn/run.h"

#include <math.h>
#include <string.h>

typedef struct trainer {
    const graft_trainer_io *io;
    const graft_recipe *recipe;
    graft_arena *arena;
    graft_stepper stepper;
    graft_evaluator evaluator;
    graft_average average;
    graft_best best;
    graft_run run;
    float *room; /* of the largest trained parameter */
    int64_t n_updates;
    double begun;               /* on the clock: this process's start of the epoch */
    double saved_at, save_cost; /* the last resume point: when, and how long it took */
} trainer;

/* ---- Opening ------------------------------------------------------------------------------------------------ */

/* Whether a running average of the weights is what is evaluated and kept. */
static bool averages(const graft_recipe *r) {
    return r->ema > 0.0 || r->swa > 0.0;
}

/* Programs of the usual sizes, so that the state knows all that will change. */
static int compile(trainer *t, graft_err *err) {
    const graft_trainer_io *io = t->io;
    const graft_graph *judged = io->suffix;
    graft_program *p = NULL;
    int rc = graft_stepper_init(&t->stepper, io->suffix, io->state, t->recipe, err);
    if (rc == 0 && averages(t->recipe)) {
        rc = graft_average_init(&t->average, io->suffix, io->state, t->recipe->dtype, err);
        judged = t->average.graphs.view;
    }
    if (rc < 0 || !io->validation) return rc;
    rc = graft_evaluator_init(&t->evaluator, judged, io->state, t->recipe->task, t->recipe->class_names,
                              t->recipe->dtype, err);
    t->evaluator.max_rows = t->recipe->micro_batch;
    return rc < 0
               ? rc
               : graft_shapes_get(&p, &t->evaluator.shapes, t->recipe->micro_batch, t->recipe->tokens, err);
}

/* A resume point is kept beside its successor while that is written. */
static int check_disk(const trainer *t, graft_err *err) {
    const char *dir = t->io->checkpoint_dir;
    int rc = graft_dir_make(dir, err);
    if (rc < 0) return rc;
    size_t size = graft_checkpoint_size(t->io, &t->best);
    uint64_t needs = (t->run.result.resumed ? 1 : 2) * (uint64_t)size, available = graft_disk_free(dir);
    if (available >= needs) return 0;
    return graft_err_set(err, GRAFT_EIO,
                         "%s: resume points need %llu MiB, the disk has %llu MiB left: free some, or choose "
                         "another output folder",
                         dir, (unsigned long long)(needs >> 20) + 1, (unsigned long long)(available >> 20));
}

static int make_room(trainer *t, graft_err *err) {
    size_t largest = 0;
    for (size_t i = 0; i < t->best.n; i++)
        if (t->best.counts[i] > largest) largest = t->best.counts[i];
    t->room = graft_arena_array(t->arena, largest + 1, sizeof *t->room);
    t->run.result.history =
        graft_arena_array(t->arena, (size_t)t->recipe->epochs + 1, sizeof *t->run.result.history);
    return t->room && t->run.result.history ? 0 : graft_err_nomem(err);
}

/* What a run that is taken up had written stays, up to its resume point; any other begins its own. */
static int open_log(trainer *t, graft_err *err) {
    const graft_trainer_io *io = t->io;
    if (!t->run.result.resumed) t->run.seconds = io->seconds_before;
    if (!io->log) return 0;
    if (t->run.result.resumed) return graft_runlog_keep(io->log, t->run.events, err);
    int rc = graft_runlog_keep(io->log, io->events_before, err);
    if (rc < 0 || !io->opening) return rc;
    return graft_runlog_write(io->log, "phase", json_copy(io->opening), err);
}

static int open_trainer(trainer *t, graft_err *err) {
    const graft_trainer_io *io = t->io;
    graft_training *result = &t->run.result;
    int rc = graft_recipe_check(t->recipe, err);
    if (rc < 0) return rc;
    if (io->train->n_batches < 1) return graft_err_set(err, GRAFT_EDATA, "there is no sample to train on");
    t->n_updates = t->recipe->epochs * io->train->n_batches;
    if ((rc = graft_best_init(&t->best, t->arena, io->suffix, averages(t->recipe), err)) < 0) return rc;
    if ((rc = make_room(t, err)) < 0 || (rc = compile(t, err)) < 0) return rc;
    if (io->checkpoint_dir) {
        rc = graft_checkpoint_load(&result->resumed, io, t->recipe, &t->run, &t->best, t->arena, err);
        if (rc == 0) rc = check_disk(t, err);
    }
    return rc < 0 ? rc : open_log(t, err);
}

/* Bytes of the programs' arena, of the state and of the best weights as they are now. */
static size_t held(const trainer *t) {
    size_t arena = graft_shapes_arena(&t->stepper.step), other = graft_shapes_arena(&t->evaluator.shapes);
    if (other > arena) arena = other;
    other = graft_shapes_arena(&t->average.measure);
    if (other > arena) arena = other;
    other = t->stepper.update ? graft_program_needs(t->stepper.update).arena : 0;
    if (other > arena) arena = other;
    return arena + graft_state_size(t->io->state) + graft_best_size(&t->best);
}

static void close_trainer(trainer *t) {
    graft_stepper_done(&t->stepper);
    graft_average_done(&t->average);
    graft_evaluator_done(&t->evaluator);
}

/* ---- Resume points ------------------------------------------------------------------------------------------ */

/* One that cannot be written is no reason to lose the run: the older one stays whole. */
static void save(trainer *t) {
    graft_err err;
    if (!t->io->checkpoint_dir) return;
    double now = graft_now();
    t->run.events = t->io->log ? graft_runlog_count(t->io->log) : 0;
    graft_run at = t->run;
    at.epoch_seconds += now - t->begun;
    if (graft_checkpoint_save(t->io, &at, &t->best, &err) < 0)
        graft_env_log(t->io->env, GRAFT_LOG_WARNING, "no resume point was written: %s", err.message);
    t->saved_at = graft_now();
    t->save_cost = t->saved_at - now;
}

/* Saving is to cost a twentieth of the time at most. */
static bool is_save_due(const trainer *t, double interval) {
    double asked = t->io->checkpoint_seconds, passed = graft_now() - t->saved_at;
    if (asked > 0) return passed >= asked;
    return passed >= fmax(interval, 20 * t->save_cost);
}

enum { SECONDS_WITHIN_EPOCH = 60, SECONDS_BETWEEN_EPOCHS = 1 };

/* ---- What is not finite ------------------------------------------------------------------------------------- */

static int log_divergence(const trainer *t, const char *message, graft_err *err) {
    if (!t->io->log) return 0;
    json_t *o = json_pack("{s:I,s:I,s:s}", "epoch", (json_int_t)(t->recipe->epochs_before + t->run.epoch) + 1,
                          "batch", (json_int_t)t->run.batch, "message", message);
    return graft_runlog_write(t->io->log, "diverged", o, err);
}

/* The error for `what` not being finite after the update under way, of batch `b` (NULL: not of one); the best
 * weights go back into the state. */
static int diverged(trainer *t, const char *what, const graft_batch *b, graft_err *err) {
    const graft_recipe *r = t->recipe;
    char where[256], advice[160];
    bool is_data = false;
    graft_diverged_where(where, sizeof where, &is_data, t->io->suffix, t->io->state, b, r->micro_batch,
                         graft_best_not_finite(&t->best, t->io->state, t->room));
    snprintf(advice, sizeof advice, "a learning rate of %.2g, a tenth%s%s", r->lr / 10.0,
             r->warmup > 0.0 || r->schedule->warms_up ? "" : ", or a warm-up",
             r->clip_norm > 0.0 ? "" : ", or clipping");
    int rc = graft_best_restore(&t->best, t->io->state, err);
    if (rc < 0) return rc;
    graft_err said;
    (void)graft_err_set(&said, GRAFT_EDIVERGED, "%s not finite at epoch %lld, batch %lld: %s%s; try %s", what,
                        (long long)(r->epochs_before + t->run.epoch) + 1, (long long)t->run.batch, where,
                        t->best.values ? "; the best weights so far are kept" : "",
                        is_data ? "without it" : advice);
    rc = log_divergence(t, said.message, err);
    return rc < 0 ? rc : graft_err_set(err, GRAFT_EDIVERGED, "%s", said.message);
}

/* ---- One epoch ---------------------------------------------------------------------------------------------- */

/* Where the epoch under way stands after so many seconds of training, or what came of it (NULL: it goes on).
 */
static void tell(const trainer *t, double seconds, const graft_epoch *over) {
    char phase[64], metrics[128];
    const graft_run *r = &t->run;
    const bool evaluated = over && over->evaluated;
    snprintf(phase, sizeof phase, "epoch %lld of %lld", (long long)(t->recipe->epochs_before + r->epoch) + 1,
             (long long)(t->recipe->epochs_all ? t->recipe->epochs_all : t->recipe->epochs));
    double seen = r->seen > 0 ? (double)r->seen : 1.0;
    int n = snprintf(metrics, sizeof metrics, "loss %.4f", r->loss_sum / seen);
    if (r->judged && n > 0 && (size_t)n < sizeof metrics)
        n += snprintf(metrics + n, sizeof metrics - (size_t)n, "  accuracy %.3f",
                      (double)r->hits / (double)r->judged);
    if (evaluated && n > 0 && (size_t)n < sizeof metrics)
        n += snprintf(metrics + n, sizeof metrics - (size_t)n, "  validation %.3f", over->score);
    if (r->result.best_epoch > 0 && n > 0 && (size_t)n < sizeof metrics)
        snprintf(metrics + n, sizeof metrics - (size_t)n, "  best %.3f", r->result.best.score);
    const graft_progress_epoch epoch = {.epoch = t->recipe->epochs_before + r->epoch + 1,
                                        .n_epochs =
                                            t->recipe->epochs_all ? t->recipe->epochs_all : t->recipe->epochs,
                                        .loss = r->loss_sum / seen,
                                        .accuracy = r->judged ? (double)r->hits / (double)r->judged : NAN,
                                        .val_loss = evaluated ? over->loss : NAN,
                                        .score = evaluated ? over->score : NAN,
                                        .score_name = graft_score_name(t->recipe->task)};
    graft_progress p = {.phase = phase,
                        .done = r->seen,
                        .total = t->io->train->n_samples,
                        .seconds = seconds,
                        .metrics = metrics,
                        .epoch = over ? &epoch : NULL};
    graft_env_progress(t->io->env, &p);
}

static int train_epoch(trainer *t, graft_err *err) {
    graft_batches *batches = t->io->train;
    graft_batch b = {0};
    int rc = batches->begin(batches->self, t->recipe->epochs_before + t->run.epoch, t->run.batch, err);
    while (rc == 0 && (rc = batches->next(batches->self, &b, err)) == 1) {
        if ((rc = graft_stepper_run(&t->stepper, &b, t->run.update, t->n_updates, err)) < 0) break;
        t->run.batch++;
        if (!isfinite(t->stepper.loss)) return diverged(t, "the loss is", &b, err);
        if (t->stepper.refused) return diverged(t, "the gradient is", &b, err);
        if (t->recipe->ema > 0.0)
            rc = graft_average_add(&t->average, 1.0 - graft_recipe_ema(t->recipe, t->run.update), err);
        if (rc < 0) break;
        t->run.loss_sum += t->stepper.loss * (double)b.n;
        t->run.hits += t->stepper.hits;
        t->run.judged += t->stepper.judged;
        t->run.seen += b.n;
        t->run.update++;
        /* an epoch is over when it has been evaluated */
        if (t->run.batch < batches->n_batches) tell(t, t->run.epoch_seconds + graft_now() - t->begun, NULL);
        if ((rc = graft_env_check(t->io->env, err)) < 0) break;
        if (is_save_due(t, SECONDS_WITHIN_EPOCH)) save(t);
    }
    return rc;
}

/* With SWA the first average is better than whatever stands before it, which is only kept for the case that
 * there is none. */
static bool is_better(const graft_training *so_far, const graft_epoch *e, const graft_score *score,
                      const graft_recipe *r) {
    int64_t first = r->swa > 0.0 ? graft_recipe_first_averaged(r) : 0;
    if (so_far->best_epoch <= first && e->epoch > first) return true;
    if (so_far->best_epoch == 0) return true;
    return graft_score_is_better(score, &so_far->best, r->by_refinement);
}

static bool all_finite(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

static int measure(const trainer *t, graft_score *out, graft_epoch *e, graft_err *err) {
    const graft_answers *a = &t->evaluator.answers;
    const graft_recipe *r = t->recipe;
    int rc = graft_answers_score(out, a, r->task, r->class_names, err);
    if (rc < 0) return rc;
    out->refined = r->by_refinement ? graft_calibrate(a, r->task).after.log_loss : 0.0;
    e->evaluated = true;
    e->loss = out->loss;
    e->score = out->score;
    return 0;
}

static int evaluate(trainer *t, graft_epoch *e, graft_err *err) {
    const graft_answers *a = &t->evaluator.answers;
    graft_training *r = &t->run.result;
    int rc = graft_evaluator_run(&t->evaluator, t->io->env, t->io->validation, err);
    if (rc < 0) return rc;
    if (!all_finite(a->logits, a->n * a->k))
        return diverged(t, "outputs for the validation part are", NULL, err);
    graft_score score;
    if ((rc = measure(t, &score, e, err)) < 0) return rc;
    t->run.stale++;
    if (!is_better(r, e, &score, t->recipe)) return 0;
    t->run.stale = 0;
    r->best_epoch = e->epoch;
    r->best = score;
    return graft_best_take(&t->best, t->arena, t->io->state, err);
}

/* The uniform average at the end of an epoch: until the last epochs begin it is a copy, so that it is always
 * what is judged. Once an epoch, however often an evaluation is interrupted; measuring may be done again. */
static int average_epoch(trainer *t, graft_err *err) {
    graft_run *r = &t->run;
    int64_t n = r->epoch + 1 - graft_recipe_first_averaged(t->recipe);
    int rc = 0;
    if (!(t->recipe->swa > 0.0)) return 0;
    if (r->averaged <= r->epoch) {
        rc = graft_average_add(&t->average, n > 1 ? 1.0 / (double)n : 1.0, err);
        r->averaged = r->epoch + 1;
        if (n == 1) r->stale = 0; /* the best is one of the averages */
    }
    if (rc < 0 || n < 2) return rc;
    return graft_average_measure(&t->average, t->io->env, t->io->train, r->epoch, t->recipe->micro_batch,
                                 err);
}

static int log_epoch(const trainer *t, const graft_epoch *e, graft_err *err) {
    if (!t->io->log) return 0;
    json_t *o =
        json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "epoch", (json_int_t)(t->recipe->epochs_before + e->epoch),
                  "seconds", e->seconds, "lr", e->lr, "loss", e->train_loss, "accuracy", e->train_accuracy,
                  "updates", (json_int_t)(t->recipe->updates_before + t->run.update));
    if (o && e->evaluated) {
        json_object_set_new(o, "val_loss", json_real(e->loss));
        char name[64];
        snprintf(name, sizeof name, "val_%s", graft_score_name(t->recipe->task));
        json_object_set_new(o, name, json_real(e->score));
    }
    return graft_runlog_write(t->io->log, "epoch", o, err);
}

static int end_epoch(trainer *t, graft_err *err) {
    graft_run *r = &t->run;
    int64_t every = t->recipe->eval_every > 0 ? t->recipe->eval_every : 1;
    double seen = r->seen > 0 ? (double)r->seen : 1.0;
    graft_epoch *e = &r->result.history[r->result.n_epochs];
    const double trained = r->epoch_seconds + graft_now() - t->begun;
    *e = (graft_epoch){.epoch = r->epoch + 1,
                       .lr = graft_recipe_rate(t->recipe, r->update > 0 ? r->update - 1 : 0, t->n_updates),
                       .train_loss = r->loss_sum / seen,
                       .train_accuracy = r->judged > 0 ? (double)r->hits / (double)r->judged : 0.0};
    bool is_last = r->epoch + 1 == t->recipe->epochs;
    /* a relu may hide a weight that is no number from the loss */
    if (graft_best_not_finite(&t->best, t->io->state, t->room)) return diverged(t, "weights are", NULL, err);
    int rc = average_epoch(t, err);
    if (rc == 0 && t->io->validation && (is_last || (r->epoch + 1) % every == 0)) rc = evaluate(t, e, err);
    if (rc < 0) return rc;
    double now = graft_now();
    e->seconds =
        r->seconds + r->epoch_seconds + now - t->begun; /* since the run began, evaluations included */
    r->seconds = e->seconds;
    t->begun = now;
    r->result.n_epochs++;
    if ((rc = log_epoch(t, e, err)) < 0) return rc;
    tell(t, trained, e);
    r->epoch++;
    r->batch = r->hits = r->judged = r->seen = 0;
    r->loss_sum = r->epoch_seconds = 0.0;
    if (!is_last && is_save_due(t, SECONDS_BETWEEN_EPOCHS)) save(t);
    return 0;
}

static bool is_over(const trainer *t) {
    if (t->run.epoch >= t->recipe->epochs) return true;
    if (t->recipe->swa > 0.0 && t->run.epoch <= graft_recipe_first_averaged(t->recipe)) return false;
    return t->recipe->early_stop > 0 && t->run.stale >= t->recipe->early_stop;
}

int graft_trainer_run(graft_training *out, graft_arena *arena, const graft_trainer_io *io,
                      const graft_recipe *recipe, graft_err *err) {
    trainer t = {.io = io, .recipe = recipe, .arena = arena};
    graft_training *result = &t.run.result;
    int rc = open_trainer(&t, err);
    t.begun = t.saved_at = graft_now();
    while (rc == 0 && !is_over(&t)) {
        rc = train_epoch(&t, err);
        if (rc == 0) rc = end_epoch(&t, err);
        if (rc == 0 && !is_over(&t)) rc = graft_env_check(io->env, err);
    }
    if (rc == GRAFT_EINTERRUPTED) save(&t); /* between two updates, or before an evaluation */
    result->peak_memory = held(&t);
    if (rc == 0 && averages(recipe) && !io->validation) rc = graft_best_take(&t.best, arena, io->state, err);
    if (rc == 0 && io->last) rc = graft_best_shelve(&t.best, io->last, io->state, err);
    if (rc == 0) rc = graft_best_restore(&t.best, io->state, err);
    result->n_steps = t.run.update;
    result->seconds = t.run.seconds;
    close_trainer(&t);
    *out = *result;
    return rc;
}
