/* Opening "a checkpoint": finding the files of a folder, telling formats apart, joining shards. */
#include "tensor/npy.h"
#include "tensor/tensors.h"
#include "tensor/torch.h"
#include <string.h>

/* Says of a file what it is when that helps the person more than "unknown". */
static int unknown_file(const char *path, const unsigned char *data, size_t size, graft_err *err) {
    static const struct {
        const char *start, *what;
        size_t size;
    } known[] = {
        {"version https://git-lfs", "a Git LFS pointer, not the weights themselves; run 'git lfs pull'", 23},
        {"\x89HDF\r\n", "an HDF5 file (Keras); convert it to safetensors", 6},
        {"GGUF", "a GGUF file; take the safetensors of the same model", 4},
        {"<", "a web page, perhaps a failed download", 1},
        {"\x1f\x8b", "compressed with gzip; unpack it first", 2},
    };
    for (size_t i = 0; i < GRAFT_COUNT(known); i++) {
        if (size >= known[i].size && memcmp(data, known[i].start, known[i].size) == 0) {
            return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: this is %s", path, known[i].what);
        }
    }
    return graft_err_set(
        err, GRAFT_EFORMAT,
        "%s: neither safetensors, PyTorch (.pt, .pth, .bin) nor NumPy (.npy, .npz) by its first bytes", path);
}

/* A header's size may begin as other files do: 640 bytes as a pickle, 19280 as a zip. */
static bool begins_as_safetensors(const unsigned char *d, size_t size) {
    uint64_t header = 0;
    if (size <= 8 || d[8] != '{') return false;
    for (int i = 7; i >= 0; i--) header = header << 8 | d[i];
    return header <= size - 8;
}

static int parse(graft_tensors *out, graft_arena *arena, const graft_mapped *map, const char *path,
                 graft_err *err) {
    const unsigned char *d = map->data;
    if (map->size == 0) return graft_err_set(err, GRAFT_EFORMAT, "%s: the file is empty", path);
    if (begins_as_safetensors(d, map->size))
        return graft_safetensors_parse(out, arena, d, map->size, path, err);
    if (graft_npy_is(d, map->size)) return graft_npy_parse(out, arena, d, map->size, path, err);
    if (graft_torch_is(d, map->size)) return graft_torch_parse(out, arena, d, map->size, path, err);
    if (map->size > 4 && memcmp(d, "PK", 2) == 0) return graft_npy_parse(out, arena, d, map->size, path, err);
    bool is_named = strcmp(graft_path_extension(path), "safetensors") == 0;
    if ((map->size > 8 && d[8] == '{') || is_named)
        return graft_safetensors_parse(out, arena, d, map->size, path, err);
    return unknown_file(path, d, map->size, err);
}

static int open_file(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    graft_mapped map;
    int rc = graft_file_map(&map, arena, path, err);
    if (rc == 0) rc = parse(out, arena, &map, path, err);
    for (size_t i = 0; rc == 0 && i < out->n_items; i++) { /* others were copied: deflated, strided */
        const unsigned char *data = out->items[i].data;
        out->items[i].mapped = map.size && data >= map.data && data < map.data + map.size;
    }
    return rc;
}

/* A shard lies beside its index: its name may lead nowhere else. */
static bool is_plain_name(const char *name) {
    return name && name[0] && name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\');
}

static int add_shard(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    graft_tensors shard;
    int rc = open_file(&shard, arena, path, err);
    if (rc < 0) return rc;
    size_t n = out->n_items + shard.n_items;
    graft_tensor *items = graft_arena_array(arena, n, sizeof *items);
    if (!items) return graft_err_nomem(err);
    if (out->n_items) memcpy(items, out->items, out->n_items * sizeof *items);
    out->items = items;
    for (size_t i = 0; i < shard.n_items && rc == 0; i++)
        rc = graft_tensors_add(out, &shard.items[i], path, err);
    out->format = shard.format;
    return rc;
}

/* Opens each shard once, in the order in which the index first names it. */
static int open_shards(graft_tensors *out, graft_arena *arena, const char *path, const json_t *weight_map,
                       graft_err *err) {
    graft_map *seen = graft_map_new(arena);
    char *dir = graft_arena_strndup(arena, path, (size_t)(graft_path_name(path) - path));
    if (!seen || !dir) return graft_err_nomem(err);
    json_t *object = (json_t *)(uintptr_t)weight_map; /* jansson's iterators take no const */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *shard = json_string_value(json_object_iter_value(it));
        if (!is_plain_name(shard)) {
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: tensor '%s' is said to be in '%s', which is not a plain file name",
                                 path, json_object_iter_key(it), shard ? shard : "?");
        }
        if (graft_map_get_str(seen, shard) >= 0) continue;
        char *shard_path = graft_path_join(arena, dir, shard);
        if (!shard_path || graft_map_put_str(seen, shard, 0) < 0) return graft_err_nomem(err);
        int rc = add_shard(out, arena, shard_path, err);
        if (rc < 0) return rc;
    }
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        if (graft_tensors_find(out, json_object_iter_key(it))) continue;
        return graft_err_set(err, GRAFT_EFORMAT, "%s: tensor '%s' is not in its shard '%s'", path,
                             json_object_iter_key(it), json_string_value(json_object_iter_value(it)));
    }
    return 0;
}

static int open_index(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    json_t *index;
    graft_tensors made;
    int rc = graft_json_read(&index, arena, path, err);
    if (rc < 0) return rc;
    const json_t *weight_map = json_object_get(index, "weight_map");
    if (!json_is_object(weight_map) || json_object_size(weight_map) == 0) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: no 'weight_map' from tensors to files", path);
    }
    rc = graft_tensors_init(&made, arena, 0, NULL, err);
    if (rc == 0) rc = open_shards(&made, arena, path, weight_map, err);
    if (rc == 0) *out = made;
    return rc;
}

static bool is_index(const char *path) {
    static const char end[] = ".index.json";
    size_t size = strlen(path), end_size = sizeof end - 1;
    return size > end_size && strcmp(path + size - end_size, end) == 0;
}

int graft_tensors_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json"};
    *out = (graft_tensors){0};
    if (!graft_path_is_dir(path)) {
        return is_index(path) ? open_index(out, arena, path, err) : open_file(out, arena, path, err);
    }
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        char *file = graft_path_join(arena, path, names[i]);
        if (!file) return graft_err_nomem(err);
        if (!graft_path_is_file(file)) continue;
        return is_index(file) ? open_index(out, arena, file, err) : open_file(out, arena, file, err);
    }
    return graft_err_set(
        err, GRAFT_EFORMAT,
        "%s: no weights in this folder; model.safetensors or pytorch_model.bin (or their .index.json) are "
        "looked for",
        path);
}
