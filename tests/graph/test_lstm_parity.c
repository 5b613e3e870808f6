/* Both directions of an LSTM layer and their gradients, from the builder of a graph, against torch.nn.LSTM in
 * double precision over packed texts (tests/parity/lstm). */
#include "golden_ops.h"

#include <stdio.h>
#include <string.h>

typedef struct layer {
    graft_arena *arena;
    graft_tensors tensors;
    const char *name, *suffix; /* of the case, and of the direction's parameters */
    graft_graph *g;
    evaluate_binding bindings[8];
    size_t n_bindings;
} layer;

static const graft_tensor *find(const layer *l, const char *role, const char *suffix) {
    return graft_tensors_find(&l->tensors, graft_arena_printf(l->arena, "%s/%s%s", l->name, role, suffix));
}

static double *read(const layer *l, const char *role, const char *suffix, graft_shape *shape) {
    const graft_tensor *t = find(l, role, suffix);
    if (!t) fail_msg("%s has no %s%s", l->name, role, suffix);
    int64_t n;
    *shape = t->shape;
    return golden_values(l->arena, t, &n);
}

static graft_value given(layer *l, const char *role, const char *suffix) {
    graft_shape shape;
    if (!find(l, role, suffix)) return GRAFT_NONE;
    double *data = read(l, role, suffix, &shape);
    l->bindings[l->n_bindings++] = (evaluate_binding){role, data};
    return graft_graph_param(l->g, role, NULL, shape);
}

static void same(const layer *l, const char *what, const double *got, const double *want, int64_t n) {
    double difference = evaluate_difference(got, want, n);
    if (!(difference <= 5e-7)) fail_msg("%s, %s%s differs by %.3g", l->name, what, l->suffix, difference);
}

/* Columns [first, first + h) of rows of 2h: a direction's half. */
static double *half(const layer *l, const char *role, int64_t first, int64_t *rows, int64_t *h) {
    graft_shape shape;
    const double *all = read(l, role, "", &shape);
    *rows = shape.dims[0];
    *h = shape.dims[1] / 2;
    double *out = graft_arena_array(l->arena, (size_t)(*rows * *h), sizeof *out);
    assert_non_null(out);
    for (int64_t r = 0; r < *rows; r++)
        memcpy(out + r * *h, all + r * 2 * *h + first * *h, (size_t)*h * sizeof *out);
    return out;
}

/* A loss whose gradient at y is dy: the squared distance to y - dy h / 2, each row its mean. */
static graft_value loss_of(layer *l, graft_value y, const double *want, const double *dy, int64_t rows,
                           int64_t h) {
    double *target = graft_arena_array(l->arena, (size_t)(rows * h), sizeof *target);
    double *weight = graft_arena_array(l->arena, (size_t)rows, sizeof *weight);
    assert_true(target && weight);
    for (int64_t i = 0; i < rows * h; i++) target[i] = want[i] - dy[i] * (double)h / 2;
    for (int64_t r = 0; r < rows; r++) weight[r] = 1;
    l->bindings[l->n_bindings++] = (evaluate_binding){"target", target};
    l->bindings[l->n_bindings++] = (evaluate_binding){"weight", weight};
    return graft_mse(l->g, y, graft_graph_param(l->g, "target", NULL, (graft_shape){2, {rows, h}}),
                     graft_graph_param(l->g, "weight", NULL, (graft_shape){1, {rows}}));
}

/* One direction: its half of y, and the gradients of its parameters. Adds its part of dx. */
static void check(layer *l, bool reverse, double *dx) {
    static const char *const roles[] = {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"};
    graft_err err = {0};
    graft_shape shape;
    int64_t rows = 0, h = 0;
    l->g = graft_graph_new(l->arena);
    l->suffix = reverse ? "_reverse" : "";
    l->n_bindings = 0;
    double *want = half(l, "y", reverse, &rows, &h), *dy = half(l, "dy", reverse, &rows, &h);
    graft_value wrt[5], grads[5];
    for (size_t i = 0; i < 4; i++) wrt[i] = given(l, roles[i], l->suffix);
    wrt[4] = given(l, "x", "");
    l->bindings[l->n_bindings++] = (evaluate_binding){"spans", read(l, "spans", "", &shape)};
    graft_value spans = graft_graph_input(l->g, "spans", GRAFT_I32, shape);
    graft_lstm_values w = {.weight_ih = wrt[0], .weight_hh = wrt[1], .bias_ih = wrt[2], .bias_hh = wrt[3]};
    graft_value y = graft_lstm(l->g, wrt[4], w, spans, reverse), loss = loss_of(l, y, want, dy, rows, h);
    bool biased = wrt[2] != GRAFT_NONE;
    if (!biased) wrt[2] = wrt[4];
    if (graft_graph_grad(l->g, loss, wrt, biased ? 5 : 3, grads, &err) < 0) fail_msg("%s", err.message);
    evaluation e = evaluate(l->arena, l->g, 1, l->bindings, l->n_bindings);
    same(l, "y", e.values[y], want, rows * h);
    for (size_t i = 0; i < (biased ? 4 : 2); i++) {
        const char *role = graft_arena_printf(l->arena, "d%s", roles[i]);
        same(l, role, e.values[grads[i]], read(l, role, l->suffix, &shape), e.counts[grads[i]]);
    }
    graft_value last = grads[biased ? 4 : 2];
    for (int64_t i = 0; i < e.counts[last]; i++) dx[i] += e.values[last][i];
}

static void both_directions_are_those_of_pytorch(void **state) {
    (void)state;
    static const char *const cases[] = {"texts", "without_bias"};
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_err err = {0};
        layer l = {.arena = graft_arena_new(NULL), .name = cases[i], .suffix = ""};
        if (graft_safetensors_open(&l.tensors, l.arena, "tests/parity/lstm/lstm.safetensors", &err) < 0)
            fail_msg("%s", err.message);
        graft_shape shape;
        int64_t n = 0;
        const double *want = read(&l, "dx", "", &shape);
        assert_true(graft_shape_count(&shape, &n));
        double *dx = graft_arena_array(l.arena, (size_t)n, sizeof *dx);
        memset(dx, 0, (size_t)n * sizeof *dx);
        check(&l, false, dx);
        check(&l, true, dx);
        same(&l, "dx", dx, want, n);
        graft_arena_free(l.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
