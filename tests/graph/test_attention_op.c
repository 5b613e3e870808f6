/* Attention over packed texts: its row against PyTorch's scaled_dot_product_attention and its gradients in
 * double precision (tests/parity/attention), and what its builder does. */
#include "golden_ops.h"

#include <stdio.h>
#include <string.h>

static const double *read(graft_arena *arena, const graft_tensors *tensors, const char *name,
                          const char *role, graft_shape *shape) {
    char full[128];
    int64_t count;
    snprintf(full, sizeof full, "%s/%s", name, role);
    const graft_tensor *tensor = graft_tensors_find(tensors, full);
    if (tensor == NULL) fail_msg("no %s", full);
    *shape = tensor->shape;
    return golden_values(arena, tensor, &count);
}

static const double *spans_of(graft_arena *arena, const json_t *list, size_t n) {
    double *out = graft_arena_array(arena, 2 * n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < 2 * n; i++)
        out[i] = json_number_value(json_array_get(json_array_get(list, i / 2), i % 2));
    return out;
}

static void check_case(graft_arena *arena, const graft_tensors *tensors, const json_t *one) {
    static const char *const inputs[] = {"q", "k", "v", "dy"}, *const grads[] = {"dq", "dk", "dv"};
    const char *name = json_string_value(json_object_get(one, "name"));
    const json_t *list = json_object_get(one, "spans");
    size_t n = json_array_size(list);
    graft_graph *g = graft_graph_new(arena);
    evaluate_binding bindings[5];
    graft_value in[4], din[5];
    graft_shape shape;
    for (size_t i = 0; i < 4; i++) {
        bindings[i] = (evaluate_binding){inputs[i], read(arena, tensors, name, inputs[i], &shape)};
        in[i] = graft_graph_input(g, inputs[i], GRAFT_F32, shape);
    }
    bindings[4] = (evaluate_binding){"spans", spans_of(arena, list, n)};
    graft_value spans = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {(int64_t)n, 2}});
    graft_attention_attr a = {.heads = json_integer_value(json_object_get(one, "heads")),
                              .causal = json_is_true(json_object_get(one, "causal")),
                              .scale = json_number_value(json_object_get(one, "scale"))};
    graft_value y = graft_attention(g, in[0], in[1], in[2], spans, GRAFT_NONE, a);
    graft_node node = *graft_graph_node_at(g, 0);
    const graft_value dout[4] = {in[3], GRAFT_NONE, GRAFT_NONE, GRAFT_NONE};
    node.op->grad(g, &node, dout, (const bool[5]){true, true, true}, din);
    graft_err err = {0};
    if (graft_graph_end(g, &err) < 0) fail_msg("%s: %s", name, err.message);
    evaluation e = evaluate(arena, g, 1, bindings, 5);
    for (size_t i = 0; i < 4; i++) {
        graft_value ours = i < 3 ? din[i] : y;
        const char *role = i < 3 ? grads[i] : "y";
        double difference =
            evaluate_difference(e.values[ours], read(arena, tensors, name, role, &shape), e.counts[ours]);
        if (!(difference <= 5e-7)) fail_msg("%s: %s differs by %.3g", name, role, difference);
    }
}

static void values_and_gradients_are_those_of_pytorch(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors tensors;
    const json_t *cases = golden_cases(arena, "tests/parity/attention/attention", &tensors);
    assert_true(json_array_size(cases) >= 6);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(arena, &tensors, json_array_get(cases, i));
    graft_arena_free(arena);
}

typedef struct bad_call {
    graft_shape q, v, spans;
    graft_attention_attr attr;
    const char *message; /* a part of it */
} bad_call;

static void what_does_not_fit_is_said(void **state) {
    (void)state;
    const graft_shape rows = {2, {9, 8}}, spans = {2, {2, 2}};
    const bad_call calls[] = {
        {rows, rows, spans, {.heads = 3, .scale = 1}, "3 heads do not divide D: q [9, 8]"},
        {rows, rows, spans, {.heads = 0, .scale = 1}, "0 heads do not divide"},
        {rows, {2, {8, 8}}, spans, {.heads = 2, .scale = 1}, "q, k and v must be one (T,D)"},
        {{1, {9}}, {1, {9}}, spans, {.heads = 1, .scale = 1}, "q, k and v must be one (T,D)"},
        {rows, rows, {2, {2, 3}}, {.heads = 2, .scale = 1}, "spans must be (N,2)"},
        {rows, rows, spans, {.heads = 2}, "scale is 0"},
        {rows, rows, spans, {.heads = 2, .scale = 1, .p = 1}, "p is 1"},
        {rows, rows, spans, {.heads = 2, .scale = 1, .p = 0.5}, "dropout needs a seed"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(calls); i++) {
        graft_arena *arena = graft_arena_new(NULL);
        graft_graph *g = graft_graph_new(arena);
        graft_value q = graft_graph_input(g, "q", GRAFT_F32, calls[i].q);
        graft_value v = graft_graph_input(g, "v", GRAFT_F32, calls[i].v);
        graft_value s = graft_graph_input(g, "spans", GRAFT_I32, calls[i].spans);
        graft_attention(g, q, q, v, s, GRAFT_NONE, calls[i].attr);
        graft_err err = {0};
        assert_true(graft_graph_end(g, &err) < 0);
        if (!strstr(err.message, calls[i].message))
            fail_msg("says '%s', not '%s'", err.message, calls[i].message);
        graft_arena_free(arena);
    }
}

static void open_dims_pass_and_salts_differ(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = graft_graph_new(arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, 8}});
    graft_value spans = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    graft_value seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    graft_attention_attr a = {.heads = 2, .scale = 0.5, .p = 0.1};
    graft_value y = graft_attention(g, x, x, x, spans, seed, a);
    graft_value z = graft_dropout(g, graft_attention(g, y, y, y, spans, seed, a), seed, 0.1);
    graft_err err = {0};
    if (graft_graph_end(g, &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(graft_graph_value(g, z)->shape.dims[0], GRAFT_DIM_TOKENS);
    const graft_attention_attr *first = graft_graph_node_at(g, 0)->attr,
                               *second = graft_graph_node_at(g, 1)->attr;
    const graft_dropout_attr *dropout = graft_graph_node_at(g, 2)->attr;
    assert_true(first->salt != second->salt);
    assert_true(dropout->salt != first->salt && dropout->salt != second->salt);
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_are_those_of_pytorch),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(open_dims_pass_and_salts_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
