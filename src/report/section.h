/* The parts of a page: one file a part in section/, one line in section/list.h, written in that order. A part
 * that has nothing to say of a run writes nothing and is left out. Private to report/. */
#ifndef GRAFT_REPORT_SECTION_H
#define GRAFT_REPORT_SECTION_H

#include "report/html.h"
#include "report/story.h"

typedef struct graft_section {
    const char *id, *title, *link; /* link: its name among the page's links */
    int (*write)(graft_buf *out, graft_story *s, graft_err *err);
} graft_section;

#define GRAFT_SECTION(name) extern const graft_section graft_section_##name;
#include "report/section/list.h"
#undef GRAFT_SECTION

/** Classes above which a matrix shows those that are confused most. */
enum { GRAFT_MATRIX_CLASSES = 30 };

/** Fills s->picks. Errors: ENOMEM. cards.c */
int graft_picks_make(graft_story *s, graft_err *err);
/** A sample of the data as a figure: its picture or text, and below it what `caption` (HTML) says and where
 * it comes from. `attributes` (may be "") go into the figure's tag. */
int graft_card_write(graft_buf *out, const graft_story *s, int64_t sample, const char *attributes,
                     const char *caption, graft_err *err);
/** The figure of a verdict, with what was said and what the label is. */
int graft_card_verdict(graft_buf *out, const graft_story *s, int64_t verdict, graft_err *err);

#endif
