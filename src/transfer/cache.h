/* Private to the bottleneck cache: how a store's file looks, and the folder that holds the stores.
 *
 *     file:  header, 512 bytes | row 0 | row 1 | ...
 *     row:   payload (row_size) | content hash (16) | checksum of both (16) | zeros to a multiple of 64
 *
 * Two locks (flock) keep processes apart. The folder's file `lock` is held while anything changes: a store is
 * made, rows are appended, stores are evicted. A store's own file is locked shared for as long as it is open,
 * so that who would remove it sees by an exclusive lock that nobody reads it. */
#ifndef GRAFT_TRANSFER_CACHE_H
#define GRAFT_TRANSFER_CACHE_H

#include "base/base.h"

enum { GRAFT_CACHE_VERSION = 1, GRAFT_CACHE_ALIGN = 64, GRAFT_CACHE_HEADER_SIZE = 512 };

typedef struct graft_cache_header {
    char magic[8];
    uint32_t version, header_size;
    uint64_t row_size, stride;
    graft_hash key;
    char description[448]; /* ends in a NUL */
    graft_hash checksum;   /* of all before it */
} graft_cache_header;
_Static_assert(sizeof(graft_cache_header) == GRAFT_CACHE_HEADER_SIZE, "the header has no holes");

void graft_cache_header_fill(graft_cache_header *h, graft_hash key, size_t row_size, size_t stride,
                             const char *description);
/** Reads the header of an open file; false when there is none that this version of graft wrote whole. */
bool graft_cache_header_read(graft_cache_header *h, int fd);

typedef struct graft_cache_folder {
    const char *path;
    uint64_t limit; /* bytes of all stores */
    int lock;       /* descriptor, -1: not opened */
} graft_cache_folder;

/** Finds path and limit (argument, else GRAFT_CACHE_LIMIT, else from the disk) and makes nothing. Texts in
 * the arena. EUSAGE when neither HOME nor GRAFT_CACHE says where, or when GRAFT_CACHE_LIMIT is no size. */
int graft_cache_folder_find(graft_cache_folder *out, graft_arena *arena, uint64_t limit, graft_err *err);
/** Makes the folder and opens its lock file. */
int graft_cache_folder_open(graft_cache_folder *f, graft_err *err);
void graft_cache_folder_close(graft_cache_folder *f);
/** Waits until nobody else changes the folder. */
int graft_cache_folder_lock(const graft_cache_folder *f, graft_err *err);
void graft_cache_folder_unlock(const graft_cache_folder *f);

typedef struct graft_cache_file {
    const char *name, *path;
    uint64_t bytes;
    int64_t used_s, used_ns; /* when it was last opened, filled or closed */
} graft_cache_file;

/** The stores' files, the longest unused first; none when there is no folder. In the arena. */
int graft_cache_folder_files(graft_cache_file **out, size_t *n, graft_arena *arena,
                             const graft_cache_folder *f, graft_err *err);
/** A descriptor that locks the file exclusively, or -1 when it is in use (or gone). Under the folder's lock.
 */
int graft_cache_file_claim(const graft_cache_file *file);
/** Makes room for `need` more bytes within the limit by removing the longest unused stores that nobody has
 * open; EIO when that is not enough, and then none is removed. Under the folder's lock. */
int graft_cache_folder_room(const graft_cache_folder *f, uint64_t need, graft_err *err);

#endif
