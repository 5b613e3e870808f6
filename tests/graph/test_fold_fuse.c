/* Folded and fused graphs compute what the graph before them computed. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 2, PICTURE = SMALL_NET_CHANNELS * SMALL_NET_SIDE * SMALL_NET_SIDE };

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}
static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

typedef int (*pass)(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);

static graft_graph *run_pass(graft_arena *arena, pass p, const graft_graph *g) {
    graft_graph *out = NULL;
    graft_err err = {0};
    if (p(&out, arena, g, &err) < 0) fail_msg("%s", err.message);
    return out;
}

static size_t count_ops(const graft_graph *g, const graft_op *op) {
    size_t n = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) n += graft_graph_node_at(g, i)->op == op;
    return n;
}

static void assert_same_outputs(graft_arena *arena, const graft_graph *a, const graft_graph *b,
                                double tolerance) {
    evaluate_binding x = {"x", small_net_random(arena, BATCH * PICTURE, -1, 1, 9)};
    evaluation before = evaluate(arena, a, BATCH, &x, 1), after = evaluate(arena, b, BATCH, &x, 1);
    const graft_output *outputs;
    size_t n = graft_graph_outputs(a, &outputs);
    assert_int_equal(graft_graph_outputs(b, NULL), n);
    for (size_t i = 0; i < n; i++) {
        int64_t count;
        const double *expected = evaluation_of(&before, a, outputs[i].name, &count);
        double d = evaluate_difference(evaluation_of(&after, b, outputs[i].name, NULL), expected, count);
        if (d > tolerance) fail_msg("output '%s' differs by %g", outputs[i].name, d);
    }
}

static void a_frozen_network_folds_and_fuses_to_convolutions_alone(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_graph *folded = run_pass(*state, graft_graph_fold, g),
                *fused = run_pass(*state, graft_graph_fuse, folded);
    assert_int_equal(count_ops(g, &graft_op_batch_norm), 6);
    assert_int_equal(count_ops(folded, &graft_op_batch_norm), 0);
    assert_int_equal(count_ops(folded, &graft_op_conv2d), 6);
    assert_int_equal(count_ops(fused, &graft_op_relu), 0);
    assert_int_equal(count_ops(fused, &graft_op_add), 0);
    assert_int_equal(graft_graph_n_nodes(fused), 6 + 3); /* max pool, mean, head */
    assert_same_outputs(*state, g, folded, 1e-12);
    assert_same_outputs(*state, g, fused, 1e-12);
}

static void a_folded_parameter_is_named_after_all_it_comes_from(void **state) {
    graft_graph *folded = run_pass(*state, graft_graph_fold, small_net_new(*state));
    graft_value w = graft_graph_find(folded, "conv1.weight+bn1.weight");
    graft_value b = graft_graph_find(folded, "conv1.weight+bn1.bias");
    assert_int_not_equal(w, GRAFT_NONE);
    assert_int_not_equal(b, GRAFT_NONE);
    assert_false(graft_graph_value(folded, w)->source.is_bias);
    assert_true(graft_graph_value(folded, b)->source.is_bias);
    assert_null(graft_graph_value(folded, b)->source.tensor);
    assert_int_equal(graft_graph_find(folded, "conv1.weight"), GRAFT_NONE);
    float values[4];
    assert_int_equal(
        graft_source_read(&graft_graph_value(folded, b)->source, &(graft_shape){1, {4}}, values, NULL), 0);
}

static void nothing_trained_is_folded(void **state) {
    const char *const names[] = {"layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.running_var"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        graft_graph *g = small_net_new(*state);
        small_net_mark(g, names[i], true);
        graft_graph *folded = run_pass(*state, graft_graph_fold, g);
        assert_int_equal(count_ops(folded, &graft_op_batch_norm), 1);
        assert_int_not_equal(graft_graph_find(folded, names[i]), GRAFT_NONE);
        assert_same_outputs(*state, g, folded, 1e-12);
    }
}

static void a_convolution_whose_value_is_read_twice_is_not_folded(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_graph_output(g, "stem", graft_graph_node_at(g, 0)->out[0]);
    graft_graph *folded = run_pass(*state, graft_graph_fold, g);
    assert_int_equal(count_ops(folded, &graft_op_batch_norm), 1);
    assert_same_outputs(*state, g, folded, 1e-12);
}

static void unfolded_norms_take_the_relu_after_them(void **state) {
    graft_graph *g = small_net_new(*state), *fused = run_pass(*state, graft_graph_fuse, g);
    assert_int_equal(count_ops(fused, &graft_op_relu), 0);
    assert_int_equal(count_ops(fused, &graft_op_add), 2); /* neither operand is a convolution */
    assert_same_outputs(*state, g, fused, 0);
}

static graft_value conv1x1(graft_graph *g, graft_value x, const char *name) {
    graft_arena *arena = graft_graph_arena(g);
    float *data = graft_arena_array(arena, 4, sizeof *data);
    graft_tensor *t = graft_arena_alloc(arena, sizeof *t);
    const double *d = small_net_random(arena, 4, -1, 1, graft_graph_n_values(g));
    for (int i = 0; i < 4; i++) data[i] = (float)d[i];
    *t = (graft_tensor){
        .name = name, .dtype = GRAFT_F32, .shape = {4, {2, 2, 1, 1}}, .data = data, .size = 16};
    graft_value w = graft_graph_param(g, name, t, t->shape);
    graft_graph_scope(g, "%s", name);
    return graft_conv2d(g, x, w, GRAFT_NONE, GRAFT_NONE,
                        (graft_conv_attr){.stride = {1, 1}, .dilation = {1, 1}, .groups = 1});
}

static graft_graph *start(graft_arena *arena, graft_value *x) {
    graft_graph *g = graft_graph_new(arena);
    *x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){4, {GRAFT_DIM_BATCH, 2, 8, 8}});
    return g;
}

static void the_later_of_two_convolutions_takes_the_sum(void **state) {
    graft_value x, a, b;
    graft_graph *g = start(*state, &x);
    a = conv1x1(g, x, "a");
    b = conv1x1(g, x, "b");
    graft_graph_output(g, "y", graft_relu(g, graft_add(g, a, b, 0)));
    graft_graph *fused = run_pass(*state, graft_graph_fuse, g);
    assert_int_equal(graft_graph_n_nodes(fused), 2);
    const graft_node *last = graft_graph_node_at(fused, 1);
    assert_string_equal(last->name, "b");
    assert_int_equal(last->in[3], graft_graph_node_at(fused, 0)->out[0]);
    assert_int_equal(((const graft_conv_attr *)last->attr)->relu, 1);
    assert_same_outputs(*state, g, fused, 1e-15);
}

static void a_residual_computed_after_the_convolution_still_fuses(void **state) {
    graft_value x, a, b;
    graft_graph *g = start(*state, &x);
    a = conv1x1(g, x, "a");
    b = graft_relu(g, x); /* after a, and no convolution */
    graft_graph_output(g, "y", graft_add(g, b, a, 1));
    graft_graph *fused = run_pass(*state, graft_graph_fuse, g);
    assert_int_equal(graft_graph_n_nodes(fused), 2);
    assert_int_equal(count_ops(fused, &graft_op_relu), 1);
    assert_same_outputs(*state, g, fused, 1e-15);
}

static void what_is_read_twice_or_is_relued_already_stays(void **state) {
    graft_value x, a, b;
    graft_graph *g = start(*state, &x);
    a = conv1x1(g, x, "a");
    graft_graph_output(g, "y", graft_relu(g, a));
    graft_graph_output(g, "a", a);
    b = graft_relu(g, conv1x1(g, x, "b"));
    graft_graph_output(g, "z", graft_add(g, b, b, 0));
    graft_graph_output(g, "r", graft_add(g, graft_relu(g, conv1x1(g, x, "c")), x, 0));
    graft_graph *fused = run_pass(*state, graft_graph_fuse, g);
    assert_int_equal(count_ops(fused, &graft_op_relu), 1);
    assert_int_equal(count_ops(fused, &graft_op_add), 2);
    assert_same_outputs(*state, g, fused, 0);
}

static void two_sums_in_a_row_use_one_convolution_once(void **state) {
    graft_value x, a;
    graft_graph *g = start(*state, &x);
    a = graft_add(g, conv1x1(g, x, "a"), x, 0);
    graft_graph_output(g, "y", graft_relu(g, graft_add(g, a, x, 0)));
    graft_graph *fused = run_pass(*state, graft_graph_fuse, g);
    assert_int_equal(graft_graph_n_nodes(fused), 2); /* conv + x, then add{relu} */
    assert_same_outputs(*state, g, fused, 1e-15);
}

static void a_relu_after_a_linear_layer_joins_it(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    graft_value w = graft_graph_param(g, "w", NULL, (graft_shape){2, {3, 2}});
    graft_graph_output(g, "y", graft_relu(g, graft_linear(g, x, w, GRAFT_NONE)));
    graft_graph *fused = run_pass(*state, graft_graph_fuse, g);
    assert_int_equal(graft_graph_n_nodes(fused), 1);
    assert_int_equal(((const graft_linear_attr *)graft_graph_node_at(fused, 0)->attr)->act, GRAFT_ACT_RELU);
    graft_graph *kept = run_pass(*state, graft_graph_fuse_training, g);
    assert_int_equal(graft_graph_n_nodes(kept), 2);
}

/* y = act(x w^T), x's rows as residual where `sum`, w being (D,D). */
static graft_graph *linear_graph(graft_arena *arena, int32_t act, bool sum) {
    graft_graph *g = graft_graph_new(arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, 3}});
    graft_value w = graft_graph_param(g, "w", NULL, (graft_shape){2, {3, 3}});
    graft_value y = graft_linear(g, x, w, GRAFT_NONE);
    if (sum) y = graft_add(g, x, y, 0);
    graft_graph_output(g, "y", graft_activate(g, y, act));
    return g;
}

static void assert_same_linear(graft_arena *arena, const graft_graph *a, const graft_graph *b) {
    evaluate_binding x[] = {{"x", small_net_random(arena, 12, -2, 2, 1)},
                            {"w", small_net_random(arena, 9, -2, 2, 2)}};
    evaluation before = evaluate_tokens(arena, a, 1, 4, x, 2), after = evaluate_tokens(arena, b, 1, 4, x, 2);
    int64_t count;
    const double *expected = evaluation_of(&before, a, "y", &count);
    assert_int_equal(count, 12);
    assert_true(evaluate_difference(evaluation_of(&after, b, "y", NULL), expected, count) < 1e-15);
}

static void a_linear_layer_takes_sum_and_activation(void **state) {
    for (int32_t act = GRAFT_ACT_NONE; act <= GRAFT_ACT_SILU; act++) {
        for (int sum = 0; sum <= 1; sum++) {
            graft_graph *g = linear_graph(*state, act, sum), *fused = run_pass(*state, graft_graph_fuse, g),
                        *kept = run_pass(*state, graft_graph_fuse_training, g);
            const graft_node *n = graft_graph_node_at(fused, 0);
            assert_int_equal(graft_graph_n_nodes(fused), 1);
            assert_int_equal(((const graft_linear_attr *)n->attr)->act, act);
            assert_int_equal(n->in[3] != GRAFT_NONE, sum);
            assert_same_linear(*state, g, fused);
            assert_int_equal(graft_graph_n_nodes(kept), act == GRAFT_ACT_NONE ? 1 : 2);
            assert_same_linear(*state, g, kept);
        }
    }
}

static void an_activation_joins_nothing_but_a_linear_layer(void **state) {
    graft_value x;
    graft_graph *g = start(*state, &x);
    graft_graph_output(g, "y", graft_gelu(g, conv1x1(g, x, "a")));
    assert_int_equal(graft_graph_n_nodes(run_pass(*state, graft_graph_fuse, g)), 2);
}

static void without_dropout_a_graph_computes_what_its_parts_do(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, 3}}),
                seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}}),
                w = graft_graph_param(g, "w", NULL, (graft_shape){2, {3, 3}});
    graft_value y = graft_linear(g, graft_dropout(g, x, seed, 0.5), w, GRAFT_NONE);
    graft_graph_output(g, "y", graft_dropout(g, graft_dropout(g, y, seed, 0.25), seed, 0.1));
    graft_graph *still = run_pass(*state, graft_graph_without_dropout, g);
    assert_int_equal(graft_graph_n_nodes(still), 1);
    assert_int_equal(graft_graph_find(still, "seed"), GRAFT_NONE);
    assert_same_linear(*state, linear_graph(*state, GRAFT_ACT_NONE, false), still);
}

static void without_dropout_attention_drops_nothing(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, 4}}),
                spans = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}}),
                seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    const graft_attention_attr a = {.heads = 2, .causal = 1, .scale = 0.5, .p = 0.3};
    graft_graph_output(g, "y", graft_attention(g, x, x, x, spans, seed, a));
    graft_graph *still = run_pass(*state, graft_graph_without_dropout, g);
    const graft_node *n = graft_graph_node_at(still, 0);
    const graft_attention_attr *kept = n->attr;
    assert_true(kept->p == 0 && kept->heads == 2 && kept->causal == 1 && kept->scale == 0.5);
    assert_int_equal(n->in[4], GRAFT_NONE);
    assert_int_equal(graft_graph_find(still, "seed"), GRAFT_NONE);
}

static void dropout_is_not_taken_out_of_a_graph_with_its_gradient(void **state) {
    graft_graph *g = graft_graph_new(*state), *still = NULL;
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, 3}}),
                seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}}), dx;
    graft_graph_output(g, "y", graft_dropout(g, x, seed, 0.5));
    graft_graph_node(g, &graft_op_dropout_grad, &(graft_dropout_attr){.p = 0.5}, (graft_value[]){x, seed}, 2,
                     &dx);
    graft_graph_output(g, "dx", dx);
    graft_err err = {0};
    assert_int_equal(graft_graph_without_dropout(&still, *state, g, &err), GRAFT_EINTERNAL);
    assert_null(still);
}

static void in_training_norms_take_sums_and_relu_and_convolutions_do_not(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_mark(g, "layer", true);
    graft_graph *t = run_pass(*state, graft_graph_train_norms, g);
    assert_int_equal(count_ops(t, &graft_op_batch_norm), 1);
    assert_int_equal(count_ops(t, &graft_op_batch_norm_train), 5);
    assert_int_equal(count_ops(t, &graft_op_running_update), 10);
    assert_int_equal(graft_graph_assigns(t, NULL), 10);
    graft_graph *fused = run_pass(*state, graft_graph_fuse_training, t);
    assert_int_equal(count_ops(fused, &graft_op_relu), 0);
    assert_int_equal(count_ops(fused, &graft_op_add), 0);
    assert_int_equal(count_ops(fused, &graft_op_running_update), 10);
    assert_int_equal(graft_graph_assigns(fused, NULL), 10);
    assert_same_outputs(*state, t, fused, 0);
}

/* With frozen statistics there is nothing to take the sum: it keeps its node, and takes relu itself. */
static void a_sum_of_frozen_norms_takes_relu(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_graph *fused = run_pass(*state, graft_graph_fuse_training, g);
    assert_int_equal(count_ops(fused, &graft_op_relu), 0);
    assert_int_equal(count_ops(fused, &graft_op_add), 2);
    assert_same_outputs(*state, g, fused, 0);
}

static void strided_points_read_a_subsampled_picture(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_graph *thin = run_pass(*state, graft_graph_subsample, g);
    assert_int_equal(count_ops(thin, &graft_op_subsample_pad), 1); /* the projection of the second block */
    assert_int_equal(graft_graph_n_nodes(thin), graft_graph_n_nodes(g) + 1);
    assert_same_outputs(*state, g, thin, 0);
}

/* Two blocks: what arrives at the first one's end comes through the second and past it. */
static void sums_of_gradients_join_the_norm_that_reads_them(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_mark(g, "", true);
    graft_graph *t = run_pass(*state, graft_graph_train_norms, g);
    graft_graph *f = run_pass(*state, graft_graph_fuse_training, t);
    graft_value loss = small_net_loss(f), w = graft_graph_find(f, "conv1.weight"), dw = GRAFT_NONE;
    assert_int_equal(graft_graph_grad(f, loss, &w, 1, &dw, NULL), 0);
    graft_graph_output(f, "dw", dw);
    graft_graph *joined = run_pass(*state, graft_graph_fuse_gradient, f);
    assert_int_equal(count_ops(f, &graft_op_sum_into), 2);
    assert_int_equal(count_ops(joined, &graft_op_sum_into),
                     1); /* the other is read by a pooling's gradient */
    evaluate_binding b[3];
    small_net_bind(*state, BATCH, b);
    evaluation before = evaluate(*state, f, BATCH, b, 3), after = evaluate(*state, joined, BATCH, b, 3);
    int64_t count;
    const double *expected = evaluation_of(&before, f, "dw", &count);
    assert_true(evaluate_difference(evaluation_of(&after, joined, "dw", NULL), expected, count) < 1e-12);
}

static void running_statistics_move_towards_the_batch(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_mark(g, "bn1.", true);
    graft_graph *t = run_pass(*state, graft_graph_train_norms, g);
    const graft_assign *assigns;
    assert_int_equal(graft_graph_assigns(t, &assigns), 2);
    assert_string_equal(graft_graph_value(t, assigns[0].target)->name, "bn1.running_mean");
    assert_string_equal(graft_graph_value(t, assigns[1].target)->name, "bn1.running_var");
    evaluate_binding x = {"x", small_net_random(*state, BATCH * PICTURE, -1, 1, 9)};
    evaluation e = evaluate(*state, t, BATCH, &x, 1);
    graft_value conv = graft_graph_node_at(t, 0)->out[0];
    double mean = 0;
    for (int n = 0; n < BATCH; n++)
        for (int i = 0; i < 64; i++) mean += e.values[conv][(n * 4 + 2) * 64 + i] / (BATCH * 64);
    double expected = 0.9 * e.values[assigns[0].target][2] + 0.1 * mean;
    assert_true(evaluate_difference(&e.values[assigns[0].value][2], &expected, 1) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frozen_network_folds_and_fuses_to_convolutions_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_folded_parameter_is_named_after_all_it_comes_from, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_trained_is_folded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_convolution_whose_value_is_read_twice_is_not_folded, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(unfolded_norms_take_the_relu_after_them, setup, teardown),
        cmocka_unit_test_setup_teardown(the_later_of_two_convolutions_takes_the_sum, setup, teardown),
        cmocka_unit_test_setup_teardown(a_residual_computed_after_the_convolution_still_fuses, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_read_twice_or_is_relued_already_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(two_sums_in_a_row_use_one_convolution_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_relu_after_a_linear_layer_joins_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_linear_layer_takes_sum_and_activation, setup, teardown),
        cmocka_unit_test_setup_teardown(an_activation_joins_nothing_but_a_linear_layer, setup, teardown),
        cmocka_unit_test_setup_teardown(without_dropout_a_graph_computes_what_its_parts_do, setup, teardown),
        cmocka_unit_test_setup_teardown(without_dropout_attention_drops_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(dropout_is_not_taken_out_of_a_graph_with_its_gradient, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(strided_points_read_a_subsampled_picture, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sum_of_frozen_norms_takes_relu, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_of_gradients_join_the_norm_that_reads_them, setup, teardown),
        cmocka_unit_test_setup_teardown(in_training_norms_take_sums_and_relu_and_convolutions_do_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(running_statistics_move_towards_the_batch, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
