/* Files: mapped reading, whole reading with a ceiling, writing that replaces a file at once or not at all,
 * sorted listing. Paths are bytes, as the system has them. */
#ifndef GRAFT_BASE_FILE_H
#define GRAFT_BASE_FILE_H

#include "base/arena.h"
#include "graft.h"
#include <stdio.h>

/** A file's bytes, mapped read-only and private; data is NULL when size is 0. Unmapped when the arena goes.
 */
typedef struct graft_mapped {
    const unsigned char *data;
    size_t size;
} graft_mapped;
int graft_file_map(graft_mapped *out, graft_arena *arena, const char *path, graft_err *err);

/** Reads a whole file of at most `ceiling` bytes into the arena; *out is NUL-terminated, *size without the
 * NUL. */
int graft_file_read(char **out, size_t *size, graft_arena *arena, const char *path, size_t ceiling,
                    graft_err *err);

/** A file being written beside its final name. commit() syncs and renames; without it the old file stays
 * whole. */
typedef struct graft_writer graft_writer;
int graft_writer_open(graft_writer **out, const char *path, graft_err *err);
int graft_writer_write(graft_writer *w, const void *data, size_t size, graft_err *err);
int graft_writer_commit(graft_writer *w, graft_err *err); /* frees w, whatever it returns */
void graft_writer_abort(graft_writer *w); /* removes the temporary file, frees w; NULL allowed */
/** The three above in one. */
int graft_file_write(const char *path, const void *data, size_t size, graft_err *err);
/** Copies a file atomically (byte for byte). */
int graft_file_copy(const char *from, const char *to, graft_err *err);

/** Names in a folder without "." and "..", sorted bytewise; *names and its strings live in the arena. */
int graft_dir_list(char ***names, size_t *n_names, graft_arena *arena, const char *path, graft_err *err);
/** mkdir -p. */
int graft_dir_make(const char *path, graft_err *err);
/** Takes the folder for this process until graft_dir_unlock or its end; EIO when another one has it. On file
 * systems without locks nothing is taken. */
int graft_dir_lock(int *lock, const char *path, graft_err *err);
/** Gives back what graft_dir_lock took; -1 is nothing. */
void graft_dir_unlock(int lock);
/** Removes a folder with everything in it; absent is fine. Symbolic links are removed, not followed. */
int graft_dir_remove(const char *path, graft_err *err);
bool graft_path_is_dir(const char *path);
bool graft_path_is_file(const char *path);
/** Whether both are there and are the same file or folder. */
bool graft_path_same(const char *a, const char *b);
/** The path from the root on, without symbolic links; NULL when it is not there or memory is out. */
char *graft_path_absolute(graft_arena *arena, const char *path);
/** "dir/name", in the arena; NULL when out of memory. */
char *graft_path_join(graft_arena *arena, const char *dir, const char *name);
/** The part after the last '/', within `path`. */
const char *graft_path_name(const char *path);
/** The extension without its dot, lower case compare is the caller's; "" when none. Within `path`. */
const char *graft_path_extension(const char *path);
/** Bytes free for this user on the file system of `path`; UINT64_MAX when it cannot be told. */
uint64_t graft_disk_free(const char *path);

#endif
