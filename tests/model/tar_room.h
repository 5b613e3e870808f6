/* Pictures of the tar archives beside the project. */
#ifndef GRAFT_TESTS_TAR_ROOM_H
#define GRAFT_TESTS_TAR_ROOM_H

#include "model_room.h"

#define SHARED "../shared/data/"

typedef struct entry {
    const char *name;
    const unsigned char *bytes;
    size_t size;
    int label;
} entry;

static inline size_t octal(const unsigned char *text, size_t n) {
    size_t value = 0;
    for (size_t i = 0; i < n && text[i] >= '0' && text[i] <= '7'; i++)
        value = value * 8 + (size_t)(text[i] - '0');
    return value;
}

/* The files of a tar archive below `prefix`: headers of 512 bytes, each before its file. */
static inline size_t read_tar(entry *out, size_t room_left, room *r, const char *path, const char *prefix) {
    graft_mapped map;
    graft_err err = {0};
    size_t n = 0;
    assert_ok(graft_file_map(&map, r->arena, path, &err));
    for (size_t at = 0; at + 512 <= map.size && map.data[at];) {
        const unsigned char *header = map.data + at;
        size_t size = octal(header + 124, 11);
        const char *name = graft_arena_strndup(r->arena, (const char *)header, 100);
        assert_true(at + 512 + size <= map.size);
        if ((header[156] == '0' || !header[156]) && !strncmp(name, prefix, strlen(prefix)) && n < room_left)
            out[n++] = (entry){name, header + 512, size, -1};
        at += 512 + (size + 511) / 512 * 512;
    }
    return n;
}

#endif
