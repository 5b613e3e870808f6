/* A kernel may compute in its input's place only where that changes nothing: what is read again, by whatever
 * name, is never overwritten. Each graph is held against the references of its ops. */
#include "programs.h"

#include "graph/op.h"
#include "support/evaluate.h"

enum { N = 2, C = 3, SIDE = 5, COUNT = N * C * SIDE * SIDE };

static const graft_shape picture = {4, {GRAFT_DIM_BATCH, C, SIDE, SIDE}};

static graft_value input(graft_graph *g, const char *name) {
    return graft_graph_input(g, name, GRAFT_F32, picture);
}

static graft_value param(bench *b, graft_graph *g, graft_shape shape, double low, double high) {
    size_t count = bench_count(&shape), id = graft_graph_n_values(g);
    graft_tensor *t = graft_arena_alloc(b->arena, sizeof *t);
    *t = (graft_tensor){.dtype = GRAFT_F32,
                        .shape = shape,
                        .data = bench_random(b, count, low, high, 700 + id),
                        .size = count * sizeof(float)};
    return graft_graph_param(g, graft_arena_printf(b->arena, "p%zu", id), t, shape);
}

/* 3x3, as many channels out as in. */
static graft_value conv(bench *b, graft_graph *g, graft_value x, graft_value residual) {
    graft_value w = param(b, g, (graft_shape){4, {C, C, 3, 3}}, -0.3, 0.3);
    return graft_conv2d(g, x, w, GRAFT_NONE, residual,
                        (graft_conv_attr){.stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1});
}

static graft_value norm(bench *b, graft_graph *g, graft_value x) {
    graft_shape c = {1, {C}};
    graft_value gamma = param(b, g, c, 0.5, 1.5), beta = param(b, g, c, -0.5, 0.5);
    graft_value mean = param(b, g, c, -0.5, 0.5), variance = param(b, g, c, 0.5, 2);
    return graft_batch_norm(g, x, gamma, beta, mean, variance, (graft_norm_attr){.eps = 1e-5});
}

static graft_value relu_grad(graft_graph *g, graft_value dy, graft_value y) {
    graft_value out;
    graft_graph_node(g, &graft_op_relu_grad, NULL, (graft_value[]){dy, y}, 2, &out);
    return out;
}

/* Runs g three times on inputs x and y and holds every output against the references. */
static void check(bench *b, const graft_graph *g) {
    static const char *const names[] = {"x", "y"};
    evaluate_binding bindings[2];
    graft_state *s = bench_state(b);
    if (graft_graph_check(g, &b->err) < 0) fail_msg("%s", b->err.message);
    graft_program *p = bench_compile(b, g, s, N);
    for (uint64_t run = 0; run < 3; run++) {
        for (size_t i = 0; i < 2; i++) {
            const float *x = bench_random(b, COUNT, -1, 1, 10 * run + i);
            double *wide = graft_arena_array(b->arena, COUNT, sizeof *wide);
            for (size_t k = 0; k < COUNT; k++) wide[k] = (double)x[k];
            bindings[i] = (evaluate_binding){names[i], wide};
            if (graft_program_input(p, names[i], NULL)) bench_set(p, names[i], x, COUNT);
        }
        bench_run(b, p);
        evaluation e = evaluate(b->arena, g, N, bindings, 2);
        const graft_output *outputs;
        size_t n = graft_graph_outputs(g, &outputs);
        assert_true(n > 0);
        for (size_t o = 0; o < n; o++) {
            size_t count = 0;
            const float *got = graft_program_output(p, outputs[o].name, &count);
            double *wide = graft_arena_array(b->arena, count, sizeof *wide);
            for (size_t k = 0; k < count; k++) wide[k] = (double)got[k];
            assert_int_equal(count, e.counts[outputs[o].value]);
            double apart = evaluate_difference(wide, e.values[outputs[o].value], (int64_t)count);
            if (!(apart < 1e-5)) {
                graft_buf text;
                graft_buf_init(&text, 0);
                graft_graph_print(g, &text);
                fail_msg("output %s is %g off in\n%.*s", outputs[o].name, apart, (int)text.size, text.data);
            }
        }
    }
    graft_program_free(p);
    graft_state_free(s);
}

static void a_value_and_its_relu_are_both_read(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value x = input(g, "x"), h = conv(&b, g, x, GRAFT_NONE), y = graft_relu(g, h);
    graft_graph_output(g, "sum", graft_add(g, y, h, 0));
    graft_graph_output(g, "relu", y);
    check(&b, g);
    bench_free(&b);
}

static void a_value_is_added_to_itself(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value h = conv(&b, g, input(g, "x"), GRAFT_NONE);
    h = graft_add(g, h, h, 1);
    graft_graph_output(g, "y", graft_sum_into(g, h, h));
    check(&b, g);
    bench_free(&b);
}

static void a_residual_is_read_again(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value r = graft_relu(g, conv(&b, g, input(g, "x"), GRAFT_NONE));
    graft_value y = conv(&b, g, input(g, "y"), r);
    graft_graph_output(g, "y'", graft_add(g, y, r, 0));
    check(&b, g);
    bench_free(&b);
}

/* Enough channels that a convolution reads and writes one layout, so that nothing is copied on the way. */
static void a_residual_is_the_convolution_s_own_input(void **unused) {
    (void)unused;
    enum { WIDE = 32 };
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_conv_attr a = {.stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1};
    graft_value first = param(&b, g, (graft_shape){4, {WIDE, C, 3, 3}}, -0.3, 0.3);
    graft_value h = graft_relu(g, graft_conv2d(g, input(g, "x"), first, GRAFT_NONE, GRAFT_NONE, a));
    for (int i = 0; i < 3; i++) {
        graft_value w = param(&b, g, (graft_shape){4, {WIDE, WIDE, 3, 3}}, -0.1, 0.1);
        h = graft_conv2d(g, h, w, GRAFT_NONE, h, a);
    }
    graft_graph_output(g, "y", h);
    check(&b, g);
    bench_free(&b);
}

static void a_residual_is_a_view_away_from_a_later_reader(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value x = input(g, "x"), y = input(g, "y"), flat = graft_flatten(g, x);
    graft_graph_output(g, "z", graft_relu(g, graft_add(g, x, y, 0)));
    graft_graph_output(g, "flat", graft_relu(g, flat));
    check(&b, g);
    bench_free(&b);
}

static void a_view_of_a_view_outlives_what_it_shows(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value h = graft_relu(g, input(g, "x"));
    graft_value flat = graft_flatten(g, h), again = graft_flatten(g, flat);
    graft_graph_output(g, "sum", graft_add(g, h, input(g, "y"), 0)); /* h is read for the last time */
    graft_graph_output(g, "again", again);
    check(&b, g);
    bench_free(&b);
}

static void a_gradient_is_read_by_two_rules(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_value x = graft_relu(g, input(g, "x")), y = graft_add(g, input(g, "y"), x, 0);
    graft_value a = relu_grad(g, x, y), c = relu_grad(g, x, x);
    graft_graph_output(g, "both", graft_sum_into(g, a, c));
    check(&b, g);
    bench_free(&b);
}

static void a_trained_parameter_is_not_overwritten_by_its_reader(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_shape shape = {4, {N, C, SIDE, SIDE}};
    graft_value w = param(&b, g, shape, -1, 1), other = param(&b, g, shape, -1, 1);
    graft_graph_value_mut(g, w)->trained = graft_graph_value_mut(g, other)->trained = true;
    graft_graph_output(g, "y", graft_add(g, w, other, 0));
    check(&b, g);
    bench_free(&b);
}

static void a_frozen_parameter_is_not_overwritten_by_its_reader(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = graft_graph_new(b.arena);
    graft_shape shape = {4, {N, C, SIDE, SIDE}};
    graft_value w = param(&b, g, shape, -1, 1), other = param(&b, g, shape, -1, 1);
    graft_graph_output(g, "y", graft_add(g, w, other, 0));
    check(&b, g);
    bench_free(&b);
}

/* Values of a state after runs of one program with the inputs all one. */
static void check_counters(bench *b, const graft_graph *g, const char *name, const float *want, int n_runs) {
    graft_state *s = bench_state(b);
    if (graft_graph_check(g, &b->err) < 0) fail_msg("%s", b->err.message);
    graft_program *p = bench_compile(b, g, s, 1);
    size_t count;
    float one = 1.0F;
    for (int i = 0; i < n_runs; i++) {
        if (graft_program_input(p, "one", NULL)) bench_set(p, "one", &one, 1);
        bench_run(b, p);
        float got = *bench_read(b, s, name, &count);
        if (got < want[i] || got > want[i]) fail_msg("%s is %g after run %d", name, (double)got, i);
    }
    graft_program_free(p);
    graft_state_free(s);
}

static void a_counter_counts_whichever_operand_it_is(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_shape scalar = {1, {1}};
    for (int first = 0; first < 2; first++) {
        graft_graph *g = graft_graph_new(b.arena);
        graft_value one = graft_graph_input(g, "one", GRAFT_F32, scalar);
        graft_value n = graft_graph_state(g, "n", scalar);
        graft_graph_assign(g, n, first ? graft_add(g, n, one, 0) : graft_add(g, one, n, 0));
        check_counters(&b, g, "n", (float[]){1, 2, 3}, 3);
    }
    bench_free(&b);
}

static void two_states_are_assigned_from_each_other_s_values_before_the_step(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_shape scalar = {1, {1}};
    graft_graph *g = graft_graph_new(b.arena); /* (n, m) <- (m + 1, n + m) */
    graft_value one = graft_graph_input(g, "one", GRAFT_F32, scalar);
    graft_value n = graft_graph_state(g, "n", scalar), m = graft_graph_state(g, "m", scalar);
    graft_graph_assign(g, n, graft_add(g, m, one, 0));
    graft_graph_assign(g, m, graft_add(g, n, m, 0));
    check_counters(&b, g, "n", (float[]){1, 1, 2, 3, 5}, 5); /* m: 0 1 2 4 7 */
    bench_free(&b);
}

static void a_parameter_may_be_assigned_to_a_state(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_shape scalar = {1, {1}};
    float three = 3;
    graft_tensor t = {.dtype = GRAFT_F32, .shape = scalar, .data = &three, .size = sizeof three};
    graft_graph *g = graft_graph_new(b.arena);
    graft_graph_assign(g, graft_graph_state(g, "kept", scalar), graft_graph_param(g, "w", &t, scalar));
    check_counters(&b, g, "kept", (float[]){3, 3}, 2);
    bench_free(&b);
}

static void an_output_shows_a_weight_as_it_was_before_its_update(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_shape scalar = {1, {1}};
    float start = 5, one = 1;
    graft_tensor t = {.dtype = GRAFT_F32, .shape = scalar, .data = &start, .size = sizeof start};
    graft_graph *g = graft_graph_new(b.arena);
    graft_value w = graft_graph_param(g, "w", &t, scalar);
    graft_value dw = graft_graph_input(g, "one", GRAFT_F32, scalar);
    graft_graph_value_mut(g, w)->trained = true;
    graft_sgd(g, w, dw, dw, GRAFT_NONE, (graft_sgd_attr){.lr_scale = 1.0});
    graft_graph_output(g, "before", w);
    graft_program *p = bench_compile(&b, g, b.state, 1);
    for (int i = 0; i < 3; i++) {
        size_t count;
        bench_set(p, "one", &one, 1);
        bench_run(&b, p);
        assert_int_equal((int)*graft_program_output(p, "before", NULL), 5 - i);
        assert_int_equal((int)*bench_read(&b, b.state, "w", &count), 4 - i);
    }
    graft_program_free(p);
    bench_free(&b);
}

/* ---- Any graph --------------------------------------------------------------------------------------------
 */

enum { N_GRAPHS = 150, N_NODES = 14 };

static graft_value pick(graft_rng *r, const graft_value *from, size_t n) {
    size_t recent = n < 4 || graft_rng_below(r, 3) == 0 ? n : 4; /* mostly what was made last */
    return from[n - 1 - graft_rng_below(r, recent)];
}

/* Random ops over random earlier values; every third value is an output, and the last. */
static graft_graph *random_graph(bench *b, uint64_t number) {
    graft_graph *g = graft_graph_new(b->arena);
    graft_rng r = graft_rng_at(5, 0, number, GRAFT_RNG_TEST);
    graft_value wide[N_NODES + 2] = {input(g, "x"), input(g, "y")}, flat[N_NODES + 1];
    size_t n_wide = 2, n_flat = 0;
    flat[n_flat++] = graft_flatten(g, wide[0]);
    for (int i = 0; i < N_NODES; i++) {
        graft_value a = pick(&r, wide, n_wide), c = pick(&r, wide, n_wide), v, f = pick(&r, flat, n_flat);
        bool is_flat = false;
        switch (graft_rng_below(&r, 10)) {
        case 0:
            v = conv(b, g, a, GRAFT_NONE);
            break;
        case 1:
            v = conv(b, g, a, c);
            break;
        case 2:
            v = graft_add(g, a, c, 1);
            break;
        case 3:
            v = graft_sum_into(g, a, c);
            break;
        case 4:
            v = norm(b, g, a);
            break;
        case 5:
            v = relu_grad(g, a, c);
            break;
        case 6:
            v = graft_flatten(g, a), is_flat = true;
            break;
        case 7:
            v = graft_flatten(g, f), is_flat = true;
            break;
        case 8:
            v = graft_add(g, f, pick(&r, flat, n_flat), 0), is_flat = true;
            break;
        default:
            v = graft_relu(g, a);
            break;
        }
        if (is_flat) flat[n_flat++] = v;
        if (!is_flat) wide[n_wide++] = v;
        if (graft_rng_below(&r, 3) == 0 || i == N_NODES - 1)
            graft_graph_output(g, graft_arena_printf(b->arena, "o%d", i), v);
    }
    return g;
}

static void random_graphs_equal_their_references(void **unused) {
    (void)unused;
    for (uint64_t i = 0; i < N_GRAPHS; i++) {
        bench b = bench_new(1);
        check(&b, random_graph(&b, i));
        bench_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_and_its_relu_are_both_read),
        cmocka_unit_test(a_value_is_added_to_itself),
        cmocka_unit_test(a_residual_is_read_again),
        cmocka_unit_test(a_residual_is_the_convolution_s_own_input),
        cmocka_unit_test(a_residual_is_a_view_away_from_a_later_reader),
        cmocka_unit_test(a_view_of_a_view_outlives_what_it_shows),
        cmocka_unit_test(a_gradient_is_read_by_two_rules),
        cmocka_unit_test(a_trained_parameter_is_not_overwritten_by_its_reader),
        cmocka_unit_test(a_frozen_parameter_is_not_overwritten_by_its_reader),
        cmocka_unit_test(a_counter_counts_whichever_operand_it_is),
        cmocka_unit_test(two_states_are_assigned_from_each_other_s_values_before_the_step),
        cmocka_unit_test(a_parameter_may_be_assigned_to_a_state),
        cmocka_unit_test(an_output_shows_a_weight_as_it_was_before_its_update),
        cmocka_unit_test(random_graphs_equal_their_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
