/* Parts of a graph, what the marks mean, and the key of a graph. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/evaluate.h"
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

static const graft_node *node_named(const graft_graph *g, const char *name, size_t *index) {
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        if (strcmp(n->name, name) != 0) continue;
        if (index) *index = i;
        return n;
    }
    fail_msg("no node '%s'", name);
    return NULL;
}

static graft_graph *extract(graft_arena *arena, const graft_graph *g, const graft_value *in,
                            const char *const *names, size_t n_in, const graft_output *outputs,
                            size_t n_outputs) {
    graft_graph *part = NULL;
    graft_err err = {0};
    if (graft_graph_extract(&part, arena, g, in, names, n_in, outputs, n_outputs, &err) < 0)
        fail_msg("%s", err.message);
    return part;
}

static void prefix_then_suffix_equals_the_whole(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_mark(g, "layer2", true);
    small_net_mark(g, "fc", true);
    graft_plan plan;
    assert_int_equal(graft_plan_derive(&plan, *state, g, NULL), 0);
    assert_int_equal(plan.n_boundary, 1);
    graft_value cut = plan.boundary[0];
    graft_graph *prefix = extract(*state, g, NULL, NULL, 0, &(graft_output){"boundary", cut}, 1);
    graft_output logits = {"logits", graft_graph_find(g, "logits")};
    graft_graph *suffix = extract(*state, g, &cut, (const char *const[]){"boundary"}, 1, &logits, 1);
    assert_int_equal(graft_graph_n_nodes(prefix), plan.n_prefix);
    assert_int_equal(graft_graph_n_nodes(suffix), plan.n_suffix);
    assert_int_equal(graft_graph_find(suffix, "x"), GRAFT_NONE);
    assert_int_equal(graft_graph_find(suffix, "layer1.0.conv1.weight"), GRAFT_NONE);
    assert_true(graft_graph_value(suffix, graft_graph_find(suffix, "fc.weight"))->trained);

    evaluate_binding x = {"x", small_net_random(*state, BATCH * PICTURE, -1, 1, 1)};
    evaluation whole = evaluate(*state, g, BATCH, &x, 1), first = evaluate(*state, prefix, BATCH, &x, 1);
    evaluate_binding boundary = {"boundary", evaluation_of(&first, prefix, "boundary", NULL)};
    evaluation second = evaluate(*state, suffix, BATCH, &boundary, 1);
    int64_t count;
    const double *expected = evaluation_of(&whole, g, "logits", &count);
    assert_int_equal(count, BATCH * SMALL_NET_CLASSES);
    assert_memory_equal(evaluation_of(&second, suffix, "logits", NULL), expected,
                        (size_t)count * sizeof *expected);
}

static void an_extract_keeps_the_running_statistics_of_its_norms(void **state) {
    graft_graph *g = small_net_new(*state), *trained = NULL;
    small_net_mark(g, "layer", true);
    assert_int_equal(graft_graph_train_norms(&trained, *state, g, NULL), 0);
    assert_int_equal(graft_graph_assigns(trained, NULL), 10);
    graft_value cut = node_named(trained, "layer1.0", NULL)->out[0];
    size_t add;
    node_named(trained, "layer1.0", &add);
    cut = graft_graph_node_at(trained, add + 1)->out[0];
    graft_output features = {"features", graft_graph_find(trained, "features")};
    graft_graph *suffix = extract(*state, trained, &cut, (const char *const[]){"cut"}, 1, &features, 1);
    const graft_assign *assigns;
    assert_int_equal(graft_graph_assigns(suffix, &assigns), 6);
    for (int i = 0; i < 6; i++)
        assert_non_null(strstr(graft_graph_value(suffix, assigns[i].target)->name, "layer2.0"));
}

static void without_marks_everything_is_prefix(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_plan plan;
    assert_int_equal(graft_plan_derive(&plan, *state, g, NULL), 0);
    assert_int_equal(plan.n_suffix, 0);
    assert_int_equal(plan.n_prefix, graft_graph_n_nodes(g));
    assert_int_equal(plan.n_boundary, 2);
    assert_int_equal(plan.boundary[0], graft_graph_find(g, "features"));
    assert_int_equal(plan.boundary[1], graft_graph_find(g, "logits"));
}

static void everything_after_a_trained_weight_is_suffix(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_mark(g, "conv1.weight", false);
    graft_plan plan;
    assert_int_equal(graft_plan_derive(&plan, *state, g, NULL), 0);
    assert_int_equal(plan.n_prefix, 0);
    assert_int_equal(plan.n_boundary, 1);
    assert_int_equal(plan.boundary[0], graft_graph_find(g, "x"));
}

static void a_projection_alone_trained_splits_its_block(void **state) {
    graft_graph *g = small_net_new(*state);
    small_net_mark(g, "layer2.0.downsample.0", false);
    graft_plan plan;
    assert_int_equal(graft_plan_derive(&plan, *state, g, NULL), 0);
    size_t conv2, projection;
    node_named(g, "layer2.0.conv2", &conv2);
    node_named(g, "layer2.0.downsample.0", &projection);
    assert_true(plan.prefix[conv2]);
    assert_false(plan.prefix[projection]);
    assert_int_equal(plan.n_boundary, 2); /* what the projection reads and what it is added to */
}

static graft_hash key(const graft_graph *g) {
    graft_hash h;
    assert_int_equal(graft_graph_hash(g, &h, NULL), 0);
    return h;
}

static void equal_graphs_have_equal_keys_wherever_they_lie(void **state) {
    graft_arena *other = graft_arena_new(NULL);
    graft_graph *a = small_net_new(*state);
    assert_non_null(graft_arena_alloc(other, 12345));
    graft_graph *b = small_net_new(other);
    assert_true(graft_hash_equal(key(a), key(b)));
    graft_output all[2] = {{"features", graft_graph_find(a, "features")},
                           {"logits", graft_graph_find(a, "logits")}};
    assert_true(graft_hash_equal(key(a), key(extract(other, a, NULL, NULL, 0, all, 2))));
    graft_arena_free(other);
}

static void a_key_changes_with_a_weight_an_attribute_and_an_output(void **state) {
    graft_graph *g = small_net_new(*state);
    graft_hash before = key(g);
    float *w = (float *)(uintptr_t)graft_graph_value(g, graft_graph_find(g, "layer1.0.conv2.weight"))
                   ->source.tensor->data;
    float kept = w[5];
    w[5] += 1e-6F;
    assert_false(graft_hash_equal(key(g), before));
    w[5] = kept;
    assert_true(graft_hash_equal(key(g), before));
    graft_norm_attr *a = (graft_norm_attr *)(uintptr_t)node_named(g, "bn1", NULL)->attr;
    a->eps = 1e-3;
    assert_false(graft_hash_equal(key(g), before));
    a->eps = 1e-5;
    assert_true(graft_hash_equal(key(g), before));
    graft_graph_output(g, "more", node_named(g, "conv1", NULL)->out[0]);
    assert_false(graft_hash_equal(key(g), before));
}

static void a_key_does_not_depend_on_names_of_parameters(void **state) {
    graft_hash keys[2];
    const char *names[2] = {"fc.weight", "classifier.weight"};
    for (int i = 0; i < 2; i++) {
        graft_graph *g = graft_graph_new(*state);
        graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
        graft_value w = graft_graph_param(g, names[i], NULL, (graft_shape){2, {3, 2}});
        graft_graph_output(g, "y", graft_linear(g, x, w, GRAFT_NONE));
        keys[i] = key(g);
    }
    assert_true(graft_hash_equal(keys[0], keys[1]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prefix_then_suffix_equals_the_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(an_extract_keeps_the_running_statistics_of_its_norms, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_marks_everything_is_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_after_a_trained_weight_is_suffix, setup, teardown),
        cmocka_unit_test_setup_teardown(a_projection_alone_trained_splits_its_block, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_graphs_have_equal_keys_wherever_they_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_changes_with_a_weight_an_attribute_and_an_output, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_key_does_not_depend_on_names_of_parameters, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
