/* Chunks of growing size with a bump pointer; a piece too large for the current chunk gets one of its own.
 * Under AddressSanitizer every piece is an allocation of its own, so that an overrun is seen at its first
 * byte. */
#include "base/arena.h"

#include "base/size.h"
#include "graft.h"
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_SEPARATE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_SEPARATE 1
#endif
#endif
#ifndef ARENA_SEPARATE
#define ARENA_SEPARATE 0
#endif

enum { FIRST_CHUNK = 4096, LAST_CHUNK = 1 << 20, MIN_ALIGN = alignof(max_align_t) };

/* The bytes of a chunk follow its header, or (ARENA_SEPARATE) lie in `apart`. */
typedef struct chunk {
    struct chunk *next;
    size_t used, capacity;
    void *apart;
} chunk;

typedef struct deferred {
    struct deferred *next;
    void (*fn)(void *obj);
    void *obj;
} deferred;

struct graft_arena {
    graft_arena *parent, *children, *next, *previous;
    chunk *chunks; /* the first is the one being filled */
    deferred *deferreds;
    size_t next_chunk;
};

graft_arena *graft_arena_new(graft_arena *parent) {
    graft_arena *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    a->next_chunk = FIRST_CHUNK;
    a->parent = parent;
    if (parent) {
        a->next = parent->children;
        if (a->next) a->next->previous = a;
        parent->children = a;
    }
    return a;
}

/* Children go first: what their callbacks release may rest on what the parent holds. */
static void empty(graft_arena *a) {
    /* A child takes itself off the list, which the analyser does not follow.
     * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    while (a->children) graft_arena_free(a->children);
    while (a->deferreds) {
        deferred *d = a->deferreds;
        a->deferreds = d->next;
        d->fn(d->obj);
        free(d);
    }
    while (a->chunks) {
        chunk *c = a->chunks;
        a->chunks = c->next;
        free(c->apart);
        free(c);
    }
}

void graft_arena_free(graft_arena *a) {
    if (!a) return;
    empty(a);
    if (a->previous) {
        a->previous->next = a->next;
    } else if (a->parent) {
        a->parent->children = a->next;
    }
    if (a->next) a->next->previous = a->previous;
    free(a);
}

void graft_arena_reset(graft_arena *a) {
    empty(a);
    a->next_chunk = FIRST_CHUNK;
}

static void *alloc_separate(graft_arena *a, size_t size, size_t align) {
    chunk *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    if (posix_memalign(&c->apart, align, size ? size : 1) != 0) {
        free(c);
        return NULL;
    }
    memset(c->apart, 0, size ? size : 1);
    c->next = a->chunks;
    a->chunks = c;
    return c->apart;
}

static chunk *chunk_new(size_t capacity) {
    size_t total;
    if (!graft_size_add(capacity, sizeof(chunk), &total)) return NULL;
    chunk *c = calloc(1, total); /* zeroed lazily by the system when large */
    if (c) c->capacity = capacity;
    return c;
}

/* The place for `size` bytes in the rest of a chunk, or NULL. */
static void *chunk_take(chunk *c, size_t size, size_t align) {
    unsigned char *base = (unsigned char *)(c + 1);
    size_t skip = (size_t)(-(uintptr_t)(base + c->used) & (align - 1));
    if (skip > c->capacity - c->used || size > c->capacity - c->used - skip) return NULL;
    void *p = base + c->used + skip;
    c->used += skip + size;
    return p;
}

void *graft_arena_alloc_aligned(graft_arena *a, size_t size, size_t align) {
    if (align < MIN_ALIGN) align = MIN_ALIGN;
    if (size > PTRDIFF_MAX - align) return NULL;
    if (ARENA_SEPARATE) return alloc_separate(a, size, align);
    if (size == 0) size = 1;
    if (a->chunks) {
        void *p = chunk_take(a->chunks, size, align);
        if (p) return p;
    }
    if (size + align > a->next_chunk / 4) { /* its own chunk, behind the one being filled */
        chunk *own = chunk_new(size + align);
        if (!own) return NULL;
        if (a->chunks) {
            own->next = a->chunks->next;
            a->chunks->next = own;
        } else {
            a->chunks = own;
        }
        return chunk_take(own, size, align);
    }
    chunk *c = chunk_new(a->next_chunk);
    if (!c) return NULL;
    if (a->next_chunk < LAST_CHUNK) a->next_chunk *= 2;
    c->next = a->chunks;
    a->chunks = c;
    return chunk_take(c, size, align);
}

void *graft_arena_alloc(graft_arena *a, size_t size) {
    return graft_arena_alloc_aligned(a, size, MIN_ALIGN);
}

void *graft_arena_array(graft_arena *a, size_t n, size_t size) {
    size_t total;
    if (!graft_size_mul(n, size, &total)) return NULL;
    return graft_arena_alloc(a, total);
}

char *graft_arena_strndup(graft_arena *a, const char *s, size_t n) {
    n = strnlen(s, n);
    char *copy = graft_arena_alloc(a, n + 1);
    if (copy) memcpy(copy, s, n);
    return copy;
}

char *graft_arena_strdup(graft_arena *a, const char *s) {
    return graft_arena_strndup(a, s, strlen(s));
}

char *graft_arena_printf(graft_arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) return NULL;
    char *text = graft_arena_alloc(a, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

int graft_arena_defer(graft_arena *a, void (*fn)(void *obj), void *obj) {
    deferred *d = malloc(sizeof *d);
    if (!d) {
        fn(obj);
        return GRAFT_ENOMEM;
    }
    *d = (deferred){.next = a->deferreds, .fn = fn, .obj = obj};
    a->deferreds = d;
    return 0;
}
