/* The page that sets several runs side by side: a table, their scores with intervals, curves on one scale,
 * and what their settings differ in. */
#include "report/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLOURS = 10 };

static char *tone_of(graft_arena *arena, size_t i) {
    return graft_arena_printf(arena, "k%zu", i % COLOURS);
}

/* ---- Table ---------------------------------------------------------------------------------------------- */

static void put_number_cell(graft_buf *out, double value, void (*put)(graft_buf *out, double x)) {
    graft_buf_printf(out, "<td data-v=\"%.9g\">", isfinite(value) ? value : -1.0);
    put(out, value);
    graft_buf_text(out, "</td>");
}

static void put_row(graft_buf *out, const graft_story *s, const graft_span *x, size_t i) {
    const json_t *settings = json_object_get(s->record, "settings");
    double trained = 0.0;
    json_t *stages = json_object_get(s->record, "stages");
    for (size_t t = 0; t < json_array_size(stages); t++) {
        double values = graft_story_number(json_array_get(stages, t), "trained");
        trained += isfinite(values) ? values : 0.0;
    }
    graft_buf_printf(out, "<tr><th scope=\"row\"><span class=\"key k%zu\">", i % COLOURS);
    graft_html_text(out, s->name);
    graft_buf_text(out, "</span></th><td>");
    graft_html_text(out, graft_story_text(settings, "plan"));
    graft_buf_text(out, "</td>");
    put_number_cell(out, x->score, s->task == GRAFT_TASK_REGRESSION ? graft_html_number : graft_html_percent);
    graft_buf_text(out, "<td>");
    if (isfinite(x->low)) {
        (s->task == GRAFT_TASK_REGRESSION ? graft_html_number : graft_html_percent)(out, x->low);
        graft_buf_text(out, " – ");
        (s->task == GRAFT_TASK_REGRESSION ? graft_html_number : graft_html_percent)(out, x->high);
    }
    graft_buf_text(out, "</td>");
    put_number_cell(out, graft_story_number(s->metrics, "n"), graft_html_number);
    put_number_cell(out, trained, graft_html_millions);
    put_number_cell(out, (double)s->n_epochs, graft_html_number);
    put_number_cell(out, graft_story_number(s->record, "seconds"), graft_html_seconds);
    put_number_cell(out, graft_story_number(s->record, "peak_memory"), graft_html_memory);
    graft_buf_text(out, "<td>");
    graft_html_text(out, graft_path_name(graft_story_text(s->record, "model")));
    graft_buf_text(out, "</td></tr>\n");
}

static void put_table(graft_buf *out, const graft_story *runs, const graft_span *spans, size_t n) {
    /* the second, fourth and last hold text */
    static const char *const heads[] = {"run",     "plan",   "score", "interval", "judged on",
                                        "trained", "epochs", "time",  "memory",   "model"};
    graft_buf_text(out, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>");
    for (size_t i = 0; i < GRAFT_COUNT(heads); i++)
        graft_buf_printf(out, "<th scope=\"col\"%s>%s</th>", i == 1 || i == 3 || i == 9 ? " class=\"t\"" : "",
                         heads[i]);
    graft_buf_text(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++) put_row(out, &runs[i], &spans[i], i);
    graft_buf_text(out, "</tbody></table></div>\n");
}

/* Runs that were not judged by the same samples are not rivals. */
static void put_caution(graft_buf *out, const graft_story *runs, size_t n) {
    bool data = false, task = false;
    for (size_t i = 1; i < n; i++) {
        const json_t *a = json_object_get(runs[0].record, "settings"),
                     *b = json_object_get(runs[i].record, "settings");
        data =
            data ||
            strcmp(graft_story_text(a, "data_fingerprint"), graft_story_text(b, "data_fingerprint")) != 0 ||
            strcmp(runs[0].part, runs[i].part) != 0 ||
            graft_story_number(runs[0].metrics, "n") != graft_story_number(runs[i].metrics, "n");
        task = task || runs[0].task != runs[i].task;
    }
    if (task)
        graft_buf_text(
            out,
            "<ul class=\"warnings\"><li>The runs answer different questions: their scores mean different "
            "things.</li></ul>\n");
    else if (data)
        graft_buf_text(
            out,
            "<ul class=\"warnings\"><li>The runs were not judged by the same samples: a difference in score "
            "may lie in the data.</li></ul>\n");
}

/* ---- Curves --------------------------------------------------------------------------------------------- */

typedef struct curves {
    graft_series *by_epoch, *by_second, *losses;
} curves;

static int gather_curves(curves *c, const graft_story *runs, size_t n, graft_arena *arena, graft_err *err) {
    c->by_epoch = graft_arena_array(arena, n, sizeof *c->by_epoch);
    c->by_second = graft_arena_array(arena, n, sizeof *c->by_second);
    c->losses = graft_arena_array(arena, n, sizeof *c->losses);
    if (!c->by_epoch || !c->by_second || !c->losses) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const graft_story *s = &runs[i];
        double *epoch = graft_arena_array(arena, s->n_moments + 1, sizeof *epoch),
               *second = graft_arena_array(arena, s->n_moments + 1, sizeof *second);
        double *score = graft_arena_array(arena, s->n_moments + 1, sizeof *score),
               *loss = graft_arena_array(arena, s->n_moments + 1, sizeof *loss);
        char *tone = tone_of(arena, i);
        if (!epoch || !second || !score || !loss || !tone) return graft_err_nomem(err);
        double clock = 0.0;
        for (size_t m = 0; m < s->n_moments; m++) {
            clock += isfinite(s->moments[m].seconds) ? s->moments[m].seconds : 0.0;
            epoch[m] = s->moments[m].epoch;
            if (m && !(epoch[m] > epoch[m - 1])) epoch[m] = epoch[m - 1] + 1.0;
            if (!isfinite(epoch[m])) epoch[m] = (double)m + 1.0;
            second[m] = clock;
            score[m] = s->moments[m].val_score;
            loss[m] = s->moments[m].loss;
        }
        c->by_epoch[i] = (graft_series){s->name, tone, epoch, score, s->n_moments, false};
        c->by_second[i] = (graft_series){s->name, tone, second, score, s->n_moments, false};
        c->losses[i] = (graft_series){s->name, tone, epoch, loss, s->n_moments, false};
    }
    return 0;
}

static int put_curves(graft_buf *out, const graft_story *runs, size_t n, graft_err *err) {
    curves c;
    int rc = gather_curves(&c, runs, n, runs[0].arena, err);
    if (rc < 0) return rc;
    bool percent = runs[0].task != GRAFT_TASK_REGRESSION;
    const graft_chart charts[] = {
        {"Validation score by epoch", "epoch", c.by_epoch, n, percent, false, NAN, NULL},
        {"Validation score by time", "seconds of training", c.by_second, n, percent, false, NAN, NULL},
        {"Training loss", "epoch", c.losses, n, false, true, NAN, NULL},
    };
    graft_buf_text(out,
                   "<section id=\"curves\" aria-labelledby=\"curves-title\"><h2 id=\"curves-title\">How they "
                   "learnt</h2>\n<div class=\"multiples\">\n");
    for (size_t i = 0; i < GRAFT_COUNT(charts); i++) graft_chart_draw(out, &charts[i]);
    graft_buf_text(out, "</div></section>\n");
    return 0;
}

/* ---- Settings ------------------------------------------------------------------------------------------- */

static void put_setting(graft_buf *out, const json_t *value) {
    if (json_is_string(value))
        graft_html_text(out, json_string_value(value));
    else if (json_is_number(value))
        graft_buf_printf(out, "%.9g", json_number_value(value));
    else
        graft_buf_text(out, json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "–");
}

static void put_differences(graft_buf *out, const graft_story *runs, size_t n) {
    json_t *first = json_object_get(runs[0].record, "settings"), *value;
    const char *key;
    graft_buf_text(
        out,
        "<section id=\"settings\" aria-labelledby=\"settings-title\"><h2 id=\"settings-title\">What their "
        "settings differ in</h2>\n<div class=\"scroll\"><table><thead><tr><td></td>");
    for (size_t i = 0; i < n; i++) {
        graft_buf_text(out, "<th scope=\"col\">");
        graft_html_text(out, runs[i].name);
        graft_buf_text(out, "</th>");
    }
    graft_buf_text(out, "</tr></thead><tbody>\n");
    json_object_foreach(first, key, value) {
        bool same = true;
        for (size_t i = 1; i < n; i++)
            same =
                same && json_equal(value, json_object_get(json_object_get(runs[i].record, "settings"), key));
        if (same) continue;
        graft_buf_text(out, "<tr><th scope=\"row\">");
        graft_html_text(out, key);
        graft_buf_text(out, "</th>");
        for (size_t i = 0; i < n; i++) {
            graft_buf_text(out, "<td>");
            put_setting(out, json_object_get(json_object_get(runs[i].record, "settings"), key));
            graft_buf_text(out, "</td>");
        }
        graft_buf_text(out, "</tr>\n");
    }
    graft_buf_text(out, "</tbody></table></div></section>\n");
}

int graft_page_runs(graft_buf *out, graft_story *runs, size_t n, graft_err *err) {
    graft_span *spans = graft_arena_array(runs[0].arena, n, sizeof *spans);
    if (!spans) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        spans[i].name = runs[i].name;
        spans[i].score = graft_story_score(&runs[i], &spans[i].low, &spans[i].high);
    }
    graft_page_begin(out, "Runs side by side");
    graft_buf_printf(
        out,
        "<header>\n<p class=\"kicker\">graft report</p>\n<h1>%zu runs side by side</h1>\n</header>\n<main>\n",
        n);
    graft_buf_text(
        out, "<section id=\"scores\" aria-labelledby=\"scores-title\"><h2 id=\"scores-title\">Scores</h2>\n");
    put_caution(out, runs, n);
    graft_spans_draw(out, spans, n, runs[0].task != GRAFT_TASK_REGRESSION);
    put_table(out, runs, spans, n);
    graft_buf_text(out, "</section>\n");
    int rc = put_curves(out, runs, n, err);
    if (rc < 0) return rc;
    put_differences(out, runs, n);
    graft_buf_text(out, "</main>\n");
    graft_page_end(out);
    return out->failed ? graft_err_nomem(err) : 0;
}
