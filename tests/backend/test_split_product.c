/* Split products (bf16x3): against sums in double within 2^-16 of their terms, alone and as the linear layers
 * of programs; the same bits however many threads; ten steps of training beside float32. */
#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void need_splits(void) {
    if (graft_cpu_has_splits()) return;
    print_message("skipped: this processor has no AMX\n");
    skip();
}

static float *floats(graft_arena *arena, int64_t n, uint64_t salt) {
    const double *wide = small_net_random(arena, n, -2.0, 2.0, salt);
    float *x = graft_arena_array(arena, (size_t)n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)wide[i];
    return x;
}

/* ---- The kernel alone --------------------------------------------------------------------------------------- */

#if defined(__x86_64__)

typedef struct matrices {
    size_t m, n, k;
    bool a_turned, b_turned; /* a is (k, m); b is (n, k) */
    const float *a, *b, *bias, *residual;
} matrices;

static float a_at(const matrices *x, size_t i, size_t k) {
    return x->a_turned ? x->a[k * x->m + i] : x->a[i * x->k + k];
}

static float b_at(const matrices *x, size_t k, size_t j) {
    return x->b_turned ? x->b[j * x->k + k] : x->b[k * x->n + j];
}

static uint16_t *packed(graft_split_pack p) {
    const size_t size = graft_split_steps(p.way, p.rows, p.columns) *
                        graft_split_panels(p.way, p.rows, p.columns) * GRAFT_SPLIT_STEP * sizeof *p.to;
    p.to = aligned_alloc(64, size);
    assert_non_null(p.to);
    memset(p.to, 0xff, size); /* what is not written would be seen */
    for (size_t i = 0; i < (p.rows + 31) / 32; i++) graft_split_amx.pack(&p, i);
    return p.to;
}

/* c, in `cuts` parts of its columns. */
static void multiply(const matrices *x, graft_split_product p, size_t cuts) {
    uint16_t *a = packed((graft_split_pack){.from = x->a,
                                            .rows = x->a_turned ? x->k : x->m,
                                            .columns = x->a_turned ? x->m : x->k,
                                            .way = x->a_turned ? GRAFT_SPLIT_A_TURNED : GRAFT_SPLIT_A});
    uint16_t *b = packed((graft_split_pack){.from = x->b,
                                            .rows = x->b_turned ? x->n : x->k,
                                            .columns = x->b_turned ? x->k : x->n,
                                            .way = x->b_turned ? GRAFT_SPLIT_B_TURNED : GRAFT_SPLIT_B});
    p.a = a;
    p.b = b;
    p.m = x->m;
    p.n = x->n;
    p.steps = (x->k + 31) / 32;
    const size_t rows = (x->m + 31) / 32, cols = (x->n + 31) / 32;
    for (size_t i = 0; i < cuts; i++)
        graft_split_amx.multiply(&p, 0, rows, cols * i / cuts, cols * (i + 1) / cuts);
    free(a);
    free(b);
}

/* Largest |c - want| relative to the sum of |terms|. */
static double error_of(const matrices *x, const float *c) {
    double worst = 0;
    for (size_t i = 0; i < x->m; i++) {
        for (size_t j = 0; j < x->n; j++) {
            double sum = x->bias ? (double)x->bias[j] : 0, terms = fabs(sum);
            if (x->residual) sum += (double)x->residual[i * x->n + j];
            if (x->residual) terms += fabs((double)x->residual[i * x->n + j]);
            for (size_t k = 0; k < x->k; k++) {
                double t = (double)a_at(x, i, k) * (double)b_at(x, k, j);
                sum += t;
                terms += fabs(t);
            }
            worst = fmax(worst, fabs((double)c[i * x->n + j] - sum) / terms);
        }
    }
    return worst;
}

static void a_product_is_right_to_16_bits_whatever_its_shape(void **state) {
    (void)state;
    need_splits();
    static const size_t shapes[][3] = {{1, 1, 1},    {16, 16, 32}, {32, 32, 64},  {33, 31, 65},
                                       {64, 96, 40}, {5, 70, 300}, {130, 3, 257}, {47, 50, 545}};
    for (size_t s = 0; s < GRAFT_COUNT(shapes); s++) {
        graft_arena *arena = graft_arena_new(NULL);
        matrices x = {.m = shapes[s][0], .n = shapes[s][1], .k = shapes[s][2]};
        const int64_t m = (int64_t)x.m, n = (int64_t)x.n, k = (int64_t)x.k;
        const float *bias = floats(arena, n, 3), *residual = floats(arena, m * n, 4);
        float *c = floats(arena, m * n, 5), *again = floats(arena, m * n, 6);
        x.a = floats(arena, m * k, 1);
        x.b = floats(arena, n * k, 2);
        for (int way = 0; way < 16; way++) {
            x.a_turned = way & 1;
            x.b_turned = way & 2;
            x.bias = way & 4 ? bias : NULL;
            x.residual = way & 8 ? residual : NULL;
            multiply(&x, (graft_split_product){.c = c, .bias = x.bias, .residual = x.residual}, 1);
            double error = error_of(&x, c);
            if (!(error <= 0x1p-16))
                fail_msg("(%d, %d, %d), way %d: %g off", (int)m, (int)n, (int)k, way, error);
            if (x.residual) memcpy(again, residual, x.m * x.n * sizeof *again);
            multiply(&x, (graft_split_product){.c = again, .bias = x.bias, .onto = x.residual != NULL}, 3);
            if (x.residual) {
                assert_true(error_of(&x, again) <= 0x1p-16);
            } else {
                assert_memory_equal(again, c, x.m * x.n * sizeof *c);
            }
        }
        graft_arena_free(arena);
    }
}

static void activations_are_joined_after_bias_and_residual(void **state) {
    (void)state;
    need_splits();
    graft_arena *arena = graft_arena_new(NULL);
    matrices x = {.m = 37, .n = 45, .k = 50, .a = floats(arena, 37 * 50, 1), .b = floats(arena, 45 * 50, 2)};
    const float *bias = floats(arena, 45, 3);
    float *plain = floats(arena, 37 * 45, 4), *c = floats(arena, 37 * 45, 5);
    multiply(&x, (graft_split_product){.c = plain, .bias = bias}, 1);
    multiply(&x, (graft_split_product){.c = c, .bias = bias, .act = GRAFT_ACT_RELU}, 1);
    for (size_t i = 0; i < x.m * x.n; i++) assert_true(fabsf(c[i] - fmaxf(plain[i], 0)) <= 0);
    multiply(&x, (graft_split_product){.c = c, .bias = bias, .act = GRAFT_ACT_GELU}, 1);
    for (size_t i = 0; i < x.m * x.n; i++) {
        double at = (double)plain[i], want = 0.5 * at * erfc(-at / sqrt(2.0));
        assert_true(fabs((double)c[i] - want) <= 1e-6 * (1 + fabs(want)));
    }
    graft_arena_free(arena);
}

static void what_is_not_finite_stays_so(void **state) {
    (void)state;
    need_splits();
    graft_arena *arena = graft_arena_new(NULL);
    static const float odd[] = {INFINITY, -INFINITY, NAN, 3.4028234e38F};
    matrices x = {.m = 20, .n = 20, .k = 20, .b = floats(arena, 400, 2)};
    float *a = floats(arena, 400, 1), *c = floats(arena, 400, 3);
    x.a = a;
    for (size_t i = 0; i < GRAFT_COUNT(odd); i++) {
        a[5 * 20 + 7] = odd[i];
        multiply(&x, (graft_split_product){.c = c}, 1);
        for (size_t k = 0; k < 400; k++) assert_true((k / 20 == 5) == !isfinite(c[k]));
    }
    graft_arena_free(arena);
}

#endif

/* ---- In programs ---------------------------------------------------------------------------------------------- */

enum { ROWS = 120, IN = 72, INNER = 100, OUT = 64 };

typedef struct network {
    graft_graph *g;
    graft_value p[5];
} network;

static const char *const names[5] = {"up", "up.b", "down", "down.b", "same"};

static graft_value param(graft_graph *g, const char *name, graft_shape shape, uint64_t salt) {
    graft_arena *arena = graft_graph_arena(g);
    int64_t n = 0;
    graft_tensor *t = graft_arena_alloc(arena, sizeof *t);
    assert_true(t != NULL && graft_shape_count(&shape, &n));
    float *data = floats(arena, n, salt);
    for (int64_t i = 0; i < n; i++) data[i] *= 0.1F;
    *t = (graft_tensor){
        .name = name, .dtype = GRAFT_F32, .shape = shape, .data = data, .size = (size_t)n * sizeof *data};
    return graft_graph_param(g, name, t, shape);
}

/* y = gelu(x up^T + b) down + b, and a layer with a residual; loss: what y's distance from `target` is. */
static network build(graft_arena *arena, bool trained, graft_precision precision) {
    static const graft_shape shapes[5] = {
        {2, {INNER, IN}}, {1, {INNER}}, {2, {INNER, OUT}}, {1, {OUT}}, {2, {OUT, OUT}}};
    network net = {.g = graft_graph_new(arena)};
    graft_graph *fused = NULL;
    graft_err err = {0};
    for (size_t i = 0; i < 5; i++) {
        net.p[i] = param(net.g, names[i], shapes[i], 10 + i);
        graft_graph_value_mut(net.g, net.p[i])->trained = trained;
    }
    graft_value x = graft_graph_input(net.g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, IN}});
    graft_value h = graft_gelu(net.g, graft_linear(net.g, x, net.p[0], net.p[1]));
    graft_value y = graft_linear_in_out(net.g, h, net.p[2], net.p[3]);
    y = graft_add(net.g, graft_linear(net.g, y, net.p[4], GRAFT_NONE), y, 0);
    graft_graph_output(net.g, "y", y);
    int rc = trained ? graft_graph_fuse_training(&fused, arena, net.g, &err)
                     : graft_graph_fuse(&fused, arena, net.g, &err);
    if (rc < 0) fail_msg("%s", err.message);
    net.g = fused;
    for (size_t i = 0; i < 5; i++) net.p[i] = graft_graph_find(fused, names[i]);
    if (trained) {
        graft_value grads[5];
        graft_value target =
            graft_graph_input(fused, "target", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, OUT}});
        graft_value weight =
            graft_graph_input(fused, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
        graft_value lr = graft_graph_input(fused, "lr", GRAFT_F32, (graft_shape){1, {1}});
        graft_value loss = graft_cross_entropy(fused, graft_graph_find(fused, "y"), target, weight);
        rc = graft_graph_grad(fused, loss, net.p, 5, grads, &err);
        for (size_t i = 0; i < 5 && rc == 0; i++)
            graft_sgd(fused, net.p[i], grads[i], lr, GRAFT_NONE, (graft_sgd_attr){.lr_scale = 1});
        graft_graph_output(fused, "loss", loss);
    }
    if (rc == 0) rc = graft_graph_precision(fused, precision, &err);
    if (rc < 0) fail_msg("%s", err.message);
    return net;
}

typedef struct room {
    graft_env *env;
    graft_state *state;
    graft_program *program;
} room;

static room open_room(const network *net, int threads) {
    room r = {0};
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    graft_err err = {0};
    o.threads = threads;
    assert_int_equal(graft_env_new(&r.env, &o, NULL), 0);
    assert_int_equal(graft_state_new(&r.state, r.env, &err), 0);
    if (graft_program_compile(&r.program, net->g, r.state, &(graft_compile_options){.batch = ROWS}, &err) < 0)
        fail_msg("%s", err.message);
    return r;
}

static void close_room(room *r) {
    graft_program_free(r->program);
    graft_state_free(r->state);
    graft_env_free(r->env);
}

static void run(graft_arena *arena, room *r) {
    const float *x = floats(arena, ROWS * IN, 1);
    graft_err err = {0};
    float *to = graft_program_input(r->program, "x", NULL);
    memcpy(to, x, sizeof(float) * ROWS * IN);
    float *target = graft_program_input(r->program, "target", NULL);
    if (target) {
        float *weight = graft_program_input(r->program, "weight", NULL);
        memset(target, 0, sizeof *target * ROWS * OUT);
        for (size_t i = 0; i < ROWS; i++) target[i * OUT + i % OUT] = 1;
        for (size_t i = 0; i < ROWS; i++) weight[i] = 1.0F / ROWS;
        *(float *)graft_program_input(r->program, "lr", NULL) = 0.5F;
    }
    if (graft_program_run(r->program, &err) < 0) fail_msg("%s", err.message);
}

static size_t count_text(const char *text, const char *word) {
    size_t n = 0;
    for (; (text = strstr(text, word)) != NULL; text++) n++;
    return n;
}

static void frozen_layers_are_packed_once_and_near_float32(void **state) {
    (void)state;
    need_splits();
    graft_arena *arena = graft_arena_new(NULL);
    network plain = build(arena, false, GRAFT_PRECISION_FP32),
            split = build(arena, false, GRAFT_PRECISION_BF16X3);
    room a = open_room(&plain, 2), b = open_room(&split, 2);
    run(arena, &a);
    run(arena, &b);
    const float *want = graft_program_output(a.program, "y", NULL);
    const float *got = graft_program_output(b.program, "y", NULL);
    bool same = true;
    for (size_t i = 0; i < ROWS * OUT; i++) {
        assert_true(fabsf(got[i] - want[i]) <= 1e-4F);
        same = same && !(got[i] < want[i]) && !(got[i] > want[i]);
    }
    assert_false(same);
    graft_buf text;
    graft_buf_init(&text, 0);
    assert_int_equal(graft_program_trace(b.program, &text, NULL), 0);
    assert_int_equal(count_text(text.data, "bf16x3:amx"), 3);
    assert_int_equal(count_text(text.data, "split:amx"), 3); /* what the layers read, not their weights */
    graft_buf_done(&text);
    close_room(&a);
    close_room(&b);
    graft_arena_free(arena);
}

/* y = (x up^T) same^T with up trained: what comes back to it goes through `same`, which is frozen. */
static network build_between(graft_arena *arena, graft_precision precision) {
    network net = {.g = graft_graph_new(arena)};
    graft_graph *g = net.g;
    graft_err err = {0};
    graft_value up = param(g, "up", (graft_shape){2, {OUT, IN}}, 20), grad;
    graft_graph_value_mut(g, up)->trained = true;
    graft_value same = param(g, "same", (graft_shape){2, {OUT, OUT}}, 21);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, IN}});
    graft_value target = graft_graph_input(g, "target", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, OUT}});
    graft_value weight = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
    graft_value y = graft_linear(g, graft_linear(g, x, up, GRAFT_NONE), same, GRAFT_NONE);
    graft_value loss = graft_cross_entropy(g, y, target, weight);
    int rc = graft_graph_grad(g, loss, &up, 1, &grad, &err);
    graft_graph_output(g, "d up", grad);
    if (rc == 0) rc = graft_graph_precision(g, precision, &err);
    if (rc < 0) fail_msg("%s", err.message);
    return net;
}

static void compile_rows(room *r, const network *net, int64_t rows) {
    graft_program_free(r->program);
    graft_err err = {0};
    if (graft_program_compile(&r->program, net->g, r->state, &(graft_compile_options){.batch = rows}, &err) <
        0)
        fail_msg("%s", err.message);
}

static void frozen_weights_of_many_rows_are_kept_once(void **state) {
    (void)state;
    need_splits();
    enum { MANY = 512 };
    graft_arena *arena = graft_arena_new(NULL);
    network plain = build_between(arena, GRAFT_PRECISION_FP32),
            split = build_between(arena, GRAFT_PRECISION_BF16X3);
    room few = open_room(&split, 2), a = open_room(&plain, 2), b = open_room(&split, 2);
    assert_int_equal(graft_program_needs(few.program).weights, 2 * OUT * OUT * sizeof(float));
    close_room(&b);
    b = (room){0};
    assert_int_equal(graft_env_new(&b.env, NULL, NULL), 0);
    assert_int_equal(graft_state_new(&b.state, b.env, NULL), 0);
    compile_rows(&b, &split, MANY);
    compile_rows(&a, &plain, MANY);
    assert_int_equal(graft_program_needs(b.program).weights, OUT * OUT * sizeof(float));
    room *both[] = {&a, &b};
    const float *d[2];
    for (size_t i = 0; i < 2; i++) {
        float *weight = graft_program_input(both[i]->program, "weight", NULL);
        memcpy(graft_program_input(both[i]->program, "x", NULL), floats(arena, MANY * IN, 1),
               sizeof(float) * MANY * IN);
        memcpy(graft_program_input(both[i]->program, "target", NULL), floats(arena, MANY * OUT, 2),
               sizeof(float) * MANY * OUT);
        for (size_t k = 0; k < MANY; k++) weight[k] = 1.0F / MANY;
        assert_int_equal(graft_program_run(both[i]->program, NULL), 0);
        d[i] = graft_program_output(both[i]->program, "d up", NULL);
    }
    bool same = true;
    for (size_t i = 0; i < OUT * IN; i++) {
        assert_true(fabsf(d[0][i] - d[1][i]) <= 1e-5F);
        same = same && !(d[0][i] < d[1][i]) && !(d[0][i] > d[1][i]);
    }
    assert_false(same);
    close_room(&few);
    close_room(&a);
    close_room(&b);
    graft_arena_free(arena);
}

static void ten_steps_lose_as_float32_does(void **state) {
    (void)state;
    need_splits();
    graft_arena *arena = graft_arena_new(NULL);
    network plain = build(arena, true, GRAFT_PRECISION_FP32),
            split = build(arena, true, GRAFT_PRECISION_BF16X3);
    room a = open_room(&plain, 2), b = open_room(&split, 2);
    double first = 0, last = 0;
    for (int i = 0; i < 10; i++) {
        run(arena, &a);
        run(arena, &b);
        last = (double)*graft_program_output(a.program, "loss", NULL);
        if (i == 0) first = last;
        assert_true(fabs((double)*graft_program_output(b.program, "loss", NULL) - last) <= 1e-5 * last);
    }
    assert_true(last < 0.9 * first);
    close_room(&a);
    close_room(&b);
    graft_arena_free(arena);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    need_splits();
    graft_arena *arena = graft_arena_new(NULL);
    network net = build(arena, true, GRAFT_PRECISION_BF16X3);
    room rooms[3] = {open_room(&net, 1), open_room(&net, 2), open_room(&net, 5)};
    for (size_t i = 0; i < 3; i++)
        for (int step = 0; step < 2; step++) run(arena, &rooms[i]);
    for (size_t i = 0; i < 5; i++) {
        const graft_shape *shape = graft_state_shape(rooms[0].state, names[i]);
        int64_t n = 0;
        assert_true(shape != NULL && graft_shape_count(shape, &n));
        float *one = floats(arena, n, 1), *other = floats(arena, n, 2);
        assert_int_equal(graft_state_read(rooms[0].state, names[i], one, (size_t)n, NULL), 0);
        for (size_t k = 1; k < 3; k++) {
            assert_int_equal(graft_state_read(rooms[k].state, names[i], other, (size_t)n, NULL), 0);
            assert_memory_equal(other, one, (size_t)n * sizeof *one);
        }
    }
    for (size_t i = 0; i < 3; i++) close_room(&rooms[i]);
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
        cmocka_unit_test(a_product_is_right_to_16_bits_whatever_its_shape),
        cmocka_unit_test(activations_are_joined_after_bias_and_residual),
        cmocka_unit_test(what_is_not_finite_stays_so),
#endif
        cmocka_unit_test(frozen_layers_are_packed_once_and_near_float32),
        cmocka_unit_test(frozen_weights_of_many_rows_are_kept_once),
        cmocka_unit_test(ten_steps_lose_as_float32_does),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
