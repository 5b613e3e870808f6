/* The folder of the bottleneck cache: where it is, what it may hold, who changes it, what is evicted. */
#include "transfer/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = {'g', 'r', 'a', 'f', 't', 'r', 'o', 'w'};
static const char SUFFIX[] = ".rows";
static const uint64_t LARGEST_DEFAULT = 20000000000u;

static graft_hash header_checksum(const graft_cache_header *h) {
    return graft_hash_bytes(h, offsetof(graft_cache_header, checksum));
}

void graft_cache_header_fill(graft_cache_header *h, graft_hash key, size_t row_size, size_t stride,
                             const char *description) {
    *h = (graft_cache_header){.version = GRAFT_CACHE_VERSION,
                              .header_size = GRAFT_CACHE_HEADER_SIZE,
                              .row_size = row_size,
                              .stride = stride,
                              .key = key};
    memcpy(h->magic, MAGIC, sizeof MAGIC);
    snprintf(h->description, sizeof h->description, "%s", description ? description : "");
    h->checksum = header_checksum(h);
}

bool graft_cache_header_read(graft_cache_header *h, int fd) {
    return pread(fd, h, sizeof *h, 0) == (ssize_t)sizeof *h && memcmp(h->magic, MAGIC, sizeof MAGIC) == 0 &&
           graft_hash_equal(h->checksum, header_checksum(h)) && h->version == GRAFT_CACHE_VERSION &&
           h->stride > 0;
}

static int find_path(const char **out, graft_arena *arena, graft_err *err) {
    const char *own = getenv("GRAFT_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own) {
        *out = graft_arena_strdup(arena, own);
    } else if (xdg && *xdg == '/') { /* the specification has relative paths ignored */
        *out = graft_path_join(arena, xdg, "graft");
    } else if (home && *home) {
        *out = graft_path_join(arena, home, ".cache/graft");
    } else {
        return graft_err_set(err, GRAFT_EUSAGE,
                             "no folder for the bottleneck cache: HOME is not set; name one in GRAFT_CACHE");
    }
    return *out ? 0 : graft_err_nomem(err);
}

/* "500M", "1.5G", "20g", "1000000": K, M and G are powers of 1000, KiB, MiB and GiB of 1024. */
static bool parse_size(const char *text, uint64_t *out) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},       {"B", 1},         {"K", 1e3},       {"KB", 1e3},    {"M", 1e6},
                 {"MB", 1e6},   {"G", 1e9},       {"GB", 1e9},      {"T", 1e12},    {"TB", 1e12},
                 {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1 << 30}, {"TiB", 0x1p40}};
    char *end;
    if (*text < '0' || *text > '9') return false;
    double x = strtod(text, &end);
    while (*end == ' ') end++;
    for (size_t i = 0; i < GRAFT_COUNT(units); i++) {
        if (strcasecmp(end, units[i].name) != 0) continue;
        x *= units[i].factor;
        *out = x < 0x1p63 ? (uint64_t)x : (uint64_t)1 << 63;
        return x >= 0;
    }
    return false;
}

int graft_cache_folder_find(graft_cache_folder *out, graft_arena *arena, uint64_t limit, graft_err *err) {
    *out = (graft_cache_folder){.lock = -1};
    int rc = find_path(&out->path, arena, err);
    if (rc < 0) return rc;
    const char *text = getenv("GRAFT_CACHE_LIMIT");
    if (limit) {
        out->limit = limit;
    } else if (text && *text) {
        if (!parse_size(text, &out->limit))
            return graft_err_set(err, GRAFT_EUSAGE,
                                 "GRAFT_CACHE_LIMIT is '%s', which is no size: write it like 500M or 20G",
                                 text);
    } else {
        /* What the cache holds already counts as free, or it would shrink as it fills. */
        graft_cache_file *files;
        size_t n;
        rc = graft_cache_folder_files(&files, &n, arena, out, err);
        if (rc < 0) return rc;
        uint64_t room = graft_disk_free(out->path);
        for (size_t i = 0; i < n; i++) {
            if (room < UINT64_MAX - files[i].bytes) room += files[i].bytes;
        }
        out->limit = room / 10 < LARGEST_DEFAULT ? room / 10 : LARGEST_DEFAULT;
    }
    return 0;
}

int graft_cache_folder_open(graft_cache_folder *f, graft_err *err) {
    int rc = graft_dir_make(f->path, err);
    if (rc < 0) return rc;
    char *path;
    if (asprintf(&path, "%s/lock", f->path) < 0) return graft_err_nomem(err);
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->lock < 0) rc = graft_err_errno(err, "write", path);
    free(path);
    return rc;
}

void graft_cache_folder_close(graft_cache_folder *f) {
    if (f->lock >= 0) close(f->lock);
    f->lock = -1;
}

int graft_cache_folder_lock(const graft_cache_folder *f, graft_err *err) {
    while (flock(f->lock, LOCK_EX) < 0) {
        if (errno != EINTR) return graft_err_errno(err, "lock the bottleneck cache", f->path);
    }
    return 0;
}

void graft_cache_folder_unlock(const graft_cache_folder *f) {
    flock(f->lock, LOCK_UN);
}

/* Nothing else that may lie in the folder is counted, listed or removed. */
static bool is_store_name(const char *name) {
    return strspn(name, "0123456789abcdef") == 32 && strcmp(name + 32, SUFFIX) == 0;
}

static int by_use(const void *a, const void *b) {
    const graft_cache_file *x = a, *y = b;
    if (x->used_s != y->used_s) return x->used_s < y->used_s ? -1 : 1;
    if (x->used_ns != y->used_ns) return x->used_ns < y->used_ns ? -1 : 1;
    return strcmp(x->name, y->name);
}

int graft_cache_folder_files(graft_cache_file **out, size_t *n, graft_arena *arena,
                             const graft_cache_folder *f, graft_err *err) {
    char **names;
    size_t n_names;
    *out = NULL;
    *n = 0;
    if (!graft_path_is_dir(f->path)) return 0;
    int rc = graft_dir_list(&names, &n_names, arena, f->path, err);
    if (rc < 0) return rc;
    graft_cache_file *files = graft_arena_array(arena, n_names + 1, sizeof *files);
    if (!files) return graft_err_nomem(err);
    for (size_t i = 0; i < n_names; i++) {
        struct stat st;
        if (!is_store_name(names[i])) continue;
        const char *path = graft_path_join(arena, f->path, names[i]);
        if (!path) return graft_err_nomem(err);
        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode)) continue;
        files[(*n)++] = (graft_cache_file){.name = names[i],
                                           .path = path,
                                           .bytes = (uint64_t)st.st_size,
                                           .used_s = st.st_mtim.tv_sec,
                                           .used_ns = st.st_mtim.tv_nsec};
    }
    qsort(files, *n, sizeof *files, by_use);
    *out = files;
    return 0;
}

int graft_cache_file_claim(const graft_cache_file *file) {
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    close(fd);
    return -1;
}

/* Claims files, the longest unused first, until `excess` bytes are together; then removes them. */
static bool evict(const graft_cache_file *files, size_t n, uint64_t excess, int *claimed) {
    uint64_t found = 0;
    size_t tried = 0;
    for (; tried < n && found < excess; tried++) {
        claimed[tried] = graft_cache_file_claim(&files[tried]);
        if (claimed[tried] >= 0) found += files[tried].bytes;
    }
    for (size_t i = 0; i < tried; i++) {
        if (claimed[i] < 0) continue;
        if (found >= excess) unlink(files[i].path);
        close(claimed[i]);
    }
    return found >= excess;
}

int graft_cache_folder_room(const graft_cache_folder *f, uint64_t need, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    graft_cache_file *files;
    size_t n;
    uint64_t held = 0;
    int rc = graft_cache_folder_files(&files, &n, arena, f, err);
    for (size_t i = 0; i < n; i++) held += files[i].bytes;
    if (rc == 0 && (held > f->limit || need > f->limit - held)) {
        int *claimed = graft_arena_array(arena, n, sizeof *claimed);
        if (!claimed) {
            rc = graft_err_nomem(err);
        } else if (need > f->limit || !evict(files, n, held - (f->limit - need), claimed)) {
            rc = graft_err_set(
                err, GRAFT_EIO,
                "the bottleneck cache in '%s' is full: it holds %.1f MB of at most %.1f MB, and %.1f MB "
                "more do not fit even when all that nobody uses is removed; raise GRAFT_CACHE_LIMIT",
                f->path, (double)held / 1e6, (double)f->limit / 1e6, (double)need / 1e6);
        }
    }
    graft_arena_free(arena);
    return rc;
}
