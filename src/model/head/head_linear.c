/* One linear layer on the pooled features: logits = features w^T + b. */
#include "model/family.h"
#include "model/init.h"

static graft_value layout(graft_layout *l, graft_value features, const graft_head_place *at) {
    const graft_shape shape = {2, {at->n, at->width}};
    graft_value w = graft_layout_param(l, GRAFT_PARAM_WEIGHT, shape, at->module, "weight"), b = GRAFT_NONE;
    if (!at->without_bias)
        b = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {at->n}}, at->module, "bias");
    graft_graph_scope(graft_layout_graph(l), "%s", at->module);
    return graft_linear(graft_layout_graph(l), features, w, b);
}

static void initialise(const graft_param *p, int64_t width, float *out, graft_rng *r) {
    graft_init_linear(p, width, out, r);
}

const graft_head graft_head_linear = {
    .name = "linear", .rows_are_classes = true, .layout = layout, .initialise = initialise};
