/* AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019). */
#include "learn/rows.h"

static void update(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value step,
                   graft_value g_scale, const graft_param_group *group, const graft_recipe *recipe) {
    graft_adam(g, w, dw, lr, step, g_scale,
               (graft_adam_attr){.beta1 = recipe->beta1,
                                 .beta2 = recipe->beta2,
                                 .eps = recipe->eps,
                                 .weight_decay = group->weight_decay,
                                 .lr_scale = group->lr_scale,
                                 .steps_before = group->steps_before,
                                 .decoupled = 1});
}

const graft_optimiser graft_optimiser_adamw = {.name = "adamw",
                                               .help = "Adam with decoupled weight decay",
                                               .default_lr = 1e-3,
                                               .default_weight_decay = 0.01,
                                               .update = update};
