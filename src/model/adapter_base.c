/* Where the model lies that an adapter stands on. Its file has a path of the machine that wrote it, or a name
 * of the hub. */
#include "model/lora.h"

#include <stdlib.h>
#include <string.h>

static bool exists(const char *path) {
    return path && (graft_path_is_dir(path) || graft_path_is_file(path));
}

/* The folder in which `path` lies; "." for a name alone. */
static const char *parent_of(graft_arena *arena, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n ? graft_arena_strndup(arena, path, n) : graft_arena_strdup(arena, ".");
}

static const char *hub_cache(graft_arena *arena) {
    const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    if (cache && *cache) return graft_arena_strdup(arena, cache);
    if (home && *home) return graft_path_join(arena, home, "hub");
    return user && *user ? graft_path_join(arena, user, ".cache/huggingface/hub") : NULL;
}

/* "owner/name" as the hub's client keeps it: models--owner--name/snapshots/<what refs/main says>. */
static const char *cached(graft_arena *arena, const char *name) {
    const char *slash = strchr(name, '/'), *cache = hub_cache(arena);
    if (!cache || *name == '/' || *name == '.' || strstr(name, "..") || (slash && strchr(slash + 1, '/')))
        return NULL;
    int n = slash ? (int)(slash - name) : (int)strlen(name);
    const char *home = graft_arena_printf(arena, "%s/models--%.*s%s%s", cache, n, name, slash ? "--" : "",
                                          slash ? slash + 1 : "");
    const char *ref = home ? graft_path_join(arena, home, "refs/main") : NULL;
    char *revision = NULL;
    size_t size = 0;
    if (!ref || !graft_path_is_file(ref) || graft_file_read(&revision, &size, arena, ref, 256, NULL) < 0)
        return NULL;
    revision[strcspn(revision, "\r\n ")] = '\0';
    if (strchr(revision, '/') || strstr(revision, "..")) return NULL;
    return graft_arena_printf(arena, "%s/snapshots/%s", home, revision);
}

int graft_adapter_base(const char **out, graft_arena *arena, const char *folder, const char *name,
                       graft_err *err) {
    const char *parent = parent_of(arena, folder);
    if (name && *name && parent) {
        size_t n = strlen(name);
        char *plain = graft_arena_strdup(arena, name);
        while (plain && n > 1 && plain[n - 1] == '/') plain[--n] = '\0';
        if (!plain) return graft_err_nomem(err);
        const char *const places[] = {
            plain, graft_path_join(arena, folder, plain), graft_path_join(arena, parent, plain),
            graft_path_join(arena, parent, graft_path_name(plain)), cached(arena, plain)};
        for (size_t i = 0; i < GRAFT_COUNT(places); i++) {
            if (!exists(places[i])) continue;
            *out = places[i];
            return 0;
        }
    }
    if (!name || !*name)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s/adapter_config.json names no base model: open that model with --adapter %s",
                             folder, folder);
    return graft_err_set(err, GRAFT_EDATA,
                         "%s: its base model '%.200s' is not on this machine: open that model with --adapter "
                         "%s",
                         folder, name, folder);
}
