/* Whether bytes are UTF-8, eight ASCII characters at a time. */
#include "base/utf8.h"

#include <string.h>

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

size_t graft_utf8_valid(const char *text, size_t size, bool *ascii) {
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
