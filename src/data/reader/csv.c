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

static int header(parser *p, graft_table *t, graft_err *err) {
    bool last = false;
    while (!last) {
        char *text;
        int rc = field(p, &text, &last, err);
        if (rc == 0 && graft_table_column(t, text) >= 0)
            rc = graft_err_set(err, GRAFT_EFORMAT, "%s: two columns are called '%s'", p->origin, text);
        if (rc == 0) rc = graft_table_add_column(t, text, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int row(parser *p, graft_table *t, graft_err *err) {
    size_t line = p->line, n = 0;
    bool last = false;
    int rc = graft_table_add_row(t, line, err);
    while (rc == 0 && !last) {
        char *text;
        rc = field(p, &text, &last, err);
        if (rc == 0 && n < t->n_columns) rc = graft_table_add_cell(t, n, text, err);
        n++;
    }
    if (rc == 0 && n != t->n_columns)
        rc = graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: %zu fields where the header has %zu", p->origin,
                           line, n, t->n_columns);
    return rc;
}

int graft_csv_parse(graft_table *out, char *text, size_t size, char delimiter, const char *origin,
                    graft_err *err) {
    size_t bad = 0;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        size -= 3;
    }
    parser p = {text, text + size, delimiter, true, 1, origin};
    if (!graft_is_utf8(text, size, &bad)) {
        for (size_t i = 0; i < bad; i++) p.line += text[i] == '\n';
        return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: not UTF-8 text; save the table as UTF-8",
                             origin, p.line);
    }
    while (p.at < p.end && (*p.at == '\n' || *p.at == '\r')) p.line += *p.at++ == '\n';
    if (p.at == p.end) return graft_err_set(err, GRAFT_EDATA, "%s is empty", origin);
    if (!delimiter) p.delimiter = guess_delimiter(p.at, p.end);
    p.quotes = p.delimiter != '\t';
    int rc = header(&p, out, err);
    while (rc == 0 && p.at < p.end) {
        if (*p.at == '\n' || *p.at == '\r')
            p.line += *p.at++ == '\n';
        else
            rc = row(&p, out, err);
    }
    return rc;
}

static int sniff(const graft_sniffed *s) {
    if (s->is_dir) return graft_table_sniff_folder(s);
    if (graft_has_extension(s->path, "csv") || graft_has_extension(s->path, "tsv")) return 90;
    return graft_has_extension(s->path, "txt") ? 30 : 0;
}

const graft_reader graft_reader_csv = {
    "csv", "CSV or TSV with a header: a column of paths, a column of labels", sniff, graft_table_list};
