/* Steps allocate nothing; any allocation may fail while a run is opened, trained or saved, and costs no older
 * resume point. Only calls out of graft's own code count and fail, known by their return address: oneDNN
 * allocates when it runs a primitive and does not survive a failure. The allocator is replaced in this
 * program, which the sanitizers do too: with them there is nothing to test here. */
#include "toy.h"

#include <errno.h>
#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REPLACED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define REPLACED 0
#endif
#endif
#if !defined(REPLACED) && defined(__GLIBC__)
#define REPLACED 1
#endif

static atomic_long n_asked;
static atomic_long until_failure = -1; /* allocations still granted; negative: all */

#if REPLACED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

/* The libraries' calls come here too, so the names have to be seen from there. */
#define EXPORTED __attribute__((visibility("default")))

extern const char __executable_start, etext;

static bool grant(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    if (at < (uintptr_t)&__executable_start || at >= (uintptr_t)&etext) return true;
    atomic_fetch_add(&n_asked, 1);
    if (atomic_load(&until_failure) < 0) return true;
    if (atomic_load(&until_failure) == 0) {
        errno = ENOMEM;
        return false; /* and all that follow: memory does not come back by itself */
    }
    atomic_fetch_sub(&until_failure, 1);
    return true;
}

EXPORTED void *malloc(size_t size) {
    return grant(__builtin_return_address(0)) ? __libc_malloc(size) : NULL;
}

EXPORTED void *calloc(size_t n, size_t size) {
    return grant(__builtin_return_address(0)) ? __libc_calloc(n, size) : NULL;
}

EXPORTED void *realloc(void *p, size_t size) {
    return grant(__builtin_return_address(0)) ? __libc_realloc(p, size) : NULL;
}

EXPORTED void *aligned_alloc(size_t align, size_t size) {
    return grant(__builtin_return_address(0)) ? __libc_memalign(align, size) : NULL;
}
#endif

static void skip_unless_replaced(void) {
    if (REPLACED) return;
    print_message("skipped: the sanitizer's allocator is not counted\n");
    skip();
}

/* Calls of the progress function are the ends of updates, the last of an epoch after its evaluation: nothing
 * may be allocated from one to the next of an epoch, when every shape of batch has come once. */
typedef struct counter {
    long last, extra;
    int64_t seen;
    int n_updates, n_checked;
} counter;

static void count_update(void *user, const graft_progress *p) {
    counter *c = user;
    long now = atomic_load(&n_asked);
    c->n_updates++;
    if (c->n_updates > 4 && p->done > c->seen && !p->epoch) { /* within an epoch after the first */
        c->extra += now - c->last;
        c->n_checked++;
    }
    c->seen = p->done;
    c->last = now;
}

static void a_step_allocates_nothing(void **state) {
    room *r = *state;
    skip_unless_replaced();
    static const struct {
        int64_t micro_batch;
        int segments;
        double ema;
    } ways[] = {{8, 0, 0}, {8, 4, 0}, {3, 0, 0}, {8, 0, 0.9}};
    for (size_t i = 0; i < GRAFT_COUNT(ways); i++) {
        counter c = {0};
        graft_err err = {0};
        graft_env *env = NULL;
        graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
        o.threads = 2;
        o.progress = count_update;
        o.user = &c;
        assert_ok(graft_env_new(&env, &o, &err));
        toy t = toy_new(r->arena, env);
        t.recipe.micro_batch = ways[i].micro_batch;
        t.recipe.segments = ways[i].segments;
        t.recipe.ema = ways[i].ema;
        assert_ok(toy_run(&t, &err));
        assert_int_equal(c.n_updates, 24);
        assert_int_equal(c.n_checked, 10);
        assert_int_equal(c.extra, 0);
        toy_done(&t);
        graft_env_free(env);
    }
}

/* ---- Allocations that fail ---------------------------------------------------------------------------------- */

static void a_resume_point_survives_any_failing_allocation(void **state) {
    room *r = *state;
    skip_unless_replaced();
    graft_err err = {0};
    size_t size = 0, after = 0;
    char *before = NULL, *now = NULL;
    toy t = toy_new(r->arena, r->env);
    graft_best best;
    graft_run run = {.epoch = 1, .update = 4};
    graft_epoch history[1] = {{.epoch = 1}};
    run.result.history = history;
    run.result.n_epochs = 1;
    t.recipe.epochs = 1;
    t.io.checkpoint_dir = in_room(r, "checkpoint");
    assert_ok(toy_run(&t, &err));
    assert_ok(graft_best_init(&best, r->arena, t.graph, false, &err));
    assert_ok(graft_best_take(&best, r->arena, t.state, &err));
    assert_ok(graft_checkpoint_save(&t.io, &run, &best, &err));
    const char *path = in_room(r, "checkpoint/resume.safetensors");
    assert_ok(graft_file_read(&before, &size, r->arena, path, (size_t)1 << 28, &err));
    run.update = 5; /* what is written from here on would differ */
    int rc = -1;
    long n = 0;
    for (; rc < 0; n++) {
        atomic_store(&until_failure, n);
        rc = graft_checkpoint_save(&t.io, &run, &best, &err);
        atomic_store(&until_failure, -1);
        if (rc == 0) break;
        assert_int_equal(rc, GRAFT_ENOMEM);
        assert_ok(graft_file_read(&now, &after, r->arena, path, (size_t)1 << 28, &err));
        assert_int_equal(after, size);
        assert_memory_equal(now, before, size);
    }
    print_message("%ld allocations failed in turn\n", n);
    assert_true(n > 10);
    char **names;
    size_t n_names;
    assert_ok(graft_dir_list(&names, &n_names, r->arena, in_room(r, "checkpoint"), &err));
    assert_int_equal(n_names, 1);
    toy_done(&t);
}

static void a_run_ends_with_an_error_when_memory_ends(void **state) {
    room *r = *state;
    skip_unless_replaced();
    graft_err err = {0};
    toy whole = toy_new(r->arena, r->env);
    whole.recipe.epochs = 2;
    long before = atomic_load(&n_asked);
    assert_ok(toy_run(&whole, &err));
    toy_done(&whole);
    long total = atomic_load(&n_asked) - before;
    int n_failed = 0;
    for (long n = 0; n < total; n += total / 60 + 1) {
        graft_arena *arena = graft_arena_new(NULL);
        toy t = toy_new(arena, r->env);
        t.recipe.epochs = 2;
        memset(&err, 0, sizeof err);
        atomic_store(&until_failure, n);
        int rc = toy_run(&t, &err);
        atomic_store(&until_failure, -1);
        if (rc < 0) assert_true(err.code == rc && rc != GRAFT_EINTERNAL);
        n_failed += rc < 0;
        toy_done(&t);
        graft_arena_free(arena);
    }
    print_message("%d of runs cut off within %ld allocations ended with an error\n", n_failed, total);
    assert_true(n_failed > 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(a_step_allocates_nothing),
        room_test(a_resume_point_survives_any_failing_allocation),
        room_test(a_run_ends_with_an_error_when_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
