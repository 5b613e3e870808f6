/* JSON through jansson, with errors that name file, line and column. */
#ifndef GRAFT_BASE_JSON_H
#define GRAFT_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "graft.h"
#include <jansson.h>

/** Parses `size` bytes that came from `origin` (a path, for messages). Duplicate keys are an error. The value
 * is released when the arena goes. */
int graft_json_parse(json_t **out, graft_arena *arena, const char *text, size_t size, const char *origin,
                     graft_err *err);
/** Reads and parses a file of at most 100 MB. */
int graft_json_read(json_t **out, graft_arena *arena, const char *path, graft_err *err);
/** Appends the value's text: keys sorted (decimal ones by number), two spaces of indent, reals in the fewest
 * digits that read back the same. */
void graft_json_print(graft_buf *out, const json_t *value);
/** Writes that text and a final newline atomically. */
int graft_json_write(const char *path, const json_t *value, graft_err *err);

/** A string value of text that need not be UTF-8, as paths are: where it is not, all but ASCII becomes '?'.
 * NULL when out of memory. */
json_t *graft_json_string(const char *text);

/** Members of an object with a default when absent or null; EFORMAT with `origin` and key when of another
 * type. */
int graft_json_int(const json_t *o, const char *key, int64_t absent, int64_t *out, const char *origin,
                   graft_err *err);
int graft_json_real(const json_t *o, const char *key, double absent, double *out, const char *origin,
                    graft_err *err);
int graft_json_bool(const json_t *o, const char *key, bool absent, bool *out, const char *origin,
                    graft_err *err);
/** The string is borrowed from `o`. */
int graft_json_text(const json_t *o, const char *key, const char *absent, const char **out,
                    const char *origin, graft_err *err);

/** A double as hexadecimal text, which comes back bit for bit. The caller owns one reference. */
json_t *graft_json_exact(double x);
/** The double that graft_json_exact made, under `key`; 0 when there is none. */
double graft_json_inexact(const json_t *o, const char *key);

#endif
