/* Shared by the ResNet families: basic and bottleneck blocks (He et al. 2016, "Deep residual learning for
 * image recognition") in the order of the paper, under the names that a family gives. */
#include "model/family/resnet_blocks.h"
#include <stdio.h>
#include <string.h>

/* A convolution and its norm. */
static graft_value conv_norm(graft_layout *l, graft_value x, const graft_resnet *r, int stage, int block,
                             int part, int64_t n_in, int64_t n_out, int kernel, int stride) {
    char name[GRAFT_RESNET_NAME];
    r->names->conv(name, stage, block, part);
    x = graft_layout_conv(l, x, name, n_in, n_out, kernel, stride);
    r->names->norm(name, stage, block, part);
    return graft_layout_norm(l, x, name, n_out);
}

static graft_value shortcut(graft_layout *l, graft_value x, const graft_resnet *r, int stage, int block,
                            int64_t n_in, int64_t n_out, int stride) {
    if (n_in == n_out && stride == 1) return x;
    if (!r->small) return conv_norm(l, x, r, stage, block, -1, n_in, n_out, 1, stride);
    int32_t front = (int32_t)((n_out - n_in) / 2), back = (int32_t)(n_out - n_in) - front;
    graft_graph_scope(graft_layout_graph(l), "layer%d.%d.shortcut", stage + 1, block);
    return graft_subsample_pad(graft_layout_graph(l), x, stride, front, back);
}

static graft_value one_block(graft_layout *l, graft_value x, const graft_resnet *r, int stage, int block,
                             int64_t n_in, int stride) {
    graft_graph *g = graft_layout_graph(l);
    int64_t n_out = r->width[stage], inner = r->inner[stage];
    graft_value y;
    if (r->bottleneck) {
        bool early = r->stride_in_reduction;
        y = conv_norm(l, x, r, stage, block, 0, n_in, inner, 1, early ? stride : 1);
        y = conv_norm(l, graft_relu(g, y), r, stage, block, 1, inner, inner, 3, early ? 1 : stride);
        y = conv_norm(l, graft_relu(g, y), r, stage, block, 2, inner, n_out, 1, 1);
    } else {
        y = conv_norm(l, x, r, stage, block, 0, n_in, n_out, 3, stride);
        y = conv_norm(l, graft_relu(g, y), r, stage, block, 1, n_out, n_out, 3, 1);
    }
    y = graft_layout_branch(l, y, GRAFT_NONE);
    x = shortcut(l, x, r, stage, block, n_in, n_out, stride);
    graft_graph_scope(g, "stage%d.%d", stage + 1, block);
    return graft_relu(g, graft_add(g, y, x, 0));
}

graft_value graft_resnet_layout(graft_layout *l, graft_value x, const graft_resnet *r) {
    graft_graph *g = graft_layout_graph(l);
    graft_layout_stage(l, "stem");
    x = conv_norm(l, x, r, -1, 0, 0, r->channels, r->stem, r->small ? 3 : 7, r->small ? 1 : 2);
    x = graft_relu(g, x);
    if (!r->small) {
        graft_pool_attr a = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}};
        x = graft_max_pool2d(g, x, a);
    }
    int64_t n_in = r->stem;
    int at = 0, n_blocks = 0;
    for (int i = 0; i < r->n_stages; i++) n_blocks += r->depth[i];
    for (int i = 0; i < r->n_stages; i++) {
        graft_layout_stage(l, "stage%d", i + 1);
        for (int j = 0; j < r->depth[i]; j++) {
            graft_layout_depth(l, at++, n_blocks);
            int stride = j == 0 && (i > 0 || r->first_stage_halves) ? 2 : 1;
            x = one_block(l, x, r, i, j, n_in, stride);
            n_in = r->width[i];
        }
    }
    graft_graph_scope(g, "pool");
    return graft_global_avg_pool(g, x);
}

int graft_resnet_layers(const graft_resnet *r) {
    int n = 2;
    for (int i = 0; i < r->n_stages; i++) n += r->depth[i] * (r->bottleneck ? 3 : 2);
    return n;
}

/* ---- Measuring
 * --------------------------------------------------------------------------------------------- */

typedef struct measured {
    graft_map *index; /* published name -> tensor */
    const graft_tensors *tensors;
    const graft_resnet *r;
} measured;

/* The weight of a convolution, when it is there and has four dims. */
static const graft_tensor *conv_weight(const measured *m, int stage, int block, int part) {
    char name[GRAFT_RESNET_NAME];
    m->r->names->conv(name, stage, block, part);
    size_t n = strlen(name);
    if (n + sizeof ".weight" > sizeof name) return NULL;
    memcpy(name + n, ".weight", sizeof ".weight");
    int64_t i = graft_map_get_str(m->index, name);
    const graft_tensor *t = i < 0 ? NULL : &m->tensors->items[i];
    return t && t->shape.rank == 4 ? t : NULL;
}

static bool sane(int64_t width) {
    return width > 0 && width <= GRAFT_RESNET_WIDTH;
}

/* Width, inner width and depth of one stage; false when it does not begin. */
static bool measure_stage(graft_resnet *r, const measured *m, int i, int last) {
    const graft_tensor *inner = conv_weight(m, i, 0, 0), *outer = conv_weight(m, i, 0, last);
    if (!inner || !outer) return false;
    r->inner[i] = inner->shape.dims[0];
    r->width[i] = outer->shape.dims[0];
    for (r->depth[i] = 1; r->depth[i] < GRAFT_RESNET_DEPTH && conv_weight(m, i, r->depth[i], 0);)
        r->depth[i]++;
    return true;
}

int graft_resnet_measure(graft_resnet *r, graft_arena *arena, const graft_tensors *tensors,
                         const char *(*rename)(graft_arena *, const char *), const char *origin,
                         graft_err *err) {
    measured m = {graft_map_new(arena), tensors, r};
    if (!m.index) return graft_err_nomem(err);
    for (size_t i = 0; i < tensors->n_items; i++) {
        const char *name = rename(arena, tensors->items[i].name);
        if (!name || graft_map_put_str(m.index, name, (int64_t)i) < 0) return graft_err_nomem(err);
    }
    const graft_tensor *stem = conv_weight(&m, -1, 0, 0);
    if (!stem) return graft_err_set(err, GRAFT_EFORMAT, "%s: the stem's convolution is missing", origin);
    r->stem = stem->shape.dims[0];
    r->channels = (int)(sane(stem->shape.dims[1]) ? stem->shape.dims[1] : 0);
    r->bottleneck = conv_weight(&m, 0, 0, 2) != NULL;
    for (r->n_stages = 0; r->n_stages < GRAFT_RESNET_STAGES; r->n_stages++)
        if (!measure_stage(r, &m, r->n_stages, r->bottleneck ? 2 : 1)) break;
    bool good = r->n_stages > 0 && r->channels > 0 && sane(r->stem);
    for (int i = 0; i < r->n_stages; i++) good = good && sane(r->width[i]) && sane(r->inner[i]);
    if (!good)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: its tensors do not make a ResNet's stages", origin);
    for (int i = 0; i < r->n_stages && r->bottleneck; i++)
        if (r->inner[i] != r->width[i] / 4)
            return graft_err_set(
                err, GRAFT_EUNSUPPORTED,
                "%s: stage %d has bottlenecks of %lld within %lld; wide ResNets are not supported", origin,
                i + 1, (long long)r->inner[i], (long long)r->width[i]);
    /* Only the basic form tells: equal widths need a shortcut only for the stride's sake. */
    r->first_stage_halves = !r->small && r->stem == r->width[0] && conv_weight(&m, 0, 0, -1) != NULL;
    return 0;
}
