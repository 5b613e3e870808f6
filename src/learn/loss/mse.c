/* Mean squared error over outputs: regression. */
#include "learn/rows.h"

static double value(const float *y, const float *target, size_t k) {
    double loss = 0.0;
    for (size_t c = 0; c < k; c++)
        loss += ((double)y[c] - (double)target[c]) * ((double)y[c] - (double)target[c]);
    return loss / (double)k;
}

static graft_value build(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                         const graft_recipe *r) {
    (void)r;
    return graft_mse(g, logits, target, weight);
}

const graft_loss graft_loss_mse = {.name = "mse", .help = "regression", .build = build, .value = value};
