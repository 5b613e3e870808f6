/* What a recipe may ask for, and the rate of an update: base rate, and a warm-up (Goyal et al. 2017: linear
 * from 0) after which the schedule begins, as Transformers' schedules have it: of n updates the first w =
 * ceil(share n) rise by 1 / w each, from 0. At least one update is the schedule's. */
#include "learn/run.h"

#include <math.h>

double graft_recipe_rate(const graft_recipe *r, int64_t step, int64_t n_steps) {
    double n = n_steps > 0 ? (double)n_steps : 1.0, at = (double)step;
    double rising = fmin(ceil(r->warmup * n), n - 1.0);
    if (r->swa > 0.0)
        at = fmin(at, fmax(rising, n * (double)graft_recipe_first_averaged(r) / (double)r->epochs));
    return r->lr * (at < rising ? at / rising : r->schedule->factor(at - rising, n - rising));
}

int64_t graft_recipe_first_averaged(const graft_recipe *r) {
    int64_t n = (int64_t)ceil(r->swa * (double)r->epochs);
    return r->epochs - (n < r->epochs ? n : r->epochs);
}

double graft_recipe_ema(const graft_recipe *r, int64_t update) {
    double t = (double)(r->updates_before + update);
    return fmin(r->ema, (1.0 + t) / (10.0 + t));
}

graft_recipe graft_recipe_of_step(const graft_recipe *r) {
    graft_recipe step = *r;
    int64_t times = r->r_drop > 0.0 ? 2 : 1;
    step.batch *= times;
    step.micro_batch *= times;
    step.tokens *= times;
    return step;
}

int graft_recipe_check(const graft_recipe *r, graft_err *err) {
    const struct {
        const char *name;
        double value, least, most;
    } numbers[] = {
        {"learning rate", r->lr, 0.0, 1e6},
        {"momentum", r->momentum, 0.0, 1.0},
        {"beta1", r->beta1, 0.0, 1.0},
        {"beta2", r->beta2, 0.0, 1.0},
        {"eps", r->eps, 0.0, 1.0},
        {"warm-up", r->warmup, 0.0, 1.0},
        {"clipping norm", r->clip_norm, 0.0, 1e30},
        {"label smoothing", r->label_smoothing, 0.0, 1.0},
        {"focal exponent", r->focal_gamma, 0.0, 100.0},
        {"number of epochs", (double)r->epochs, 1.0, 1e9},
        {"number of classes", (double)r->n_classes, 1.0, 1e9},
        {"batch", (double)r->batch, 1.0, 1e9},
        {"number of tokens of a batch", (double)r->tokens, 0.0, 1e12},
        {"micro-batch", (double)r->micro_batch, 1.0, (double)r->batch},
        {"number of segments", (double)r->segments, 0.0, 1e6},
        {"number of epochs between evaluations", (double)r->eval_every, 0.0, 1e9},
        {"patience of the early stop", (double)r->early_stop, 0.0, 1e9},
        {"decay of the average", r->ema, 0.0, 1.0},
        {"share of epochs that are averaged", r->swa, 0.0, 1.0},
        {"strength of R-Drop", r->r_drop, 0.0, 1e9},
        {"strength of BSS", r->bss, 0.0, 1e9},
        {"strength of DELTA", r->delta, 0.0, 1e9},
        {"strength of the pull to the start", r->l2_sp, 0.0, 1e9},
    };
    if (!r->loss || !r->optimiser || !r->schedule || !r->group)
        return graft_err_set(err, GRAFT_EINTERNAL, "a recipe without loss, optimiser, schedule or groups");
    if (r->ema > 0.0 && r->swa > 0.0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "an exponential average and one over the last epochs exclude each other: give "
                             "one of --ema and --swa");
    if (r->schedule->warms_up && r->warmup > 0.0)
        return graft_err_set(err, GRAFT_EUSAGE, "the schedule %s rises by itself: leave the warm-up out",
                             r->schedule->name);
    for (size_t i = 0; i < GRAFT_COUNT(numbers); i++) {
        if (numbers[i].value >= numbers[i].least && numbers[i].value <= numbers[i].most) continue;
        return graft_err_set(err, GRAFT_EUSAGE, "the %s is %g; give a number from %g to %g", numbers[i].name,
                             numbers[i].value, numbers[i].least, numbers[i].most);
    }
    return 0;
}
