/* Writing vectors: the two formats that everything reads. */
#include "model/vectors/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST_DIGITS = 6, MOST_DIGITS = 9 };

/* Appends the fewest digits that read back as x. */
static void print_value(graft_buf *b, float x) {
    char text[32];
    float back = 0;
    for (int digits = FEWEST_DIGITS; digits <= MOST_DIGITS; digits++) {
        int n = snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (graft_decimal_parse(text, (size_t)n, &back) && !(back < x) && !(back > x)) break;
    }
    graft_buf_text(b, text);
}

static void print_row(graft_buf *b, const graft_word *w, const float *x, size_t width, bool binary) {
    graft_buf_append(b, w->text, w->size);
    if (binary) {
        graft_buf_text(b, " ");
        graft_buf_append(b, x, width * sizeof *x);
        return;
    }
    for (size_t j = 0; j < width; j++) {
        graft_buf_text(b, " ");
        print_value(b, x[j]);
    }
    graft_buf_text(b, "\n");
}

/* A blank would end the word before its end when it is read again. */
static bool can_be_written(const graft_word *w) {
    for (size_t i = 0; i < w->size; i++) {
        char c = w->text[i];
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') return false;
    }
    return w->size > 0;
}

/* Which words are written: the header's count goes first. */
static int count(const graft_vectors *v, const graft_word *words, size_t n, bool *there, size_t *n_there,
                 float *x, graft_err *err) {
    *n_there = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = graft_vectors_get(v, words[i].text, words[i].size, x, err);
        if (rc < 0) return rc;
        there[i] = rc == 1 && can_be_written(&words[i]);
        *n_there += there[i];
    }
    return 0;
}

static int write_rows(graft_writer *w, const graft_vectors *v, const graft_word *words, size_t n,
                      const bool *there, bool binary, float *x, graft_err *err) {
    graft_buf row;
    int rc = 0;
    graft_buf_init(&row, 0);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (!there[i]) continue;
        rc = graft_vectors_get(v, words[i].text, words[i].size, x, err);
        if (rc < 0) break;
        graft_buf_clear(&row);
        print_row(&row, &words[i], x, (size_t)graft_vectors_width(v), binary);
        rc = row.failed ? graft_err_nomem(err) : graft_writer_write(w, row.data, row.size, err);
    }
    graft_buf_done(&row);
    return rc < 0 ? rc : 0;
}

int graft_vectors_write(const char *path, const graft_vectors *v, const graft_word *words, size_t n,
                        bool binary, size_t *n_missing, graft_err *err) {
    graft_writer *w = NULL;
    size_t n_there = 0;
    char header[64];
    float *x = calloc((size_t)graft_vectors_width(v), sizeof *x);
    bool *there = calloc(n + 1, sizeof *there);
    int rc = x && there ? count(v, words, n, there, &n_there, x, err) : graft_err_nomem(err);
    if (rc == 0 && !n_there)
        rc = graft_err_set(err, GRAFT_EDATA, "none of the %zu words has a vector in %s that can be written",
                           n, v->origin);
    if (rc == 0) rc = graft_writer_open(&w, path, err);
    if (rc == 0) {
        int size = snprintf(header, sizeof header, "%zu %d\n", n_there, graft_vectors_width(v));
        rc = graft_writer_write(w, header, (size_t)size, err);
    }
    if (rc == 0) rc = write_rows(w, v, words, n, there, binary, x, err);
    if (rc == 0) {
        rc = graft_writer_commit(w, err);
    } else {
        graft_writer_abort(w);
    }
    *n_missing = n - n_there;
    free(x);
    free(there);
    return rc;
}
