/* Values that can be said in a line, and what the builders of ops add to a graph. */
#include "graph/op.h"

#include "graph/op/mix.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void max_pool_takes_the_first_of_equals(void **state) {
    (void)state;
    const graft_pool_attr a = {.kernel = {2, 2}, .stride = {2, 2}};
    const double x[8] = {1, 3, 5, 5, 3, 2, 5, 5};
    double y[2], index[2];
    graft_op_call call = {(const double *const[]){x},
                          &(const graft_shape){4, {1, 1, 2, 4}},
                          1,
                          (double *const[]){y, index},
                          (const graft_shape[]){{4, {1, 1, 1, 2}}, {4, {1, 1, 1, 2}}},
                          2,
                          &a};
    graft_op_max_pool2d.reference(&call);
    assert_true(y[0] == 3 && index[0] == 1);
    assert_true(y[1] == 5 && index[1] == 0);
}

static void average_counts_the_padding(void **state) {
    (void)state;
    const graft_pool_attr a = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}};
    const double x[1] = {18};
    double y[1];
    graft_op_call call = {(const double *const[]){x},
                          &(const graft_shape){4, {1, 1, 1, 1}},
                          1,
                          (double *const[]){y},
                          &(const graft_shape){4, {1, 1, 1, 1}},
                          1,
                          &a};
    graft_op_avg_pool2d.reference(&call);
    assert_true(y[0] == 2);
}

static void dropout_keeps_the_right_part_and_differs_by_seed_salt_and_sample(void **state) {
    (void)state;
    enum { N = 100000 };
    const int32_t seed[2] = {1, 2}, later[2] = {2, 2}, other[2] = {1, 3};
    const graft_dropout_key keys[] = {graft_dropout_key_of(seed, 0, 0), graft_dropout_key_of(later, 0, 0),
                                      graft_dropout_key_of(other, 0, 0), graft_dropout_key_of(seed, 1, 0),
                                      graft_dropout_key_of(seed, 0, 1)};
    uint32_t threshold = graft_dropout_threshold(0.3);
    for (size_t a = 0; a < GRAFT_COUNT(keys); a++) {
        for (size_t b = a; b < GRAFT_COUNT(keys); b++) {
            int both = 0;
            for (uint32_t i = 0; i < N; i++)
                both +=
                    graft_dropout_keeps(keys[a], i, threshold) && graft_dropout_keeps(keys[b], i, threshold);
            double expected = a == b ? 0.7 : 0.7 * 0.7, deviation = sqrt(expected * (1 - expected) / N);
            if (fabs((double)both / N - expected) > 4 * deviation)
                fail_msg("keys %zu and %zu keep %d of %d in common", a, b, both, N);
        }
    }
    int neighbours = 0; /* an element's fate says nothing of the next one's */
    for (uint32_t i = 0; i < N; i++)
        neighbours +=
            graft_dropout_keeps(keys[0], i, threshold) && graft_dropout_keeps(keys[0], i + 1, threshold);
    assert_true(fabs((double)neighbours / N - 0.49) < 4 * sqrt(0.49 * 0.51 / N));
    assert_true(graft_dropout_keeps(keys[0], 0, graft_dropout_threshold(0)));
}

static void dropout_scales_what_it_keeps_and_the_gradient_alike(void **state) {
    (void)state;
    const graft_dropout_attr a = {.p = 0.75};
    const graft_op *const ops[2] = {&graft_op_dropout, &graft_op_dropout_grad};
    const double seed[2] = {5, -6};
    double x[64], y[2][64];
    int n_kept = 0;
    for (int i = 0; i < 64; i++) x[i] = i + 1;
    for (int k = 0; k < 2; k++) {
        graft_op_call call = {(const double *const[]){x, seed},
                              (const graft_shape[]){{2, {2, 32}}, {1, {2}}},
                              2,
                              (double *const[]){y[k]},
                              &(const graft_shape){2, {2, 32}},
                              1,
                              &a};
        ops[k]->reference(&call);
    }
    for (int i = 0; i < 64; i++) {
        assert_true(y[0][i] == 0 || y[0][i] == 4 * x[i]);
        n_kept += y[0][i] != 0;
    }
    assert_in_range(n_kept, 4, 32);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
}

/* ---- Builders
 * ---------------------------------------------------------------------------------------------- */

static bool has_assign(const graft_graph *g, const char *target) {
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(g, &assigns);
    for (size_t i = 0; i < n; i++) {
        const char *name = graft_graph_value(g, assigns[i].target)->name;
        if (name != NULL && strcmp(name, target) == 0) return true;
    }
    return false;
}

static void optimisers_assign_the_parameter_and_their_states(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = graft_graph_new(arena);
    const graft_shape shape = {2, {3, 4}}, one = {1, {1}};
    graft_value p[3], dw = graft_graph_input(g, "dw", GRAFT_F32, shape);
    const char *const names[3] = {"p", "q", "r"};
    for (int i = 0; i < 3; i++) p[i] = graft_graph_param(g, names[i], NULL, shape);
    graft_value lr = graft_graph_input(g, "lr", GRAFT_F32, one),
                step = graft_graph_input(g, "step", GRAFT_F32, one);
    graft_value scale = graft_clip_scale(g, &dw, 1, 1.0);
    graft_sgd(g, p[0], dw, lr, GRAFT_NONE, (graft_sgd_attr){.lr_scale = 1});
    graft_sgd(g, p[1], dw, lr, scale, (graft_sgd_attr){.momentum = 0.9, .lr_scale = 1});
    graft_adam(g, p[2], dw, lr, step, scale,
               (graft_adam_attr){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .lr_scale = 1});
    graft_err err = {0};
    if (graft_graph_end(g, &err) < 0) fail_msg("%s", err.message);
    const char *const assigned[] = {"p", "q", "q/momentum", "r", "r/exp_avg", "r/exp_avg_sq"};
    const graft_assign *assigns;
    assert_int_equal(graft_graph_assigns(g, &assigns), GRAFT_COUNT(assigned));
    for (size_t i = 0; i < GRAFT_COUNT(assigned); i++) assert_true(has_assign(g, assigned[i]));
    assert_int_equal(graft_graph_find(g, "p/momentum"), GRAFT_NONE);
    graft_arena_free(arena);
}

static void batch_norm_train_assigns_the_running_statistics(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = graft_graph_new(arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){4, {GRAFT_DIM_BATCH, 5, 3, 3}}), v[4];
    const char *const names[4] = {"gamma", "beta", "mean", "var"};
    for (int i = 0; i < 4; i++) v[i] = graft_graph_param(g, names[i], NULL, (graft_shape){1, {5}});
    graft_value y = graft_batch_norm_train(g, x, v[0], v[1], v[2], v[3], (graft_norm_attr){1e-5, 0.1, 0});
    graft_err err = {0};
    if (graft_graph_end(g, &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(graft_graph_value(g, y)->shape.dims[0], GRAFT_DIM_BATCH);
    assert_true(has_assign(g, "mean") && has_assign(g, "var"));
    graft_arena_free(arena);
}

static void dropouts_of_one_graph_have_salts_of_their_own(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = graft_graph_new(arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 5}});
    graft_value seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    graft_dropout(g, graft_relu(g, graft_dropout(g, x, seed, 0.5)), seed, 0.5);
    assert_int_equal(graft_graph_end(g, NULL), 0);
    assert_int_equal(((const graft_dropout_attr *)graft_graph_node_at(g, 0)->attr)->salt, 0);
    assert_int_equal(((const graft_dropout_attr *)graft_graph_node_at(g, 2)->attr)->salt, 1);
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_pool_takes_the_first_of_equals),
        cmocka_unit_test(average_counts_the_padding),
        cmocka_unit_test(dropout_keeps_the_right_part_and_differs_by_seed_salt_and_sample),
        cmocka_unit_test(dropout_scales_what_it_keeps_and_the_gradient_alike),
        cmocka_unit_test(optimisers_assign_the_parameter_and_their_states),
        cmocka_unit_test(batch_norm_train_assigns_the_running_statistics),
        cmocka_unit_test(dropouts_of_one_graph_have_salts_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
