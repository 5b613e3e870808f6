/* Weights of several models of one architecture, averaged. Private to transfer/. */
#ifndef GRAFT_TRANSFER_BLEND_H
#define GRAFT_TRANSFER_BLEND_H

#include "transfer/fit.h"

/** Models and what they become. */
typedef struct graft_blend {
    graft_model **sources; /* [n] as they were opened; the last one gives what is not averaged */
    size_t n;
    graft_model *target; /* the last one once more; its weights are the average's */
    bool *has_head;      /* [n] its head answers for the same classes, so that it is averaged too */
} graft_blend;

/** Opens the models, `paths` [n], and checks that their layers go together: EUSAGE for another architecture,
 * tokenizer or a model without weights, ESHAPE for a layer of another shape. Close in every case. */
int graft_blend_open(graft_blend *b, graft_arena *arena, const graft_env *env, const char *const *paths,
                     size_t n, graft_err *err);
void graft_blend_close(graft_blend *b);
/** Every parameter of the target becomes the sum of the sources' times `shares` [n], which sum to 1, in
 * double. The head's are summed over the sources that have one like it, by their shares among themselves.
 * What is alike in all stays as the file has it, bit for bit. Running statistics are averaged as weights are.
 */
int graft_blend_set(graft_blend *b, const double *shares, graft_err *err);

#endif
