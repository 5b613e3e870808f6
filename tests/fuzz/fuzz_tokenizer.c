/* A tokenizer.json, and behind its NUL a text: whatever they are, ids are of the vocabulary and offsets
 * within. */
#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const graft_tokenizer *t, const graft_encoding *e, size_t size, size_t pair_size) {
    for (size_t i = 0; i < e->n; i++) {
        size_t most = e->pair[i] ? pair_size : size;
        if (e->ids[i] < 0 || (size_t)e->ids[i] >= graft_tokenizer_size(t)) abort();
        if (e->offsets[i][0] < 0 || e->offsets[i][1] < 0) abort();
        if ((size_t)e->offsets[i][0] > most || (size_t)e->offsets[i][1] > most) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t json = end ? (size_t)(end - data) : size, rest = end ? size - json - 1 : 0;
    const char *text = end ? (const char *)end + 1 : "";
    graft_tokenizer *t;
    graft_encoding e = {0};
    graft_err err = {0};
    int rc = graft_tokenizer_parse(&t, (const char *)data, json, "fuzz", &err);
    if ((rc == 0) != (t != NULL) || (rc == 0) != (err.code == 0)) abort();
    if (rc < 0) return 0;
    const graft_encode_options o = {.max_length = 9, .stride = 1};
    for (int i = 0; i < 2; i++) { /* the second finds words in the cache */
        if (graft_tokenizer_encode(t, &e, text, rest, NULL, 0, NULL, &err) == 0) check(t, &e, rest, 0);
    }
    if (graft_tokenizer_encode(t, &e, text, rest, NULL, 0, &o, &err) == 0) {
        size_t n = e.n_windows;
        for (size_t i = 0; i < n; i++) {
            if (graft_tokenizer_window(t, &e, i, &o, &err) < 0) abort();
            check(t, &e, rest, 0);
        }
    }
    size_t half = rest / 2;
    if (graft_tokenizer_encode(t, &e, text, half, text + half, rest - half, &o, &err) == 0)
        check(t, &e, half, rest - half);
    const char *words[2] = {text, text + half};
    const size_t sizes[2] = {half, rest - half};
    graft_tokenizer_encode_words(t, &e, words, sizes, 2, NULL, &err);
    graft_encoding_done(&e);
    graft_tokenizer_close(t);
    return 0;
}
