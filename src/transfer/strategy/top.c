/* The last N stages and the head. */
#include "transfer/strategies.h"

#include <stdlib.h>

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    size_t n_backbone = graft_model_n_stages(p->model) - 1;
    char *end = NULL;
    long n = argument ? strtol(argument, &end, 10) : 1;
    if (argument && (end == argument || *end)) {
        return graft_err_set(err, GRAFT_EUSAGE, "--train top:N wants a number of stages, not '%s'", argument);
    }
    if (n < 1 || (size_t)n > n_backbone) {
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--train top:%ld: this model has 1 to %zu stages below its head", n, n_backbone);
    }
    return graft_phases_from(p, n_backbone - (size_t)n, err);
}

const graft_strategy graft_strategy_top = {
    .name = "top", .usage = "top:N", .help = "the last N stages and the head", .phases = phases};
