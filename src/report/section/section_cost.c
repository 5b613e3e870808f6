/* Time, memory, and every setting that decided the run. */
#include "report/section.h"

#include <math.h>

static void put_fact(graft_buf *out, const char *name) {
    graft_buf_printf(out, "<div><dt>%s</dt><dd>", name);
}

static void put_settings(graft_buf *out, const json_t *settings) {
    const char *key;
    json_t *value;
    graft_buf_text(out, "<details><summary>All settings</summary><div class=\"scroll\"><table><tbody>\n");
    json_object_foreach((json_t *)(uintptr_t)settings, key, value) {
        graft_buf_text(out, "<tr><th scope=\"row\">");
        graft_html_text(out, key);
        graft_buf_text(out, "</th><td>");
        if (json_is_string(value))
            graft_html_text(out, json_string_value(value));
        else if (json_is_number(value))
            graft_buf_printf(out, "%.9g", json_number_value(value));
        else
            graft_buf_text(out, json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "–");
        graft_buf_text(out, "</td></tr>\n");
    }
    graft_buf_text(out, "</tbody></table></div></details>\n");
}

static int write_cost(graft_buf *out, graft_story *s, graft_err *err) {
    const json_t *settings = json_object_get(s->record, "settings");
    double seconds = graft_story_number(s->record, "seconds"), training = 0.0;
    double memory = graft_story_number(s->record, "peak_memory"),
           best = graft_story_number(s->record, "best_epoch");
    (void)err;
    for (size_t i = 0; i < s->n_moments; i++)
        training += isfinite(s->moments[i].seconds) ? s->moments[i].seconds : 0.0;
    graft_buf_text(out, "<dl class=\"facts\">\n");
    if (isfinite(seconds)) {
        put_fact(out, "whole run");
        graft_html_seconds(out, seconds);
        graft_buf_text(out, "</dd></div>\n");
    }
    if (s->n_moments > 0) {
        put_fact(out, "its epochs");
        graft_html_seconds(out, training);
        graft_buf_text(out, "</dd></div>\n");
        put_fact(out, "an epoch");
        graft_html_seconds(out, training / (double)s->n_epochs);
        graft_buf_text(out, "</dd></div>\n");
        put_fact(out, "epochs");
        graft_html_count(out, (int64_t)s->n_epochs);
        if (best > 0.0) graft_buf_printf(out, " <small>kept: %.0f</small>", best);
        graft_buf_text(out, "</dd></div>\n");
    }
    if (memory > 0.0) {
        put_fact(out, "memory planned");
        graft_html_memory(out, memory);
        graft_buf_text(out, "</dd></div>\n");
    }
    put_fact(out, "graft");
    graft_html_text(out, graft_story_text(settings, "graft"));
    graft_buf_text(out, "</dd></div>\n</dl>\n");
    put_settings(out, settings);
    return 0;
}

const graft_section graft_section_cost = {"cost", "Time, memory, settings", "Cost", write_cost};
