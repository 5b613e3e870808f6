/* Escaping, numbers and pictures as HTML. */
#include "report/html.h"

#include <math.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

static void put_byte(graft_buf *out, char c) {
    switch (c) {
    case '&':
        graft_buf_text(out, "&amp;");
        break;
    case '<':
        graft_buf_text(out, "&lt;");
        break;
    case '>':
        graft_buf_text(out, "&gt;");
        break;
    case '"':
        graft_buf_text(out, "&quot;");
        break;
    case '\'':
        graft_buf_text(out, "&#39;");
        break;
    case '\t':
    case '\n':
    case '\r':
        graft_buf_append(out, " ", 1);
        break;
    default:
        if ((unsigned char)c < 0x20 || c == 0x7F)
            graft_buf_text(out, REPLACEMENT);
        else
            graft_buf_append(out, &c, 1);
    }
}

void graft_html_bytes(graft_buf *out, const char *text, size_t size) {
    while (size > 0) {
        size_t valid = graft_utf8_valid(text, size, NULL);
        for (size_t i = 0; i < valid; i++) put_byte(out, text[i]);
        text += valid;
        size -= valid;
        if (size == 0) break;
        graft_buf_text(out, REPLACEMENT);
        text++;
        size--;
    }
}

void graft_html_text(graft_buf *out, const char *text) {
    if (text) graft_html_bytes(out, text, strlen(text));
}

void graft_html_short(graft_buf *out, const char *text, size_t size, size_t most) {
    size_t end = 0, characters = 0;
    for (; end < size && characters < most; characters++) {
        end++;
        while (end < size && ((unsigned char)text[end] & 0xC0) == 0x80) end++;
    }
    graft_html_bytes(out, text, end);
    if (end < size) graft_buf_text(out, "…");
}

void graft_html_data(graft_buf *out, const char *type, const void *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    graft_buf_printf(out, "data:%s;base64,", type);
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits =
            (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);
        const char group[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                               left > 1 ? digits[bits >> 6 & 63] : '=', left > 2 ? digits[bits & 63] : '='};
        graft_buf_append(out, group, sizeof group);
    }
}

void graft_html_count(graft_buf *out, int64_t n) {
    char digits[32];
    int size = snprintf(digits, sizeof digits, "%lld", (long long)n);
    for (int i = 0; i < size; i++) {
        graft_buf_append(out, &digits[i], 1);
        int left = size - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') graft_buf_append(out, ",", 1);
    }
}

void graft_html_percent(graft_buf *out, double share) {
    if (isfinite(share))
        graft_buf_printf(out, "%.1f&#8239;%%", 100.0 * share);
    else
        graft_buf_text(out, "–");
}

void graft_html_number(graft_buf *out, double x) {
    double size = fabs(x);
    if (!isfinite(x))
        graft_buf_text(out, "–");
    else if (size >= 1e15 || (size > 0.0 && size < 1e-4))
        graft_buf_printf(out, "%.2e", x);
    else if (size >= 1000.0 || x == floor(x))
        graft_html_count(out, (int64_t)llround(x));
    else
        graft_buf_printf(out,
                         size >= 100.0  ? "%.0f"
                         : size >= 10.0 ? "%.1f"
                         : size >= 1.0  ? "%.2f"
                                        : "%.3g",
                         x);
}

void graft_html_seconds(graft_buf *out, double seconds) {
    if (!isfinite(seconds) || seconds < 0.0 || seconds > 1e12)
        graft_buf_text(out, "–");
    else if (seconds < 60.0)
        graft_buf_printf(out, seconds < 10.0 ? "%.1f s" : "%.0f s", seconds);
    else if (seconds < 3600.0)
        graft_buf_printf(out, "%d min %d s", (int)seconds / 60, (int)seconds % 60);
    else
        graft_buf_printf(out, "%lld h %lld min", (long long)seconds / 3600, (long long)seconds % 3600 / 60);
}

void graft_html_memory(graft_buf *out, double bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    if (!isfinite(bytes)) {
        graft_buf_text(out, "–");
        return;
    }
    for (; bytes >= 1024.0 && unit + 1 < GRAFT_COUNT(units); unit++) bytes /= 1024.0;
    graft_buf_printf(out, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

void graft_html_millions(graft_buf *out, double n) {
    if (!isfinite(n) || n < 0.0)
        graft_buf_text(out, "–");
    else if (n < 1e4)
        graft_html_count(out, (int64_t)n);
    else
        graft_buf_printf(out,
                         n < 1e6   ? "%.0f k"
                         : n < 1e9 ? "%.1f M"
                                   : "%.1f G",
                         n < 1e6   ? n / 1e3
                         : n < 1e9 ? n / 1e6
                                   : n / 1e9);
}
