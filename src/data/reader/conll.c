/* CoNLL columns (Tjong Kim Sang and De Meulder, 2003, and the shared tasks since): a word a line, blank lines
 * between sentences, the tag in the last column. */
#include "data/text_lines.h"
#include <string.h>

enum { MAX_COLUMNS = 64, MAX_TAG = 64 };

typedef struct parser {
    graft_listing *l;
    const char *origin;
    graft_part part;
    char separator; /* '\t', or ' ' for any blanks; 0: not yet known */
    size_t n_columns, line;
    size_t sentence; /* the line at which it began; 0: none is open */
    size_t first_word;
} parser;

static bool is_gap(const parser *p, char c) {
    return p->separator == '\t' ? c == '\t' : c == ' ' || c == '\t';
}

/* Cuts a line into columns: of the first and last one start and size, and how many there are. */
static size_t columns_of(const parser *p, char *line, size_t size, char **first, size_t *first_size,
                         char **last, size_t *last_size) {
    size_t n = 0;
    char *at = line, *end = line + size;
    while (at < end) {
        char *from = at;
        while (at < end && !is_gap(p, *at)) at++;
        if (n == 0) {
            *first = from;
            *first_size = (size_t)(at - from);
        }
        *last = from;
        *last_size = (size_t)(at - from);
        n++;
        if (p->separator == '\t')
            at += at < end;
        else
            while (at < end && is_gap(p, *at)) at++;
    }
    return n;
}

static int end_sentence(parser *p, graft_err *err) {
    if (!p->sentence) return 0;
    graft_listing *l = p->l;
    graft_found f = {.path = p->origin,
                     .relative = graft_path_name(p->origin),
                     .row = (int64_t)p->sentence,
                     .source = -1,
                     .part = p->part,
                     .first_word = p->first_word,
                     .n_words = l->n_words - p->first_word};
    f.origin = graft_arena_printf(l->arena, "%s, line %zu", p->origin, p->sentence);
    p->sentence = 0;
    return f.origin ? graft_listing_add(l, &f, err) : graft_err_nomem(err);
}

/* "# text = ..." as CoNLL-U has it; a word '#' has columns after it. */
static bool is_comment(const parser *p, const char *line, size_t size) {
    if (size < 2 || line[0] != '#' || line[1] != ' ') return false;
    return p->n_columns == 0 || p->separator == '\t' ? !memchr(line, '\t', size) : false;
}

static int word_line(parser *p, char *line, size_t size, graft_err *err) {
    char *word = line, *tag = line;
    size_t word_size = 0, tag_size = 0;
    if (!p->separator) p->separator = memchr(line, '\t', size) ? '\t' : ' ';
    size_t n = columns_of(p, line, size, &word, &word_size, &tag, &tag_size);
    if (p->n_columns == 0) p->n_columns = n;
    if (n != p->n_columns)
        return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: %zu columns where the lines before have %zu",
                             p->origin, p->line, n, p->n_columns);
    if (n > MAX_COLUMNS)
        return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: %zu columns are no CoNLL", p->origin, p->line,
                             n);
    if (word_size == 0 || graft_is_blank(word, word_size))
        return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: the word in the first column is empty",
                             p->origin, p->line);
    if (n > 1) {
        while (tag_size && tag[tag_size - 1] == ' ') tag_size--;
        if (tag_size == 0 || tag_size > MAX_TAG)
            return graft_err_set(err, GRAFT_EFORMAT, "%s, line %zu: a tag of %zu bytes in the last column",
                                 p->origin, p->line, tag_size);
        tag[tag_size] = '\0'; /* the byte after the last column is a line's end, a blank, or the file's NUL */
        p->l->is_tagged = true;
    }
    if (!p->sentence) {
        p->sentence = p->line;
        p->first_word = p->l->n_words;
    }
    return graft_listing_add_word(p->l, word, word_size, n > 1 ? tag : NULL, err);
}

int graft_conll_parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                      graft_err *err) {
    parser p = {.l = l, .origin = origin, .part = part};
    char *at = text, *end = text + size, *line;
    size_t before = l->n_items;
    int rc = 0;
    while (rc == 0 && at < end) {
        size_t n = graft_line_next(&at, end, &line);
        p.line++;
        if (graft_is_blank(line, n))
            rc = end_sentence(&p, err);
        else if (!is_comment(&p, line, n) && !(n >= 10 && memcmp(line, "-DOCSTART-", 10) == 0))
            rc = word_line(&p, line, n, err);
    }
    if (rc == 0) rc = end_sentence(&p, err);
    if (rc == 0 && l->n_items == before) rc = graft_err_set(err, GRAFT_EDATA, "%s holds no word", origin);
    return rc;
}

static int list_file(graft_listing *l, const char *path, graft_part part, graft_err *err) {
    return graft_lines_list(l, path, part, graft_conll_parse, "words in CoNLL columns", err);
}

/* ---- Recognising ---- */

static bool is_conll_name(const char *name) {
    static const char *const extensions[] = {"conll", "conllu", "iob", "iob2", "bio", "bioes", "ner"};
    for (size_t i = 0; i < GRAFT_COUNT(extensions); i++)
        if (graft_has_extension(name, extensions[i])) return true;
    return false;
}

static bool may_be_conll_name(const char *name) {
    return is_conll_name(name) || graft_has_extension(name, "txt") || graft_has_extension(name, "tsv");
}

/* "O", "B-PER", "I-LOC" and the like. */
static bool is_tag(const char *text, size_t size) {
    if (size == 1) return *text == 'O';
    return size > 2 && text[1] == '-' && strchr("BIOESLU", text[0]);
}

/* Do the whole lines of the beginning look like words with IOB tags? */
static bool looks_like_conll(const unsigned char *head, size_t size) {
    const char *at = (const char *)head, *end = at + size;
    size_t n = 0;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) break;
        const char *to = stop;
        while (to > at && graft_is_blank(to - 1, 1)) to--;
        const char *tag = to;
        while (tag > at && !graft_is_blank(tag - 1, 1)) tag--;
        bool is_passed = to == at || *at == '#' || strncmp(at, "-DOCSTART-", 10) == 0;
        if (!is_passed && (tag == at || !is_tag(tag, (size_t)(to - tag)))) return false;
        n += !is_passed;
        at = stop + 1;
    }
    return n > 0;
}

static int sniff(const graft_sniffed *s) {
    unsigned char head[4096];
    size_t size = sizeof head;
    if (!s->is_dir) return is_conll_name(s->path) ? 95 : looks_like_conll(s->head, s->head_size) ? 93 : 0;
    if (graft_lines_head(s, is_conll_name, head, &size) < 0) return GRAFT_ENOMEM;
    if (size) return 85;
    size = sizeof head;
    if (graft_lines_head(s, may_be_conll_name, head, &size) < 0) return GRAFT_ENOMEM;
    return looks_like_conll(head, size) ? 84 : 0;
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    if (!graft_path_is_dir(path)) return list_file(out, path, GRAFT_TRAIN, err);
    return graft_listing_parts(out, path, may_be_conll_name, list_file, err);
}

const graft_reader graft_reader_conll = {
    "conll", "CoNLL columns: a word a line, its tag last, blank lines between sentences", sniff, list,
    GRAFT_READS_TEXTS};
