/* Scales and shifts of all norms, and the head (Frankle et al. 2021, "Training BatchNorm and only
 * BatchNorm").
 */
#include "transfer/strategies.h"

static bool is_of_norm(const graft_param *p) {
    return p->kind == GRAFT_PARAM_NORM;
}

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    int rc = graft_strategy_takes_nothing("norm-only", argument, err);
    return rc < 0 ? rc : graft_phases_kind(p, is_of_norm, "norm-only: this model has no norms", err);
}

const graft_strategy graft_strategy_norm_only = {.name = "norm-only",
                                                 .usage = "norm-only",
                                                 .help = "scales and shifts of norms, and the head",
                                                 .phases = phases};
