/* CSV as RFC 4180 has it (quotes, doubled quotes, newlines within quotes) and as it is found (semicolons,
 * CRLF, a byte order mark, blank lines), and TSV, in which a quote is a character like any other. One pass,
 * in place: a field's closing delimiter becomes its NUL. */
#include "data/data_table.h"
#include <string.h>

typedef struct parser {
    char *at, *end;
    char delimiter;
    bool quotes;
    size_t line;
    const char *origin;
    graft_arena *arena;
} parser;

/* The delimiter that the header has most of, outside quotes. */
static char guess_delimiter(const char *text, const char *end) {
    size_t commas = 0, semicolons = 0, tabs = 0;
    bool quoted = false;
    for (; text < end && (quoted || (*text != '\n' && *text != '\r')); text++) {
        if (*text == '"') quoted = !quoted;
        if (quoted) continue;
        commas += *text == ',';
        semicolons += *text == ';';
        tabs += *text == '\t';
    }
    if (tabs > commas && tabs >= semicolons) return '\t';
    return semicolons > commas ? ';' : ',';
}

/* Takes a quoted field; p->at is behind its opening quote, and afterwards behind its closing one. */
static int quoted_field(parser *p, char **end, graft_err *err) {
    size_t opened = p->line;
    char *to = p->at;
    for (; p->at < p->end; p->at++) {
        if (*p->at == '\n') p->line++;
        if (*p->at == '"') {
            if (p->at + 1 < p->end && p->at[1] == '"')
                p->at++;
            else {
                p->at++;
                *end = to;
                char next = p->at < p->end ? *p->at : '\n';
                if (next == p->delimiter || next == '\n' || next == '\r') return 0;
                return graft_err_set(
                    err, GRAFT_EFORMAT,
                    "%s, line %zu: text after a closing quote; a quote within a field is doubled", p->origin,
                    p->line);
            }
        }
        *to++ = *p->at;
    }
    return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: a quote is opened and never closed", p->origin,
                         opened);
}

/* Takes one field; *last tells whether it ends its row. */
static int field(parser *p, char **out, bool *last, graft_err *err) {
    char *end = p->at;
    if (p->quotes && p->at < p->end && *p->at == '"') {
        p->at++;
        *out = p->at;
        int rc = quoted_field(p, &end, err);
        if (rc < 0) return rc;
    } else {
        *out = p->at;
        while (p->at < p->end && *p->at != p->delimiter && *p->at != '\n' && *p->at != '\r') p->at++;
        end = p->at;
    }
    *last = p->at >= p->end || *p->at != p->delimiter;
    if (p->at < p->end) {
        bool pair = *p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n';
        if (*last) p->line++;
        p->at += pair ? 2 : 1;
    }
    *end = '\0';
    return 0;
}

/* The first row makes the columns, and until it is taken for a header they are called by their numbers. */
static int name_by_number(graft_table *t, graft_arena *arena, size_t n, graft_err *err) {
    char *name = graft_arena_printf(arena, "%zu", n + 1);
    return name ? graft_table_add_column(t, name, err) : graft_err_nomem(err);
}

static int row(parser *p, graft_table *t, graft_err *err) {
    size_t line = p->line, n = 0;
    bool last = false;
    int rc = graft_table_add_row(t, line, err);
    while (rc == 0 && !last) {
        char *text;
        rc = field(p, &text, &last, err);
        if (rc == 0 && t->n_rows == 1) rc = name_by_number(t, p->arena, n, err);
        if (rc == 0 && n < t->n_columns) rc = graft_table_add_cell(t, n, text, err);
        n++;
    }
    if (rc == 0 && n != t->n_columns)
        rc = graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: %zu fields where the first line has %zu",
                           p->origin, line, n, t->n_columns);
    return rc;
}

int graft_csv_rows(graft_table *out, graft_arena *arena, char *text, size_t size, char delimiter,
                   const char *origin, graft_err *err) {
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        size -= 3;
    }
    parser p = {text, text + size, delimiter, true, 1, origin, arena};
    int rc = graft_utf8_check(text, size, origin, err);
    if (rc < 0) return rc;
    while (p.at < p.end && (*p.at == '\n' || *p.at == '\r')) p.line += *p.at++ == '\n';
    if (p.at == p.end) return graft_err_set(err, GRAFT_EDATA, "%s is empty", origin);
    if (!delimiter) p.delimiter = guess_delimiter(p.at, p.end);
    p.quotes = p.delimiter != '\t';
    while (rc == 0 && p.at < p.end) {
        if (*p.at == '\n' || *p.at == '\r')
            p.line += *p.at++ == '\n';
        else
            rc = row(&p, out, err);
    }
    return rc;
}

int graft_csv_parse(graft_table *out, graft_arena *arena, char *text, size_t size, char delimiter,
                    const char *origin, graft_err *err) {
    int rc = graft_csv_rows(out, arena, text, size, delimiter, origin, err);
    return rc < 0 ? rc : graft_table_take_header(out, origin, err);
}

static int sniff(const graft_sniffed *s) {
    if (s->is_dir) return graft_table_sniff_folder(s);
    if (graft_has_extension(s->path, "csv") || graft_has_extension(s->path, "tsv")) return 90;
    if (!graft_has_extension(s->path, "txt")) return 0;
    if (s->modality == GRAFT_PICTURES) return 30;
    /* lines of text are no table unless they have tabs */
    return memchr(s->head, '\t', s->head_size) ? 30 : 0;
}

const graft_reader graft_reader_csv = {"csv", "CSV or TSV: a column of paths or texts, a column of labels",
                                       sniff, graft_table_list, GRAFT_READS_BOTH};
