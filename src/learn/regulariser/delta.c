/* Features are held to those of the model as it was pretrained: 1/2 |f - f0|^2, the mean over the samples (Li
 * et al. 2018, "L2-FE"; DELTA, Li et al. 2019, "Deep learning transfer using feature map with attention",
 * with every channel attended alike). */
#include "learn/rows.h"

static const char *refuse(const graft_recipe *r, const graft_graph *suffix) {
    (void)suffix;
    return r->task == GRAFT_TASK_TAGGING ? "it looks at the features of samples, and words are tagged" : NULL;
}

static graft_value build(graft_graph *g, const graft_term *at) {
    const graft_shape shape = graft_graph_value(g, at->features)->shape;
    graft_value mean = graft_mse(g, at->features, at->start_features, at->weight);
    return graft_scale(g, mean, 0.5 * (double)shape.dims[1]);
}

const graft_regulariser graft_regulariser_delta = {.name = "delta",
                                                   .strength = offsetof(graft_recipe, delta),
                                                   .refuse = refuse,
                                                   .shapes_features = true,
                                                   .needs_start = true,
                                                   .build = build};
