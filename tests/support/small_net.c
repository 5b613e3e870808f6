#include "small_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

double *small_net_random(graft_arena *arena, int64_t count, double low, double high, uint64_t stream) {
    double *d = graft_arena_array(arena, (size_t)count, sizeof *d);
    assert_non_null(d);
    graft_rng r = graft_rng_at(7, 0, stream, GRAFT_RNG_TEST);
    for (int64_t i = 0; i < count; i++) d[i] = low + (high - low) * graft_rng_uniform(&r);
    return d;
}

static graft_value random_param(graft_graph *g, const char *name, graft_shape shape, double low,
                                double high) {
    graft_arena *arena = graft_graph_arena(g);
    int64_t count;
    assert_true(graft_shape_count(&shape, &count));
    float *data = graft_arena_array(arena, (size_t)count, sizeof *data);
    graft_tensor *t = graft_arena_alloc(arena, sizeof *t);
    char *kept = graft_arena_strdup(arena, name);
    assert_true(data && t && kept);
    const double *d = small_net_random(arena, count, low, high, graft_graph_n_values(g));
    for (int64_t i = 0; i < count; i++) data[i] = (float)d[i];
    *t = (graft_tensor){
        .name = kept, .dtype = GRAFT_F32, .shape = shape, .data = data, .size = (size_t)count * sizeof *data};
    return graft_graph_param(g, kept, t, shape);
}

static graft_value named(graft_graph *g, const char *prefix, const char *rest, graft_shape shape, double low,
                         double high) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", prefix, rest);
    return random_param(g, name, shape, low, high);
}

static graft_value conv(graft_graph *g, graft_value x, const char *name, int64_t in, int64_t out,
                        int32_t kernel, int32_t stride) {
    graft_value w = named(g, name, "weight", (graft_shape){4, {out, in, kernel, kernel}}, -0.5, 0.5);
    graft_conv_attr a = {
        .stride = {stride, stride}, .pad = {kernel / 2, kernel / 2}, .dilation = {1, 1}, .groups = 1};
    graft_graph_scope(g, "%s", name);
    return graft_conv2d(g, x, w, GRAFT_NONE, GRAFT_NONE, a);
}

static graft_value norm(graft_graph *g, graft_value x, const char *name, int64_t channels) {
    graft_shape c = {1, {channels}};
    graft_value gamma = named(g, name, "weight", c, 0.5, 1.5), beta = named(g, name, "bias", c, -0.5, 0.5);
    graft_value mean = named(g, name, "running_mean", c, -0.3, 0.3);
    graft_value variance = named(g, name, "running_var", c, 0.5, 2);
    graft_graph_scope(g, "%s", name);
    return graft_batch_norm(g, x, gamma, beta, mean, variance,
                            (graft_norm_attr){.eps = 1e-5, .momentum = 0.1});
}

static graft_value block(graft_graph *g, graft_value x, const char *name, int64_t in, int64_t out,
                         int32_t stride) {
    char part[5][64];
    const char *ends[5] = {"conv1", "bn1", "conv2", "bn2", "downsample"};
    for (int i = 0; i < 5; i++) snprintf(part[i], sizeof part[i], "%s.%s", name, ends[i]);
    graft_value y = conv(g, x, part[0], in, out, 3, stride);
    y = graft_relu(g, norm(g, y, part[1], out));
    y = norm(g, conv(g, y, part[2], out, out, 3, 1), part[3], out);
    if (in != out || stride != 1) {
        char projection[80], statistics[80];
        snprintf(projection, sizeof projection, "%s.0", part[4]);
        snprintf(statistics, sizeof statistics, "%s.1", part[4]);
        x = norm(g, conv(g, x, projection, in, out, 1, stride), statistics, out);
    }
    graft_graph_scope(g, "%s", name);
    return graft_relu(g, graft_add(g, y, x, 0));
}

graft_graph *small_net_new(graft_arena *arena) {
    graft_graph *g = graft_graph_new(arena);
    assert_non_null(g);
    graft_shape picture = {4, {GRAFT_DIM_BATCH, SMALL_NET_CHANNELS, SMALL_NET_SIDE, SMALL_NET_SIDE}};
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, picture);
    x = graft_relu(g, norm(g, conv(g, x, "conv1", SMALL_NET_CHANNELS, 4, 3, 1), "bn1", 4));
    graft_graph_scope(g, "maxpool");
    x = graft_max_pool2d(g, x, (graft_pool_attr){.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}});
    x = block(g, x, "layer1.0", 4, 4, 1);
    x = block(g, x, "layer2.0", 4, 6, 2);
    graft_graph_scope(g, "avgpool");
    x = graft_global_avg_pool(g, x);
    graft_graph_output(g, "features", x);
    graft_value w = named(g, "fc", "weight", (graft_shape){2, {SMALL_NET_CLASSES, 6}}, -0.5, 0.5);
    graft_value b = named(g, "fc", "bias", (graft_shape){1, {SMALL_NET_CLASSES}}, -0.5, 0.5);
    graft_graph_scope(g, "fc");
    graft_graph_output(g, "logits", graft_linear(g, x, w, b));
    graft_err err = {0};
    if (graft_graph_end(g, &err) < 0) fail_msg("%s", err.message);
    return g;
}

graft_value small_net_loss(graft_graph *g) {
    graft_shape targets = {2, {GRAFT_DIM_BATCH, SMALL_NET_CLASSES}}, weights = {1, {GRAFT_DIM_BATCH}};
    graft_value target = graft_graph_input(g, "target", GRAFT_F32, targets);
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, weights);
    graft_graph_scope(g, "loss");
    graft_value loss = graft_cross_entropy(g, graft_graph_find(g, "logits"), target, weight);
    graft_graph_output(g, "loss", loss);
    return loss;
}

void small_net_mark(graft_graph *g, const char *prefix, bool with_statistics) {
    for (size_t v = 0; v < graft_graph_n_values(g); v++) {
        graft_value_info *info = graft_graph_value_mut(g, (graft_value)v);
        if (info->kind != GRAFT_PARAM || strncmp(info->name, prefix, strlen(prefix)) != 0) continue;
        info->trained = with_statistics || !strstr(info->name, "running_");
    }
}

size_t small_net_bind(graft_arena *arena, int64_t batch, evaluate_binding *out) {
    enum { PICTURE = SMALL_NET_CHANNELS * SMALL_NET_SIDE * SMALL_NET_SIDE };
    out[0] = (evaluate_binding){"x", small_net_random(arena, batch * PICTURE, -1, 1, 101)};
    out[1] = (evaluate_binding){"target", small_net_random(arena, batch * SMALL_NET_CLASSES, 0, 1, 102)};
    out[2] = (evaluate_binding){"weight", small_net_random(arena, batch, 0.1, 0.5, 103)};
    return 3;
}

/* Moves every parameter of wrt by `step` along the direction and returns the loss there; the directional
 * derivative by `gradients` goes to *slope. */
static double loss_along(graft_arena *arena, const graft_graph *g, int64_t batch, const graft_value *wrt,
                         const graft_value *gradients, size_t n, double step, double *slope) {
    evaluate_binding *bindings = graft_arena_array(arena, 3 + n, sizeof *bindings);
    assert_non_null(bindings);
    size_t n_bindings = small_net_bind(arena, batch, bindings);
    evaluation start = evaluate(arena, g, batch, bindings, n_bindings);
    *slope = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t count = start.counts[wrt[i]];
        const double *direction = small_net_random(arena, count, -1, 1, 500 + i),
                     *from = start.values[wrt[i]];
        double *moved = graft_arena_array(arena, (size_t)count, sizeof *moved);
        assert_non_null(moved);
        for (int64_t k = 0; k < count; k++) {
            moved[k] = from[k] + step * direction[k];
            *slope += start.values[gradients[i]][k] * direction[k];
        }
        bindings[n_bindings++] = (evaluate_binding){graft_graph_value(g, wrt[i])->name, moved};
    }
    evaluation there = evaluate(arena, g, batch, bindings, n_bindings);
    return *evaluation_of(&there, g, "loss", NULL);
}

void small_net_check_slope(graft_arena *arena, const graft_graph *g, int64_t batch, const graft_value *wrt,
                           const graft_value *gradients, size_t n) {
    double slope, step = 1e-6;
    double up = loss_along(arena, g, batch, wrt, gradients, n, step, &slope);
    double down = loss_along(arena, g, batch, wrt, gradients, n, -step, &slope);
    assert_true(fabs(slope) > 1e-3);
    assert_true(fabs((up - down) / (2 * step) - slope) < 1e-6 * fabs(slope));
}
