/* Attention: every version of the kernels that this processor runs against the row's reference in double,
 * over widths, lengths, masks and dropout; and programs over texts of unequal length. */
#include "programs.h"

#include "backend/cpu/cpu.h"
#include "backend/cpu/own/attention.h"
#include "graph/op.h"

#include <math.h>
#include <stdlib.h>

enum { HEADS = 2, MOST_ROWS = 512, MOST_WIDTH = 128, VALUES = MOST_ROWS * HEADS * MOST_WIDTH };
enum { Q, K, V, Y, DY, DQ, DK, DV, MATRICES };

/* Those that this processor has, for one type. */
static size_t versions(bool narrow, const graft_attention_kernels **out) {
    size_t n = 0;
    out[n++] = &graft_attention_base;
#if defined(__x86_64__)
    graft_cpu_isa isa = graft_cpu_find_isa();
    if (isa.avx2) out[n++] = &graft_attention_avx2;
    if (isa.avx512) out[n++] = &graft_attention_avx512;
    if (narrow && isa.avx512bf16) out[n++] = &graft_attention_avx512bf16;
    if (narrow && isa.amx) out[n++] = &graft_attention_amx;
#endif
    return n;
}

static float rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* One sample: what goes in, what the reference makes of it, and what a kernel does. */
typedef struct trial {
    graft_attention_attr attr;
    size_t n, width;
    bool narrow;
    double tolerance;
    double *wide[MATRICES], *lse; /* the reference's: inputs and results */
    void *data[MATRICES];         /* the kernel's, float32 or bf16 */
    float *out_lse;
} trial;

static const double seed[2] = {3, -4};

static void *zeros(graft_arena *arena, size_t n) {
    void *p = graft_arena_alloc(arena, n);
    assert_non_null(p);
    memset(p, 0, n);
    return p;
}

/* Draws q, k, v and dy, and runs the references. */
static trial trial_new(bench *b, graft_attention_attr attr, size_t n, size_t width, bool narrow) {
    trial t = {.attr = attr, .n = n, .width = width, .narrow = narrow, .tolerance = narrow ? 2e-2 : 1e-5};
    size_t count = n * HEADS * width;
    const double spans[2] = {0, (double)n};
    graft_shape shape = {2, {(int64_t)n, (int64_t)(HEADS * width)}}, lse = {2, {(int64_t)n, HEADS}};
    for (size_t m = 0; m < MATRICES; m++) {
        t.wide[m] = zeros(b->arena, count * sizeof(double));
        t.data[m] = zeros(b->arena, count * sizeof(float));
        if (m > V && m != DY) continue;
        const float *x = bench_random(b, count, -1, 1, m);
        for (size_t i = 0; i < count; i++) {
            float value = narrow ? rounded(x[i]) : x[i];
            t.wide[m][i] = (double)value;
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            if (narrow) {
                ((uint16_t *)t.data[m])[i] = (uint16_t)(bits >> 16);
            } else {
                ((float *)t.data[m])[i] = value;
            }
        }
    }
    t.lse = zeros(b->arena, n * HEADS * sizeof(double));
    t.out_lse = zeros(b->arena, n * HEADS * sizeof(float));
    const double *in[8] = {t.wide[Q], t.wide[K], t.wide[V], spans, seed, t.wide[Y], t.lse, t.wide[DY]};
    graft_shape in_shape[8] = {shape, shape, shape, {2, {1, 2}}, {1, {2}}, shape, lse, shape};
    graft_op_attention.reference(&(graft_op_call){in, in_shape, 5, (double *const[]){t.wide[Y], t.lse},
                                                  (const graft_shape[]){shape, lse}, 2, &t.attr});
    graft_op_attention_grad.reference(&(graft_op_call){
        in, in_shape, 8, &t.wide[DQ], (const graft_shape[]){shape, shape, shape}, 3, &t.attr});
    return t;
}

static void run_head(bench *b, const graft_attention_kernels *k, const trial *t, size_t index) {
    size_t offset = index * t->width * (t->narrow ? 2 : 4);
    unsigned char *at[MATRICES];
    for (size_t m = 0; m < MATRICES; m++) at[m] = (unsigned char *)t->data[m] + offset;
    size_t size = k->scratch(t->n, t->width), grad_size = k->grad_scratch(t->n, t->width);
    size_t most = size > grad_size ? size : grad_size;
    unsigned char *scratch = aligned_alloc(64, most + 64);
    assert_non_null(scratch);
    memset(scratch, 0xff, most + 64);
    graft_attention_head h = {.q = at[Q],
                              .k = at[K],
                              .v = at[V],
                              .n = t->n,
                              .width = t->width,
                              .stride = HEADS * t->width,
                              .lse_stride = HEADS,
                              .narrow = t->narrow,
                              .causal = t->attr.causal != 0,
                              .scale = (float)t->attr.scale,
                              .p = t->attr.p,
                              .key = graft_dropout_key_of((const int32_t[]){3, -4}, t->attr.salt, 0),
                              .index = index,
                              .scratch = scratch,
                              .y = at[Y],
                              .lse = t->out_lse + index,
                              .y_in = at[Y],
                              .dy = at[DY],
                              .lse_in = t->out_lse + index,
                              .dq = at[DQ],
                              .dk = at[DK],
                              .dv = at[DV]};
    for (h.first = 0; h.first < t->n; h.first = h.last) {
        h.last = h.first + GRAFT_ATTENTION_ROWS < t->n ? h.first + GRAFT_ATTENTION_ROWS : t->n;
        k->forward(&h);
    }
    h.dq_sum = t->narrow ? zeros(b->arena, t->n * h.stride * sizeof(float)) : h.dq;
    k->backward(&h);
    for (size_t i = 0; i < 64; i++) assert_int_equal(scratch[most + i], 0xff);
    free(scratch);
}

static double value_of(const trial *t, size_t m, size_t i) {
    if (!t->narrow) return (double)((const float *)t->data[m])[i];
    uint32_t bits = (uint32_t)((const uint16_t *)t->data[m])[i] << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return (double)wide;
}

static void check(const char *name, const trial *t, const char *what, size_t m) {
    double most = t->narrow ? 0.3 : 0.1, off = 0; /* where all that is summed cancels, its rounding is left */
    for (size_t i = 0; i < t->n * HEADS * t->width; i++) {
        double difference = fabs(value_of(t, m, i) - t->wide[m][i]);
        most = fmax(most, fabs(t->wide[m][i]));
        off = difference <= off ? off : difference;
    }
    if (!(off <= t->tolerance * most))
        fail_msg("%s, %zu tokens, width %zu, causal %d, p %g, bf16 %d: %s is %g off", name, t->n, t->width,
                 (int)t->attr.causal, t->attr.p, t->narrow, what, off / most);
}

static void check_trial(bench *b, const graft_attention_kernels *k, const trial *t) {
    static const char *const names[MATRICES] = {[Y] = "y", [DQ] = "dq", [DK] = "dk", [DV] = "dv"};
    static const size_t results[] = {Y, DQ, DK, DV};
    for (size_t i = 0; i < GRAFT_COUNT(results); i++)
        memset(t->data[results[i]], 0xff, t->n * HEADS * t->width * (t->narrow ? 2 : 4));
    for (size_t h = 0; h < HEADS; h++) run_head(b, k, t, h);
    for (size_t i = 0; i < GRAFT_COUNT(results); i++) check(k->name, t, names[results[i]], results[i]);
    for (size_t i = 0; i < t->n * HEADS; i++)
        if (!(fabs((double)t->out_lse[i] - t->lse[i]) <= (t->narrow ? 1e-2 : 1e-5)))
            fail_msg("%s, %zu tokens, width %zu: lse %g, not %g", k->name, t->n, t->width,
                     (double)t->out_lse[i], t->lse[i]);
}

static void over_versions(graft_attention_attr attr, size_t n, size_t width, bool narrow) {
    const graft_attention_kernels *all[8];
    size_t n_versions = versions(narrow, all);
    bench b = bench_new(1);
    trial t = trial_new(&b, attr, n, width, narrow);
    for (size_t i = 0; i < n_versions; i++) check_trial(&b, all[i], &t);
    bench_free(&b);
}

static const size_t lengths[] = {1, 2, 5, 15, 16, 17, 33, 47, 48, 49, 128, 200};

static void every_version_equals_the_reference(void **unused) {
    (void)unused;
    static const size_t widths[] = {1, 5, 16, 24, 32, 64, 80, 128};
    for (size_t w = 0; w < GRAFT_COUNT(widths); w++) {
        for (size_t i = 0; i < GRAFT_COUNT(lengths); i++) {
            graft_attention_attr a = {.heads = HEADS, .scale = 1 / sqrt((double)widths[w])};
            over_versions(a, lengths[i], widths[w], false);
            a.causal = 1;
            over_versions(a, lengths[i], widths[w], false);
        }
    }
}

static void dropout_drops_what_the_reference_drops(void **unused) {
    (void)unused;
    for (size_t i = 0; i < GRAFT_COUNT(lengths); i++) {
        graft_attention_attr a = {.heads = HEADS, .scale = 0.2, .p = 0.3, .salt = -5};
        over_versions(a, lengths[i], 24, false);
        a.causal = 1;
        over_versions(a, lengths[i], 32, false);
    }
}

static void texts_longer_than_a_block_of_keys_are_carried_on(void **unused) {
    (void)unused;
    graft_attention_attr a = {.heads = HEADS, .scale = 1, .p = 0.1, .salt = -1};
    static const size_t some[] = {288, 289, 511, 512, 513, 600};
    for (size_t i = 0; i < GRAFT_COUNT(some); i++) {
        for (int64_t causal = 0; causal < 2; causal++) {
            a.causal = causal;
            over_versions(a, some[i], 16, false);
            over_versions(a, some[i], 16, true);
        }
    }
}

static void bf16_is_near_the_reference(void **unused) {
    (void)unused;
    static const size_t widths[] = {5, 24, 32, 64, 80};
    for (size_t w = 0; w < GRAFT_COUNT(widths); w++) {
        for (size_t i = 0; i < GRAFT_COUNT(lengths); i++) {
            graft_attention_attr a = {.heads = HEADS, .scale = 1 / sqrt((double)widths[w])};
            over_versions(a, lengths[i], widths[w], true);
            a.causal = 1;
            a.p = 0.2;
            over_versions(a, lengths[i], widths[w], true);
        }
    }
}

/* ---- Programs --------------------------------------------------------------------------------------------- */

enum { SAMPLES = 6, TOKENS = 640, D = 48 };
/* Out of order, empty, longer than a block, and cut at the end of the rows there are. */
static const int32_t spans[2 * SAMPLES] = {520, 33, 3, 512, 0, 0, 560, 5, -4, 7, 630, 4000};

typedef struct results {
    float *y, *dq, *dk, *dv;
} results;

static results run_program(bench *b, graft_dtype dtype, graft_attention_attr attr) {
    graft_graph *g = graft_graph_new(b->arena);
    graft_shape shape = {2, {GRAFT_DIM_TOKENS, D}};
    const int32_t seeds[2] = {7, 8};
    static const char *const names[] = {"q", "k", "v", "dy"}, *const outputs[] = {"y", "dq", "dk", "dv"};
    graft_value in[4], of[4], node[2], out[4];
    for (size_t i = 0; i < 4; i++) in[i] = graft_graph_input(g, names[i], GRAFT_F32, shape);
    graft_value s = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    graft_value r = graft_graph_input(g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    for (size_t i = 0; i < 4; i++) of[i] = graft_relu(g, in[i]); /* what may be bf16 */
    graft_graph_node(g, &graft_op_attention, &attr, (graft_value[]){of[0], of[1], of[2], s, r}, 5, node);
    out[0] = graft_relu(g, node[0]);
    graft_graph_node(g, &graft_op_attention_grad, &attr,
                     (graft_value[]){of[0], of[1], of[2], s, r, node[0], node[1], of[3]}, 8, out + 1);
    for (size_t i = 0; i < 4; i++) graft_graph_output(g, outputs[i], out[i]);
    if (graft_graph_precision(g, dtype == GRAFT_BF16 ? GRAFT_PRECISION_BF16 : GRAFT_PRECISION_FP32, &b->err) <
        0)
        fail_msg("%s", b->err.message);
    graft_program *p = NULL;
    graft_compile_options options = {.batch = SAMPLES, .tokens = TOKENS};
    if (graft_program_compile(&p, g, b->state, &options, &b->err) < 0) fail_msg("%s", b->err.message);
    for (size_t i = 0; i < 4; i++)
        bench_set(p, names[i], bench_random(b, TOKENS * D, 0, 1, 30 + i), TOKENS * D);
    memcpy(graft_program_input(p, "spans", NULL), spans, sizeof spans);
    memcpy(graft_program_input(p, "seed", NULL), seeds, sizeof seeds);
    bench_run(b, p);
    results all = {0};
    float **to[4] = {&all.y, &all.dq, &all.dk, &all.dv};
    for (size_t i = 0; i < 4; i++) {
        *to[i] = zeros(b->arena, TOKENS * D * sizeof(float));
        memcpy(*to[i], graft_program_output(p, outputs[i], NULL), TOKENS * D * sizeof(float));
    }
    graft_program_free(p);
    return all;
}

static const graft_attention_attr three_heads = {
    .heads = 3, .causal = 1, .scale = 0.25, .p = 0.1, .salt = -1};

static void check_bits(graft_dtype dtype) {
    bench one = bench_new(1);
    results first = run_program(&one, dtype, three_heads);
    for (int threads = 2; threads <= 5; threads++) {
        bench b = bench_new(threads);
        results again = run_program(&b, dtype, three_heads);
        assert_memory_equal(first.y, again.y, TOKENS * D * sizeof(float));
        assert_memory_equal(first.dq, again.dq, TOKENS * D * sizeof(float));
        assert_memory_equal(first.dk, again.dk, TOKENS * D * sizeof(float));
        assert_memory_equal(first.dv, again.dv, TOKENS * D * sizeof(float));
        bench_free(&b);
    }
    bench_free(&one);
}

static void attention_has_the_same_bits_for_any_thread_count(void **unused) {
    (void)unused;
    check_bits(GRAFT_F32);
    if (graft_backend_has_bf16()) check_bits(GRAFT_BF16);
}

static bool is_in_a_span(int64_t row) {
    for (size_t s = 0; s < SAMPLES; s++)
        if (spans[2 * s] >= 0 && row >= spans[2 * s] && row < spans[2 * s] + spans[2 * s + 1]) return true;
    return false;
}

static void check_padding(graft_dtype dtype) {
    bench b = bench_new(2);
    results all = run_program(&b, dtype, three_heads);
    const float *const each[4] = {all.y, all.dq, all.dk, all.dv};
    for (int64_t row = 0; row < TOKENS; row++) {
        float y = 0;
        for (size_t i = 0; i < 4; i++) {
            for (int64_t c = 0; c < D; c++) {
                float x = each[i][row * D + c];
                assert_true(isfinite(x));
                if (!is_in_a_span(row)) assert_true(fabsf(x) <= 0);
                if (i == 0) y += x;
            }
        }
        if (is_in_a_span(row)) assert_true(y > 0);
    }
    bench_free(&b);
}

static void rows_of_no_span_are_zero(void **unused) {
    (void)unused;
    check_padding(GRAFT_F32);
    if (graft_backend_has_bf16()) check_padding(GRAFT_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_equals_the_reference),
        cmocka_unit_test(dropout_drops_what_the_reference_drops),
        cmocka_unit_test(texts_longer_than_a_block_of_keys_are_carried_on),
        cmocka_unit_test(bf16_is_near_the_reference),
        cmocka_unit_test(attention_has_the_same_bits_for_any_thread_count),
        cmocka_unit_test(rows_of_no_span_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
