/* One cycle: half a cosine from 1/25 up to 1 over the first 30 % of the updates, then down to 1e-5 / 25,
 * which the last update has (Smith 2018, "A disciplined approach to neural network hyper-parameters"; steps
 * are counted as PyTorch's OneCycleLR does). */
#include "learn/rows.h"

#include <math.h>

static double between(double from, double to, double share) {
    return to + (from - to) * 0.5 * (1.0 + cos(M_PI * share));
}

static double factor(double step, double n_steps) {
    const double start = 1.0 / 25.0, end = start * 1e-5, top = 0.3 * n_steps - 1.0, last = n_steps - 1.0;
    if (n_steps < 2.0) return 1.0;
    if (step < top) return between(start, 1.0, step / top);
    return between(1.0, end, (step - top) / (last - top));
}

const graft_schedule graft_schedule_one_cycle = {
    .name = "one_cycle", .help = "up for 30 % of the updates, then down", .factor = factor, .warms_up = true};
