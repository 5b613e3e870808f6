/* The door of report/: graft_report in graft.h is all that others see; its parts are in story.h (what is
 * told), html.h (how it is written) and section.h (in which order). */
#ifndef GRAFT_REPORT_H
#define GRAFT_REPORT_H

#include "transfer/transfer.h"

#endif
