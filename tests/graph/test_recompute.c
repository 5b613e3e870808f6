/* Recomputation gives the same bits and needs less at once. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 2, MOST = 64 };

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}
static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

/* Adds the gradient of "loss" and an update for every trained parameter. */
static size_t add_training(graft_graph *g) {
    graft_value wrt[MOST], gradients[MOST];
    size_t n = 0, n_forward = graft_graph_n_nodes(g);
    for (size_t v = 0; v < graft_graph_n_values(g); v++) {
        const graft_value_info *info = graft_graph_value(g, (graft_value)v);
        if (info->kind == GRAFT_PARAM && info->trained && !strstr(info->name, "running_"))
            wrt[n++] = (graft_value)v;
    }
    graft_err err = {0};
    if (graft_graph_grad(g, graft_graph_find(g, "loss"), wrt, n, gradients, &err) < 0)
        fail_msg("%s", err.message);
    graft_value lr = graft_graph_input(g, "lr", GRAFT_F32, (graft_shape){1, {1}});
    for (size_t i = 0; i < n; i++)
        graft_sgd(g, wrt[i], gradients[i], lr, GRAFT_NONE, (graft_sgd_attr){.momentum = 0.9, .lr_scale = 1});
    return n_forward;
}

/* The largest sum of live results' bytes, with a batch of 256, over the nodes in order; views share the bytes
 * of what they show, and what only lends its shape or is read by nobody need not live. */
static int64_t peak(graft_arena *arena, const graft_graph *g) {
    size_t n_values = graft_graph_n_values(g), n_nodes = graft_graph_n_nodes(g);
    int64_t *bytes = graft_arena_array(arena, n_values, sizeof *bytes),
            *last = graft_arena_array(arena, n_values, sizeof *last);
    for (size_t i = n_nodes; i-- > 0;) {
        const graft_node *n = graft_graph_node_at(g, i);
        for (size_t o = 0; o < n->n_out; o++) {
            graft_shape s = graft_graph_value(g, n->out[o])->shape;
            for (int d = 0; d < s.rank; d++) s.dims[d] = s.dims[d] == GRAFT_DIM_BATCH ? 256 : s.dims[d];
            assert_true(graft_shape_count(&s, &bytes[n->out[o]]));
            bytes[n->out[o]] *=
                n->op->view ? 0 : (int64_t)graft_dtype_size(graft_graph_value(g, n->out[o])->dtype);
        }
        for (size_t k = 0; k < n->n_in; k++) {
            if (n->in[k] == GRAFT_NONE || n->op->shape_only >> k & 1) continue;
            int64_t reader = n->op->view && last[n->out[0]] > (int64_t)i ? last[n->out[0]] : (int64_t)i;
            if (last[n->in[k]] < reader) last[n->in[k]] = reader;
        }
    }
    int64_t most = 0;
    for (size_t i = 0; i < n_nodes; i++) {
        int64_t live = 0;
        for (size_t v = 0; v < n_values; v++) {
            const graft_value_info *info = graft_graph_value(g, (graft_value)v);
            if (info->kind == GRAFT_RESULT && (size_t)info->node <= i && last[v] >= (int64_t)i)
                live += bytes[v];
        }
        if (live > most) most = live;
    }
    return most;
}

static void assert_same_bits(graft_arena *arena, const graft_graph *a, const graft_graph *b,
                             const evaluate_binding *bindings, size_t n) {
    evaluation before = evaluate(arena, a, BATCH, bindings, n),
               after = evaluate(arena, b, BATCH, bindings, n);
    const graft_assign *first, *second;
    size_t n_assigns = graft_graph_assigns(a, &first);
    assert_int_equal(graft_graph_assigns(b, &second), n_assigns);
    for (size_t i = 0; i < n_assigns; i++) {
        assert_string_equal(graft_graph_value(a, first[i].target)->name,
                            graft_graph_value(b, second[i].target)->name);
        size_t size = (size_t)before.counts[first[i].value] * sizeof(double);
        assert_memory_equal(before.values[first[i].value], after.values[second[i].value], size);
    }
    int64_t count;
    const double *loss = evaluation_of(&before, a, "loss", &count);
    assert_true(*loss == *evaluation_of(&after, b, "loss", NULL) && *loss > 0);
}

static graft_graph *recompute(graft_arena *arena, const graft_graph *g, size_t n_forward, int n_segments) {
    graft_graph *out = NULL;
    graft_err err = {0};
    if (graft_graph_recompute(&out, arena, g, n_forward, n_segments, &err) < 0) fail_msg("%s", err.message);
    return out;
}

static void a_step_of_a_residual_network_is_the_same_to_the_bit(void **state) {
    graft_arena *arena = *state;
    graft_graph *g = small_net_new(arena), *t = NULL, *f = NULL;
    small_net_loss(g);
    small_net_mark(g, "", true);
    assert_int_equal(graft_graph_train_norms(&t, arena, g, NULL), 0);
    assert_int_equal(graft_graph_fuse_training(&f, arena, t, NULL), 0);
    graft_graph *forms[] = {t, f};
    evaluate_binding b[4];
    size_t n = small_net_bind(arena, BATCH, b);
    b[n++] = (evaluate_binding){"lr", (const double[]){0.1}};
    for (size_t i = 0; i < GRAFT_COUNT(forms); i++) {
        size_t n_forward = add_training(forms[i]);
        for (int n_segments = 2; n_segments <= 5; n_segments++) {
            graft_graph *again = recompute(arena, forms[i], n_forward, n_segments);
            assert_true(graft_graph_n_nodes(again) > graft_graph_n_nodes(forms[i]));
            if (n_segments < 5 - (int)i)
                assert_true(peak(arena, again) < peak(arena, forms[i])); /* so few nodes in 5: too many */
            assert_same_bits(arena, forms[i], again, b, n);
        }
    }
}

static graft_graph *deep_net(graft_arena *arena, int depth) {
    graft_graph *g = graft_graph_new(arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 8}});
    graft_value seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value h = x;
    for (int i = 0; i < depth; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        graft_value w = graft_graph_param(g, name, NULL, (graft_shape){2, {8, 8}});
        graft_graph_value_mut(g, w)->trained = true;
        graft_graph_scope(g, "%s", name);
        h = graft_dropout(g, graft_relu(g, graft_linear(g, h, w, GRAFT_NONE)), seed, 0.25);
    }
    graft_graph_output(g, "loss", graft_mse(g, h, x, weight));
    return g;
}

static void dropout_and_depth_are_the_same_to_the_bit_with_a_third_of_the_memory(void **state) {
    graft_arena *arena = *state;
    enum { DEPTH = 36 };
    graft_graph *g = deep_net(arena, DEPTH);
    size_t n_forward = add_training(g);
    graft_graph *again = recompute(arena, g, n_forward, 6);
    evaluate_binding b[4 + DEPTH] = {{"x", small_net_random(arena, BATCH * 8, 0, 1, 1)},
                                     {"seed", (const double[]){3, 4}},
                                     {"weight", small_net_random(arena, BATCH, 0.1, 0.5, 3)},
                                     {"lr", (const double[]){0.1}}};
    char names[DEPTH][16];
    for (int i = 0; i < DEPTH; i++) {
        snprintf(names[i], sizeof names[i], "w%d", i);
        b[4 + i] = (evaluate_binding){names[i], small_net_random(arena, 64, 0, 0.3, 10 + (uint64_t)i)};
    }
    assert_same_bits(arena, g, again, b, GRAFT_COUNT(b));
    /* Updates are 8 x 8 matrices each and live to the end in this count only if somebody reads them: nobody
     * does. */
    assert_true(3 * peak(arena, again) < peak(arena, g));
}

static void copies_stand_right_before_their_first_reader(void **state) {
    graft_graph *g = deep_net(*state, 12);
    size_t n_forward = add_training(g);
    graft_graph *again = recompute(*state, g, n_forward, 3);
    size_t n_copies = 0, n_runs = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(again); i++) {
        const graft_node *n = graft_graph_node_at(again, i);
        bool is_copy = strncmp(n->name, "again ", 6) == 0;
        n_copies += is_copy;
        n_runs += is_copy && strncmp(graft_graph_node_at(again, i - 1)->name, "again ", 6) != 0;
        assert_true(!is_copy || i >= n_forward);
    }
    assert_int_equal(n_runs, 2); /* the last segment is never computed again */
    assert_true(n_copies > 12 && n_copies < 36);
}

static void one_segment_changes_nothing(void **state) {
    graft_graph *g = deep_net(*state, 4);
    size_t n_forward = add_training(g);
    graft_hash before, after;
    assert_int_equal(graft_graph_hash(g, &before, NULL), 0);
    assert_int_equal(graft_graph_hash(recompute(*state, g, n_forward, 1), &after, NULL), 0);
    assert_true(graft_hash_equal(before, after));
}

static void more_segments_than_nodes_are_no_mistake(void **state) {
    graft_graph *g = deep_net(*state, 2);
    size_t n_forward = add_training(g);
    assert_non_null(recompute(*state, g, n_forward, 1000));
    graft_graph *out;
    assert_int_equal(graft_graph_recompute(&out, *state, g, 10000, 2, NULL), GRAFT_EINTERNAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_step_of_a_residual_network_is_the_same_to_the_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(dropout_and_depth_are_the_same_to_the_bit_with_a_third_of_the_memory,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(copies_stand_right_before_their_first_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(one_segment_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(more_segments_than_nodes_are_no_mistake, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
