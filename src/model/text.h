/* How a text model wants its texts: how long they may be, and how the tokens' hidden states become one
 * vector. The folder of a sentence-transformers model says it in modules.json; else it is the family's habit.
 */
#ifndef GRAFT_MODEL_TEXT_H
#define GRAFT_MODEL_TEXT_H

#include "graph/graph.h"

/** "first", "last", "mean", "max". */
const char *graft_pooling_name(graft_span_kind p);
/** False when there is none of that name. */
bool graft_pooling_find(graft_span_kind *out, const char *name);

typedef struct graft_text_rules {
    graft_span_kind pooling;
    bool unit;          /* features are scaled to length 1 */
    bool sentence;      /* a sentence-transformers folder: a plain head on the features, none of the family's
                           layers between */
    bool chosen;        /* max_length and stride were asked for when the model was opened or written */
    bool words;         /* tokens are words with vectors of their own, and layers on them are few */
    int64_t max_length; /* tokens, special ones included */
    int64_t stride;     /* tokens that windows of longer texts share; 0: these are cut */
    int64_t position_offset; /* position of the first token */
    int64_t vocabulary;      /* ids are below it */
    int64_t n_types;         /* token types are below it; 0: the model reads none */
} graft_text_rules;

#endif
