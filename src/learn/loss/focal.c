/* Focal loss (Lin et al. 2017, "Focal loss for dense object detection"): samples that are answered well weigh
 * (1 - p)^gamma less, so that many easy ones do not drown the few hard ones. Over a softmax, or where a
 * sample may have several classes over each sigmoid. */
#include "learn/rows.h"

static graft_value build(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                         const graft_recipe *r) {
    return r->task == GRAFT_TASK_MULTILABEL ? graft_focal_logits(g, logits, target, weight, r->focal_gamma)
                                            : graft_focal(g, logits, target, weight, r->focal_gamma);
}

const graft_loss graft_loss_focal = {.name = "focal",
                                     .help = "classes: what is answered well weighs less",
                                     .build = build,
                                     .weighs_target = true};
