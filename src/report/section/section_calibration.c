/* Reliability: how often answers of some confidence are right (Guo et al. 2017). */
#include "report/section.h"

#include <math.h>

/* A square plot; the numbers of answers hang below it. */
enum {
    WIDTH = 360,
    LEFT = 44,
    EDGE = 12,
    TOP = 8,
    SPAN = WIDTH - LEFT - EDGE,
    BASE = TOP + SPAN,
    TALLY = BASE + 30,
    BAR = 40
};
static const double span = SPAN;

/* Of one class a sample: the likeliest's confidence. Of several: of every decision the share said, against
 * how often the class applies. */
static void count(graft_reliability_bins *r, const graft_story *s) {
    const graft_answers *a = &s->kept.answers;
    for (int64_t i = 0; i < a->n_samples; i++) {
        const graft_verdict *v = &s->verdicts[i];
        if (s->task == GRAFT_TASK_CLASSES && v->label >= 0) graft_reliability_add(r, v->confidence, v->right);
        for (int64_t c = 0; s->task == GRAFT_TASK_MULTILABEL && c < a->k; c++)
            graft_reliability_add(r, 1.0 / (1.0 + exp(-(double)a->logits[i * a->k + c])),
                                  a->targets[i * a->k + c] > 0.5F);
    }
}

static void put_grid(graft_buf *out) {
    for (int i = 0; i <= 4; i++) {
        double at = span * i / 4.0;
        graft_buf_printf(
            out,
            "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"tick end\" x=\"%d\" y=\"%.1f\">%d%%</text>"
            "<text class=\"tick mid\" x=\"%.1f\" y=\"%d\">%d%%</text>",
            LEFT, BASE - at, WIDTH - EDGE, LEFT - 6, BASE - at + 3.5, 25 * i, LEFT + at, BASE + 14, 25 * i);
    }
}

static void put_bins(graft_buf *out, const graft_reliability_bins *r) {
    double width = span / GRAFT_RELIABILITY_BINS;
    int64_t most = 1;
    for (int b = 0; b < GRAFT_RELIABILITY_BINS; b++) most = r->counts[b] > most ? r->counts[b] : most;
    for (int b = 0; b < GRAFT_RELIABILITY_BINS; b++) {
        if (r->counts[b] == 0) continue;
        double n = (double)r->counts[b], right = r->right[b] / n, said = r->confidence[b] / n;
        double top = BASE - span * right, level = BASE - span * said;
        double tall = BAR * sqrt(n / (double)most);
        graft_buf_printf(
            out,
            "<g><title>said %.0f%%, right %.0f%% of %lld</title><rect class=\"tone-a bin\" x=\"%.1f\" "
            "y=\"%.1f\" "
            "width=\"%.1f\" height=\"%.1f\"/><path class=\"said\" d=\"M%.1f %.1fh%.1f\"/>"
            "<rect class=\"tone-m bin\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></g>",
            100.0 * said, 100.0 * right, (long long)r->counts[b], LEFT + b * width + 1, top, width - 2,
            BASE - top, LEFT + b * width, level, width, LEFT + b * width + 1, TALLY + BAR - tall, width - 2,
            tall);
    }
}

static void put_temperature(graft_buf *out, const graft_story *s) {
    const json_t *object = json_object_get(s->record, "calibration");
    double value = graft_story_number(object, "temperature");
    double before = graft_story_number(object, "ece_before"), after = graft_story_number(object, "ece_after");
    if (!isfinite(value)) return;
    if (json_is_true(json_object_get(object, "refused"))) {
        graft_buf_text(out, " A temperature was looked for and left at 1: on ");
        graft_html_number(out, graft_story_number(object, "n"));
        graft_buf_text(out, " validation samples its gain is not beyond its standard error.");
        return;
    }
    graft_buf_text(out, " Its outputs are divided by a temperature of ");
    graft_html_number(out, value);
    if (isfinite(before) && isfinite(after)) {
        graft_buf_text(out, ", which brings the error on the validation part from ");
        graft_html_percent(out, before);
        graft_buf_text(out, " to ");
        graft_html_percent(out, after);
    }
    graft_buf_text(out, ".");
}

static int write_calibration(graft_buf *out, graft_story *s, graft_err *err) {
    graft_reliability_bins r = {0};
    (void)err;
    if (s->task == GRAFT_TASK_CLASSES || s->task == GRAFT_TASK_MULTILABEL) count(&r, s);
    if (r.n < 5) return 0;
    double confidence = 0.0, right = 0.0;
    for (int b = 0; b < GRAFT_RELIABILITY_BINS; b++) {
        confidence += r.confidence[b];
        right += r.right[b];
    }
    graft_buf_text(out,
                   "<div class=\"beside\"><figure class=\"chart square\"><figcaption><span class=\"name\">");
    graft_buf_text(out, s->task == GRAFT_TASK_CLASSES ? "How often it is right, by what it said"
                                                      : "How often a class applies, by what was said");
    graft_buf_printf(
        out,
        "</span></figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Reliability in %d bins of "
        "confidence, with the number of answers in each below\">",
        WIDTH, TALLY + BAR + 8, GRAFT_RELIABILITY_BINS);
    put_grid(out);
    put_bins(out, &r);
    graft_buf_printf(
        out,
        "<path class=\"mark\" d=\"M%d %dL%d %d\"/><text class=\"tick\" x=\"%d\" y=\"%d\">what it "
        "said</text><text class=\"tick\" x=\"%d\" y=\"%d\">answers</text></svg></figure>\n",
        LEFT, BASE, WIDTH - EDGE, TOP, LEFT + 6, BASE - 6, LEFT, TALLY + BAR - 2);
    graft_buf_text(out, "<div><p><b class=\"figure\">");
    graft_html_percent(out, graft_reliability_error(&r));
    graft_buf_text(out, "</b> expected calibration error: how far confidence and truth lie apart, on "
                        "average.</p><p>On average "
                        "it said ");
    graft_html_percent(out, confidence / (double)r.n);
    graft_buf_text(out, s->task == GRAFT_TASK_CLASSES ? " and was right in " : " and the class applied in ");
    graft_html_percent(out, right / (double)r.n);
    double off = (confidence - right) / (double)r.n;
    graft_buf_text(out, off > 0.02    ? ": too sure of itself."
                        : off < -0.02 ? ": surer than it says."
                                      : ": well matched.");
    put_temperature(out, s);
    graft_buf_text(out, "</p><p class=\"about\">A bar that ends below its short dash is a confidence "
                        "that was too high.</p></div></div>\n");
    return 0;
}

const graft_section graft_section_calibration = {"calibration", "Is its confidence to be trusted?",
                                                 "Calibration", write_calibration};
