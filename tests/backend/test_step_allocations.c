/* A step allocates nothing. Every allocation of the process is counted; those that oneDNN makes while one of
 * its primitives runs are its own and are told apart and printed. A sanitizer has an allocator of its own:
 * then nothing is counted and the test is skipped. */
#include "programs.h"

#include <dlfcn.h>
#include <errno.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_COUNTED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_COUNTED 0
#endif
#endif
#ifndef IS_COUNTED
#define IS_COUNTED 1
#endif

enum { BATCH = 6, WARM = 3, STEPS = 5 };

static atomic_long of_graft, of_onednn;

#if IS_COUNTED
#define VISIBLE __attribute__((visibility("default")))

/* One program runs at a time, so this holds for oneDNN's worker threads too. */
static atomic_int inside_onednn;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static void count(void) {
    atomic_fetch_add(atomic_load(&inside_onednn) ? &of_onednn : &of_graft, 1);
}

VISIBLE void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

VISIBLE void *calloc(size_t n, size_t size) {
    count();
    return __libc_calloc(n, size);
}

VISIBLE void *realloc(void *p, size_t size) {
    count();
    return __libc_realloc(p, size);
}

VISIBLE void *aligned_alloc(size_t align, size_t size) {
    count();
    return __libc_memalign(align, size);
}

VISIBLE void *memalign(size_t align, size_t size) {
    count();
    return __libc_memalign(align, size);
}

VISIBLE int posix_memalign(void **out, size_t align, size_t size) {
    count();
    *out = __libc_memalign(align, size);
    return *out ? 0 : ENOMEM;
}

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int n_args,
                                     const dnnl_exec_arg_t *args) {
    static dnnl_status_t (*real)(const_dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t *);
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
        memcpy(&real, &symbol, sizeof real);
    }
    atomic_store(&inside_onednn, 1);
    dnnl_status_t status = real(primitive, stream, n_args, args);
    atomic_store(&inside_onednn, 0);
    return status;
}
#endif

/* Everything that a loop over batches calls: the inputs' places, the run, the outputs' places. */
static void step(bench *b, graft_program *p, float *const *from, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t size = 0;
        void *to = graft_program_input(p, names[i], &size);
        memcpy(to, from[i], size);
    }
    bench_run(b, p);
    assert_non_null(graft_program_output(p, n > 1 ? "loss" : "logits", NULL));
}

static void check_steps(bench_optimiser kind, int threads) {
    static const char *const names[] = {"x", "target", "weight", "lr", "step"};
    if (!IS_COUNTED) {
        print_message("skipped: the sanitizer's allocator is not counted\n");
        skip();
    }
    bench b = bench_new(threads);
    graft_program *train = bench_compile(&b, bench_training(&b, kind), b.state, BATCH);
    graft_program *infer = bench_compile(&b, bench_inference(&b), b.state, BATCH);
    size_t n = kind == BENCH_SGD ? 4 : 5;
    float *from[5] = {bench_random(&b, BATCH * PICTURE, -1, 1, 1),
                      bench_random(&b, BATCH * SMALL_NET_CLASSES, 0, 1, 2),
                      bench_random(&b, BATCH, 0.1, 0.5, 3), bench_random(&b, 1, 0.01, 0.02, 4),
                      bench_random(&b, 1, 1, 2, 5)};
    for (int i = 0; i < WARM; i++) {
        step(&b, train, from, names, n);
        step(&b, infer, from, names, 1);
    }
    atomic_store(&of_graft, 0);
    atomic_store(&of_onednn, 0);
    for (int i = 0; i < STEPS; i++) {
        step(&b, train, from, names, n);
        step(&b, infer, from, names, 1);
    }
    long own = atomic_load(&of_graft), theirs = atomic_load(&of_onednn);
    print_message("%d steps of %zu kernels: %ld allocations, and %ld inside oneDNN's primitives\n", STEPS,
                  graft_program_needs(train).n_steps, own, theirs);
    graft_program_free(train);
    graft_program_free(infer);
    bench_free(&b);
    assert_int_equal(own, 0);
}

static void a_warm_step_with_momentum_allocates_nothing(void **unused) {
    (void)unused;
    check_steps(BENCH_SGD, 2);
}

static void a_warm_step_with_adam_allocates_nothing(void **unused) {
    (void)unused;
    check_steps(BENCH_ADAMW, 2);
}

static void a_warm_step_of_one_thread_allocates_nothing(void **unused) {
    (void)unused;
    check_steps(BENCH_ADAM, 1);
}

/* The counter itself: what is allocated is seen. */
static void an_allocation_is_counted(void **unused) {
    (void)unused;
    if (!IS_COUNTED) skip();
    long before = atomic_load(&of_graft);
    bench b = bench_new(1);
    bench_free(&b);
    assert_true(atomic_load(&of_graft) > before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_is_counted),
        cmocka_unit_test(a_warm_step_with_momentum_allocates_nothing),
        cmocka_unit_test(a_warm_step_with_adam_allocates_nothing),
        cmocka_unit_test(a_warm_step_of_one_thread_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
