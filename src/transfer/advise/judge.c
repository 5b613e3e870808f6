/* What the evidence amounts to. With n the examples a class and d the share of the layers below the head that
 * a plan trains, training them is expected to take away
 *
 *     n / (n + 8) / 2 * d^0.7              of the head's errors: texts
 *     n / (n + 40) * (0.6 + 0.4 d)         of the head's errors: pictures
 *     I^2 * n / (n + 4)                    of the least errors there are: foreign pictures, new nets
 *
 * The head's errors are those of its cross-validated probe, the least ones those of any boundary or of a
 * linear head on the input; that one's accuracy a has the share I = 1 + log(a) / log(K) of what is to be
 * known of K classes. Of foreign pictures the last stage alone goes 85 % of the way.
 *
 * The figures were set by hand to real runs of graft fit on the twelve data sets that bench/advise_ranking.py
 * calls seen; further ones hold them to account. Test accuracy of head, last stage and all layers were, for
 * example, 69.1, 90.4 and 89.4 of cifar_resnet20 on 5 digits a class (without weights 93.0), 92.1, 94.0
 * and 94.0 (90.7) of the glyphs' net of examples/ on 10 of USPS; those of all-MiniLM-L6-v2's head, last two
 * layers and all layers 69.2, 75.6 and 79.7 on 64 sentences a class of SST-2. They rank; they are no promise.
 */
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
    char distance[160] = "";
    c.similar = c.known >= SIMILAR && !(far && c.known < 0.75) && !graft_transfer_is_useless(e) &&
                !graft_data_are_foreign(e);
    if (e->likeness.known)
        snprintf(
            distance, sizeof distance,
            "; their Frechet distance to the model's own training data is %.2g of those data's variance, "
            "proxy-A %.2f",
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

/* Features are of use where they hold nine tenths of the task, leave at most this share of the errors that a
 * linear head on the pixels makes, or know this much more above chance. Of the pairs of models and data of
 * bench/advise_ranking.py, slow rates were better where the share was 0 to 0.5, fast ones from 0.75 on. The
 * probe's standard error goes to the features: fast rates spoil a good net, and of eight ants and eight bees
 * a probe on SqueezeNet's features, which hold 79 % of that task above chance, says 50 %. */
static const double HELD = 0.9, FOREIGN_ERRORS = 0.62, KNOWS_MORE = 2.0;

bool graft_data_are_foreign(const graft_model_evidence *e) {
    double k = (double)e->n_classes, input = e->input.accuracy, error = e->boundaries[0].probe.error;
    double head = fmin(accuracy_of(e, 0) + (isfinite(error) ? error : 0.0), 1.0),
           known = above_chance(head, k);
    return !e->texts && isfinite(input) && known < HELD && 1.0 - head > FOREIGN_ERRORS * (1.0 - input) &&
           known < KNOWS_MORE * above_chance(input, k) + 1e-9;
}

/* Stages below the head that a plan trains as a share of all: 0 for the head alone. */
static double depth_of(const graft_model_evidence *e, const char *plan) {
    if (strcmp(plan, "head") == 0) return 0.0;
    if (strncmp(plan, "top:", 4) != 0 || e->n_stages == 0) return 1.0;
    return fmin((double)strtoul(plan + 4, NULL, 10) / (double)e->n_stages, 1.0);
}

/* Of layers that learn the task anew, beginning from what is there already. */
static double learnt_anew(const graft_model_evidence *e) {
    double best = isfinite(e->input.accuracy) ? e->input.accuracy : 0.0, k = fmax((double)e->n_classes, 2.0);
    size_t n = e->is_scratch ? 1 : e->n_boundaries;
    for (size_t i = 0; i < n; i++) best = fmax(best, accuracy_of(e, i));
    /* an encoder of texts learns no more from a few hundred of them than their words say */
    if (e->texts) return best;
    double seen = 1.0 + log(fmax(best, 1.0 / k)) / log(k);
    return best + (1.0 - best) * seen * seen * e->per_class / (e->per_class + 4.0);
}

double graft_expected_accuracy(const graft_model_evidence *e, const char *plan) {
    double depth = depth_of(e, plan), head = accuracy_of(e, 0), n = e->per_class;
    if (depth <= 0.0) return head;
    if (e->is_scratch) return learnt_anew(e);
    if (graft_data_are_foreign(e)) {
        double top = 1.0 / fmax((double)e->n_stages, 1.0);
        double way = top < 1.0 ? 0.85 + 0.15 * (depth - top) / (1.0 - top) : 1.0;
        return head + (learnt_anew(e) - head) * way;
    }
    double gain = e->texts ? 0.5 * n / (n + 8.0) * pow(depth, 0.7) : n / (n + SMALL) * (0.6 + 0.4 * depth);
    return head + (1.0 - head) * gain;
}

size_t graft_choose_plan(const graft_model_evidence *e, const char *const *plans, size_t n) {
    double best = 0, error = e->boundaries[0].probe.error;
    for (size_t i = 0; i < n; i++) best = fmax(best, graft_expected_accuracy(e, plans[i]));
    double noise = fmax(0.005, isfinite(error) ? 0.5 * error : 0.0);
    for (size_t i = 0; i < n; i++) {
        bool head = strcmp(plans[i], "head") == 0;
        if (graft_expected_accuracy(e, plans[i]) >= best - (head ? noise : 0.0025)) return i;
    }
    return 0;
}
