/* One store of the bottleneck cache. Rows are put into a block of memory and appended to the file a block at
 * a time, under the folder's lock. The file is mapped in segments that are never unmapped before the close,
 * so that a row's address holds. Rows are checked against their checksum when first asked for, not all at
 * open.
 *
 *     put → block → settle (catch up with other processes, make room, append) → segment → get
 */
#include "transfer/transfer.h"

#include "transfer/cache.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Rows that took long to compute are not kept waiting for a full block: a kill would lose them. */
static const double LONGEST_WAIT = 1; /* seconds */
static const size_t BLOCK_SIZE = (size_t)4 << 20, SEGMENT_SIZE = (size_t)64 << 20;

/* Where a row is: its number there, times four, plus its place. */
typedef enum row_place {
    PLACE_FILE,    /* not checked yet */
    PLACE_CHECKED, /* in the file, and what its checksum says */
    PLACE_MEMORY,  /* in a block */
    PLACE_NOWHERE  /* was in the file, damaged */
} row_place;

typedef struct segment {
    void *base;
    size_t size;
    const unsigned char *rows;
} segment;

struct graft_cache {
    graft_arena *arena;
    const graft_env *env;
    graft_cache_folder folder;
    const char *path;
    int fd;
    size_t row_size, stride;
    graft_map *index;
    int64_t count;
    size_t n_rows; /* of the file, as far as they are in the index */
    segment *segments;
    size_t n_segments, rows_a_segment;
    unsigned char **blocks; /* the last one takes what is put; several only once the file no longer grows */
    size_t n_blocks, rows_a_block, n_pending;
    double settled;       /* when the pending rows were last written */
    bool stays_in_memory; /* the file could not be grown */
};

graft_hash graft_cache_key(graft_hash prefix, graft_hash preprocessing, graft_precision dtype,
                           int64_t variant) {
    const uint64_t parts[] = {prefix.lo,       prefix.hi,         preprocessing.lo,   preprocessing.hi,
                              (uint64_t)dtype, (uint64_t)variant, GRAFT_CACHE_VERSION};
    return graft_hash_bytes(parts, sizeof parts);
}

/* ---- Rows ------------------------------------------------------------------------------------------------ */

typedef struct row_tail {
    graft_hash content, checksum;
} row_tail;

static row_tail tail_of(const graft_cache *c, const unsigned char *row) {
    row_tail tail;
    memcpy(&tail, row + c->row_size, sizeof tail);
    return tail;
}

static graft_hash checksum_of(const graft_cache *c, const unsigned char *row) {
    return graft_hash_bytes(row, c->row_size + sizeof(graft_hash));
}

static const unsigned char *file_row(const graft_cache *c, size_t row) {
    return c->segments[row / c->rows_a_segment].rows + row % c->rows_a_segment * c->stride;
}

static unsigned char *memory_row(const graft_cache *c, size_t row) {
    return c->blocks[row / c->rows_a_block] + row % c->rows_a_block * c->stride;
}

static bool is_right(const graft_cache *c, const unsigned char *row) {
    return graft_hash_equal(tail_of(c, row).checksum, checksum_of(c, row));
}

static int note(graft_cache *c, graft_hash content, size_t row, row_place place) {
    return graft_map_put(c->index, (const char *)&content, sizeof content, (int64_t)row * 4 + place);
}

static int64_t noted(const graft_cache *c, graft_hash content) {
    return graft_map_get(c->index, (const char *)&content, sizeof content);
}

/* Where the content's row is, NOWHERE when there is none. A row that is looked at for the first time is
 * checked, and forgotten when it is damaged. */
static row_place look_up(graft_cache *c, graft_hash content, size_t *row) {
    int64_t value = noted(c, content);
    if (value < 0) return PLACE_NOWHERE;
    row_place place = (row_place)(value & 3);
    *row = (size_t)(value >> 2);
    if (place != PLACE_FILE) return place;
    place = is_right(c, file_row(c, *row)) ? PLACE_CHECKED : PLACE_NOWHERE;
    if (place == PLACE_NOWHERE) c->count--;
    if (note(c, content, *row, place) < 0) return PLACE_NOWHERE; /* cannot be: the key is there */
    return place;
}

/* ---- The file's growth ----------------------------------------------------------------------------------- */

/* Maps the segments of the first `n` rows; a segment reaches past the end of a file that will grow. */
static int map_rows(graft_cache *c, size_t n, graft_err *err) {
    while (c->n_segments * c->rows_a_segment < n) {
        segment *more = realloc(c->segments, (c->n_segments + 1) * sizeof *more);
        if (!more) return graft_err_nomem(err);
        c->segments = more;
        size_t from = GRAFT_CACHE_HEADER_SIZE + c->n_segments * c->rows_a_segment * c->stride;
        size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = from % page;
        segment s = {.size = skip + c->rows_a_segment * c->stride};
        s.base = mmap(NULL, s.size, PROT_READ, MAP_SHARED, c->fd, (off_t)(from - skip));
        if (s.base == MAP_FAILED) return graft_err_errno(err, "map", c->path);
        s.rows = (const unsigned char *)s.base + skip;
        c->segments[c->n_segments++] = s;
    }
    return 0;
}

/* Whole rows of the file. What a killed process left of another row is overwritten by the next. Under the
 * folder's lock. */
static int whole_rows(const graft_cache *c, size_t *n, graft_err *err) {
    struct stat st;
    if (fstat(c->fd, &st) < 0) return graft_err_errno(err, "read", c->path);
    size_t size = st.st_size < GRAFT_CACHE_HEADER_SIZE ? 0 : (size_t)st.st_size - GRAFT_CACHE_HEADER_SIZE;
    *n = size / c->stride;
    if (*n < c->n_rows) return graft_err_set(err, GRAFT_EIO, "'%s' was cut while it was in use", c->path);
    return 0;
}

/* Takes one row of the file into the index. It replaces an earlier row of its content, which may be damaged,
 * unless that is known to be right; a pending one only when it is itself right. */
static int take_row(graft_cache *c, size_t row, graft_err *err) {
    const row_tail tail = tail_of(c, file_row(c, row)), nothing = {{0, 0}, {0, 0}};
    if (memcmp(&tail, &nothing, sizeof tail) == 0) return 0; /* never written: the machine went down */
    int64_t value = noted(c, tail.content);
    row_place known = value < 0 ? PLACE_NOWHERE : (row_place)(value & 3), place = PLACE_FILE;
    if (known == PLACE_CHECKED) return 0;
    if (known == PLACE_MEMORY) {
        if (!is_right(c, file_row(c, row))) return 0;
        place = PLACE_CHECKED;
    }
    if (note(c, tail.content, row, place) < 0) return graft_err_nomem(err);
    if (known == PLACE_NOWHERE) c->count++;
    return 0;
}

/* Takes the file's rows up to the n-th into the index. */
static int take_rows(graft_cache *c, size_t n, graft_err *err) {
    int rc = map_rows(c, n, err);
    for (; c->n_rows < n && rc == 0; c->n_rows++) {
        rc = take_row(c, c->n_rows, err);
        if (rc < 0) break;
    }
    return rc;
}

static int write_at(const graft_cache *c, const void *data, size_t size, size_t offset, graft_err *err) {
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(c->fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            if (n == 0) errno = ENOSPC;
            int rc = graft_err_errno(err, "write", c->path);
            if (ftruncate(c->fd, (off_t)offset) < 0) return rc; /* the next writer overwrites it */
            return rc;
        }
    }
    return 0;
}

/* Moves the pending rows that no other process has written meanwhile to the block's start. */
static int drop_written(graft_cache *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->n_pending; i++) {
        const unsigned char *row = memory_row(c, i);
        graft_hash content = tail_of(c, row).content;
        if ((noted(c, content) & 3) != PLACE_MEMORY) continue;
        if (kept < i) memcpy(memory_row(c, kept), row, c->stride);
        if (note(c, content, kept++, PLACE_MEMORY) < 0) return GRAFT_ENOMEM;
    }
    c->n_pending = kept;
    return 0;
}

/* Appends the pending rows. Under the folder's lock, with all rows of the file taken. */
static int append(graft_cache *c, graft_err *err) {
    int rc = drop_written(c);
    if (rc < 0 || c->n_pending == 0) return rc;
    size_t n = c->n_pending, size = n * c->stride;
    const unsigned char *block = c->blocks[0];
    rc = graft_cache_folder_room(&c->folder, size, err);
    if (rc == 0) rc = map_rows(c, c->n_rows + n, err);
    if (rc == 0) rc = write_at(c, block, size, GRAFT_CACHE_HEADER_SIZE + c->n_rows * c->stride, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = note(c, tail_of(c, block + i * c->stride).content, c->n_rows + i, PLACE_CHECKED);
    }
    if (rc < 0) return rc;
    c->n_rows += n;
    c->n_pending = 0;
    return 0;
}

/* Takes the rows of other processes and appends the pending ones. When that fails the file is left as it is,
 * once and for all, and what is put from then on lives in memory: who fills the store goes on unharmed. */
static void settle(graft_cache *c) {
    graft_err err = {0};
    size_t n = 0;
    if (c->stays_in_memory) return;
    c->settled = graft_now();
    int rc = graft_cache_folder_lock(&c->folder, &err);
    if (rc == 0) {
        rc = whole_rows(c, &n, &err);
        if (rc == 0) rc = take_rows(c, n, &err);
        if (rc == 0 && c->n_pending) rc = append(c, &err);
        graft_cache_folder_unlock(&c->folder);
    }
    if (rc == 0) return;
    c->stays_in_memory = true;
    graft_env_log(c->env, GRAFT_LOG_WARNING,
                  "further rows are kept in memory, not in the bottleneck cache: %s", err.message);
}

/* ---- Opening --------------------------------------------------------------------------------------------- */

static void set_sizes(graft_cache *c, size_t row_size) {
    c->row_size = row_size;
    c->stride = graft_size_align(row_size + sizeof(row_tail), GRAFT_CACHE_ALIGN);
    c->rows_a_segment = c->stride < SEGMENT_SIZE ? SEGMENT_SIZE / c->stride : 1;
    c->rows_a_block = c->stride < BLOCK_SIZE ? BLOCK_SIZE / c->stride : 1;
}

/* Makes a new store, or replaces one that is damaged, of another version or of another row size: it is a
 * cache. */
static int make_new(graft_cache *c, graft_hash key, const char *description, graft_err *err) {
    if (flock(c->fd, LOCK_EX | LOCK_NB) < 0)
        return graft_err_set(
            err, GRAFT_EFORMAT,
            "'%s' does not hold rows of %zu bytes and is in use by another process; try again "
            "when that is done, or set GRAFT_CACHE to another folder",
            c->path, c->row_size);
    graft_cache_header h;
    struct stat st;
    graft_cache_header_fill(&h, key, c->row_size, c->stride, description);
    if (fstat(c->fd, &st) < 0 || (st.st_size && ftruncate(c->fd, 0) < 0))
        return graft_err_errno(err, "empty", c->path);
    int rc = graft_cache_folder_room(&c->folder, sizeof h, err);
    if (rc == 0) rc = write_at(c, &h, sizeof h, 0, err);
    if (rc < 0) unlink(c->path);
    return rc;
}

/* Opens the file and holds it against eviction. Under the folder's lock. */
static int open_file(graft_cache *c, graft_hash key, const char *description, graft_err *err) {
    graft_cache_header h;
    c->fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (c->fd < 0) return graft_err_errno(err, "write", c->path);
    if (flock(c->fd, LOCK_SH | LOCK_NB) < 0) return graft_err_errno(err, "lock", c->path);
    bool fits = graft_cache_header_read(&h, c->fd) && graft_hash_equal(h.key, key) &&
                h.row_size == c->row_size && h.stride == c->stride;
    int rc = fits ? 0 : make_new(c, key, description, err);
    if (rc == 0 && flock(c->fd, LOCK_SH) < 0) rc = graft_err_errno(err, "lock", c->path);
    if (rc == 0) futimens(c->fd, NULL); /* it is the last one used */
    return rc;
}

static int open_store(graft_cache *c, graft_hash key, const char *description, uint64_t limit,
                      graft_err *err) {
    char hex[33];
    graft_hash_hex(key, hex);
    size_t n = 0;
    int rc = graft_cache_folder_find(&c->folder, c->arena, limit, err);
    if (rc == 0) rc = graft_cache_folder_open(&c->folder, err);
    if (rc < 0) return rc;
    c->path = graft_arena_printf(c->arena, "%s/%s.rows", c->folder.path, hex);
    c->index = graft_map_new(c->arena);
    if (!c->path || !c->index) return graft_err_nomem(err);
    rc = graft_cache_folder_lock(&c->folder, err);
    if (rc < 0) return rc;
    rc = open_file(c, key, description, err);
    if (rc == 0) rc = whole_rows(c, &n, err);
    graft_cache_folder_unlock(&c->folder);
    return rc == 0 ? take_rows(c, n, err) : rc;
}

int graft_cache_open(graft_cache **out, const graft_env *env, graft_hash key, size_t row_size,
                     const char *description, uint64_t limit, graft_err *err) {
    *out = NULL;
    if (row_size == 0 || row_size > (size_t)1 << 40)
        return graft_err_set(err, GRAFT_EUSAGE, "rows of %zu bytes cannot be cached", row_size);
    graft_arena *arena = graft_arena_new(NULL);
    graft_cache *c = arena ? graft_arena_alloc(arena, sizeof *c) : NULL;
    if (!c) {
        graft_arena_free(arena);
        return graft_err_nomem(err);
    }
    *c = (graft_cache){.arena = arena, .env = env, .folder.lock = -1, .fd = -1, .settled = graft_now()};
    set_sizes(c, row_size);
    int rc = open_store(c, key, description, limit, err);
    if (rc < 0) {
        graft_cache_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void graft_cache_close(graft_cache *c) {
    if (!c) return;
    if (c->n_pending) settle(c);
    for (size_t i = 0; i < c->n_segments; i++) munmap(c->segments[i].base, c->segments[i].size);
    for (size_t i = 0; i < c->n_blocks; i++) free(c->blocks[i]);
    free(c->segments);
    free(c->blocks);
    if (c->fd >= 0) {
        futimens(c->fd, NULL);
        close(c->fd);
    }
    graft_cache_folder_close(&c->folder);
    graft_arena_free(c->arena);
}

/* ---- Use ------------------------------------------------------------------------------------------------- */

const void *graft_cache_get(graft_cache *c, graft_hash content) {
    size_t row = 0;
    row_place place = look_up(c, content, &row);
    if (place == PLACE_MEMORY && !c->stays_in_memory) { /* its address is not the last one yet */
        settle(c);
        place = look_up(c, content, &row);
    }
    if (place == PLACE_MEMORY) return memory_row(c, row);
    return place == PLACE_CHECKED ? file_row(c, row) : NULL;
}

/* A place for one more pending row. */
static int make_place(graft_cache *c, graft_err *err) {
    if (c->n_pending == c->n_blocks * c->rows_a_block && c->n_blocks) settle(c);
    if (c->n_pending < c->n_blocks * c->rows_a_block) return 0;
    unsigned char **blocks = realloc(c->blocks, (c->n_blocks + 1) * sizeof *blocks);
    if (!blocks) return graft_err_nomem(err);
    c->blocks = blocks;
    void *block = aligned_alloc(GRAFT_CACHE_ALIGN, c->rows_a_block * c->stride);
    if (!block) return graft_err_nomem(err);
    blocks[c->n_blocks++] = block;
    return 0;
}

int graft_cache_put(graft_cache *c, graft_hash content, const void *row, graft_err *err) {
    size_t at = 0;
    if (look_up(c, content, &at) != PLACE_NOWHERE) return 0;
    int rc = make_place(c, err);
    if (rc < 0) return rc;
    if (look_up(c, content, &at) != PLACE_NOWHERE) return 0; /* another process has put it meanwhile */
    unsigned char *to = memory_row(c, c->n_pending);
    memcpy(to, row, c->row_size);
    memcpy(to + c->row_size, &content, sizeof content);
    const graft_hash sum = checksum_of(c, to);
    memcpy(to + c->row_size + sizeof content, &sum, sizeof sum);
    memset(to + c->row_size + sizeof(row_tail), 0, c->stride - c->row_size - sizeof(row_tail));
    if (note(c, content, c->n_pending, PLACE_MEMORY) < 0) return graft_err_nomem(err);
    c->n_pending++;
    c->count++;
    if (graft_now() - c->settled > LONGEST_WAIT) settle(c);
    return 0;
}

int graft_cache_flush(graft_cache *c, graft_err *err) {
    settle(c);
    return fdatasync(c->fd) < 0 ? graft_err_errno(err, "sync", c->path) : 0;
}

int64_t graft_cache_count(const graft_cache *c) {
    return c->count;
}
