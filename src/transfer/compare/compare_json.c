/* compare.json: everything that was found, for the program, the report and whoever draws it anew. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CURVE_POINTS = 24 };

json_t *graft_json_number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval_json(graft_interval i) {
    return json_pack("{s:o,s:o,s:o,s:o,s:I}", "mean", graft_json_number(i.mean), "low",
                     graft_json_number(i.low), "high", graft_json_number(i.high), "sd",
                     graft_json_number(i.sd), "n", (json_int_t)i.n);
}

static json_t *text_or_null(const char *text) {
    return text ? graft_json_string(text) : json_null();
}

static json_t *of(const graft_comparison *c, size_t plan, size_t size, graft_compare_number number) {
    return interval_json(graft_comparison_interval(c, plan, size, number));
}

/* ---- Of a plan ---- */

static json_t *plan_sizes_json(const graft_comparison *c, size_t plan) {
    json_t *list = json_array();
    for (size_t s = 0; s < c->n_sizes; s++) {
        graft_interval labels = graft_comparison_interval(c, plan, s, GRAFT_COMPARE_LABELS);
        json_array_append_new(
            list, json_pack("{s:I,s:o,s:o,s:o,s:o,s:o}", "per_class", (json_int_t)c->sizes[s].per_class,
                            "labels", graft_json_number(labels.mean * (double)c->n_classes), "score",
                            of(c, plan, s, GRAFT_COMPARE_SCORE), "gap", of(c, plan, s, GRAFT_COMPARE_GAP),
                            "seconds", of(c, plan, s, GRAFT_COMPARE_SECONDS), "diverged",
                            text_or_null(graft_comparison_lost(c, plan, s))));
    }
    return list;
}

/* The fitted curve from the smallest size to twice the largest, at least 50 labels past it. */
static int curve_json(json_t **out, const graft_comparison *c, const graft_compare_evidence *e, size_t plan,
                      graft_err *err) {
    *out = json_null();
    if (!e->has_curve) return 0;
    double first = INFINITY, last = 0.0, span = graft_comparison_span(c);
    for (size_t s = 0; s < c->n_sizes; s++) {
        graft_interval n = graft_comparison_interval(c, plan, s, GRAFT_COMPARE_LABELS);
        first = n.n ? fmin(first, n.mean) : first;
        last = n.n ? fmax(last, n.mean) : last;
    }
    last = fmax(2.0 * last, last + e->more);
    json_t *points = json_array();
    for (int i = 0; i < CURVE_POINTS; i++) {
        double n = first * pow(last / first, (double)i / (CURVE_POINTS - 1)), low, high;
        int rc = graft_curve_band(&low, &high, &e->curve, n, 0.95, err);
        if (rc < 0) {
            json_decref(points);
            return rc;
        }
        json_array_append_new(points, json_pack("{s:f,s:f,s:f,s:f}", "per_class", n, "score",
                                                1.0 - span * graft_curve_at(&e->curve, n), "low",
                                                1.0 - span * high, "high", 1.0 - span * low));
    }
    *out = json_pack("{s:f,s:o,s:f,s:o}", "a", span * e->curve.a, "b", graft_json_number(span * e->curve.b),
                     "c", e->curve.c, "points", points);
    return 0;
}

/* One epoch of the largest size, over the seeds that came so far. */
static json_t *epoch_json(const graft_comparison *c, size_t plan, int64_t epoch) {
    double seconds[GRAFT_COMPARE_MOST_SEEDS], train[GRAFT_COMPARE_MOST_SEEDS],
        score[GRAFT_COMPARE_MOST_SEEDS];
    int64_t n = 0, n_scores = 0;
    for (size_t seed = 0; seed < c->n_seeds; seed++) {
        const graft_compare_run *r = graft_comparison_run(c, plan, c->n_sizes - 1, seed);
        if (!r || r->n_epochs <= epoch) continue;
        const graft_epoch *e = &r->history[epoch];
        seconds[n] = e->seconds;
        train[n++] = e->train_accuracy;
        if (e->evaluated) score[n_scores++] = e->score;
    }
    if (n == 0) return NULL;
    graft_interval s = graft_interval_of(score, n_scores, 0.95);
    return json_pack("{s:I,s:f,s:f,s:o,s:o,s:o,s:I}", "epoch", (json_int_t)epoch + 1, "seconds",
                     graft_interval_of(seconds, n, 0.95).mean, "train",
                     graft_interval_of(train, n, 0.95).mean, "validation", graft_json_number(s.mean), "low",
                     graft_json_number(s.low), "high", graft_json_number(s.high), "n", (json_int_t)n);
}

static json_t *epochs_json(const graft_comparison *c, size_t plan) {
    json_t *list = json_array(), *row;
    for (int64_t i = 0; (row = epoch_json(c, plan, i)); i++) json_array_append_new(list, row);
    return list;
}

/* How far the score may be off by the luck of the samples that judge, where it is a share of them: the exact
 * interval of one run, Wilson's of a mean over runs, which is no whole number of samples. */
static json_t *sampling_json(const graft_comparison *c, const graft_compare_evidence *e, size_t plan) {
    int64_t n = 0;
    double low, high;
    for (size_t seed = 0; seed < c->n_seeds; seed++) {
        const graft_compare_run *r = graft_comparison_run(c, plan, c->n_sizes - 1, seed);
        if (r) n = r->n;
    }
    if (graft_data_task(c->facts.data) != GRAFT_TASK_CLASSES || n == 0 || e->score.n == 0) return json_null();
    if (e->score.n == 1)
        graft_share_exact(&low, &high, llround(e->score.mean * (double)n), n, 0.95);
    else
        graft_share_wilson(&low, &high, e->score.mean * (double)n, n, 0.95);
    return json_pack("{s:f,s:f}", "low", low, "high", high);
}

static json_t *against_best_json(const graft_compare_evidence *e) {
    if (e->best.difference.n == 0) return json_null();
    return json_pack("{s:o,s:I,s:I,s:o,s:o,s:b}", "difference", interval_json(e->best.difference), "better",
                     (json_int_t)e->best.better, "worse", (json_int_t)e->best.worse, "p",
                     graft_json_number(e->best.p), "p_holm", graft_json_number(e->p_holm), "differs",
                     e->differs);
}

static json_t *needed_json(const graft_compare_evidence *e, double reach) {
    if (isnan(e->needed)) return json_null();
    return json_pack("{s:f,s:o,s:o,s:o,s:b}", "score", reach, "per_class", graft_json_number(e->needed),
                     "low", graft_json_number(e->needed_low), "high", graft_json_number(e->needed_high),
                     "extrapolated", e->extrapolated);
}

static json_t *more_json(const graft_compare_evidence *e) {
    if (!isfinite(e->gain)) return json_null();
    return json_pack("{s:f,s:f,s:f,s:f}", "per_class", e->more, "gain", e->gain, "low", e->gain_low, "high",
                     e->gain_high);
}

static int plan_json(json_t **out, const graft_comparison *c, const graft_compare_evidence *e, size_t plan,
                     double reach, graft_err *err) {
    json_t *curve = NULL;
    size_t largest = c->n_sizes - 1;
    int rc = curve_json(&curve, c, e, plan, err);
    if (rc < 0) return rc;
    *out = json_pack(
        "{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "plan",
        c->plans[plan].name, "about", c->plans[plan].about, "diverged",
        text_or_null(graft_comparison_lost(c, plan, largest)), "score", interval_json(e->score), "sampling",
        sampling_json(c, e, plan), "train", of(c, plan, largest, GRAFT_COMPARE_TRAIN), "validation",
        of(c, plan, largest, GRAFT_COMPARE_VALIDATION), "gap", of(c, plan, largest, GRAFT_COMPARE_GAP),
        "seconds", of(c, plan, largest, GRAFT_COMPARE_SECONDS), "seconds_to_best",
        graft_json_number(e->seconds_to_best), "memory", (json_int_t)graft_comparison_memory(c, plan),
        "trained", (json_int_t)c->plans[plan].n_trained, "against_best", against_best_json(e), "sizes",
        plan_sizes_json(c, plan), "curve", curve, "curve_problem", text_or_null(e->curve_problem), "more",
        more_json(e), "labels_needed", needed_json(e, reach), "epochs", epochs_json(c, plan));
    return *out ? 0 : graft_err_nomem(err);
}

/* ---- Of all ---- */

static json_t *history_json(const graft_compare_run *r) {
    json_t *list = json_array();
    for (int64_t i = 0; i < r->n_epochs; i++) {
        const graft_epoch *e = &r->history[i];
        json_array_append_new(list,
                              json_pack("{s:I,s:f,s:f,s:f,s:o,s:o}", "epoch", (json_int_t)i + 1, "seconds",
                                        e->seconds, "train_loss", e->train_loss, "train", e->train_accuracy,
                                        "loss", graft_json_number(e->evaluated ? e->loss : NAN), "validation",
                                        graft_json_number(e->evaluated ? e->score : NAN)));
    }
    return list;
}

static json_t *runs_json(const graft_comparison *c) {
    json_t *list = json_array();
    for (size_t seed = 0; seed < c->n_seeds; seed++)
        for (size_t size = 0; size < c->n_sizes; size++)
            for (size_t plan = 0; plan < c->n_plans; plan++) {
                const graft_compare_run *r = c->runs[(seed * c->n_sizes + size) * c->n_plans + plan];
                if (!r) continue;
                json_array_append_new(
                    list, json_pack("{s:s,s:I,s:I,s:I,s:o,s:o,s:o,s:f,s:I,s:I,s:I,s:o,s:o}", "plan",
                                    c->plans[plan].name, "seed", (json_int_t)(c->options.fit.seed + seed),
                                    "per_class", (json_int_t)c->sizes[size].per_class, "labels",
                                    (json_int_t)r->labels, "test", graft_json_number(r->score), "validation",
                                    graft_json_number(r->validation), "train", graft_json_number(r->train),
                                    "seconds", r->seconds, "epochs", (json_int_t)r->n_epochs, "best_epoch",
                                    (json_int_t)r->best_epoch, "memory", (json_int_t)r->memory, "history",
                                    history_json(r), "diverged", text_or_null(r->diverged)));
            }
    return list;
}

static json_t *sizes_json(const graft_comparison *c) {
    json_t *list = json_array();
    for (size_t s = 0; s < c->n_sizes; s++)
        json_array_append_new(
            list, json_pack("{s:I,s:o,s:I}", "per_class", (json_int_t)c->sizes[s].per_class, "labels",
                            graft_json_number(graft_comparison_labels(c, s) * (double)c->n_classes),
                            "short_classes", (json_int_t)c->sizes[s].n_short_classes));
    return list;
}

static json_t *seeds_json(const graft_comparison *c) {
    json_t *list = json_array();
    for (size_t s = 0; s < c->n_seeds; s++)
        json_array_append_new(list, json_integer((json_int_t)(c->options.fit.seed + s)));
    return list;
}

static json_t *classes_json(const graft_data *d) {
    json_t *list = json_array();
    for (int32_t k = 0; k < graft_data_n_classes(d); k++)
        json_array_append_new(list, graft_json_string(graft_data_class(d, k)));
    return list;
}

/* What would be run to have the advised plan: on all data, where a test part was made for the comparison. */
static json_t *command_json(const graft_comparison *c, const json_t *conclusion) {
    const graft_fit_options *fit = &c->options.fit;
    graft_data_choice choice = fit->data;
    const char *plan = json_string_value(json_object_get(conclusion, "plan"));
    bool scratch = plan && strcmp(plan, "scratch") == 0;
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_buf_text(&b, "graft fit ");
    graft_buf_shell(&b, c->model);
    graft_buf_text(&b, " ");
    graft_buf_shell(&b, c->data);
    graft_buf_text(&b, " -o OUT --train ");
    graft_buf_shell(&b, scratch || !plan ? "full" : plan);
    if (scratch) graft_buf_text(&b, " --from-scratch");
    choice.test = 0.0;
    choice.per_class = 0;
    graft_command_reading(&b, fit);
    graft_command_data(&b, &choice);
    if (fit->epochs > 0) graft_buf_printf(&b, " --epochs %lld", (long long)fit->epochs);
    if (fit->batch > 0) graft_buf_printf(&b, " --batch %lld", (long long)fit->batch);
    if (fit->augment) graft_buf_text(&b, " --augment ");
    if (fit->augment) graft_buf_shell(&b, fit->augment);
    if (fit->early_stop)
        graft_buf_printf(&b, " --early-stop %lld", fit->early_stop > 0 ? (long long)fit->early_stop : 0LL);
    char *text = graft_buf_take(&b);
    json_t *o = text ? graft_json_string(text) : NULL;
    free(text);
    return o;
}

static json_t *facts_json(const graft_comparison *c, size_t best, double reach) {
    graft_data *d = c->facts.data;
    int64_t n_test = 0, n_validation = 0;
    graft_data_members(d, GRAFT_TEST, &n_test);
    graft_data_members(d, GRAFT_VAL, &n_validation);
    return json_pack("{s:s,s:o,s:o,s:o,s:s,s:s,s:I,s:o,s:I,s:I,s:s,s:o,s:o,s:s,s:o,s:f,s:b,s:o}", "graft",
                     graft_version(), "model", graft_json_string(c->model), "data",
                     graft_json_string(c->data), "out", c->out ? graft_json_string(c->out) : json_null(),
                     "task", graft_task_name(graft_data_task(d)), "score",
                     graft_score_name(graft_data_task(d)), "n_classes", (json_int_t)graft_data_n_classes(d),
                     "classes", classes_json(d), "n_test", (json_int_t)n_test, "n_validation",
                     (json_int_t)n_validation, "test", c->judged, "seeds", seeds_json(c), "sizes",
                     sizes_json(c), "best", c->plans[best].name, "reach", graft_json_number(reach), "seconds",
                     graft_now() - c->begun, "finished", c->finished, "runs", runs_json(c));
}

int graft_comparison_json(json_t **out, const graft_comparison *c, graft_err *err) {
    graft_compare_evidence *e = NULL;
    size_t best = 0;
    double reach = NAN;
    json_t *plans = json_array(), *conclusion = NULL, *next = NULL, *row = NULL;
    int rc = plans ? graft_comparison_evidence(&e, &best, &reach, c, err) : graft_err_nomem(err);
    for (size_t p = 0; p < c->n_plans && rc == 0; p++) {
        rc = plan_json(&row, c, &e[p], p, reach, err);
        if (rc == 0 && json_array_append_new(plans, row) < 0) rc = graft_err_nomem(err);
    }
    if (rc == 0) rc = graft_comparison_conclude(&conclusion, c, e, best, err);
    if (rc == 0) rc = graft_comparison_label_next(&next, c, err);
    json_t *o = rc == 0 ? facts_json(c, best, reach) : NULL;
    if (rc == 0 &&
        (!o || json_object_set(o, "plans", plans) < 0 || json_object_set(o, "label_next", next) < 0 ||
         json_object_set(o, "conclusion", conclusion) < 0 ||
         json_object_set_new(o, "command", command_json(c, conclusion)) < 0)) {
        json_decref(o);
        o = NULL;
        rc = graft_err_nomem(err);
    }
    json_decref(plans);
    json_decref(conclusion);
    json_decref(next);
    *out = o;
    return rc;
}
