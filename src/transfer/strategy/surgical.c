/* One stage and the head, the stages between them frozen: which stage suits tells how the data differ from
 * those that the model knows, an early one where pictures look otherwise, a late one where classes mean
 * otherwise (Lee et al. 2023, "Surgical fine-tuning improves adaptation to distribution shifts"). */
#include "transfer/strategies.h"

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    size_t stage = 0;
    int rc = graft_strategy_stage(&stage, "surgical:STAGE", argument, p->model, err);
    graft_phase *phase = rc == 0 ? graft_phases_add(p, err) : NULL;
    if (!phase) return rc < 0 ? rc : GRAFT_ENOMEM;
    graft_phase_mark_stage(phase, p->model, stage);
    graft_phase_mark_stage(phase, p->model, graft_model_n_stages(p->model) - 1);
    return 0;
}

const graft_strategy graft_strategy_surgical = {
    .name = "surgical", .usage = "surgical:STAGE", .help = "one stage and the head", .phases = phases};
