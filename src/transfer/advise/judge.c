/* What the evidence amounts to. Two facts carry it: how much of the task the frozen features hold already,
 * and how many examples a class could pay for training more. The share of the remaining errors that training
 * below the head takes away is modelled as
 *
 *     known * n / (n + 40)        n: training examples a class
 *
 * known: accuracy of the head's cross-validated probe above chance, 0 to 1, for a net that sees nothing of a
 * task has nothing to refine. It was fitted by hand to all-MiniLM-L6-v2 (TREC 50 a class 78.8 -> 90.8 of
 * expected 88; intents 16 a class 84.5 -> 89.0 of 87.5, 4 a class 72.0 -> 75.5 of 73) and to CIFAR's
 * ResNet-20 on digits, which it hardly knows (27.7 -> 29.5 to 31.0 of 30.5); bench/advise_ranking.py holds it
 * against others. It ranks; it is no promise. */
#include "transfer/advise/advise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At 40 a class half of what training could take away is taken: below, data are few. */
static const double SMALL = 40.0;
/* Features that hold less than half of the task are of something else. */
static const double SIMILAR = 0.5;

/* Squared Frechet distance over the reference's total variance. Sentences of all-MiniLM-L6-v2 fitted to
 * examples/intents: 0.0 to themselves, 1.0 to the questions of TREC. */
static const double FAR = 1.0;

/* Accuracy above chance, 0 to 1. */
static double above_chance(double accuracy, double n_classes) {
    double chance = 1.0 / fmax(n_classes, 2.0), share = (accuracy - chance) / (1.0 - chance);
    return isfinite(share) && share > 0 ? share : 0.0;
}

static double accuracy_of(const graft_model_evidence *e, size_t i) {
    double a = e->boundaries[i].probe.accuracy;
    return isfinite(a) ? a : 1.0 / fmax((double)e->n_classes, 2.0);
}

graft_cell graft_cell_of(const graft_model_evidence *e) {
    graft_cell c = {.small = e->per_class < SMALL,
                    .known = above_chance(accuracy_of(e, 0), (double)e->n_classes)};
    /* data farther away than the reference is wide are of another world, unless the labels say otherwise */
    bool far = e->likeness.known && e->likeness.frechet > FAR;
    char distance[128] = "";
    c.similar = c.known >= SIMILAR && !(far && c.known < 0.75) && !graft_transfer_is_useless(e);
    if (e->likeness.known)
        snprintf(
            distance, sizeof distance,
            "; from its training data they are %.2g of those data's variance away (Frechet), proxy-A %.2f",
            e->likeness.frechet, e->likeness.proxy_a);
    snprintf(c.why, sizeof c.why,
             "%.0f examples a class (%s %.0f), and the features hold %.0f %% of the task above chance (%s "
             "%.0f %%)%s",
             e->per_class, c.small ? "below" : "at least", SMALL, 100 * c.known,
             c.known >= SIMILAR ? "at least" : "below", 100 * SIMILAR, distance);
    return c;
}

bool graft_transfer_is_useless(const graft_model_evidence *e) {
    double best = 0, error = 0;
    for (size_t i = 0; i < e->n_boundaries; i++) {
        if (accuracy_of(e, i) <= best) continue;
        best = accuracy_of(e, i);
        error = e->boundaries[i].probe.error;
    }
    return isfinite(e->input.accuracy) && best + fmax(error, 0.0) < e->input.accuracy + 1e-9;
}

/* Stages below the head that a plan trains: 0 for the head alone. */
static size_t depth_of(const graft_model_evidence *e, const char *plan) {
    if (strcmp(plan, "head") == 0) return 0;
    if (strncmp(plan, "top:", 4) == 0) return (size_t)strtoul(plan + 4, NULL, 10);
    (void)e;
    return SIZE_MAX;
}

double graft_expected_accuracy(const graft_model_evidence *e, const char *plan) {
    size_t depth = depth_of(e, plan);
    double start = accuracy_of(e, 0), n = e->per_class;
    double known = above_chance(start, (double)e->n_classes), paid = n / (n + SMALL);
    if (depth == 0) return start;
    /* features of lower boundaries can be brought up to the head, as far as data pay for it */
    double best = start;
    for (size_t i = 1; i < e->n_boundaries && i <= depth; i++) best = fmax(best, accuracy_of(e, i));
    if (depth == SIZE_MAX && isfinite(e->input.accuracy)) best = fmax(best, e->input.accuracy);
    start += (best - start) * paid;
    double reach = depth == 1 ? 0.7 : 1.0;
    return start + (1.0 - start) * known * paid * reach;
}

size_t graft_choose_plan(const graft_model_evidence *e, const char *const *plans, size_t n) {
    double best = 0;
    for (size_t i = 0; i < n; i++) best = fmax(best, graft_expected_accuracy(e, plans[i]));
    double error = e->boundaries[0].probe.error;
    double close = fmax(0.005, isfinite(error) ? 0.25 * error : 0.0);
    for (size_t i = 0; i < n; i++)
        if (graft_expected_accuracy(e, plans[i]) >= best - close) return i;
    return 0;
}
