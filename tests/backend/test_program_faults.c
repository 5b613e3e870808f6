/* Every allocation that graft makes while it compiles may fail: the answer is ENOMEM, nothing is lost, and
 * the state is as good as before. Only calls out of graft's own code are made to fail, known by their return
 * address: this program holds graft's code, oneDNN is a library beside it and its start-up does not survive
 * a failing allocation. Without sanitizers only, which have an allocator of their own. */
#include "programs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAS_OWN_MALLOC 0
#endif
#endif
#ifndef HAS_OWN_MALLOC
#define HAS_OWN_MALLOC 1
#endif

enum { TABLE = 1 << 14, MOST_FAULTS = 2000 };

typedef struct injector {
    bool on, only_one, fired;
    long left; /* allocations until one fails; negative: none does */
    long n_live;
    void *live[TABLE]; /* what graft allocated while it was on and has not freed */
} injector;

static injector faults;
/* Blocks of the whole process, the libraries' too. */
static atomic_long n_blocks;

#if HAS_OWN_MALLOC
#define VISIBLE __attribute__((visibility("default")))

extern const char __executable_start, etext;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static bool is_graft(const void *caller) {
    return (uintptr_t)caller >= (uintptr_t)&__executable_start && (uintptr_t)caller < (uintptr_t)&etext;
}

static size_t place_of(const void *p) {
    return (size_t)(((uintptr_t)p >> 4) * 2654435761U % TABLE);
}

static void *remember(void *p) {
    for (size_t i = place_of(p), tried = 0; p && tried < TABLE; tried++, i = (i + 1) % TABLE) {
        if (faults.live[i]) continue;
        faults.live[i] = p;
        faults.n_live++;
        return p;
    }
    return p;
}

/* Slots are not moved together: a search goes through all of them only for what graft did not allocate. */
static void forget(const void *p) {
    if (!p || !faults.n_live) return;
    for (size_t i = place_of(p), tried = 0; tried < 64; tried++, i = (i + 1) % TABLE) {
        if (faults.live[i] != p) continue;
        faults.live[i] = NULL;
        faults.n_live--;
        return;
    }
}

static bool fails(void) {
    if (faults.left < 0) return false;
    if (faults.left > 0) {
        faults.left--;
        return false;
    }
    if (faults.fired && faults.only_one) return false;
    faults.fired = true;
    errno = ENOMEM;
    return true;
}

#define CALLER        __builtin_return_address(0)
#define IS_WATCHED(c) (faults.on && is_graft(c))

static void *counted(void *p) {
    if (p) atomic_fetch_add(&n_blocks, 1);
    return p;
}

VISIBLE void *malloc(size_t size) {
    if (!IS_WATCHED(CALLER)) return counted(__libc_malloc(size));
    return fails() ? NULL : remember(counted(__libc_malloc(size)));
}

VISIBLE void *calloc(size_t n, size_t size) {
    if (!IS_WATCHED(CALLER)) return counted(__libc_calloc(n, size));
    return fails() ? NULL : remember(counted(__libc_calloc(n, size)));
}

VISIBLE void *realloc(void *p, size_t size) {
    bool watched = IS_WATCHED(CALLER);
    if (watched && fails()) return NULL;
    void *q = __libc_realloc(p, size);
    if (!p) counted(q);
    if (!watched) return q;
    forget(p);
    return remember(q);
}

VISIBLE void *aligned_alloc(size_t align, size_t size) {
    if (!IS_WATCHED(CALLER)) return counted(__libc_memalign(align, size));
    return fails() ? NULL : remember(counted(__libc_memalign(align, size)));
}

VISIBLE int posix_memalign(void **out, size_t align, size_t size) {
    *out = counted(__libc_memalign(align, size));
    return *out ? 0 : ENOMEM;
}

VISIBLE void free(void *p) {
    if (p) atomic_fetch_sub(&n_blocks, 1);
    forget(p);
    __libc_free(p);
}
#endif

static void arm(long n, bool only_one) {
    faults.left = n;
    faults.only_one = only_one;
    faults.fired = false;
    faults.on = true;
}

/* Whether an allocation failed since arm(). */
static bool disarm(void) {
    faults.on = false;
    faults.left = -1;
    return faults.fired;
}

static void check_error(int rc, const graft_err *err, long n) {
    if (rc != GRAFT_ENOMEM) fail_msg("allocation %ld: code %d, %s", n, rc, err->message);
    assert_int_equal(err->code, GRAFT_ENOMEM);
    assert_true(err->message[0] != '\0');
}

static void skip_without_malloc(void) {
    if (HAS_OWN_MALLOC) return;
    print_message("skipped: the sanitizer's allocator cannot be made to fail\n");
    skip();
}

/* State, program, one step: all of it anew. */
static int make_and_run(const bench *b, const graft_graph *g, graft_err *err) {
    graft_state *s = NULL;
    graft_program *p = NULL;
    int rc = graft_state_new(&s, b->env, err);
    if (rc == 0) rc = graft_program_compile(&p, g, s, &(graft_compile_options){.batch = 2}, err);
    if (rc == 0) rc = graft_program_run(p, err);
    graft_program_free(p);
    graft_state_free(s);
    return rc;
}

/* The same failure again leaves as many blocks as there were: descriptors and primitives too are destroyed.
 */
static void check_libraries(const bench *b, const graft_graph *g, long n) {
    graft_err err;
    long before = atomic_load(&n_blocks);
    arm(n, true);
    make_and_run(b, g, &err);
    disarm();
    long after = atomic_load(&n_blocks);
    if (after > before) fail_msg("allocation %ld: %ld blocks are lost in a library", n, after - before);
}

static void compiling_survives(bool only_one) {
    skip_without_malloc();
    bench b = bench_new(1);
    const graft_graph *g = bench_training(&b, BENCH_ADAMW);
    assert_int_equal(make_and_run(&b, g, &b.err), 0); /* the libraries' own start-up */
    for (long n = 0;; n++) {
        assert_true(n < MOST_FAULTS);
        graft_err err = {0};
        arm(n, only_one);
        int rc = make_and_run(&b, g, &err);
        if (!disarm()) {
            assert_int_equal(rc, 0);
            assert_true(n > 20);
            print_message("%ld allocations failed, one after the other\n", n);
            break;
        }
        check_error(rc, &err, n);
        if (faults.n_live) fail_msg("allocation %ld: %ld blocks are lost", n, faults.n_live);
        if (only_one) check_libraries(&b, g, n);
    }
    assert_int_equal(faults.n_live, 0);
    bench_free(&b);
}

static void compiling_survives_any_failing_allocation(void **unused) {
    (void)unused;
    compiling_survives(true);
}

static void compiling_survives_running_out_of_memory(void **unused) {
    (void)unused;
    compiling_survives(false);
}

static void logits(bench *b, graft_program *p, const float *x, float out[SMALL_NET_CLASSES]) {
    bench_set(p, "x", x, PICTURE);
    bench_run(b, p);
    memcpy(out, graft_program_output(p, "logits", NULL), SMALL_NET_CLASSES * sizeof *out);
}

/* After every failure the same state compiles the same graph, and an earlier program of it goes on. */
static void a_state_survives_a_failed_compilation(void **unused) {
    (void)unused;
    skip_without_malloc();
    bench b = bench_new(1);
    const graft_graph *g[] = {small_net_new(b.arena), bench_inference(&b)};
    float *x = bench_random(&b, PICTURE, -1, 1, 1), want[SMALL_NET_CLASSES], got[SMALL_NET_CLASSES];
    for (int kind = 0; kind < 2; kind++) {
        graft_program *first = bench_compile(&b, g[kind], b.state, 1);
        logits(&b, first, x, want);
        graft_program_free(first);
        for (long n = 0;; n++) {
            graft_state *s = bench_state(&b);
            graft_program *p = bench_compile(&b, g[1 - kind], s, 1), *q = NULL;
            graft_err err = {0};
            arm(n, true);
            int rc = graft_program_compile(&q, g[kind], s, &(graft_compile_options){.batch = 16}, &err);
            bool failed = disarm();
            if (failed) check_error(rc, &err, n);
            graft_program_free(q);
            q = bench_compile(&b, g[kind], s, 1);
            logits(&b, q, x, got);
            assert_memory_equal(got, want, sizeof want);
            logits(&b, p, x, got);
            graft_program_free(q);
            graft_program_free(p);
            graft_state_free(s);
            assert_int_equal(faults.n_live, 0);
            if (!failed) break;
        }
    }
    bench_free(&b);
}

int main(void) {
    faults.left = -1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiling_survives_any_failing_allocation),
        cmocka_unit_test(compiling_survives_running_out_of_memory),
        cmocka_unit_test(a_state_survives_a_failed_compilation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
