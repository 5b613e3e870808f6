/* A hash map from byte strings to integers, which are mostly indices into an array of the caller's. */
#ifndef GRAFT_BASE_MAP_H
#define GRAFT_BASE_MAP_H

#include "base/arena.h"
#include <stdint.h>

typedef struct graft_map graft_map;

/** NULL when out of memory. Keys are copied into the arena. */
graft_map *graft_map_new(graft_arena *arena);
/** Adds or replaces. Returns 0 or GRAFT_ENOMEM. */
int graft_map_put(graft_map *m, const char *key, size_t key_size, int64_t value);
/** The value, or -1 when absent (values are non-negative by convention). */
int64_t graft_map_get(const graft_map *m, const char *key, size_t key_size);
int graft_map_put_str(graft_map *m, const char *key, int64_t value);
int64_t graft_map_get_str(const graft_map *m, const char *key);
size_t graft_map_count(const graft_map *m);

#endif
