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
    double right;      /* where x ends at least */
    bool log_x;        /* equal factors of x lie equally far apart (x > 0) */
    bool plain;        /* y is any number, else a share, told in per cent */
    bool coloured;     /* for a terminal */
} graft_chart_style;

/** Prints curves over x; what comes first lies on top. Nothing where there are no points. */
void graft_print_chart(FILE *f, const graft_chart_style *style, const graft_chart_curve *curves,
                       size_t n_curves);

/** What came of one epoch; NaN: not known. */
typedef struct graft_fit_point {
    double epoch, loss, accuracy, val_loss, score;
} graft_fit_point;

/** A run's epochs so far. Begins as zero. */
typedef struct graft_fit_curves {
    graft_fit_point *points;
    size_t n, room;
    char score[24]; /* name of the score */
    double last;    /* the epoch that it goes to; 0: the last point's */
} graft_fit_curves;

/** ENOMEM. fit_curves.c */
int graft_fit_curves_add(graft_fit_curves *c, const graft_fit_point *p);
void graft_fit_curves_done(graft_fit_curves *c);
/** Whether a terminal of that size has room for them and a bar below. */
bool graft_fit_curves_have_room(int columns, int rows);
/** Draws them small, for such a terminal. The rows they take; 0: there are no two points, or no room. */
int graft_fit_curves_draw(FILE *f, const graft_fit_curves *c, int columns, int rows);
/** Draws loss and score over the epochs on stderr out of a run's graft.json, as wide as the terminal. */
void graft_print_fit_curves(const char *folder);

#endif
