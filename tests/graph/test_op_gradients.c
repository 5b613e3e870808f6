/* Gradient rules against finite differences: for each case of each op with a gradient, the nodes that the
 * rule adds are computed in double by the references, and <dx, u> is held against ( <dy, y(x + h u)> - <dy,
 * y(x - h u)> ) / 2h along a random direction u, for all inputs at once; with GRAFT_LONG=1 along single
 * coordinates too: every one of an input, or some MANY_COORDINATES spread over a large one. */
#include "graph/op.h"
#include "support/evaluate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_INPUTS = 12, MAX_RESULTS = 4, MANY_COORDINATES = 500 };

/* Inputs that a gradient reaches: all floating ones but those named here. */
static uint32_t reachable(const graft_op *op) {
    const struct {
        const graft_op *op;
        uint32_t inputs;
    } some[] = {
        {&graft_op_batch_norm, 7},   {&graft_op_cross_entropy, 1}, {&graft_op_bce_logits, 1},
        {&graft_op_mse, 1},          {&graft_op_dropout, 1},       {&graft_op_crf_nll, 15},
        {&graft_op_twin_kl, 1},      {&graft_op_spectral_tail, 1}, {&graft_op_focal, 1},
        {&graft_op_focal_logits, 1}, {&graft_op_add_row, 1},       {&graft_op_scale_rows, 1},
    };
    for (size_t i = 0; i < GRAFT_COUNT(some); i++)
        if (some[i].op == op) return some[i].inputs;
    return ((1u << MAX_INPUTS) - 1) & ~op->shape_only;
}

typedef struct problem {
    const graft_op *op;
    const graft_op_case *test;
    graft_arena *arena;
    graft_graph *forward, *g; /* the op alone; the op and its gradient */
    graft_value out, dy, din[MAX_INPUTS];
    bool wanted[MAX_INPUTS];
    char name[MAX_INPUTS][8];
    int64_t count[MAX_INPUTS];
    double *x[MAX_INPUTS], *at[MAX_INPUTS]; /* the point, and a copy that is moved */
    double *weights;                        /* dy */
    const double *gradient[MAX_INPUTS];
} problem;

static double *new_values(graft_arena *arena, int64_t n, uint64_t stream, double low, double high) {
    double *out = graft_arena_array(arena, (size_t)n, sizeof *out);
    assert_non_null(out);
    graft_rng rng = graft_rng_at(11, 0, stream, GRAFT_RNG_TEST);
    for (int64_t k = 0; k < n; k++) out[k] = low + (high - low) * graft_rng_uniform(&rng);
    return out;
}

static void begin(problem *p, const graft_op *op, const graft_op_case *test) {
    *p = (problem){.op = op, .test = test, .arena = graft_arena_new(NULL), .dy = GRAFT_NONE};
    assert_non_null(p->arena);
    for (size_t i = 0; i < test->n_in; i++) {
        snprintf(p->name[i], sizeof p->name[i], "in%u", (unsigned)i % 100u);
        p->din[i] = GRAFT_NONE;
        if (test->in[i].rank < 0) continue;
        assert_true(graft_shape_count(&test->in[i], &p->count[i]));
        p->wanted[i] = test->dtype[i] == GRAFT_F32 && (reachable(op) >> i & 1);
        bool usual = test->low[i] == 0 && test->high[i] == 0;
        p->x[i] = new_values(p->arena, p->count[i], i, usual ? -1 : test->low[i], usual ? 1 : test->high[i]);
        for (int64_t k = 0; (test->whole >> i & 1) && k < p->count[i]; k++) p->x[i][k] = floor(p->x[i][k]);
        if (test->data[i] != NULL) memcpy(p->x[i], test->data[i], (size_t)p->count[i] * sizeof(double));
        p->at[i] = graft_arena_array(p->arena, (size_t)p->count[i], sizeof(double));
        assert_non_null(p->at[i]);
        memcpy(p->at[i], p->x[i], (size_t)p->count[i] * sizeof(double));
    }
}

static graft_graph *add_op(problem *p) {
    graft_graph *g = graft_graph_new(p->arena);
    graft_value in[MAX_INPUTS], out[MAX_RESULTS];
    assert_non_null(g);
    for (size_t i = 0; i < p->test->n_in; i++)
        in[i] = p->at[i] ? graft_graph_input(g, p->name[i], p->test->dtype[i], p->test->in[i]) : GRAFT_NONE;
    graft_graph_node(g, p->op, p->test->attr, in, p->test->n_in, out);
    graft_err err = {0};
    if (graft_graph_end(g, &err) < 0) fail_msg("%s, %s: %s", p->op->name, p->test->name, err.message);
    p->out = out[0];
    return g;
}

static void add_gradient(problem *p, const bool *wanted) {
    const graft_value dout[MAX_RESULTS] = {p->dy, GRAFT_NONE, GRAFT_NONE, GRAFT_NONE};
    p->op->grad(p->g, graft_graph_node_at(p->g, 0), dout, wanted, p->din);
}

/* The op's node, then the nodes of its gradient; dy is an input, missing for a loss when `root`. */
static void build(problem *p, bool root) {
    p->forward = add_op(p);
    p->g = add_op(p);
    if (!root) {
        graft_shape shape = graft_graph_value(p->g, p->out)->shape;
        int64_t n;
        assert_true(graft_shape_count(&shape, &n));
        p->dy = graft_graph_input(p->g, "dy", GRAFT_F32, shape);
        p->weights = new_values(p->arena, n, MAX_INPUTS, -1, 1);
    }
    add_gradient(p, p->wanted);
}

static evaluation run(const problem *p, graft_arena *arena, const graft_graph *g) {
    evaluate_binding bindings[MAX_INPUTS + 1];
    size_t n = 0;
    for (size_t i = 0; i < p->test->n_in; i++)
        if (p->at[i] != NULL) bindings[n++] = (evaluate_binding){p->name[i], p->at[i]};
    if (p->weights != NULL) bindings[n++] = (evaluate_binding){"dy", p->weights};
    return evaluate(arena, g, 1, bindings, n);
}

static void find_gradients(problem *p) {
    evaluation e = run(p, p->arena, p->g);
    for (size_t i = 0; i < p->test->n_in; i++) {
        if (!p->wanted[i]) continue;
        if (p->din[i] == GRAFT_NONE) fail_msg("%s gives no gradient for input %zu", p->op->name, i);
        assert_true(graft_shape_equal(&e.shapes[p->din[i]], &p->test->in[i]));
        p->gradient[i] = e.values[p->din[i]];
    }
}

/* The op's values at x + h u; the caller frees the arena. */
static const double *values_at(problem *p, graft_arena *scratch, double *const *u, double h, int64_t *count) {
    for (size_t i = 0; i < p->test->n_in; i++) {
        for (int64_t k = 0; p->wanted[i] && k < p->count[i]; k++) p->at[i][k] = p->x[i][k] + h * u[i][k];
    }
    evaluation e = run(p, scratch, p->forward);
    *count = e.counts[p->out];
    return e.values[p->out];
}

/* Whether differences of width h agree with the slope to a millionth of its terms; of the value's own size,
 * rounding may cost about 1e-16 / h. The difference is taken output by output: that of the sums would lose,
 * among 10^5 outputs that do not move, the few that do. */
static bool agrees(problem *p, double *const *u, double h, double slope, double size) {
    graft_arena *scratch = graft_arena_new(NULL);
    assert_non_null(scratch);
    int64_t n;
    const double *above = values_at(p, scratch, u, h, &n), *below = values_at(p, scratch, u, -h, &n);
    double value = 0, difference = 0;
    for (int64_t k = 0; k < n; k++) {
        double weight = p->weights != NULL ? p->weights[k] : 1;
        value += weight * above[k];
        difference += weight * (above[k] - below[k]);
    }
    graft_arena_free(scratch);
    double rounding = (fabs(value) + 1) * 1e-15 / h;
    return fabs(difference / (2 * h) - slope) <= 1e-6 * (size + 1e-2) + rounding;
}

static void compare(problem *p, double *const *u, const char *along) {
    double slope = 0, size = 0;
    for (size_t i = 0; i < p->test->n_in; i++) {
        for (int64_t k = 0; p->wanted[i] && k < p->count[i]; k++) {
            slope += p->gradient[i][k] * u[i][k];
            size += fabs(p->gradient[i][k] * u[i][k]);
        }
    }
    /* Of many coordinates one may stand so near a kink (relu, max) that only a narrower look stays on its
     * side. */
    if (!agrees(p, u, 1e-5, slope, size) && !agrees(p, u, 1e-7, slope, size))
        fail_msg("%s, %s, along %s: gradient %.12g is not what differences say", p->op->name, p->test->name,
                 along, slope);
}

static void check_problem(problem *p) {
    double *u[MAX_INPUTS] = {0};
    for (size_t i = 0; i < p->test->n_in; i++)
        if (p->wanted[i]) u[i] = new_values(p->arena, p->count[i], 100 + i, -1, 1);
    compare(p, u, "a random direction");
    if (getenv("GRAFT_LONG") == NULL) return;
    for (size_t i = 0; i < p->test->n_in; i++)
        for (int64_t k = 0; p->wanted[i] && k < p->count[i]; k++) u[i][k] = 0;
    for (size_t i = 0; i < p->test->n_in; i++) {
        int64_t stride = p->count[i] / MANY_COORDINATES | 1; /* odd: even ones keep to few columns */
        for (int64_t k = 0; p->wanted[i] && k < p->count[i]; k += stride) {
            char along[64];
            snprintf(along, sizeof along, "input %zu [%lld]", i, (long long)k);
            u[i][k] = 1;
            compare(p, u, along);
            u[i][k] = 0;
        }
    }
}

/* What only inference may use. */
static bool is_fused(const graft_op *op, const graft_op_case *test) {
    if (op == &graft_op_linear) return ((const graft_linear_attr *)test->attr)->act > GRAFT_ACT_RELU;
    return op == &graft_op_conv2d && test->in[3].rank >= 0;
}

/* Where values are whole numbers the op has ties, and no derivative. */
static bool has_derivative(const graft_op *op, const graft_op_case *test) {
    for (size_t i = 0; i < test->n_in; i++)
        if ((test->whole >> i & 1) && test->dtype[i] == GRAFT_F32) return false;
    return !is_fused(op, test);
}

static int check_all(bool root) {
    int n = 0;
    for (const graft_op *const *op = graft_ops(); *op != NULL; op++) {
        if ((*op)->grad == NULL || (root && !(*op)->loss)) continue;
        for (size_t k = 0; k < (*op)->n_cases; k++) {
            if (!has_derivative(*op, &(*op)->cases[k])) continue;
            problem p;
            begin(&p, *op, &(*op)->cases[k]);
            build(&p, root);
            graft_err err = {0};
            if (graft_graph_end(p.g, &err) < 0) fail_msg("%s, %s: %s", p.op->name, p.test->name, err.message);
            find_gradients(&p);
            check_problem(&p);
            graft_arena_free(p.arena);
            n++;
        }
    }
    return n;
}

static void gradients_match_finite_differences(void **state) {
    (void)state;
    assert_true(check_all(false) > 50);
}

static void a_loss_that_is_the_root_has_seed_one(void **state) {
    (void)state;
    assert_true(check_all(true) > 8);
}

static int check_fused(const graft_op *op) {
    int n = 0;
    for (size_t k = 0; k < op->n_cases; k++) {
        if (!is_fused(op, &op->cases[k])) continue;
        problem p;
        begin(&p, op, &op->cases[k]);
        build(&p, false);
        graft_err err = {0};
        assert_int_equal(graft_graph_end(p.g, &err), GRAFT_EINTERNAL);
        assert_non_null(strstr(err.message, "fused"));
        graft_arena_free(p.arena);
        n++;
    }
    return n;
}

static void what_is_fused_for_inference_has_no_gradient(void **state) {
    (void)state;
    assert_true(check_fused(&graft_op_conv2d) >= 2);
    assert_true(check_fused(&graft_op_linear) >= 4);
}

static void statistics_and_targets_have_no_gradient(void **state) {
    (void)state;
    const struct {
        const graft_op *op;
        size_t input;
    } some[] = {{&graft_op_batch_norm, 3},
                {&graft_op_batch_norm, 4},
                {&graft_op_cross_entropy, 1},
                {&graft_op_mse, 2}};
    for (size_t i = 0; i < GRAFT_COUNT(some); i++) {
        problem p;
        bool wanted[MAX_INPUTS] = {0};
        wanted[some[i].input] = true;
        begin(&p, some[i].op, &some[i].op->cases[0]);
        build(&p, false);
        assert_int_equal(graft_graph_end(p.g, NULL), 0);
        add_gradient(&p, wanted);
        graft_err err = {0};
        assert_true(graft_graph_end(p.g, &err) < 0);
        assert_non_null(strstr(err.message, "with respect to"));
        graft_arena_free(p.arena);
    }
}

/* Three steps in double against the recurrences written out for one number. */
static void optimisers_follow_their_recurrences(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = graft_graph_new(arena);
    const graft_shape one = {1, {1}};
    graft_value dw = graft_graph_input(g, "dw", GRAFT_F32, one),
                lr = graft_graph_input(g, "lr", GRAFT_F32, one);
    graft_value step = graft_graph_input(g, "step", GRAFT_F32, one);
    graft_value a = graft_graph_param(g, "a", NULL, one), b = graft_graph_param(g, "b", NULL, one);
    graft_sgd(g, a, dw, lr, GRAFT_NONE,
              (graft_sgd_attr){.momentum = 0.5, .weight_decay = 0.1, .lr_scale = 2, .nesterov = 1});
    graft_adam(
        g, b, dw, lr, step, GRAFT_NONE,
        (graft_adam_attr){
            .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-3, .weight_decay = 0.1, .lr_scale = 1, .decoupled = 1});
    assert_int_equal(graft_graph_end(g, NULL), 0);
    double d, t, rate = 0.25, kept[5] = {1, 0, 1, 0, 0}, expected[5] = {1, 0, 1, 0, 0};
    const char *const names[5] = {"a", "a/momentum", "b", "b/exp_avg", "b/exp_avg_sq"};
    evaluate_binding bindings[8] = {{"dw", &d}, {"step", &t}, {"lr", &rate}};
    for (size_t i = 0; i < 5; i++) bindings[3 + i] = (evaluate_binding){names[i], &kept[i]};
    for (t = 1; t <= 3; t++) {
        d = t == 2 ? -0.5 : 0.75;
        evaluation e = evaluate(arena, g, 1, bindings, GRAFT_COUNT(bindings));
        const graft_assign *assigns;
        assert_int_equal(graft_graph_assigns(g, &assigns), 5);
        for (size_t i = 0; i < 5; i++) {
            for (size_t k = 0; k < 5; k++) {
                if (strcmp(graft_graph_value(g, assigns[i].target)->name, names[k]) == 0)
                    kept[k] = e.values[assigns[i].value][0];
            }
        }
        double *w = expected, *v = expected + 1, *x = expected + 2, *m = expected + 3, *s = expected + 4;
        double ga = d + 0.1 * *w;
        *v = 0.5 * *v + ga;
        *w -= 0.25 * 2 * (ga + 0.5 * *v);
        *m = 0.5 * *m + 0.5 * d;
        *s = 0.75 * *s + 0.25 * d * d;
        *x = *x * (1 - 0.25 * 0.1) - 0.25 * (*m / (1 - pow(0.5, t))) / (sqrt(*s / (1 - pow(0.75, t))) + 1e-3);
        for (size_t i = 0; i < 5; i++) assert_true(fabs(kept[i] - expected[i]) < 1e-12);
    }
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_finite_differences),
        cmocka_unit_test(a_loss_that_is_the_root_has_seed_one),
        cmocka_unit_test(what_is_fused_for_inference_has_no_gradient),
        cmocka_unit_test(statistics_and_targets_have_no_gradient),
        cmocka_unit_test(optimisers_follow_their_recurrences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
