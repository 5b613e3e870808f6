/* Errors belong to the caller: a small struct that may be NULL, filled where the facts are known. */
#ifndef GRAFT_BASE_ERR_H
#define GRAFT_BASE_ERR_H

#include "graft.h"

/** Fills `err` (may be NULL) and returns `code`, so that `return graft_err_set(...)` reads well. Control
 *  characters of the text are replaced by '?', so that names from files keep the message on one line. */
int graft_err_set(graft_err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** ENOMEM with its standard text. */
int graft_err_nomem(graft_err *err);

/** EIO from errno: "cannot <doing> '<path>': <reason>". */
int graft_err_errno(graft_err *err, const char *doing, const char *path);

#endif
