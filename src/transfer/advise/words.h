/* Texts without a model: which words stand in them. Private to transfer/advise/. */
#ifndef GRAFT_TRANSFER_ADVISE_WORDS_H
#define GRAFT_TRANSFER_ADVISE_WORDS_H

#include "data/data.h"

/** [n, *width] in the arena: each text's words, in lower case, hashed to a place with a sign (Weinberger et
 * al. 2009), the row scaled to length 1. NULL: out of memory. */
float *graft_words_hashed(graft_arena *arena, const graft_data *data, const int64_t *samples, int64_t n,
                          int64_t *width);

#endif
