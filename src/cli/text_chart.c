#include "cli/chart.h"

#include <math.h>
#include <string.h>

enum { MOST_COLUMNS = 65, MOST_ROWS = 15, LEAST_COLUMNS = 16, LEAST_ROWS = 3 };

/* ECMA-48 colours of the curves in their order. */
static const int colours[] = {36, 33, 35, 32, 34, 31};

typedef struct canvas {
    const graft_chart_style *style;
    char cells[MOST_ROWS][MOST_COLUMNS + 1];      /* rows from below; each ends in a NUL */
    unsigned char owner[MOST_ROWS][MOST_COLUMNS]; /* whose curve a cell is of */
    int columns, rows;
    double left, right, low, high;
} canvas;

static int within(int asked, int least, int most) {
    return asked == 0 || asked > most ? most : asked < least ? least : asked;
}

static double place(const canvas *c, double x) {
    return c->style->log_x ? log(x) : x;
}

static void plot(canvas *c, int column, int row, char mark, size_t curve) {
    if (column < 0 || column >= c->columns || row < 0 || row >= c->rows) return;
    c->cells[row][column] = mark;
    c->owner[row][column] = (unsigned char)(curve % GRAFT_COUNT(colours));
}

static int column_of(const canvas *c, double x) {
    double span = place(c, c->right) - place(c, c->left);
    return span > 0 ? (int)lround((place(c, x) - place(c, c->left)) / span * (c->columns - 1)) : 0;
}

static int row_of(const canvas *c, double y) {
    return (int)lround((y - c->low) / (c->high - c->low) * (c->rows - 1));
}

/* Its points, and between them a line of dots. */
static void draw(canvas *c, const graft_chart_curve *curve, size_t number) {
    for (size_t i = 0; i + 1 < curve->n; i++) {
        int from = column_of(c, curve->points[i].x), to = column_of(c, curve->points[i + 1].x);
        int first = row_of(c, curve->points[i].y), last = row_of(c, curve->points[i + 1].y);
        for (int column = from + 1; column < to; column++)
            plot(c, column, first + (int)lround((double)(last - first) * (column - from) / (to - from)), '.',
                 number);
    }
    for (size_t i = 0; i < curve->n; i++)
        plot(c, column_of(c, curve->points[i].x), row_of(c, curve->points[i].y), curve->mark, number);
}

/* The range of all points; shares in whole steps of 5 %. */
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
    c->right = fmax(c->right, c->style->right);
    if (c->style->plain) {
        double least = fmax(1e-3 * fabs(c->low), 1e-9);
        c->high = fmax(c->high, c->low + least);
        return true;
    }
    c->low = floor(c->low * 20.0) / 20.0;
    c->high = fmax(ceil(c->high * 20.0) / 20.0, c->low + 0.05);
    return true;
}

/* One row without the blanks at its end; of one colour as long as one curve goes on. */
static void print_row(FILE *f, const canvas *c, int row) {
    int size = c->columns, colour = -1;
    const char *cells = c->cells[row];
    while (size && cells[size - 1] == ' ') size--;
    for (int i = 0; i < size; i++) {
        int wanted = cells[i] == ' ' ? colour : c->owner[row][i];
        if (c->style->coloured && wanted != colour) fprintf(f, "\033[%dm", colours[wanted]);
        colour = wanted;
        fputc(cells[i], f);
    }
    fputs(c->style->coloured && colour >= 0 ? "\033[0m\n" : "\n", f);
}

static void print_rows(FILE *f, const canvas *c) {
    int middle = (c->rows - 1) / 2;
    for (int row = c->rows - 1; row >= 0; row--) {
        double y = c->low + (c->high - c->low) * row / (c->rows - 1);
        bool is_told = row == 0 || row == middle || row == c->rows - 1;
        if (!is_told)
            fprintf(f, "%8s |", "");
        else if (c->style->plain)
            fprintf(f, "%8.3g |", y);
        else
            fprintf(f, "%6.1f %% |", 100.0 * y);
        print_row(f, c, row);
    }
}

static void print_legend(FILE *f, const canvas *c, const graft_chart_curve *curves, size_t n) {
    fprintf(f, "%9s", "");
    for (size_t k = 0; k < n; k++) {
        if (curves[k].n == 0) continue;
        if (c->style->coloured)
            fprintf(f, " \033[%dm%c %s\033[0m  ", colours[k % GRAFT_COUNT(colours)], curves[k].mark,
                    curves[k].name);
        else
            fprintf(f, " %c %s  ", curves[k].mark, curves[k].name);
    }
    fputc('\n', f);
}

void graft_print_chart(FILE *f, const graft_chart_style *style, const graft_chart_curve *curves,
                       size_t n_curves) {
    canvas c = {.style = style,
                .columns = within(style->width, LEAST_COLUMNS, MOST_COLUMNS),
                .rows = within(style->height, LEAST_ROWS, MOST_ROWS)};
    char line[MOST_COLUMNS + 1], first[32], last[32];
    if (!measure(&c, curves, n_curves)) return;
    for (int row = 0; row < c.rows; row++) memset(c.cells[row], ' ', (size_t)c.columns);
    for (size_t k = n_curves; k-- > 0;) draw(&c, &curves[k], k);
    fprintf(f, "\n%s\n", style->title);
    print_rows(f, &c);
    memset(line, '-', (size_t)c.columns);
    line[c.columns] = '\0';
    snprintf(first, sizeof first, "%.3g", c.left);
    snprintf(last, sizeof last, "%.4g", c.right);
    fprintf(f, "%8s +%s\n%10s%s%*s %s\n", "", line, "", first, c.columns - (int)strlen(first), last,
            style->x_name);
    print_legend(f, &c, curves, n_curves);
}
