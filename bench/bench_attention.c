/* GFLOP/s of attention on one core, every version that this processor runs, beside oneDNN's matmul of the
 * same products (batched over heads, packed, without the softmax between them) and of a large matrix.
 *
 *     bench_attention [--heads H] [--seconds S] [--tokens T] [--only VERSION] [--type fp32|bf16]
 *
 * Counted are the products alone: 4 T^2 width a head forward, 10 T^2 width backward. Time is that of the
 * thread, which a loaded machine does not stretch; the best of many runs is printed. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/attention.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { Q, K, V, Y, DY, DQ, DK, DV, SUM, LSE, MATRICES };

typedef struct problem {
    size_t heads, n, width;
    bool narrow;
    const graft_attention_kernels *kernels;
    unsigned char *data[MATRICES], *scratch;
    double seconds;
} problem;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The least time of one call, over at least `seconds`. */
static double least(double seconds, void (*call)(void *), void *self) {
    double best = INFINITY, begun = now();
    call(self);
    do {
        double from = now();
        for (int i = 0; i < 4; i++) call(self);
        best = fmin(best, (now() - from) / 4);
    } while (now() - begun < seconds);
    return best;
}

static graft_attention_head head_of(const problem *p, size_t index) {
    size_t at = index * p->width * (p->narrow ? 2 : 4);
    return (graft_attention_head){.q = p->data[Q] + at,
                                  .k = p->data[K] + at,
                                  .v = p->data[V] + at,
                                  .n = p->n,
                                  .width = p->width,
                                  .stride = p->heads * p->width,
                                  .lse_stride = p->heads,
                                  .narrow = p->narrow,
                                  .scale = 1 / sqrtf((float)p->width),
                                  .index = index,
                                  .scratch = p->scratch,
                                  .y = p->data[Y] + at,
                                  .lse = (float *)(void *)p->data[LSE] + index,
                                  .last = p->n,
                                  .y_in = p->data[Y] + at,
                                  .dy = p->data[DY] + at,
                                  .lse_in = (float *)(void *)p->data[LSE] + index,
                                  .dq = p->data[DQ] + at,
                                  .dk = p->data[DK] + at,
                                  .dv = p->data[DV] + at,
                                  .dq_sum = (float *)(void *)p->data[SUM] + index * p->width};
}

static void forward(void *self) {
    const problem *p = self;
    for (size_t i = 0; i < p->heads; i++) {
        graft_attention_head h = head_of(p, i);
        for (h.first = 0; h.first < p->n; h.first = h.last) {
            h.last = h.first + GRAFT_ATTENTION_ROWS < p->n ? h.first + GRAFT_ATTENTION_ROWS : p->n;
            p->kernels->forward(&h);
        }
    }
}

static void backward(void *self) {
    const problem *p = self;
    for (size_t i = 0; i < p->heads; i++) {
        graft_attention_head h = head_of(p, i);
        p->kernels->backward(&h);
    }
}

static void fill(problem *p) {
    size_t count = p->n * p->heads * p->width;
    for (size_t m = 0; m < MATRICES; m++) {
        p->data[m] = aligned_alloc(64, count * 4);
        if (!p->data[m]) exit(1);
        memset(p->data[m], 0, count * 4);
        graft_rng r = graft_rng_at(1, 0, m, GRAFT_RNG_TEST);
        for (size_t i = 0; i < count && m <= DY; i++) {
            float x = (float)(graft_rng_uniform(&r) * 2.0 - 1.0);
            if (p->narrow) {
                memcpy(p->data[m] + 2 * i, (unsigned char *)&x + 2, 2);
            } else {
                memcpy(p->data[m] + 4 * i, &x, 4);
            }
        }
    }
    size_t size = p->kernels->scratch(p->n, p->width), grad_size = p->kernels->grad_scratch(p->n, p->width);
    p->scratch = aligned_alloc(64, size > grad_size ? size : grad_size);
    if (!p->scratch) exit(1);
}

static void bench_version(problem p) {
    fill(&p);
    double products = (double)(p.heads * p.n * p.n * p.width) * 1e-9;
    double there = least(p.seconds, forward, &p), back = least(p.seconds, backward, &p);
    printf("%-22s %s T %3zu width %2zu   forward %7.1f GFLOP/s %8.1f us   backward %7.1f GFLOP/s %8.1f us\n",
           p.kernels->name, p.narrow ? "bf16" : "fp32", p.n, p.width, 4 * products / there, there * 1e6,
           10 * products / back, back * 1e6);
    for (size_t m = 0; m < MATRICES; m++) free(p.data[m]);
    free(p.scratch);
}

/* ---- oneDNN ---------------------------------------------------------------------------------------------- */

typedef struct matmul {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[3];
} matmul;

static void run_matmul(void *self) {
    const matmul *m = self;
    dnnl_primitive_execute(m->primitive, m->stream, 3, m->args);
    dnnl_stream_wait(m->stream);
}

/* Seconds of `batch` products (rows, k) (k, cols), C order. */
static double time_matmul(size_t batch, size_t rows, size_t k, size_t cols, bool narrow, double seconds) {
    dnnl_data_type_t type = narrow ? dnnl_bf16 : dnnl_f32;
    dnnl_dim_t b = (dnnl_dim_t)batch, m = (dnnl_dim_t)rows, n = (dnnl_dim_t)cols, inner = (dnnl_dim_t)k;
    const dnnl_dims_t dims[3] = {{b, m, inner}, {b, inner, n}, {b, m, n}};
    const int kinds[3] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_engine_t engine;
    dnnl_memory_desc_t md[3];
    dnnl_primitive_desc_t pd;
    matmul run;
    void *data[3];
    dnnl_engine_create(&engine, dnnl_cpu, 0);
    dnnl_stream_create(&run.stream, engine, dnnl_stream_default_flags);
    for (int i = 0; i < 3; i++) {
        dnnl_memory_desc_create_with_tag(&md[i], 3, dims[i], i < 2 ? type : dnnl_f32, dnnl_abc);
        size_t size = (dnnl_memory_desc_get_size(md[i]) + 63) / 64 * 64;
        data[i] = aligned_alloc(64, size);
        if (!data[i]) exit(1);
        memset(data[i], 0, size);
        run.args[i].arg = kinds[i];
        dnnl_memory_create(&run.args[i].memory, md[i], engine, data[i]);
    }
    if (dnnl_matmul_primitive_desc_create(&pd, engine, md[0], md[1], NULL, md[2], NULL) != dnnl_success)
        return INFINITY;
    dnnl_primitive_create(&run.primitive, pd);
    double best = least(seconds, run_matmul, &run);
    dnnl_primitive_destroy(run.primitive);
    dnnl_primitive_desc_destroy(pd);
    for (int i = 0; i < 3; i++) {
        dnnl_memory_destroy(run.args[i].memory);
        dnnl_memory_desc_destroy(md[i]);
        free(data[i]);
    }
    dnnl_stream_destroy(run.stream);
    dnnl_engine_destroy(engine);
    return best;
}

static void bench_onednn(size_t heads, size_t n, size_t width, bool narrow, double seconds) {
    double scores = time_matmul(heads, n, width, n, narrow, seconds);
    double values = time_matmul(heads, n, n, width, narrow, seconds);
    printf("%-22s %s T %3zu width %2zu   forward %7.1f GFLOP/s %8.1f us\n", "oneDNN, two matmuls",
           narrow ? "bf16" : "fp32", n, width, 4e-9 * (double)(heads * n * n * width) / (scores + values),
           (scores + values) * 1e6);
}

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

int main(int argc, char **argv) {
    const graft_attention_kernels *all[8];
    const size_t widths[] = {32, 64};
    size_t lengths[] = {8, 16, 64, 128, 512}, n_lengths = GRAFT_COUNT(lengths), heads = 12;
    double seconds = 0.05;
    const char *only = "";
    int only_type = -1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--heads") == 0) heads = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seconds") == 0) seconds = strtod(argv[i + 1], NULL);
        if (strcmp(argv[i], "--only") == 0) only = argv[i + 1];
        if (strcmp(argv[i], "--tokens") == 0) lengths[0] = strtoul(argv[i + 1], NULL, 10), n_lengths = 1;
        if (strcmp(argv[i], "--type") == 0) only_type = strcmp(argv[i + 1], "bf16") == 0;
    }
    omp_set_num_threads(1);
    for (int narrow = 0; narrow < 2; narrow++) {
        if (only_type >= 0 && only_type != narrow) continue;
        size_t n_versions = versions(narrow != 0, all);
        double large = time_matmul(1, 1024, 1024, 1024, narrow != 0, 0.3);
        printf("oneDNN, 1024 x 1024 x 1024 %s: %.1f GFLOP/s\n", narrow ? "bf16" : "fp32",
               2e-9 * 1024 * 1024 * 1024 / large);
        for (size_t w = 0; w < GRAFT_COUNT(widths); w++) {
            for (size_t i = 0; i < n_lengths; i++) {
                for (size_t k = 0; k < n_versions; k++)
                    if (strstr(all[k]->name, only))
                        bench_version((problem){.heads = heads,
                                                .n = lengths[i],
                                                .width = widths[w],
                                                .narrow = narrow != 0,
                                                .kernels = all[k],
                                                .seconds = seconds});
                bench_onednn(heads, lengths[i], widths[w], narrow != 0, seconds);
            }
        }
    }
    return 0;
}
