/* Every row of the op table over every one of its cases, without a backend. */
#include "graph/op.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_INPUTS = 12, MAX_RESULTS = 4 };

/* One case with room for its values. */
typedef struct trial {
    const graft_op *op;
    const graft_op_case *test;
    graft_shape out_shape[MAX_RESULTS];
    graft_dtype out_dtype[MAX_RESULTS];
    double *in[MAX_INPUTS];
    double *out[MAX_RESULTS];
    size_t in_size[MAX_INPUTS], out_size[MAX_RESULTS]; /* bytes */
} trial;

static size_t bytes_of(const graft_shape *s) {
    int64_t n;
    assert_true(graft_shape_count(s, &n));
    return (size_t)n * sizeof(double);
}

static int infer(const graft_op *op, const void *attr, const graft_shape *in, const graft_dtype *dtype,
                 size_t n_in, graft_shape *out_shape, graft_dtype *out_dtype, graft_err *err) {
    graft_value_info infos[MAX_INPUTS] = {0};
    const graft_value_info *pointers[MAX_INPUTS] = {0};
    for (size_t i = 0; i < n_in; i++) {
        infos[i] = (graft_value_info){.kind = GRAFT_INPUT, .dtype = dtype[i], .shape = in[i]};
        if (in[i].rank >= 0) pointers[i] = &infos[i];
    }
    for (size_t o = 0; o < MAX_RESULTS; o++) {
        out_shape[o] = (graft_shape){0};
        out_dtype[o] = GRAFT_F32;
    }
    graft_op_types t = {pointers, n_in, attr, out_shape, out_dtype};
    return op->shape(&t, err);
}

static void open_trial(trial *t, const graft_op *op, const graft_op_case *test) {
    graft_err err = {0};
    *t = (trial){.op = op, .test = test};
    int rc = infer(op, test->attr, test->in, test->dtype, test->n_in, t->out_shape, t->out_dtype, &err);
    if (rc < 0) fail_msg("%s, %s: %s", op->name, test->name, err.message);
    for (size_t i = 0; i < test->n_in; i++) {
        if (test->in[i].rank < 0) continue;
        double low = test->low[i], high = test->high[i];
        if (low == 0 && high == 0) low = -1, high = 1;
        t->in_size[i] = bytes_of(&test->in[i]);
        t->in[i] = malloc(t->in_size[i]);
        assert_non_null(t->in[i]);
        graft_rng rng = graft_rng_at(7, 0, i, GRAFT_RNG_TEST);
        for (size_t k = 0; k < t->in_size[i] / sizeof(double); k++) {
            double value = low + (high - low) * graft_rng_uniform(&rng);
            t->in[i][k] = test->whole >> i & 1 ? floor(value) : value;
        }
        if (test->data[i] != NULL) memcpy(t->in[i], test->data[i], t->in_size[i]);
    }
    for (size_t o = 0; o < op->n_out; o++) {
        t->out_size[o] = bytes_of(&t->out_shape[o]);
        t->out[o] = malloc(t->out_size[o]);
        assert_non_null(t->out[o]);
    }
}

static void close_trial(trial *t) {
    for (size_t i = 0; i < MAX_INPUTS; i++) free(t->in[i]);
    for (size_t o = 0; o < MAX_RESULTS; o++) free(t->out[o]);
}

static void run_trial(const trial *t, const double *const *in, double *const *out) {
    graft_op_call call = {in, t->test->in, t->test->n_in, out, t->out_shape, t->op->n_out, t->test->attr};
    t->op->reference(&call);
}

/* Runs the trial into its own results, poisoned before. */
static void run_poisoned(const trial *t) {
    const double *in[MAX_INPUTS];
    for (size_t i = 0; i < MAX_INPUTS; i++) in[i] = t->in[i];
    for (size_t o = 0; o < t->op->n_out; o++)
        for (size_t k = 0; k < t->out_size[o] / sizeof(double); k++) t->out[o][k] = (double)NAN;
    run_trial(t, in, t->out);
}

static void each_case(void (*check)(const trial *t)) {
    for (const graft_op *const *op = graft_ops(); *op != NULL; op++) {
        for (size_t k = 0; k < (*op)->n_cases; k++) {
            trial t;
            open_trial(&t, *op, &(*op)->cases[k]);
            run_poisoned(&t);
            check(&t);
            close_trial(&t);
        }
    }
}

static void rows_are_complete_and_coherent(void **state) {
    (void)state;
    for (const graft_op *const *op = graft_ops(); *op != NULL; op++) {
        const graft_op *row = *op;
        assert_non_null(row->shape);
        assert_non_null(row->reference);
        assert_in_range(row->n_out, 1, MAX_RESULTS);
        if (row->n_cases < 2) fail_msg("%s has fewer than two cases", row->name);
        assert_int_equal(row->bf16 >> row->n_out, 0);
        for (const graft_op *const *other = graft_ops(); other != op; other++)
            assert_string_not_equal(row->name, (*other)->name);
        for (size_t o = 0; o < MAX_RESULTS; o++)
            if (o >= row->n_out) assert_int_equal(row->alias[o], -1);
        for (size_t k = 0; k < row->n_cases; k++) {
            assert_in_range(row->cases[k].n_in, 1, MAX_INPUTS);
            if ((row->attr_size == 0) != (row->cases[k].attr == NULL))
                fail_msg("%s, %s: attributes are not what the row says", row->name, row->cases[k].name);
        }
    }
}

static void check_filled(const trial *t) {
    for (size_t o = 0; o < t->op->n_out; o++) {
        for (size_t k = 0; k < t->out_size[o] / sizeof(double); k++) {
            double value = t->out[o][k];
            if (!isfinite(value))
                fail_msg("%s, %s: result %zu [%zu] is %g", t->op->name, t->test->name, o, k, value);
            if (t->out_dtype[o] != GRAFT_F32) assert_true(value == floor(value));
        }
        if (t->out_dtype[o] != GRAFT_F32) assert_false(t->op->bf16 >> o & 1);
    }
}

static void references_fill_every_result(void **state) {
    (void)state;
    each_case(check_filled);
}

static void check_repeatable(const trial *t) {
    double *first[MAX_RESULTS];
    for (size_t o = 0; o < t->op->n_out; o++) {
        first[o] = malloc(t->out_size[o]);
        assert_non_null(first[o]);
        memcpy(first[o], t->out[o], t->out_size[o]);
    }
    run_poisoned(t);
    for (size_t o = 0; o < t->op->n_out; o++) {
        assert_memory_equal(first[o], t->out[o], t->out_size[o]);
        free(first[o]);
    }
}

static void references_give_the_same_bits_twice(void **state) {
    (void)state;
    each_case(check_repeatable);
}

/* Runs the trial into other buffers, of which the caller gave some, and compares. */
static void run_and_compare(const trial *t, const double *const *in, double *const *given) {
    double *out[MAX_RESULTS];
    for (size_t o = 0; o < t->op->n_out; o++) {
        out[o] = given[o] != NULL ? given[o] : malloc(t->out_size[o]);
        assert_non_null(out[o]);
    }
    run_trial(t, in, out);
    for (size_t o = 0; o < t->op->n_out; o++) {
        if (memcmp(out[o], t->out[o], t->out_size[o]) != 0)
            fail_msg("%s, %s: result %zu differs", t->op->name, t->test->name, o);
        if (given[o] == NULL) free(out[o]);
    }
}

static void check_aliasing(const trial *t) {
    const double *in[MAX_INPUTS];
    double *copies[MAX_INPUTS] = {0}, *out[MAX_RESULTS] = {0};
    for (size_t i = 0; i < MAX_INPUTS; i++) in[i] = t->in[i];
    for (size_t o = 0; o < t->op->n_out; o++) {
        int at = t->op->alias[o];
        if (at < 0) continue;
        assert_true((size_t)at < t->test->n_in);
        if (t->in[at] == NULL) continue;
        assert_int_equal(t->in_size[at], t->out_size[o]);
        assert_null(copies[at]); /* two results may not take one place */
        copies[at] = malloc(t->in_size[at]);
        assert_non_null(copies[at]);
        memcpy(copies[at], t->in[at], t->in_size[at]);
        in[at] = out[o] = copies[at];
    }
    run_and_compare(t, in, out);
    for (size_t i = 0; i < MAX_INPUTS; i++) free(copies[i]);
}

static void results_in_the_place_of_inputs_are_the_same(void **state) {
    (void)state;
    each_case(check_aliasing);
}

static void check_shape_only(const trial *t) {
    const double *in[MAX_INPUTS];
    double *const none[MAX_RESULTS] = {0};
    assert_int_equal(t->op->shape_only >> t->test->n_in, 0);
    for (size_t i = 0; i < MAX_INPUTS; i++) in[i] = t->op->shape_only >> i & 1 ? NULL : t->in[i];
    run_and_compare(t, in, none);
}

static void inputs_marked_shape_only_are_not_read(void **state) {
    (void)state;
    each_case(check_shape_only);
}

static void check_view(const trial *t) {
    if (!t->op->view) return;
    assert_int_equal(t->in_size[0], t->out_size[0]);
    assert_memory_equal(t->in[0], t->out[0], t->out_size[0]);
}

static void views_have_the_bytes_of_their_input(void **state) {
    (void)state;
    each_case(check_view);
}

/* ---- Shape rules
 * ------------------------------------------------------------------------------------------- */

typedef struct bad_call {
    const graft_op *op;
    const void *attr;
    size_t n_in;
    graft_shape in[MAX_INPUTS];
    const char *message; /* a part of it */
} bad_call;

#define CONV(g, s, p)                                                                                        \
    &(const graft_conv_attr) {                                                                               \
        .stride = {s, s}, .pad = {p, p}, .dilation = {1, 1}, .groups = g                                     \
    }
#define POOL(k, s, p)                                                                                        \
    &(const graft_pool_attr) {                                                                               \
        .kernel = {k, k}, .stride = {s, s}, .pad = { p, p }                                                  \
    }
#define NONE                                                                                                 \
    {                                                                                                        \
        -1, {                                                                                                \
            0                                                                                                \
        }                                                                                                    \
    }

static void shape_rules_say_which_input_is_wrong(void **state) {
    (void)state;
    const bad_call calls[] = {
        {&graft_op_add,
         &(const graft_add_attr){0},
         2,
         {{2, {3, 4}}, {2, {3, 5}}},
         "differ in shape: a [3, 4], b [3, 5]"},
        {&graft_op_conv2d,
         CONV(1, 1, 1),
         4,
         {{4, {1, 4, 8, 8}}, {4, {8, 3, 3, 3}}, NONE, NONE},
         "w takes 3 channels a group where x has 4"},
        {&graft_op_conv2d,
         CONV(3, 1, 1),
         4,
         {{4, {1, 4, 8, 8}}, {4, {8, 4, 3, 3}}, NONE, NONE},
         "3 groups do not divide"},
        {&graft_op_conv2d, CONV(0, 1, 1), 4, {{4, {1, 4, 8, 8}}, {4, {8, 4, 3, 3}}, NONE, NONE}, "groups"},
        {&graft_op_conv2d,
         CONV(1, 1, 0),
         4,
         {{4, {1, 4, 2, 8}}, {4, {8, 4, 3, 3}}, NONE, NONE},
         "does not fit"},
        {&graft_op_conv2d, CONV(1, 0, 0), 4, {{4, {1, 4, 8, 8}}, {4, {8, 4, 3, 3}}, NONE, NONE}, "stride 0"},
        {&graft_op_conv2d,
         CONV(1, 1, 1),
         4,
         {{3, {4, 8, 8}}, {4, {8, 4, 3, 3}}, NONE, NONE},
         "x must be (N,C,H,W)"},
        {&graft_op_conv2d,
         CONV(1, 1, 1),
         4,
         {{4, {1, 4, 8, 8}}, {4, {8, 4, 3, 3}}, {1, {7}}, NONE},
         "b must have"},
        {&graft_op_conv2d,
         CONV(1, 1, 1),
         4,
         {{4, {1, 4, 8, 8}}, {4, {8, 4, 3, 3}}, NONE, {4, {1, 8, 8, 7}}},
         "residual"},
        {&graft_op_conv2d, CONV(1, 1, 1), 3, {{4, {1, 4, 8, 8}}, {4, {8, 4, 3, 3}}, NONE}, "3 inputs given"},
        {&graft_op_conv2d, CONV(1, 1, 1), 4, {NONE, {4, {8, 4, 3, 3}}, NONE, NONE}, "input x is missing"},
        {&graft_op_conv2d_dx,
         CONV(1, 1, 1),
         3,
         {{4, {1, 8, 8, 7}}, {4, {8, 4, 3, 3}}, {4, {1, 4, 8, 8}}},
         "dy must have"},
        {&graft_op_linear,
         &(const graft_linear_attr){0},
         4,
         {{2, {3, 4}}, {2, {6, 5}}, NONE, NONE},
         "x [3, 4], w [6, 5]"},
        {&graft_op_linear,
         &(const graft_linear_attr){0},
         4,
         {{4, {3, 4, 1, 1}}, {2, {6, 4}}, NONE, NONE},
         "x must be (N,I)"},
        {&graft_op_linear,
         &(const graft_linear_attr){.in_out = 1},
         4,
         {{2, {3, 4}}, {2, {6, 4}}, NONE, NONE},
         "w (I,O)"},
        {&graft_op_linear,
         &(const graft_linear_attr){0},
         4,
         {{2, {3, 4}}, {2, {6, 4}}, NONE, {2, {3, 4}}},
         "residual must have the result"},
        {&graft_op_layer_norm,
         &(const graft_layer_norm_attr){1e-5},
         3,
         {{2, {3, 4}}, {1, {5}}, NONE},
         "gamma and beta must be (D)"},
        {&graft_op_slice, &(const graft_slice_attr){1, 2, 3}, 1, {{2, {3, 4}}}, "no 3 elements from 2"},
        {&graft_op_slice,
         &(const graft_slice_attr){0, 0, 1},
         1,
         {{2, {GRAFT_DIM_BATCH, 4}}},
         "axis 0 has no 1 elements from 0"},
        {&graft_op_concat, &(const graft_concat_attr){1}, 1, {{2, {3, 4}}}, "1 inputs given"},
        {&graft_op_concat,
         &(const graft_concat_attr){1},
         3,
         {{3, {3, 4, 5}}, {3, {3, 9, 5}}, {3, {3, 4, 6}}},
         "input 2 is [3, 4, 6]: of the first, [3, 4, 5]"},
        {&graft_op_concat, &(const graft_concat_attr){2}, 2, {{2, {3, 4}}, {2, {3, 4}}}, "along axis 2"},
        {&graft_op_concat,
         &(const graft_concat_attr){0},
         2,
         {{2, {GRAFT_DIM_BATCH, 4}}, {2, {GRAFT_DIM_BATCH, 4}}},
         "whose length is known"},
        {&graft_op_repeat, NULL, 2, {{3, {2, 4, 5}}, {2, {3, 4}}}, "x must be (1,...)"},
        {&graft_op_patches,
         NULL,
         4,
         {{4, {3, 8, 2, 2}}, {3, {1, 6, 8}}, {3, {1, 1, 8}}, NONE},
         "positions must be (1,L,D) with L = 5"},
        {&graft_op_patches_grad, NULL, 2, {{3, {3, 7, 8}}, {4, {3, 8, 2, 2}}}, "one or two before them"},
        {&graft_op_attention,
         &(const graft_attention_attr){.heads = 2, .scale = 1},
         5,
         {{2, {3, 4}}, {2, {3, 4}}, {2, {3, 4}}, NONE, NONE},
         "must be one (N,L,D)"},
        {&graft_op_span_pool,
         &(const graft_span_pool_attr){GRAFT_SPAN_FIRST},
         2,
         {{2, {3, 4}}, NONE},
         "x (N,L,D) without spans"},
        {&graft_op_batch_norm_train,
         &(const graft_norm_attr){0},
         4,
         {{4, {3, 4, 2, 2}}, {1, {4}}, {1, {5}}, NONE},
         "beta must have"},
        {&graft_op_max_pool2d, POOL(2, 1, 2), 1, {{4, {3, 4, 9, 9}}}, "more than half"},
        {&graft_op_avg_pool2d, POOL(5, 1, 0), 1, {{4, {3, 4, 4, 9}}}, "does not fit"},
        {&graft_op_global_avg_pool, NULL, 1, {{2, {3, 4}}}, "x must be (N,C,H,W)"},
        {&graft_op_cross_entropy,
         NULL,
         3,
         {{2, {3, 4}}, {2, {3, 5}}, {1, {3}}},
         "logits [3, 4], target [3, 5]"},
        {&graft_op_cross_entropy, NULL, 3, {{2, {3, 4}}, {2, {3, 4}}, {1, {4}}}, "weight must be (N)"},
        {&graft_op_sgd,
         &(const graft_sgd_attr){.momentum = 0.9},
         5,
         {{1, {3}}, {1, {3}}, NONE, {1, {1}}, NONE},
         "velocity goes with momentum"},
        {&graft_op_sgd,
         &(const graft_sgd_attr){0},
         5,
         {{1, {3}}, {1, {4}}, NONE, {1, {1}}, NONE},
         "dw must have w's shape"},
        {&graft_op_adam,
         &(const graft_adam_attr){0},
         7,
         {{1, {3}}, {1, {3}}, {1, {3}}, {1, {3}}, {1, {1}}, {1, {2}}, NONE},
         "step must be (1)"},
        {&graft_op_subsample_pad,
         &(const graft_subsample_attr){2, -1, 0},
         1,
         {{4, {3, 4, 9, 9}}},
         "cannot be added"},
        {&graft_op_clip_scale, &(const graft_clip_attr){0}, 1, {{1, {3}}}, "not above 0"},
    };
    const graft_dtype dtype[MAX_INPUTS] = {0};
    for (size_t k = 0; k < GRAFT_COUNT(calls); k++) {
        graft_shape shape[MAX_RESULTS];
        graft_dtype out[MAX_RESULTS];
        graft_err err = {0};
        int rc = infer(calls[k].op, calls[k].attr, calls[k].in, dtype, calls[k].n_in, shape, out, &err);
        if (rc >= 0) fail_msg("%s took what should give '%s'", calls[k].op->name, calls[k].message);
        assert_int_equal(err.code, rc);
        if (strstr(err.message, calls[k].message) == NULL)
            fail_msg("%s says '%s', not '%s'", calls[k].op->name, err.message, calls[k].message);
    }
}

static void shape_rules_verify_element_types(void **state) {
    (void)state;
    for (const graft_op *const *op = graft_ops(); *op != NULL; op++) {
        const graft_op_case *test = &(*op)->cases[0];
        for (size_t i = 0; i < test->n_in; i++) {
            graft_dtype dtype[MAX_INPUTS];
            graft_shape shape[MAX_RESULTS];
            graft_dtype out[MAX_RESULTS];
            graft_err err = {0};
            if (test->in[i].rank < 0) continue;
            memcpy(dtype, test->dtype, sizeof dtype);
            dtype[i] = test->dtype[i] == GRAFT_F32 ? GRAFT_I64 : GRAFT_F32;
            int rc = infer(*op, test->attr, test->in, dtype, test->n_in, shape, out, &err);
            if (rc != GRAFT_EDTYPE) fail_msg("%s takes input %zu of a wrong type", (*op)->name, i);
            assert_non_null(strstr(err.message, graft_dtype_name(dtype[i])));
        }
    }
}

/* Where the first dim is common to activations, an unbound batch goes in and comes out. */
static void batch_passes_through_shape_rules(void **state) {
    (void)state;
    const graft_shape picture = {4, {GRAFT_DIM_BATCH, 4, 9, 9}}, flat = {2, {GRAFT_DIM_BATCH, 4}};
    const bad_call calls[] = {
        {&graft_op_relu, NULL, 1, {picture}, NULL},
        {&graft_op_add, &(const graft_add_attr){0}, 2, {picture, picture}, NULL},
        {&graft_op_conv2d, CONV(1, 2, 1), 4, {picture, {4, {8, 4, 3, 3}}, NONE, NONE}, NULL},
        {&graft_op_conv2d_dx, CONV(1, 1, 1), 3, {picture, {4, {4, 4, 3, 3}}, picture}, NULL},
        {&graft_op_linear, &(const graft_linear_attr){0}, 4, {flat, {2, {7, 4}}, NONE, NONE}, NULL},
        {&graft_op_linear_dx, &(const graft_linear_attr){0}, 3, {flat, {2, {4, 3}}, NONE}, NULL},
        {&graft_op_layer_norm, &(const graft_layer_norm_attr){1}, 3, {flat, {1, {4}}, {1, {4}}}, NULL},
        {&graft_op_activation, &(const graft_activation_attr){GRAFT_ACT_GELU}, 1, {flat}, NULL},
        {&graft_op_unit_rows, NULL, 1, {flat}, NULL},
        {&graft_op_slice, &(const graft_slice_attr){1, 1, 2}, 1, {flat}, NULL},
        {&graft_op_concat, &(const graft_concat_attr){2}, 2, {picture, picture}, NULL},
        {&graft_op_repeat, NULL, 2, {{2, {1, 7}}, flat}, NULL},
        {&graft_op_batch_norm_train,
         &(const graft_norm_attr){.relu = 1},
         4,
         {picture, {1, {4}}, {1, {4}}, picture},
         NULL},
        {&graft_op_max_pool2d, POOL(3, 2, 1), 1, {picture}, NULL},
        {&graft_op_avg_pool2d, POOL(3, 2, 1), 1, {picture}, NULL},
        {&graft_op_global_avg_pool, NULL, 1, {picture}, NULL},
        {&graft_op_global_avg_pool_grad, NULL, 2, {flat, picture}, NULL},
        {&graft_op_subsample_pad, &(const graft_subsample_attr){2, 1, 1}, 1, {picture}, NULL},
        {&graft_op_flatten, NULL, 1, {picture}, NULL},
        {&graft_op_flatten_grad, NULL, 2, {{2, {GRAFT_DIM_BATCH, 324}}, picture}, NULL},
        {&graft_op_mse_grad, NULL, 4, {NONE, flat, flat, {1, {GRAFT_DIM_BATCH}}}, NULL},
    };
    const graft_dtype dtype[MAX_INPUTS] = {0};
    graft_shape shape[MAX_RESULTS];
    graft_dtype out[MAX_RESULTS];
    for (size_t k = 0; k < GRAFT_COUNT(calls); k++) {
        graft_err err = {0};
        int rc = infer(calls[k].op, calls[k].attr, calls[k].in, dtype, calls[k].n_in, shape, out, &err);
        if (rc < 0) fail_msg("%s: %s", calls[k].op->name, err.message);
        assert_int_equal(shape[0].dims[0], GRAFT_DIM_BATCH);
        for (int d = 1; d < shape[0].rank; d++) assert_true(shape[0].dims[d] > 0);
    }
    const bad_call weights = {
        &graft_op_conv2d_dw, CONV(1, 1, 1), 3, {picture, picture, {4, {4, 4, 3, 3}}}, NULL};
    assert_int_equal(infer(weights.op, weights.attr, weights.in, dtype, 3, shape, out, NULL), 0);
    assert_int_equal(shape[0].dims[0], 4);
    assert_int_equal(shape[1].dims[0], 4);
}

/* Texts: an open number of tokens, and of samples where each has one row. */
static void tokens_pass_through_shape_rules(void **state) {
    (void)state;
    const graft_shape x = {2, {GRAFT_DIM_TOKENS, 4}}, ids = {1, {GRAFT_DIM_TOKENS}},
                      spans = {2, {GRAFT_DIM_BATCH, 2}}, pooled = {2, {GRAFT_DIM_BATCH, 4}},
                      window = {2, {GRAFT_DIM_TOKENS, 12}};
    const struct {
        bad_call call;
        graft_shape result;
    } some[] = {
        {{&graft_op_embedding, NULL, 2, {{2, {9, 4}}, ids}, NULL}, x},
        {{&graft_op_layer_norm, &(const graft_layer_norm_attr){1}, 3, {x, {1, {4}}, NONE}, NULL}, x},
        {{&graft_op_linear, &(const graft_linear_attr){0}, 4, {x, {2, {12, 4}}, NONE, NONE}, NULL}, window},
        {{&graft_op_span_pool, &(const graft_span_pool_attr){0}, 2, {x, spans}, NULL}, pooled},
        {{&graft_op_span_max_grad, NULL, 3, {pooled, spans, x}, NULL}, x},
        {{&graft_op_token_window, &(const graft_token_window_attr){3}, 2, {x, spans}, NULL}, window},
        {{&graft_op_token_window_grad, &(const graft_token_window_attr){3}, 2, {window, spans}, NULL}, x},
    };
    for (size_t k = 0; k < GRAFT_COUNT(some); k++) {
        const bad_call *c = &some[k].call;
        graft_dtype dtype[MAX_INPUTS] = {0};
        graft_shape shape[MAX_RESULTS];
        graft_dtype out[MAX_RESULTS];
        graft_err err = {0};
        for (size_t i = 0; i < c->n_in; i++)
            if (graft_shape_equal(&c->in[i], &ids) || graft_shape_equal(&c->in[i], &spans))
                dtype[i] = GRAFT_I32;
        if (infer(c->op, c->attr, c->in, dtype, c->n_in, shape, out, &err) < 0)
            fail_msg("%s: %s", c->op->name, err.message);
        assert_true(graft_shape_equal(&shape[0], &some[k].result));
    }
}

static void sums_of_gradients_have_the_type_of_their_terms(void **state) {
    (void)state;
    const graft_shape in[2] = {{1, {5}}, {1, {5}}};
    const graft_dtype wide[2] = {GRAFT_F32, GRAFT_F32}, narrow[2] = {GRAFT_BF16, GRAFT_BF16},
                      mixed[2] = {GRAFT_F32, GRAFT_BF16};
    graft_shape shape[MAX_RESULTS];
    graft_dtype out[MAX_RESULTS];
    assert_int_equal(infer(&graft_op_sum_into, NULL, in, wide, 2, shape, out, NULL), 0);
    assert_int_equal(out[0], GRAFT_F32);
    assert_int_equal(infer(&graft_op_sum_into, NULL, in, mixed, 2, shape, out, NULL), 0);
    assert_int_equal(out[0], GRAFT_F32);
    assert_int_equal(infer(&graft_op_sum_into, NULL, in, narrow, 2, shape, out, NULL), 0);
    assert_int_equal(out[0], GRAFT_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_complete_and_coherent),
        cmocka_unit_test(references_fill_every_result),
        cmocka_unit_test(references_give_the_same_bits_twice),
        cmocka_unit_test(results_in_the_place_of_inputs_are_the_same),
        cmocka_unit_test(inputs_marked_shape_only_are_not_read),
        cmocka_unit_test(views_have_the_bytes_of_their_input),
        cmocka_unit_test(shape_rules_say_which_input_is_wrong),
        cmocka_unit_test(shape_rules_verify_element_types),
        cmocka_unit_test(batch_passes_through_shape_rules),
        cmocka_unit_test(tokens_pass_through_shape_rules),
        cmocka_unit_test(sums_of_gradients_have_the_type_of_their_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
