/* graft_compare: plans x sizes x seeds, each run once, in one process over one bottleneck cache. The most
 * telling runs come first (every plan on all labels, one seed), so that a budget or an interrupt leaves a
 * comparison all the same. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct place {
    size_t plan, size, seed;
} place;

static size_t n_runs(const graft_comparison *c) {
    return c->n_seeds * c->n_sizes * c->n_plans;
}

/* The i-th run in order of worth: by seed, from the largest size down, plan after plan. */
static place place_of(const graft_comparison *c, size_t i) {
    size_t size = i / c->n_plans % c->n_sizes;
    return (place){i % c->n_plans, c->n_sizes - 1 - size, i / c->n_plans / c->n_sizes};
}

static graft_compare_run **slot(const graft_comparison *c, place at) {
    return &c->runs[(at.seed * c->n_sizes + at.size) * c->n_plans + at.plan];
}

static const char *size_name(const graft_comparison *c, size_t size, char out[40]) {
    if (c->sizes[size].per_class)
        snprintf(out, 40, "%lld labels a class", (long long)c->sizes[size].per_class);
    else
        snprintf(out, 40, "all labels");
    return out;
}

/* Seconds that a run will take, judged by the plan's runs so far: the longest of the same size, or of a
 * larger one. 0: nothing is known. */
static double expected_seconds(const graft_comparison *c, place at) {
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

static bool fits_budget(const graft_comparison *c, place at, bool is_first) {
    if (!(c->options.budget > 0) || is_first) return true;
    return graft_now() - c->begun + expected_seconds(c, at) < c->options.budget;
}

/* "; at most 12 min left", once every plan has a run to judge by. */
static const char *left_text(const graft_comparison *c, char out[48]) {
    double seconds = 0.0;
    out[0] = '\0';
    for (size_t i = 0; i < n_runs(c); i++) {
        place at = place_of(c, i);
        bool is_settled = *slot(c, at) || graft_comparison_lost(c, at.plan, at.size);
        double expected = is_settled ? 0.0 : expected_seconds(c, at);
        if (!is_settled && expected == 0.0) return out;
        seconds += expected;
    }
    if (seconds >= 60.0) snprintf(out, 48, "; at most %.0f min left", ceil(seconds / 60.0));
    return out;
}

static int tell_diverged(const graft_comparison *c, place at, const graft_compare_run *r, size_t number,
                         const char *what) {
    bool lost = graft_comparison_lost(c, at.plan, at.size) != NULL, largest = at.size + 1 == c->n_sizes;
    graft_env_log(c->env, GRAFT_LOG_WARNING, "%zu of %zu: %s: diverged: %s: %s", number, n_runs(c), what,
                  r->diverged,
                  !lost     ? "the best epoch before counts"
                  : largest ? "the plan is left out"
                            : "the plan is left out at this size");
    return 0;
}

static int run_one(graft_comparison *c, place at, size_t number, graft_err *err) {
    char what[96], size[40], left[48];
    graft_compare_run *r = NULL;
    snprintf(what, sizeof what, "%.40s, %s, seed %llu", c->plans[at.plan].name, size_name(c, at.size, size),
             (unsigned long long)(c->options.fit.seed + at.seed));
    graft_voice_set(c->voice, what, at.size + 1 == c->n_sizes);
    int rc = graft_comparison_train(&r, c, at.plan, at.size, at.seed, err);
    if (rc == 0) rc = graft_comparison_note(&r, c, at.plan, at.size, at.seed, err);
    if (rc < 0) return rc;
    graft_comparison_put(c, r, at.plan, at.size, at.seed);
    if (r->diverged) return tell_diverged(c, at, r, number, what);
    graft_env_log(c->env, GRAFT_LOG_INFO, "%zu of %zu: %s: %s %.4f, %.1f s%s", number, n_runs(c), what,
                  graft_score_name(graft_data_task(c->facts.data)), r->score, r->seconds, left_text(c, left));
    return 0;
}

/* Runs that came to nothing. */
static size_t n_lost(const graft_comparison *c) {
    size_t n = 0;
    for (size_t i = 0; i < n_runs(c); i++) {
        const graft_compare_run *r = *slot(c, place_of(c, i));
        n += r && r->diverged && !isfinite(r->score);
    }
    return n;
}

/* There is nothing to compare where no plan is left. */
static int check_left(const graft_comparison *c, graft_err *err) {
    for (size_t p = 0; p < c->n_plans; p++)
        if (!graft_comparison_lost(c, p, c->n_sizes - 1)) return 0;
    return graft_err_set(err, GRAFT_EDIVERGED, "%s diverged, '%s' with: %s",
                         c->n_plans == 1 ? "the plan" : "every plan", c->plans[0].name,
                         graft_comparison_lost(c, 0, c->n_sizes - 1));
}

static int run_all(graft_comparison *c, graft_err *err) {
    size_t n_left = 0, n_made = 0, n_had = 0;
    for (size_t i = 0; i < n_runs(c); i++) n_had += *slot(c, place_of(c, i)) != NULL;
    graft_env_log(c->env, GRAFT_LOG_INFO, "%zu runs: %zu plans, %zu sizes, %zu seeds", n_runs(c), c->n_plans,
                  c->n_sizes, c->n_seeds);
    for (size_t i = 0; i < n_runs(c); i++) {
        place at = place_of(c, i);
        if (*slot(c, at) || graft_comparison_lost(c, at.plan, at.size)) continue;
        if (!fits_budget(c, at, n_made + n_had == n_lost(c))) {
            n_left++;
            continue;
        }
        int rc = run_one(c, at, n_had + n_made + 1, err);
        if (rc < 0) return rc;
        n_made++;
    }
    c->finished = n_left == 0;
    if (n_left)
        graft_env_log(
            c->env, GRAFT_LOG_WARNING,
            "%zu of %zu runs were left out to stay within %.0f seconds; the same command without --budget "
            "makes them",
            n_left, n_runs(c), c->options.budget);
    return check_left(c, err);
}

/* A file of word vectors becomes a model once, OUT/model, which every run then shares. */
static int use_vectors(graft_comparison *c, graft_err *err) {
    graft_fit_options *o = &c->options.fit;
    char *text = NULL;
    if (graft_path_is_dir(c->model) || (!o->encoder && !graft_vectors_recognise(c->model))) return 0;
    if (!c->out)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "word vectors need a folder to work in: give one with -o OUT");
    char *folder = graft_path_join(c->arena, c->out, "model");
    int rc = folder ? graft_dir_make(c->out, err) : graft_err_nomem(err);
    if (rc == 0)
        rc = graft_words_model(&text, c->env, c->model, folder, o->encoder, c->data, &o->data, 0, err);
    graft_text_free(text);
    c->model = folder;
    o->encoder = NULL;
    return rc;
}

static int write_result(const graft_comparison *c, char **result, graft_err *err) {
    json_t *o = NULL;
    char *path = c->out ? graft_path_join(c->arena, c->out, "compare.json") : NULL;
    int rc = path || !c->out ? graft_comparison_json(&o, c, err) : graft_err_nomem(err);
    if (rc == 0 && path) rc = graft_json_write(path, o, err);
    if (rc == 0 && result) rc = graft_print_json(result, json_incref(o), err);
    json_decref(o);
    return rc;
}

int graft_compare(char **result, graft_env *env, const char *model, const char *data, const char *out,
                  const graft_compare_options *options, graft_err *err) {
    static const graft_compare_options none = GRAFT_COMPARE_OPTIONS_INIT;
    graft_comparison c = {.env = env,
                          .model = model,
                          .data = data,
                          .out = out,
                          .options = options ? *options : none,
                          .arena = graft_arena_new(NULL),
                          .lock = -1,
                          .begun = graft_now()};
    if (c.options.fit.data.test == 0) c.options.fit.data.test = 0.2;
    c.options.fit.data.per_class = 0;
    if (result) *result = NULL;
    if (!c.arena) return graft_err_nomem(err);
    c.facts.lock = -1;
    int rc = graft_voice_new(&c.voice, env, err);
    if (rc == 0) rc = use_vectors(&c, err);
    if (rc == 0) rc = graft_comparison_plan(&c, err);
    if (rc == 0) rc = graft_comparison_open_log(&c, err);
    if (rc == 0) rc = run_all(&c, err);
    if (rc == 0) rc = write_result(&c, result, err);
    graft_runlog_close(c.log);
    graft_dir_unlock(c.lock);
    graft_job_close(&c.facts);
    graft_voice_free(c.voice);
    graft_arena_free(c.arena);
    return rc;
}
