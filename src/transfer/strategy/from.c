/* A named stage and everything after it. */
#include "transfer/strategies.h"

static int phases(graft_phase **out, size_t *n_phases, graft_arena *arena, const graft_model *m,
                  const char *argument, const graft_evidence *evidence, graft_err *err) {
    (void)evidence;
    int stage = argument ? graft_model_find_stage(m, argument) : -1;
    if (stage >= 0) return graft_phase_from(out, n_phases, arena, m, (size_t)stage, err);
    graft_buf names;
    graft_buf_init(&names, 0);
    for (size_t i = 0; i < graft_model_n_stages(m); i++)
        graft_buf_printf(&names, "%s%s", i ? ", " : "", graft_model_stage_name(m, i));
    int rc = graft_err_set(err, GRAFT_EUSAGE, "--train from:STAGE: no stage '%s'; this model has %s",
                           argument ? argument : "", names.failed ? "" : names.data);
    graft_buf_done(&names);
    return rc;
}

const graft_strategy graft_strategy_from = {
    .name = "from", .usage = "from:STAGE", .help = "a named stage and everything after it", .phases = phases};
