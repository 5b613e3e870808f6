/* Every layer. */
#include "transfer/strategies.h"

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    int rc = graft_strategy_takes_nothing("full", argument, err);
    return rc < 0 ? rc : graft_phases_from(p, 0, err);
}

const graft_strategy graft_strategy_full = {
    .name = "full", .usage = "full", .help = "every layer", .phases = phases};
