/* Memory by lifetime: everything allocated from an arena goes when the arena goes; a child arena dies with
 * its parent. What is not memory (maps, descriptors, library handles) is released by callbacks, last first.
 * An arena is used by one thread at a time. */
#ifndef GRAFT_BASE_ARENA_H
#define GRAFT_BASE_ARENA_H

#include <stddef.h>

typedef struct graft_arena graft_arena;

/** A new arena, child of `parent` (NULL: a root). NULL when out of memory. */
graft_arena *graft_arena_new(graft_arena *parent);
/** Runs the callbacks, frees all children and all memory. NULL is allowed. */
void graft_arena_free(graft_arena *a);
/** Empties the arena (callbacks, children, memory) but keeps it. */
void graft_arena_reset(graft_arena *a);

/** Zeroed memory, aligned for any scalar type; NULL when out of memory. Size 0 gives a valid pointer. */
void *graft_arena_alloc(graft_arena *a, size_t size);
/** Zeroed memory aligned to `align`, a power of two. */
void *graft_arena_alloc_aligned(graft_arena *a, size_t size, size_t align);
/** Zeroed array; NULL when out of memory or when n * size overflows. */
void *graft_arena_array(graft_arena *a, size_t n, size_t size);
char *graft_arena_strdup(graft_arena *a, const char *s);
char *graft_arena_strndup(graft_arena *a, const char *s, size_t n);
char *graft_arena_printf(graft_arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Calls fn(obj) when the arena goes. Returns 0, or GRAFT_ENOMEM after having called fn(obj) at once. */
int graft_arena_defer(graft_arena *a, void (*fn)(void *obj), void *obj);

#endif
