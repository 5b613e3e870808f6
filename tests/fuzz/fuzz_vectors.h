/* What the targets of word vectors ask: bytes open or are refused, and every row, word and neighbour of what
 * opened can be asked for. */
#ifndef GRAFT_FUZZ_VECTORS_H
#define GRAFT_FUZZ_VECTORS_H

#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A width that is large and a file that is small are no crime: the work is bounded, not the width. */
enum { GRAFT_FUZZ_ROWS = 64 };

static inline void graft_fuzz_rows(const graft_vectors *v) {
    int64_t n = graft_vectors_n(v);
    size_t width = (size_t)graft_vectors_width(v), n_found;
    float *x = malloc(width * sizeof *x);
    graft_neighbour found[3];
    if (!x || n < 1 || !width) abort();
    for (int64_t i = 0; i < n && i < GRAFT_FUZZ_ROWS; i++) {
        graft_err err = {0};
        graft_word w = graft_vectors_word(v, i);
        int64_t first = graft_vectors_find(v, w.text, w.size);
        if (first < 0 || first > i) abort();
        int rc = graft_vectors_row(v, i, x, &err);
        if ((rc == 0) != (err.code == 0)) abort();
        if (rc == 0 && n <= GRAFT_FUZZ_ROWS &&
            !graft_vectors_similar(found, &n_found, v, NULL, x, 3, &i, 1, &err))
            if (n_found > 3 || (n_found && found[0].word == i)) abort();
    }
    if (graft_vectors_get(v, "unheard-of", 10, x, NULL) > 1) abort();
    free(x);
}

static inline int graft_fuzz_vectors(const void *data, size_t size) {
    graft_vectors *v = NULL;
    graft_err err = {0};
    int rc = graft_vectors_parse(&v, NULL, data, size, "fuzz", &err);
    if ((rc == 0) != (v != NULL) || (rc < 0 && err.message[0] == '\0')) abort();
    if (v) graft_fuzz_rows(v);
    graft_vectors_close(v);
    return 0;
}

#endif
