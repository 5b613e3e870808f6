/* A loop shared among threads for work that is not arithmetic (decoding, hashing, reading). Compute kernels
 * use OpenMP; this is for the loader, whose pieces block and differ in length. */
#ifndef GRAFT_BASE_THREADS_H
#define GRAFT_BASE_THREADS_H

#include "graft.h"

/** Calls fn(user, i, thread) for every i in [0, n), each once, on `threads` threads, `thread` in [0,
 * threads). A negative return stops the rest; the code of the lowest failing i that ran is returned. */
int graft_parallel_for(int threads, size_t n, int (*fn)(void *user, size_t i, int thread), void *user);

#endif
