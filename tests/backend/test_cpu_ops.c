/* Every op on the CPU backend over every one of its cases, held against the row's reference in double; and
 * whole training graphs, where what is opaque between kernels (masks, pooling indices) is passed on as it
 * lies. */
#include "support/evaluate.h"
#include "support/small_net.h"

#include "backend/backend.h"
#include "graph/op.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static graft_env *make_env(int threads) {
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    graft_env *env = NULL;
    o.threads = threads;
    assert_int_equal(graft_env_new(&env, &o, NULL), 0);
    return env;
}

/* Inputs and results that only the backend itself can read. */
static bool is_opaque_input(const graft_op *op, size_t i, const graft_op_case *test) {
    if (op == &graft_op_max_pool2d_grad) return i == 1;
    return op == &graft_op_batch_norm_train_grad && i == 6 && test->in[6].rank >= 0;
}

static bool is_opaque_result(const graft_op *op, size_t o, const graft_op_case *test) {
    if (op == &graft_op_sgd && o == 1) return test->in[2].rank < 0; /* no momentum, no velocity */
    return (op == &graft_op_max_pool2d && o == 1) || (op == &graft_op_batch_norm_train && o == 3);
}

/* The node alone, all inputs as INPUTs, all results as outputs, which have `dtype` where the row allows it.
 */
static graft_graph *graph_of(graft_arena *arena, const graft_op *op, const graft_op_case *test,
                             graft_precision precision) {
    graft_graph *g = graft_graph_new(arena);
    graft_value in[16], out[GRAFT_MAX_RESULTS];
    for (size_t i = 0; i < test->n_in; i++) {
        in[i] = GRAFT_NONE;
        if (test->in[i].rank < 0) continue;
        in[i] = graft_graph_input(g, graft_arena_printf(arena, "in%zu", i), test->dtype[i], test->in[i]);
    }
    graft_graph_node(g, op, test->attr, in, test->n_in, out);
    if (graft_graph_failed(g)) return g;
    for (size_t o = 0; o < op->n_out; o++) {
        if (precision == GRAFT_PRECISION_BF16 && op->bf16 >> o & 1)
            graft_graph_value_mut(g, out[o])->dtype = GRAFT_BF16;
        if (!is_opaque_result(op, o, test))
            graft_graph_output(g, graft_arena_printf(arena, "out%zu", o), out[o]);
    }
    if (precision == GRAFT_PRECISION_BF16X3) graft_graph_precision(g, precision, NULL);
    return g;
}

static void store(void *to, graft_dtype dtype, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (dtype == GRAFT_I32) {
            ((int32_t *)to)[i] = (int32_t)from[i];
        } else if (dtype == GRAFT_U8) {
            ((uint8_t *)to)[i] = (uint8_t)from[i];
        } else {
            ((float *)to)[i] = (float)from[i];
        }
    }
}

/* Numbers that bf16 holds exactly. */
static void round_to_bf16(double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float wide = (float)x[i];
        uint16_t half;
        graft_f32_to_bf16(&wide, &half, 1);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&wide, &bits, sizeof wide);
        x[i] = (double)wide;
    }
}

static void set_inputs(graft_arena *arena, graft_program *p, const graft_op_case *test,
                       graft_precision precision, evaluate_binding *bindings) {
    for (size_t i = 0; i < test->n_in; i++) {
        int64_t n = 0;
        bindings[i].name = graft_arena_printf(arena, "in%zu", i);
        if (test->in[i].rank < 0) continue;
        assert_true(graft_shape_count(&test->in[i], &n));
        double low = test->low[i], high = test->high[i];
        if (!(low < high)) low = -1, high = 1;
        double *data = graft_arena_array(arena, (size_t)n, sizeof *data);
        graft_rng rng = graft_rng_at(11, 0, i, GRAFT_RNG_TEST);
        for (int64_t k = 0; k < n; k++) {
            double v = low + (high - low) * graft_rng_uniform(&rng);
            data[k] = test->whole >> i & 1 ? floor(v) : (double)(float)v;
        }
        if (test->data[i] != NULL) memcpy(data, test->data[i], (size_t)n * sizeof *data);
        if (precision == GRAFT_PRECISION_BF16 && test->dtype[i] == GRAFT_F32) round_to_bf16(data, n);
        bindings[i].data = data;
        void *to = graft_program_input(p, bindings[i].name, NULL);
        if (to) store(to, test->dtype[i], data, n);
    }
}

static void compare(const graft_op *op, const graft_op_case *test, graft_arena *arena, const graft_graph *g,
                    const graft_program *p, graft_precision precision, const evaluate_binding *bindings) {
    evaluation e = evaluate(arena, g, 1, bindings, test->n_in);
    for (size_t o = 0; o < op->n_out; o++) {
        if (is_opaque_result(op, o, test)) continue;
        int64_t n = 0;
        size_t count = 0;
        const char *name = graft_arena_printf(arena, "out%zu", o);
        const double *want = evaluation_of(&e, g, name, &n);
        const float *got = graft_program_output(p, name, &count);
        assert_non_null(got);
        assert_int_equal(count, n);
        double *wide = graft_arena_array(arena, (size_t)n, sizeof *wide);
        for (int64_t k = 0; k < n; k++) wide[k] = (double)got[k];
        double tolerance = precision == GRAFT_PRECISION_BF16 ? 1e-2
                           : test->tolerance > 0             ? test->tolerance
                                                             : 1e-5;
        double difference = evaluate_difference(wide, want, n);
        if (!(difference <= tolerance))
            fail_msg("%s, %s, result %zu: %g off", op->name, test->name, o, difference);
    }
}

static void run_case(const graft_op *op, const graft_op_case *test, graft_precision precision) {
    for (size_t i = 0; i < test->n_in; i++)
        if (is_opaque_input(op, i, test)) return;
    graft_arena *arena = graft_arena_new(NULL);
    graft_env *env = make_env(2);
    graft_state *state = NULL;
    graft_program *p = NULL;
    graft_err err = {0};
    evaluate_binding bindings[16] = {0};
    graft_graph *g = graph_of(arena, op, test, precision);
    if (graft_graph_end(g, &err) < 0) fail_msg("%s, %s: %s", op->name, test->name, err.message);
    assert_int_equal(graft_state_new(&state, env, &err), 0);
    if (graft_program_compile(&p, g, state, &(graft_compile_options){.batch = 1}, &err) < 0)
        fail_msg("%s, %s: %s", op->name, test->name, err.message);
    set_inputs(arena, p, test, precision, bindings);
    if (graft_program_run(p, &err) < 0) fail_msg("%s, %s: %s", op->name, test->name, err.message);
    compare(op, test, arena, g, p, precision, bindings);
    graft_program_free(p);
    graft_state_free(state);
    graft_env_free(env);
    graft_arena_free(arena);
}

static void every_op_equals_its_reference(void **unused) {
    (void)unused;
    size_t n = 0;
    for (const graft_op *const *op = graft_ops(); *op; op++) {
        for (size_t i = 0; i < (*op)->n_cases; i++, n++)
            run_case(*op, &(*op)->cases[i], GRAFT_PRECISION_FP32);
    }
    assert_true(n > 50);
}

static void every_op_that_may_be_bf16_is_near_its_reference(void **unused) {
    (void)unused;
    if (!graft_backend_has_bf16()) {
        print_message("skipped: this processor has no bf16\n");
        skip();
    }
    for (const graft_op *const *op = graft_ops(); *op; op++) {
        for (size_t i = 0; (*op)->bf16 && i < (*op)->n_cases; i++)
            run_case(*op, &(*op)->cases[i], GRAFT_PRECISION_BF16);
    }
}

/* Where the processor is no faster with bf16x3, this is float32 again. */
static void every_op_in_bf16x3_equals_its_reference(void **unused) {
    (void)unused;
    const graft_op *const products[] = {&graft_op_linear, &graft_op_linear_dx, &graft_op_linear_dw};
    for (size_t k = 0; k < GRAFT_COUNT(products); k++)
        for (size_t i = 0; i < products[k]->n_cases; i++)
            run_case(products[k], &products[k]->cases[i], GRAFT_PRECISION_BF16X3);
}

/* ---- Whole training graphs ----------------------------------------------------------------------------------- */

enum { BATCH = 5 };

typedef struct training {
    graft_graph *graph;
    const char **names; /* outputs: gradients */
    size_t n;
} training;

/* loss and the gradients of everything trained as outputs */
static training make_training(graft_arena *arena, bool statistics) {
    graft_err err = {0};
    graft_graph *g = small_net_new(arena), *normed = NULL, *thin = NULL, *fused = NULL, *joined = NULL;
    small_net_mark(g, "", statistics);
    if (graft_graph_train_norms(&normed, arena, g, &err) < 0) fail_msg("%s", err.message);
    if (graft_graph_subsample(&thin, arena, normed, &err) < 0) fail_msg("%s", err.message);
    if (graft_graph_fuse_training(&fused, arena, thin, &err) < 0) fail_msg("%s", err.message);
    graft_value loss = small_net_loss(fused), wrt[64], grads[64];
    training t = {.graph = fused, .names = graft_arena_array(arena, 64, sizeof(char *))};
    size_t n_values = graft_graph_n_values(fused);
    for (size_t v = 0; v < n_values; v++) {
        const graft_value_info *info = graft_graph_value(fused, (graft_value)v);
        if (info->kind == GRAFT_PARAM && info->trained && !strstr(info->name, "running"))
            wrt[t.n++] = (graft_value)v;
    }
    if (graft_graph_grad(fused, loss, wrt, t.n, grads, &err) < 0) fail_msg("%s", err.message);
    for (size_t i = 0; i < t.n; i++) {
        t.names[i] = graft_arena_printf(arena, "d %s", graft_graph_value(fused, wrt[i])->name);
        graft_graph_output(fused, t.names[i], grads[i]);
    }
    if (graft_graph_fuse_gradient(&joined, arena, fused, &err) < 0) fail_msg("%s", err.message);
    t.graph = joined;
    return t;
}

/* ||a - b|| / ||b|| */
static double norm_difference(const double *a, const double *b, int64_t n) {
    double apart = 0.0, all = 0.0;
    for (int64_t i = 0; i < n; i++) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        all += b[i] * b[i];
    }
    return sqrt(apart / (all > 0 ? all : 1.0));
}

static void check_training(bool statistics, graft_precision dtype, double tolerance) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_env *env = make_env(2);
    graft_err err = {0};
    training t = make_training(arena, statistics);
    static const char *const inputs[] = {"x", "target", "weight"};
    const int64_t counts[] = {BATCH * SMALL_NET_CHANNELS * SMALL_NET_SIDE * SMALL_NET_SIDE,
                              BATCH * SMALL_NET_CLASSES, BATCH};
    evaluate_binding bindings[3];
    graft_state *state = NULL;
    graft_program *p = NULL;
    assert_int_equal(graft_state_new(&state, env, &err), 0);
    graft_graph_precision(t.graph, dtype, &err);
    if (graft_program_compile(&p, t.graph, state, &(graft_compile_options){.batch = BATCH}, &err) < 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < 3; i++) {
        double *x = small_net_random(arena, counts[i], i ? 0.0 : -1.0, 1.0, i);
        for (int64_t k = 0; k < counts[i]; k++) x[k] = (double)(float)x[k];
        bindings[i] = (evaluate_binding){inputs[i], x};
        void *to = graft_program_input(p, inputs[i], NULL);
        assert_non_null(to);
        store(to, GRAFT_F32, x, counts[i]);
    }
    evaluation e = evaluate(arena, t.graph, BATCH, bindings, 3);
    if (graft_program_run(p, &err) < 0) fail_msg("%s", err.message);
    for (size_t i = 0; i < t.n; i++) {
        int64_t n = 0;
        const double *want = evaluation_of(&e, t.graph, t.names[i], &n);
        const float *got = graft_program_output(p, t.names[i], NULL);
        double *wide = graft_arena_array(arena, (size_t)n, sizeof *wide);
        for (int64_t k = 0; k < n; k++) wide[k] = (double)got[k];
        double difference = norm_difference(wide, want, n);
        if (!(difference <= tolerance)) fail_msg("%s: %g off", t.names[i], difference);
    }
    graft_program_free(p);
    graft_state_free(state);
    graft_env_free(env);
    graft_arena_free(arena);
}

static void gradients_of_a_residual_net_equal_the_references(void **unused) {
    (void)unused;
    check_training(true, GRAFT_PRECISION_FP32, 1e-4);
}

static void gradients_with_frozen_statistics_equal_the_references(void **unused) {
    (void)unused;
    check_training(false, GRAFT_PRECISION_FP32, 1e-4);
}

static void gradients_in_bf16_are_near_the_references(void **unused) {
    (void)unused;
    if (!graft_backend_has_bf16()) {
        print_message("skipped: this processor has no bf16\n");
        skip();
    }
    check_training(false, GRAFT_PRECISION_BF16, 0.2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_equals_its_reference),
        cmocka_unit_test(every_op_that_may_be_bf16_is_near_its_reference),
        cmocka_unit_test(every_op_in_bf16x3_equals_its_reference),
        cmocka_unit_test(gradients_of_a_residual_net_equal_the_references),
        cmocka_unit_test(gradients_with_frozen_statistics_equal_the_references),
        cmocka_unit_test(gradients_in_bf16_are_near_the_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
