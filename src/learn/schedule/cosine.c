/* Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, without restarts). */
#include "learn/rows.h"

#include <math.h>

static double factor(double step, double n_steps) {
    return 0.5 * (1.0 + cos(M_PI * step / n_steps));
}

const graft_schedule graft_schedule_cosine = {
    .name = "cosine", .help = "half a cosine down to 0", .factor = factor};
