/* JSON read into a flat array of nodes, for files whose vocabulary has a hundred thousand members: no hash
 * table an object, no allocation a value. Texts are unescaped in place. Strict: UTF-8, no lone surrogates,
 * bounded depth. */
#ifndef GRAFT_MODEL_TOKEN_JSON_H
#define GRAFT_MODEL_TOKEN_JSON_H

#include "base/base.h"

typedef enum graft_node_type {
    GRAFT_NODE_NULL,
    GRAFT_NODE_FALSE,
    GRAFT_NODE_TRUE,
    GRAFT_NODE_NUMBER,
    GRAFT_NODE_TEXT,
    GRAFT_NODE_LIST,
    GRAFT_NODE_OBJECT
} graft_node_type;

typedef struct graft_node {
    graft_node_type type;
    uint32_t size;     /* bytes of a text (which may hold NULs); members of a list or object */
    uint32_t next;     /* distance to the next sibling, 0: the last */
    uint32_t key_size; /* bytes */
    const char *text;  /* of a text, NUL-terminated; where a number begins */
    const char *key;   /* of an object's member, NUL-terminated */
} graft_node;

/** Parses; `text` (size bytes and a NUL) is written to and has to live as long as the nodes, which are the
 * arena's. Errors: EFORMAT with the byte, ENOMEM. */
int graft_node_parse(const graft_node **out, graft_arena *arena, char *text, size_t size, const char *origin,
                     graft_err *err);
/** The first member of a list or object; NULL when it has none or is neither. */
const graft_node *graft_node_first(const graft_node *n);
/** NULL at the end. */
const graft_node *graft_node_next(const graft_node *n);
/** A member that is there and not null; NULL otherwise, also for n NULL or no object. */
const graft_node *graft_node_get(const graft_node *n, const char *key);
bool graft_node_is_text(const graft_node *n, const char *text);

/** Members with a default when absent or null; EFORMAT when of another type. */
int graft_node_bool(const graft_node *n, const char *key, bool absent, bool *out, const char *origin,
                    graft_err *err);
int graft_node_int(const graft_node *n, const char *key, int64_t absent, int64_t *out, const char *origin,
                   graft_err *err);
/** *out is NULL when absent. */
int graft_node_text(const graft_node *n, const char *key, const graft_node **out, const char *origin,
                    graft_err *err);
/** The value of a number; false when it is none, or no integer that fits. */
bool graft_node_to_int(const graft_node *n, int64_t *out);
bool graft_node_to_real(const graft_node *n, double *out);

#endif
