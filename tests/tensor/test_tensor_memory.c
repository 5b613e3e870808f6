/* Every allocation in turn fails: each reader must then return an error, lose nothing and crash nowhere. The
 * allocator is replaced in this program, which the sanitizers do too: with them there is nothing to test
 * here. */
#include "tensor_testing.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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

static long until_failure = -1; /* allocations still granted; negative: all */
static long n_live, n_asked;
static bool is_counting;

#if REPLACED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

/* The libraries' calls come here too, so the names have to be seen from there. */
#define EXPORTED __attribute__((visibility("default")))

static bool grant(void) {
    if (!is_counting) return true;
    n_asked++;
    if (until_failure < 0) return true;
    if (until_failure == 0) {
        errno = ENOMEM;
        return false; /* and all that follow: memory does not come back by itself */
    }
    until_failure--;
    return true;
}

static void *counted(void *p) {
    n_live += p && is_counting;
    return p;
}

EXPORTED void *malloc(size_t size) {
    return grant() ? counted(__libc_malloc(size)) : NULL;
}

EXPORTED void *calloc(size_t n, size_t size) {
    return grant() ? counted(__libc_calloc(n, size)) : NULL;
}

EXPORTED void *realloc(void *p, size_t size) {
    if (!grant()) return NULL;
    void *q = __libc_realloc(p, size);
    n_live += q && !p && is_counting;
    return q;
}

EXPORTED void free(void *p) {
    n_live -= p && is_counting;
    __libc_free(p);
}
#endif

static int open_and_close(const char *path, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts = {0};
    int rc = arena ? graft_tensors_open(&ts, arena, path, err) : graft_err_nomem(err);
    assert_true(rc == 0 || ts.items == NULL);
    graft_arena_free(arena);
    return rc;
}

/* libzip 1.7 itself forgets a block when a member cannot be opened for want of memory: `forgotten` allows for
 * it. */
static void check_every_allocation(int (*run)(const char *path, graft_err *err), const char *path,
                                   long forgotten) {
    for (long granted = 0; granted < 100000; granted++) {
        graft_err err = {0};
        until_failure = granted;
        n_live = n_asked = 0;
        is_counting = true;
        int rc = run(path, &err);
        is_counting = false;
        bool is_balanced = n_live >= 0 && n_live <= (rc == 0 ? 0 : forgotten);
        if (!is_balanced) fail_msg("%s: %ld blocks lost when allocation %ld fails", path, n_live, granted);
        if (n_asked <= granted) {
            assert_int_equal(rc, 0);
            assert_true(granted > 2);
            return;
        }
        if (rc == 0) fail_msg("%s: opened although allocation %ld failed", path, granted);
        assert_true(err.code == rc && err.message[0]);
    }
    fail_msg("%s: more than 100000 allocations", path);
}

static void readers_survive_any_failing_allocation(void **state) {
    (void)state;
    static const struct {
        const char *path;
        long forgotten;
    } files[] = {
        {GOLDEN "all_types.safetensors", 0},
        {GOLDEN "checkpoint_zip.pth", 1},
        {GOLDEN "checkpoint_deflated.pth", 1},
        {GOLDEN "checkpoint_legacy.pth", 0},
        {GOLDEN "fortran.npy", 0},
        {GOLDEN "deflated.npz", 1},
        {GOLDEN "sharded", 0},
    };
    if (!REPLACED) skip();
    graft_err err;
    setenv("TZ", "UTC0",
           1); /* libzip asks for the local time, whose rules glibc keeps and reads anew at whim */
    tzset();
    for (size_t i = 0; i < GRAFT_COUNT(files); i++) {
        assert_int_equal(open_and_close(files[i].path, &err), 0); /* what libraries make once is made now */
        check_every_allocation(open_and_close, files[i].path, files[i].forgotten);
    }
}

static int write_tensor(const char *path, graft_err *err) {
    static const float x[2] = {1, 2};
    static const graft_tensor items[] = {{"a", GRAFT_F32, {1, {2}}, x, 8}, {"b", GRAFT_F32, {1, {2}}, x, 8}};
    return graft_safetensors_write(path, items, 2, NULL, err);
}

static void a_writer_leaves_the_old_file_when_memory_fails(void **state) {
    (void)state;
    if (!REPLACED) skip();
    char dir[] = "/tmp/graft-test-XXXXXX", path[64];
    graft_err err;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
    assert_int_equal(write_tensor(path, &err), 0);
    check_every_allocation(write_tensor, path, 0);
    assert_int_equal(open_and_close(path, &err), 0);
    assert_int_equal(graft_dir_remove(dir, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_survive_any_failing_allocation),
        cmocka_unit_test(a_writer_leaves_the_old_file_when_memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
