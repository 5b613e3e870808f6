/* The answer to one text, gathered from the windows that it was read in and, of tagged sentences, from the
 * tokens that begin its words. Where windows overlap, a whole text's answer is the mean of the windows'
 * logits, and a word's is that of the window in which most tokens stand on both sides of it. Part of learn/'s
 * door. */
#ifndef GRAFT_LEARN_GATHER_H
#define GRAFT_LEARN_GATHER_H

#include "data/data.h"

/** The text that is open. Everything lives in the arena given to init. */
typedef struct graft_gather {
    graft_task task;
    int64_t k;
    bool is_open;
    int64_t sample;     /* its first window's index in the data */
    int64_t n_windows;  /* taken so far; pictures and texts that were not cut have one */
    int64_t n;          /* rows: 1; tagging: the words that have a token */
    float *logits;      /* [n, k] */
    int32_t *words;     /* tagging: [n] rising, the word of its sentence */
    int32_t *labels;    /* [n] class, -1: none */
    int32_t *predicted; /* tagging: [n] once ended: the likeliest class, or the best path of the field */
    float *target;      /* [k] of multi-label and regression; of no meaning where the batch had none */
    /* inside */
    graft_arena *arena;
    const float *allowed; /* steps of the tags' scheme; NULL: all */
    float *field;         /* transitions (k,k), start (k), end (k); NULL: the head is no field */
    int32_t *context;     /* [n] tokens on the word's poorer side */
    int64_t room, last;   /* rows there is room for; index of the last window */
} graft_gather;

/** labels [k]: names of the classes, read for tagging alone, else may be NULL. Errors: ENOMEM. */
int graft_gather_init(graft_gather *g, graft_arena *arena, graft_task task, const char *const *labels,
                      int64_t k, graft_err *err);
/** The conditional random field that decides about tags from here on; copied. ENOMEM. */
int graft_gather_field(graft_gather *g, const float *transitions, const float *start, const float *end,
                       graft_err *err);
/** Whether sample i of the batch is a further window of the open text. */
bool graft_gather_continues(const graft_gather *g, const graft_batch *b, int64_t i);
/** Takes sample i of the batch, which continues the open text or opens one, since none is open. `logits`: its
 * own row, or those of its tokens. ENOMEM. */
int graft_gather_add(graft_gather *g, const graft_batch *b, int64_t i, const float *logits, graft_err *err);
/** Ends the open text: what it holds then is whole, until the next one is opened. ENOMEM. */
int graft_gather_end(graft_gather *g, graft_err *err);

#endif
