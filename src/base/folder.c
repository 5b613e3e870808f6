/* Folders and paths: the second half of file.h. */
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int graft_dir_list(char ***names, size_t *n_names, graft_arena *arena, const char *path, graft_err *err) {
    *names = NULL;
    *n_names = 0;
    DIR *dir = opendir(path);
    if (!dir) return graft_err_errno(err, "open the folder", path);
    graft_buf list; /* an array of char * */
    graft_buf_init(&list, 0);
    int rc = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno) rc = graft_err_errno(err, "read the folder", path);
            break;
        }
        if (is_dots(entry->d_name)) continue;
        char *name = graft_arena_strdup(arena, entry->d_name);
        graft_buf_append(&list, &name, sizeof name);
        if (!name || list.failed) {
            rc = graft_err_nomem(err);
            break;
        }
    }
    closedir(dir);
    size_t n = list.size / sizeof(char *);
    if (rc == 0) {
        *names = graft_arena_array(arena, n, sizeof **names);
        if (*names) {
            memcpy(*names, list.data, list.size);
            qsort(*names, n, sizeof **names, compare_names);
            *n_names = n;
        } else {
            rc = graft_err_nomem(err);
        }
    }
    graft_buf_done(&list);
    return rc;
}

int graft_dir_make(const char *path, graft_err *err) {
    char *copy = strdup(path);
    if (!copy) return graft_err_nomem(err);
    int rc = 0;
    for (char *p = copy; rc == 0 && *p;) {
        while (*p == '/') p++;
        while (*p && *p != '/') p++;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, 0777) < 0 && !graft_path_is_dir(copy)) {
            rc = graft_err_errno(err, "make the folder", copy);
        }
        *p = end;
    }
    free(copy);
    return rc;
}

/* Removes what lies in the folder behind `fd`, which it closes. Nothing is reached through a symbolic link.
 */
static int remove_inside(int fd, const char *path, int depth, graft_err *err) {
    DIR *dir = depth < 256 ? fdopendir(fd) : NULL;
    if (!dir) {
        int rc = depth < 256
                     ? graft_err_errno(err, "open the folder", path)
                     : graft_err_set(err, GRAFT_EIO, "cannot remove '%s': folders nested too deep", path);
        close(fd);
        return rc;
    }
    int rc = 0;
    for (const struct dirent *entry = readdir(dir); entry && rc == 0; entry = readdir(dir)) {
        if (is_dots(entry->d_name)) continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT) continue;
        if (errno == EISDIR || errno == EPERM) {
            int sub = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub >= 0) rc = remove_inside(sub, path, depth + 1, err);
            if (rc == 0 && unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0) continue;
        }
        if (rc == 0) rc = graft_err_errno(err, "remove what is in", path);
    }
    closedir(dir);
    return rc;
}

int graft_dir_lock(int *lock, const char *path, graft_err *err) {
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0) return graft_err_errno(err, "open the folder", path);
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return 0;
    close(*lock);
    *lock = -1;
    return graft_err_set(err, GRAFT_EIO,
                         "'%s' is in use by another run: wait for its end, or name another folder", path);
}

void graft_dir_unlock(int lock) {
    if (lock >= 0) close(lock);
}

int graft_dir_remove(const char *path, graft_err *err) {
    struct stat st;
    if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : graft_err_errno(err, "remove", path);
    if (S_ISLNK(st.st_mode)) return unlink(path) < 0 ? graft_err_errno(err, "remove", path) : 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return graft_err_errno(err, "remove the folder", path);
    int rc = remove_inside(fd, path, 0, err);
    if (rc == 0 && rmdir(path) < 0) rc = graft_err_errno(err, "remove the folder", path);
    return rc;
}

bool graft_path_is_dir(const char *path) {
    struct stat st;
    int saved = errno;
    bool yes = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    errno = saved;
    return yes;
}

bool graft_path_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *graft_path_join(graft_arena *arena, const char *dir, const char *name) {
    size_t size = strlen(dir);
    bool slash = size > 0 && dir[size - 1] != '/';
    return graft_arena_printf(arena, "%s%s%s", dir, slash ? "/" : "", name);
}

const char *graft_path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *graft_path_extension(const char *path) {
    const char *name = graft_path_name(path), *dot = strrchr(name, '.');
    return dot && dot != name ? dot + 1 : name + strlen(name);
}

uint64_t graft_disk_free(const char *path) {
    char *at = strdup(*path ? path : ".");
    uint64_t bytes = UINT64_MAX;
    while (at) { /* a folder still to be made: ask the one it will lie in */
        struct statvfs s;
        if (statvfs(at, &s) == 0) {
            if (__builtin_mul_overflow((uint64_t)s.f_bavail, (uint64_t)s.f_frsize, &bytes))
                bytes = UINT64_MAX;
            break;
        }
        char *slash = strrchr(at, '/');
        if (slash == at && at[1]) {
            at[1] = '\0';
        } else if (slash && slash != at) {
            *slash = '\0';
        } else if (!slash && strcmp(at, ".") != 0) {
            at[0] = '.';
            at[1] = '\0';
        } else {
            break;
        }
    }
    free(at);
    return bytes;
}

bool graft_path_same(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *graft_path_absolute(graft_arena *arena, const char *path) {
    char *whole = realpath(path, NULL);
    char *copy = whole ? graft_arena_strdup(arena, whole) : NULL;
    free(whole);
    return copy;
}
