/* The page about a comparison: what graft compare found, out of its compare.json. */
#include "report/page.h"

#include <math.h>
#include <string.h>

enum { COLOURS = 10, MOST_PLANS = 32, LISTED = 40 };

typedef struct comparison {
    graft_arena *arena;
    const char *name;
    const json_t *o, *plans;
    size_t n;
    bool percent;
} comparison;

static const json_t *plan_of(const comparison *c, size_t i) {
    return json_array_get(c->plans, i);
}

static double mean_of(const json_t *o, const char *key) {
    return graft_story_number(json_object_get(o, key), "mean");
}

/* ---- Plans ---------------------------------------------------------------------------------------------- */

static void put_spans(graft_buf *out, const comparison *c) {
    graft_span spans[MOST_PLANS];
    for (size_t i = 0; i < c->n; i++) {
        const json_t *p = plan_of(c, i), *score = json_object_get(p, "score"),
                     *sampling = json_object_get(p, "sampling");
        bool seeds = isfinite(graft_story_number(score, "low"));
        spans[i] = (graft_span){graft_story_text(p, "plan"), graft_story_number(score, "mean"),
                                graft_story_number(seeds ? score : sampling, "low"),
                                graft_story_number(seeds ? score : sampling, "high")};
    }
    graft_spans_draw(out, spans, c->n, c->percent);
}

static void put_cell(graft_buf *out, double x, void (*put)(graft_buf *out, double x)) {
    graft_buf_printf(out, "<td data-v=\"%.9g\">", isfinite(x) ? x : -1.0);
    put(out, x);
    graft_buf_text(out, "</td>");
}

static void put_memory(graft_buf *out, double x) {
    if (x > 0.0)
        graft_html_memory(out, x);
    else
        graft_buf_text(out, "–");
}

static void put_trained(graft_buf *out, double x) {
    if (isfinite(x))
        graft_html_millions(out, x);
    else
        graft_buf_text(out, "–");
}

static void put_plan(graft_buf *out, const comparison *c, size_t i) {
    const json_t *p = plan_of(c, i), *against = json_object_get(p, "against_best");
    void (*score)(graft_buf *, double) = c->percent ? graft_html_percent : graft_html_number;
    graft_buf_printf(out, "<tr><th scope=\"row\"><span class=\"key k%zu\">", i % COLOURS);
    graft_html_text(out, graft_story_text(p, "plan"));
    graft_buf_text(out, "</span></th>");
    put_cell(out, mean_of(p, "score"), score);
    put_cell(out, mean_of(p, "gap"), score);
    graft_buf_text(out, "<td>");
    if (json_is_object(against)) {
        double holm = graft_story_number(against, "p_holm");
        graft_html_number(out, holm);
        graft_buf_text(out,
                       json_is_true(json_object_get(against, "differs")) ? " differs" : " may be chance");
    } else if (json_is_string(json_object_get(p, "diverged"))) {
        graft_buf_text(out, "diverged");
    } else {
        graft_buf_text(out, "the best");
    }
    graft_buf_text(out, "</td>");
    put_cell(out, mean_of(p, "seconds"), graft_html_seconds);
    put_cell(out, graft_story_number(p, "memory"), put_memory);
    put_cell(out, graft_story_number(p, "trained"), put_trained);
    graft_buf_text(out, "<td>");
    graft_html_text(out, graft_story_text(p, "about"));
    graft_buf_text(out, "</td></tr>\n");
}

/* Why a plan has no score, or none at some size. */
static void put_lost(graft_buf *out, const json_t *plan) {
    const json_t *all = json_object_get(plan, "diverged"), *sizes = json_object_get(plan, "sizes");
    for (size_t i = 0; i < (json_is_string(all) ? 1 : json_array_size(sizes)); i++) {
        const json_t *size = json_array_get(sizes, i),
                     *why = json_is_string(all) ? all : json_object_get(size, "diverged");
        if (!json_is_string(why)) continue;
        graft_buf_text(out, "<p class=\"about\">Left out, since it diverged: <b>");
        graft_html_text(out, graft_story_text(plan, "plan"));
        graft_buf_text(out, "</b>");
        if (why != all) {
            graft_buf_text(out, " with ");
            graft_html_number(out, graft_story_number(size, "per_class"));
            graft_buf_text(out, " labels a class");
        }
        graft_buf_text(out, ": ");
        graft_html_text(out, json_string_value(why));
        graft_buf_text(out, "</p>\n");
    }
}

static void put_plans(graft_buf *out, const comparison *c) {
    graft_buf_text(
        out, "<section id=\"plans\" aria-labelledby=\"plans-title\"><h2 id=\"plans-title\">The plans</h2>\n");
    put_spans(out, c);
    graft_buf_text(
        out, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">plan</th><th "
             "scope=\"col\">score</th><th scope=\"col\">overfitting</th><th scope=\"col\" class=\"t\">p "
             "against the best</th>"
             "<th scope=\"col\">time</th><th scope=\"col\">memory</th><th scope=\"col\">trained</th><th "
             "scope=\"col\" class=\"t\">what it is</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < c->n; i++) put_plan(out, c, i);
    graft_buf_text(out, "</tbody></table></div>\n");
    for (size_t i = 0; i < c->n; i++) put_lost(out, plan_of(c, i));
    graft_buf_text(
        out, "<p class=\"about\">The interval is over the seeds, or, with one seed, "
             "of the test samples. Overfitting is the score on the training part less that of the test. p is "
             "McNemar's test, corrected for the number of plans.</p></section>\n");
}

/* ---- Curves --------------------------------------------------------------------------------------------- */

/* Points of a list of objects, with x above `least`. */
static graft_series series_of(const comparison *c, size_t i, const json_t *list, const char *x_key,
                              const char *y_key, double least, bool dashed) {
    size_t n = json_array_size(list), found = 0;
    graft_series s = {.name = graft_story_text(plan_of(c, i), "plan"), .dashed = dashed};
    double *x = graft_arena_array(c->arena, n + 1, sizeof *x),
           *y = graft_arena_array(c->arena, n + 1, sizeof *y);
    s.tone = graft_arena_printf(c->arena, "k%zu", i % COLOURS);
    if (!x || !y || !s.tone) return (graft_series){.name = "", .tone = ""};
    for (size_t k = 0; k < n; k++) {
        const json_t *o = json_array_get(list, k);
        double at = graft_story_number(o, x_key), score = graft_story_number(o, y_key);
        if (!isfinite(score)) score = mean_of(o, y_key);
        if (!isfinite(at) || !isfinite(score) || at < least) continue;
        x[found] = at;
        y[found++] = score;
    }
    s.x = x;
    s.y = y;
    s.n = found;
    return s;
}

static void put_labels(graft_buf *out, const comparison *c) {
    graft_series series[2 * MOST_PLANS];
    double classes = graft_story_number(c->o, "n_classes");
    if (!(classes >= 1.0)) classes = 1.0;
    for (size_t i = 0; i < c->n; i++) {
        const json_t *p = plan_of(c, i);
        series[i] = series_of(c, i, json_object_get(p, "sizes"), "labels", "score", 1.0, false);
        for (size_t k = 0; k < series[i].n; k++) ((double *)(uintptr_t)series[i].x)[k] /= classes;
        double last = series[i].n ? series[i].x[series[i].n - 1] : 1.0;
        series[c->n + i] = series_of(c, i, json_object_get(json_object_get(p, "curve"), "points"),
                                     "per_class", "score", last, true);
    }
    size_t curves = 0;
    for (size_t i = 0; i < c->n; i++) curves += series[c->n + i].n > 1;
    const graft_chart chart = {.title = "Score by labels a class",
                               .x_title = "labels a class",
                               .series = series,
                               .n_series = curves ? 2 * c->n : c->n,
                               .percent = c->percent,
                               .log_x = true,
                               .mark_x = NAN};
    graft_chart_draw(out, &chart);
}

/* A difference of two scores. */
static void put_points(graft_buf *out, const comparison *c, double x) {
    if (!isfinite(x))
        graft_buf_text(out, "–");
    else
        graft_buf_printf(out, c->percent ? "%+.1f" : "%+.3f", c->percent ? 100.0 * x : x);
}

static void put_more(graft_buf *out, const comparison *c) {
    graft_buf_text(out, "<ul class=\"names\">\n");
    for (size_t i = 0; i < c->n; i++) {
        const json_t *p = plan_of(c, i), *more = json_object_get(p, "more");
        if (!json_is_object(more)) continue;
        graft_buf_text(out, "<li><b>");
        graft_html_text(out, graft_story_text(p, "plan"));
        graft_buf_text(out, "</b>: ");
        graft_html_number(out, graft_story_number(more, "per_class"));
        graft_buf_text(out, " more labels a class would gain about ");
        put_points(out, c, graft_story_number(more, "gain"));
        graft_buf_text(out, " (");
        put_points(out, c, graft_story_number(more, "low"));
        graft_buf_text(out, " to ");
        put_points(out, c, graft_story_number(more, "high"));
        graft_buf_text(out, c->percent ? ") points</li>\n" : ")</li>\n");
    }
    graft_buf_text(out, "</ul>\n");
}

static void put_curves(graft_buf *out, const comparison *c) {
    graft_series epochs[MOST_PLANS], seconds[MOST_PLANS];
    for (size_t i = 0; i < c->n; i++) {
        const json_t *list = json_object_get(plan_of(c, i), "epochs");
        epochs[i] = series_of(c, i, list, "epoch", "validation", 0.0, false);
        seconds[i] = series_of(c, i, list, "seconds", "validation", 0.0, false);
    }
    const graft_chart by_epoch = {.title = "Validation score by epoch",
                                  .x_title = "epoch",
                                  .series = epochs,
                                  .n_series = c->n,
                                  .percent = c->percent,
                                  .mark_x = NAN};
    const graft_chart by_second = {.title = "Validation score by time",
                                   .x_title = "seconds",
                                   .series = seconds,
                                   .n_series = c->n,
                                   .percent = c->percent,
                                   .mark_x = NAN};
    graft_buf_text(
        out,
        "<section id=\"curves\" aria-labelledby=\"curves-title\"><h2 id=\"curves-title\">What more would "
        "bring</h2>\n<div class=\"multiples\">\n");
    put_labels(out, c);
    graft_chart_draw(out, &by_epoch);
    graft_chart_draw(out, &by_second);
    graft_buf_text(out,
                   "</div>\n<p class=\"about\">Dashed: where the learning curve is continued past what was "
                   "measured.</p>\n");
    put_more(out, c);
    graft_buf_text(out, "</section>\n");
}

/* ---- Labelling next ------------------------------------------------------------------------------------- */

static void put_next(graft_buf *out, const comparison *c) {
    const json_t *next = json_object_get(c->o, "label_next"), *samples = json_object_get(next, "samples");
    size_t n = json_array_size(samples);
    if (n == 0) return;
    bool validation = strcmp(graft_story_text(next, "of"), "validation") == 0;
    graft_buf_printf(out,
                     "<section id=\"next\" aria-labelledby=\"next-title\"><h2 "
                     "id=\"next-title\">%s</h2>\n<p>The runs agree "
                     "least on these.</p>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th "
                     "scope=\"col\">sample</th><th scope=\"col\" class=\"t\">answer</th><th scope=\"col\" "
                     "class=\"t\">label</th><th "
                     "scope=\"col\">doubt</th></tr></thead><tbody>\n",
                     validation ? "More like these would teach the most" : "Label these next");
    for (size_t i = 0; i < n && i < LISTED; i++) {
        const json_t *s = json_array_get(samples, i);
        const char *input = graft_story_text(s, "input");
        graft_buf_text(out, "<tr><th scope=\"row\">");
        graft_html_short(out, input, strlen(input), 90);
        graft_buf_text(out, "</th><td>");
        graft_html_text(out, graft_story_text(s, "predicted"));
        graft_buf_text(out, "</td><td>");
        graft_html_text(out, graft_story_text(s, "label"));
        graft_buf_text(out, "</td>");
        put_cell(out, graft_story_number(s, "doubt"), graft_html_number);
        graft_buf_text(out, "</tr>\n");
    }
    graft_buf_text(out, "</tbody></table></div></section>\n");
}

/* ---- The page ------------------------------------------------------------------------------------------- */

static void put_header(graft_buf *out, const comparison *c) {
    const json_t *conclusion = json_object_get(c->o, "conclusion");
    graft_buf_text(out, "<header>\n<p class=\"kicker\">graft compare</p>\n<h1>");
    graft_html_text(out, graft_story_text(conclusion, "verdict"));
    graft_buf_text(out, "</h1>\n<p class=\"score\"><span>");
    graft_html_text(out, graft_story_text(conclusion, "text"));
    graft_buf_text(out, "</span></p>\n<dl class=\"facts\">\n<div><dt>model</dt><dd>");
    graft_html_text(out, graft_path_name(graft_story_text(c->o, "model")));
    graft_buf_text(out, "</dd></div>\n<div><dt>data</dt><dd>");
    graft_html_text(out, graft_path_name(graft_story_text(c->o, "data")));
    graft_buf_text(out, "</dd></div>\n<div><dt>judged by</dt><dd>");
    graft_html_text(out, graft_story_text(c->o, "score"));
    graft_buf_text(out, " <small>on ");
    graft_html_number(out, graft_story_number(c->o, "n_test"));
    graft_buf_text(out, " samples</small></dd></div>\n<div><dt>seeds</dt><dd>");
    graft_html_count(out, (int64_t)json_array_size(json_object_get(c->o, "seeds")));
    graft_buf_text(out, "</dd></div>\n<div><dt>time</dt><dd>");
    graft_html_seconds(out, graft_story_number(c->o, "seconds"));
    if (json_is_false(json_object_get(c->o, "finished")))
        graft_buf_text(out, " <small>stopped before its end</small>");
    graft_buf_text(out, "</dd></div>\n</dl>\n</header>\n");
}

int graft_page_compare(graft_buf *out, const char *folder, graft_err *err) {
    comparison c = {.arena = graft_arena_new(NULL), .name = graft_path_name(folder)};
    json_t *o = NULL;
    char *path = c.arena ? graft_path_join(c.arena, folder, "compare.json") : NULL;
    int rc = path ? graft_json_read(&o, c.arena, path, err) : graft_err_nomem(err);
    if (rc == 0) {
        c.o = o;
        c.plans = json_object_get(o, "plans");
        c.n = json_array_size(c.plans) < MOST_PLANS ? json_array_size(c.plans) : MOST_PLANS;
        c.percent = strcmp(graft_story_text(o, "score"), "spearman") != 0;
        if (c.n == 0)
            rc = graft_err_set(err, GRAFT_EFORMAT, "%s: this is no comparison (it has no plans)", path);
    }
    if (rc == 0) {
        graft_page_begin(out, c.name);
        put_header(out, &c);
        graft_buf_text(out, "<main>\n");
        put_plans(out, &c);
        put_curves(out, &c);
        put_next(out, &c);
        graft_buf_text(
            out, "<section id=\"repeat\" aria-labelledby=\"repeat-title\"><h2 id=\"repeat-title\">How to go "
                 "on</h2>\n<pre><code>");
        graft_html_text(out, graft_story_text(o, "command"));
        graft_buf_text(out, "</code></pre></section>\n</main>\n");
        graft_page_end(out);
        if (out->failed) rc = graft_err_nomem(err);
    }
    graft_arena_free(c.arena);
    return rc;
}
