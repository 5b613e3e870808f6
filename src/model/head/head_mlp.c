/* One hidden layer as wide as the features, tanh, then a linear layer: the head that RoBERTa's classifiers
 * have (Liu et al. 2019), under their names. */
#include "model/family.h"
#include "model/init.h"

#include <stdio.h>

static graft_value layer(graft_layout *l, graft_value x, const char *module, const char *name, int64_t width,
                         int64_t n) {
    char full[160];
    snprintf(full, sizeof full, "%s.%s", module, name);
    return graft_head_linear.layout(l, x, full, width, n);
}

static graft_value layout(graft_layout *l, graft_value features, const char *module, int64_t width,
                          int64_t n) {
    graft_value hidden = layer(l, features, module, "dense", width, width);
    hidden = graft_tanh(graft_layout_graph(l), hidden);
    return layer(l, hidden, module, "out_proj", width, n);
}

static void initialise(const graft_param *p, int64_t width, float *out, graft_rng *r) {
    graft_init_linear(p, width, out, r);
}

const graft_head graft_head_mlp = {.name = "mlp", .layout = layout, .initialise = initialise};
