#include "tensor/torch.h"

#include "tensor/zip_map.h"
#include <string.h>

static bool has_suffix(const char *s, const char *end) {
    size_t size = strlen(s), end_size = strlen(end);
    return size >= end_size && strcmp(s + size - end_size, end) == 0;
}

static bool is_zip(const unsigned char *d, size_t size) {
    return size > 4 && memcmp(d, "PK\x03\x04", 4) == 0;
}

/* An .npz is a zip too; PyTorch's holds <name>/data.pkl. */
static bool zip_has_pickle(const void *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_zip *z;
    bool found = false;
    if (arena && graft_zip_open(&z, arena, data, size, "", NULL) == 0) {
        for (size_t i = 0; i < graft_zip_count(z) && !found; i++) {
            const char *name = graft_zip_name(z, i);
            found = name && has_suffix(name, "/data.pkl");
        }
    }
    graft_arena_free(arena);
    return found;
}

bool graft_torch_is(const void *data, size_t size) {
    const unsigned char *d = data;
    if (is_zip(d, size)) return zip_has_pickle(data, size);
    return size > 2 && d[0] == 0x80 && d[1] >= 2 && d[1] <= 5;
}

int graft_torch_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size,
                      const char *origin, graft_err *err) {
    *out = (graft_tensors){0};
    return is_zip(data, size) ? graft_torch_zip(out, arena, data, size, origin, err)
                              : graft_torch_legacy(out, arena, data, size, origin, err);
}

int graft_torch_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    graft_mapped map;
    *out = (graft_tensors){0};
    int rc = graft_file_map(&map, arena, path, err);
    return rc < 0 ? rc : graft_torch_parse(out, arena, map.data, map.size, path, err);
}
