/* Building, looking at, verifying and printing a graph, with two rows made up for the purpose. */
#include "graph/graph.h"
#include "graph/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct scale_attr {
    double factor;
} scale_attr;

static int scale_shape(const graft_op_types *t, graft_err *err) {
    if (t->in[0]->shape.rank != 2) return graft_err_set(err, GRAFT_ESHAPE, "x is not (N,D)");
    t->out_shape[0] = t->in[0]->shape;
    return 0;
}
static const graft_op scale = {
    .name = "scale", .attr_size = sizeof(scale_attr), .n_out = 1, .shape = scale_shape, .alias = {-1}};

static int twice_shape(const graft_op_types *t, graft_err *err) {
    (void)err;
    for (int o = 0; o < 2; o++) t->out_shape[o] = t->in[0]->shape;
    t->out_dtype[1] = GRAFT_I32;
    return 0;
}
static const graft_op twice = {.name = "twice", .n_out = 2, .shape = twice_shape, .alias = {-1, -1}};

static const graft_shape ROWS = {2, {GRAFT_DIM_BATCH, 3}};
static const graft_shape MATRIX = {2, {2, 3}};

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}
static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

static void nodes_and_values_are_found_where_they_were_put(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, ROWS), w = graft_graph_param(g, "w", NULL, MATRIX);
    graft_value y, z[2];
    graft_graph_scope(g, "layer%d", 4);
    graft_graph_node(g, &scale, &(scale_attr){2}, &x, 1, &y);
    graft_graph_node(g, &twice, NULL, (graft_value[]){y, GRAFT_NONE}, 2, z);
    graft_graph_output(g, "y", y);
    graft_graph_output(g, "first", z[0]);
    assert_int_equal(graft_graph_end(g, NULL), 0);
    assert_int_equal(graft_graph_n_nodes(g), 2);
    assert_int_equal(graft_graph_n_values(g), 5);
    assert_int_equal(graft_graph_find(g, "x"), x);
    assert_int_equal(graft_graph_find(g, "w"), w);
    assert_int_equal(graft_graph_find(g, "first"), z[0]);
    assert_int_equal(graft_graph_find(g, "none"), GRAFT_NONE);
    assert_string_equal(graft_graph_node_at(g, 0)->name, "layer4");
    assert_true(((const scale_attr *)graft_graph_node_at(g, 0)->attr)->factor == 2);
    assert_int_equal(graft_graph_value(g, z[1])->dtype, GRAFT_I32);
    assert_int_equal(graft_graph_value(g, z[1])->node, 1);
    int32_t uses[5];
    graft_graph_count_uses(g, uses);
    assert_int_equal(uses[x], 1);
    assert_int_equal(uses[y], 2);
    assert_int_equal(uses[w], 0);
    assert_int_equal(graft_graph_check(g, NULL), 0);
}

static void the_first_error_is_kept_with_the_name_of_its_node(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){1, {3}}), y;
    graft_graph_scope(g, "encoder.fc");
    graft_graph_node(g, &scale, &(scale_attr){2}, &x, 1, &y);
    assert_int_equal(y, GRAFT_NONE);
    graft_graph_scope(g, "later");
    graft_graph_fail(g, GRAFT_EDATA, "something else");
    assert_int_equal(graft_graph_param(g, "w", NULL, MATRIX), GRAFT_NONE);
    graft_err err;
    assert_int_equal(graft_graph_end(g, &err), GRAFT_ESHAPE);
    assert_string_equal(err.message, "encoder.fc: scale: x is not (N,D)");
}

static void names_are_unique(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_graph_param(g, "w", NULL, MATRIX);
    assert_int_equal(graft_graph_state(g, "w", MATRIX), GRAFT_NONE);
    graft_err err;
    assert_int_equal(graft_graph_end(g, &err), GRAFT_EFORMAT);
    assert_non_null(strstr(err.message, "'w'"));
}

static void a_tensor_of_another_shape_is_refused(void **state) {
    graft_graph *g = graft_graph_new(*state);
    float data[6] = {0};
    graft_tensor t = {
        .name = "w", .dtype = GRAFT_F32, .shape = {2, {3, 2}}, .data = data, .size = sizeof data};
    graft_graph_param(g, "w", &t, MATRIX);
    graft_err err;
    assert_int_equal(graft_graph_end(g, &err), GRAFT_ESHAPE);
    assert_non_null(strstr(err.message, "[3, 2]"));
    assert_non_null(strstr(err.message, "[2, 3]"));
}

static void only_parameters_and_states_are_assigned(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, MATRIX), s = graft_graph_state(g, "s", MATRIX), y;
    graft_graph_node(g, &scale, &(scale_attr){2}, &x, 1, &y);
    graft_graph_assign(g, s, y);
    assert_int_equal(graft_graph_end(g, NULL), 0);
    graft_graph_assign(g, x, y);
    assert_int_equal(graft_graph_end(g, NULL), GRAFT_EINTERNAL);
}

static void the_verifier_sees_a_result_of_another_shape(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, ROWS), y;
    graft_graph_node(g, &scale, &(scale_attr){2}, &x, 1, &y);
    assert_int_equal(graft_graph_check(g, NULL), 0);
    graft_graph_value_mut(g, y)->dtype = GRAFT_BF16;
    assert_int_equal(graft_graph_check(g, NULL), 0);
    graft_graph_value_mut(g, y)->shape.dims[1] = 4;
    assert_int_equal(graft_graph_check(g, NULL), GRAFT_EINTERNAL);
}

static void the_verifier_sees_a_value_assigned_twice(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, MATRIX), s = graft_graph_state(g, "s", MATRIX);
    graft_graph_assign(g, s, x);
    assert_int_equal(graft_graph_check(g, NULL), 0);
    graft_graph_assign(g, s, x);
    assert_int_equal(graft_graph_check(g, NULL), GRAFT_EINTERNAL);
}

static void a_printed_graph_shows_names_shapes_and_marks(void **state) {
    graft_graph *g = graft_graph_new(*state);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, ROWS), w = graft_graph_param(g, "w", NULL, MATRIX),
                y;
    graft_graph_value_mut(g, w)->trained = true;
    graft_graph_scope(g, "fc");
    graft_graph_node(g, &scale, &(scale_attr){2}, (graft_value[]){x, w, GRAFT_NONE}, 3, &y);
    graft_graph_output(g, "out", y);
    graft_buf out;
    graft_buf_init(&out, 0);
    graft_graph_print(g, &out);
    assert_string_equal(out.data, "input  x F32 [N, 3]\nparam  w F32 [2, 3] trained\n"
                                  "%2 F32 [N, 3] = scale(x, w, -)  # fc\noutput out = %2\n");
    graft_buf_done(&out);
}

static void a_folded_source_is_the_convolution_followed_by_the_norm(void **state) {
    (void)state;
    float w[4] = {1, -2, 3, 4}, b[2] = {0.5F, -1}, g[2] = {2, 3}, beta[2] = {0.25F, -0.5F}, m[2] = {1, -2},
          v[2] = {0.75F, 8.75F};
    graft_tensor tw = {.dtype = GRAFT_F32, .shape = {2, {2, 2}}, .data = w, .size = sizeof w};
    graft_tensor t[5];
    const float *data[5] = {b, g, beta, m, v};
    for (int i = 0; i < 5; i++)
        t[i] = (graft_tensor){.dtype = GRAFT_F32, .shape = {1, {2}}, .data = data[i], .size = 8};
    graft_source s = {
        .tensor = &tw, .gamma = &t[1], .beta = &t[2], .mean = &t[3], .variance = &t[4], .eps = 0.25};
    float folded[4], bias[2];
    assert_int_equal(graft_source_read(&s, &tw.shape, folded, NULL), 0);
    s.tensor = &t[0];
    s.is_bias = true;
    assert_int_equal(graft_source_read(&s, &t[0].shape, bias, NULL), 0);
    for (int o = 0; o < 2; o++) {
        double x[2] = {0.3, -1.7};
        double conv = (double)w[2 * o] * x[0] + (double)w[2 * o + 1] * x[1] + (double)b[o];
        double norm = ((double)g[o] * (conv - (double)m[o])) / sqrt((double)v[o] + 0.25) + (double)beta[o];
        double one = (double)folded[2 * o] * x[0] + (double)folded[2 * o + 1] * x[1] + (double)bias[o];
        assert_true(fabs(one - norm) < 1e-6);
    }
    s.tensor = NULL;
    assert_int_equal(graft_source_read(&s, &t[0].shape, bias, NULL), 0);
    assert_true(fabs((double)bias[0] - (0.25 - 2.0)) < 1e-6);
    s.mean = &tw;
    assert_int_equal(graft_source_read(&s, &t[0].shape, bias, NULL), GRAFT_ESHAPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nodes_and_values_are_found_where_they_were_put, setup, teardown),
        cmocka_unit_test_setup_teardown(the_first_error_is_kept_with_the_name_of_its_node, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_unique, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tensor_of_another_shape_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(only_parameters_and_states_are_assigned, setup, teardown),
        cmocka_unit_test_setup_teardown(the_verifier_sees_a_result_of_another_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(the_verifier_sees_a_value_assigned_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_printed_graph_shows_names_shapes_and_marks, setup, teardown),
        cmocka_unit_test(a_folded_source_is_the_convolution_followed_by_the_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
