/* What was frozen, drawn on the model's stages. */
#include "report/section.h"

#include <math.h>

static double parameters(const json_t *stage, const char *key) {
    double n = graft_story_number(stage, key);
    return isfinite(n) ? n : 0.0;
}

/* One box a stage, as wide as the logarithm of its parameters; filled as far as they train. */
static void put_stage(graft_buf *out, const json_t *stage) {
    double n = parameters(stage, "parameters"), trained = parameters(stage, "trained");
    bool cached = json_is_true(json_object_get(stage, "cached"));
    const char *state = trained > 0.0 ? "trained" : cached ? "cached" : "frozen";
    bool partly = trained > 0.0 && trained < 0.5 * n;
    graft_buf_printf(out, "<li class=\"stage %s\" style=\"flex-grow:%.1f\"><b>", partly ? "partly" : state,
                     1.0 + log10(n + 1.0));
    graft_html_text(out, graft_story_text(stage, "name"));
    graft_buf_text(out, "</b><span>");
    graft_html_millions(out, n);
    graft_buf_text(out, n == 1.0 ? " value" : " values");
    graft_buf_text(out, "</span><em>");
    if (partly) {
        graft_html_millions(out, trained);
        graft_buf_text(out, " of them ");
    }
    graft_buf_printf(out, "%s</em></li>\n", state);
}

/* Phases one after the other, where there are several. */
static void put_phases(graft_buf *out, const json_t *phases) {
    size_t n = json_array_size(phases);
    if (n < 2) return;
    graft_buf_text(
        out, "<h3>In phases</h3>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">trained</th>"
             "<th scope=\"col\">values</th><th scope=\"col\">epochs</th><th scope=\"col\">rate</th>"
             "<th scope=\"col\"></th></tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++) {
        const json_t *phase = json_array_get(phases, i);
        graft_buf_text(out, "<tr><th scope=\"row\">");
        graft_html_text(out, graft_story_text(phase, "plan"));
        graft_buf_text(out, "</th><td>");
        graft_html_millions(out, parameters(phase, "trained_parameters"));
        graft_buf_text(out, "</td><td>");
        graft_html_number(out, graft_story_number(phase, "epochs_run"));
        graft_buf_text(out, "</td><td>");
        graft_html_number(out, graft_story_number(phase, "lr"));
        graft_buf_printf(out, "</td><td>%s%s</td></tr>\n",
                         json_is_true(json_object_get(phase, "stopped_early")) ? "stopped early " : "",
                         json_is_true(json_object_get(phase, "kept")) ? "kept" : "");
    }
    graft_buf_text(out, "</tbody></table></div>\n");
}

static int write_plan(graft_buf *out, graft_story *s, graft_err *err) {
    const json_t *stages = json_object_get(s->record, "stages"),
                 *settings = json_object_get(s->record, "settings");
    double all = 0.0, trained = 0.0;
    bool cached = false;
    (void)err;
    if (json_array_size(stages) == 0) return 0;
    for (size_t i = 0; i < json_array_size(stages); i++) {
        all += parameters(json_array_get(stages, i), "parameters");
        trained += parameters(json_array_get(stages, i), "trained");
        cached = cached || json_is_true(json_object_get(json_array_get(stages, i), "cached"));
    }
    graft_buf_text(out, "<p>Plan <code>");
    graft_html_text(out, graft_story_text(settings, "plan"));
    graft_buf_text(out, "</code>: ");
    graft_html_millions(out, trained);
    graft_buf_text(out, " of ");
    graft_html_millions(out, all);
    graft_buf_text(out, " values were trained (");
    graft_html_percent(out, all > 0.0 ? trained / all : NAN);
    graft_buf_text(out, cached ? "). What lies below was run once a sample and its result kept.</p>\n"
                               : ").</p>\n");
    graft_buf_text(
        out, "<ol class=\"stages\" aria-label=\"Stages of the model, from the input to the answer\">\n");
    for (size_t i = 0; i < json_array_size(stages); i++) put_stage(out, json_array_get(stages, i));
    graft_buf_text(out, "</ol>\n");
    put_phases(out, json_object_get(s->record, "phases"));
    return 0;
}

const graft_section graft_section_plan = {"plan", "What was trained", "Plan", write_plan};
