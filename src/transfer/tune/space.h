/* What graft tune searches: axes, each an option of graft fit with a range or a list of values. Private to
 * transfer/. */
#ifndef GRAFT_TRANSFER_TUNE_SPACE_H
#define GRAFT_TRANSFER_TUNE_SPACE_H

#include "transfer/transfer.h"

typedef struct graft_axis graft_axis; /* which option, of which kind */

typedef struct graft_space_axis {
    const graft_axis *axis;
    double low, high;    /* of a range */
    const char **values; /* [n_values], of a list; NULL: a range */
    size_t n_values;
} graft_space_axis;

typedef struct graft_space {
    graft_space_axis *axes;
    size_t n;
} graft_space;

/** Reads "train=head|top:1|full lr=1e-4..1e-2": axes between blanks, lists of values between bars, ranges of
 * numbers (drawn evenly in their logarithm). In the arena. EUSAGE says what is wrong and what there is. */
int graft_space_parse(graft_space *out, graft_arena *arena, const char *text, graft_err *err);
/** Adds what decides its draws. */
void graft_space_hash(const graft_space *s, graft_hasher *h);
/** Settings of one trial, as a function of seed and number alone: {"train": "head", "lr": 0.003}. Number 0 is
 * {}: what fit would do by itself. The caller owns one reference; NULL: out of memory. */
json_t *graft_space_draw(const graft_space *s, uint64_t seed, int64_t number);
/** Puts settings into the options, whose texts then are the settings' own. EUSAGE: no such axis. */
int graft_space_apply(graft_fit_options *o, const json_t *settings, graft_err *err);

#endif
