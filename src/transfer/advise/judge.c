/* What the evidence amounts to. Two facts carry it: how much of the task the frozen features hold already
 * (known: accuracy of the head's cross-validated probe above chance, 0 to 1) and how many examples a class,
 * n, pay for training more. Training below the head changes the accuracy a of the head alone by about
 *
 *     reach * (1 - a) * known * paid  -  harm * known * (1 - known)^2 * (1 - paid),     paid = n / (n + 40)
 *
 * the first term being what a net that sees the task can refine, the second what a few updates spoil in one
 * that sees little of it: its features are bent before they are of use. A net without weights, trained whole,
 * is put at a linear head on the input and  (1 - a) * known^2 * n / (n + 4)  of what is left there.
 *
 * The figures were fitted by hand to real runs of graft fit, test accuracy of head, last stage, all layers
 * (and the same net from scratch): cifar_resnet20 on 5 digits a class 70.4, 57.4, 59.3 (89.3), on 10 of
 * USPS 77.4, 71.5, 78.9 (93.7), on 20 of MNIST 67.5, 65.0, 73.3 (96.7); the glyphs' net of examples/ on the
 * same 90.7, 91.1, 90.0 (90.4); 91.5, 92.2, 93.0 (93.0); 87.5, 90.8, 92.9 (96.7); all-MiniLM-L6-v2 on 20
 * texts a class of examples/intents 84.5, and 89.0 with its last two layers;
 * photographs of ants and bees at 32 x 32, where nothing reached 70, hold the random nets down.
 * bench/advise_ranking.py holds them to account on these and on further data. They rank; they are no promise.
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

/* What too few updates spoil: of pictures, whose layers move by plain momentum, and of texts. */
static const double HARM = 2.3, HARM_OF_TEXTS = 0.3;

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
 * bench/advise_ranking.py, slow rates were better where the share was 0 to 0.5, fast ones from 0.75 on. */
static const double HELD = 0.9, FOREIGN_ERRORS = 0.62, KNOWS_MORE = 2.0;

bool graft_data_are_foreign(const graft_model_evidence *e) {
    double k = (double)e->n_classes, head = accuracy_of(e, 0), input = e->input.accuracy;
    double known = above_chance(head, k);
    return !e->texts && isfinite(input) && known < HELD && 1.0 - head > FOREIGN_ERRORS * (1.0 - input) &&
           known < KNOWS_MORE * above_chance(input, k) + 1e-9;
}

/* Stages below the head that a plan trains: 0 for the head alone, SIZE_MAX for all. */
static size_t depth_of(const char *plan) {
    if (strcmp(plan, "head") == 0) return 0;
    if (strncmp(plan, "top:", 4) == 0) return (size_t)strtoul(plan + 4, NULL, 10);
    return SIZE_MAX;
}

/* Of random weights that are all trained. An encoder of texts learns no more from a few hundred of them than
 * their words say. */
static double from_scratch(const graft_model_evidence *e, double head) {
    double start = isfinite(e->input.accuracy) ? fmax(head, e->input.accuracy) : head;
    double seen = above_chance(start, (double)e->n_classes), n = e->per_class;
    return e->texts ? start : start + (1.0 - start) * seen * seen * n / (n + 4.0);
}

double graft_expected_accuracy(const graft_model_evidence *e, const char *plan) {
    size_t depth = depth_of(plan);
    double head = accuracy_of(e, 0), n = e->per_class;
    double known = above_chance(head, (double)e->n_classes), paid = n / (n + SMALL), best = head;
    if (depth == 0) return head;
    if (e->is_scratch) return from_scratch(e, head);
    /* features of lower boundaries can be brought up to the head, as far as data pay for it */
    for (size_t i = 1; i < e->n_boundaries && i <= depth; i++) best = fmax(best, accuracy_of(e, i));
    if (depth == SIZE_MAX && isfinite(e->input.accuracy)) best = fmax(best, e->input.accuracy);
    double start = head + (best - head) * paid;
    double gain = (depth == 1 ? 0.7 : 1.0) * (1.0 - start) * known * paid;
    double harm = (e->texts ? HARM_OF_TEXTS : HARM) * known * (1.0 - known) * (1.0 - known) * (1.0 - paid);
    double expected = start + gain - (depth == 1 ? 1.0 : 0.75) * harm;
    return fmax(expected, 1.0 / fmax((double)e->n_classes, 2.0));
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
