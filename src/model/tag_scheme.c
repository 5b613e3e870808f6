/* Schemes of tags and the steps that they have. */
#include "model/tags.h"

#include <string.h>

/* What a label's letter says; OTHER: it is no tag of an entity. */
typedef enum tag_kind { OUTSIDE, BEGIN, INSIDE, END, SINGLE, OTHER } tag_kind;

static tag_kind kind_of(const char *label) {
    if (strcmp(label, "O") == 0) return OUTSIDE;
    if (label[0] == '\0' || (label[1] != '\0' && label[1] != '-')) return OTHER;
    switch (label[0]) {
    case 'B':
        return BEGIN;
    case 'I':
        return INSIDE;
    case 'E':
    case 'L':
        return END;
    case 'S':
    case 'U':
        return SINGLE;
    default:
        return OTHER;
    }
}

/* The type behind the letter; "" where there is none. */
static const char *type_of(const char *label) {
    return label[0] == '\0' || label[1] == '\0' ? "" : label + 2;
}

static bool has_begin(const char *const *labels, size_t n, const char *type) {
    for (size_t i = 0; i < n; i++)
        if (kind_of(labels[i]) == BEGIN && strcmp(type_of(labels[i]), type) == 0) return true;
    return false;
}

graft_tag_scheme graft_tag_scheme_of(const char *const *labels, size_t n) {
    size_t count[OTHER + 1] = {0};
    bool every_inside_begins = true;
    for (size_t i = 0; i < n; i++) {
        tag_kind kind = kind_of(labels[i]);
        count[kind]++;
        if (kind == INSIDE && !has_begin(labels, n, type_of(labels[i]))) every_inside_begins = false;
    }
    if (count[OTHER] > 0 || count[BEGIN] + count[INSIDE] == 0) return GRAFT_TAGS_PLAIN;
    if (count[END] + count[SINGLE] > 0) return count[BEGIN] > 0 ? GRAFT_TAGS_IOBES : GRAFT_TAGS_PLAIN;
    return every_inside_begins ? GRAFT_TAGS_IOB2 : GRAFT_TAGS_IOB1;
}

/* Whether `to` may follow `from`; an entity is open after B and I of its own type. */
static bool is_step(graft_tag_scheme scheme, tag_kind from, tag_kind to, bool same_type) {
    bool open = (from == BEGIN || from == INSIDE) && same_type;
    switch (scheme) {
    case GRAFT_TAGS_IOB1:
        return to != BEGIN || open;
    case GRAFT_TAGS_IOB2:
        return to != INSIDE || open;
    case GRAFT_TAGS_IOBES:
        if (to == INSIDE || to == END) return open;
        return from != BEGIN && from != INSIDE;
    case GRAFT_TAGS_PLAIN:
        break;
    }
    return true;
}

void graft_tag_scheme_allowed(graft_tag_scheme scheme, const char *const *labels, size_t n, float *allowed) {
    for (size_t j = 0; j < n; j++) {
        const tag_kind to = kind_of(labels[j]);
        for (size_t i = 0; i < n; i++) {
            bool same = strcmp(type_of(labels[i]), type_of(labels[j])) == 0;
            allowed[i * n + j] = is_step(scheme, kind_of(labels[i]), to, same) ? 1.0F : 0.0F;
        }
        /* a text begins and ends as if words outside stood around it */
        allowed[n * n + j] = is_step(scheme, OUTSIDE, to, false) ? 1.0F : 0.0F;
        allowed[(n + 1) * n + j] = is_step(scheme, to, OUTSIDE, false) ? 1.0F : 0.0F;
    }
}

int graft_tag_steps(const float **out, graft_arena *arena, const char *const *labels, size_t n,
                    graft_err *err) {
    graft_tag_scheme scheme = graft_tag_scheme_of(labels, n);
    *out = NULL;
    if (scheme == GRAFT_TAGS_PLAIN) return 0;
    float *allowed = graft_arena_array(arena, (n + 2) * n, sizeof *allowed);
    if (!allowed) return graft_err_nomem(err);
    graft_tag_scheme_allowed(scheme, labels, n, allowed);
    *out = allowed;
    return 0;
}
