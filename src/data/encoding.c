/* Is a text UTF-8? If not, where not, and what to do about it. */
#include "data/reader.h"
#include <string.h>

bool graft_is_utf8(const char *text, size_t size, size_t *offset) {
    const char *zero = size ? memchr(text, 0, size) : NULL;
    *offset = graft_utf8_valid(text, zero ? (size_t)(zero - text) : size, NULL);
    return *offset == size;
}

int graft_utf8_check(const char *text, size_t size, const char *origin, graft_err *err) {
    size_t bad = 0, line = 1;
    if (graft_is_utf8(text, size, &bad)) return 0;
    for (size_t i = 0; i < bad; i++) line += text[i] == '\n';
    unsigned byte = (unsigned char)text[bad];
    bool wide = size >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0);
    return graft_err_set(
        err, GRAFT_EFORMAT,
        "%s, line %zu: not UTF-8 text (byte %zu of the file is 0x%02X); convert it, as with iconv "
        "-f %s -t utf8",
        origin, line, bad, byte, wide ? "utf16" : "latin1");
}

bool graft_is_blank(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r\n\v\f", text[i]) || !text[i]) return false;
    return true;
}
