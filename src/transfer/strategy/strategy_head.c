/* The head alone: the backbone is a fixed feature extractor, and its features are cached. */
#include "transfer/strategies.h"

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    int rc = graft_strategy_takes_nothing("head", argument, err);
    return rc < 0 ? rc : graft_phases_from(p, graft_model_n_stages(p->model) - 1, err);
}

const graft_strategy graft_strategy_head = {
    .name = "head", .usage = "head", .help = "the head alone", .phases = phases};
