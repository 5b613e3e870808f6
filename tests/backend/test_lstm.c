/* The LSTM's recurrence: every version of the kernels that this processor runs against the row's reference in
 * double; and a tagger of packed texts, LSTM under a conditional random field, with its gradients as a
 * program. */
#include "programs.h"
#include "support/evaluate.h"

#include "backend/cpu/own/lstm.h"
#include "graph/op.h"

#include <math.h>
#include <stdlib.h>

/* Out of order, empty, of one token, outside of what there is and cut at its end. */
enum { SAMPLES = 8, TOKENS = 61 };
static const int32_t spans[2 * SAMPLES] = {20, 13, 3, 5, 0, 0, 8, 1, 33, 2, -4, 7, 36, 20, 58, 400};

static size_t versions(const graft_lstm_kernels **out) {
    size_t n = 0;
    out[n++] = &graft_lstm_base;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = &graft_lstm_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        out[n++] = &graft_lstm_avx512;
#endif
    return n;
}

static double *wide(graft_arena *arena, const float *x, size_t n) {
    double *out = graft_arena_array(arena, n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; x && i < n; i++) out[i] = (double)x[i];
    return out;
}

static float *zeros(graft_arena *arena, size_t n) {
    float *out = graft_arena_array(arena, n, sizeof *out);
    assert_non_null(out);
    memset(out, 0, n * sizeof *out);
    return out;
}

static void check(const char *name, size_t size, const char *what, const float *got, const double *want,
                  size_t n) {
    double most = 0.1, off = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - want[i]);
        most = fmax(most, fabs(want[i]));
        off = difference <= off ? off : difference;
    }
    if (!(off <= 1e-5 * most)) fail_msg("%s, %zu units: %s is %g off", name, size, what, off / most);
}

/* What the references make of random weights and inputs. */
typedef struct trial {
    size_t size;
    graft_lstm_attr attr;
    float *pre, *w, *b, *dy;
    double *y, *gates, *cells, *dpre, *before;
} trial;

static trial trial_new(bench *b, size_t size, bool reverse, bool biased) {
    const size_t n = TOKENS * size;
    const double all_spans[2 * SAMPLES] = {20, 13, 3, 5, 0, 0, 8, 1, 33, 2, -4, 7, 36, 20, 58, 400};
    trial t = {.size = size,
               .attr = {.reverse = reverse},
               .pre = bench_random(b, 4 * n, -2, 2, 1),
               .w = bench_random(b, 4 * size * size, -0.5, 0.5, 2),
               .b = biased ? bench_random(b, 4 * size, -1, 1, 3) : NULL,
               .dy = bench_random(b, n, -1, 1, 4)};
    graft_arena *a = b->arena;
    t.y = wide(a, NULL, n);
    t.cells = wide(a, NULL, n);
    t.before = wide(a, NULL, n);
    t.gates = wide(a, NULL, 4 * n);
    t.dpre = wide(a, NULL, 4 * n);
    const int64_t h = (int64_t)size;
    const graft_shape rows = {2, {TOKENS, h}}, gates = {2, {TOKENS, 4 * h}}, w = {2, {4 * h, h}},
                      of_spans = {2, {SAMPLES, 2}};
    const double *w_hh = wide(a, t.w, 4 * size * size);
    const double *in[] = {wide(a, t.pre, 4 * n), w_hh, t.b ? wide(a, t.b, 4 * size) : NULL, all_spans};
    graft_op_lstm.reference(&(graft_op_call){in, (const graft_shape[]){gates, w, {1, {4 * h}}, of_spans}, 4,
                                             (double *const[]){t.y, t.gates, t.cells},
                                             (const graft_shape[]){rows, gates, rows}, 3, &t.attr});
    const double *back[] = {wide(a, t.dy, n), t.y, t.gates, t.cells, w_hh, all_spans};
    graft_op_lstm_grad.reference(&(graft_op_call){
        back, (const graft_shape[]){rows, rows, gates, rows, w, of_spans}, 6,
        (double *const[]){t.dpre, t.before}, (const graft_shape[]){gates, rows}, 2, &t.attr});
    return t;
}

static void check_trial(bench *b, const graft_lstm_kernels *k, const trial *t) {
    const size_t n = TOKENS * t->size, packed = k->packed(t->size), scratch = k->scratch(t->size);
    graft_lstm_group g = {
        .size = t->size, .n = SAMPLES, .reverse = t->attr.reverse != 0, .pre = t->pre, .dy = t->dy};
    for (size_t s = 0; s < SAMPLES; s++) g.spans[s] = graft_tokens_of(spans[2 * s], spans[2 * s + 1], TOKENS);
    float *weights = malloc(packed * sizeof *weights), *work = malloc(scratch * sizeof *work);
    assert_true(weights && work);
    memset(work, 0xff, scratch * sizeof *work);
    g.packed = weights;
    g.scratch = work;
    g.y = zeros(b->arena, n);
    g.cells = zeros(b->arena, n);
    g.before = zeros(b->arena, n);
    g.gates = zeros(b->arena, 4 * n);
    g.dpre = zeros(b->arena, 4 * n);
    k->pack(weights, t->w, t->b, t->size);
    k->forward(&g);
    check(k->name, t->size, "y", g.y, t->y, n);
    check(k->name, t->size, "gates", g.gates, t->gates, 4 * n);
    check(k->name, t->size, "cells", g.cells, t->cells, n);
    g.y_in = g.y;
    g.gates_in = g.gates;
    g.cells_in = g.cells;
    memset(work, 0xff, scratch * sizeof *work);
    k->grad_pack(weights, t->w, t->size);
    k->backward(&g);
    check(k->grad_name, t->size, "dpre", g.dpre, t->dpre, 4 * n);
    check(k->grad_name, t->size, "h before", g.before, t->before, n);
    free(weights);
    free(work);
}

static void every_version_equals_the_reference(void **unused) {
    (void)unused;
    static const size_t sizes[] = {1, 3, 8, 15, 16, 17, 33, 64};
    const graft_lstm_kernels *all[4];
    size_t n_versions = versions(all);
    for (size_t i = 0; i < 2 * GRAFT_COUNT(sizes); i++) {
        bench b = bench_new(1);
        trial t = trial_new(&b, sizes[i / 2], i % 2 == 1, i % 3 != 0);
        for (size_t v = 0; v < n_versions; v++) check_trial(&b, all[v], &t);
        bench_free(&b);
    }
}

/* ---- A tagger -------------------------------------------------------------------------------------------------- */

enum { K = 5, GRADIENTS = 6 };
/* Of the inputs beside tags and spans: what is asked for, in order. */
static const char *const names[GRADIENTS + 1] = {"pre", "w", "b", "transitions", "start", "end", "weight"};
static const size_t counts[GRADIENTS + 1] = {TOKENS * 4 * K, 4 * K *K, 4 * K, K *K, K, K, SAMPLES};

/* Loss of the field over the LSTM's states, and the gradients of the first `n` inputs. */
static graft_graph *tagger(bench *b, size_t n) {
    const graft_shape shapes[GRADIENTS + 1] = {
        {2, {GRAFT_DIM_TOKENS, 4 * K}}, {2, {4 * K, K}}, {1, {4 * K}}, {2, {K, K}}, {1, {K}}, {1, {K}},
        {1, {GRAFT_DIM_BATCH}}};
    graft_graph *g = graft_graph_new(b->arena);
    graft_value in[GRADIENTS + 1], out[3], grads[GRADIENTS];
    for (size_t i = 0; i <= GRADIENTS; i++) in[i] = graft_graph_input(g, names[i], GRAFT_F32, shapes[i]);
    graft_value s = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    graft_value y = graft_graph_input(g, "tags", GRAFT_I32, (graft_shape){1, {GRAFT_DIM_TOKENS}});
    graft_graph_node(g, &graft_op_lstm, &(graft_lstm_attr){1}, (graft_value[]){in[0], in[1], in[2], s}, 4,
                     out);
    graft_crf_values field = {.transitions = in[3], .start = in[4], .end = in[5], .allowed = GRAFT_NONE};
    graft_value loss = graft_crf_nll(g, out[0], field, y, in[6], s);
    graft_graph_output(g, "loss", loss);
    if (graft_graph_grad(g, loss, in, n, grads, &b->err) < 0) fail_msg("%s", b->err.message);
    for (size_t i = 0; i < n; i++)
        graft_graph_output(g, graft_arena_printf(b->arena, "d %s", names[i]), grads[i]);
    if (graft_graph_check(g, &b->err) < 0) fail_msg("%s", b->err.message);
    return g;
}

static void fill(bench *b, graft_program *p, evaluate_binding *bindings) {
    int32_t tags[TOKENS];
    double *wide_tags = wide(b->arena, NULL, TOKENS), *wide_spans = wide(b->arena, NULL, (size_t)2 * SAMPLES);
    for (size_t i = 0; i <= GRADIENTS; i++) {
        float *x = bench_random(b, counts[i], i == GRADIENTS ? 0 : -2, 2, 40 + i);
        bench_set(p, names[i], x, counts[i]);
        bindings[i] = (evaluate_binding){names[i], wide(b->arena, x, counts[i])};
    }
    for (int t = 0; t < TOKENS; t++) wide_tags[t] = tags[t] = t * 7 % (K + 1) - 1;
    for (int i = 0; i < 2 * SAMPLES; i++) wide_spans[i] = spans[i];
    bindings[GRADIENTS + 1] = (evaluate_binding){"tags", wide_tags};
    bindings[GRADIENTS + 2] = (evaluate_binding){"spans", wide_spans};
    memcpy(graft_program_input(p, "tags", NULL), tags, sizeof tags);
    memcpy(graft_program_input(p, "spans", NULL), spans, sizeof spans);
}

static graft_program *run(bench *b, const graft_graph *g, evaluate_binding *bindings) {
    graft_program *p = NULL;
    graft_compile_options options = {.batch = SAMPLES, .tokens = TOKENS};
    if (graft_program_compile(&p, g, b->state, &options, &b->err) < 0) fail_msg("%s", b->err.message);
    fill(b, p, bindings);
    bench_run(b, p);
    return p;
}

static void a_tagger_and_its_gradients_equal_the_references(void **unused) {
    (void)unused;
    bench b = bench_new(2);
    evaluate_binding bindings[GRADIENTS + 3];
    graft_graph *g = tagger(&b, GRADIENTS);
    graft_program *p = run(&b, g, bindings);
    evaluation e = evaluate_tokens(b.arena, g, SAMPLES, TOKENS, bindings, GRAFT_COUNT(bindings));
    for (size_t i = 0; i < GRADIENTS; i++) {
        int64_t n = 0;
        const char *name = graft_arena_printf(b.arena, "d %s", names[i]);
        const double *want = evaluation_of(&e, g, name, &n);
        assert_int_equal(n, counts[i]);
        check("program", K, name, graft_program_output(p, name, NULL), want, counts[i]);
    }
    double loss = *evaluation_of(&e, g, "loss", NULL);
    assert_true(fabs((double)*graft_program_output(p, "loss", NULL) - loss) < 1e-5 * fabs(loss));
    graft_program_free(p);
    bench_free(&b);
}

static void a_tagger_has_the_same_bits_for_any_thread_count(void **unused) {
    (void)unused;
    static const size_t asked[] = {0, 3, 4, 5};
    bench one = bench_new(1);
    evaluate_binding bindings[GRADIENTS + 3];
    graft_program *first = run(&one, tagger(&one, GRADIENTS), bindings);
    for (int threads = 2; threads <= 5; threads++) {
        bench b = bench_new(threads);
        graft_program *p = run(&b, tagger(&b, GRADIENTS), bindings);
        for (size_t i = 0; i < GRAFT_COUNT(asked); i++) {
            const char *name = graft_arena_printf(b.arena, "d %s", names[asked[i]]);
            assert_memory_equal(graft_program_output(p, name, NULL), graft_program_output(first, name, NULL),
                                counts[asked[i]] * sizeof(float));
        }
        assert_memory_equal(graft_program_output(p, "loss", NULL), graft_program_output(first, "loss", NULL),
                            sizeof(float));
        graft_program_free(p);
        bench_free(&b);
    }
    graft_program_free(first);
    bench_free(&one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_equals_the_reference),
        cmocka_unit_test(a_tagger_and_its_gradients_equal_the_references),
        cmocka_unit_test(a_tagger_has_the_same_bits_for_any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
