/* One hidden layer as wide as the features, tanh, then a linear layer: the head that RoBERTa's classifiers
 * have (Liu et al. 2019), under their names. */
#include "model/family.h"
#include "model/init.h"

#include <stdio.h>

static graft_value layer(graft_layout *l, graft_value x, const graft_head_place *at, const char *name,
                         int64_t n) {
    char full[160];
    snprintf(full, sizeof full, "%s.%s", at->module, name);
    return graft_head_linear.layout(l, x, &(graft_head_place){.module = full, .width = at->width, .n = n});
}

static graft_value layout(graft_layout *l, graft_value features, const graft_head_place *at) {
    graft_value hidden = graft_tanh(graft_layout_graph(l), layer(l, features, at, "dense", at->width));
    return layer(l, hidden, at, "out_proj", at->n);
}

static void initialise(const graft_param *p, int64_t width, float *out, graft_rng *r) {
    graft_init_linear(p, width, out, r);
}

const graft_head graft_head_mlp = {
    .name = "mlp", .mark = "%s.out_proj.weight", .layout = layout, .initialise = initialise};
