/* Declares the rows of strategy/. Private to transfer/. */
#ifndef GRAFT_TRANSFER_STRATEGIES_H
#define GRAFT_TRANSFER_STRATEGIES_H

#include "transfer/transfer.h"

#define GRAFT_STRATEGY(name) extern const graft_strategy graft_strategy_##name;
#include "transfer/strategy/list.h"
#undef GRAFT_STRATEGY

/** One phase in which every stage from `first` on trains. */
int graft_phase_from(graft_phase **out, size_t *n_phases, graft_arena *arena, const graft_model *m,
                     size_t first, graft_err *err);

#endif
