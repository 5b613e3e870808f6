/* Values and gradients of the ops' references against PyTorch's in double precision (tests/parity/ops), fused
 * forms too. Both compute in double and the files hold float32, so what is left is the rounding of the files.
 */
#include "golden_ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ROLES = 16 };
static const double tolerance = 5e-7;

typedef struct golden {
    graft_arena *arena; /* of one case */
    const graft_tensors *tensors;
    json_t *attrs;
    const char *name, *op;
    graft_graph *g;
    evaluate_binding bindings[MAX_ROLES];
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

static graft_value bind(golden *t, const char *role, graft_shape shape, const double *data) {
    assert_in_range(t->n_bindings, 0, MAX_ROLES - 1);
    t->bindings[t->n_bindings++] = (evaluate_binding){role, data};
    return graft_graph_param(t->g, role, NULL, shape);
}

/* A tensor of the file as a parameter; NONE when the case has none. */
static graft_value given(golden *t, const char *role) {
    int64_t count;
    const graft_tensor *tensor = find(t, role);
    return tensor == NULL ? GRAFT_NONE : bind(t, role, tensor->shape, read(t, role, &count));
}

static int64_t attribute(const golden *t, const char *key) {
    return (int64_t)json_integer_value(json_object_get(t->attrs, key));
}

static void pair(const golden *t, const char *key, int32_t out[2]) {
    const json_t *list = json_object_get(t->attrs, key);
    for (size_t i = 0; i < 2; i++) out[i] = (int32_t)json_integer_value(json_array_get(list, i));
}

static bool is_op(const golden *t, const char *op) {
    return strcmp(t->op, op) == 0;
}

static graft_value build_pool(golden *t, graft_value x) {
    graft_pool_attr a;
    pair(t, "kernel", a.kernel);
    pair(t, "stride", a.stride);
    pair(t, "pad", a.pad);
    return is_op(t, "max_pool2d") ? graft_max_pool2d(t->g, x, a) : graft_avg_pool2d(t->g, x, a);
}

static graft_value build_conv(golden *t, graft_value x, graft_value residual, int32_t relu) {
    graft_conv_attr a = {.groups = (int32_t)attribute(t, "groups"), .relu = relu};
    pair(t, "stride", a.stride);
    pair(t, "pad", a.pad);
    pair(t, "dilation", a.dilation);
    return graft_conv2d(t->g, x, given(t, "w"), given(t, "b"), residual, a);
}

static graft_value build_norm(golden *t, graft_value x, int32_t relu) {
    graft_norm_attr a = {.eps = json_number_value(json_object_get(t->attrs, "eps")),
                         .momentum = json_number_value(json_object_get(t->attrs, "momentum")),
                         .relu = relu};
    graft_value gamma = given(t, "gamma"), beta = given(t, "beta"), mean = given(t, "running_mean"),
                var = given(t, "running_var");
    bool train = json_is_true(json_object_get(t->attrs, "train"));
    return train ? graft_batch_norm_train(t->g, x, gamma, beta, mean, var, a)
                 : graft_batch_norm(t->g, x, gamma, beta, mean, var, a);
}

/* Labels, smoothing and class weights become target and weight as loss.c wants them. PyTorch divides by the
 * weights of the labels' classes, or by N where the targets are soft. */
static graft_value build_loss(golden *t, graft_value x) {
    const graft_tensor *tensor = find(t, "target");
    graft_shape shape = find(t, "x")->shape;
    int64_t n = shape.dims[0], k = shape.dims[1], count;
    const double *target = read(t, "target", &count), *classes = NULL;
    double *full = graft_arena_array(t->arena, (size_t)(n * k), sizeof *full);
    double *weight = graft_arena_array(t->arena, (size_t)n, sizeof *weight), total = 0;
    double smoothing = json_number_value(json_object_get(t->attrs, "label_smoothing"));
    assert_true(full != NULL && weight != NULL);
    if (find(t, "class_weights") != NULL) classes = read(t, "class_weights", &count);
    for (int64_t i = 0; i < n; i++) {
        int64_t label = tensor->shape.rank == 1 ? (int64_t)target[i] : -1;
        total += label >= 0 && classes != NULL ? classes[label] : 1;
        for (int64_t c = 0; c < k; c++) {
            double part = label >= 0 ? (double)(label == c) : target[i * k + c];
            if (!is_op(t, "mse") && !is_op(t, "bce_with_logits"))
                part = (1 - smoothing) * part + smoothing / (double)k;
            full[i * k + c] = part * (classes != NULL ? classes[c] : 1);
        }
    }
    for (int64_t i = 0; i < n; i++) weight[i] = 1 / total;
    graft_value y = bind(t, "full target", shape, full), u = bind(t, "weight", (graft_shape){1, {n}}, weight);
    double gamma = json_number_value(json_object_get(t->attrs, "gamma"));
    if (is_op(t, "cross_entropy")) return graft_cross_entropy(t->g, x, y, u);
    if (is_op(t, "focal")) return graft_focal(t->g, x, y, u, gamma);
    if (is_op(t, "focal_logits")) return graft_focal_logits(t->g, x, y, u, gamma);
    if (is_op(t, "logit_adjustment"))
        return graft_cross_entropy(t->g, graft_add_row(t->g, x, given(t, "row")), y, u);
    return is_op(t, "mse") ? graft_mse(t->g, x, y, u) : graft_bce_logits(t->g, x, y, u);
}

static graft_value build(golden *t) {
    graft_value x = given(t, "x");
    if (is_op(t, "conv2d")) return build_conv(t, x, GRAFT_NONE, 0);
    if (is_op(t, "max_pool2d") || is_op(t, "avg_pool2d")) return build_pool(t, x);
    if (is_op(t, "global_avg_pool")) return graft_global_avg_pool(t->g, x);
    if (is_op(t, "batch_norm")) return build_norm(t, x, 0);
    if (is_op(t, "linear")) return graft_linear(t->g, x, given(t, "w"), given(t, "b"));
    if (is_op(t, "relu")) return graft_relu(t->g, x);
    if (is_op(t, "add")) return graft_add(t->g, x, given(t, "z"), 0);
    return build_loss(t, x);
}

/* The op with all that can be fused into it; dy stands for a residual. *residual tells whether it is there.
 */
static graft_value build_fused(golden *t, bool *residual) {
    graft_value x = given(t, "x"), out[1];
    *residual = is_op(t, "conv2d");
    if (is_op(t, "conv2d")) return build_conv(t, x, given(t, "dy"), 1);
    if (is_op(t, "batch_norm")) return build_norm(t, x, 1);
    if (is_op(t, "add")) return graft_add(t->g, x, given(t, "z"), 1);
    if (!is_op(t, "linear")) return GRAFT_NONE;
    graft_graph_node(t->g, &graft_op_linear, &(graft_linear_attr){.act = GRAFT_ACT_RELU},
                     (graft_value[]){x, given(t, "w"), given(t, "b"), GRAFT_NONE}, 4, out);
    return out[0];
}

static void same(const golden *t, const char *role, const double *ours, const double *theirs, int64_t count) {
    double difference = evaluate_difference(ours, theirs, count);
    if (!(difference <= tolerance)) fail_msg("%s: %s differs by %.3g", t->name, role, difference);
}

static void finish(const golden *t) {
    graft_err err = {0};
    if (graft_graph_end(t->g, &err) < 0) fail_msg("%s: %s", t->name, err.message);
}

/* The tensor of the file that a gradient is of: a row that was added to every row leaves it as it is. */
static const char *name_of(const golden *t, graft_value v) {
    const graft_value_info *info = graft_graph_value(t->g, v);
    if (info->kind == GRAFT_RESULT) v = graft_graph_node_at(t->g, (size_t)info->node)->in[0];
    return graft_graph_value(t->g, v)->name;
}

static void check_gradients(golden *t, graft_value y, const json_t *gradients) {
    graft_node n = *graft_graph_node_at(t->g, (size_t)graft_graph_value(t->g, y)->node);
    const graft_value dout[4] = {given(t, "dy"), GRAFT_NONE, GRAFT_NONE, GRAFT_NONE};
    graft_value din[8];
    bool wanted[8] = {0};
    assert_in_range(n.n_in, 1, 8);
    for (size_t i = 0; i < n.n_in; i++) {
        din[i] = GRAFT_NONE;
        for (size_t k = 0; n.in[i] != GRAFT_NONE && k < json_array_size(gradients); k++) {
            const char *role = json_string_value(json_array_get(gradients, k));
            if (strcmp(role + 1, name_of(t, n.in[i])) == 0) wanted[i] = true;
        }
    }
    n.op->grad(t->g, &n, dout, wanted, din);
    finish(t);
    evaluation e = evaluate(t->arena, t->g, 1, t->bindings, t->n_bindings);
    size_t n_checked = 0;
    for (size_t i = 0; i < n.n_in; i++) {
        if (!wanted[i]) continue;
        char role[32];
        int64_t count;
        snprintf(role, sizeof role, "d%s", name_of(t, n.in[i]));
        const double *theirs = read(t, role, &count);
        assert_int_equal(count, e.counts[din[i]]);
        same(t, role, e.values[din[i]], theirs, count);
        n_checked++;
    }
    assert_int_equal(n_checked, json_array_size(gradients));
}

static void check_value(golden *t, graft_value y) {
    int64_t count;
    const double *theirs = read(t, "y", &count);
    evaluation e = evaluate(t->arena, t->g, 1, t->bindings, t->n_bindings);
    assert_int_equal(count, e.counts[y]);
    same(t, "y", e.values[y], theirs, count);
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(t->g, &assigns);
    for (size_t i = 0; i < n; i++) {
        bool is_mean = strcmp(graft_graph_value(t->g, assigns[i].target)->name, "running_mean") == 0;
        theirs = read(t, is_mean ? "new_mean" : "new_var", &count);
        same(t, is_mean ? "new_mean" : "new_var", e.values[assigns[i].value], theirs, count);
    }
}

static void check_fused(golden *t) {
    int64_t count;
    bool residual;
    t->g = graft_graph_new(t->arena);
    t->n_bindings = 0;
    graft_value y = build_fused(t, &residual);
    if (y == GRAFT_NONE && !graft_graph_failed(t->g)) return;
    finish(t);
    const double *plain = read(t, "y", &count), *added = read(t, "dy", &count);
    double *theirs = graft_arena_array(t->arena, (size_t)count, sizeof *theirs);
    assert_non_null(theirs);
    for (int64_t i = 0; i < count; i++) theirs[i] = fmax(0, plain[i] + (residual ? added[i] : 0));
    evaluation e = evaluate(t->arena, t->g, 1, t->bindings, t->n_bindings);
    same(t, "the fused form", e.values[y], theirs, count);
}

static void values_and_gradients_are_those_of_pytorch(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors tensors;
    const json_t *cases = golden_cases(arena, "tests/parity/ops/ops", &tensors);
    size_t n_checked = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        golden t = {.arena = graft_arena_new(arena),
                    .tensors = &tensors,
                    .attrs = json_object_get(one, "attrs"),
                    .name = json_string_value(json_object_get(one, "name")),
                    .op = json_string_value(json_object_get(one, "op"))};
        /* no model asks for means that leave the padding out, and the op has no such attribute */
        if (json_is_false(json_object_get(t.attrs, "count_include_pad"))) continue;
        t.g = graft_graph_new(t.arena);
        graft_value y = build(&t);
        finish(&t);
        check_value(&t, y);
        check_gradients(&t, y, json_object_get(one, "gradients"));
        check_fused(&t);
        graft_arena_free(t.arena);
        n_checked++;
    }
    assert_true(n_checked >= 35);
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
