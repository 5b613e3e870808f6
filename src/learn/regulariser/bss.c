/* BSS, batch spectral shrinkage (Chen et al. 2019, "Catastrophic forgetting meets negative transfer"): the
 * smallest squared singular value of a batch's features is kept small, since components of small ones carry
 * what of the pretrained model does not transfer. One value, the paper's k. Of micro-batches each has its
 * own, weighed by its share of the batch. */
#include "learn/rows.h"

static const char *refuse(const graft_recipe *r, const graft_graph *suffix) {
    (void)suffix;
    return r->task == GRAFT_TASK_TAGGING ? "it looks at the features of samples, and words are tagged" : NULL;
}

static graft_value build(graft_graph *g, const graft_term *at) {
    graft_value part = graft_graph_input(g, "part", GRAFT_F32, (graft_shape){1, {1}});
    return graft_spectral_tail(g, at->features, at->weight, part, 1);
}

const graft_regulariser graft_regulariser_bss = {.name = "bss",
                                                 .strength = offsetof(graft_recipe, bss),
                                                 .refuse = refuse,
                                                 .shapes_features = true,
                                                 .build = build};
