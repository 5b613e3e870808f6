/* The run's log: one JSON object a line, written at once, so that a kill costs at most the line under way. */
#include "learn/learn.h"
#include "learn/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct graft_runlog {
    int fd; /* -1: events go nowhere */
    int64_t count;
    char *path;
    char *tensorboard_folder;       /* NULL: none */
    graft_tensorboard *tensorboard; /* opened at the first epoch, which is where older files end */
};

enum { CEILING = 1 << 30 };

/* Bytes of the first `keep` whole lines (all whole lines when negative). */
static size_t whole_lines(const char *text, size_t size, int64_t keep, int64_t *count) {
    size_t end = 0;
    *count = 0;
    for (size_t i = 0; i < size && (keep < 0 || *count < keep); i++) {
        if (text[i] != '\n') continue;
        end = i + 1;
        ++*count;
    }
    return end;
}

/* Cuts the file to its first `keep` whole lines (negative: all of them) and leaves the descriptor at its end.
 */
static int cut(graft_runlog *log, int64_t keep, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    size_t size = 0;
    char *text = NULL;
    int rc = graft_file_read(&text, &size, arena, log->path, CEILING, err);
    if (rc == 0) {
        size_t end = whole_lines(text, size, keep, &log->count);
        if (ftruncate(log->fd, (off_t)end) < 0 || lseek(log->fd, 0, SEEK_END) < 0)
            rc = graft_err_errno(err, "write", log->path);
    }
    graft_arena_free(arena);
    return rc;
}

int graft_runlog_open(graft_runlog **out, const char *path, graft_err *err) {
    graft_runlog *log = calloc(1, sizeof *log);
    if (!log) return graft_err_nomem(err);
    int rc = 0;
    log->fd = -1;
    if (path) {
        log->path = strdup(path);
        log->fd = log->path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
        if (!log->path) {
            rc = graft_err_nomem(err);
        } else if (log->fd < 0) {
            rc = graft_err_errno(err, "write", path);
        } else {
            rc = cut(log, -1, err);
        }
    }
    if (rc < 0) {
        graft_runlog_close(log);
        return rc;
    }
    *out = log;
    return 0;
}

int graft_runlog_keep(graft_runlog *log, int64_t n, graft_err *err) {
    if (log->count <= n) return 0;
    log->count = n;
    return log->fd < 0 ? 0 : cut(log, n, err);
}

static int show(graft_runlog *log, const json_t *fields, graft_err *err) {
    int64_t epoch = json_integer_value(json_object_get(fields, "epoch"));
    int rc =
        log->tensorboard ? 0 : graft_tensorboard_open(&log->tensorboard, log->tensorboard_folder, epoch, err);
    return rc < 0 ? rc : graft_tensorboard_write(log->tensorboard, epoch, fields, err);
}

int graft_runlog_write(graft_runlog *log, const char *event, json_t *fields, graft_err *err) {
    int rc = 0;
    char *text = NULL;
    if (!fields || json_object_set_new(fields, "event", json_string(event)) < 0 ||
        !(text = json_dumps(fields, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(12)))) {
        rc = graft_err_nomem(err);
    } else if (log->fd >= 0) {
        size_t size = strlen(text);
        text[size] = '\n'; /* in the place of the NUL: one write a line */
        for (size_t at = 0; at <= size && rc == 0;) {
            ssize_t n = write(log->fd, text + at, size + 1 - at);
            if (n < 0 && errno != EINTR) rc = graft_err_errno(err, "write", log->path);
            if (n > 0) at += (size_t)n;
        }
    }
    if (rc == 0) log->count++;
    if (rc == 0 && log->tensorboard_folder && strcmp(event, "epoch") == 0) rc = show(log, fields, err);
    free(text);
    json_decref(fields);
    return rc;
}

int graft_runlog_tensorboard(graft_runlog *log, const char *folder, graft_err *err) {
    log->tensorboard_folder = strdup(folder);
    return log->tensorboard_folder ? graft_dir_make(folder, err) : graft_err_nomem(err);
}

int64_t graft_runlog_count(const graft_runlog *log) {
    return log->count;
}

void graft_runlog_close(graft_runlog *log) {
    if (!log) return;
    if (log->fd >= 0) close(log->fd);
    graft_tensorboard_close(log->tensorboard);
    free(log->tensorboard_folder);
    free(log->path);
    free(log);
}
