/* Texts to tokens: tokens a second on one thread.
 *
 *     bench_tokenizer                              a small golden tokenizer over this project's README.md
 *     bench_tokenizer TOKENIZER TEXT [SECONDS]     lines of TEXT are the texts
 *     bench_tokenizer TOKENIZER --dump             reads records (32-bit size, bytes) from standard input,
 * prints ids, types, words and offsets of each as one line of JSON
 *
 * The first two print one JSON object; bench/tokenizer_peer.py holds it against the tokenizers package. */
#include "model/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_list(const char *name, const int32_t *x, size_t n, size_t step) {
    printf("\"%s\":[", name);
    for (size_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", (int)x[i * step]);
    printf("],");
}

/* A record's text holds a pair behind a 0xff byte, which no text has; words behind 0xfe bytes. */
static int encode(const graft_tokenizer *t, graft_encoding *e, const char *text, size_t size,
                  const graft_encode_options *o, graft_err *err) {
    if (!memchr(text, 0xfe, size)) {
        const char *second = memchr(text, 0xff, size);
        size_t first = second ? (size_t)(second - text) : size;
        return graft_tokenizer_encode(t, e, text, first, second ? second + 1 : NULL,
                                      second ? size - first - 1 : 0, o, err);
    }
    const char **words = calloc(size + 1, sizeof *words);
    size_t *sizes = calloc(size + 1, sizeof *sizes), n = 0;
    for (size_t at = 1; at <= size; n++) { /* each word is led by its byte */
        const char *stop = memchr(text + at, 0xfe, size - at);
        words[n] = text + at;
        sizes[n] = stop ? (size_t)(stop - text) - at : size - at;
        at += sizes[n] + 1;
    }
    int rc = graft_tokenizer_encode_words(t, e, words, sizes, n, o, err);
    free(words);
    free(sizes);
    return rc;
}

static int dump(const graft_tokenizer *t, const graft_encode_options *o) {
    graft_encoding e = {0};
    graft_err err;
    uint32_t size;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        char *text = malloc(size + 1);
        if (!text || fread(text, 1, size, stdin) != size) return 1;
        if (encode(t, &e, text, size, o, &err) < 0) {
            printf("{\"error\":\"%s\"}\n", err.message);
        } else {
            printf("{");
            print_list("ids", e.ids, e.n, 1);
            print_list("types", e.type_ids, e.n, 1);
            print_list("words", e.words, e.n, 1);
            print_list("begins", &e.offsets[0][0], e.n, 2);
            print_list("ends", &e.offsets[0][1], e.n, 2);
            printf("\"whole\":%zu,\"windows\":%zu}\n", e.n_whole, e.n_windows);
        }
        free(text);
    }
    graft_encoding_done(&e);
    return 0;
}

static int measure(const graft_tokenizer *t, const char *path, double seconds, double opened,
                   graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_encoding e = {0};
    char *text;
    size_t size, tokens = 0, bytes = 0;
    int rc = graft_file_read(&text, &size, arena, path, (size_t)1 << 30, err);
    double begun = graft_now(), now = begun;
    while (rc == 0 && now - begun < seconds) {
        for (const char *at = text, *end = text + size; rc == 0 && at < end;) {
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            size_t n = (size_t)((stop ? stop : end) - at);
            rc = graft_tokenizer_encode(t, &e, at, n, NULL, 0, NULL, err);
            tokens += e.n;
            at += n + 1;
        }
        bytes += size;
        now = graft_now();
    }
    if (rc == 0)
        printf("{\"bench\": \"tokenizer\", \"tokens_per_second\": %.0f, \"mb_per_second\": %.2f, "
               "\"open_ms\": %.2f}\n",
               (double)tokens / (now - begun), 1e-6 * (double)bytes / (now - begun), 1e3 * opened);
    graft_encoding_done(&e);
    graft_arena_free(arena);
    return rc;
}

/* The tokenizer within a golden file. */
static int open_golden(graft_tokenizer **t, graft_err *err) {
    json_t *file;
    graft_arena *arena = graft_arena_new(NULL);
    int rc = graft_json_read(&file, arena, "tests/golden/tokenizer/bert.json", err);
    char *text = rc == 0 ? json_dumps(json_object_get(file, "tokenizer"), JSON_COMPACT) : NULL;
    if (rc == 0)
        rc = text ? graft_tokenizer_parse(t, text, strlen(text), "bert.json", err) : graft_err_nomem(err);
    free(text);
    graft_arena_free(arena);
    return rc;
}

int main(int argc, char **argv) {
    graft_err err;
    graft_tokenizer *t;
    if (argc == 2) {
        fprintf(stderr, "usage: bench_tokenizer [TOKENIZER TEXT|--dump [SECONDS|MAX_LENGTH]]\n");
        return 2;
    }
    double begun = graft_now();
    int rc = argc > 1 ? graft_tokenizer_open(&t, argv[1], &err) : open_golden(&t, &err);
    double opened = graft_now() - begun;
    const graft_encode_options o = {.max_length = argc > 3 ? atol(argv[3]) : 0, .no_special = argc > 4};
    const char *text = argc > 1 ? argv[2] : "README.md";
    if (rc == 0) {
        rc = strcmp(text, "--dump") == 0 ? dump(t, &o)
                                         : measure(t, text, argc > 3 ? atof(argv[3]) : 2, opened, &err);
        graft_tokenizer_close(t);
    }
    if (rc < 0) fprintf(stderr, "bench_tokenizer: %s\n", err.message);
    return rc != 0;
}
