/* The page's style and script: report.css and report.js beside this file, put into the library by
 * cmake/embed.cmake. Private to report/. */
#ifndef GRAFT_REPORT_ASSETS_H
#define GRAFT_REPORT_ASSETS_H

#include <stddef.h>

extern const unsigned char graft_report_css[], graft_report_js[];
extern const size_t graft_report_css_size, graft_report_js_size;

#endif
