/* The base rate throughout. */
#include "learn/rows.h"

static double factor(double step, double n_steps) {
    (void)step;
    (void)n_steps;
    return 1.0;
}

const graft_schedule graft_schedule_constant = {
    .name = "constant", .help = "the same rate throughout", .factor = factor};
