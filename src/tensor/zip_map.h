/* Zip archives over mapped bytes, through libzip: a stored member is handed out in place, a deflated one is
 * inflated into the arena. Checksums are verified, and what may be inflated is bounded by the archive's size.
 */
#ifndef GRAFT_TENSOR_ZIP_MAP_H
#define GRAFT_TENSOR_ZIP_MAP_H

#include "base/base.h"

typedef struct graft_zip graft_zip;

/** `data` must outlive the arena; `origin` is for messages and must too. */
int graft_zip_open(graft_zip **out, graft_arena *arena, const void *data, size_t size, const char *origin,
                   graft_err *err);
size_t graft_zip_count(const graft_zip *z);
/** The member's name, borrowed; NULL when it has none. */
const char *graft_zip_name(const graft_zip *z, size_t i);
/** Position of a member, or -1. */
int64_t graft_zip_find(const graft_zip *z, const char *name);
/** The bytes of a member, which live as long as archive and arena; read once, then remembered. */
int graft_zip_read(graft_zip *z, size_t i, const unsigned char **out, size_t *out_size, graft_err *err);

#endif
