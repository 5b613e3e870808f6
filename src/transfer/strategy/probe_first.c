/* The head alone until it fits the features, then the plan after the colon, or everything: fine-tuning from a
 * random head first bends the features to it (Kumar et al. 2022, "Fine-tuning can distort pretrained features
 * and underperform out-of-distribution"). */
#include "transfer/strategies.h"

#include <string.h>

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    bool again =
        argument && (strncmp(argument, "lp-ft", 5) == 0 || strncmp(argument, "linear-probe", 12) == 0);
    if (again)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--train lp-ft:%s: the head is probed once: leave one of them out", argument);
    int rc = graft_phases_plan(p, "head", err);
    return rc < 0 ? rc : graft_phases_plan(p, argument ? argument : "full", err);
}

const graft_strategy graft_strategy_probe_first = {
    .name = "linear-probe-then-finetune",
    .alias = "lp-ft",
    .usage = "lp-ft[:PLAN]",
    .help = "linear-probe-then-finetune: the head first, then PLAN (full)",
    .phases = phases,
    .nests = true};
