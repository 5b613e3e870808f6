/* graft blend: the shares of several models are given, or chosen on the validation part of data; the average
 * becomes a folder. Of two models, a line from the first to the second (WiSE-FT); of more, a soup, whose
 * greedy form takes them from the best on and keeps each that does no harm (Wortsman et al. 2022, both). */
#include "transfer/blend.h"
#include "transfer/use.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ALPHAS = 101, DEFAULT_ALPHAS = 11, BATCH = 32 };

typedef struct blending {
    graft_env *env;
    const graft_blend_options *options;
    graft_arena *arena;
    graft_blend blend;
    graft_data *data; /* NULL: none was given */
    double alphas[MOST_ALPHAS];
    size_t n_alphas;
    double *shares; /* [n] of the folder that is written */
    json_t *tried;
    graft_decision decision;
    graft_measures validation, test;
} blending;

/* ---- What was asked for ---- */

static int read_alphas(blending *b, graft_err *err) {
    const char *text = b->options->alpha;
    bool sweeps = !text && b->data;
    for (size_t i = 0; i < DEFAULT_ALPHAS && sweeps; i++)
        b->alphas[b->n_alphas++] = (double)i / (DEFAULT_ALPHAS - 1);
    if (!text && !sweeps) b->alphas[b->n_alphas++] = 0.5;
    while (text) {
        char *end = NULL;
        double a = strtod(text, &end);
        if (end == text || (*end && *end != ',') || !(a >= 0.0 && a <= 1.0))
            return graft_err_set(err, GRAFT_EUSAGE,
                                 "--alpha takes numbers from 0 to 1 with commas between, not '%s'",
                                 b->options->alpha);
        if (b->n_alphas == MOST_ALPHAS)
            return graft_err_set(err, GRAFT_EUSAGE, "--alpha takes %d numbers at most", MOST_ALPHAS);
        b->alphas[b->n_alphas++] = a;
        text = *end ? end + 1 : NULL;
    }
    if (b->n_alphas > 1 && !b->data)
        return graft_err_set(err, GRAFT_EUSAGE, "several --alpha need --data DATA to choose among them");
    return 0;
}

static int check_options(const blending *b, size_t n, graft_err *err) {
    const graft_blend_options *o = b->options;
    const char *soup = o->soup;
    if (n < 2) return graft_err_set(err, GRAFT_EUSAGE, "at least two folders are blended");
    if (soup && strcmp(soup, "uniform") != 0 && strcmp(soup, "greedy") != 0)
        return graft_err_set(err, GRAFT_EUSAGE, "unknown --soup '%s', one of: uniform, greedy", soup);
    if (soup && strcmp(soup, "greedy") == 0 && !o->data_path)
        return graft_err_set(err, GRAFT_EUSAGE, "--soup greedy needs --data DATA to judge by");
    if (o->alpha && (soup || n > 2))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--alpha is for two folders, without --soup: more are averaged "
                             "evenly, or greedily with --soup greedy --data DATA");
    return 0;
}

static int open_data(blending *b, graft_err *err) {
    const graft_model *m = b->blend.target;
    graft_data_choice choice = b->options->data;
    int64_t n_val = 0;
    size_t n = 0;
    if (!b->options->data_path) return 0;
    const char *const *labels = graft_model_labels(m, &n);
    bool number = graft_model_task(m) == GRAFT_TASK_REGRESSION;
    choice.task = graft_task_name(graft_model_task(m));
    int rc = graft_data_open_choice(&b->data, b->env, b->options->data_path, &choice, graft_model_modality(m),
                                    GRAFT_LABELS_NEEDED, number ? NULL : labels, number ? 0 : n,
                                    b->options->seed, err);
    if (rc == 0) rc = graft_data_cut(b->data, m, err);
    if (rc == 0) rc = graft_data_check(b->data, err); /* only then are the parts made */
    if (rc < 0) return rc;
    graft_data_members(b->data, GRAFT_VAL, &n_val);
    if (n_val > 0) return 0;
    return graft_err_set(err, GRAFT_EDATA, "%s has no validation part to choose by; leave --validation 0 out",
                         b->options->data_path);
}

/* ---- Judging ---- */

/* The target's answers to a part. */
static int answer(graft_answers *out, blending *b, graft_part part, graft_arena *arena, graft_err *err) {
    static const graft_use_options uncached = {.no_cache = true};
    const graft_model *m = b->blend.target;
    graft_row_batches_options o = {.part = part, .batch = BATCH, .order = GRAFT_IN_ORDER};
    graft_batches batches = {0};
    graft_state *state = NULL;
    graft_use_rows rows;
    int64_t n = 0;
    size_t n_labels = 0;
    const int64_t *members = graft_data_members(b->data, part, &n);
    int rc = graft_use_rows_open(&rows, b->env, m, b->data, members, n, &uncached, err);
    if (rc == 0)
        rc = graft_row_batches_open(&batches, rows.features, b->data, &rows.transform, rows.prefix, &o, err);
    if (rc == 0) rc = graft_state_new(&state, b->env, err);
    if (rc == 0)
        rc = graft_evaluate(out, arena, b->env, rows.suffix, state, &batches, graft_model_task(m),
                            graft_model_labels(m, &n_labels), GRAFT_PRECISION_FP32, err);
    graft_batches_close(&batches);
    graft_state_free(state);
    graft_use_rows_close(&rows);
    return rc;
}

static json_t *shares_json(const double *shares, size_t n) {
    json_t *a = json_array();
    for (size_t i = 0; i < n && a; i++) json_array_append_new(a, json_real(shares[i]));
    return a;
}

/* Sets these shares and scores them on the validation part. */
static int try(blending *b, const double *shares, graft_score *out, graft_err *err) {
    graft_answers a;
    const graft_model *m = b->blend.target;
    size_t n = 0;
    graft_arena *arena = graft_arena_new(NULL);
    int rc = arena ? graft_blend_set(&b->blend, shares, err) : graft_err_nomem(err);
    if (rc == 0) rc = answer(&a, b, GRAFT_VAL, arena, err);
    if (rc == 0) rc = graft_answers_score(out, &a, graft_model_task(m), graft_model_labels(m, &n), err);
    graft_arena_free(arena);
    if (rc < 0) return rc;
    json_t *o = json_pack("{s:o,s:f,s:f}", "shares", shares_json(shares, b->blend.n),
                          graft_score_name(graft_model_task(m)), out->score, "loss", out->loss);
    return json_array_append_new(b->tried, o) == 0 ? 0 : graft_err_nomem(err);
}

static bool is_better(const graft_score *a, const graft_score *b) {
    return a->score > b->score || (!(a->score < b->score) && a->loss < b->loss);
}

/* ---- Choosing ---- */

static int choose_alpha(blending *b, graft_err *err) {
    graft_score best = {0};
    for (size_t i = 0; i < b->n_alphas; i++) {
        const double shares[2] = {1.0 - b->alphas[i], b->alphas[i]};
        graft_score s = {0};
        int rc = b->data ? try(b, shares, &s, err) : 0;
        if (rc < 0) return rc;
        if (i > 0 && !is_better(&s, &best)) continue;
        best = s;
        memcpy(b->shares, shares, sizeof shares);
    }
    return 0;
}

static void even_shares(double *shares, const bool *taken, size_t n) {
    size_t n_taken = 0;
    for (size_t i = 0; i < n; i++) n_taken += taken[i];
    for (size_t i = 0; i < n; i++) shares[i] = taken[i] ? 1.0 / (double)n_taken : 0.0;
}

/* From the best alone on, each that does not lower the score is taken. */
static int choose_greedily(blending *b, graft_err *err) {
    size_t n = b->blend.n;
    bool *taken = graft_arena_array(b->arena, n, sizeof *taken),
         *seen = graft_arena_array(b->arena, n, sizeof *seen);
    graft_score *alone = graft_arena_array(b->arena, n, sizeof *alone), best = {0};
    if (!taken || !seen || !alone) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) taken[k] = k == i;
        even_shares(b->shares, taken, n);
        int rc = try(b, b->shares, &alone[i], err);
        if (rc < 0) return rc;
    }
    memset(taken, 0, n * sizeof *taken);
    for (size_t round = 0; round < n; round++) {
        size_t next = n;
        for (size_t i = 0; i < n; i++)
            if (!seen[i] && (next == n || is_better(&alone[i], &alone[next]))) next = i;
        seen[next] = taken[next] = true;
        if (round == 0) {
            best = alone[next];
            continue;
        }
        graft_score s = {0};
        even_shares(b->shares, taken, n);
        int rc = try(b, b->shares, &s, err);
        if (rc < 0) return rc;
        taken[next] = s.score >= best.score;
        if (taken[next]) best = s;
    }
    even_shares(b->shares, taken, n);
    return 0;
}

static int choose(blending *b, graft_err *err) {
    const char *soup = b->options->soup;
    size_t n = b->blend.n;
    if (n == 2 && !soup) {
        int rc = read_alphas(b, err);
        return rc < 0 ? rc : choose_alpha(b, err);
    }
    if (b->data && (!soup || strcmp(soup, "greedy") == 0)) return choose_greedily(b, err);
    for (size_t i = 0; i < n; i++) b->shares[i] = 1.0 / (double)n;
    return 0;
}

/* ---- The folder ---- */

static int measure(blending *b, graft_part part, graft_measures *out, graft_err *err) {
    static const graft_fit_options usual = GRAFT_FIT_OPTIONS_INIT;
    const graft_model *m = b->blend.target;
    graft_task task = graft_model_task(m);
    graft_answers told;
    int64_t n = 0;
    size_t n_labels = 0;
    const char *const *labels = graft_model_labels(m, &n_labels);
    graft_data_members(b->data, part, &n);
    if (n == 0) return 0;
    int rc = answer(&out->answers, b, part, b->arena, err);
    if (rc == 0 && part == GRAFT_VAL)
        rc = graft_decision_make(&b->decision, b->arena, &usual, m, &out->answers, task, err);
    if (rc == 0) rc = graft_decision_apply(&told, b->arena, &b->decision, &out->answers, err);
    if (rc == 0) rc = graft_answers_score(&out->score, &told, task, labels, err);
    if (rc == 0) rc = graft_answers_json(&out->all, &told, task, labels, err);
    out->n = out->answers.n;
    return rc;
}

/* What is told of the blend, in graft.json and as the result. */
static json_t *describe(const blending *b, const char *const *folders) {
    size_t n = 0, n_labels = 0, with_head = 0;
    const graft_model *m = b->blend.target;
    json_t *paths = json_array();
    for (n = 0; n < b->blend.n; n++) {
        if (paths) json_array_append_new(paths, graft_json_string(folders[n]));
        with_head += b->blend.has_head[n];
    }
    json_t *o = json_pack("{s:o,s:o,s:s,s:O}", "folders", paths, "shares", shares_json(b->shares, n), "head",
                          with_head == n  ? "averaged"
                          : with_head > 1 ? "averaged where alike"
                                          : "of the last",
                          "tried", b->tried);
    const char *const *labels = graft_model_labels(m, &n_labels);
    if (!o || graft_decision_record(&b->decision, o, labels, n_labels) == 0) return o;
    json_decref(o);
    return NULL;
}

static int add_measures(json_t *o, const blending *b) {
    int bad = json_object_set_new(o, "validation",
                                  b->validation.all ? json_incref(b->validation.all) : json_null());
    return bad ? bad : json_object_set_new(o, "test", b->test.all ? json_incref(b->test.all) : json_null());
}

/* For the card: what was averaged. */
static const char *notes_of(const blending *b, const char *const *folders) {
    const char *text = "The average of models of one architecture (Wortsman et al. 2022):";
    for (size_t i = 0; i < b->blend.n && text; i++)
        text = graft_arena_printf(b->arena, "%s%s %.3g of `%s`", text, i ? "," : "", b->shares[i],
                                  graft_path_name(folders[i]));
    return text;
}

static int save(blending *b, const char *const *folders, const char *out, double *difference,
                graft_err *err) {
    const graft_measures *judged = b->test.n ? &b->test : &b->validation;
    const char *score = graft_score_name(graft_model_task(b->blend.target));
    graft_feed probe = {0};
    json_t *record = describe(b, folders);
    json_t *metrics = judged->n ? json_pack("{s:f}", score, judged->score.score) : NULL;
    graft_save_info info = {.base_model = graft_path_name(folders[0]),
                            .dataset = b->data ? graft_path_name(b->options->data_path) : NULL,
                            .notes = notes_of(b, folders),
                            .metrics = metrics,
                            .record = record,
                            .probe = &probe};
    int rc = record && info.notes && add_measures(record, b) == 0 ? 0 : graft_err_nomem(err);
    if (rc == 0)
        rc = b->data
                 ? graft_probes_make(&probe, b->arena, b->blend.target, b->data, err)
                 : graft_model_probes(&probe, NULL, b->blend.target, b->arena, folders[b->blend.n - 1], err);
    if (rc == 0) rc = graft_model_save(b->blend.target, b->env, out, &info, err);
    if (rc == 0) rc = graft_folder_replay(difference, b->env, out, err);
    json_decref(record);
    json_decref(metrics);
    return rc;
}

static int report(char **result, const blending *b, const char *const *folders, const char *out,
                  double difference, graft_err *err) {
    const graft_measures *judged = b->test.n ? &b->test : &b->validation;
    const char *score = graft_score_name(graft_model_task(b->blend.target));
    json_t *o = describe(b, folders);
    bool ok = o && add_measures(o, b) == 0 && json_object_set_new(o, "out", graft_json_string(out)) == 0 &&
              json_object_set_new(o, "verify_difference", json_real(difference)) == 0 &&
              json_object_set_new(o, "score", json_string(score)) == 0;
    if (ok && judged->n)
        ok = json_object_set_new(o, score, json_real(judged->score.score)) == 0 &&
             json_object_set_new(o, "n", json_integer((json_int_t)judged->n)) == 0;
    if (ok) return graft_print_json(result, o, err);
    json_decref(o);
    return graft_err_nomem(err);
}

static void tell_heads(const blending *b) {
    for (size_t i = 0; i < b->blend.n; i++)
        if (!b->blend.has_head[i])
            graft_env_log(b->env, GRAFT_LOG_INFO,
                          "%s has another head: only what lies below is averaged, the head is that of %s",
                          graft_model_path(b->blend.sources[i]), graft_model_path(b->blend.target));
}

static int run(blending *b, const char *const *folders, size_t n, const char *out, char **result,
               graft_err *err) {
    double difference = 0.0;
    int rc = check_options(b, n, err);
    if (rc == 0) rc = graft_blend_open(&b->blend, b->arena, b->env, folders, n, err);
    if (rc < 0) return rc;
    b->shares = graft_arena_array(b->arena, n, sizeof *b->shares);
    b->tried = json_array();
    if (!b->shares || !b->tried) return graft_err_nomem(err);
    tell_heads(b);
    if ((rc = open_data(b, err)) < 0 || (rc = choose(b, err)) < 0) return rc;
    if ((rc = graft_blend_set(&b->blend, b->shares, err)) < 0) return rc;
    if (b->data) rc = measure(b, GRAFT_VAL, &b->validation, err);
    if (b->data && rc == 0) rc = measure(b, GRAFT_TEST, &b->test, err);
    if (rc == 0) rc = save(b, folders, out, &difference, err);
    return rc < 0 || !result ? rc : report(result, b, folders, out, difference, err);
}

int graft_blend_models(char **result, graft_env *env, const char *const *folders, size_t n_folders,
                       const char *out, const graft_blend_options *options, graft_err *err) {
    static const graft_blend_options none = GRAFT_BLEND_OPTIONS_INIT;
    blending b = {.env = env, .options = options ? options : &none, .arena = graft_arena_new(NULL)};
    if (!b.arena) return graft_err_nomem(err);
    if (result) *result = NULL;
    int rc = run(&b, folders, n_folders, out, result, err);
    json_decref(b.tried);
    json_decref(b.validation.all);
    json_decref(b.test.all);
    graft_data_close(b.data);
    graft_blend_close(&b.blend);
    graft_arena_free(b.arena);
    return rc;
}
