/* Gradual unfreezing: the head, then a stage more every N epochs, from the top to the bottom; the last phase
 * trains everything for the epochs that are left (ULMFiT; Howard and Ruder 2018). */
#include "transfer/strategies.h"

#include <stdlib.h>

enum { MOST_EPOCHS = 1000000 };

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    size_t n_backbone = graft_model_n_stages(p->model) - 1;
    char *end = NULL;
    long epochs = argument ? strtol(argument, &end, 10) : 1;
    if (argument && (end == argument || *end || epochs < 1 || epochs > MOST_EPOCHS)) {
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--train gradual:N wants a number of epochs a stage, not '%s'", argument);
    }
    for (size_t n = 0; n <= n_backbone; n++) {
        int rc = graft_phases_from(p, n_backbone - n, err);
        if (rc < 0) return rc;
        graft_phase *phase = &p->items[p->n - 1];
        phase->epochs = n < n_backbone ? epochs : 0;
        phase->plan = n == 0 ? "head" : n == n_backbone ? "full" : graft_arena_printf(p->arena, "top:%zu", n);
        if (!phase->plan) return graft_err_nomem(err);
    }
    return 0;
}

const graft_strategy graft_strategy_gradual = {.name = "gradual",
                                               .usage = "gradual:N",
                                               .help =
                                                   "a stage more every N epochs, from the head down (ULMFiT)",
                                               .phases = phases};
