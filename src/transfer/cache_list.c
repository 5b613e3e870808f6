/* What the bottleneck cache holds, and emptying it: for people, through the public API. */
#include "transfer/cache.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static json_t *entry_of(const graft_env *env, const graft_cache_file *file) {
    graft_cache_header h = {.row_size = 0};
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool is_whole = fd >= 0 && graft_cache_header_read(&h, fd);
    if (fd >= 0) close(fd);
    if (!is_whole) {
        h = (graft_cache_header){.description = "not readable by this version of graft"};
        graft_env_log(env, GRAFT_LOG_WARNING, "'%s' is %s: 'graft cache clear' removes it", file->path,
                      h.description);
    }
    uint64_t rows = is_whole && file->bytes > h.header_size ? (file->bytes - h.header_size) / h.stride : 0;
    struct tm utc;
    time_t used = (time_t)file->used_s;
    char time_text[32] = "";
    if (gmtime_r(&used, &utc)) strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_pack("{s:s%, s:I, s:I, s:I, s:s, s:o}", "key", file->name, (size_t)32, "rows",
                     (json_int_t)rows, "bytes", (json_int_t)file->bytes, "row_size", (json_int_t)h.row_size,
                     "last_used", time_text, "description", graft_json_string(h.description));
}

static int print_list(char **result, const json_t *list, graft_err *err) {
    graft_buf text;
    graft_buf_init(&text, 0);
    graft_json_print(&text, list);
    *result = graft_buf_take(&text);
    graft_buf_done(&text);
    return *result ? 0 : graft_err_nomem(err);
}

int graft_cache_list(char **result, graft_env *env, graft_err *err) {
    *result = NULL;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    graft_cache_folder folder;
    graft_cache_file *files = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    json_t *list = NULL, *entries = json_array();
    int rc = graft_cache_folder_find(&folder, arena, 0, err);
    if (rc == 0) rc = graft_cache_folder_files(&files, &n, arena, &folder, err);
    for (size_t i = n; i-- > 0 && rc == 0;) {
        bytes += files[i].bytes;
        if (json_array_append_new(entries, entry_of(env, &files[i])) < 0) rc = graft_err_nomem(err);
    }
    if (rc == 0) {
        list = json_pack("{s:o, s:I, s:I, s:O}", "directory", graft_json_string(folder.path), "bytes",
                         (json_int_t)bytes, "limit", (json_int_t)folder.limit, "entries", entries);
        rc = list ? print_list(result, list, err) : graft_err_nomem(err);
    }
    json_decref(list);
    json_decref(entries);
    graft_arena_free(arena);
    return rc;
}

/* Removes what nobody has open. Under the folder's lock. */
static uint64_t remove_unused(const graft_env *env, const graft_cache_file *files, size_t n) {
    uint64_t freed = 0;
    for (size_t i = 0; i < n; i++) {
        int fd = graft_cache_file_claim(&files[i]);
        if (fd >= 0 && unlink(files[i].path) == 0) {
            freed += files[i].bytes;
        } else {
            graft_env_log(env, GRAFT_LOG_WARNING, "'%s' stays: it is in use or cannot be removed",
                          files[i].path);
        }
        if (fd >= 0) close(fd);
    }
    return freed;
}

int graft_cache_clear(graft_env *env, uint64_t *freed, graft_err *err) {
    if (freed) *freed = 0;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    graft_cache_folder folder;
    graft_cache_file *files = NULL;
    size_t n = 0;
    int rc = graft_cache_folder_find(&folder, arena, 0, err);
    if (rc == 0 && graft_path_is_dir(folder.path)) {
        rc = graft_cache_folder_open(&folder, err);
        if (rc == 0) rc = graft_cache_folder_lock(&folder, err);
        if (rc == 0) rc = graft_cache_folder_files(&files, &n, arena, &folder, err);
        if (rc == 0) {
            uint64_t bytes = remove_unused(env, files, n);
            if (freed) *freed = bytes;
        }
        graft_cache_folder_close(&folder);
    }
    graft_arena_free(arena);
    return rc;
}
