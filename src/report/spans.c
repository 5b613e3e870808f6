/* Scores side by side: a dot on the whisker of its interval. */
#include "report/html.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 420, LEFT = 116, RIGHT = 58, ROW = 24, COLOURS = 10 };

static double across(double x, double low, double high) {
    return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT);
}

static void put_span(graft_buf *out, const graft_span *s, double low, double high, size_t i, bool percent) {
    double y = (double)i * ROW + ROW / 2.0;
    graft_buf_printf(out, "<text class=\"tick end\" x=\"%d\" y=\"%.1f\">", LEFT - 10, y + 4);
    graft_html_short(out, s->name, strlen(s->name), 17);
    graft_buf_text(out, "</text>");
    if (!isfinite(s->score)) return;
    if (isfinite(s->low) && isfinite(s->high))
        graft_buf_printf(out, "<path class=\"line k%zu\" d=\"M%.1f %.1fH%.1f\"/>", i % COLOURS,
                         across(s->low, low, high), y, across(s->high, low, high));
    graft_buf_printf(out,
                     "<circle class=\"dot k%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/><text class=\"tick\" "
                     "x=\"%d\" y=\"%.1f\">",
                     i % COLOURS, across(s->score, low, high), y, WIDTH - RIGHT + 12, y + 4);
    if (percent)
        graft_html_percent(out, s->score);
    else
        graft_buf_printf(out, "%.3f", s->score);
    graft_buf_text(out, "</text>");
}

void graft_spans_draw(graft_buf *out, const graft_span *spans, size_t n, bool percent) {
    double low = INFINITY, high = -INFINITY, step;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, isfinite(spans[i].low) ? spans[i].low : spans[i].score);
        high = fmax(high, isfinite(spans[i].high) ? spans[i].high : spans[i].score);
    }
    if (!isfinite(low) || !isfinite(high)) return;
    graft_chart_ticks(&low, &high, &step, 4);
    graft_buf_printf(
        out,
        "<figure class=\"chart wide\"><figcaption><span class=\"name\">Score and its 95&#8239;%% "
        "interval</span></figcaption><svg viewBox=\"0 0 %d %zu\" role=\"img\" aria-label=\"Scores with "
        "their intervals\">",
        WIDTH, n * ROW + 24);
    int ticks = (int)lround((high - low) / step);
    for (int t = 0; t <= ticks && ticks < 50; t++) {
        double value = low + t * step, x = across(value, low, high);
        graft_buf_printf(
            out, "<path class=\"grid\" d=\"M%.1f 0V%zu\"/><text class=\"tick mid\" x=\"%.1f\" y=\"%zu\">", x,
            n * ROW, x, n * ROW + 16);
        graft_buf_printf(out,
                         percent && step < 0.0095 ? "%.1f%%"
                         : percent                ? "%.0f%%"
                                                  : "%.3g",
                         percent ? 100.0 * value : value);
        graft_buf_text(out, "</text>");
    }
    for (size_t i = 0; i < n; i++) put_span(out, &spans[i], low, high, i, percent);
    graft_buf_text(out, "</svg></figure>\n");
}
