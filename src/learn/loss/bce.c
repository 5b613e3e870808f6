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

const graft_loss graft_loss_bce = {.name = "bce",
                                   .help = "every class on its own, several a sample",
                                   .build = graft_bce_logits,
                                   .value = value};
