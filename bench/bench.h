/* What the benchmarks share: options, noise, a clock that takes the median over steps, one JSON line at the
 * end. */
#ifndef GRAFT_BENCH_H
#define GRAFT_BENCH_H

#include "backend/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct bench_options {
    const char *model, *train; /* train: head, top:1, full */
    int64_t batch, length;     /* samples; tokens of a text */
    graft_precision dtype;
    bool trace;
    double seconds;
    int threads;
} bench_options;

static const char *const bench_dtypes[] = {"fp32", "bf16", "bf16x3"};

static inline graft_precision bench_dtype(const char *word) {
    for (int i = GRAFT_PRECISION_BF16; i <= GRAFT_PRECISION_BF16X3; i++)
        if (strcmp(word, bench_dtypes[i]) == 0) return (graft_precision)i;
    return GRAFT_PRECISION_FP32;
}

enum { BENCH_MAX_STEPS = 100000, BENCH_WARM = 2 };

typedef struct bench_clock {
    double begun, last, cpu_last, cpu[BENCH_MAX_STEPS],
        step[BENCH_MAX_STEPS]; /* seconds; cpu: of all threads */
    size_t n, warm;
} bench_clock;

/* Seconds of processor time, all threads: what a loaded machine cannot stretch. */
static inline double bench_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* True until the time is over; the first steps (pages, caches) are not counted. */
static inline bool bench_goes_on(bench_clock *c, const bench_options *o) {
    double now = graft_now();
    c->last = now;
    c->cpu_last = bench_cpu();
    if (c->warm < BENCH_WARM) return true;
    if (c->n == 0) c->begun = now;
    return c->n < BENCH_MAX_STEPS && (c->n == 0 || now - c->begun < o->seconds);
}

static inline void bench_tick(bench_clock *c) {
    double seconds = graft_now() - c->last;
    if (c->warm < BENCH_WARM) {
        c->warm++;
        return;
    }
    c->cpu[c->n] = bench_cpu() - c->cpu_last;
    c->step[c->n++] = seconds;
}

static inline int bench_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static inline void bench_noise(float *x, size_t n) {
    graft_rng r = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    for (size_t i = 0; i < n; i++) x[i] = (float)(graft_rng_uniform(&r) * 4.0 - 2.0);
}

static inline void bench_print(const char *what, const bench_options *o, bench_clock *c,
                               const graft_program_memory *m) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    qsort(c->step, c->n, sizeof *c->step, bench_compare);
    qsort(c->cpu, c->n, sizeof *c->cpu, bench_compare);
    printf("{\"what\": \"%s\", \"batch\": %lld, \"dtype\": \"%s\", \"images_per_second\": %.2f, "
           "\"best_images_per_second\": %.2f, \"cpu_ms_per_image\": %.3f, \"steps\": %zu, \"arena_mib\": "
           "%.1f, \"weights_mib\": %.1f, "
           "\"state_mib\": %.1f, \"peak_mib\": %.1f, \"kernels\": %zu, \"reorders\": %zu, \"references\": "
           "%zu}\n",
           what, (long long)o->batch, bench_dtypes[o->dtype], (double)o->batch / c->step[c->n / 2],
           (double)o->batch / c->step[0], 1e3 * c->cpu[0] / (double)o->batch, c->n,
           (double)m->arena / 1048576.0, (double)m->weights / 1048576.0, (double)m->state / 1048576.0,
           (double)usage.ru_maxrss / 1024.0, m->n_steps, m->n_reorders, m->n_reference);
}

static inline int bench_main(int argc, char **argv, int (*run)(const bench_options *o, graft_err *err)) {
    bench_options o = {.train = "full", .batch = 8, .length = 128, .seconds = 5.0};
    graft_err err = {0};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            o.trace = true;
        } else if (argv[i][0] != '-') {
            o.model = argv[i];
        } else {
            if (strcmp(argv[i], "--batch") == 0) o.batch = strtoll(value, NULL, 10);
            if (strcmp(argv[i], "--length") == 0) o.length = strtoll(value, NULL, 10);
            if (strcmp(argv[i], "--dtype") == 0) o.dtype = bench_dtype(value);
            if (strcmp(argv[i], "--seconds") == 0) o.seconds = strtod(value, NULL);
            if (strcmp(argv[i], "--threads") == 0) o.threads = (int)strtol(value, NULL, 10);
            if (strcmp(argv[i], "--train") == 0) o.train = value;
            i++;
        }
    }
    if (!o.model) {
        fprintf(stderr,
                "usage: %s MODEL [--batch N] [--length TOKENS] [--dtype fp32|bf16|bf16x3] [--seconds S] "
                "[--threads "
                "T] [--trace]\n",
                argv[0]);
        return 2;
    }
    if (run(&o, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return graft_error_exit(err.code);
    }
    return 0;
}

#endif
