/* Where a graph is split into what is kept and what is trained. */
#include "graph/op.h"
#include "support/small_net.h"
#include "transfer/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* logits = frozen(x) + trained(of), where `of` is x itself, as of an adapter beside the first layer, or what
 * was computed of it. */
static graft_graph *branches_new(graft_arena *arena, bool beside_the_first) {
    enum { K = 4 };
    graft_graph *g = graft_graph_new(arena);
    const graft_shape square = {2, {K, K}};
    graft_value x = graft_graph_input(g, "pixel_values", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, K}});
    graft_value frozen = graft_linear(g, x, graft_graph_param(g, "frozen", NULL, square), GRAFT_NONE);
    graft_value trained = graft_graph_param(g, "trained", NULL, square);
    graft_value y = graft_linear(g, beside_the_first ? x : frozen, trained, GRAFT_NONE);
    graft_graph_output(g, "logits", graft_add(g, frozen, y, 0));
    small_net_mark(g, "trained", false);
    assert_int_equal(graft_graph_end(g, NULL), 0);
    return g;
}

static void split(graft_arena *arena, const graft_graph *g, int64_t longest, bool has_prefix) {
    graft_prefix *prefix = NULL;
    graft_graph *suffix = NULL;
    graft_env *env = NULL;
    graft_err err = {0};
    assert_int_equal(graft_env_new(&env, NULL, &err), 0);
    if (graft_prefix_split(&prefix, &suffix, arena, env, g, GRAFT_PRECISION_FP32, 0, longest, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(prefix != NULL, has_prefix);
    assert_int_equal(graft_graph_find(suffix, "boundary.0") != GRAFT_NONE, has_prefix);
    graft_prefix_free(prefix);
    graft_env_free(env);
}

static void what_is_frozen_is_kept(void **state) {
    graft_arena *arena = graft_arena_new(NULL);
    (void)state;
    split(arena, branches_new(arena, false), 0, true);
    graft_arena_free(arena);
}

/* Rows stand in the pictures' place, so that an adapter beside the first layer had read whatever lay in
 * memory. */
static void nothing_is_kept_where_pictures_are_read_beside_it(void **state) {
    graft_arena *arena = graft_arena_new(NULL);
    (void)state;
    split(arena, branches_new(arena, true), 0, false);
    graft_arena_free(arena);
}

/* What drops is fed a seed, which is no sample. */
static void a_seed_beside_it_is_none_of_the_pictures(void **state) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = branches_new(arena, false);
    const graft_output *outputs;
    graft_graph_outputs(g, &outputs);
    graft_value seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    graft_graph_output(g, "dropped", graft_dropout(g, outputs[0].value, seed, 0.5));
    (void)state;
    split(arena, g, 0, true);
    graft_arena_free(arena);
}

/* A text's tokens come along with its rows. */
static void texts_are_read_beside_what_is_kept(void **state) {
    graft_arena *arena = graft_arena_new(NULL);
    (void)state;
    split(arena, branches_new(arena, true), 16, true);
    graft_arena_free(arena);
}

/* A row a text through a linear layer, which sees the first tokens alone, or all of them before the pooling.
 */
static graft_hash key_of(graft_arena *arena, bool pools_first) {
    enum { K = 4, LONGEST = 16 };
    graft_graph *g = graft_graph_new(arena);
    graft_prefix *prefix = NULL;
    graft_env *env = NULL;
    graft_err err = {0};
    graft_value x = graft_graph_input(g, "tokens", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, K}}),
                spans = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    if (pools_first) x = graft_span_pool(g, x, spans, GRAFT_SPAN_FIRST);
    x = graft_linear(g, x, graft_graph_param(g, "w", NULL, (graft_shape){2, {K, K}}), GRAFT_NONE);
    x = graft_span_pool(g, x, spans, pools_first ? GRAFT_SPAN_PRESENT : GRAFT_SPAN_FIRST);
    graft_graph_output(g, "features", x);
    assert_int_equal(graft_graph_end(g, NULL), 0);
    assert_int_equal(graft_env_new(&env, NULL, &err), 0);
    if (graft_prefix_of_values(&prefix, env, g, &x, 1, GRAFT_PRECISION_FP32, LONGEST, &err) < 0)
        fail_msg("%s", err.message);
    const graft_hash key = prefix->hash;
    graft_prefix_free(prefix);
    graft_env_free(env);
    return key;
}

/* So that what a row would have been by other sums is not taken for it. */
static void a_key_says_which_rows_are_computed(void **state) {
    graft_arena *arena = graft_arena_new(NULL);
    (void)state;
    assert_true(graft_hash_equal(key_of(arena, true), key_of(arena, false)));
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_frozen_is_kept),
        cmocka_unit_test(nothing_is_kept_where_pictures_are_read_beside_it),
        cmocka_unit_test(a_seed_beside_it_is_none_of_the_pictures),
        cmocka_unit_test(texts_are_read_beside_what_is_kept),
        cmocka_unit_test(a_key_says_which_rows_are_computed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
