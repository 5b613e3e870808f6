/* Line charts as SVG: thin grid, direct numbers, one legend. Colours are the style's, so that light, dark and
 * print need nothing here. */
#include "report/html.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 360, HEIGHT = 216, LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 34, MOST_POINTS = 400 };

void graft_chart_ticks(double *low, double *high, double *step, int about) {
    double span = *high - *low;
    if (!(span > 0.0)) {
        double pad = fabs(*high) > 0.0 ? fabs(*high) * 0.1 : 1.0;
        *low -= pad;
        *high += pad;
        span = *high - *low;
    }
    double rough = span / about, power = pow(10.0, floor(log10(rough))), share = rough / power;
    *step = power * (share < 1.5 ? 1.0 : share < 3.5 ? 2.0 : share < 7.5 ? 5.0 : 10.0);
    *low = floor(*low / *step + 1e-9) * *step;
    *high = ceil(*high / *step - 1e-9) * *step;
}

typedef struct frame {
    double x_low, x_high, y_low, y_high, x_step, y_step;
    bool log_x; /* x_low and x_high are logarithms */
} frame;

static double across(const frame *f, double x) {
    if (f->log_x) x = log10(fmax(x, 1e-9));
    return LEFT + (x - f->x_low) / (f->x_high - f->x_low) * (WIDTH - LEFT - RIGHT);
}

static double up(const frame *f, double y) {
    return HEIGHT - BOTTOM - (y - f->y_low) / (f->y_high - f->y_low) * (HEIGHT - TOP - BOTTOM);
}

/* What the points span; false where there are no two of them. */
static bool measure(frame *f, const graft_chart *c) {
    size_t n = 0;
    *f = (frame){INFINITY, -INFINITY, INFINITY, -INFINITY, 1.0, 1.0, c->log_x};
    for (size_t s = 0; s < c->n_series; s++) {
        for (size_t i = 0; i < c->series[s].n; i++) {
            double x = c->series[s].x[i], y = c->series[s].y[i];
            if (!isfinite(x) || !isfinite(y)) continue;
            if (c->log_x) x = log10(fmax(x, 1e-9));
            f->x_low = fmin(f->x_low, x);
            f->x_high = fmax(f->x_high, x);
            f->y_low = fmin(f->y_low, y);
            f->y_high = fmax(f->y_high, y);
            n++;
        }
    }
    if (n < 2 || !(f->x_high > f->x_low)) return false;
    if (c->from_zero) f->y_low = fmin(f->y_low, 0.0);
    double x_low = f->x_low, x_high = f->x_high;
    graft_chart_ticks(&f->y_low, &f->y_high, &f->y_step, 4);
    if (c->percent && f->y_high > 1.0) f->y_high = 1.0;
    graft_chart_ticks(&x_low, &x_high, &f->x_step, 5);
    /* between whole epochs there is nothing */
    if (f->x_low == floor(f->x_low) && f->x_high == floor(f->x_high)) f->x_step = fmax(f->x_step, 1.0);
    return true;
}

static void put_tick(graft_buf *out, double value, double step, bool percent) {
    if (percent) {
        graft_buf_printf(out, step < 0.0095 ? "%.1f%%" : "%.0f%%", 100.0 * value);
        return;
    }
    int digits = (int)fmax(0.0, -floor(log10(step) + 1e-9));
    if (digits > 4)
        graft_buf_printf(out, "%.0e", value);
    else
        graft_buf_printf(out, "%.*f", digits, fabs(value) < step * 1e-6 ? 0.0 : value);
}

static void put_x_tick(graft_buf *out, const frame *f, double x, double step) {
    graft_buf_printf(out, "<text x=\"%.1f\" y=\"%d\" class=\"tick mid\">", across(f, x),
                     HEIGHT - BOTTOM + 14);
    put_tick(out, x, step, false);
    graft_buf_text(out, "</text>");
}

static void put_log_ticks(graft_buf *out, const frame *f) {
    static const double marks[] = {1.0, 2.0, 5.0};
    for (double power = floor(f->x_low); power <= f->x_high && power < 15.0; power++) {
        for (size_t i = 0; i < GRAFT_COUNT(marks); i++) {
            double x = marks[i] * pow(10.0, power);
            if (log10(x) < f->x_low - 1e-9 || log10(x) > f->x_high + 1e-9) continue;
            put_x_tick(out, f, x, fmin(1.0, x));
        }
    }
}

static void put_axes(graft_buf *out, const frame *f, const graft_chart *c) {
    int n = (int)lround((f->y_high - f->y_low) / f->y_step);
    for (int i = 0; i <= n && n < 50; i++) {
        double y = f->y_low + i * f->y_step, at = up(f, y);
        if (y > f->y_high * (1.0 + 1e-9) && y > f->y_high + f->y_step * 1e-6) break;
        graft_buf_printf(
            out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" class=\"tick end\">",
            LEFT, at, WIDTH - RIGHT, LEFT - 6, at + 3.5);
        put_tick(out, y, f->y_step, c->percent);
        graft_buf_text(out, "</text>");
    }
    double first = ceil(f->x_low / f->x_step - 1e-9) * f->x_step;
    for (int i = 0; i < 50 && !f->log_x; i++) { /* of very large numbers a step may be none */
        double x = first + i * f->x_step;
        if (!(x <= f->x_high + f->x_step * 1e-6)) break;
        put_x_tick(out, f, x, f->x_step);
    }
    if (f->log_x) put_log_ticks(out, f);
    graft_buf_printf(out, "<text x=\"%d\" y=\"%d\" class=\"tick end\">", WIDTH - RIGHT, HEIGHT - 4);
    graft_html_text(out, c->x_title);
    graft_buf_text(out, "</text>");
}

/* Of very many points so few are drawn that a path stays small. */
static void put_line(graft_buf *out, const frame *f, const graft_series *s) {
    size_t stride = s->n > MOST_POINTS ? (s->n + MOST_POINTS - 1) / MOST_POINTS : 1, drawn = 0;
    graft_buf_printf(out, "<path class=\"line %s%s\" d=\"", s->tone, s->dashed ? " dashed" : "");
    double last_x = NAN, last_y = NAN;
    for (size_t i = 0; i < s->n; i++) {
        if ((i % stride && i + 1 < s->n) || !isfinite(s->x[i]) || !isfinite(s->y[i])) continue;
        last_x = across(f, s->x[i]);
        last_y = up(f, s->y[i]);
        graft_buf_printf(out, "%s%.1f %.1f", drawn++ ? "L" : "M", last_x, last_y);
    }
    graft_buf_text(out, drawn ? "\"/>" : "M0 0\"/>");
    if (drawn)
        graft_buf_printf(out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/>", s->tone, last_x,
                         last_y);
}

/* A line that goes on as another (dashed) is named once. */
static bool is_named(const graft_chart *c, size_t s) {
    for (size_t before = 0; before < s; before++)
        if (strcmp(c->series[before].name, c->series[s].name) == 0 && c->series[before].n > 0 &&
            strcmp(c->series[before].tone, c->series[s].tone) == 0)
            return true;
    return c->series[s].n == 0;
}

static void put_legend(graft_buf *out, const graft_chart *c) {
    graft_buf_text(out, "<span class=\"legend\">");
    for (size_t s = 0; s < c->n_series; s++) {
        if (is_named(c, s)) continue;
        graft_buf_printf(out, "<span class=\"key %s%s\">", c->series[s].tone,
                         c->series[s].dashed ? " dashed" : "");
        graft_html_text(out, c->series[s].name);
        graft_buf_text(out, "</span>");
    }
    graft_buf_text(out, "</span>");
}

void graft_chart_draw(graft_buf *out, const graft_chart *c) {
    frame f;
    if (!measure(&f, c)) return;
    graft_buf_text(out, "<figure class=\"chart\"><figcaption><span class=\"name\">");
    graft_html_text(out, c->title);
    graft_buf_text(out, "</span>");
    if (c->n_series > 1) put_legend(out, c);
    graft_buf_printf(out, "</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
                     HEIGHT);
    graft_html_text(out, c->title);
    for (size_t s = 0; s < c->n_series; s++) {
        const graft_series *line = &c->series[s];
        if (line->n == 0) continue;
        graft_buf_text(out, s ? "; " : ": ");
        graft_html_text(out, line->name);
        graft_buf_text(out, " from ");
        graft_html_number(out, line->y[0]);
        graft_buf_text(out, " to ");
        graft_html_number(out, line->y[line->n - 1]);
    }
    graft_buf_text(out, "\">");
    put_axes(out, &f, c);
    if (isfinite(c->mark_x) && c->mark_x >= f.x_low && c->mark_x <= f.x_high) {
        double x = across(&f, c->mark_x);
        bool right = x < WIDTH * 0.7;
        graft_buf_printf(
            out, "<path class=\"mark\" d=\"M%.1f %dV%d\"/><text class=\"tick%s\" x=\"%.1f\" y=\"%d\">", x,
            TOP, HEIGHT - BOTTOM, right ? "" : " end", right ? x + 4 : x - 4, TOP + 9);
        graft_html_text(out, c->mark);
        graft_buf_text(out, "</text>");
    }
    for (size_t s = 0; s < c->n_series; s++) put_line(out, &f, &c->series[s]);
    graft_buf_text(out, "</svg></figure>\n");
}
