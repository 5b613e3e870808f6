/* Convolutions and poolings of random geometry, forward and both gradients, against their references: odd
 * sizes, windows that do not reach the end, dilation, groups, channels that fill no block. */
#include "programs.h"

#include "graph/op.h"
#include "support/evaluate.h"

enum { N_CASES = 60 };

static int32_t below(graft_rng *r, uint64_t n) {
    return (int32_t)graft_rng_below(r, n);
}

typedef struct geometry {
    graft_shape x, w;
    graft_conv_attr conv;
    graft_pool_attr pool;
} geometry;

static geometry random_geometry(uint64_t number) {
    graft_rng r = graft_rng_at(9, 0, number, GRAFT_RNG_TEST);
    int32_t groups = below(&r, 3) ? 1 : 1 + below(&r, 3);
    int64_t in = groups * (1 + below(&r, 18)), out = groups * (1 + below(&r, 18));
    geometry g = {.x = {4, {1 + below(&r, 3), in, 7 + below(&r, 6), 7 + below(&r, 6)}},
                  .w = {4, {out, in / groups, 1 + below(&r, 3), 1 + below(&r, 3)}},
                  .conv = {.groups = groups}};
    for (int i = 0; i < 2; i++) {
        int32_t kernel = (int32_t)g.w.dims[2 + i];
        g.conv.stride[i] = g.pool.stride[i] = 1 + below(&r, 3);
        g.conv.dilation[i] = 1 + below(&r, 2);
        g.conv.pad[i] = below(&r, 3);
        g.pool.kernel[i] = kernel;
        g.pool.pad[i] = below(&r, (uint64_t)(kernel / 2 + 1));
    }
    return g;
}

/* Inputs and outputs "y", "dx", "dw" of one convolution or pooling. */
static graft_graph *graph_of(bench *b, const geometry *c, int kind) {
    graft_graph *g = graft_graph_new(b->arena);
    graft_value x = graft_graph_input(g, "x", GRAFT_F32, c->x), w = GRAFT_NONE, y, out[2];
    if (kind == 0) w = graft_graph_input(g, "w", GRAFT_F32, c->w);
    y = kind == 0   ? graft_conv2d(g, x, w, GRAFT_NONE, GRAFT_NONE, c->conv)
        : kind == 1 ? graft_max_pool2d(g, x, c->pool)
                    : graft_avg_pool2d(g, x, c->pool);
    if (graft_graph_failed(g)) return NULL; /* a window that does not fit once */
    const graft_node *n = graft_graph_node_at(g, graft_graph_n_nodes(g) - 1);
    graft_value index = n->n_out > 1 ? n->out[1] : GRAFT_NONE;
    graft_value dy = graft_graph_input(g, "dy", GRAFT_F32, graft_graph_value(g, y)->shape);
    graft_graph_output(g, "y", y);
    if (kind == 0) {
        graft_graph_node(g, &graft_op_conv2d_dw, &c->conv, (graft_value[]){x, dy, w}, 3, out);
        graft_graph_output(g, "dw", out[0]);
        graft_graph_node(g, &graft_op_conv2d_dx, &c->conv, (graft_value[]){dy, w, x}, 3, out);
    } else if (kind == 1) {
        graft_graph_node(g, &graft_op_max_pool2d_grad, &c->pool, (graft_value[]){dy, index, x}, 3, out);
    } else {
        graft_graph_node(g, &graft_op_avg_pool2d_grad, &c->pool, (graft_value[]){dy, x}, 2, out);
    }
    graft_graph_output(g, "dx", out[0]);
    if (graft_graph_check(g, &b->err) < 0) fail_msg("%s", b->err.message);
    return g;
}

static void compare(bench *b, const graft_graph *g, const graft_program *p, const evaluation *e,
                    const char *name, uint64_t number) {
    int64_t n = 0;
    const double *want = evaluation_of(e, g, name, &n);
    const float *got = graft_program_output(p, name, NULL);
    double *wide = graft_arena_array(b->arena, (size_t)n, sizeof *wide);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)got[i];
    double apart = evaluate_difference(wide, want, n);
    if (apart < 2e-5) return;
    graft_buf text;
    graft_buf_init(&text, 0);
    graft_graph_print(g, &text);
    fail_msg("case %d, %s: %g off in\n%.*s", (int)number, name, apart, (int)text.size, text.data);
}

static void check(int kind) {
    static const char *const names[] = {"x", "w", "dy"};
    int n_run = 0;
    for (uint64_t number = 0; number < N_CASES; number++) {
        bench b = bench_new(1);
        geometry c = random_geometry(number);
        graft_graph *g = graph_of(&b, &c, kind);
        if (g) {
            evaluate_binding bindings[3];
            size_t n = 0, size = 0;
            graft_program *p = bench_compile(&b, g, b.state, 1);
            for (uint64_t i = 0; i < 3; i++) {
                float *to = graft_program_input(p, names[i], &size);
                if (!to) continue;
                size_t count = size / sizeof(float);
                const float *from = bench_random(&b, count, -1, 1, 40 + i);
                double *wide = graft_arena_array(b.arena, count, sizeof *wide);
                for (size_t k = 0; k < count; k++) wide[k] = (double)from[k];
                memcpy(to, from, size);
                bindings[n++] = (evaluate_binding){names[i], wide};
            }
            evaluation e = evaluate(b.arena, g, 1, bindings, n);
            bench_run(&b, p);
            compare(&b, g, p, &e, "y", number);
            compare(&b, g, p, &e, "dx", number);
            if (kind == 0) compare(&b, g, p, &e, "dw", number);
            graft_program_free(p);
            n_run++;
        }
        bench_free(&b);
    }
    assert_true(n_run > N_CASES / 2);
}

static void convolutions_of_any_geometry_equal_their_references(void **unused) {
    (void)unused;
    check(0);
}

static void max_poolings_of_any_geometry_equal_their_references(void **unused) {
    (void)unused;
    check(1);
}

static void average_poolings_of_any_geometry_equal_their_references(void **unused) {
    (void)unused;
    check(2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_any_geometry_equal_their_references),
        cmocka_unit_test(max_poolings_of_any_geometry_equal_their_references),
        cmocka_unit_test(average_poolings_of_any_geometry_equal_their_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
