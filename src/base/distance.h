/* How far a word is from another: for "did you mean". */
#ifndef GRAFT_BASE_DISTANCE_H
#define GRAFT_BASE_DISTANCE_H

#include <stddef.h>

enum { GRAFT_TEXT_DISTANCE_MOST = 120 };

/** Insertions, deletions, changes and swaps of neighbours that turn a into b (optimal string alignment);
 * GRAFT_TEXT_DISTANCE_MOST where one of them is longer than that. */
size_t graft_text_distance(const char *a, const char *b);

#endif
