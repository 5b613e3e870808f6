/* SqueezeNet's own classifier (Iandola et al. 2016): a 1 x 1 convolution over the map, ReLU, then the mean
 * over the picture. The pooled features are not read. */
#include "model/family.h"
#include "model/init.h"

static graft_value layout(graft_layout *l, graft_value features, const graft_head_place *at) {
    graft_graph *g = graft_layout_graph(l);
    const graft_conv_attr a = {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    (void)features;
    graft_value w = graft_layout_param(l, GRAFT_PARAM_WEIGHT, (graft_shape){4, {at->n, at->width, 1, 1}},
                                       at->module, "weight");
    graft_value b = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {at->n}}, at->module, "bias");
    graft_graph_scope(g, "%s", at->module);
    graft_value y = graft_conv2d(g, graft_layout_map(l), w, b, GRAFT_NONE, a);
    return graft_global_avg_pool(g, graft_relu(g, y));
}

/* As torchvision begins it: near 0, and so little of it is cut off by the ReLU that nothing is dead. */
static void initialise(const graft_param *p, int64_t width, float *out, graft_rng *r) {
    (void)width;
    const size_t n = graft_init_count(&p->shape);
    if (p->kind == GRAFT_PARAM_BIAS)
        graft_init_constant(out, n, 0);
    else
        graft_init_truncated_normal(out, n, 0, 0.01, -1, 1, r);
}

const graft_head graft_head_conv = {.name = "conv",
                                    .mark = "%s.weight",
                                    .mark_rank = 4,
                                    .reads_map = true,
                                    .rows_are_classes = true,
                                    .layout = layout,
                                    .initialise = initialise};
