/* What the reference takes a code point for, and text as code points. */
#ifndef GRAFT_MODEL_TOKEN_UNICODE_H
#define GRAFT_MODEL_TOKEN_UNICODE_H

#include "base/base.h"

enum {
    GRAFT_UNI_CONTROL = 1 << 0,     /* what BERT's cleaning drops */
    GRAFT_UNI_SPACE = 1 << 1,       /* White_Space */
    GRAFT_UNI_NONSPACING = 1 << 2,  /* Mn */
    GRAFT_UNI_MARK = 1 << 3,        /* M */
    GRAFT_UNI_PUNCTUATION = 1 << 4, /* P, and all of ASCII's */
    GRAFT_UNI_NUMBER = 1 << 5,      /* N */
    GRAFT_UNI_WORD = 1 << 6,        /* \w: alphabetic, M, Nd, Pc, join controls */
    GRAFT_UNI_UNKNOWN = 1 << 7,     /* no decomposition and class 0, whatever utf8proc says */
    GRAFT_UNI_LETTER = 1 << 8,      /* \p{L}, \p{N} and \s of byte-level BPE's regular expression */
    GRAFT_UNI_DIGIT = 1 << 9,
    GRAFT_UNI_BLANK = 1 << 10
};

extern const uint32_t graft_unicode_ranges[], graft_unicode_lower[], graft_unicode_scripts[];
extern const size_t graft_unicode_ranges_n, graft_unicode_lower_n, graft_unicode_scripts_n;

/** Flags of the first 65,536 code points, in the arena; NULL when out of memory. */
const uint16_t *graft_unicode_table(graft_arena *arena);
/** Flags of those behind. */
uint32_t graft_unicode_find(uint32_t c);

/** Number of a code point's script, the same for what UnicodeScripts takes for one; 0: none. */
uint32_t graft_unicode_script(uint32_t c);

static inline uint32_t graft_unicode_flags(const uint16_t *table, uint32_t c) {
    return c < 0x10000 ? table[c] : graft_unicode_find(c);
}

/** The lower case of a code point: 1 or 2 of them. */
int graft_unicode_to_lower(uint32_t c, uint32_t out[2]);

/** The code point at s, which is valid UTF-8; *size its bytes. */
static inline uint32_t graft_utf8_get(const char *s, uint32_t *size) {
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        *size = 1;
        return u[0];
    }
    if (u[0] < 0xe0) {
        *size = 2;
        return (u[0] & 31u) << 6 | (u[1] & 63u);
    }
    if (u[0] < 0xf0) {
        *size = 3;
        return (u[0] & 15u) << 12 | (u[1] & 63u) << 6 | (u[2] & 63u);
    }
    *size = 4;
    return (u[0] & 7u) << 18 | (u[1] & 63u) << 12 | (u[2] & 63u) << 6 | (u[3] & 63u);
}

/** Writes a code point; the bytes written, 1 to 4. */
uint32_t graft_utf8_put(char *to, uint32_t c);
/** Whether byte s[i] begins a character. */
static inline bool graft_utf8_begins(const char *s, size_t i) {
    return ((unsigned char)s[i] & 0xc0) != 0x80;
}

#endif
