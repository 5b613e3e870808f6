/* Vectors as text: a line a word, its values after it, fields apart by spaces or tabs. word2vec and fastText
 * begin with a line "count width"; GloVe does not, and its words may hold spaces, so that the values are the
 * last `width` fields of a line. Opening counts the fields of every line, on all threads; values are parsed
 * when a row is read. */
#include "model/vectors/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4 << 20, LONGEST_SHOWN = 40 };

/* The words of one piece of the file: lines that begin in it. */
typedef struct chunk {
    graft_word_place *words;
    size_t n, capacity;
    size_t bad_at; /* where the line begins that stopped it */
    const char *problem;
    size_t n_fields; /* of that line */
} chunk;

typedef struct scan {
    const graft_vectors *v;
    const char *data;
    size_t begin, size; /* of the lines of words */
    chunk *chunks;
} scan;

/* 1 or 0 without a branch: the loop over a file is vectorised. */
static inline unsigned is_blank(char c) {
    return (unsigned)(c == ' ') | (unsigned)(c == '\t') | (unsigned)(c == '\r');
}

/* How often a field begins in p[0 .. size), the byte before being a blank. */
static size_t count_fields(const char *p, size_t size) {
    enum { PIECE = 255 }; /* beginnings that a byte can count */
    size_t n = size && !is_blank(p[0]);
    for (size_t from = 1; from < size; from += PIECE) {
        size_t end = from + PIECE < size ? from + PIECE : size;
        uint8_t some = 0;
        for (size_t i = from; i < end; i++)
            some = (uint8_t)(some + (is_blank(p[i - 1]) & (is_blank(p[i]) ^ 1U)));
        n += some;
    }
    return n;
}

/* The size of what stands before the last `width` fields, blanks at its end left out; the line ends in a
 * value and has enough fields. */
static size_t word_before(const char *line, size_t size, int width) {
    size_t at = size;
    for (int i = 0; i < width; i++) {
        while (at && is_blank(line[at - 1])) at--;
        while (at && !is_blank(line[at - 1])) at--;
    }
    while (at && is_blank(line[at - 1])) at--;
    return at;
}

/* A word that ends in a number is a row with a value too many. GloVe's own words may end in whole numbers. */
static bool ends_in_value(const char *word, size_t size, bool header) {
    size_t at = size;
    float x;
    while (at && !is_blank(word[at - 1])) at--;
    return (header || memchr(word + at, '.', size - at)) && graft_decimal_parse(word + at, size - at, &x);
}

/* Finds the word of one line without its newline. */
static const char *split_line(const scan *s, const char *line, size_t size, size_t *word, size_t *n_fields) {
    size_t wanted = (size_t)s->v->width + 1;
    while (size && is_blank(line[size - 1])) size--;
    *n_fields = count_fields(line, size);
    if (*n_fields == wanted) {
        *word = 0;
        if (is_blank(line[0])) return "begins with a blank";
        while (!is_blank(line[*word])) (*word)++;
        return NULL;
    }
    if (*n_fields < wanted) {
        *word = 0; /* the empty word, which gensim writes as it stands */
        return *n_fields + 1 == wanted && is_blank(line[0]) ? NULL : "is short";
    }
    *word = word_before(line, size, s->v->width);
    return ends_in_value(line, *word, s->begin > 0) ? "is long" : NULL;
}

static int keep_word(chunk *c, size_t at, size_t size) {
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 256;
        graft_word_place *words = reallocarray(c->words, capacity, sizeof *words);
        if (!words) return GRAFT_ENOMEM;
        c->words = words;
        c->capacity = capacity;
    }
    c->words[c->n++] = (graft_word_place){.at = at, .size = (uint32_t)size};
    return 0;
}

static int scan_chunk(void *user, size_t i, int thread) {
    scan *s = user;
    chunk *c = &s->chunks[i];
    size_t at = s->begin + i * CHUNK, end = at + CHUNK < s->size ? at + CHUNK : s->size;
    (void)thread;
    if (i) { /* from the first line that begins here */
        const char *newline = memchr(s->data + at - 1, '\n', end - at + 1);
        at = newline ? (size_t)(newline - s->data) + 1 : end;
    }
    while (at < end) {
        const char *newline = memchr(s->data + at, '\n', s->size - at);
        size_t stop = newline ? (size_t)(newline - s->data) : s->size, word, first = at;
        while (first < stop && is_blank(s->data[first])) first++;
        if (first < stop) {
            c->problem = stop - at > UINT32_MAX ? "is too long"
                                                : split_line(s, s->data + at, stop - at, &word, &c->n_fields);
            c->bad_at = at;
            if (c->problem) return GRAFT_EFORMAT;
            if (keep_word(c, at, word) < 0) return GRAFT_ENOMEM;
        }
        at = stop + 1;
    }
    return 0;
}

static size_t line_number(const char *data, size_t at) {
    size_t n = 1;
    for (const char *p = data; (p = memchr(p, '\n', at - (size_t)(p - data))); p++) n++;
    return n;
}

/* The error of the first chunk that has one. */
static int scan_problem(const scan *s, size_t n_chunks, graft_err *err) {
    const chunk *c = s->chunks;
    while ((size_t)(c - s->chunks) + 1 < n_chunks && !c->problem) c++;
    if (!c->problem) return graft_err_nomem(err);
    size_t line = line_number(s->data, c->bad_at);
    return graft_err_set(err, GRAFT_EFORMAT,
                         "%s: line %zu %s: it has %zu fields, a word and %d values were due", s->v->origin,
                         line, c->problem, c->n_fields, s->v->width);
}

static int join_chunks(graft_vectors *v, const scan *s, size_t n_chunks, uint64_t *n, graft_err *err) {
    int rc = 0;
    *n = 0;
    for (size_t i = 0; i < n_chunks && rc >= 0; i++) {
        const chunk *c = &s->chunks[i];
        for (size_t k = 0; k < c->n && rc >= 0; k++) {
            rc = graft_word_index_add(&v->words, c->words[k].at, c->words[k].size, err);
            v->n_twice += rc == 0;
        }
        *n += c->n;
    }
    return rc < 0 ? rc : 0;
}

/* Indexes all lines from byte `begin`. *n: how many there are. */
static int scan_lines(graft_vectors *v, size_t begin, uint64_t *n, graft_err *err) {
    scan s = {.v = v, .data = (const char *)v->file.data, .begin = begin, .size = v->file.size};
    size_t n_chunks = (s.size - begin + CHUNK - 1) / CHUNK;
    s.chunks = calloc(n_chunks + 1, sizeof *s.chunks);
    if (!s.chunks) return graft_err_nomem(err);
    int rc = graft_parallel_for(graft_env_threads(v->env), n_chunks, scan_chunk, &s);
    if (rc == GRAFT_EFORMAT) rc = scan_problem(&s, n_chunks, err);
    if (rc == GRAFT_ENOMEM) rc = graft_err_nomem(err);
    if (rc == 0) rc = join_chunks(v, &s, n_chunks, n, err);
    for (size_t i = 0; i < n_chunks; i++) free(s.chunks[i].words);
    free(s.chunks);
    return rc;
}

/* Fields of the line that begins at `at`. */
static size_t fields_at(const graft_mapped *f, size_t at) {
    const char *p = (const char *)f->data + at;
    const char *newline = at < f->size ? memchr(p, '\n', f->size - at) : NULL;
    return at < f->size ? count_fields(p, newline ? (size_t)(newline - p) : f->size - at) : 0;
}

/* "5 3" is a header, unless it is GloVe's word "5" with one value: then the next line has two fields too. */
static bool has_header(const graft_mapped *f, uint64_t *n, uint64_t *width, size_t *end) {
    size_t next = 0;
    if (!graft_vectors_header(f, n, width, &next) || (*width != 1 && fields_at(f, next) == 2)) return false;
    *end = next;
    return true;
}

static bool is_anything(const graft_mapped *f) {
    (void)f;
    return true;
}

static int open_text(graft_vectors *v, graft_err *err) {
    uint64_t promised = 0, width = 0, n;
    size_t begin = 0;
    bool header = has_header(&v->file, &promised, &width, &begin);
    v->format_name = header ? "word2vec text" : "GloVe text";
    if (!header) width = fields_at(&v->file, 0) - (fields_at(&v->file, 0) > 0);
    if (width < 1 || memchr(v->file.data, '\0', v->file.size < CHUNK ? v->file.size : CHUNK)) {
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: is no file of word vectors: its first line is neither 'count width' nor a "
                             "word and its values, and it is not fastText's",
                             v->origin);
    }
    if (width > GRAFT_VECTORS_MAX_WIDTH) {
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: line 1: vectors of %" PRIu64 " values; at most %d are possible", v->origin,
                             width, GRAFT_VECTORS_MAX_WIDTH);
    }
    v->width = (int)width;
    int rc = scan_lines(v, begin, &n, err);
    if (rc == 0 && header && n != promised) {
        rc = graft_err_set(err, GRAFT_EFORMAT,
                           "%s: line 1 promises %" PRIu64 " words and the file has %" PRIu64
                           "; is it cut short, or the count wrong?",
                           v->origin, promised, n);
    }
    return rc;
}

static int bad_value(const graft_vectors *v, const char *line, const char *value, size_t size, int i,
                     graft_err *err) {
    const char *data = (const char *)v->file.data;
    int shown = size < LONGEST_SHOWN ? (int)size : LONGEST_SHOWN;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: line %zu: value %d is '%.*s', which is no finite number",
                         v->origin, line_number(data, (size_t)(line - data)), i + 1, shown, value);
}

/* That the line has `width` fields after its word was counted when the file was opened. */
static int row_of(const graft_vectors *v, int64_t i, float *out, graft_err *err) {
    const graft_word_place *place = &v->words.places[i];
    const char *line = (const char *)v->file.data + place->at, *p = line + place->size;
    const char *end = (const char *)v->file.data + v->file.size;
    for (int k = 0; k < v->width; k++) {
        while (p < end && is_blank(*p)) p++;
        const char *begin = p;
        while (p < end && !is_blank(*p) && *p != '\n') p++;
        if (!graft_decimal_parse(begin, (size_t)(p - begin), &out[k]))
            return bad_value(v, line, begin, (size_t)(p - begin), k, err);
    }
    return 0;
}

const graft_vectors_format graft_vectors_format_text = {
    .is = is_anything,
    .open = open_text,
    .row = row_of,
};
