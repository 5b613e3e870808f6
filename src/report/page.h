/* Whole pages. Private to report/. */
#ifndef GRAFT_REPORT_PAGE_H
#define GRAFT_REPORT_PAGE_H

#include "report/section.h"

/** Everything up to the body's content; `title` is text. */
void graft_page_begin(graft_buf *out, const char *title);
void graft_page_end(graft_buf *out);
/** A page about one run. */
int graft_page_run(graft_buf *out, graft_story *s, graft_err *err);
/** A page about the folder of a graft compare. Errors: EIO, EFORMAT, ENOMEM. */
int graft_page_compare(graft_buf *out, const char *folder, graft_err *err);
/** A page that sets runs [n] side by side. */
int graft_page_runs(graft_buf *out, graft_story *runs, size_t n, graft_err *err);

#endif
