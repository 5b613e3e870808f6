/* PyTorch's zip format (since 1.6): <name>/data.pkl describes the tensors, <name>/data/<key> holds each
 * storage. */
#include "tensor/torch.h"

#include "tensor/zip_map.h"
#include <string.h>

typedef struct container {
    graft_zip *zip;
    graft_arena *arena;
    const char *folder; /* with its slash */
    const char *origin;
} container;

/* The member's position in *out, or -1 when there is none. */
static int find_member(int64_t *out, const container *c, const char *folder, const char *name,
                       graft_err *err) {
    char *path = graft_arena_printf(c->arena, "%s%s%s", c->folder, folder, name);
    *out = path ? graft_zip_find(c->zip, path) : -1;
    return path ? 0 : graft_err_nomem(err);
}

static int find_storage(void *user, const graft_torch_storage *storage, const unsigned char **data,
                        size_t *size, graft_err *err) {
    const container *c = user;
    int64_t i;
    int rc = find_member(&i, c, "data/", storage->key, err);
    if (rc < 0) return rc;
    if (i < 0) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: the storage '%s' is missing", c->origin, storage->key);
    }
    return graft_zip_read(c->zip, (size_t)i, data, size, err);
}

static int find_folder(container *c, size_t *pickle, graft_err *err) {
    static const char end[] = "/data.pkl";
    for (size_t i = 0; i < graft_zip_count(c->zip); i++) {
        const char *name = graft_zip_name(c->zip, i);
        size_t size = name ? strlen(name) : 0, end_size = sizeof end - 1;
        if (size <= end_size || strcmp(name + size - end_size, end) != 0) continue;
        *pickle = i;
        c->folder = graft_arena_strndup(c->arena, name, size - end_size + 1);
        return c->folder ? 0 : graft_err_nomem(err);
    }
    return graft_err_set(err, GRAFT_EFORMAT, "%s: a zip archive without data.pkl is no PyTorch checkpoint",
                         c->origin);
}

static int check_kind(const container *c, graft_err *err) {
    const unsigned char *text;
    size_t size;
    int64_t i;
    int rc = find_member(&i, c, "", "constants.pkl", err);
    if (rc < 0) return rc;
    if (i >= 0) {
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: a TorchScript program; save the model's state_dict instead", c->origin);
    }
    rc = find_member(&i, c, "", "byteorder", err);
    if (rc < 0) return rc;
    if (i < 0) return 0; /* files of before 2.0 do not say; they are little-endian */
    rc = graft_zip_read(c->zip, (size_t)i, &text, &size, err);
    if (rc < 0) return rc;
    if (size == 6 && memcmp(text, "little", 6) == 0) return 0;
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "%s: the tensors are big-endian; save them on a little-endian machine", c->origin);
}

int graft_torch_zip(graft_tensors *out, graft_arena *arena, const void *data, size_t size, const char *origin,
                    graft_err *err) {
    container c = {.arena = arena, .origin = origin};
    const unsigned char *pickle;
    size_t pickle_at = 0, pickle_size;
    graft_unpickled u;
    int rc = graft_zip_open(&c.zip, arena, data, size, origin, err);
    if (rc == 0) rc = find_folder(&c, &pickle_at, err);
    if (rc == 0) rc = check_kind(&c, err);
    if (rc == 0) rc = graft_zip_read(c.zip, pickle_at, &pickle, &pickle_size, err);
    if (rc < 0) return rc;
    graft_arena *values = graft_arena_new(NULL);
    if (!values) return graft_err_nomem(err);
    rc = graft_unpickle(&u, values, pickle, pickle_size, origin, err);
    const graft_torch_bytes bytes = {.find = find_storage, .user = &c, .file_size = size};
    if (rc == 0) rc = graft_torch_state(out, arena, u.value, &bytes, "pytorch zip", origin, err);
    graft_arena_free(values);
    return rc;
}
