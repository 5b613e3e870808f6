/* Pieces of HTML and SVG out of whatever a run says. Everything that was not written in this folder goes
 * through graft_html_text, so that neither a class name nor a text can be more than text. Private to report/.
 */
#ifndef GRAFT_REPORT_HTML_H
#define GRAFT_REPORT_HTML_H

#include "base/base.h"

/** Appends text with &, <, >, " and ' escaped; what is not UTF-8 and control characters become U+FFFD, blanks
 * of all kinds stay blanks. */
void graft_html_bytes(graft_buf *out, const char *text, size_t size);
/** The same of a string; NULL: nothing. */
void graft_html_text(graft_buf *out, const char *text);
/** At most `most` characters of it, then an ellipsis. */
void graft_html_short(graft_buf *out, const char *text, size_t size, size_t most);
/** "data:<type>;base64,...". */
void graft_html_data(graft_buf *out, const char *type, const void *bytes, size_t size);

/** 1234567 as "1,234,567". */
void graft_html_count(graft_buf *out, int64_t n);
/** 0.9312 as "93.1 %". */
void graft_html_percent(graft_buf *out, double share);
/** In the fewest sensible digits: 0.00123, 12.3, 1,234. */
void graft_html_number(graft_buf *out, double x);
/** "0.4 s", "12 s", "3 min 20 s", "2 h 5 min". */
void graft_html_seconds(graft_buf *out, double seconds);
/** "117.7 MiB". */
void graft_html_memory(graft_buf *out, double bytes);
/** "12.3 M". */
void graft_html_millions(graft_buf *out, double n);

/* ---- Charts ---- */

/** A line of points; a y that is not finite is left out. `tone` is the class of its colour: "tone-a" is the
 * accent, "tone-m" muted, "k0" to "k9" one of many. */
typedef struct graft_series {
    const char *name, *tone;
    const double *x, *y;
    size_t n;
    bool dashed;
} graft_series;

typedef struct graft_chart {
    const char *title, *x_title;
    const graft_series *series;
    size_t n_series;
    bool percent;   /* of y */
    bool from_zero; /* y begins at 0 */
    double mark_x;  /* a thin line there with `mark`; NAN: none */
    const char *mark;
    bool log_x; /* x is above 0, and its scale logarithmic */
} graft_chart;

/** A figure with caption, legend and SVG; nothing where there are no two points to draw. */
void graft_chart_draw(graft_buf *out, const graft_chart *c);

/** A score with its interval (NaN: none). */
typedef struct graft_span {
    const char *name;
    double score, low, high;
} graft_span;

/** Scores as dots on whiskers, row i in colour i of the ten; nothing where none is known. */
void graft_spans_draw(graft_buf *out, const graft_span *spans, size_t n, bool percent);

/** The least and the largest of sensible ticks around [low, high], and the step between them. */
void graft_chart_ticks(double *low, double *high, double *step, int about);

#endif
