/* Tags of words that spell entities: how label names say where an entity begins and ends, which tags may
 * follow each other, and the best path of a conditional random field. Part of model.h. */
#ifndef GRAFT_MODEL_TAGS_H
#define GRAFT_MODEL_TAGS_H

#include "graph/graph.h"

/** What the letters before a type mean; IOBES holds for BILOU too, whose L and U are E and S. */
typedef enum graft_tag_scheme {
    GRAFT_TAGS_PLAIN, /* labels without letters, or of a scheme that is none of these: any may follow any */
    GRAFT_TAGS_IOB1,  /* B only where an entity of the same type ends just before (Ramshaw and Marcus 1995) */
    GRAFT_TAGS_IOB2,  /* B begins every entity */
    GRAFT_TAGS_IOBES, /* E ends one, S is one of a single word */
} graft_tag_scheme;

/** From the names alone: "O", "B-PER", "I-PER", or letters without a type. Where some type has an I and no B
 * the scheme is IOB1, though the names of IOB1 may look like those of IOB2. */
graft_tag_scheme graft_tag_scheme_of(const char *const *labels, size_t n);

/** 1 for every step that the scheme has, else 0, into allowed (n+2, n): row i < n from label i, row n from
 * the start, row n+1 to the end, as graft_crf_nll takes it. */
void graft_tag_scheme_allowed(graft_tag_scheme scheme, const char *const *labels, size_t n, float *allowed);
/** The same (n+2,n) in the arena, of the labels' own scheme; *out is NULL where any label may follow any.
 * Errors: ENOMEM. */
int graft_tag_steps(const float **out, graft_arena *arena, const char *const *labels, size_t n,
                    graft_err *err);

/** A conditional random field's parameters; borrowed. */
typedef struct graft_crf {
    int64_t k;
    const float *transitions; /* (k,k): from, to */
    const float *start, *end; /* (k) */
    const float *allowed;     /* (k+2,k) as above; NULL: everything */
} graft_crf;

/** What the head `crf` is trained by: graft_crf_nll over g's parameters "crf.transitions",
 * "crf.start_transitions" and "crf.end_transitions", with the steps that the scheme of the n labels has.
 * EINTERNAL where g lacks one. */
graft_value graft_crf_loss(graft_graph *g, graft_value emissions, graft_value tags, graft_value weight,
                           graft_value spans, const char *const *labels, size_t n);

/** The path of the highest score for emissions (n,k), into tags [n], and its score where `score` is not NULL.
 * Of equal paths the one with the lower tags, from the end. n may be 0. Viterbi 1967. Errors: ENOMEM. */
int graft_crf_decode(const graft_crf *crf, const float *emissions, int64_t n, int32_t *tags, double *score,
                     graft_err *err);

#endif
