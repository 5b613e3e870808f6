/* What the files of the averaged classifier share. Private to them. */
#ifndef GRAFT_LEARN_AVERAGED_IMPL_H
#define GRAFT_LEARN_AVERAGED_IMPL_H

#include "learn/averaged.h"

enum { GRAFT_AVERAGED_LANES = 16 };

/** Rows of texts: known words, then n-grams, text after text; starts [n + 1]. */
typedef struct graft_row_lists {
    uint32_t *rows;
    int64_t *starts;
} graft_row_lists;

/** Into the arena; shapes are those of `m`. */
int graft_averaged_rows(graft_row_lists *out, graft_arena *arena, const graft_averaged *m,
                        const graft_texts *texts, graft_err *err);

/** out[0 .. stride) = the mean of n rows; zero when n is 0. */
void graft_averaged_mean(const graft_averaged *m, const uint32_t *rows, int64_t n, float *restrict out);
/** x . y, of whole lanes. */
float graft_averaged_dot(const float *restrict x, const float *restrict y, size_t stride);

#endif
