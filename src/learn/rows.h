/* Declares the rows of the registries, one a file. Private to learn/. */
#ifndef GRAFT_LEARN_ROWS_H
#define GRAFT_LEARN_ROWS_H

#include "learn/learn.h"

#include <stddef.h>

#define GRAFT_LOSS(name) extern const graft_loss graft_loss_##name;
#include "learn/loss/list.h"
#undef GRAFT_LOSS

#define GRAFT_OPTIMISER(name) extern const graft_optimiser graft_optimiser_##name;
#include "learn/optimiser/list.h"
#undef GRAFT_OPTIMISER

#define GRAFT_SCHEDULE(name) extern const graft_schedule graft_schedule_##name;
#include "learn/schedule/list.h"
#undef GRAFT_SCHEDULE

#define GRAFT_REGULARISER(name) extern const graft_regulariser graft_regulariser_##name;
#include "learn/regulariser/list.h"
#undef GRAFT_REGULARISER

#endif
