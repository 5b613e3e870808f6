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
    graft_best best;
    graft_run run;
    int64_t n_updates;
    double saved_at, begun; /* on the clock: the last resume point; this process's start of the epoch */
} trainer;

static int open_trainer(trainer *t, graft_err *err) {
    const graft_trainer_io *io = t->io;
    t->n_updates = t->recipe->epochs * io->train->n_batches;
    t->run.result.history =
        graft_arena_array(t->arena, (size_t)t->recipe->epochs + 1, sizeof *t->run.result.history);
    if (!t->run.result.history) return graft_err_nomem(err);
    int rc = graft_best_init(&t->best, t->arena, io->suffix, err);
    if (rc == 0 && io->checkpoint_dir) {
        bool found = false;
        t->run.result.n_epochs = t->recipe->epochs;
        rc = graft_checkpoint_load(&found, io, &t->run, &t->best, t->arena, err);
        if (!found) t->run.result.n_epochs = 0;
        t->run.result.resumed = found;
    }
    if (rc == 0 && io->log)
        rc = graft_runlog_keep(io->log, t->run.result.resumed ? t->run.events : graft_runlog_count(io->log),
                               err);
    if (rc == 0) rc = graft_stepper_init(&t->stepper, io->suffix, io->state, t->recipe, err);
    if (rc == 0 && io->validation)
        rc = graft_evaluator_init(&t->evaluator, io->suffix, io->state, t->recipe->dtype, err);
    return rc;
}

static void close_trainer(trainer *t) {
    graft_stepper_done(&t->stepper);
    graft_evaluator_done(&t->evaluator);
}

static int save(trainer *t, graft_err *err) {
    if (!t->io->checkpoint_dir) return 0;
    t->saved_at = graft_now();
    t->run.events = t->io->log ? graft_runlog_count(t->io->log) : 0;
    graft_run at = t->run;
    at.epoch_seconds += graft_now() - t->begun;
    return graft_checkpoint_save(t->io, &at, &t->best, err);
}

/* ---- A loss that is not finite ------------------------------------------------------------------------------ */

static int diverged(trainer *t, graft_err *err) {
    const char *culprit = "none: the loss itself overflowed";
    graft_arena *arena = graft_arena_new(t->arena);
    for (size_t i = 0; arena && i < t->best.n; i++) {
        float *values = graft_arena_array(arena, t->best.counts[i] + 1, sizeof *values);
        graft_err ignored;
        if (!values ||
            graft_state_read(t->io->state, t->best.names[i], values, t->best.counts[i], &ignored) < 0)
            continue;
        size_t k = 0;
        while (k < t->best.counts[i] && isfinite(values[k])) k++;
        if (k == t->best.counts[i]) continue;
        culprit = t->best.names[i];
        break;
    }
    int rc = graft_best_restore(&t->best, t->io->state, err);
    if (rc < 0) return rc;
    return graft_err_set(
        err, GRAFT_EDATA,
        "the loss is not finite at epoch %lld, batch %lld (first parameter that is not: %s)%s; try a "
        "lower --lr, or --warmup",
        (long long)t->run.epoch + 1, (long long)t->run.batch + 1, culprit,
        t->best.values ? "; the best weights so far are kept" : "");
}

/* ---- One epoch ---------------------------------------------------------------------------------------------- */

static void tell(const trainer *t) {
    char phase[64], metrics[96];
    const graft_run *r = &t->run;
    snprintf(phase, sizeof phase, "epoch %lld of %lld", (long long)r->epoch + 1,
             (long long)t->recipe->epochs);
    double seen = r->seen > 0 ? (double)r->seen : 1.0;
    int n = snprintf(metrics, sizeof metrics, "loss %.4f  accuracy %.3f", r->loss_sum / seen,
                     (double)r->hits / seen);
    if (r->result.best_epoch > 0 && n > 0 && (size_t)n < sizeof metrics)
        snprintf(metrics + n, sizeof metrics - (size_t)n, "  best %.3f", r->result.best_accuracy);
    graft_progress p = {phase, r->seen, t->io->train->n_samples, r->epoch_seconds + graft_now() - t->begun,
                        metrics};
    graft_env_progress(t->io->env, &p);
}

static int train_epoch(trainer *t, graft_err *err) {
    graft_batches *batches = t->io->train;
    graft_batch b = {0};
    double interval = t->io->checkpoint_seconds > 0 ? t->io->checkpoint_seconds : 60.0;
    int rc = batches->begin(batches->self, t->run.epoch, t->run.batch, err);
    while (rc == 0 && (rc = batches->next(batches->self, &b, err)) == 1) {
        if ((rc = graft_stepper_run(&t->stepper, &b, t->run.update, t->n_updates, err)) < 0) break;
        if (!isfinite(t->stepper.loss)) return diverged(t, err);
        t->run.loss_sum += t->stepper.loss * (double)b.n;
        t->run.hits += t->stepper.hits;
        t->run.seen += b.n;
        t->run.update++;
        t->run.batch++;
        tell(t);
        if (graft_env_is_cancelled(t->io->env)) {
            rc = save(t, err);
            return rc < 0 ? rc : graft_env_check(t->io->env, err);
        }
        if (graft_now() - t->saved_at > interval && (rc = save(t, err)) < 0) break;
    }
    return rc;
}

/* Better is: more accurate, and among equally accurate the lower loss. */
static bool is_better(const graft_training *so_far, const graft_epoch *e) {
    if (so_far->best_epoch == 0 || e->accuracy > so_far->best_accuracy) return true;
    return !(e->accuracy < so_far->best_accuracy) && e->loss < so_far->best_loss;
}

static int evaluate(trainer *t, graft_epoch *e, graft_err *err) {
    graft_metrics m;
    graft_arena *arena = graft_arena_new(t->arena);
    if (!arena) return graft_err_nomem(err);
    int rc = graft_evaluator_run(&t->evaluator, t->io->env, t->io->validation, err);
    if (rc == 0) {
        rc = graft_metrics_compute(&m, arena, t->evaluator.logits, t->evaluator.labels, t->evaluator.n,
                                   t->evaluator.n_classes, err);
    }
    if (rc == 0) {
        e->evaluated = true;
        e->loss = m.log_loss;
        e->accuracy = m.accuracy;
        e->macro_f1 = m.macro_f1;
    }
    graft_arena_free(arena);
    if (rc < 0) return rc;
    graft_training *r = &t->run.result;
    t->run.stale++;
    if (!is_better(r, e)) return 0;
    t->run.stale = 0;
    r->best_epoch = e->epoch;
    r->best_accuracy = e->accuracy;
    r->best_loss = e->loss;
    return graft_best_take(&t->best, t->arena, t->io->state, err);
}

static int log_epoch(const trainer *t, const graft_epoch *e, graft_err *err) {
    if (!t->io->log) return 0;
    json_t *o = json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "epoch", (json_int_t)e->epoch, "seconds", e->seconds,
                          "lr", e->lr, "loss", e->train_loss, "accuracy", e->train_accuracy, "updates",
                          (json_int_t)t->run.update);
    if (o && e->evaluated) {
        json_object_set_new(o, "val_loss", json_real(e->loss));
        json_object_set_new(o, "val_accuracy", json_real(e->accuracy));
        json_object_set_new(o, "val_macro_f1", json_real(e->macro_f1));
    }
    return graft_runlog_write(t->io->log, "epoch", o, err);
}

static int end_epoch(trainer *t, graft_err *err) {
    graft_run *r = &t->run;
    int64_t every = t->recipe->eval_every > 0 ? t->recipe->eval_every : 1;
    double seen = r->seen > 0 ? (double)r->seen : 1.0;
    graft_epoch *e = &r->result.history[r->result.n_epochs];
    *e = (graft_epoch){.epoch = r->epoch + 1,
                       .lr = graft_recipe_rate(t->recipe, r->update > 0 ? r->update - 1 : 0, t->n_updates),
                       .train_loss = r->loss_sum / seen,
                       .train_accuracy = (double)r->hits / seen};
    bool is_last = r->epoch + 1 == t->recipe->epochs;
    int rc = 0;
    if (t->io->validation && (is_last || (r->epoch + 1) % every == 0)) rc = evaluate(t, e, err);
    if (rc < 0) return rc;
    double now = graft_now();
    e->seconds =
        r->seconds + r->epoch_seconds + now - t->begun; /* since the run began, evaluations included */
    r->seconds = e->seconds;
    t->begun = now;
    r->result.n_epochs++;
    if ((rc = log_epoch(t, e, err)) < 0) return rc;
    r->epoch++;
    r->batch = r->hits = r->seen = 0;
    r->loss_sum = r->epoch_seconds = 0.0;
    return is_last ? 0 : save(t, err);
}

static bool is_over(const trainer *t) {
    if (t->run.epoch >= t->recipe->epochs) return true;
    return t->recipe->early_stop > 0 && t->run.stale >= t->recipe->early_stop;
}

int graft_trainer_run(graft_training *out, graft_arena *arena, const graft_trainer_io *io,
                      const graft_recipe *recipe, graft_err *err) {
    trainer t = {.io = io, .recipe = recipe, .arena = arena};
    int rc = open_trainer(&t, err);
    t.begun = t.saved_at = graft_now();
    while (rc == 0 && !is_over(&t)) {
        rc = train_epoch(&t, err);
        if (rc == 0 && (rc = end_epoch(&t, err)) == GRAFT_EINTERRUPTED) {
            graft_err ignored;
            (void)save(&t, &ignored); /* the epoch's updates are done, its evaluation is taken up again */
        }
        if (rc == 0 && !is_over(&t)) rc = graft_env_check(io->env, err);
    }
    if (rc == 0) rc = graft_best_restore(&t.best, io->state, err);
    t.run.result.n_steps = t.run.update;
    t.run.result.seconds = t.run.seconds;
    close_trainer(&t);
    *out = t.run.result;
    return rc;
}
