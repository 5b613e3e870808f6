/* What programs promise each other through the state they share. */
#include "programs.h"

#include "backend/lower.h"

#include <math.h>

static void check_near(const float *got, const float *want, size_t count, double tolerance) {
    double most = 0, apart = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)want[i]));
        apart = fmax(apart, fabs((double)got[i] - (double)want[i]));
    }
    if (!(apart <= tolerance * fmax(most, 1e-30))) fail_msg("%g off of %g", apart, most);
}

/* Logits of `batch` rows from row `from` of x on. */
static const float *logits(bench *b, graft_program *p, const float *x, size_t from, size_t batch) {
    size_t count = 0;
    bench_set(p, "x", x + from * PICTURE, batch * PICTURE);
    bench_run(b, p);
    const float *out = graft_program_output(p, "logits", &count);
    assert_non_null(out);
    assert_int_equal(count, batch * SMALL_NET_CLASSES);
    return out;
}

static void check_rows(bool changing) {
    static const size_t batches[] = {1, 3, 8};
    bench b = bench_new(2);
    graft_graph *g = changing ? bench_inference(&b) : small_net_new(b.arena);
    graft_program *p[3];
    float all[9 * SMALL_NET_CLASSES], *x = bench_random(&b, 9 * PICTURE, -1, 1, 1);
    for (size_t i = 0; i < 3; i++) p[i] = bench_compile(&b, g, b.state, (int64_t)batches[i]);
    for (size_t row = 0; row < 9; row++)
        memcpy(all + row * SMALL_NET_CLASSES, logits(&b, p[0], x, row, 1), sizeof all / 9);
    for (size_t row = 0; row + 3 <= 9; row += 3)
        check_near(logits(&b, p[1], x, row, 3), all + row * SMALL_NET_CLASSES, 3 * SMALL_NET_CLASSES, 1e-5);
    for (size_t row = 0; row < 2; row++)
        check_near(logits(&b, p[2], x, row, 8), all + row * SMALL_NET_CLASSES, 8 * SMALL_NET_CLASSES, 1e-5);
    for (size_t i = 0; i < 3; i++) graft_program_free(p[i]);
    bench_free(&b);
}

static void a_row_has_one_result_whatever_the_batch(void **unused) {
    (void)unused;
    check_rows(false);
    check_rows(true);
}

static void a_larger_program_moves_the_memory_of_a_smaller_one_unharmed(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = small_net_new(b.arena);
    float *x = bench_random(&b, PICTURE, -1, 1, 1), before[SMALL_NET_CLASSES];
    graft_program *small = bench_compile(&b, g, b.state, 1), *large;
    memcpy(before, logits(&b, small, x, 0, 1), sizeof before);
    large = bench_compile(&b, g, b.state, 64);
    assert_memory_equal(logits(&b, small, x, 0, 1), before, sizeof before);
    graft_program_free(large);
    assert_memory_equal(logits(&b, small, x, 0, 1), before, sizeof before);
    graft_program_free(small);
    bench_free(&b);
}

static void training_changes_what_inference_sees(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_program *train = bench_compile(&b, bench_training(&b, BENCH_SGD), b.state, 5);
    graft_graph *g = bench_inference(&b);
    graft_program *infer = bench_compile(&b, g, b.state, 3), *other;
    float *x = bench_random(&b, 3 * PICTURE, -1, 1, 1), before[9], after[9];
    memcpy(before, logits(&b, infer, x, 0, 3), sizeof before);
    float first = bench_step(&b, train, 5, 0), loss = first;
    for (int i = 0; i < 20; i++) loss = bench_step(&b, train, 5, 0);
    assert_true(loss < 0.9F * first);
    memcpy(after, logits(&b, infer, x, 0, 3), sizeof after);
    assert_memory_not_equal(before, after, sizeof before);
    graft_state *copy = bench_state(&b); /* the same weights, carried over by name */
    const char *const *names;
    size_t n = graft_state_names(b.state, &names), count;
    for (size_t i = 0; i < n; i++) {
        const float *value = bench_read(&b, b.state, names[i], &count);
        assert_int_equal(
            graft_state_write(copy, names[i], graft_state_shape(b.state, names[i]), value, &b.err), 0);
    }
    other = bench_compile(&b, g, copy, 3);
    check_near(logits(&b, other, x, 0, 3), after, 9, 1e-5);
    graft_program_free(other);
    graft_program_free(infer);
    graft_program_free(train);
    graft_state_free(copy);
    bench_free(&b);
}

static void what_does_not_fit_is_refused(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_graph *g = bench_inference(&b);
    graft_program *p = NULL;
    float value[64] = {0};
    for (int64_t batch = 0; batch >= -1; batch--)
        assert_int_equal(
            graft_program_compile(&p, g, b.state, &(graft_compile_options){.batch = batch}, &b.err),
            GRAFT_ESHAPE);
    graft_shape wrong = {1, {5}}, right = {1, {SMALL_NET_CLASSES}};
    assert_int_equal(graft_state_write(b.state, "fc.bias", &wrong, value, &b.err), 0);
    assert_int_equal(graft_program_compile(&p, g, b.state, &(graft_compile_options){.batch = 1}, &b.err),
                     GRAFT_ESHAPE);
    assert_non_null(strstr(b.err.message, "fc.bias"));
    assert_int_equal(graft_state_write(b.state, "fc.bias", &right, value, &b.err), GRAFT_ESHAPE);
    assert_null(p);
    assert_int_equal(graft_state_read(b.state, "fc.bias", value, 4, &b.err), GRAFT_ESHAPE);
    assert_int_equal(graft_state_read(b.state, "nowhere", value, 4, &b.err), GRAFT_EUSAGE);
    assert_int_equal(graft_state_read(b.state, "nowhere", value, 4, NULL), GRAFT_EUSAGE);
    assert_null(graft_state_shape(b.state, "nowhere"));
    bench_free(&b);
}

static void unknown_ports_are_null(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_program *p = bench_compile(&b, small_net_new(b.arena), b.state, 1);
    assert_null(graft_program_input(p, "logits", NULL));
    assert_null(graft_program_output(p, "x", NULL));
    assert_non_null(graft_program_output(p, "features", NULL));
    graft_program_free(p);
    bench_free(&b);
}

static void a_dry_program_needs_what_the_real_one_needs_and_does_not_run(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    const graft_graph *graphs[] = {small_net_new(b.arena), bench_training(&b, BENCH_ADAM)};
    for (size_t i = 0; i < 2; i++) {
        graft_state *imagined = bench_state(&b), *real = bench_state(&b);
        graft_program *dry = NULL, *wet = bench_compile(&b, graphs[i], real, 7);
        graft_compile_options options = {.batch = 7, .dry = true};
        assert_int_equal(graft_program_compile(&dry, graphs[i], imagined, &options, &b.err), 0);
        graft_program_memory a = graft_program_needs(dry), c = graft_program_needs(wet);
        assert_memory_equal(&a, &c, sizeof a);
        assert_true(a.arena > 0 && a.n_steps > 0);
        assert_int_equal(graft_state_size(imagined), 0);
        assert_int_equal(graft_state_size(real), c.state + c.weights);
        assert_int_equal(graft_program_run(dry, &b.err), GRAFT_EUSAGE);
        assert_null(graft_program_input(dry, "x", NULL));
        assert_null(graft_program_output(dry, "logits", NULL));
        graft_program_free(dry);
        graft_program_free(wet);
        graft_state_free(imagined);
        graft_state_free(real);
    }
    bench_free(&b);
}

static void what_was_written_before_compiling_replaces_the_source(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_graph *g = bench_inference(&b);
    float bias[SMALL_NET_CLASSES] = {10, 20, 30}, got[SMALL_NET_CLASSES], plain[SMALL_NET_CLASSES];
    float *x = bench_random(&b, PICTURE, -1, 1, 1);
    graft_shape shape = {1, {SMALL_NET_CLASSES}};
    assert_int_equal(graft_state_write(b.state, "fc.bias", &shape, bias, &b.err), 0);
    assert_int_equal(graft_state_read(b.state, "fc.bias", got, SMALL_NET_CLASSES, &b.err), 0);
    assert_memory_equal(got, bias, sizeof got);
    graft_program *p = bench_compile(&b, g, b.state, 1);
    assert_int_equal(graft_state_read(b.state, "fc.bias", got, SMALL_NET_CLASSES, &b.err), 0);
    assert_memory_equal(got, bias, sizeof got);
    memcpy(got, logits(&b, p, x, 0, 1), sizeof got);
    memset(bias, 0, sizeof bias); /* and after compiling it is used in the next run */
    assert_int_equal(graft_state_write(b.state, "fc.bias", &shape, bias, &b.err), 0);
    memcpy(plain, logits(&b, p, x, 0, 1), sizeof plain);
    for (int i = 0; i < SMALL_NET_CLASSES; i++)
        assert_true(fabsf(got[i] - plain[i] - 10.0F * (float)(i + 1)) < 1e-4F);
    graft_program_free(p);
    bench_free(&b);
}

static void a_written_value_is_read_back_bit_for_bit(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_program *p = bench_compile(&b, bench_training(&b, BENCH_ADAM), b.state, 2);
    const char *const *names;
    size_t n = graft_state_names(b.state, &names), count;
    assert_true(n > 30);
    for (size_t i = 0; i < n; i++) {
        const graft_shape *shape = graft_state_shape(b.state, names[i]);
        float *value = bench_random(&b, bench_count(shape), -9, 9, 50 + i);
        assert_int_equal(graft_state_write(b.state, names[i], shape, value, &b.err), 0);
        const float *got = bench_read(&b, b.state, names[i], &count);
        assert_memory_equal(got, value, count * sizeof *value);
    }
    graft_state_zero(b.state, names[0]);
    const float *zero = bench_read(&b, b.state, names[0], &count);
    for (size_t k = 0; k < count; k++) assert_true(fpclassify(zero[k]) == FP_ZERO);
    graft_program_free(p);
    bench_free(&b);
}

static size_t n_not_zero(const float *x, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += fpclassify(x[i]) != FP_ZERO;
    return n;
}

/* Channel counts of 2, 4 and 6 fill no block. */
static void padding_stays_zero_through_updates(void **unused) {
    (void)unused;
    size_t n_padded = 0;
    for (int kind = BENCH_SGD; kind <= BENCH_ADAMW; kind++) {
        bench b = bench_new(2);
        graft_program *p = bench_compile(&b, bench_training(&b, (bench_optimiser)kind), b.state, 5);
        for (int i = 0; i < 5; i++) bench_step(&b, p, 5, i);
        const char *const *names;
        size_t n = graft_state_names(b.state, &names), count;
        for (size_t i = 0; i < n; i++) {
            const graft_slot *slot = graft_state_find(b.state, names[i]);
            size_t held = graft_state_backend(b.state)->size(slot->layout) / sizeof(float);
            const float *plain = bench_read(&b, b.state, names[i], &count);
            for (size_t k = 0; k < count; k++) assert_true(isfinite(plain[k]));
            assert_int_equal(n_not_zero(slot->data, held), n_not_zero(plain, count));
            n_padded += held > count;
        }
        graft_program_free(p);
        bench_free(&b);
    }
    if (!n_padded) print_message("no weight of this processor's layouts is padded\n");
}

static void an_output_stays_until_the_next_run(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_program *p = bench_compile(&b, bench_inference(&b), b.state, 3);
    float *x = bench_random(&b, 6 * PICTURE, -1, 1, 1), first[9], *bias;
    size_t count;
    const float *out = logits(&b, p, x, 0, 3);
    memcpy(first, out, sizeof first);
    bias = bench_read(&b, b.state, "fc.bias", &count);
    bias[0] += 1.0F;
    assert_int_equal(graft_state_write(b.state, "fc.bias", graft_state_shape(b.state, "fc.bias"), bias, NULL),
                     0);
    assert_ptr_equal(graft_program_output(p, "logits", NULL), out);
    assert_memory_equal(out, first, sizeof first);
    assert_memory_not_equal(logits(&b, p, x, 3, 3), first, sizeof first);
    graft_program_free(p);
    bench_free(&b);
}

/* All that a run left behind, in the order of the names. */
static float *everything(bench *b, const graft_state *s, size_t *total) {
    const char *const *names;
    size_t n = graft_state_names(s, &names), count, at = 0;
    *total = 0;
    for (size_t i = 0; i < n; i++) *total += bench_count(graft_state_shape(s, names[i]));
    float *all = graft_arena_array(b->arena, *total, sizeof *all);
    for (size_t i = 0; i < n; i++, at += count) {
        const float *value = bench_read(b, s, names[i], &count);
        memcpy(all + at, value, count * sizeof *value);
    }
    return all;
}

static void the_same_seed_and_threads_give_the_same_bits(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = bench_training(&b, BENCH_ADAMW);
    float *left[2], losses[2][4];
    size_t total;
    for (int run = 0; run < 2; run++) {
        graft_state *s = bench_state(&b);
        graft_program *p = bench_compile(&b, g, s, 5);
        for (int i = 0; i < 4; i++) losses[run][i] = bench_step(&b, p, 5, i);
        left[run] = everything(&b, s, &total);
        graft_program_free(p);
        graft_state_free(s);
    }
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    assert_memory_equal(left[0], left[1], total * sizeof(float));
    bench_free(&b);
}

static void an_inference_run_between_two_steps_changes_no_bit(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = bench_training(&b, BENCH_SGD), *look = bench_inference(&b);
    float *left[2], *x = bench_random(&b, 2 * PICTURE, -1, 1, 1);
    size_t total;
    for (int run = 0; run < 2; run++) {
        graft_state *s = bench_state(&b);
        graft_program *p = bench_compile(&b, g, s, 5), *q = bench_compile(&b, look, s, 2);
        for (int i = 0; i < 4; i++) {
            bench_step(&b, p, 5, i);
            if (run) logits(&b, q, x, 0, 2);
        }
        left[run] = everything(&b, s, &total);
        graft_program_free(p);
        graft_program_free(q);
        graft_state_free(s);
    }
    assert_memory_equal(left[0], left[1], total * sizeof(float));
    bench_free(&b);
}

static void a_frozen_weight_is_packed_once(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    graft_graph *g = small_net_new(b.arena);
    graft_program *p = bench_compile(&b, g, b.state, 4);
    size_t size = graft_state_size(b.state);
    assert_true(graft_program_needs(p).weights > 0);
    assert_int_equal(graft_program_needs(p).weights, size);
    assert_int_equal(graft_program_needs(p).state, 0);
    graft_program *q = bench_compile(&b, g, b.state, 4);
    assert_int_equal(graft_program_needs(q).weights, 0);
    assert_int_equal(graft_state_size(b.state), size);
    graft_program_free(p); /* q goes on with what p packed */
    float *x = bench_random(&b, 4 * PICTURE, -1, 1, 1), first[12];
    memcpy(first, logits(&b, q, x, 0, 4), sizeof first);
    assert_memory_equal(logits(&b, q, x, 0, 4), first, sizeof first);
    graft_program_free(q);
    bench_free(&b);
}

/* What LoRA trains: something before a layer that is frozen. */
static void a_frozen_layer_is_held_once_for_forward_gradient_and_inference(void **unused) {
    (void)unused;
    enum { IN = 40, OUT = 48 };
    bench b = bench_new(2);
    const float *values = bench_random(&b, IN * OUT, -1, 1, 1);
    graft_tensor frozen = {.name = "w",
                           .dtype = GRAFT_F32,
                           .shape = {2, {OUT, IN}},
                           .data = values,
                           .size = sizeof(float) * IN * OUT};
    graft_graph *graphs[2];
    for (int i = 0; i < 2; i++) {
        graft_graph *g = graphs[i] = graft_graph_new(b.arena);
        graft_value x = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, IN}});
        graft_value a = graft_graph_param(g, "a", NULL, (graft_shape){2, {IN, IN}}), da;
        graft_value w = graft_graph_param(g, "w", &frozen, frozen.shape);
        graft_graph_value_mut(g, a)->trained = true;
        graft_value y = graft_linear(g, graft_linear(g, x, a, GRAFT_NONE), w, GRAFT_NONE);
        graft_graph_output(g, "y", y);
        if (i == 1) continue;
        graft_value t = graft_graph_input(g, "t", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_BATCH, OUT}});
        graft_value c = graft_graph_input(g, "c", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
        graft_value loss = graft_cross_entropy(g, y, t, c);
        assert_int_equal(graft_graph_grad(g, loss, &a, 1, &da, &b.err), 0);
        graft_graph_output(g, "da", da);
    }
    graft_program *step = bench_compile(&b, graphs[0], b.state, 8),
                  *look = bench_compile(&b, graphs[1], b.state, 9);
    assert_int_equal(graft_program_needs(step).weights, sizeof(float) * IN * OUT);
    assert_int_equal(graft_program_needs(look).weights, 0);
    graft_program_free(step);
    graft_program_free(look);
    bench_free(&b);
}

static void a_trace_has_a_line_for_every_step(void **unused) {
    (void)unused;
    bench b = bench_new(1);
    graft_program *p = bench_compile(&b, small_net_new(b.arena), b.state, 1);
    graft_buf text;
    graft_buf_init(&text, 0);
    bench_set(p, "x", bench_random(&b, PICTURE, -1, 1, 1), PICTURE);
    assert_int_equal(graft_program_trace(p, &text, &b.err), 0);
    size_t lines = 0;
    for (size_t i = 0; i < text.size; i++) lines += text.data[i] == '\n';
    assert_int_equal(lines, graft_program_needs(p).n_steps);
    graft_buf_done(&text);
    graft_program_free(p);
    bench_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_one_result_whatever_the_batch),
        cmocka_unit_test(a_larger_program_moves_the_memory_of_a_smaller_one_unharmed),
        cmocka_unit_test(training_changes_what_inference_sees),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(unknown_ports_are_null),
        cmocka_unit_test(a_dry_program_needs_what_the_real_one_needs_and_does_not_run),
        cmocka_unit_test(what_was_written_before_compiling_replaces_the_source),
        cmocka_unit_test(a_written_value_is_read_back_bit_for_bit),
        cmocka_unit_test(padding_stays_zero_through_updates),
        cmocka_unit_test(an_output_stays_until_the_next_run),
        cmocka_unit_test(the_same_seed_and_threads_give_the_same_bits),
        cmocka_unit_test(an_inference_run_between_two_steps_changes_no_bit),
        cmocka_unit_test(a_frozen_weight_is_packed_once),
        cmocka_unit_test(a_frozen_layer_is_held_once_for_forward_gradient_and_inference),
        cmocka_unit_test(a_trace_has_a_line_for_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
