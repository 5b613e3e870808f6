/* One linear layer on the pooled features: logits = features w^T + b. */
#include "model/family.h"
#include "model/init.h"

static graft_value layout(graft_layout *l, graft_value features, const char *module, int64_t width,
                          int64_t n) {
    graft_value w = graft_layout_param(l, GRAFT_PARAM_WEIGHT, (graft_shape){2, {n, width}}, module, "weight");
    graft_value b = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {n}}, module, "bias");
    graft_graph_scope(graft_layout_graph(l), "%s", module);
    return graft_linear(graft_layout_graph(l), features, w, b);
}

static void initialise(const graft_param *p, int64_t width, float *out, graft_rng *r) {
    graft_init_linear(p, width, out, r);
}

const graft_head graft_head_linear = {.name = "linear", .layout = layout, .initialise = initialise};
