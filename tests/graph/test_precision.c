/* Which results of a training graph may be bf16. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64 };

typedef struct fixture {
    graft_arena *arena;
    graft_graph *g; /* forward, loss, gradient, updates */
    graft_value gradients[MOST];
    size_t n_gradients;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    *state = f;
    f->arena = graft_arena_new(NULL);
    graft_graph *g = small_net_new(f->arena);
    graft_value loss = small_net_loss(g), wrt[MOST];
    small_net_mark(g, "", true);
    if (graft_graph_train_norms(&f->g, f->arena, g, NULL) < 0) return -1;
    for (size_t v = 0; v < graft_graph_n_values(f->g); v++) {
        const graft_value_info *info = graft_graph_value(f->g, (graft_value)v);
        if (info->kind == GRAFT_PARAM && !strstr(info->name, "running_"))
            wrt[f->n_gradients++] = (graft_value)v;
    }
    loss = graft_graph_find(f->g, "loss");
    if (graft_graph_grad(f->g, loss, wrt, f->n_gradients, f->gradients, NULL) < 0) return -1;
    graft_value lr = graft_graph_input(f->g, "lr", GRAFT_F32, (graft_shape){1, {1}});
    for (size_t i = 0; i < f->n_gradients; i++)
        graft_sgd(f->g, wrt[i], f->gradients[i], lr, GRAFT_NONE,
                  (graft_sgd_attr){.momentum = 0.9, .lr_scale = 1});
    return graft_graph_precision(f->g, GRAFT_PRECISION_BF16, NULL);
}

static int teardown(void **state) {
    fixture *f = *state;
    graft_arena_free(f->arena);
    free(f);
    return 0;
}

static graft_dtype type_of(const graft_graph *g, graft_value v) {
    return graft_graph_value(g, v)->dtype;
}

static void activations_are_bf16_and_statistics_are_not(void **state) {
    const fixture *f = *state;
    size_t n_seen = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(f->g); i++) {
        const graft_node *n = graft_graph_node_at(f->g, i);
        if (n->op == &graft_op_conv2d || n->op == &graft_op_batch_norm_train ||
            n->op == &graft_op_conv2d_dx) {
            assert_int_equal(type_of(f->g, n->out[0]), GRAFT_BF16);
            n_seen++;
        }
        if (n->op != &graft_op_batch_norm_train) continue;
        assert_int_equal(type_of(f->g, n->out[1]), GRAFT_F32);
        assert_int_equal(type_of(f->g, n->out[2]), GRAFT_F32);
        assert_int_equal(type_of(f->g, n->out[3]), GRAFT_U8);
    }
    assert_int_equal(n_seen, 6 + 6 + 5);
    assert_int_equal(graft_graph_check(f->g, NULL), 0);
}

static void gradients_of_parameters_losses_and_updates_stay_float32(void **state) {
    const fixture *f = *state;
    for (size_t i = 0; i < f->n_gradients; i++) assert_int_equal(type_of(f->g, f->gradients[i]), GRAFT_F32);
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(f->g, &assigns);
    assert_true(n >= 2 * f->n_gradients);
    for (size_t i = 0; i < n; i++) assert_int_equal(type_of(f->g, assigns[i].value), GRAFT_F32);
    assert_int_equal(type_of(f->g, graft_graph_find(f->g, "loss")), GRAFT_F32);
}

static void logits_and_outputs_stay_float32(void **state) {
    const fixture *f = *state;
    assert_int_equal(type_of(f->g, graft_graph_find(f->g, "logits")), GRAFT_F32);
    assert_int_equal(type_of(f->g, graft_graph_find(f->g, "features")), GRAFT_F32);
}

static void gradients_summed_from_bf16_are_bf16(void **state) {
    const fixture *f = *state;
    size_t n_sums = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(f->g); i++) {
        const graft_node *n = graft_graph_node_at(f->g, i);
        if (n->op != &graft_op_sum_into) continue;
        assert_int_equal(type_of(f->g, n->out[0]), GRAFT_BF16);
        n_sums++;
    }
    assert_int_equal(n_sums, 2); /* where the two blocks branch */
}

static void a_view_has_the_type_of_what_it_shows(void **state) {
    const fixture *f = *state;
    graft_graph *g = graft_graph_new(f->arena);
    graft_shape picture = {4, {GRAFT_DIM_BATCH, 2, 1, 1}};
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, picture);
    graft_value of_input = graft_flatten(g, x), inner = graft_relu(g, x), of_result = graft_flatten(g, inner);
    graft_graph_output(g, "y", graft_relu(g, of_result));
    graft_value last = graft_relu(g, x), of_last = graft_flatten(g, last);
    graft_graph_output(g, "z", of_last);
    graft_graph_output(g, "i", of_input);
    assert_int_equal(graft_graph_precision(g, GRAFT_PRECISION_BF16, NULL), 0);
    assert_int_equal(type_of(g, of_input), GRAFT_F32);
    assert_int_equal(type_of(g, inner), GRAFT_BF16);
    assert_int_equal(type_of(g, of_result), GRAFT_BF16);
    assert_int_equal(type_of(g, of_last), GRAFT_F32);
    assert_int_equal(type_of(g, last), GRAFT_F32);
}

static void another_precision_is_refused(void **state) {
    const fixture *f = *state;
    assert_int_equal(graft_graph_precision(f->g, (graft_precision)7, NULL), GRAFT_EUSAGE);
}

static void bf16x3_marks_products_and_changes_no_type(void **state) {
    const fixture *f = *state;
    graft_graph *g = graft_graph_new(f->arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 3}}), d;
    graft_value w = graft_graph_param(g, "w", NULL, (graft_shape){2, {3, 3}});
    graft_value y = graft_linear(g, graft_relu(g, x), w, GRAFT_NONE);
    graft_value loss =
        graft_mse(g, y, graft_graph_input(g, "t", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 3}}),
                  graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}}));
    assert_int_equal(graft_graph_grad(g, loss, &w, 1, &d, NULL), 0);
    graft_hash before, after;
    assert_int_equal(graft_graph_hash(g, &before, NULL), 0);
    assert_int_equal(graft_graph_precision(g, GRAFT_PRECISION_BF16X3, NULL), 0);
    size_t n_marked = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        assert_int_equal(type_of(g, n->out[0]), GRAFT_F32);
        if (n->op == &graft_op_linear || n->op == &graft_op_linear_dw)
            n_marked += ((const graft_linear_attr *)n->attr)->bf16x3 == 1;
    }
    assert_int_equal(n_marked, 2);
    assert_int_equal(graft_graph_hash(g, &after, NULL), 0);
    assert_false(graft_hash_equal(before, after)); /* features of one are not those of the other */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(activations_are_bf16_and_statistics_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_of_parameters_losses_and_updates_stay_float32, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(logits_and_outputs_stay_float32, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_summed_from_bf16_are_bf16, setup, teardown),
        cmocka_unit_test_setup_teardown(a_view_has_the_type_of_what_it_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(another_precision_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bf16x3_marks_products_and_changes_no_type, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
