/* What a plan would cost: planned, nothing of it is run. Private to transfer/advise/. */
#ifndef GRAFT_TRANSFER_ADVISE_PLAN_COST_H
#define GRAFT_TRANSFER_ADVISE_PLAN_COST_H

#include "transfer/fit.h"

typedef struct graft_plan_cost {
    double seconds; /* about: multiply-adds over what this machine does of them */
    double epoch;   /* of one epoch alone, once the rows are there */
    size_t memory;  /* bytes of programs and weights */
    double forward; /* multiply-adds of a whole forward pass of a sample */
    int64_t epochs, batch;
} graft_plan_cost;

/** Multiply-adds a second of one matrix product of this machine, measured in a few milliseconds, times the
 * share of it that whole networks were seen to reach. */
double graft_machine_rate(const graft_env *env);

/** Of training `plan` with the job's model, data (settled) and options. Says nothing in the log. */
int graft_plan_cost_of(graft_plan_cost *out, const graft_job *j, const char *plan, double rate,
                       graft_err *err);

#endif
