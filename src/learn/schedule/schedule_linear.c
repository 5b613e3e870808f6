/* A straight line from 1 to 0. */
#include "learn/rows.h"

static double factor(double step, double n_steps) {
    return 1.0 - step / n_steps;
}

const graft_schedule graft_schedule_linear = {
    .name = "linear", .help = "a straight line down to 0", .factor = factor};
