#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line and nothing that a terminal would act on: names in files are anybody's. Cuts a UTF-8 sequence that
 * the end of the buffer has broken. */
static void make_one_line(char *s) {
    size_t size = strlen(s);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) s[i] = '?';
    }
    size_t tail = 0;
    while (tail < 3 && tail < size && ((unsigned char)s[size - 1 - tail] & 0xc0) == 0x80) tail++;
    if (tail >= size) return;
    unsigned char lead = (unsigned char)s[size - 1 - tail];
    size_t need = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (lead >= 0xc0 && tail < need) s[size - 1 - tail] = '\0';
}

int graft_err_set(graft_err *err, int code, const char *format, ...) {
    if (!err) return code;
    char text[sizeof err->message]; /* the arguments may be err's own message, put into a longer one */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    make_one_line(text);
    err->code = code;
    memcpy(err->message, text, strlen(text) + 1);
    return code;
}

int graft_err_nomem(graft_err *err) {
    return graft_err_set(err, GRAFT_ENOMEM, "out of memory");
}

int graft_err_errno(graft_err *err, const char *doing, const char *path) {
    char reason[128];
    const char *text = strerror_r(errno, reason, sizeof reason); /* GNU's, which returns the text */
    return graft_err_set(err, GRAFT_EIO, "cannot %s '%s': %s", doing, path, text);
}

#define ERROR_EXIT(name, value, exit_status, text)                                                           \
    case (value):                                                                                            \
        return (exit_status);
#define ERROR_NAME(name, value, exit_status, text)                                                           \
    case (value):                                                                                            \
        return #name;

int graft_error_exit(int code) {
    switch (code) {
    case GRAFT_OK:
        return 0;
        GRAFT_ERRORS(ERROR_EXIT)
    default:
        return 1;
    }
}

const char *graft_error_name(int code) {
    switch (code) {
    case GRAFT_OK:
        return "OK";
        GRAFT_ERRORS(ERROR_NAME)
    default:
        return "EINTERNAL";
    }
}
