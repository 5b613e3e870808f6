#include "transfer/advise/words.h"

#include <math.h>

enum { PLACES = 1024, LONGEST = 64 };

static bool is_letter(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c >= 0x80;
}

static void add_words(float *row, const char *text, size_t size) {
    char word[LONGEST];
    size_t n = 0;
    for (size_t i = 0; i <= size; i++) {
        unsigned char c = i < size ? (unsigned char)text[i] : ' ';
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c - 'A' + 'a');
        if (is_letter(c) && n < LONGEST) {
            word[n++] = (char)c;
            continue;
        }
        if (n > 0) {
            graft_hash h = graft_hash_bytes(word, n);
            row[h.lo % PLACES] += h.hi & 1 ? 1.0F : -1.0F;
        }
        n = 0;
    }
}

float *graft_words_hashed(graft_arena *arena, const graft_data *data, const int64_t *samples, int64_t n,
                          int64_t *width) {
    float *x = graft_arena_array(arena, (size_t)n * PLACES + 1, sizeof *x);
    *width = PLACES;
    for (int64_t i = 0; x && i < n; i++) {
        float *row = x + i * PLACES;
        graft_text t;
        double square = 0;
        graft_data_text(data, samples[i], &t);
        if (t.size) add_words(row, t.text, t.size);
        if (t.pair) add_words(row, t.pair, t.pair_size);
        for (int64_t j = 0; j < PLACES; j++) square += (double)row[j] * (double)row[j];
        for (int64_t j = 0; j < PLACES && square > 0; j++) row[j] = (float)((double)row[j] / sqrt(square));
    }
    return x;
}
