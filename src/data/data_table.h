/* A table of text read from CSV, TSV or JSON lines, and what it says about pictures or texts: which column is
 * the path or the text, which the label. */
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
    const char *fault; /* why the row cannot be read; NULL: it can */
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
int graft_csv_parse(graft_table *out, graft_arena *arena, char *text, size_t size, char delimiter,
                    const char *origin, graft_err *err);
/** The same without a header: the columns are called "1", "2", ..., and the first row is a row. */
int graft_csv_rows(graft_table *out, graft_arena *arena, char *text, size_t size, char delimiter,
                   const char *origin, graft_err *err);
/** The first row, which has every cell, becomes the columns' names. EFORMAT when two are equal. */
int graft_table_take_header(graft_table *t, const char *origin, graft_err *err);
/** Parses JSON lines: an object a line; texts, numbers and booleans become cells, and so do lists of them,
 * with GRAFT_LABEL_SEPARATOR in between; the rest is passed over. A row that is not UTF-8 or has half a
 * surrogate pair has a fault and no cells. */
int graft_jsonl_parse(graft_table *out, graft_arena *arena, const char *text, size_t size, const char *origin,
                      graft_err *err);

/** Reads a table's file into `out`, by its extension and first byte; texts live in the arena. *is_bare: these
 * are rows of CSV whose header, if there is one, is still to be taken. */
int graft_table_read(graft_table *out, graft_arena *arena, const char *path, bool *is_bare, graft_err *err);
/** The column that a user names, or gives by its number from 1; EUSAGE with `what` and the columns that there
 * are. */
int graft_table_named(const graft_table *t, const char *name, const char *what, const char *path,
                      int64_t *out, graft_err *err);
/** The first column called by one of these names (in their order, whatever the case; ended by NULL), or -1.
 */
int64_t graft_table_guess(const graft_table *t, const char *const *names);
/** Names that labels have in tables of any kind, and the column that says the parts (-1: none does). */
extern const char *const graft_label_columns[];
int64_t graft_table_split_column(const graft_table *t);
/** A cell without the blanks at both ends, in the arena; NULL when nothing is left or there is no cell. */
int graft_table_trimmed(const graft_table *t, graft_arena *arena, size_t row, int64_t column,
                        const char **out, graft_err *err);
/** Fills in a row's label, group and part from their columns (-1: none). */
typedef struct graft_table_columns {
    int64_t input, pair, label, split, group;
} graft_table_columns;
int graft_table_answers(graft_listing *l, const graft_table *t, const char *path, size_t row,
                        const graft_table_columns *c, graft_found *f, graft_err *err);
/** Lists the texts of a table; is_bare as graft_table_read has it. */
int graft_text_table_take(graft_listing *l, graft_table *t, bool is_bare, const char *path, graft_part part,
                          graft_err *err);
/** Lists a file of texts. */
int graft_text_table_list(graft_listing *l, const char *path, graft_part part, graft_err *err);
/** Lists a table file, or a folder of tables named by part. */
int graft_table_list(graft_listing *l, const char *path, graft_err *err);
/** How sure a folder is one of tables: metadata.csv, or train.csv and the like. */
int graft_table_sniff_folder(const graft_sniffed *s);

#endif
