/* Decimal numbers of text files, a hundred million of them in a large one. Nearly all have at most 19 digits
 * and a small power of ten, which double arithmetic turns into the nearest double with one rounding (Clinger
 * 1990, "How to read floating point numbers accurately"); the rest is the C library's. */
#include "model/vectors/format.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 19, EXACT_POWER = 22, LONGEST = 511 };
static const uint64_t most_exact = UINT64_C(1) << 53;

/* A decimal taken apart: digits * 10^power. */
typedef struct decimal {
    uint64_t digits;
    int n_digits; /* without leading zeros */
    long power;
    bool negative;
} decimal;

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Digits from `p`; returns their end. */
static const char *take_digits(decimal *d, const char *p, const char *end, bool is_fraction) {
    for (; p < end && is_digit(*p); p++) {
        if (d->n_digits || *p != '0') d->n_digits++;
        if (d->n_digits <= MOST_DIGITS) {
            d->digits = d->digits * 10 + (uint64_t)(*p - '0');
            d->power -= is_fraction;
        }
    }
    return p;
}

static const char *take_exponent(decimal *d, const char *p, const char *end) {
    bool negative = p < end && *p == '-';
    long x = 0;
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end || !is_digit(*p)) return NULL;
    for (; p < end && is_digit(*p); p++)
        if (x < 100000) x = x * 10 + (*p - '0');
    d->power += negative ? -x : x;
    return p;
}

/* false when the text is not a decimal number from its first to its last byte. */
static bool take_apart(decimal *d, const char *p, const char *end) {
    *d = (decimal){.negative = p < end && *p == '-'};
    if (p < end && (*p == '-' || *p == '+')) p++;
    const char *whole = p;
    p = take_digits(d, p, end, false);
    bool any = p > whole;
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = take_digits(d, fraction, end, true);
        any = any || p > fraction;
    }
    if (!any) return false;
    if (p < end && (*p == 'e' || *p == 'E')) p = take_exponent(d, p + 1, end);
    return p == end;
}

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* "-0.12345": a sign, up to MOST_DIGITS - 1 digits, perhaps a point. false: it is not so short or so plain,
 * or its digits are no exact double. */
static bool parse_plain(const char *text, size_t size, double *out) {
    const char *p = text, *end = text + size, *point = NULL;
    uint64_t digits = 0;
    bool negative = size && *p == '-';
    if (size > MOST_DIGITS) return false;
    p += negative;
    const char *first = p;
    for (; p < end; p++) {
        unsigned digit = (unsigned)*p - '0';
        if (digit <= 9) {
            digits = digits * 10 + digit;
        } else if (*p == '.' && !point) {
            point = p + 1;
        } else {
            return false;
        }
    }
    if (end - first <= (point != NULL) || digits >= most_exact) return false;
    double x = point ? (double)digits / powers[end - point] : (double)digits;
    *out = negative ? -x : x;
    return true;
}

bool graft_decimal_parse(const char *text, size_t size, float *out) {
    decimal d;
    double x;
    if (parse_plain(text, size, &x)) {
        *out = (float)x;
        return true;
    }
    if (!take_apart(&d, text, text + size)) return false;
    if (d.n_digits <= MOST_DIGITS && d.digits < most_exact && labs(d.power) <= EXACT_POWER) {
        x = (double)d.digits;
        x = d.power < 0 ? x / powers[-d.power] : x * powers[d.power];
        if (d.negative) x = -x;
    } else {
        char copy[LONGEST + 1];
        if (size > LONGEST) return false;
        memcpy(copy, text, size);
        copy[size] = '\0';
        x = strtod(copy, NULL);
    }
    *out = (float)x;
    return isfinite(*out);
}
