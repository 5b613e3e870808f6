/* The page about one run: its headline, then the sections that have something to say. */
#include "report/page.h"

#include "report/assets.h"

#include <math.h>
#include <string.h>

#define GRAFT_SECTION(name) &graft_section_##name,
static const graft_section *const sections[] = {
#include "report/section/list.h"
};
#undef GRAFT_SECTION

void graft_page_begin(graft_buf *out, const char *title) {
    graft_buf_text(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"graft ");
    graft_html_text(out, graft_version());
    graft_buf_text(out, "\">\n<title>");
    graft_html_text(out, title);
    graft_buf_text(out, "</title>\n<style>\n");
    graft_buf_append(out, graft_report_css, graft_report_css_size);
    graft_buf_text(out, "</style>\n</head>\n<body>\n");
}

void graft_page_end(graft_buf *out) {
    graft_buf_text(out, "<footer>Made by graft ");
    graft_html_text(out, graft_version());
    graft_buf_text(out, ". This file asks for nothing else and sends nothing.</footer>\n<script>\n");
    graft_buf_append(out, graft_report_js, graft_report_js_size);
    graft_buf_text(out, "</script>\n</body>\n</html>\n");
}

/* The last two parts of a path: the last alone is too often "model" or "train.csv". */
static void put_name(graft_buf *out, const char *path) {
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    size_t from = size;
    for (int slashes = 0; from > 0; from--)
        if (path[from - 1] == '/' && ++slashes == 2) break;
    graft_buf_text(out, "<span title=\"");
    graft_html_text(out, path);
    graft_buf_text(out, "\">");
    graft_html_bytes(out, path + from, size - from);
    graft_buf_text(out, "</span>");
}

static const char *score_word(const graft_story *s) {
    return s->task == GRAFT_TASK_CLASSES      ? "of the answers are right"
           : s->task == GRAFT_TASK_REGRESSION ? "rank correlation (Spearman)"
           : s->task == GRAFT_TASK_TAGGING    ? "F1 of the entities"
                                              : "F1 of the labels (micro)";
}

static void put_score_value(graft_buf *out, const graft_story *s, double x) {
    if (s->task == GRAFT_TASK_REGRESSION)
        graft_buf_printf(out, isfinite(x) ? "%.3f" : "–", x);
    else
        graft_html_percent(out, x);
}

static void put_score(graft_buf *out, const graft_story *s) {
    double low, high, score = graft_story_score(s, &low, &high), n = graft_story_number(s->metrics, "n");
    if (!s->metrics) {
        graft_buf_text(out, "<p class=\"score none\">The data left no part to judge by.</p>\n");
        return;
    }
    graft_buf_text(out, "<p class=\"score\"><b>");
    put_score_value(out, s, score);
    graft_buf_printf(out, "</b> <span>%s", score_word(s));
    if (isfinite(low)) {
        graft_buf_text(out, "; 95&#8239;% interval ");
        put_score_value(out, s, low);
        graft_buf_text(out, " to ");
        put_score_value(out, s, high);
    }
    graft_buf_text(out, "; on ");
    graft_html_number(out, n);
    graft_buf_printf(out, " %s of the %s part</span></p>\n",
                     s->task == GRAFT_TASK_TAGGING ? "words" : "samples", s->part);
}

static void put_facts(graft_buf *out, const graft_story *s) {
    const json_t *settings = json_object_get(s->record, "settings"),
                 *found = json_object_get(s->record, "found");
    double train = graft_story_number(json_object_get(found, "parts"), "train");
    graft_buf_text(out, "<dl class=\"facts\">\n<div><dt>model</dt><dd>");
    put_name(out, graft_story_text(s->record, "model"));
    graft_buf_text(out, " <small>");
    graft_html_text(out, s->model ? graft_model_description(s->model) : "an adapter whose base is gone");
    graft_buf_text(out, "</small></dd></div>\n<div><dt>data</dt><dd>");
    put_name(out, graft_story_text(s->record, "data"));
    if (train > 0.0 && train < 1e15) {
        graft_buf_text(out, " <small>");
        graft_html_count(out, (int64_t)train);
        graft_buf_text(out, " to learn from</small>");
    }
    graft_buf_text(out, "</dd></div>\n<div><dt>task</dt><dd>");
    switch (s->task) {
    case GRAFT_TASK_REGRESSION:
        graft_buf_text(out, "a number");
        break;
    case GRAFT_TASK_MULTILABEL:
        graft_buf_printf(out, "any of %zu classes", s->n_labels);
        break;
    case GRAFT_TASK_TAGGING:
        graft_buf_printf(out, "one of %zu tags a word", s->n_labels);
        break;
    default:
        graft_buf_printf(out, "one class of %zu", s->n_labels);
    }
    graft_buf_text(out, "</dd></div>\n<div><dt>plan</dt><dd>");
    graft_html_text(out, graft_story_text(settings, "plan"));
    graft_buf_text(out, "</dd></div>\n</dl>\n");
}

static void put_headline(graft_buf *out, const graft_story *s) {
    graft_buf_text(out, "<header>\n<p class=\"kicker\">graft report</p>\n<h1>");
    graft_html_text(out, s->name);
    graft_buf_text(out, "</h1>\n");
    put_score(out, s);
    put_facts(out, s);
    graft_buf_text(out, "</header>\n");
}

int graft_page_run(graft_buf *out, graft_story *s, graft_err *err) {
    graft_buf nav, body;
    int rc = graft_picks_make(s, err);
    graft_buf_init(&nav, 0);
    graft_buf_init(&body, 0);
    for (size_t i = 0; i < GRAFT_COUNT(sections) && rc == 0; i++) {
        const graft_section *part = sections[i];
        size_t begun = body.size;
        graft_buf_printf(&body,
                         "<section id=\"%s\" aria-labelledby=\"%s-title\">\n<h2 id=\"%s-title\">%s</h2>\n",
                         part->id, part->id, part->id, part->title);
        size_t empty = body.size;
        rc = part->write(&body, s, err);
        if (body.size == empty && !body.failed) { /* nothing to say: the heading goes too */
            body.size = begun;
            continue;
        }
        graft_buf_text(&body, "</section>\n");
        graft_buf_printf(&nav, "<a href=\"#%s\">%s</a>\n", part->id, part->link);
    }
    if (rc == 0) {
        graft_page_begin(out, s->name);
        put_headline(out, s);
        graft_buf_text(out, "<nav aria-label=\"On this page\">\n");
        graft_buf_append(out, nav.data, nav.size);
        graft_buf_text(out, "</nav>\n<main>\n");
        graft_buf_append(out, body.data, body.size);
        graft_buf_text(out, "</main>\n");
        graft_page_end(out);
    }
    if (rc == 0 && (out->failed || nav.failed || body.failed)) rc = graft_err_nomem(err);
    graft_buf_done(&nav);
    graft_buf_done(&body);
    return rc;
}
