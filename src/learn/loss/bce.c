/* Binary cross-entropy of each class on its own, mean over classes: several classes a sample. */
#include "learn/rows.h"

#include <math.h>

static double value(const float *logits, const float *target, size_t k) {
    double loss = 0.0;
    for (size_t c = 0; c < k; c++) {
        double z = (double)logits[c], t = (double)target[c];
        loss += fmax(z, 0.0) - z * t + log1p(exp(-fabs(z)));
    }
    return loss / (double)k;
}

static graft_value build(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                         const graft_recipe *r) {
    (void)r;
    return graft_bce_logits(g, logits, target, weight);
}

const graft_loss graft_loss_bce = {
    .name = "bce", .help = "every class on its own, several a sample", .build = build, .value = value};
