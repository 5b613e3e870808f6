/* All runs of a comparison, several side by side: a small network gives two threads hardly more to do than
 * one, two of them keep both busy. Each has its share of the threads. The most telling runs come first (every
 * plan on all labels, one seed), so that a budget or an interrupt leaves a comparison all the same; among the
 * plans the longest, so that none is left to run alone at the end. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdio.h>

typedef struct team {
    graft_comparison *c;
    graft_voice **voices;        /* [jobs] one a thread */
    size_t *order;               /* [n_plans] the longest first */
    graft_compare_place *places; /* [n] what is left to run */
    size_t n, jobs;
    /* under c->guard: */
    size_t n_begun, n_had, n_done, n_left; /* n_left: for want of time */
    graft_err err;                         /* of the run that failed first; code 0: none */
} team;

static size_t n_runs(const graft_comparison *c) {
    return c->n_seeds * c->n_sizes * c->n_plans;
}

/* The i-th run in order of worth: by seed, from the largest size down, the longest plan first. */
static graft_compare_place place_of(const team *t, size_t i) {
    const graft_comparison *c = t->c;
    size_t size = i / c->n_plans % c->n_sizes;
    return (graft_compare_place){t->order[i % c->n_plans], c->n_sizes - 1 - size,
                                 i / c->n_plans / c->n_sizes};
}

static graft_compare_run **slot(const graft_comparison *c, graft_compare_place at) {
    return &c->runs[(at.seed * c->n_sizes + at.size) * c->n_plans + at.plan];
}

static bool is_settled(const graft_comparison *c, graft_compare_place at) {
    return *slot(c, at) || graft_comparison_lost(c, at.plan, at.size);
}

static const char *size_name(const graft_comparison *c, size_t size, char out[40]) {
    if (c->sizes[size].per_class)
        snprintf(out, 40, "%lld labels a class", (long long)c->sizes[size].per_class);
    else
        snprintf(out, 40, "all labels");
    return out;
}

/* ---- Time ------------------------------------------------------------------------------------------------- */

/* Seconds that a run will take, judged by the plan's runs so far: the longest of the same size, or of a
 * larger one. 0: nothing is known. */
static double expected_seconds(const graft_comparison *c, graft_compare_place at) {
    for (size_t size = at.size; size < c->n_sizes; size++) {
        double longest = 0.0;
        for (size_t seed = 0; seed < c->n_seeds; seed++) {
            const graft_compare_run *r = graft_comparison_run(c, at.plan, size, seed);
            if (r) longest = fmax(longest, r->seconds);
        }
        if (longest > 0.0) return longest;
    }
    return 0.0;
}

static bool fits_budget(const graft_comparison *c, graft_compare_place at, bool is_first) {
    if (!(c->options.budget > 0) || is_first) return true;
    return graft_now() - c->begun + expected_seconds(c, at) < c->options.budget;
}

/* "; at most 12 min left", once every plan has a run to judge by. */
static const char *left_text(const team *t, char out[48]) {
    const graft_comparison *c = t->c;
    double seconds = 0.0, longest = 0.0;
    out[0] = '\0';
    for (size_t i = 0; i < t->n; i++) {
        double expected = is_settled(c, t->places[i]) ? 0.0 : expected_seconds(c, t->places[i]);
        if (!is_settled(c, t->places[i]) && expected == 0.0) return out;
        seconds += expected;
        longest = fmax(longest, expected);
    }
    seconds = seconds / (double)t->jobs + (t->jobs > 1 ? longest : 0.0);
    if (seconds >= 60.0) snprintf(out, 48, "; at most %.0f min left", ceil(seconds / 60.0));
    return out;
}

/* ---- One run ---------------------------------------------------------------------------------------------- */

static void tell_run(const team *t, graft_compare_place at, const graft_compare_run *r, const char *what) {
    const graft_comparison *c = t->c;
    bool lost = graft_comparison_lost(c, at.plan, at.size) != NULL, largest = at.size + 1 == c->n_sizes;
    char left[48];
    if (r->diverged)
        graft_env_log(c->env, GRAFT_LOG_WARNING, "%zu of %zu: %s: diverged: %s: %s", t->n_done, n_runs(c),
                      what, r->diverged,
                      !lost     ? "the best epoch before counts"
                      : largest ? "the plan is left out"
                                : "the plan is left out at this size");
    else
        graft_env_log(c->env, GRAFT_LOG_INFO, "%zu of %zu: %s: %s %.4f, %.1f s%s", t->n_done, n_runs(c), what,
                      graft_score_name(graft_data_task(c->facts.data)), r->score, r->seconds,
                      left_text(t, left));
}

/* Runs that came to nothing. */
static size_t n_lost(const graft_comparison *c) {
    size_t n = 0;
    for (size_t i = 0; i < n_runs(c); i++)
        n += c->runs[i] && c->runs[i]->diverged && !isfinite(c->runs[i]->score);
    return n;
}

/* Is the run still wanted? The guard is held. */
static bool begin(team *t, graft_compare_place at) {
    const graft_comparison *c = t->c;
    if (t->err.code || is_settled(c, at)) return false;
    if (!fits_budget(c, at, t->n_begun + t->n_had == n_lost(c))) {
        t->n_left++;
        return false;
    }
    t->n_begun++;
    return true;
}

/* Into the log and the comparison. The guard is held. */
static int keep(team *t, graft_compare_place at, graft_compare_run *r, const char *what, graft_err *err) {
    graft_comparison *c = t->c;
    int rc = graft_comparison_note(&r, c, at.plan, at.size, at.seed, err);
    if (rc < 0) return rc;
    graft_comparison_put(c, r, at.plan, at.size, at.seed);
    t->n_done++;
    tell_run(t, at, r, what);
    return 0;
}

/* The first that fails ends all; what the others say of being ended is nothing new. The guard is held. */
static void fail(team *t, const graft_err *err) {
    if (t->err.code) return;
    t->err = *err;
    graft_voices_stop(t->c->voices);
}

static int run_one(void *user, size_t i, int thread) {
    team *t = user;
    graft_comparison *c = t->c;
    graft_voice *voice = t->voices[thread];
    graft_compare_place at = t->places[i];
    char what[96], size[40];
    graft_compare_run *r = NULL;
    graft_err err = {0};
    pthread_mutex_lock(&c->guard);
    bool wanted = begin(t, at);
    pthread_mutex_unlock(&c->guard);
    if (!wanted) return 0;
    snprintf(what, sizeof what, "%.40s, %s, seed %llu", c->plans[at.plan].name, size_name(c, at.size, size),
             (unsigned long long)(c->options.fit.seed + at.seed));
    graft_voice_begin(voice, what, at.size + 1 == c->n_sizes);
    int rc = graft_comparison_train(&r, c, graft_voice_env(voice), at.plan, at.size, at.seed, &err);
    graft_voice_end(voice);
    pthread_mutex_lock(&c->guard);
    if (rc == 0) rc = keep(t, at, r, what, &err);
    if (rc < 0) fail(t, &err);
    pthread_mutex_unlock(&c->guard);
    return rc;
}

/* ---- All of them ------------------------------------------------------------------------------------------ */

static int make_voices(team *t, graft_err *err) {
    graft_comparison *c = t->c;
    int threads = graft_env_threads(c->env), each = threads / (int)t->jobs;
    t->voices = graft_arena_array(c->arena, t->jobs, sizeof *t->voices);
    if (!t->voices) return graft_err_nomem(err);
    for (size_t k = 0; k < t->jobs; k++) {
        int rc = graft_voice_new(&t->voices[k], c->voices, each > 1 ? each : 1, err);
        if (rc < 0) return rc;
    }
    if (t->jobs > 1 && t->n > 0)
        graft_env_log(c->env, GRAFT_LOG_INFO, "%zu runs side by side, %d thread%s each", t->jobs,
                      each > 1 ? each : 1, each > 1 ? "s" : "");
    return 0;
}

/* Which plans take the longest; of equals the first. */
static void order_plans(team *t) {
    const graft_compare_plan *plans = t->c->plans;
    for (size_t i = 0; i < t->c->n_plans; i++) {
        size_t at = i;
        for (; at > 0 && plans[t->order[at - 1]].work < plans[i].work; at--) t->order[at] = t->order[at - 1];
        t->order[at] = i;
    }
}

/* There is nothing to compare where no plan is left. */
static int check_left(const graft_comparison *c, graft_err *err) {
    for (size_t p = 0; p < c->n_plans; p++)
        if (!graft_comparison_lost(c, p, c->n_sizes - 1)) return 0;
    return graft_err_set(err, GRAFT_EDIVERGED, "%s diverged, '%s' with: %s",
                         c->n_plans == 1 ? "the plan" : "every plan", c->plans[0].name,
                         graft_comparison_lost(c, 0, c->n_sizes - 1));
}

int graft_comparison_run_all(graft_comparison *c, graft_err *err) {
    team t = {.c = c};
    t.order = graft_arena_array(c->arena, c->n_plans, sizeof *t.order);
    t.places = graft_arena_array(c->arena, n_runs(c), sizeof *t.places);
    if (!t.order || !t.places) return graft_err_nomem(err);
    order_plans(&t);
    for (size_t i = 0; i < n_runs(c); i++) t.places[i] = place_of(&t, i);
    /* of all runs, those that are there among them: a comparison that is taken up gives the others as many
     * threads, and with them the same bits */
    int rc = graft_comparison_jobs(&t.jobs, c, t.places, n_runs(c), err);
    for (size_t i = 0; i < n_runs(c); i++) {
        t.n_had += *slot(c, t.places[i]) != NULL;
        if (!is_settled(c, t.places[i])) t.places[t.n++] = t.places[i];
    }
    graft_env_log(c->env, GRAFT_LOG_INFO, "%zu runs: %zu plans, %zu sizes, %zu seeds", n_runs(c), c->n_plans,
                  c->n_sizes, c->n_seeds);
    t.n_done = t.n_had;
    if (rc == 0) rc = make_voices(&t, err);
    if (rc == 0) rc = graft_parallel_for((int)t.jobs, t.n, run_one, &t);
    if (t.err.code) return graft_err_set(err, t.err.code, "%s", t.err.message);
    if (rc < 0) return rc;
    c->finished = t.n_left == 0;
    if (t.n_left)
        graft_env_log(
            c->env, GRAFT_LOG_WARNING,
            "%zu of %zu runs were left out to stay within %.0f seconds; the same command without --budget "
            "makes them",
            t.n_left, n_runs(c), c->options.budget);
    return check_left(c, err);
}
