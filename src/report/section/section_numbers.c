/* Numbers said against numbers labelled. */
#include "report/section.h"

#include <math.h>

enum { SIDE = 360, LEFT = 44, EDGE = 10, BOTTOM = 34, MOST = 2000 };

static double place(double x, double low, double high) {
    return (x - low) / (high - low) * (SIDE - LEFT - EDGE);
}

static void put_ticks(graft_buf *out, double low, double high, double step) {
    int digits = (int)fmax(0.0, -floor(log10(step) + 1e-9));
    int n = (int)lround((high - low) / step);
    for (int i = 0; i <= n && n < 50; i++) {
        double x = low + i * step, at = place(x, low, high), y = SIDE - BOTTOM - at;
        graft_buf_printf(
            out,
            "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"tick end\" x=\"%d\" y=\"%.1f\">%.*f</text>"
            "<text class=\"tick mid\" x=\"%.1f\" y=\"%d\">%.*f</text>",
            LEFT, y, SIDE - EDGE, LEFT - 6, y + 3.5, digits, x, LEFT + at, SIDE - BOTTOM + 14, digits, x);
    }
}

static int write_numbers(graft_buf *out, graft_story *s, graft_err *err) {
    const graft_answers *a = &s->kept.answers;
    double low = INFINITY, high = -INFINITY, step;
    (void)err;
    if (s->task != GRAFT_TASK_REGRESSION || a->n_samples < 2) return 0;
    for (int64_t i = 0; i < a->n; i++) {
        double said = (double)a->logits[i], truth = (double)a->targets[i];
        if (!isfinite(said) || !isfinite(truth)) continue;
        low = fmin(low, fmin(said, truth));
        high = fmax(high, fmax(said, truth));
    }
    if (!isfinite(low)) return 0;
    graft_chart_ticks(&low, &high, &step, 5);
    int64_t stride = (a->n + MOST - 1) / MOST, drawn = 0;
    graft_buf_printf(
        out,
        "<figure class=\"chart square\"><figcaption><span class=\"name\">Answer against "
        "label</span></figcaption>"
        "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Scatter of the number said against the number "
        "labelled; the thin line is where they are equal\">",
        SIDE, SIDE);
    put_ticks(out, low, high, step);
    graft_buf_printf(out, "<path class=\"mark\" d=\"M%d %dL%d %d\"/><g class=\"tone-a points\">", LEFT,
                     SIDE - BOTTOM, SIDE - EDGE, SIDE - BOTTOM - (SIDE - LEFT - EDGE));
    for (int64_t i = 0; i < a->n; i += stride) {
        double said = (double)a->logits[i], truth = (double)a->targets[i];
        if (!isfinite(said) || !isfinite(truth)) continue;
        graft_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.4\"/>", LEFT + place(truth, low, high),
                         SIDE - BOTTOM - place(said, low, high));
        drawn++;
    }
    graft_buf_printf(out, "</g><text class=\"tick end\" x=\"%d\" y=\"%d\">label</text></svg></figure>\n",
                     SIDE - EDGE, SIDE - 4);
    if (drawn < s->kept.n_all)
        graft_buf_printf(out, "<p class=\"about\">%lld of %lld samples are drawn.</p>\n", (long long)drawn,
                         (long long)s->kept.n_all);
    return 0;
}

const graft_section graft_section_numbers = {"numbers", "Answer against label", "Scatter", write_numbers};
