/* Event files that TensorBoard reads while a run goes on. */
#ifndef GRAFT_LEARN_TENSORBOARD_H
#define GRAFT_LEARN_TENSORBOARD_H

#include "base/base.h"

#include <jansson.h>

typedef struct graft_tensorboard graft_tensorboard;

/** Makes a new event file in `folder`, which is made where it is not there. A run that is taken up again
 * gets a file of its own, which tells TensorBoard to forget what older files say of `step` and later. */
int graft_tensorboard_open(graft_tensorboard **out, const char *folder, int64_t step, graft_err *err);
/** One point of every number among `fields`, at x = step. "loss" is shown as loss/train, "val_loss" as
 * loss/validation, so that both share a chart; "epoch" and "updates" are none. */
int graft_tensorboard_write(graft_tensorboard *t, int64_t step, const json_t *fields, graft_err *err);
void graft_tensorboard_close(graft_tensorboard *t); /* NULL allowed */

#endif
