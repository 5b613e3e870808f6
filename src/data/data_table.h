/* A table of text read from CSV, TSV or JSON lines, and what it says about pictures: which column is the
 * path, which the label. */
#ifndef GRAFT_DATA_DATA_TABLE_H
#define GRAFT_DATA_DATA_TABLE_H

#include "data/reader.h"

/** A cell that is there; a row may lack columns (JSON lines). */
typedef struct graft_cell {
    size_t column;
    const char *text; /* NUL-terminated UTF-8 */
} graft_cell;

typedef struct graft_row {
    size_t line; /* of the file, from 1 */
    size_t first_cell, n_cells;
} graft_row;

/** Cells in file order; the arrays are malloced, the texts lie in the arena that parsing was given. */
typedef struct graft_table {
    const char **columns;
    size_t n_columns, columns_capacity;
    graft_row *rows;
    size_t n_rows, rows_capacity;
    graft_cell *cells;
    size_t n_cells, cells_capacity;
} graft_table;

void graft_table_done(graft_table *t);
/** NULL when the row has no such cell. */
const char *graft_table_cell(const graft_table *t, size_t row, size_t column);
/** Position of a column, or -1. */
int64_t graft_table_column(const graft_table *t, const char *name);
int graft_table_add_column(graft_table *t, const char *name, graft_err *err);
/** Starts a row; the cells added next are its own. */
int graft_table_add_row(graft_table *t, size_t line, graft_err *err);
int graft_table_add_cell(graft_table *t, size_t column, const char *text, graft_err *err);

/** Parses CSV (RFC 4180: quotes, embedded newlines; also CRLF, a byte order mark, blank lines) or, with a tab
 * as delimiter, TSV, which has no quotes. delimiter 0: found from the header. `text` is changed in place,
 * ends in a NUL that `size` does not count, and has to outlive the table. Errors: EFORMAT with `origin` and
 * line. */
int graft_csv_parse(graft_table *out, char *text, size_t size, char delimiter, const char *origin,
                    graft_err *err);
/** Parses JSON lines: an object a line; texts, numbers and booleans become cells, the rest is passed over. */
int graft_jsonl_parse(graft_table *out, graft_arena *arena, const char *text, size_t size, const char *origin,
                      graft_err *err);

/** Reads a table's file into `out`, by its extension and first byte; texts live in the arena. */
int graft_table_read(graft_table *out, graft_arena *arena, const char *path, graft_err *err);
/** Lists a table file, or a folder of tables named by part. */
int graft_table_list(graft_listing *l, const char *path, graft_err *err);
/** How sure a folder is one of tables: metadata.csv, or train.csv and the like. */
int graft_table_sniff_folder(const graft_sniffed *s);

/** Is this valid UTF-8 without NUL? If not, *offset is the first bad byte. */
bool graft_is_utf8(const char *text, size_t size, size_t *offset);

#endif
