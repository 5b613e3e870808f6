#include "cli/chart.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 64, HEIGHT = 14 };

typedef struct canvas {
    char cells[HEIGHT + 1][WIDTH + 2]; /* rows from below; each ends in a NUL */
    double left, right, low, high;
    bool log_x;
} canvas;

static double place(const canvas *c, double x) {
    return c->log_x ? log(x) : x;
}

static void plot(canvas *c, int column, int row, char mark) {
    if (column >= 0 && column <= WIDTH && row >= 0 && row <= HEIGHT) c->cells[row][column] = mark;
}

static int column_of(const canvas *c, double x) {
    double span = place(c, c->right) - place(c, c->left);
    return span > 0 ? (int)lround((place(c, x) - place(c, c->left)) / span * WIDTH) : 0;
}

static int row_of(const canvas *c, double y) {
    return (int)lround((y - c->low) / (c->high - c->low) * HEIGHT);
}

/* Its points, and between them a line of dots. */
static void draw(canvas *c, const graft_chart_curve *curve) {
    for (size_t i = 0; i + 1 < curve->n; i++) {
        int from = column_of(c, curve->points[i].x), to = column_of(c, curve->points[i + 1].x);
        int first = row_of(c, curve->points[i].y), last = row_of(c, curve->points[i + 1].y);
        for (int column = from + 1; column < to; column++)
            plot(c, column, first + (int)lround((double)(last - first) * (column - from) / (to - from)), '.');
    }
    for (size_t i = 0; i < curve->n; i++)
        plot(c, column_of(c, curve->points[i].x), row_of(c, curve->points[i].y), curve->mark);
}

/* The range of all points; y in whole steps of 5 %. */
static bool measure(canvas *c, const graft_chart_curve *curves, size_t n) {
    size_t n_points = 0;
    c->left = c->low = INFINITY;
    c->right = c->high = -INFINITY;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < curves[k].n; i++, n_points++) {
            c->left = fmin(c->left, curves[k].points[i].x);
            c->right = fmax(c->right, curves[k].points[i].x);
            c->low = fmin(c->low, curves[k].points[i].y);
            c->high = fmax(c->high, curves[k].points[i].y);
        }
    if (n_points == 0) return false;
    c->low = floor(c->low * 20.0) / 20.0;
    c->high = fmax(ceil(c->high * 20.0) / 20.0, c->low + 0.05);
    return true;
}

void graft_print_chart(FILE *f, const char *title, const char *x_name, const graft_chart_curve *curves,
                       size_t n_curves, bool log_x) {
    canvas c = {.log_x = log_x};
    char line[WIDTH + 2], first[32], last[32];
    if (!measure(&c, curves, n_curves)) return;
    for (int row = 0; row <= HEIGHT; row++) memset(c.cells[row], ' ', WIDTH + 1);
    for (size_t k = n_curves; k-- > 0;) draw(&c, &curves[k]);
    fprintf(f, "\n%s\n", title);
    for (int row = HEIGHT; row >= 0; row--) {
        size_t size = WIDTH + 1;
        while (size && c.cells[row][size - 1] == ' ') size--;
        c.cells[row][size] = '\0';
        if (row % (HEIGHT / 2) == 0)
            fprintf(f, "%6.1f %% |%s\n", 100.0 * (c.low + (c.high - c.low) * row / HEIGHT), c.cells[row]);
        else
            fprintf(f, "%8s |%s\n", "", c.cells[row]);
    }
    memset(line, '-', WIDTH + 1);
    line[WIDTH + 1] = '\0';
    snprintf(first, sizeof first, "%.3g", c.left);
    snprintf(last, sizeof last, "%.4g", c.right);
    fprintf(f, "%8s +%s\n%10s%s%*s %s\n", "", line, "", first, (int)(WIDTH + 1 - strlen(first)), last,
            x_name);
    fprintf(f, "%9s", "");
    for (size_t k = 0; k < n_curves; k++)
        if (curves[k].n) fprintf(f, " %c %s  ", curves[k].mark, curves[k].name);
    fputc('\n', f);
}
