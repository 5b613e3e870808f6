/* Curves drawn with characters. Private to cli/. */
#ifndef GRAFT_CLI_CHART_H
#define GRAFT_CLI_CHART_H

#include "cli/cli.h"

typedef struct graft_chart_point {
    double x, y;
} graft_chart_point;

typedef struct graft_chart_curve {
    const char *name;
    char mark;
    const graft_chart_point *points; /* in rising x */
    size_t n;
} graft_chart_curve;

/** How a chart looks. Zero: the default. */
typedef struct graft_chart_style {
    const char *title, *x_name;
    int width, height; /* places of the drawing itself, axes apart; 65 and 15, which are the most */
    bool log_x;        /* equal factors of x lie equally far apart (x > 0) */
    bool plain;        /* y is any number, else a share, told in per cent */
    bool coloured;     /* for a terminal */
} graft_chart_style;

/** Prints curves over x; what comes first lies on top. Nothing where there are no points. */
void graft_print_chart(FILE *f, const graft_chart_style *style, const graft_chart_curve *curves,
                       size_t n_curves);

/** Draws loss and score over the epochs on stderr out of a run's graft.json, as wide as the terminal.
 * fit_curves.c */
void graft_print_fit_curves(const char *folder);

#endif
