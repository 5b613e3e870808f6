/* Stochastic gradient descent with momentum, Nesterov's where asked (Sutskever et al. 2013). */
#include "learn/rows.h"

static void update(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value step,
                   graft_value g_scale, const graft_param_group *group, const graft_recipe *recipe) {
    (void)step;
    graft_sgd(g, w, dw, lr, g_scale,
              (graft_sgd_attr){.momentum = recipe->momentum,
                               .weight_decay = group->weight_decay,
                               .lr_scale = group->lr_scale,
                               .nesterov = recipe->nesterov});
}

const graft_optimiser graft_optimiser_sgd = {.name = "sgd",
                                             .help = "gradient descent with momentum",
                                             .default_lr = 0.01,
                                             .default_weight_decay = 5e-4,
                                             .update = update};
