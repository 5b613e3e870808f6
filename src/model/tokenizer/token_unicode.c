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

/* The last of n ranges that begins at c or before; a range's first code point stands above `shift` bits. */
static uint32_t range_of(const uint32_t *ranges, size_t n, int shift, uint32_t c) {
    size_t low = 0, high = n;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (ranges[middle] >> shift <= c)
            low = middle;
        else
            high = middle;
    }
    return ranges[low];
}

uint32_t graft_unicode_find(uint32_t c) {
    return range_of(graft_unicode_ranges, graft_unicode_ranges_n, 11, c) & 0x7ff;
}

uint32_t graft_unicode_script(uint32_t c) {
    return range_of(graft_unicode_scripts, graft_unicode_scripts_n, 8, c) & 0xff;
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
