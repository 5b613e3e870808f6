/* Adapters beside layers: what they compute, and their gradients against finite differences. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 3, PICTURE = SMALL_NET_CHANNELS * SMALL_NET_SIDE * SMALL_NET_SIDE, RANK = 2, MOST = 16 };

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}
static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

static graft_tensor *random_tensor(graft_arena *arena, graft_shape shape, uint64_t stream) {
    int64_t n = 0;
    graft_shape_count(&shape, &n);
    const double *values = small_net_random(arena, n, -0.5, 0.5, stream);
    float *data = graft_arena_array(arena, (size_t)n, sizeof *data);
    graft_tensor *t = graft_arena_alloc(arena, sizeof *t);
    for (int64_t i = 0; i < n; i++) data[i] = (float)values[i];
    *t = (graft_tensor){.dtype = GRAFT_F32, .shape = shape, .data = data, .size = (size_t)n * sizeof *data};
    return t;
}

/* Adapters beside every layer whose weight is named. */
static size_t make_adapters(graft_arena *arena, const graft_graph *g, const char *const *weights, size_t n,
                            graft_adapter *out) {
    for (size_t i = 0; i < n; i++) {
        graft_value w = graft_graph_find(g, weights[i]);
        assert_int_not_equal(w, GRAFT_NONE);
        const graft_shape s = graft_graph_value(g, w)->shape;
        graft_shape a = {2, {RANK, s.dims[1]}}, b = {2, {s.dims[0], RANK}};
        if (s.rank == 4) {
            a = (graft_shape){4, {RANK, s.dims[1], s.dims[2], s.dims[3]}};
            b = (graft_shape){4, {s.dims[0], RANK, 1, 1}};
        }
        out[i] = (graft_adapter){.weight = weights[i],
                                 .a = graft_arena_printf(arena, "%s.A", weights[i]),
                                 .b = graft_arena_printf(arena, "%s.B", weights[i]),
                                 .a_shape = a,
                                 .b_shape = b,
                                 .a_value = random_tensor(arena, a, 700 + i),
                                 .b_value = random_tensor(arena, b, 800 + i),
                                 .scale = 1.5};
    }
    return n;
}

/* A convolution with a stride, one of 3x3, one of 1x1, and the linear head. */
static const char *const weights[] = {"conv1.weight", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight",
                                      "fc.weight"};

static graft_graph *adapt(graft_arena *arena, const graft_graph *g, const graft_adapter *adapters, size_t n) {
    graft_graph *out = NULL;
    graft_err err = {0};
    if (graft_graph_adapt(&out, arena, g, adapters, n, &err) < 0) fail_msg("%s", err.message);
    return out;
}

/* Kept apart by a dropout that drops next to nothing; else merged into their small convolutions. */
static void check_gradients(graft_arena *arena, bool apart) {
    graft_graph *plain = small_net_new(arena), *g = NULL;
    graft_adapter adapters[GRAFT_COUNT(weights)];
    graft_value wrt[MOST], gradients[MOST];
    size_t n = 0;
    small_net_loss(plain);
    make_adapters(arena, plain, weights, GRAFT_COUNT(weights), adapters);
    for (size_t i = 0; apart && i < GRAFT_COUNT(weights); i++) adapters[i].dropout = 1e-12;
    graft_graph *adapted = adapt(arena, plain, adapters, GRAFT_COUNT(weights));
    assert_int_equal(graft_graph_fuse_training(&g, arena, adapted, NULL), 0);
    for (size_t i = 0; i < GRAFT_COUNT(weights); i++) {
        wrt[n++] = graft_graph_find(g, adapters[i].a);
        wrt[n++] = graft_graph_find(g, adapters[i].b);
    }
    size_t before = graft_graph_n_nodes(g);
    assert_int_equal(graft_graph_grad(g, graft_graph_find(g, "loss"), wrt, n, gradients, NULL), 0);
    assert_int_equal(graft_graph_check(g, NULL), 0);
    for (size_t i = 0; i < n; i++) assert_int_not_equal(gradients[i], GRAFT_NONE);
    size_t n_dw = 0; /* the weights that have no adapter have no gradient */
    for (size_t i = before; i < graft_graph_n_nodes(g); i++)
        n_dw += graft_graph_node_at(g, i)->op == &graft_op_conv2d_dw;
    assert_int_equal(n_dw, apart ? 6 : 3); /* two each where A and B are layers of their own */
    small_net_check_slope(arena, g, BATCH, wrt, gradients, n);
}

static void gradients_of_merged_adapters_match_finite_differences(void **state) {
    check_gradients(*state, false);
}
static void so_do_those_of_adapters_beside_their_layers(void **state) {
    check_gradients(*state, true);
}

/* A 3x3 convolution of so many channels both ways, with an adapter. */
static bool is_merged(graft_arena *arena, int64_t channels, double dropout) {
    graft_graph *g = graft_graph_new(arena);
    const graft_shape x = {4, {GRAFT_DIM_BATCH, channels, 7, 7}}, w = {4, {channels, channels, 3, 3}};
    const graft_conv_attr one = {.stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1};
    graft_adapter adapter;
    graft_graph_output(g, "y",
                       graft_conv2d(g, graft_graph_input(g, "x", GRAFT_F32, x),
                                    graft_graph_param(g, "w", NULL, w), GRAFT_NONE, GRAFT_NONE, one));
    make_adapters(arena, g, (const char *const[]){"w"}, 1, &adapter);
    adapter.dropout = dropout;
    g = adapt(arena, g, &adapter, 1);
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++)
        if (graft_graph_node_at(g, i)->op == &graft_op_merged_weight) return true;
    return false;
}

static void adapters_are_merged_into_small_convolutions_without_dropout(void **state) {
    assert_true(is_merged(*state, 64, 0));
    assert_false(is_merged(*state, 64, 0.1));
    assert_false(is_merged(*state, 256, 0));
}

/* A net whose norms are frozen, with adapters in its convolutions: folded, its logits and gradients stay. */
static void frozen_norms_fold_into_weights_with_merged_adapters(void **state) {
    graft_arena *arena = *state;
    graft_graph *plain = small_net_new(arena), *folded = NULL;
    graft_adapter adapters[GRAFT_COUNT(weights)];
    size_t norms[2] = {0}, scaled = 0;
    make_adapters(arena, plain, weights, GRAFT_COUNT(weights), adapters);
    small_net_loss(plain);
    graft_graph *g = adapt(arena, plain, adapters, GRAFT_COUNT(weights));
    assert_int_equal(graft_graph_fold(&folded, arena, g, NULL), 0);
    const graft_graph *both[] = {g, folded};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < graft_graph_n_nodes(both[k]); i++) {
            norms[k] += graft_graph_node_at(both[k], i)->op == &graft_op_batch_norm;
            scaled += graft_graph_node_at(both[k], i)->op == &graft_op_scale_rows;
        }
    assert_int_equal(norms[0], 6);
    assert_int_equal(norms[1], 0);
    assert_int_equal(scaled, 3);
    evaluate_binding x[3];
    evaluation before = evaluate(arena, g, BATCH, x, small_net_bind(arena, BATCH, x)),
               after = evaluate(arena, folded, BATCH, x, 3);
    int64_t count;
    const double *z = evaluation_of(&before, g, "logits", &count);
    assert_true(evaluate_difference(evaluation_of(&after, folded, "logits", NULL), z, count) < 1e-12);
    graft_value wrt[MOST], gradients[MOST];
    size_t n = 0;
    for (size_t i = 0; i < GRAFT_COUNT(weights); i++) {
        wrt[n++] = graft_graph_find(folded, adapters[i].a);
        wrt[n++] = graft_graph_find(folded, adapters[i].b);
    }
    assert_int_equal(graft_graph_grad(folded, graft_graph_find(folded, "loss"), wrt, n, gradients, NULL), 0);
    small_net_check_slope(arena, folded, BATCH, wrt, gradients, n);
}

/* w + scale b a in the place of the layer's weight, and no adapter. */
static void an_adapter_adds_a_low_rank_matrix_to_the_weight(void **state) {
    graft_arena *arena = *state;
    graft_graph *plain = small_net_new(arena);
    static const char *const both[] = {"layer1.0.conv2.weight", "fc.weight"};
    graft_adapter adapters[2];
    graft_graph *g = adapt(arena, plain, adapters, make_adapters(arena, plain, both, 2, adapters));
    evaluate_binding x[3] = {{"x", small_net_random(arena, BATCH * PICTURE, -1, 1, 9)}};
    evaluation beside = evaluate(arena, g, BATCH, x, 1);
    for (size_t i = 0; i < 2; i++) {
        const graft_value w = graft_graph_find(g, both[i]), a = graft_graph_find(g, adapters[i].a),
                          b = graft_graph_find(g, adapters[i].b);
        int64_t outs = graft_graph_value(g, w)->shape.dims[0], ins = beside.counts[w] / outs;
        double *sum = graft_arena_array(arena, (size_t)(outs * ins), sizeof *sum);
        for (int64_t o = 0; o < outs; o++)
            for (int64_t k = 0; k < ins; k++) {
                sum[o * ins + k] = beside.values[w][o * ins + k];
                for (int64_t r = 0; r < RANK; r++)
                    sum[o * ins + k] += 1.5 * beside.values[b][o * RANK + r] * beside.values[a][r * ins + k];
            }
        x[1 + i] = (evaluate_binding){both[i], sum};
    }
    evaluation merged = evaluate(arena, plain, BATCH, x, 3);
    int64_t count;
    const double *z = evaluation_of(&beside, g, "logits", &count);
    assert_true(evaluate_difference(evaluation_of(&merged, plain, "logits", NULL), z, count) < 1e-12);
}

/* The seed is one for the whole graph; the numbers of its dropouts are not those of the adapters'. */
static void each_adapter_drops_for_itself(void **state) {
    graft_arena *arena = *state;
    graft_graph *plain = small_net_new(arena);
    graft_adapter adapters[GRAFT_COUNT(weights)];
    size_t n = make_adapters(arena, plain, weights, GRAFT_COUNT(weights), adapters), n_drops = 0;
    for (size_t i = 0; i < n; i++) adapters[i].dropout = 0.25;
    graft_graph *g = adapt(arena, plain, adapters, n);
    int64_t salts[MOST];
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *node = graft_graph_node_at(g, i);
        if (node->op != &graft_op_dropout) continue;
        const graft_dropout_attr *a = node->attr;
        assert_true(a->p > 0.24 && a->p < 0.26 && a->salt >= 1 << 24);
        for (size_t k = 0; k < n_drops; k++) assert_int_not_equal(salts[k], a->salt);
        salts[n_drops++] = a->salt;
    }
    assert_int_equal(n_drops, n);
    assert_int_not_equal(graft_graph_find(g, "seed"), GRAFT_NONE);
}

static void an_adapter_without_its_layer_is_an_error(void **state) {
    graft_arena *arena = *state;
    graft_graph *plain = small_net_new(arena), *out = NULL;
    graft_adapter adapter;
    graft_err err = {0};
    make_adapters(arena, plain, weights, 1, &adapter);
    adapter.weight = "nowhere.weight";
    assert_int_equal(graft_graph_adapt(&out, arena, plain, &adapter, 1, &err), GRAFT_EINTERNAL);
    assert_non_null(strstr(err.message, "nowhere.weight"));
    assert_null(out);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(gradients_of_merged_adapters_match_finite_differences),
        TEST(so_do_those_of_adapters_beside_their_layers),
        TEST(adapters_are_merged_into_small_convolutions_without_dropout),
        TEST(frozen_norms_fold_into_weights_with_merged_adapters),
        TEST(an_adapter_adds_a_low_rank_matrix_to_the_weight),
        TEST(each_adapter_drops_for_itself),
        TEST(an_adapter_without_its_layer_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
