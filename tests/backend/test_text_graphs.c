/* A small text network with every op that packed texts need, forwards and backwards, in programs: against the
 * references, with an absent sample and with padding, whose contents must not matter. */
#include "backend/backend.h"
#include "graph/op.h"
#include "support/evaluate.h"
#include "support/small_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS = 11, WIDTH = 24, INNER = 40, CLASSES = 3, SAMPLES = 4, TOKENS = 21, N_PARAMS = 14 };

/* Two samples, an absent one, a third; the last four tokens are padding. */
static const int32_t spans[SAMPLES][2] = {{0, 9}, {9, 1}, {10, 0}, {10, 7}};

typedef struct param {
    const char *name;
    graft_shape shape;
    double low, high;
} param;

static const param params[N_PARAMS] = {
    {"words", {2, {WORDS, WIDTH}}, -1, 1},
    {"gamma", {1, {WIDTH}}, 0.5, 1.5},
    {"beta", {1, {WIDTH}}, -1, 1},
    {"up", {2, {INNER, WIDTH}}, -0.3, 0.3},
    {"up.b", {1, {INNER}}, -1, 1},
    {"down", {2, {INNER, WIDTH}}, -0.3, 0.3},
    {"down.b", {1, {WIDTH}}, -1, 1},
    {"gamma2", {1, {WIDTH}}, 0.5, 1.5},
    {"kernel", {2, {INNER, 3 * WIDTH}}, -0.2, 0.2},
    {"kernel.b", {1, {INNER}}, -1, 1},
    {"pooler", {2, {WIDTH, WIDTH}}, -0.3, 0.3},
    {"pooler.b", {1, {WIDTH}}, -1, 1},
    {"head", {2, {CLASSES, WIDTH}}, -2, 2},
    {"head.b", {1, {CLASSES}}, -1, 1},
};

typedef struct network {
    graft_arena *arena;
    graft_graph *g;
    graft_value p[N_PARAMS];
    graft_value loss;
} network;

static graft_value text_param(network *net, const char *name) {
    for (size_t i = 0; i < N_PARAMS; i++)
        if (strcmp(params[i].name, name) == 0) return net->p[i];
    fail_msg("no parameter %s", name);
    return GRAFT_NONE;
}

static void add_params(network *net) {
    for (size_t i = 0; i < N_PARAMS; i++) {
        int64_t n;
        graft_tensor *t = graft_arena_alloc(net->arena, sizeof *t);
        assert_true(graft_shape_count(&params[i].shape, &n));
        float *data = graft_arena_array(net->arena, (size_t)n, sizeof *data);
        const double *wide = small_net_random(net->arena, n, params[i].low, params[i].high, i);
        assert_true(t != NULL && data != NULL);
        for (int64_t k = 0; k < n; k++) data[k] = (float)wide[k];
        *t = (graft_tensor){.name = params[i].name,
                            .dtype = GRAFT_F32,
                            .shape = params[i].shape,
                            .data = data,
                            .size = (size_t)n * sizeof *data};
        net->p[i] = graft_graph_param(net->g, params[i].name, t, t->shape);
    }
}

/* Mean, largest, first and last of each text, added up. */
static graft_value pool_all(graft_graph *g, graft_value x, graft_value where) {
    graft_value sum = graft_span_pool(g, x, where, GRAFT_SPAN_MEAN);
    for (int32_t kind = GRAFT_SPAN_FIRST; kind <= GRAFT_SPAN_MAX; kind++)
        sum = graft_add(g, sum, graft_span_pool(g, x, where, kind), 0);
    return sum;
}

#define P(name) text_param(net, name)
static graft_value build_logits(network *net) {
    graft_graph *g = net->g;
    graft_value ids = graft_graph_input(g, "ids", GRAFT_I32, (graft_shape){1, {GRAFT_DIM_TOKENS}});
    graft_value where = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    graft_value seed = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    graft_value x = graft_layer_norm(g, graft_embedding(g, P("words"), ids), P("gamma"), P("beta"), 1e-12);
    graft_value h = graft_dropout(g, graft_gelu(g, graft_linear(g, x, P("up"), P("up.b"))), seed, 0.1);
    x = graft_add(g, graft_linear_in_out(g, h, P("down"), P("down.b")), x, 0);
    x = graft_layer_norm(g, x, P("gamma2"), GRAFT_NONE, 1e-5);
    h = graft_linear(g, graft_token_window(g, x, where, 3), P("kernel"), P("kernel.b"));
    h = graft_columns(g, graft_activate(g, h, GRAFT_ACT_GELU_TANH), 5, WIDTH);
    h = graft_activate(g, graft_add(g, h, x, 0), GRAFT_ACT_SILU);
    h = graft_tanh(g, graft_linear(g, pool_all(g, h, where), P("pooler"), P("pooler.b")));
    return graft_linear(g, graft_unit_rows(g, h), P("head"), P("head.b"));
}

static network build(graft_arena *arena, bool trained) {
    network net = {.arena = arena, .g = graft_graph_new(arena)};
    graft_graph *fused = NULL;
    graft_err err = {0};
    add_params(&net);
    graft_graph_output(net.g, "logits", build_logits(&net));
    for (size_t i = 0; i < N_PARAMS; i++) graft_graph_value_mut(net.g, net.p[i])->trained = trained;
    int rc = trained ? graft_graph_fuse_training(&fused, arena, net.g, &err) : 0;
    if (!trained) {
        rc = graft_graph_without_dropout(&fused, arena, net.g, &err);
        if (rc == 0) rc = graft_graph_fuse(&fused, arena, fused, &err);
    }
    if (rc < 0) fail_msg("%s", err.message);
    net.g = fused;
    return net;
}

/* The loss and the gradient of every parameter, as outputs. */
static void add_gradients(network *net) {
    graft_value grads[N_PARAMS];
    graft_err err = {0};
    const graft_output *outputs;
    assert_int_equal(graft_graph_outputs(net->g, &outputs), 1);
    graft_value target =
        graft_graph_input(net->g, "target", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, CLASSES}});
    graft_value weight = graft_graph_input(net->g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    net->loss = graft_cross_entropy(net->g, outputs[0].value, target, weight);
    for (size_t i = 0; i < N_PARAMS; i++) net->p[i] = graft_graph_find(net->g, params[i].name);
    if (graft_graph_grad(net->g, net->loss, net->p, N_PARAMS, grads, &err) < 0) fail_msg("%s", err.message);
    for (size_t i = 0; i < N_PARAMS; i++)
        graft_graph_output(net->g, graft_arena_printf(net->arena, "d %s", params[i].name), grads[i]);
    graft_graph_output(net->g, "loss", net->loss);
}

/* ---- Running ---------------------------------------------------------------------------------------------- */

typedef struct inputs {
    int32_t ids[TOKENS], seed[2];
    float target[SAMPLES * CLASSES], weight[SAMPLES];
} inputs;

static inputs make_inputs(int32_t padding) {
    inputs in = {.seed = {3, 4}, .weight = {0.5F, 0.25F, 0, 0.25F}};
    for (int32_t t = 0; t < TOKENS; t++) in.ids[t] = t < 17 ? t * 7 % WORDS : padding;
    for (size_t n = 0; n < SAMPLES; n++) in.target[n * CLASSES + n % CLASSES] = 1;
    return in;
}

static void set(graft_program *p, const char *name, const void *from, size_t size) {
    void *to = graft_program_input(p, name, NULL);
    if (to) memcpy(to, from, size);
}

typedef struct room {
    graft_arena *arena;
    graft_env *env;
    graft_state *state;
    graft_program *program;
} room;

static room open_room(network *net, int threads, graft_precision dtype) {
    room r = {.arena = net->arena};
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    graft_err err = {0};
    o.threads = threads;
    assert_int_equal(graft_env_new(&r.env, &o, NULL), 0);
    assert_int_equal(graft_state_new(&r.state, r.env, &err), 0);
    if (graft_graph_precision(net->g, dtype, &err) < 0) fail_msg("%s", err.message);
    const graft_compile_options options = {.batch = SAMPLES, .tokens = TOKENS};
    if (graft_program_compile(&r.program, net->g, r.state, &options, &err) < 0) fail_msg("%s", err.message);
    return r;
}

static void run(room *r, const inputs *in) {
    graft_err err = {0};
    set(r->program, "ids", in->ids, sizeof in->ids);
    set(r->program, "spans", spans, sizeof spans);
    set(r->program, "seed", in->seed, sizeof in->seed);
    set(r->program, "target", in->target, sizeof in->target);
    set(r->program, "weight", in->weight, sizeof in->weight);
    if (graft_program_run(r->program, &err) < 0) fail_msg("%s", err.message);
}

static void close_room(room *r) {
    graft_program_free(r->program);
    graft_state_free(r->state);
    graft_env_free(r->env);
}

static double *widened_integers(graft_arena *arena, const int32_t *x, size_t n) {
    double *out = graft_arena_array(arena, n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) out[i] = (double)x[i];
    return out;
}

static double *widened(graft_arena *arena, const float *x, size_t n) {
    double *out = graft_arena_array(arena, n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) out[i] = (double)x[i];
    return out;
}

static evaluation reference(const network *net, const inputs *in) {
    graft_arena *a = net->arena;
    const evaluate_binding bindings[] = {
        {"ids", widened_integers(a, in->ids, TOKENS)},
        {"spans", widened_integers(a, &spans[0][0], 2 * (size_t)SAMPLES)},
        {"seed", widened_integers(a, in->seed, 2)},
        {"target", widened(a, in->target, SAMPLES * (size_t)CLASSES)},
        {"weight", widened(a, in->weight, SAMPLES)},
    };
    return evaluate_tokens(a, net->g, SAMPLES, TOKENS, bindings, GRAFT_COUNT(bindings));
}

/* ||got - want|| / ||want|| */
static double difference(const float *got, const double *want, int64_t n) {
    double apart = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        all += want[i] * want[i];
    }
    return sqrt(apart / (all > 0 ? all : 1));
}

static void compare_outputs(const network *net, const room *r, const evaluation *e, double tolerance) {
    const graft_output *outputs;
    size_t n_outputs = graft_graph_outputs(net->g, &outputs);
    for (size_t i = 0; i < n_outputs; i++) {
        int64_t n;
        const double *want = evaluation_of(e, net->g, outputs[i].name, &n);
        double d = difference(graft_program_output(r->program, outputs[i].name, NULL), want, n);
        if (!(d <= tolerance)) fail_msg("%s: %g off", outputs[i].name, d);
    }
}

/* ---- What is promised --------------------------------------------------------------------------------------- */

static void check(bool trained, graft_precision dtype, double tolerance) {
    graft_arena *arena = graft_arena_new(NULL);
    network net = build(arena, trained);
    if (trained) add_gradients(&net);
    inputs in = make_inputs(0);
    room r = open_room(&net, 2, dtype);
    evaluation e = reference(&net, &in);
    run(&r, &in);
    compare_outputs(&net, &r, &e, tolerance);

    assert_int_equal(graft_program_needs(r.program).n_reference, trained ? 2 : 0); /* the loss */
    close_room(&r);
    graft_arena_free(arena);
}

static void gradients_of_a_text_network_equal_the_references(void **state) {
    (void)state;
    check(true, GRAFT_PRECISION_FP32, 1e-4);
}

static void inference_with_frozen_weights_equals_the_references(void **state) {
    (void)state;
    check(false, GRAFT_PRECISION_FP32, 1e-5);
}

static void in_bf16_they_are_near(void **state) {
    (void)state;
    if (!graft_backend_has_bf16()) {
        print_message("skipped: this processor has no bf16\n");
        skip();
    }
    check(true, GRAFT_PRECISION_BF16, 0.1);
    check(false, GRAFT_PRECISION_BF16, 0.05);
}

static void what_padding_holds_and_how_many_threads_run_changes_no_bit(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    network net = build(arena, true);
    add_gradients(&net);
    room a = open_room(&net, 1, GRAFT_PRECISION_FP32), b = open_room(&net, 2, GRAFT_PRECISION_FP32);
    inputs in = make_inputs(0), other = make_inputs(WORDS - 1);
    run(&a, &in);
    run(&b, &other);
    const char *const names[] = {"loss", "d words", "d gamma", "d beta", "d up.b", "d gamma2", "d kernel.b"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        size_t n;
        const float *one = graft_program_output(a.program, names[i], &n);
        assert_memory_equal(graft_program_output(b.program, names[i], NULL), one, n * sizeof *one);
    }
    close_room(&a);
    close_room(&b);
    graft_arena_free(arena);
}

static void a_batch_of_absent_samples_has_no_gradient(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    network net = build(arena, true);
    add_gradients(&net);
    room r = open_room(&net, 2, GRAFT_PRECISION_FP32);
    inputs in = make_inputs(0);
    memset(in.weight, 0, sizeof in.weight);
    run(&r, &in);
    for (size_t i = 0; i < N_PARAMS; i++) {
        size_t n;
        const float *d =
            graft_program_output(r.program, graft_arena_printf(arena, "d %s", params[i].name), &n);
        for (size_t k = 0; k < n; k++) assert_true(d[k] == 0);
    }
    close_room(&r);
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_a_text_network_equal_the_references),
        cmocka_unit_test(inference_with_frozen_weights_equals_the_references),
        cmocka_unit_test(in_bf16_they_are_near),
        cmocka_unit_test(what_padding_holds_and_how_many_threads_run_changes_no_bit),
        cmocka_unit_test(a_batch_of_absent_samples_has_no_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
