/* Texts whose unit is the line. Parsed in place: what is listed points into `text`, which lies in the
 * listing's arena and ends in a NUL that `size` does not count. */
#ifndef GRAFT_DATA_TEXT_LINES_H
#define GRAFT_DATA_TEXT_LINES_H

#include "data/reader.h"

/** Takes the next line off [*at, end): *line is its start, and its length without the line's end is returned.
 */
size_t graft_line_next(char **at, char *end, char **line);

/** CoNLL columns: a word a line, its tag in the last column, a blank line between sentences. Columns are
 * parted by tabs, or by blanks where the first line has no tab. Lines "-DOCSTART-" and comments are passed
 * over. One column alone is words without tags. EFORMAT with `origin` and line when the number of columns
 * changes. */
int graft_conll_parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                      graft_err *err);
/** fastText's lines: labels in front, each a word that begins with "__label__", then the text. */
int graft_fasttext_parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                         graft_err *err);
/** A text a line. A blank line is a bad sample, so that the others keep their numbers. */
int graft_lines_parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                      graft_err *err);

/** Reads a file and hands it to one of these. */
int graft_lines_list(graft_listing *l, const char *path, graft_part part,
                     int (*parse)(graft_listing *l, char *text, size_t size, const char *origin,
                                  graft_part part, graft_err *err),
                     const char *description, graft_err *err);
/** The first bytes of the first file of a folder that is named by part and that `is_mine` takes, into head
 * [*size]; *size 0 when there is none. Negative: ENOMEM. */
int graft_lines_head(const graft_sniffed *s, bool (*is_mine)(const char *name), unsigned char *head,
                     size_t *size);

#endif
