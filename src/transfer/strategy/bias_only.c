/* Biases, those of norms too, and the head (BitFit; Ben Zaken et al. 2022). Scales of norms stay, and so do
 * running statistics. */
#include "transfer/strategies.h"

#include <string.h>

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

static bool is_bias(const graft_param *p) {
    bool shift = ends_with(p->name, ".bias") || ends_with(p->name, ".beta");
    return p->kind == GRAFT_PARAM_BIAS || (p->kind == GRAFT_PARAM_NORM && shift);
}

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    int rc = graft_strategy_takes_nothing("bias-only", argument, err);
    return rc < 0 ? rc : graft_phases_kind(p, is_bias, "bias-only: this model has no biases", err);
}

const graft_strategy graft_strategy_bias_only = {.name = "bias-only",
                                                 .alias = "bitfit",
                                                 .usage = "bias-only",
                                                 .help = "biases and the head (BitFit)",
                                                 .phases = phases};
