#include "base/buf.h"

#include "base/size.h"
#include "graft.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void graft_buf_init(graft_buf *b, size_t ceiling) {
    *b = (graft_buf){.data = "", .ceiling = ceiling};
}

void graft_buf_done(graft_buf *b) {
    if (b->capacity) free(b->data);
    graft_buf_init(b, b->ceiling);
}

void graft_buf_clear(graft_buf *b) {
    b->size = 0;
    b->failed = false;
    if (b->capacity) b->data[0] = '\0';
}

/* Makes room for `more` bytes and the NUL; capacity 0 means that `data` is the constant empty string. */
static bool reserve(graft_buf *b, size_t more) {
    size_t need;
    if (b->failed) return false;
    if (!graft_size_add(b->size, more, &need) || need >= PTRDIFF_MAX / 2 ||
        (b->ceiling && need > b->ceiling)) {
        b->failed = true;
        return false;
    }
    if (need < b->capacity) return true;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity <= need) capacity *= 2;
    char *data = realloc(b->capacity ? b->data : NULL, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    b->data[b->size] = '\0';
    return true;
}

char *graft_buf_take(graft_buf *b) {
    char *data = b->failed ? NULL : b->capacity ? b->data : calloc(1, 1);
    if (data && b->capacity) *b = (graft_buf){.data = "", .ceiling = b->ceiling};
    return data;
}

void graft_text_free(char *text) {
    free(text);
}

void graft_buf_append(graft_buf *b, const void *data, size_t size) {
    if (size == 0 || !reserve(b, size)) return;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = '\0';
}

void graft_buf_text(graft_buf *b, const char *s) {
    graft_buf_append(b, s, strlen(s));
}

void graft_buf_printf(graft_buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (n == 0 || !reserve(b, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
}

void graft_buf_shell(graft_buf *b, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,/:@%";
    if (word[0] && !word[strspn(word, plain)]) {
        graft_buf_text(b, word);
        return;
    }
    graft_buf_text(b, "'");
    for (const char *c = word; *c; c++) {
        if (*c == '\'')
            graft_buf_text(b, "'\\''");
        else
            graft_buf_append(b, c, 1);
    }
    graft_buf_text(b, "'");
}
