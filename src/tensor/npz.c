#include "tensor/npy.h"
#include "tensor/tensors.h"
#include "tensor/zip_map.h"
#include <string.h>

/* The member's name without ".npy", as NumPy names the array. */
static char *array_name(graft_arena *arena, const char *member) {
    size_t size = strlen(member);
    if (size >= 4 && strcmp(member + size - 4, ".npy") == 0) size -= 4;
    return graft_arena_strndup(arena, member, size);
}

static int read_members(graft_tensors *out, graft_zip *z, graft_arena *arena, const char *origin,
                        graft_err *err) {
    for (size_t i = 0; i < graft_zip_count(z); i++) {
        const char *member = graft_zip_name(z, i);
        const unsigned char *data;
        size_t size;
        if (!member) return graft_err_set(err, GRAFT_EFORMAT, "%s: a member without a name", origin);
        int rc = graft_zip_read(z, i, &data, &size, err);
        if (rc < 0) return rc;
        graft_tensor t = {.name = array_name(arena, member)};
        char *place = graft_arena_printf(arena, "%s: member '%s'", origin, member);
        if (!t.name || !place) return graft_err_nomem(err);
        rc = graft_npy_array(&t, arena, data, size, place, err);
        if (rc == 0) rc = graft_tensors_add(out, &t, origin, err);
        if (rc < 0) return rc;
    }
    return 0;
}

int graft_npz_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size, const char *origin,
                    graft_err *err) {
    graft_zip *z;
    graft_tensors made;
    if (size < 4 || memcmp(data, "PK", 2) != 0) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: neither .npy nor .npz", origin);
    }
    int rc = graft_zip_open(&z, arena, data, size, origin, err);
    if (rc == 0) rc = graft_tensors_init(&made, arena, graft_zip_count(z), "npz", err);
    if (rc == 0) rc = read_members(&made, z, arena, origin, err);
    if (rc == 0) *out = made;
    return rc;
}
