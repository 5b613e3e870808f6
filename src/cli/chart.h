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

/** Prints curves over x; y is a share, told in per cent. `log_x`: equal factors of x lie equally far apart (x
 * > 0). What comes first lies on top. */
void graft_print_chart(FILE *f, const char *title, const char *x_name, const graft_chart_curve *curves,
                       size_t n_curves, bool log_x);

#endif
