/* graft tune: settings drawn at random, the better third of them trained three times as long, and again
 * (successive halving: Karnin et al. 2013; Jamieson and Talwalkar 2016). What a trial costs falls with the
 * bottleneck cache, which all share. Every trial is a function of the seed and its number, so that a search
 * that was interrupted, or is given more trials, goes on with what its file holds. */
#include "transfer/fit.h"
#include "transfer/trial.h"
#include "transfer/tune/runs.h"
#include "transfer/tune/space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_RUNGS = 3, ETA = 3, DEFAULT_TRIALS = 18 };

typedef struct candidate {
    int64_t number;
    json_t *settings;
    graft_run_row row; /* of its last rung */
    bool failed;
} candidate;

typedef struct search {
    graft_env *env, *quiet;
    const char *model, *data;
    const graft_tune_options *options;
    graft_arena *arena;
    graft_space space;
    graft_runs *runs;
    char study[33];
    candidate *candidates; /* the best first */
    int64_t n_drawn, n;    /* all, and those that are still in */
    int64_t n_failed, n_reused, n_trained;
    double begun;
    bool over_budget;
} search;

/* Shares of the epochs at each rung: a ninth, a third, all. */
static double share_of(int rung) {
    return pow(ETA, rung - (N_RUNGS - 1));
}

/* ---- What is searched ---- */

/* Plans that this model has, and what matters most beside them: the rate, and for pictures their variety. */
static int default_space(search *s, const graft_model *m, graft_err *err) {
    size_t n = graft_model_n_stages(m);
    const char *plans = n < 3 ? "head|full" : n < 4 ? "head|top:1|full" : "head|top:1|top:2|full";
    const char *pictures = graft_model_modality(m) == GRAFT_PICTURES ? " augment=none|light" : "";
    const char *text =
        graft_arena_printf(s->arena, "train=%s lr-scale=0.2..5 label-smoothing=0|0.1%s", plans, pictures);
    return text ? graft_space_parse(&s->space, s->arena, text, err) : graft_err_nomem(err);
}

/* Of everything that all trials share: the weights, what the data hold, settings that are not searched, and
 * the space, since other values behind the same names are other trials. */
static int name_study(search *s, const graft_model *m, const graft_data *d, graft_err *err) {
    graft_hasher *h = graft_hasher_new(s->arena);
    graft_graph *graph = NULL;
    graft_hash weights;
    int rc = h ? graft_model_graph(&graph, s->arena, m, 0, 0, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_graph_hash(graph, &weights, err);
    if (rc < 0) return rc;
    graft_hasher_text(h, graft_version());
    graft_hasher_add(h, &weights, sizeof weights);
    /* of all contents in their order: the split is the trials' own */
    for (int64_t i = 0; i < graft_data_n_samples(d); i++) {
        const graft_sample *sample = graft_data_sample(d, i);
        graft_hasher_add(h, &sample->content, sizeof sample->content);
        graft_hasher_add(h, &sample->label, sizeof sample->label);
    }
    graft_trial_hash(h, &s->options->fit);
    graft_space_hash(&s->space, h);
    graft_hash_hex(graft_hasher_end(h), s->study);
    return 0;
}

static int prepare(search *s, graft_err *err) {
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    graft_model *m = NULL;
    graft_data *d = NULL;
    o.family = s->options->fit.family;
    int rc = graft_model_open(&m, s->env, s->model, &o, err);
    if (rc == 0)
        rc = s->options->search ? graft_space_parse(&s->space, s->arena, s->options->search, err)
                                : default_space(s, m, err);
    if (rc == 0)
        rc = graft_data_open_choice(&d, s->env, s->data, &s->options->fit.data, graft_model_modality(m),
                                    GRAFT_LABELS_NEEDED, NULL, 0, 0, err);
    if (rc == 0) rc = graft_data_hash(d, err);
    if (rc == 0) rc = name_study(s, m, d, err);
    graft_data_close(d);
    graft_model_close(m);
    return rc;
}

/* ---- One trial ---- */

static int keep(search *s, candidate *c, int rung, const graft_trial *t, const graft_err *why, double seconds,
                graft_err *err) {
    char *settings = json_dumps(c->settings, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (!settings) return graft_err_nomem(err);
    graft_run_row *row = &c->row;
    *row = (graft_run_row){.study = s->study,
                           .number = c->number,
                           .rung = rung,
                           .model = s->model,
                           .data = s->data,
                           .settings = graft_arena_strdup(s->arena, settings),
                           .state = why ? "failed" : "done",
                           .message = why ? graft_arena_strdup(s->arena, why->message) : NULL,
                           .seconds = seconds};
    free(settings);
    if (!why) {
        row->plan = graft_arena_strdup(s->arena, t->plan);
        row->score_name = graft_score_name(t->task);
        row->epochs = t->training.n_epochs;
        row->memory = (int64_t)t->peak_memory;
        row->score = t->validation_score.score;
        row->loss = t->validation_score.loss;
    }
    c->failed = why != NULL;
    bool ok = row->settings && (why ? row->message : row->plan);
    return ok ? graft_runs_put(s->runs, row, err) : graft_err_nomem(err);
}

/* Faults of the settings end a trial, not the search. */
static bool is_fault_of_trial(int rc) {
    return rc == GRAFT_EDATA || rc == GRAFT_EUSAGE || rc == GRAFT_EDIVERGED;
}

static int train(search *s, candidate *c, int rung, graft_err *err) {
    graft_fit_options o = s->options->fit;
    graft_trial t = {0};
    graft_err why = {0};
    double begun = graft_now();
    o.epochs_share = share_of(rung);
    /* its own: the answers and histories of all trials would fill the memory */
    graft_arena *arena = graft_arena_new(NULL);
    int rc = arena ? graft_space_apply(&o, c->settings, &why) : graft_err_nomem(&why);
    if (rc == 0) rc = graft_trial_run(&t, arena, s->quiet, s->model, s->data, &o, &why);
    if (rc < 0 && !is_fault_of_trial(rc)) {
        rc = graft_err_set(err, rc, "%s", why.message);
    } else if (rc == 0 && t.validation.n == 0) {
        rc = graft_err_set(err, GRAFT_EDATA, "%s: no validation part can be made, which a search needs",
                           s->data);
    } else {
        s->n_trained++;
        rc = keep(s, c, rung, &t, rc < 0 ? &why : NULL, graft_now() - begun, err);
    }
    graft_trial_done(&t);
    graft_arena_free(arena);
    return rc;
}

static void say(const search *s, const candidate *c, int rung) {
    char *settings = json_dumps(c->settings, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(3));
    if (c->failed)
        graft_env_log(s->env, GRAFT_LOG_INFO, "trial %lld, rung %d: failed (%s) %s", (long long)c->number,
                      rung + 1, c->row.message ? c->row.message : "", settings ? settings : "");
    else
        graft_env_log(s->env, GRAFT_LOG_INFO, "trial %lld, rung %d: %s %.4f after %lld epochs, %.1f s  %s %s",
                      (long long)c->number, rung + 1, c->row.score_name ? c->row.score_name : "score",
                      c->row.score, (long long)c->row.epochs, c->row.seconds, c->row.plan ? c->row.plan : "",
                      settings ? settings : "");
    free(settings);
}

static int run_candidate(search *s, candidate *c, int rung, graft_err *err) {
    int rc = graft_env_check(s->env, err);
    if (rc < 0) return rc;
    rc = graft_runs_get(&c->row, s->arena, s->runs, s->study, c->number, rung, err);
    if (rc < 0) return rc;
    if (rc == 1) {
        s->n_reused++;
        c->failed = strcmp(c->row.state ? c->row.state : "", "done") != 0;
        return 0;
    }
    rc = train(s, c, rung, err);
    if (rc == 0) say(s, c, rung);
    return rc;
}

/* ---- Rungs ---- */

/* A number that is none is the worst. */
static int by_score(const void *x, const void *y) {
    const candidate *a = x, *b = y;
    double scores[2] = {isnan(a->row.score) ? -INFINITY : a->row.score,
                        isnan(b->row.score) ? -INFINITY : b->row.score};
    double losses[2] = {isnan(a->row.loss) ? INFINITY : a->row.loss,
                        isnan(b->row.loss) ? INFINITY : b->row.loss};
    if (a->failed != b->failed) return a->failed ? 1 : -1;
    if (scores[0] != scores[1]) return scores[0] > scores[1] ? -1 : 1;
    if (losses[0] != losses[1]) return losses[0] < losses[1] ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool is_late(search *s) {
    double budget = s->options->seconds;
    s->over_budget = s->over_budget || (budget > 0 && graft_now() - s->begun > budget);
    return s->over_budget;
}

/* The first candidate always runs; past the budget the others are out. */
static int climb(search *s, int rung, graft_err *err) {
    int64_t n = 0;
    for (; n < s->n && (n == 0 || !is_late(s)); n++) {
        graft_progress p = {.phase = "search", .done = n, .total = s->n, .seconds = graft_now() - s->begun};
        graft_env_progress(s->env, &p);
        int rc = run_candidate(s, &s->candidates[n], rung, err);
        if (rc < 0) return rc;
        s->n_failed += s->candidates[n].failed;
    }
    qsort(s->candidates, (size_t)n, sizeof *s->candidates, by_score);
    int64_t better = (n + ETA - 1) / ETA;
    while (n > 0 && s->candidates[n - 1].failed) n--;
    if (n == 0)
        return graft_err_set(err, GRAFT_EDATA, "every trial failed, the first with: %s",
                             s->candidates[0].row.message ? s->candidates[0].row.message : "no message");
    s->n = rung + 1 < N_RUNGS && better < n ? better : n;
    return 0;
}

static int draw(search *s, graft_err *err) {
    s->n = s->n_drawn = s->options->trials > 0 ? s->options->trials : DEFAULT_TRIALS;
    s->candidates = graft_arena_array(s->arena, (size_t)s->n, sizeof *s->candidates);
    if (!s->candidates) return graft_err_nomem(err);
    for (int64_t i = 0; i < s->n; i++) {
        s->candidates[i].number = i;
        s->candidates[i].settings = graft_space_draw(&s->space, s->options->fit.seed, i);
        if (!s->candidates[i].settings) return graft_err_nomem(err);
    }
    return 0;
}

static int finish(search *s, const char *out, char **result, graft_err *err) {
    graft_fit_options o = s->options->fit;
    const candidate *best = &s->candidates[0];
    char *fitted = NULL;
    json_t *fit = NULL;
    int rc = graft_space_apply(&o, best->settings, err);
    graft_env_log(s->env, GRAFT_LOG_INFO, "the best of %lld trials is number %lld: trained anew into %s",
                  (long long)s->n_drawn, (long long)best->number, out);
    if (rc == 0) rc = graft_fit(&fitted, s->env, s->model, s->data, out, &o, err);
    if (rc == 0) rc = graft_json_parse(&fit, s->arena, fitted, strlen(fitted), "the result", err);
    graft_text_free(fitted);
    if (rc < 0 || !result) return rc;
    json_t *object =
        json_pack("{s:o,s:I,s:I,s:I,s:b,s:f,s:{s:I,s:O,s:s?,s:f,s:s?},s:O}", "out", graft_json_string(out),
                  "trained", (json_int_t)s->n_trained, "reused", (json_int_t)s->n_reused, "failed",
                  (json_int_t)s->n_failed, "budget_spent", s->over_budget, "seconds", graft_now() - s->begun,
                  "best", "number", (json_int_t)best->number, "settings", best->settings, "plan",
                  best->row.plan, "score", best->row.score, "score_name", best->row.score_name, "fit", fit);
    return graft_print_json(result, object, err);
}

int graft_tune(char **result, graft_env *env, const char *model, const char *data, const char *out,
               const graft_tune_options *options, graft_err *err) {
    static const graft_tune_options none = GRAFT_TUNE_OPTIONS_INIT;
    search s = {.env = env,
                .model = model,
                .data = data,
                .options = options ? options : &none,
                .arena = graft_arena_new(NULL),
                .begun = graft_now()};
    if (result) *result = NULL;
    if (!s.arena) return graft_err_nomem(err);
    const char *file = graft_path_join(s.arena, out, "runs.sqlite");
    int rc = file ? graft_env_new_silent(&s.quiet, env, err) : graft_err_nomem(err);
    if (rc == 0) rc = prepare(&s, err);
    if (rc == 0) rc = graft_dir_make(out, err);
    if (rc == 0) rc = graft_runs_open(&s.runs, file, false, err);
    if (rc == 0) rc = draw(&s, err);
    for (int rung = 0; rung < N_RUNGS && rc == 0; rung++) rc = climb(&s, rung, err);
    if (rc == 0) rc = finish(&s, out, result, err);
    for (int64_t i = 0; s.candidates && i < s.n_drawn; i++) json_decref(s.candidates[i].settings);
    graft_runs_close(s.runs);
    graft_env_free(s.quiet);
    graft_arena_free(s.arena);
    return rc;
}

int graft_runs_json(char **result, const char *path, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_runs *runs = NULL;
    json_t *list = NULL;
    *result = NULL;
    if (!arena) return graft_err_nomem(err);
    const char *file = graft_path_is_dir(path) ? graft_path_join(arena, path, "runs.sqlite") : path;
    int rc = file ? graft_runs_open(&runs, file, true, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_runs_list(&list, runs, err);
    if (rc == 0)
        rc = graft_print_json(
            result, json_pack("{s:I,s:o}", "n", (json_int_t)json_array_size(list), "runs", list), err);
    graft_runs_close(runs);
    graft_arena_free(arena);
    return rc;
}
