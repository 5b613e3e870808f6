/* Channels put beside each other and taken apart between convolutions, in the layouts that convolutions
 * choose; rows that all samples share before others. Values and gradients are held against the references. */
#include "backend/backend.h"
#include "graph/op.h"
#include "support/evaluate.h"
#include "support/small_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BATCH = 3, SIDE = 9, CLASSES = 3, MAX_PARAMS = 16 };

typedef struct net {
    graft_arena *arena;
    graft_graph *g;
    graft_value params[MAX_PARAMS];
    size_t n;
} net;

static graft_value param(net *t, graft_shape shape) {
    int64_t n;
    assert_true(graft_shape_count(&shape, &n));
    graft_tensor *x = graft_arena_alloc(t->arena, sizeof *x);
    float *data = graft_arena_array(t->arena, (size_t)n, sizeof *data);
    const double *wide = small_net_random(t->arena, n, -0.3, 0.3, t->n);
    assert_true(x && data && t->n < MAX_PARAMS);
    for (int64_t i = 0; i < n; i++) data[i] = (float)wide[i];
    *x = (graft_tensor){.dtype = GRAFT_F32, .shape = shape, .data = data, .size = (size_t)n * sizeof *data};
    x->name = graft_arena_printf(t->arena, "w%zu", t->n);
    return t->params[t->n++] = graft_graph_param(t->g, x->name, x, shape);
}

static graft_value conv(net *t, graft_value x, int64_t outs, int32_t side) {
    const int64_t ins = graft_graph_value(t->g, x)->shape.dims[1];
    const graft_conv_attr a = {
        .stride = {1, 1}, .pad = {side / 2, side / 2}, .dilation = {1, 1}, .groups = 1};
    graft_value w = param(t, (graft_shape){4, {outs, ins, side, side}});
    return graft_relu(t->g, graft_conv2d(t->g, x, w, GRAFT_NONE, GRAFT_NONE, a));
}

/* What one value is put beside another of `a` and `b` channels, and a part of it taken out again. */
static graft_value fire(net *t, graft_value x, int64_t a, int64_t b) {
    graft_value parts[2] = {conv(t, x, a, 1), conv(t, x, b, 3)};
    return graft_concat(t->g, parts, 2, 1);
}

static graft_value picture_net(net *t) {
    graft_graph *g = t->g;
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){4, {GRAFT_DIM_BATCH, 3, SIDE, SIDE}});
    x = fire(t, x, 16, 32);
    graft_value odd = fire(t, x, 5, 16), part = graft_slice(g, x, 1, 16, 16);
    graft_value uneven = graft_slice(g, odd, 1, 3, 13);
    x = graft_concat(g, (graft_value[]){part, odd, x, uneven, part}, 5, 1);
    x = graft_global_avg_pool(g, conv(t, x, 16, 1));
    return graft_linear(g, x, param(t, (graft_shape){2, {CLASSES, 16}}), GRAFT_NONE);
}

/* (B,C,H,W) -> a shared row before the rows of each picture, positions added, the first row read. */
static graft_value token_net(net *t) {
    graft_graph *g = t->g;
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){3, {GRAFT_DIM_BATCH, 3, SIDE * SIDE}});
    graft_value token = graft_repeat(g, param(t, (graft_shape){3, {1, 1, SIDE * SIDE}}), x);
    graft_value y = graft_concat(g, (graft_value[]){token, x}, 2, 1);
    y = graft_add(g, y, graft_repeat(g, param(t, (graft_shape){3, {1, 4, SIDE * SIDE}}), y), 0);
    y = graft_flatten(g, graft_slice(g, y, 1, 0, 2));
    return graft_linear(g, y, param(t, (graft_shape){2, {CLASSES, 2 * SIDE * SIDE}}), GRAFT_NONE);
}

/* The logits, and where `trained` the gradients of all parameters, as outputs. */
static net build(graft_arena *arena, graft_value (*logits)(net *t), bool trained, graft_precision precision) {
    net t = {.arena = arena, .g = graft_graph_new(arena)};
    graft_err err = {0};
    graft_value y = logits(&t), grads[MAX_PARAMS];
    graft_graph_output(t.g, "logits", y);
    for (size_t i = 0; i < t.n && trained; i++) graft_graph_value_mut(t.g, t.params[i])->trained = true;
    if (trained) {
        graft_value target =
            graft_graph_input(t.g, "target", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, CLASSES}});
        graft_value weight = graft_graph_input(t.g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
        graft_value loss = graft_cross_entropy(t.g, y, target, weight);
        if (graft_graph_grad(t.g, loss, t.params, t.n, grads, &err) < 0) fail_msg("%s", err.message);
        for (size_t i = 0; i < t.n; i++)
            graft_graph_output(t.g, graft_arena_printf(arena, "d w%zu", i), grads[i]);
    } else if (graft_graph_fuse(&t.g, arena, t.g, &err) < 0) {
        fail_msg("%s", err.message);
    }
    if (graft_graph_precision(t.g, precision, &err) < 0) fail_msg("%s", err.message);
    return t;
}

/* ||a - b|| / ||b|| */
static double distance(const float *a, const double *b, int64_t n) {
    double apart = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        all += b[i] * b[i];
    }
    return sqrt(apart / (all > 0 ? all : 1));
}

static void check(graft_value (*logits)(net *t), bool trained, graft_precision precision, double tolerance) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_env *env = NULL;
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    graft_state *state = NULL;
    graft_program *p = NULL;
    graft_err err = {0};
    const char *const names[] = {"x", "target", "weight"};
    const int64_t counts[] = {BATCH * 3 * SIDE * SIDE, BATCH * CLASSES, BATCH};
    evaluate_binding bindings[3] = {{0}};
    o.threads = 2;
    net t = build(arena, logits, trained, precision);
    assert_int_equal(graft_env_new(&env, &o, NULL), 0);
    assert_int_equal(graft_state_new(&state, env, &err), 0);
    if (graft_program_compile(&p, t.g, state, &(graft_compile_options){.batch = BATCH}, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(graft_program_needs(p).n_reference, trained ? 2 : 0); /* the loss and its gradient */
    for (size_t i = 0; i < (trained ? 3 : 1); i++) {
        double *x = small_net_random(arena, counts[i], i ? 0 : -1, 1, 100 + i);
        float *to = graft_program_input(p, names[i], NULL);
        assert_non_null(to);
        for (int64_t k = 0; k < counts[i]; k++) x[k] = (double)(to[k] = (float)x[k]);
        bindings[i] = (evaluate_binding){names[i], x};
    }
    evaluation e = evaluate(arena, t.g, BATCH, bindings, trained ? 3 : 1);
    if (graft_program_run(p, &err) < 0) fail_msg("%s", err.message);
    const graft_output *outputs;
    size_t n_outputs = graft_graph_outputs(t.g, &outputs);
    assert_int_equal(n_outputs, trained ? 1 + t.n : 1);
    for (size_t i = 0; i < n_outputs; i++) {
        int64_t n = 0;
        const double *want = evaluation_of(&e, t.g, outputs[i].name, &n);
        double far = distance(graft_program_output(p, outputs[i].name, NULL), want, n);
        if (!(far <= tolerance)) fail_msg("%s: %g off", outputs[i].name, far);
    }
    graft_program_free(p);
    graft_state_free(state);
    graft_env_free(env);
    graft_arena_free(arena);
}

static void channels_beside_each_other_have_the_references_gradients(void **state) {
    (void)state;
    check(picture_net, true, GRAFT_PRECISION_FP32, 1e-4);
}

static void with_frozen_weights_they_have_its_values(void **state) {
    (void)state;
    check(picture_net, false, GRAFT_PRECISION_FP32, 1e-5);
}

static void rows_that_samples_share_have_the_references_gradients(void **state) {
    (void)state;
    check(token_net, true, GRAFT_PRECISION_FP32, 1e-5);
}

static void in_bf16_all_are_near(void **state) {
    (void)state;
    if (!graft_backend_has_bf16()) skip();
    check(picture_net, true, GRAFT_PRECISION_BF16, 0.1);
    check(picture_net, false, GRAFT_PRECISION_BF16, 0.05);
    check(token_net, true, GRAFT_PRECISION_BF16, 0.05);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_beside_each_other_have_the_references_gradients),
        cmocka_unit_test(with_frozen_weights_they_have_its_values),
        cmocka_unit_test(rows_that_samples_share_have_the_references_gradients),
        cmocka_unit_test(in_bf16_all_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
