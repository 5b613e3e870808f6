#include "model/tokenizer/token_unicode.h"
#include <string.h>
#include <utf8proc.h>

enum { BMP = 0x10000 };

const uint16_t *graft_unicode_table(graft_arena *arena) {
    uint16_t *table = graft_arena_array(arena, BMP, sizeof *table);
    if (!table) return NULL;
    for (size_t i = 0; i < graft_unicode_ranges_n; i++) {
        uint32_t c = graft_unicode_ranges[i] >> 11;
        uint32_t end = i + 1 < graft_unicode_ranges_n ? graft_unicode_ranges[i + 1] >> 11 : BMP;
        for (; c < end && c < BMP; c++) table[c] = graft_unicode_ranges[i] & 0x7ff;
    }
    return table;
}

uint32_t graft_unicode_find(uint32_t c) {
    size_t low = 0, high = graft_unicode_ranges_n;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (graft_unicode_ranges[middle] >> 11 <= c)
            low = middle;
        else
            high = middle;
    }
    return graft_unicode_ranges[low] & 0x7ff;
}

int graft_unicode_to_lower(uint32_t c, uint32_t out[2]) {
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    if (c == 0x130) { /* the one whose lower case is two: i and a dot above */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    if (out[0] == c) {
        for (size_t i = 0; i < graft_unicode_lower_n; i += 2)
            if (graft_unicode_lower[i] == c) out[0] = graft_unicode_lower[i + 1];
    }
    return 1;
}

uint32_t graft_utf8_put(char *to, uint32_t c) {
    return (uint32_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)to);
}

/* Bytes of the character at s, of which `left` are there; 0 when it is none: overlong, a surrogate, cut. */
static size_t valid_size(const unsigned char *s, size_t left) {
    unsigned c = s[0];
    if (c < 0xc2 || c > 0xf4) return 0;
    size_t size = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left < size) return 0;
    unsigned low = c == 0xe0   ? 0xa0
                   : c == 0xf0 ? 0x90
                               : 0x80,
             high = c == 0xed   ? 0x9f
                    : c == 0xf4 ? 0x8f
                                : 0xbf;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < size; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return size;
}

size_t graft_utf8_check(const char *text, size_t size, bool *ascii) {
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    if (ascii) *ascii = true;
    while (i < size) {
        uint64_t eight;
        if (i + 8 <= size && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
        } else if (s[i] < 0x80) {
            i++;
        } else {
            size_t n = valid_size(s + i, size - i);
            if (ascii) *ascii = false;
            if (!n) return i;
            i += n;
        }
    }
    return size;
}
