/* Gradients of a whole network against finite differences, and what reverse accumulation promises. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 3, MOST = 64 };

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}
static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

/* The trained parameters of a graph but for statistics. */
static size_t trained(const graft_graph *g, graft_value *out) {
    size_t n = 0;
    for (size_t v = 0; v < graft_graph_n_values(g); v++) {
        const graft_value_info *info = graft_graph_value(g, (graft_value)v);
        if (info->kind == GRAFT_PARAM && info->trained && !strstr(info->name, "running_"))
            out[n++] = (graft_value)v;
    }
    assert_in_range(n, 1, MOST);
    return n;
}

static void check_gradient(graft_arena *arena, graft_graph *g) {
    graft_value wrt[MOST], gradients[MOST];
    size_t n = trained(g, wrt);
    graft_err err = {0};
    if (graft_graph_grad(g, graft_graph_find(g, "loss"), wrt, n, gradients, &err) < 0)
        fail_msg("%s", err.message);
    if (graft_graph_check(g, &err) < 0) fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++) {
        assert_int_not_equal(gradients[i], GRAFT_NONE);
        assert_true(graft_shape_equal(&graft_graph_value(g, wrt[i])->shape,
                                      &graft_graph_value(g, gradients[i])->shape));
    }
    small_net_check_slope(arena, g, BATCH, wrt, gradients, n);
}

static void gradient_of_a_network_with_frozen_statistics_matches_finite_difference(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_loss(g);
    small_net_mark(g, "", false);
    check_gradient(*state, g);
}

static void gradient_of_a_network_that_learns_statistics_matches_finite_difference(void **state) {
    graft_graph *g = small_net_new(*state), *t = NULL;
    small_net_loss(g);
    small_net_mark(g, "", true);
    assert_int_equal(graft_graph_train_norms(&t, *state, g, NULL), 0);
    check_gradient(*state, t);
}

static void gradient_of_a_fused_training_graph_matches_finite_difference(void **state) {
    graft_graph *g = small_net_new(*state), *t = NULL, *fused = NULL;
    small_net_loss(g);
    small_net_mark(g, "", true);
    assert_int_equal(graft_graph_train_norms(&t, *state, g, NULL), 0);
    assert_int_equal(graft_graph_fuse_training(&fused, *state, t, NULL), 0);
    check_gradient(*state, fused);
}

static void no_gradient_is_computed_below_the_lowest_trained_parameter(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_value loss = small_net_loss(g), gradients[MOST];
    graft_value wrt[2] = {graft_graph_find(g, "fc.weight"), graft_graph_find(g, "fc.bias")};
    size_t before = graft_graph_n_nodes(g);
    assert_int_equal(graft_graph_grad(g, loss, wrt, 2, gradients, NULL), 0);
    assert_int_equal(graft_graph_n_nodes(g) - before, 2); /* of the loss, of the weights */
    const graft_node *last = graft_graph_node_at(g, before + 1);
    assert_ptr_equal(last->op, &graft_op_linear_dw);
    assert_string_equal(last->name, "d fc");
}

static void what_the_loss_does_not_depend_on_has_no_gradient(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_value loss = small_net_loss(g), w = graft_graph_param(g, "unused", NULL, (graft_shape){1, {3}});
    graft_value wrt[2] = {w, graft_graph_find(g, "fc.bias")}, gradients[2];
    assert_int_equal(graft_graph_grad(g, loss, wrt, 2, gradients, NULL), 0);
    assert_int_equal(gradients[0], GRAFT_NONE);
    assert_int_not_equal(gradients[1], GRAFT_NONE);
}

static void gradients_from_several_readers_are_summed(void **state) {
    graft_arena *arena = *state;
    graft_graph *g = graft_graph_new(arena);
    graft_shape rows = {2, {GRAFT_DIM_BATCH, 2}};
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, rows),
                t = graft_graph_input(g, "t", GRAFT_F32, rows);
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value w = graft_graph_param(g, "w", NULL, (graft_shape){2, {2, 2}});
    graft_value y = graft_linear(g, x, w, GRAFT_NONE),
                z = graft_linear(g, y, w, GRAFT_NONE); /* y = x w', z = y w' */
    graft_value sum = graft_add(g, graft_add(g, z, z, 0), y, 0), d;
    graft_value loss = graft_mse(g, sum, t, weight);
    graft_graph_output(g, "loss", loss);
    assert_int_equal(graft_graph_grad(g, loss, &w, 1, &d, NULL), 0);
    double values[2][4] = {{0.3, -0.2, 0.7, 1.1}, {0}};
    evaluate_binding b[4] = {{"x", (const double[]){1, 2, -1, 0.5}},
                             {"t", (const double[]){0.1, 0.2, 0.3, 0.4}},
                             {"weight", (const double[]){0.5, 0.25}},
                             {"w", values[0]}};
    evaluation e = evaluate(arena, g, 2, b, 4);
    for (int i = 0; i < 4; i++) {
        double two[2];
        for (int s = 0; s < 2; s++) {
            memcpy(values[1], values[0], sizeof values[0]);
            values[1][i] += s ? 1e-6 : -1e-6;
            b[3].data = values[1];
            evaluation moved = evaluate(arena, g, 2, b, 4);
            two[s] = *evaluation_of(&moved, g, "loss", NULL);
        }
        assert_true(fabs((two[1] - two[0]) / 2e-6 - e.values[d][i]) < 1e-7);
    }
}

static void a_sum_of_two_losses_has_a_gradient(void **state) {
    graft_arena *arena = *state;
    graft_graph *g = graft_graph_new(arena);
    graft_shape rows = {2, {GRAFT_DIM_BATCH, 2}};
    graft_value t = graft_graph_input(g, "t", GRAFT_F32, rows);
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value y = graft_graph_param(g, "y", NULL, (graft_shape){2, {1, 2}}), d, once;
    graft_value flat = graft_linear(g, t, y, GRAFT_NONE);
    graft_value zero = graft_graph_input(g, "zero", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 1}});
    graft_value loss = graft_mse(g, flat, zero, weight);
    graft_value both = graft_add(g, loss, graft_mse(g, flat, zero, weight), 0);
    assert_int_equal(graft_graph_grad(g, loss, &y, 1, &once, NULL), 0);
    assert_int_equal(graft_graph_grad(g, both, &y, 1, &d, NULL), 0);
    evaluate_binding b[3] = {{"t", (const double[]){1, 2, 3, 4}},
                             {"weight", (const double[]){1, 0.5}},
                             {"y", (const double[]){0.5, -0.3}}};
    evaluation e = evaluate(arena, g, 2, b, 3);
    for (int i = 0; i < 2; i++) {
        assert_true(fabs(e.values[once][i]) > 0.01);
        assert_true(fabs(e.values[d][i] - 2 * e.values[once][i]) < 1e-12);
    }
}

static int plain_shape(const graft_op_types *t, graft_err *err) {
    (void)err;
    t->out_shape[0] = t->in[0]->shape;
    return 0;
}

static void all_ops_without_a_rule_are_named_in_one_error(void **state) {
    static const graft_op floor_op = {.name = "floor", .n_out = 1, .shape = plain_shape, .alias = {-1}};
    static const graft_op sort_op = {.name = "sort", .n_out = 1, .shape = plain_shape, .alias = {-1}};
    graft_graph *g = graft_graph_new(*state);
    graft_shape rows = {2, {GRAFT_DIM_BATCH, 2}};
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, rows),
                w = graft_graph_param(g, "w", NULL, (graft_shape){2, {2, 2}});
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value before, y, z, d;
    graft_graph_node(g, &floor_op, NULL, &x, 1, &before); /* not between w and the loss */
    graft_graph_scope(g, "a");
    graft_value h = graft_linear(g, before, w, GRAFT_NONE);
    graft_graph_node(g, &floor_op, NULL, &h, 1, &y);
    graft_graph_scope(g, "b");
    graft_graph_node(g, &sort_op, NULL, &y, 1, &z);
    graft_value loss = graft_mse(g, z, x, weight);
    graft_err err = {0};
    size_t nodes = graft_graph_n_nodes(g);
    assert_int_equal(graft_graph_grad(g, loss, &w, 1, &d, &err), GRAFT_EUNSUPPORTED);
    assert_string_equal(err.message, "no gradient is known for floor (a), sort (b)");
    assert_int_equal(graft_graph_n_nodes(g), nodes);
}

static void a_loss_of_many_numbers_is_refused(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_value w = graft_graph_find(g, "fc.weight"), d;
    assert_int_equal(graft_graph_grad(g, graft_graph_find(g, "logits"), &w, 1, &d, NULL), GRAFT_ESHAPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            gradient_of_a_network_with_frozen_statistics_matches_finite_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(
            gradient_of_a_network_that_learns_statistics_matches_finite_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(gradient_of_a_fused_training_graph_matches_finite_difference, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_gradient_is_computed_below_the_lowest_trained_parameter, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_loss_does_not_depend_on_has_no_gradient, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_from_several_readers_are_summed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sum_of_two_losses_has_a_gradient, setup, teardown),
        cmocka_unit_test_setup_teardown(all_ops_without_a_rule_are_named_in_one_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loss_of_many_numbers_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
