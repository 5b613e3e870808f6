/* Values and gradients of the ops of texts against PyTorch's in double precision (tests/parity/text_ops).
 * Both compute in double and the files hold float32, so what is left is the rounding of the files. */
#include "golden_ops.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ROLES = 8 };
static const double tolerance = 5e-7;

typedef struct golden {
    graft_arena *arena; /* of one case */
    const graft_tensors *tensors;
    const json_t *attrs;
    const char *name, *op;
    graft_graph *g;
    evaluate_binding bindings[MAX_ROLES];
    graft_value inputs[MAX_ROLES]; /* in the order of bindings */
    size_t n_bindings;
} golden;

static const graft_tensor *find(const golden *t, const char *role) {
    char name[128];
    snprintf(name, sizeof name, "%s/%s", t->name, role);
    return graft_tensors_find(t->tensors, name);
}

static const double *read(const golden *t, const char *role, int64_t *count) {
    const graft_tensor *tensor = find(t, role);
    if (tensor == NULL) fail_msg("%s has no %s", t->name, role);
    return golden_values(t->arena, tensor, count);
}

/* A tensor of the file as an input; NONE when the case has none. */
static graft_value given(golden *t, const char *role) {
    int64_t count;
    const graft_tensor *tensor = find(t, role);
    if (tensor == NULL) return GRAFT_NONE;
    assert_in_range(t->n_bindings, 0, MAX_ROLES - 1);
    t->bindings[t->n_bindings] = (evaluate_binding){role, read(t, role, &count)};
    t->inputs[t->n_bindings] = graft_graph_input(t->g, role, tensor->dtype, tensor->shape);
    return t->inputs[t->n_bindings++];
}

static bool is_op(const golden *t, const char *op) {
    return strcmp(t->op, op) == 0;
}

static int64_t number(const golden *t, const char *key) {
    return (int64_t)json_integer_value(json_object_get(t->attrs, key));
}

/* Which of `names` an attribute is. */
static int32_t choice(const golden *t, const char *key, const char *const *names, size_t n) {
    const char *value = json_string_value(json_object_get(t->attrs, key));
    for (size_t i = 0; i < n; i++)
        if (strcmp(value, names[i]) == 0) return (int32_t)i;
    fail_msg("%s: %s is unknown", t->name, value);
    return 0;
}

static graft_value build(golden *t) {
    static const char *const acts[] = {"none", "relu", "gelu", "gelu_tanh", "tanh", "quick_gelu", "silu"};
    static const char *const kinds[] = {"mean", "first", "last", "max"};
    graft_graph *g = t->g;
    if (is_op(t, "embedding")) return graft_embedding(g, given(t, "table"), given(t, "ids"));
    graft_value x = given(t, "x"), spans = given(t, "spans"), w = given(t, "w");
    if (is_op(t, "layer_norm")) {
        double eps = json_number_value(json_object_get(t->attrs, "eps"));
        return graft_layer_norm(g, x, given(t, "gamma"), given(t, "beta"), eps);
    }
    if (is_op(t, "activation")) return graft_activate(g, x, choice(t, "act", acts, GRAFT_COUNT(acts)));
    if (is_op(t, "linear_in_out")) return graft_linear_in_out(g, x, w, given(t, "b"));
    if (is_op(t, "columns")) return graft_columns(g, x, number(t, "first"), number(t, "count"));
    if (is_op(t, "span_pool"))
        return graft_span_pool(g, x, spans, choice(t, "kind", kinds, GRAFT_COUNT(kinds)));
    if (is_op(t, "unit_rows")) return graft_unit_rows(g, x);
    if (!is_op(t, "convolution")) fail_msg("%s is an op that nothing builds", t->op);
    x = graft_token_window(g, x, spans, (int32_t)number(t, "width"));
    return graft_linear(g, x, w, GRAFT_NONE);
}

/* What the rules of the nodes make of dy, from the last to the first: a case is a chain of nodes that read
 * the one before as their first input. grads[k] is that of the k-th input. */
static void add_gradients(golden *t, graft_value dy, graft_value *grads) {
    for (size_t i = graft_graph_n_nodes(t->g); i-- > 0;) {
        graft_node node = *graft_graph_node_at(t->g, i);
        const graft_value dout[GRAFT_MAX_RESULTS] = {dy, GRAFT_NONE, GRAFT_NONE, GRAFT_NONE};
        graft_value din[MAX_ROLES];
        bool wanted[MAX_ROLES] = {0};
        for (size_t k = 0; k < node.n_in; k++) {
            din[k] = GRAFT_NONE;
            wanted[k] = node.in[k] != GRAFT_NONE && graft_graph_value(t->g, node.in[k])->dtype == GRAFT_F32;
        }
        node.op->grad(t->g, &node, dout, wanted, din);
        for (size_t k = 0; k < node.n_in; k++) {
            for (size_t v = 0; v < t->n_bindings; v++)
                if (node.in[k] == t->inputs[v]) grads[v] = din[k];
        }
        dy = din[0];
    }
}

static void same(const golden *t, const evaluation *e, const char *role, graft_value ours) {
    int64_t count;
    const double *theirs = read(t, role, &count);
    assert_int_not_equal(ours, GRAFT_NONE);
    assert_int_equal(count, e->counts[ours]);
    double difference = evaluate_difference(e->values[ours], theirs, count);
    if (!(difference <= tolerance)) fail_msg("%s: %s differs by %.3g", t->name, role, difference);
}

static void check_case(golden *t, const json_t *gradients) {
    graft_value y = build(t), grads[MAX_ROLES];
    size_t n_inputs = t->n_bindings, n_checked = 0;
    graft_err err = {0};
    for (size_t v = 0; v < MAX_ROLES; v++) grads[v] = GRAFT_NONE;
    add_gradients(t, given(t, "dy"), grads);
    if (graft_graph_end(t->g, &err) < 0) fail_msg("%s: %s", t->name, err.message);
    evaluation e = evaluate(t->arena, t->g, 1, t->bindings, t->n_bindings);
    same(t, &e, "y", y);
    for (size_t i = 0; i < json_array_size(gradients); i++) {
        const char *role = json_string_value(json_array_get(gradients, i));
        for (size_t v = 0; v < n_inputs; v++) {
            if (strcmp(t->bindings[v].name, role + 1) != 0) continue;
            same(t, &e, role, grads[v]);
            n_checked++;
        }
    }
    assert_int_equal(n_checked, json_array_size(gradients));
}

static void values_and_gradients_are_those_of_pytorch(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors tensors;
    const json_t *cases = golden_cases(arena, "tests/parity/text_ops/text_ops", &tensors);
    assert_true(json_array_size(cases) >= 18);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        golden t = {.arena = graft_arena_new(arena),
                    .tensors = &tensors,
                    .attrs = json_object_get(one, "attrs"),
                    .name = json_string_value(json_object_get(one, "name")),
                    .op = json_string_value(json_object_get(one, "op"))};
        t.g = graft_graph_new(t.arena);
        check_case(&t, json_object_get(one, "gradients"));
        graft_arena_free(t.arena);
    }
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
