/* word2vec's binary format (Mikolov et al. 2013): "count width\n", then for each word its bytes, a space and
 * `width` little-endian floats, which some writers end with a newline. */
#include "model/vectors/format.h"

#include <inttypes.h>
#include <string.h>

enum { LONGEST_WORD = 65535 };

/* Whether what follows the header is text. The first value of a row begins after the first space; of text
 * there is a line of printable characters with a digit among them, and as many bytes as a binary row has do
 * not hold a control character. */
static bool is_text(const char *p, size_t size, size_t width) {
    const char *space = memchr(p, ' ', size), *end = p + size;
    const char *tab = memchr(p, '\t', space ? (size_t)(space - p) : size);
    if (tab) space = tab;
    if (!space) return true;
    const char *row = space + 1;
    bool digit = false;
    for (const char *q = row; q < end && (size_t)(q - row) < width * sizeof(float); q++) {
        unsigned char c = (unsigned char)*q;
        if (c < 0x20 && c != '\n' && c != '\r' && c != '\t') return false;
    }
    for (const char *q = row; q < end && *q != '\n'; q++) {
        if ((unsigned char)*q >= 0x7f) return false;
        digit = digit || (*q >= '0' && *q <= '9');
    }
    return digit || row == end;
}

static bool is_word2vec(const graft_mapped *f) {
    uint64_t n, width;
    size_t end;
    if (!graft_vectors_header(f, &n, &width, &end) || width < 1 || width > GRAFT_VECTORS_MAX_WIDTH)
        return false;
    return !is_text((const char *)f->data + end, f->size - end, (size_t)width);
}

/* Takes the word at byte `at` and leaves `at` behind its values. */
static int read_word(graft_vectors *v, uint64_t i, size_t *at, graft_err *err) {
    const char *data = (const char *)v->file.data;
    size_t size = v->file.size, row = (size_t)v->width * sizeof(float);
    while (*at < size && data[*at] == '\n') (*at)++;
    size_t rest = size - *at, most = rest < LONGEST_WORD + 1 ? rest : LONGEST_WORD + 1;
    const char *space = most ? memchr(data + *at, ' ', most) : NULL;
    if (!space && rest > LONGEST_WORD) {
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: word %" PRIu64 " at byte %zu has no end within %d bytes", v->origin, i + 1,
                             *at, LONGEST_WORD);
    }
    size_t word = space ? (size_t)(space - data) - *at : 0;
    if (!space || rest - word - 1 < row) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: ends within word %" PRIu64 ", which begins at byte %zu",
                             v->origin, i + 1, *at);
    }
    int rc = graft_word_index_add(&v->words, *at, word, err);
    if (rc == 0) v->n_twice++;
    *at += word + 1 + row;
    return rc < 0 ? rc : 0;
}

static int open_word2vec(graft_vectors *v, graft_err *err) {
    uint64_t n, width;
    size_t at;
    graft_vectors_header(&v->file, &n, &width, &at);
    v->width = (int)width;
    v->format_name = "word2vec binary";
    if (n > (v->file.size - at) / (width * sizeof(float) + 1)) {
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: promises %" PRIu64 " words of %" PRIu64
                             " values, which %zu bytes cannot hold",
                             v->origin, n, width, v->file.size);
    }
    int rc = 0;
    for (uint64_t i = 0; i < n && rc == 0; i++) rc = read_word(v, i, &at, err);
    while (at < v->file.size && v->file.data[at] == '\n') at++;
    if (rc == 0 && at < v->file.size) {
        rc =
            graft_err_set(err, GRAFT_EFORMAT,
                          "%s: goes on at byte %zu, after the %" PRIu64 " words that its first line promises",
                          v->origin, at, n);
    }
    return rc;
}

static int row_of(const graft_vectors *v, int64_t i, float *out, graft_err *err) {
    const graft_word_place *p = &v->words.places[i];
    size_t at = p->at + p->size + 1;
    memcpy(out, v->file.data + at, (size_t)v->width * sizeof *out);
    if (graft_vectors_are_finite(out, (size_t)v->width)) return 0;
    return graft_err_set(err, GRAFT_EFORMAT,
                         "%s: word %" PRId64 " has a value that is no number, from byte %zu", v->origin,
                         i + 1, at);
}

const graft_vectors_format graft_vectors_format_word2vec = {
    .is = is_word2vec,
    .open = open_word2vec,
    .row = row_of,
};
