/* The rate of an update: base rate, schedule, and warm-up (Goyal et al. 2017: linear from 0), which replaces
 * the schedule's first part and does not stretch the run. */
#include "learn/learn.h"

double graft_recipe_rate(const graft_recipe *r, int64_t step, int64_t n_steps) {
    double n = n_steps > 0 ? (double)n_steps : 1.0, rising = r->warmup * n, at = (double)step;
    double rate = r->lr * r->schedule->factor(at, n);
    return at < rising ? r->lr * r->schedule->factor(rising, n) * (at + 1.0) / (rising + 1.0) : rate;
}
