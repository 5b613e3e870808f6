/* Reading, mapping and atomic writing of files; folders and paths are in folder.c. */
#include "base/file.h"

#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int open_to_read(int *out, struct stat *st, const char *path, graft_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return graft_err_errno(err, "open", path);
    int failed = fstat(fd, st);
    if (!failed && S_ISDIR(st->st_mode)) {
        errno = EISDIR;
        failed = -1;
    }
    if (failed) {
        int rc = graft_err_errno(err, "read", path);
        close(fd);
        return rc;
    }
    *out = fd;
    return 0;
}

typedef struct mapping {
    void *data;
    size_t size;
} mapping;

static void mapping_done(void *obj) {
    const mapping *m = obj;
    munmap(m->data, m->size);
}

int graft_file_map(graft_mapped *out, graft_arena *arena, const char *path, graft_err *err) {
    int fd;
    struct stat st;
    *out = (graft_mapped){NULL, 0};
    int rc = open_to_read(&fd, &st, path, err);
    if (rc < 0) return rc;
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return graft_err_set(err, GRAFT_EIO, "cannot map '%s': not a regular file", path);
    }
    if (st.st_size == 0) {
        close(fd);
        return 0;
    }
    mapping *m = graft_arena_alloc(arena, sizeof *m);
    if (!m) {
        close(fd);
        return graft_err_nomem(err);
    }
    m->size = (size_t)st.st_size;
    m->data = mmap(NULL, m->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (m->data == MAP_FAILED) {
        rc = graft_err_errno(err, "map", path);
        close(fd);
        return rc;
    }
    close(fd);
    if (graft_arena_defer(arena, mapping_done, m) < 0) return graft_err_nomem(err);
    *out = (graft_mapped){m->data, m->size};
    return 0;
}

/* Reads up to `size` bytes; *got is fewer only at the end of the file. */
static int read_full(int fd, char *data, size_t size, size_t *got, const char *path, graft_err *err) {
    *got = 0;
    while (*got < size) {
        ssize_t n = read(fd, data + *got, size - *got);
        if (n == 0) break;
        if (n > 0) {
            *got += (size_t)n;
        } else if (errno != EINTR) {
            return graft_err_errno(err, "read", path);
        }
    }
    return 0;
}

static int too_large(const char *path, size_t ceiling, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: larger than the %zu bytes that are read of such a file",
                         path, ceiling);
}

/* Pipes and system files do not tell their size. */
static int read_stream(char **out, size_t *size, graft_arena *arena, int fd, const char *path, size_t ceiling,
                       graft_err *err) {
    char piece[16384];
    size_t got;
    graft_buf b;
    graft_buf_init(&b, 0);
    int rc;
    do {
        rc = read_full(fd, piece, sizeof piece, &got, path, err);
        graft_buf_append(&b, piece, got);
        if (rc == 0 && b.size > ceiling) rc = too_large(path, ceiling, err);
    } while (rc == 0 && got == sizeof piece && !b.failed);
    if (rc == 0) {
        *out = b.failed ? NULL : graft_arena_alloc(arena, b.size + 1);
        if (*out) {
            memcpy(*out, b.data, b.size);
            *size = b.size;
        } else {
            rc = graft_err_nomem(err);
        }
    }
    graft_buf_done(&b);
    return rc;
}

int graft_file_read(char **out, size_t *size, graft_arena *arena, const char *path, size_t ceiling,
                    graft_err *err) {
    int fd;
    struct stat st;
    *out = NULL;
    *size = 0;
    int rc = open_to_read(&fd, &st, path, err);
    if (rc < 0) return rc;
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        rc = read_stream(out, size, arena, fd, path, ceiling, err);
    } else if ((uintmax_t)st.st_size > ceiling) {
        rc = too_large(path, ceiling, err);
    } else if (!(*out = graft_arena_alloc(arena, (size_t)st.st_size + 1))) {
        rc = graft_err_nomem(err);
    } else {
        rc = read_full(fd, *out, (size_t)st.st_size, size, path, err);
    }
    close(fd);
    return rc;
}

/* ---- Writing ----------------------------------------------------------------------------------------------
 */

enum { WRITER_BUFFER = 1 << 16 };

struct graft_writer {
    int fd;
    bool failed;
    bool is_named; /* the temporary file has its name already; else it goes by itself when the process dies */
    char *path, *temporary; /* in one allocation with the struct */
    size_t used;
    char buffer[WRITER_BUFFER];
};

/* A name beside `path` that no other writer uses: hidden, so that a folder that is read meanwhile does not
 * show it. */
static void temporary_name(char *out, size_t out_size, const char *path, unsigned attempt) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int folder = (int)(graft_path_name(path) - path);
    snprintf(out, out_size, "%.*s.graft-tmp-%lx-%lx-%x", folder, path, (unsigned long)getpid(),
             (unsigned long)t.tv_sec * 1000000000ul + (unsigned long)t.tv_nsec, attempt);
}

/* The folder of a path, ".": the present one. NULL when out of memory. */
static char *folder_of(const char *path) {
    size_t size = (size_t)(graft_path_name(path) - path);
    return size ? strndup(path, size) : strdup(".");
}

/* A file without a name in the folder of `path`, or -1 where the file system has none such or /proc, through
 * which it gets its name, is not there. */
static int open_nameless(const char *path) {
    char link[64];
    char *folder = folder_of(path);
    int fd = folder ? open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666) : -1;
    free(folder);
    if (fd < 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (access(link, F_OK) == 0) return fd;
    close(fd);
    return -1;
}

static int open_named(graft_writer *w, size_t name_size) {
    int fd = -1;
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        temporary_name(w->temporary, name_size, w->path, attempt);
        fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) break;
    }
    return fd;
}

int graft_writer_open(graft_writer **out, const char *path, graft_err *err) {
    *out = NULL;
    size_t path_size = strlen(path) + 1, name_size = path_size + 80;
    graft_writer *w = malloc(sizeof *w + path_size + name_size);
    if (!w) return graft_err_nomem(err);
    w->failed = false;
    w->used = 0;
    w->path = (char *)(w + 1);
    w->temporary = w->path + path_size;
    memcpy(w->path, path, path_size);
    temporary_name(w->temporary, name_size, path, 0);
    w->fd = open_nameless(path);
    w->is_named = w->fd < 0;
    if (w->is_named) w->fd = open_named(w, name_size);
    if (w->fd < 0) {
        int rc = graft_err_errno(err, "write", path);
        free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* Gives a nameless file its temporary name, from which it can be renamed over another. */
static int give_name(graft_writer *w, graft_err *err) {
    char link[64];
    if (w->is_named) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", w->fd);
    if (linkat(AT_FDCWD, link, AT_FDCWD, w->temporary, AT_SYMLINK_FOLLOW) < 0) {
        return graft_err_errno(err, "write", w->path);
    }
    w->is_named = true;
    return 0;
}

static int write_through(graft_writer *w, const char *data, size_t size, graft_err *err) {
    while (size) {
        ssize_t n = write(w->fd, data, size);
        if (n < 0) {
            if (errno == EINTR) continue;
            w->failed = true;
            return graft_err_errno(err, "write", w->path);
        }
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int flush(graft_writer *w, graft_err *err) {
    size_t used = w->used;
    w->used = 0;
    return write_through(w, w->buffer, used, err);
}

int graft_writer_write(graft_writer *w, const void *data, size_t size, graft_err *err) {
    if (w->failed)
        return graft_err_set(err, GRAFT_EIO, "cannot write '%s': an earlier write failed", w->path);
    if (size > WRITER_BUFFER - w->used) {
        int rc = flush(w, err);
        if (rc < 0) return rc;
    }
    if (size >= WRITER_BUFFER) return write_through(w, data, size, err);
    if (size) memcpy(w->buffer + w->used, data, size);
    w->used += size;
    return 0;
}

/* The rename is on the disk only once its folder is. File systems that cannot sync a folder say EINVAL. */
static int sync_folder(const char *path, graft_err *err) {
    char *name = folder_of(path);
    if (!name) return graft_err_nomem(err);
    int rc = 0, fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 ? errno != EACCES : (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)) {
        rc = graft_err_errno(err, "sync", name);
    }
    if (fd >= 0) close(fd);
    free(name);
    return rc;
}

int graft_writer_commit(graft_writer *w, graft_err *err) {
    int rc = w->failed ? graft_err_set(err, GRAFT_EIO, "cannot write '%s': an earlier write failed", w->path)
                       : flush(w, err);
    if (rc == 0 && fsync(w->fd) < 0) rc = graft_err_errno(err, "sync", w->path);
    if (rc == 0) rc = give_name(w, err);
    if (close(w->fd) < 0 && rc == 0) rc = graft_err_errno(err, "write", w->path);
    w->fd = -1;
    if (rc == 0 && rename(w->temporary, w->path) < 0) rc = graft_err_errno(err, "replace", w->path);
    if (rc < 0) {
        graft_writer_abort(w);
        return rc;
    }
    rc = sync_folder(w->path, err);
    free(w);
    return rc;
}

void graft_writer_abort(graft_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (w->is_named) unlink(w->temporary);
    free(w);
}

int graft_file_write(const char *path, const void *data, size_t size, graft_err *err) {
    graft_writer *w;
    int rc = graft_writer_open(&w, path, err);
    if (rc < 0) return rc;
    rc = graft_writer_write(w, data, size, err);
    if (rc < 0) {
        graft_writer_abort(w);
        return rc;
    }
    return graft_writer_commit(w, err);
}

int graft_file_copy(const char *from, const char *to, graft_err *err) {
    int fd;
    struct stat st;
    graft_writer *w;
    int rc = open_to_read(&fd, &st, from, err);
    if (rc < 0) return rc;
    rc = graft_writer_open(&w, to, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    char piece[32768];
    size_t got;
    do {
        rc = read_full(fd, piece, sizeof piece, &got, from, err);
        if (rc == 0) rc = graft_writer_write(w, piece, got, err);
    } while (rc == 0 && got == sizeof piece);
    close(fd);
    if (rc < 0) {
        graft_writer_abort(w);
        return rc;
    }
    return graft_writer_commit(w, err);
}
