/* R-Drop (Liang et al. 2021, "R-Drop: regularized dropout for neural networks"): every sample is answered
 * twice under two dropouts, and the symmetric divergence of the two answers joins the mean of their losses.
 * The stepper gives each sample twice, one after the other (twins.c). */
#include "learn/rows.h"

static const char *refuse(const graft_recipe *r, const graft_graph *suffix) {
    if (r->task != GRAFT_TASK_CLASSES) return "it compares answers that are one class of several";
    if (graft_graph_find(suffix, "seed") == GRAFT_NONE)
        return "it compares two dropouts, and nothing that trains drops anything: give --dropout";
    return NULL;
}

static graft_value build(graft_graph *g, const graft_term *at) {
    return graft_twin_kl(g, at->logits, at->weight);
}

const graft_regulariser graft_regulariser_r_drop = {
    .name = "r-drop", .strength = offsetof(graft_recipe, r_drop), .refuse = refuse, .build = build};
