/* The layers before a pooling of one token are computed for it alone: same answers, same gradients, fewer
 * rows; and nothing changes where other tokens are read too. */
#include "graph/op.h"
#include "support/small_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { WIDTH = 12, INNER = 20, SAMPLES = 4, TOKENS = 21, CLASSES = 3, N_PARAMS = 12 };

/* Two texts, an absent one, a third; the last four tokens are padding. */
static const double spans[2 * SAMPLES] = {0, 9, 9, 1, 10, 0, 10, 7};
static const double weights[SAMPLES] = {0.5, 0.25, 0, 0.25};

static int setup(void **state) {
    *state = graft_arena_new(NULL);
    return *state ? 0 : -1;
}
static int teardown(void **state) {
    graft_arena_free(*state);
    return 0;
}

static const struct {
    const char *name;
    graft_shape shape;
} params[N_PARAMS] = {
    {"q", {2, {WIDTH, WIDTH}}},  {"k", {2, {WIDTH, WIDTH}}},      {"v", {2, {WIDTH, WIDTH}}},
    {"o", {2, {WIDTH, WIDTH}}},  {"o.b", {1, {WIDTH}}},           {"gamma", {1, {WIDTH}}},
    {"up", {2, {INNER, WIDTH}}}, {"up.b", {1, {INNER}}},          {"down", {2, {WIDTH, INNER}}},
    {"gamma2", {1, {WIDTH}}},    {"head", {2, {CLASSES, WIDTH}}}, {"q2", {2, {WIDTH, WIDTH}}},
};

typedef struct layer {
    graft_arena *arena;
    graft_graph *g;
    graft_value p[N_PARAMS], spans, seed;
} layer;

static layer begin(graft_arena *arena) {
    layer l = {.arena = arena, .g = graft_graph_new(arena)};
    for (size_t i = 0; i < N_PARAMS; i++) {
        int64_t n;
        assert_true(graft_shape_count(&params[i].shape, &n));
        const double *wide = small_net_random(arena, n, -0.6, 0.6, 40 + i);
        float *data = graft_arena_array(arena, (size_t)n, sizeof *data);
        graft_tensor *t = graft_arena_alloc(arena, sizeof *t);
        assert_true(data && t);
        for (int64_t k = 0; k < n; k++) data[k] = (float)wide[k];
        *t =
            (graft_tensor){.dtype = GRAFT_F32, .shape = params[i].shape, .data = data, .size = (size_t)n * 4};
        l.p[i] = graft_graph_param(l.g, params[i].name, t, t->shape);
        graft_graph_value_mut(l.g, l.p[i])->trained = true;
    }
    l.spans = graft_graph_input(l.g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    l.seed = graft_graph_input(l.g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    return l;
}

static graft_value of(const layer *l, const char *name) {
    for (size_t i = 0; i < N_PARAMS; i++)
        if (strcmp(params[i].name, name) == 0) return l->p[i];
    fail_msg("no parameter %s", name);
    return GRAFT_NONE;
}

/* A layer of a transformer over x (T,WIDTH), each branch a path that may be dropped. */
static graft_value transformer(const layer *l, graft_value x, bool causal) {
    graft_graph *g = l->g;
    const graft_attention_attr a = {.heads = 3, .causal = causal, .scale = 0.5, .p = 0.2};
    graft_value q = graft_linear(g, x, of(l, "q"), GRAFT_NONE);
    q = graft_add(g, q, graft_scale(g, graft_linear(g, x, of(l, "q2"), GRAFT_NONE), 2), 0);
    graft_value y = graft_attention(g, q, graft_linear(g, x, of(l, "k"), GRAFT_NONE),
                                    graft_linear(g, x, of(l, "v"), GRAFT_NONE), l->spans, l->seed, a);
    y = graft_drop_path(g, graft_linear(g, y, of(l, "o"), of(l, "o.b")), l->seed, l->spans, 0.3);
    x = graft_layer_norm(g, graft_add(g, y, x, 0), of(l, "gamma"), GRAFT_NONE, 1e-5);
    y = graft_linear(g, graft_gelu(g, graft_linear(g, x, of(l, "up"), of(l, "up.b"))), of(l, "down"),
                     GRAFT_NONE);
    return graft_layer_norm(g, graft_add(g, y, x, 0), of(l, "gamma2"), GRAFT_NONE, 1e-5);
}

static graft_value input_rows(const layer *l) {
    return graft_graph_input(l->g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, WIDTH}});
}

static void end(const layer *l, graft_value pooled) {
    graft_value logits = graft_linear(l->g, pooled, of(l, "head"), GRAFT_NONE);
    graft_graph_output(l->g, "pooled", pooled);
    graft_graph_output(l->g, "logits", logits);
}

static graft_graph *choose(graft_arena *arena, const graft_graph *g) {
    graft_graph *out = NULL;
    graft_err err = {0};
    if (graft_graph_choose_rows(&out, arena, g, &err) < 0) fail_msg("%s", err.message);
    return out;
}

/* Adds loss and gradients as outputs. */
static void add_gradients(graft_arena *arena, graft_graph *g) {
    graft_value wrt[N_PARAMS], grads[N_PARAMS];
    graft_err err = {0};
    graft_value target =
                    graft_graph_input(g, "target", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, CLASSES}}),
                weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value loss = graft_cross_entropy(g, graft_graph_find(g, "logits"), target, weight);
    for (size_t i = 0; i < N_PARAMS; i++) wrt[i] = graft_graph_find(g, params[i].name);
    if (graft_graph_grad(g, loss, wrt, N_PARAMS, grads, &err) < 0) fail_msg("%s", err.message);
    for (size_t i = 0; i < N_PARAMS; i++)
        graft_graph_output(g, graft_arena_printf(arena, "d %s", params[i].name), grads[i]);
}

static evaluation run(graft_arena *arena, const graft_graph *g) {
    static const double seed[] = {12345, 678};
    const evaluate_binding bindings[] = {
        {"x", small_net_random(arena, (int64_t)TOKENS * WIDTH, -1, 1, 7)},
        {"spans", spans},
        {"seed", seed},
        {"target", small_net_random(arena, (int64_t)SAMPLES * CLASSES, 0, 1, 8)},
        {"weight", weights},
    };
    return evaluate_tokens(arena, g, SAMPLES, TOKENS, bindings, GRAFT_COUNT(bindings));
}

static void expect_equal(const evaluation *a, const graft_graph *ga, const evaluation *b,
                         const graft_graph *gb, const char *name) {
    int64_t n, m;
    const double *x = evaluation_of(a, ga, name, &n), *y = evaluation_of(b, gb, name, &m);
    assert_int_equal(n, m);
    if (evaluate_difference(x, y, n) > 1e-12) fail_msg("%s: %g apart", name, evaluate_difference(x, y, n));
}

static int64_t rows_of(const graft_graph *g, graft_value v) {
    return graft_graph_value(g, v)->shape.dims[0];
}

static void check_equal(graft_arena *arena, int32_t kind, bool causal) {
    layer l = begin(arena);
    end(&l, graft_span_pool(l.g, transformer(&l, input_rows(&l), causal), l.spans, kind));
    graft_graph *g = choose(arena, l.g);
    size_t linears = 0, whole = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        assert_ptr_not_equal(n->op, &graft_op_attention);
        if (n->op != &graft_op_linear) continue;
        linears++;
        whole += rows_of(g, n->out[0]) == GRAFT_DIM_TOKENS;
    }
    assert_int_equal(linears, 8);
    assert_int_equal(whole, 2); /* keys and values */
    add_gradients(arena, l.g);
    add_gradients(arena, g);
    evaluation before = run(arena, l.g), after = run(arena, g);
    expect_equal(&before, l.g, &after, g, "pooled");
    expect_equal(&before, l.g, &after, g, "logits");
    for (size_t i = 0; i < N_PARAMS; i++)
        expect_equal(&before, l.g, &after, g, graft_arena_printf(arena, "d %s", params[i].name));
}

static void the_first_token_alone_gives_the_same_answers_and_gradients(void **state) {
    check_equal(*state, GRAFT_SPAN_FIRST, false);
}
static void so_does_the_last(void **state) {
    check_equal(*state, GRAFT_SPAN_LAST, false);
}
static void and_where_attention_looks_back_alone(void **state) {
    check_equal(*state, GRAFT_SPAN_LAST, true);
    check_equal(*state, GRAFT_SPAN_FIRST, true);
}

static bool is_unchanged(graft_arena *arena, const graft_graph *g) {
    const graft_graph *after = choose(arena, g);
    const size_t n = graft_graph_n_nodes(g);
    bool same = graft_graph_n_nodes(after) == n;
    for (size_t i = 0; same && i < n; i++) {
        const graft_node *a = graft_graph_node_at(g, i), *b = graft_graph_node_at(after, i);
        same = a->op == b->op && rows_of(g, a->out[0]) == rows_of(after, b->out[0]);
    }
    return same;
}

static void means_need_every_token(void **state) {
    layer l = begin(*state);
    end(&l, graft_span_pool(l.g, transformer(&l, input_rows(&l), false), l.spans, GRAFT_SPAN_MEAN));
    assert_true(is_unchanged(*state, l.g));
}

static void so_do_two_tokens_and_outputs_of_all(void **state) {
    layer l = begin(*state), m = begin(*state);
    graft_value x = transformer(&l, input_rows(&l), false), y = transformer(&m, input_rows(&m), false);
    end(&l, graft_add(l.g, graft_span_pool(l.g, x, l.spans, GRAFT_SPAN_FIRST),
                      graft_span_pool(l.g, x, l.spans, GRAFT_SPAN_LAST), 0));
    assert_true(is_unchanged(*state, l.g));
    end(&m, graft_span_pool(m.g, y, m.spans, GRAFT_SPAN_FIRST));
    graft_graph_output(m.g, "tokens", y);
    assert_true(is_unchanged(*state, m.g));
}

static void inference_drops_nothing_whichever_pass_comes_first(void **state) {
    layer l = begin(*state);
    graft_graph *still = NULL, *late = NULL;
    end(&l, graft_span_pool(l.g, transformer(&l, input_rows(&l), true), l.spans, GRAFT_SPAN_LAST));
    assert_int_equal(graft_graph_without_dropout(&still, *state, l.g, NULL), 0);
    assert_int_equal(graft_graph_without_dropout(&late, *state, choose(*state, l.g), NULL), 0);
    graft_graph *early = choose(*state, still);
    evaluation a = run(*state, still), b = run(*state, late), c = run(*state, early);
    expect_equal(&a, still, &b, late, "logits");
    expect_equal(&a, still, &c, early, "logits");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_token_alone_gives_the_same_answers_and_gradients, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(so_does_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(and_where_attention_looks_back_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(means_need_every_token, setup, teardown),
        cmocka_unit_test_setup_teardown(so_do_two_tokens_and_outputs_of_all, setup, teardown),
        cmocka_unit_test_setup_teardown(inference_drops_nothing_whichever_pass_comes_first, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
