/* What the fuzz targets of readers of text share: a listing without a file, and what must hold of it. */
#ifndef GRAFT_TESTS_FUZZ_TEXT_LINES_H
#define GRAFT_TESTS_FUZZ_TEXT_LINES_H

#include "data/text_lines.h"
#include <stdlib.h>
#include <string.h>

/* Every text and word lies within what was parsed, or in the arena, and can be read to its end. */
static inline void text_lines_check(const graft_listing *l) {
    size_t bytes = 0, words = 0;
    for (size_t i = 0; i < l->n_items; i++) {
        const graft_found *f = &l->items[i];
        for (size_t k = 0; k < f->text.size; k++) bytes += (unsigned char)f->text.text[k];
        for (size_t k = 0; k < f->text.pair_size; k++) bytes += (unsigned char)f->text.pair[k];
        if (f->label) bytes += strlen(f->label);
        if (f->n_words && f->first_word != words) abort();
        words += f->n_words;
        if (!f->origin || (!f->fault && f->text.size == 0 && f->n_words == 0)) abort();
    }
    if (words != l->n_words) abort();
    for (size_t w = 0; w < words; w++) {
        for (size_t k = 0; k < l->word_sizes[w]; k++) bytes += (unsigned char)l->words[w][k];
        if (l->word_tags[w]) bytes += strlen(l->word_tags[w]);
    }
    volatile size_t sink = bytes;
    (void)sink;
}

static inline void text_lines_done(graft_listing *l) {
    free(l->items);
    free(l->words);
    free(l->word_sizes);
    free(l->word_tags);
    graft_arena_free(l->arena);
}

/* Parses as the readers do: what is no UTF-8 does not come to the parser. */
static inline int text_lines_run(const uint8_t *data, size_t size, graft_task task,
                                 int (*parse)(graft_listing *l, char *text, size_t size, const char *origin,
                                              graft_part part, graft_err *err)) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    o.modality = GRAFT_TEXTS;
    o.task = task;
    graft_listing l = {.arena = graft_arena_new(NULL), .options = &o};
    char *text = malloc(size + 1);
    if (text && l.arena && graft_utf8_check((const char *)data, size, "input", NULL) == 0) {
        if (size) memcpy(text, data, size);
        text[size] = '\0';
        if (parse(&l, text, size, "input", GRAFT_TRAIN, NULL) == 0) text_lines_check(&l);
    }
    text_lines_done(&l);
    free(text);
    return 0;
}

#endif
