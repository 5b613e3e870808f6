/* Short real runs: the best few train for a share of the time, the better half goes on with twice the epochs.
 */
#include "transfer/advise/candidates.h"
#include "transfer/trial.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 4 };

/* The best of the ranking and the best of each model, the first MOST of them, moved to the front. */
static size_t pick(graft_candidates *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_items && n < MOST; i++) {
        size_t same = 0;
        for (size_t k = 0; k < n; k++) same += c->items[k].model == c->items[i].model;
        if (same >= 2 && c->n_models > 1) continue;
        graft_candidate kept = c->items[i];
        for (size_t k = i; k > n; k--) c->items[k] = c->items[k - 1];
        c->items[n++] = kept;
    }
    return n;
}

/* Epochs that fit into so many seconds, by what an epoch took before, else by its cost; those of a whole run
 * at most. */
static int64_t epochs_for(const graft_candidate *x, double seconds) {
    const graft_plan_cost *cost = &x->model->costs[x->plan];
    double epoch = x->n_runs && x->epochs ? x->seconds / (double)x->epochs : cost->epoch;
    double fit = floor(seconds / fmax(epoch, 1e-4));
    return fit < 1 ? 1 : fit > (double)cost->epochs ? cost->epochs : (int64_t)fit;
}

static int run(graft_candidates *c, graft_candidate *x, double seconds, graft_err *err) {
    graft_fit_options o = *c->options;
    graft_trial trial;
    graft_err why = {0};
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    o.train = x->model->plans[x->plan];
    o.epochs = epochs_for(x, seconds);
    int rc = graft_trial_run(&trial, arena, c->env, x->model->path, c->data_path, &o, &why);
    if (rc == 0) {
        x->measured = trial.validation_score.score;
        x->epochs = trial.training.n_epochs;
        x->seconds = trial.training.seconds;
        x->n_runs++;
        graft_trial_done(&trial);
    }
    graft_arena_free(arena);
    if (rc != GRAFT_EDIVERGED) return rc < 0 ? graft_err_set(err, rc, "%s", why.message) : 0;
    const char *plan = x->model->plans[x->plan];
    x->diverged = graft_arena_strdup(c->arena, why.message);
    graft_env_log(c->env, GRAFT_LOG_WARNING, "%s, %s: diverged: %s: left out", x->model->path, plan,
                  why.message);
    return x->diverged ? 0 : graft_err_nomem(err);
}

static int by_measured(const void *x, const void *y) {
    const graft_candidate *a = x, *b = y;
    if (!a->diverged != !b->diverged) return a->diverged ? 1 : -1;
    if (a->n_runs != b->n_runs) return a->n_runs > b->n_runs ? -1 : 1;
    if (a->n_runs && a->measured != b->measured) return a->measured > b->measured ? -1 : 1;
    return a->rank > b->rank ? -1 : a->rank < b->rank;
}

int graft_candidates_probe(graft_candidates *c, double seconds, graft_err *err) {
    double begun = graft_now();
    size_t n = pick(c);
    int rc = 0;
    for (size_t left = n, rounds = n > 2 ? 2 : 1; left > 0 && rounds > 0 && rc == 0; rounds--) {
        for (size_t i = 0; i < left && rc == 0 && !c->items[i].diverged; i++) {
            double rest = seconds - (graft_now() - begun);
            if (rest <= 0 && c->items[i].n_runs + (i == 0) > 0 && c->probed > 0) break;
            rc = run(c, &c->items[i], fmax(rest, 0.0) / (double)rounds / (double)(left - i), err);
            c->probed = graft_now() - begun;
        }
        qsort(c->items, n, sizeof *c->items, by_measured);
        left /= 2;
    }
    c->probed = graft_now() - begun;
    if (rc == 0 && n && c->items[0].diverged)
        return graft_err_set(err, GRAFT_EDIVERGED, "every plan that was tried diverged, '%s' with: %s",
                             c->items[0].model->plans[c->items[0].plan], c->items[0].diverged);
    qsort(c->items, c->n_items, sizeof *c->items, by_measured);
    return rc;
}
