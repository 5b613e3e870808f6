/* What preprocess_read.c and preprocess_write.c share: the words of the key "graft". */
#ifndef GRAFT_MODEL_PREPROCESS_PRIVATE_H
#define GRAFT_MODEL_PREPROCESS_PRIVATE_H

#include "model/preprocess.h"

/** "none", "exact", "shortest", "cover", "contain", by graft_resize_mode. */
extern const char *const graft_resize_words[GRAFT_RESIZE_CONTAIN + 1];

#endif
