/* The head alone: the backbone is a fixed feature extractor, and its features are cached. */
#include "transfer/strategies.h"

static int phases(graft_phase **out, size_t *n_phases, graft_arena *arena, const graft_model *m,
                  const char *argument, const graft_evidence *evidence, graft_err *err) {
    (void)evidence;
    if (argument)
        return graft_err_set(err, GRAFT_EUSAGE, "--train head takes nothing after a colon, not '%s'",
                             argument);
    return graft_phase_from(out, n_phases, arena, m, graft_model_n_stages(m) - 1, err);
}

const graft_strategy graft_strategy_head = {
    .name = "head", .usage = "head", .help = "the head alone", .phases = phases};
