/* What the rows of strategy/ share, and their declarations. Private to transfer/. */
#ifndef GRAFT_TRANSFER_STRATEGIES_H
#define GRAFT_TRANSFER_STRATEGIES_H

#include "transfer/transfer.h"

#define GRAFT_STRATEGY(name) extern const graft_strategy graft_strategy_##name;
#include "transfer/strategy/list.h"
#undef GRAFT_STRATEGY

/** Adds a phase in which nothing trains yet, with share 1; NULL when out of memory. It may move when another
 * is added. */
graft_phase *graft_phases_add(graft_phases *p, graft_err *err);
/** Adds one phase in which every stage from `first` on trains. */
int graft_phases_from(graft_phases *p, size_t first, graft_err *err);
/** Adds one phase in which the parameters that `is` picks and the head train; EUSAGE with the text `none`
 * when it picks none below the head. */
int graft_phases_kind(graft_phases *p, bool (*is)(const graft_param *), const char *none, graft_err *err);
/** Adds the phases of another plan, which has no schedule. */
int graft_phases_plan(graft_phases *p, const char *plan, graft_err *err);
/** Whether the text names a row, whatever follows its colon. */
bool graft_strategy_is_row(const char *text);
/** Every parameter of the stage trains. */
void graft_phase_mark_stage(graft_phase *phase, const graft_model *m, size_t stage);

/** Running statistics train with the gain of their norm, and not without. */
void graft_phase_mark_statistics(graft_phase *phase, const graft_model *m);

/** EUSAGE when the plan `name` was given something after a colon. */
int graft_strategy_takes_nothing(const char *name, const char *argument, graft_err *err);
/** Index of the stage `argument`; EUSAGE, with the model's stages, when there is none. `usage` is the row's.
 */
int graft_strategy_stage(size_t *out, const char *usage, const char *argument, const graft_model *m,
                         graft_err *err);

#endif
