/* A growing byte buffer that knows its ceiling and remembers its first failure, so that a writer can append
 * without checking each call and ask once at the end. `data` always ends in a NUL that is not counted. */
#ifndef GRAFT_BASE_BUF_H
#define GRAFT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

typedef struct graft_buf {
    char *data;
    size_t size, capacity, ceiling;
    bool failed; /* out of memory or past the ceiling: what was appended since is lost */
} graft_buf;

/** ceiling 0: no limit but memory. */
void graft_buf_init(graft_buf *b, size_t ceiling);
void graft_buf_done(graft_buf *b);
void graft_buf_clear(graft_buf *b);
/** Takes the bytes out, to be freed with free(), and leaves the buffer empty; NULL when it has failed or
 * there is no memory. */
char *graft_buf_take(graft_buf *b);
void graft_buf_append(graft_buf *b, const void *data, size_t size);
void graft_buf_text(graft_buf *b, const char *s);
/** A word of a command line, quoted where a shell would see more in it than itself. */
void graft_buf_shell(graft_buf *b, const char *word);
void graft_buf_printf(graft_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
