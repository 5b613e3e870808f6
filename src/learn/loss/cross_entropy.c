/* Softmax cross-entropy: -sum_c t_c log softmax(z)_c, for one class a sample or a distribution over classes.
 */
#include "learn/rows.h"

#include <math.h>

static double value(const float *logits, const float *target, size_t k) {
    double top = -INFINITY, sum = 0.0, loss = 0.0;
    for (size_t c = 0; c < k; c++) top = fmax(top, (double)logits[c]);
    for (size_t c = 0; c < k; c++) sum += exp((double)logits[c] - top);
    for (size_t c = 0; c < k; c++) loss -= (double)target[c] * ((double)logits[c] - top - log(sum));
    return loss;
}

static graft_value build(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                         const graft_recipe *r) {
    (void)r;
    return graft_cross_entropy(g, logits, target, weight);
}

const graft_loss graft_loss_cross_entropy = {.name = "cross_entropy",
                                             .help = "one class a sample",
                                             .build = build,
                                             .weighs_target = true,
                                             .value = value};
