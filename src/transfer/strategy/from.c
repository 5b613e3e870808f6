/* A named stage and everything after it. */
#include "transfer/strategies.h"

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    size_t stage = 0;
    int rc = graft_strategy_stage(&stage, "from:STAGE", argument, p->model, err);
    return rc < 0 ? rc : graft_phases_from(p, stage, err);
}

const graft_strategy graft_strategy_from = {
    .name = "from", .usage = "from:STAGE", .help = "a named stage and everything after it", .phases = phases};
