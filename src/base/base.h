/* The door of base/: errors, arenas, strings, maps, hashes, files, random numbers, threads, environment.
 * Everything here is plain C over libc; nothing knows of tensors or models. */
#ifndef GRAFT_BASE_H
#define GRAFT_BASE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/distance.h"
#include "base/env.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/size.h"
#include "base/threads.h"
#include "base/utf8.h"

#define GRAFT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
