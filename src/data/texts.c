/* Texts and words as the data keep them, and what is the same text. The same: equal bytes. Nearly the same:
 * equal once ASCII letters are small and every run of blanks is one blank, with none at the ends. */
#include "data/data_impl.h"
#include <stdlib.h>
#include <string.h>

int graft_texts_take(graft_data *d, const graft_listing *l, graft_err *err) {
    size_t n = l->n_items, used = 0;
    bool tags = d->task == GRAFT_TASK_TAGGING;
    d->texts = graft_arena_array(d->arena, n, sizeof *d->texts);
    d->folded = graft_arena_array(d->arena, n, sizeof *d->folded);
    if (!d->texts || !d->folded) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) d->texts[i] = l->items[i].text;
    if (!tags) return 0;
    d->first_word = graft_arena_array(d->arena, n + 1, sizeof *d->first_word);
    d->words = graft_arena_array(d->arena, l->n_words, sizeof *d->words);
    d->word_sizes = graft_arena_array(d->arena, l->n_words, sizeof *d->word_sizes);
    d->tags = graft_arena_array(d->arena, l->n_words, sizeof *d->tags);
    if (!d->first_word || !d->words || !d->word_sizes || !d->tags) return graft_err_nomem(err);
    /* readers list a sentence's words before the sentence: they lie in the order of the samples */
    for (size_t i = 0; i < n; i++) {
        d->first_word[i] = (int64_t)used;
        used += l->items[i].n_words;
    }
    d->first_word[n] = (int64_t)used;
    memcpy(d->words, l->words, l->n_words * sizeof *d->words);
    memcpy(d->word_sizes, l->word_sizes, l->n_words * sizeof *d->word_sizes);
    memset(d->tags, 0xFF, l->n_words * sizeof *d->tags);
    return 0;
}

void graft_data_text(const graft_data *d, int64_t i, graft_text *out) {
    *out = d->texts ? d->texts[graft_text_index(d, i)] : (graft_text){0};
}

void graft_data_words(const graft_data *d, int64_t i, graft_words *out) {
    *out = (graft_words){0};
    if (!d->first_word) return;
    int64_t text = graft_text_index(d, i), first = d->first_word[text];
    out->n = (size_t)(d->first_word[text + 1] - first);
    out->words = d->words + first;
    out->sizes = d->word_sizes + first;
    out->tags = d->tags + first;
}

/* Appends the folded text to `to`, which has room for all of it; the size it then has. */
static size_t fold(unsigned char *to, size_t used, const char *text, size_t size) {
    size_t from = used;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!graft_is_blank(text + i, 1))
            to[used++] = c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
        else if (used > from && to[used - 1] != ' ')
            to[used++] = ' ';
    }
    return used > from && to[used - 1] == ' ' ? used - 1 : used;
}

/* The pieces of a sample one after the other, each ended by a byte that no UTF-8 has: as they are, or folded.
 */
static graft_hash hash_pieces(unsigned char *room, const char *const *pieces, const size_t *sizes, size_t n,
                              bool folded) {
    size_t used = 0;
    for (size_t k = 0; k < n; k++) {
        if (folded)
            used = fold(room, used, pieces[k], sizes[k]);
        else {
            memcpy(room + used, pieces[k], sizes[k]);
            used += sizes[k];
        }
        room[used++] = 0xFF;
    }
    return graft_hash_bytes(room, used);
}

int graft_texts_hash(graft_data *d, int64_t i, graft_raw *room, graft_err *err) {
    const graft_text *t = &d->texts[graft_text_index(d, i)];
    const char *own[] = {t->text, t->pair};
    const size_t own_sizes[] = {t->size, t->pair_size};
    const char *const *pieces = own;
    const size_t *sizes = own_sizes;
    size_t n = t->pair ? 2 : 1, total = 0;
    graft_words w;
    graft_data_words(d, i, &w);
    if (w.n) {
        pieces = w.words;
        sizes = w.sizes;
        n = w.n;
    }
    for (size_t k = 0; k < n; k++)
        if (!graft_size_add(total, sizes[k] + 1, &total)) return graft_err_nomem(err);
    if (total > room->buffer_size) {
        unsigned char *grown = realloc(room->buffer, total + total / 4);
        if (!grown) return graft_err_nomem(err);
        room->buffer = grown;
        room->buffer_size = total + total / 4;
    }
    graft_hash *content = &d->samples[i].content;
    *content = hash_pieces(room->buffer, pieces, sizes, n, false);
    content->hi ^= (uint64_t)d->samples[i].window * 0x9E3779B97F4A7C15u;
    d->folded[i] = hash_pieces(room->buffer, pieces, sizes, n, true);
    return 0;
}
