/* Every allocation in turn fails while a store is filled, read, listed and cleared: each call then succeeds
 * or says so, a row that was taken is there, and no block is lost. The allocator is replaced in this program,
 * which the sanitizers do too: with them there is nothing to test here. */
#include "transfer/cache_room.h"

#include <errno.h>

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

static long failing = -1; /* the allocation that fails, and `n_failing` from it on; negative: none */
static long n_failing, n_live, n_asked;
static bool is_counting;

#if REPLACED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

/* The libraries' calls come here too, so the names have to be seen from there. */
#define EXPORTED __attribute__((visibility("default")))

static bool grant(void) {
    if (!is_counting) return true;
    long asked = n_asked++;
    if (failing < 0 || asked < failing || asked >= failing + n_failing) return true;
    errno = ENOMEM;
    return false;
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

EXPORTED void *aligned_alloc(size_t align, size_t size) {
    return grant() ? counted(__libc_memalign(align, size)) : NULL;
}

EXPORTED void free(void *p) {
    n_live -= p && is_counting;
    __libc_free(p);
}
#endif

enum { N = 40 };

/* The C library's own allocations fail as ENOMEM from the system, which is then the reason of an EIO. */
static int check_call(int rc, const graft_err *err, const char *call) {
    bool is_system = rc == GRAFT_EIO && strstr(err->message, "Cannot allocate memory");
    if (rc != 0 && ((rc != GRAFT_ENOMEM && !is_system) || err->code != rc || !err->message[0]))
        fail_msg("%s returned %d when allocation %ld failed", call, rc, failing);
    return rc;
}

static void use_a_store(room *r) {
    graft_err err = {0};
    graft_cache *c = NULL;
    bool has[N];
    unsigned char row[ROW];
    if (check_call(graft_cache_open(&c, r->env, key_of(2), ROW, "x", 0, &err), &err, "open") < 0) {
        assert_null(c);
        return;
    }
    for (uint64_t i = 0; i < N; i++) {
        fill_row(row, ROW, i);
        has[i] = check_call(graft_cache_put(c, content_of(i), row, &err), &err, "put") == 0;
        if (i == N / 2) check_call(graft_cache_flush(c, &err), &err, "flush");
    }
    for (uint64_t i = 0; i < N; i++) {
        fill_row(row, ROW, i);
        const void *got = graft_cache_get(c, content_of(i));
        if (has[i] && !got) fail_msg("a row is lost when allocation %ld fails", failing);
        if (got) assert_memory_equal(got, row, ROW);
    }
    graft_cache_close(c);
}

static void look_and_clear(room *r) {
    graft_err err = {0};
    char *text = NULL;
    if (check_call(graft_cache_list(&text, r->env, &err), &err, "list") < 0) assert_null(text);
    graft_text_free(text);
    check_call(graft_cache_clear(r->env, NULL, &err), &err, "clear");
}

/* One failure, or all from one on. */
static void check_every_allocation(room *r, void (*use)(room *r), long failures) {
    for (failing = 0; failing < 10000; failing++) {
        unsetenv("GRAFT_CACHE_LIMIT");
        graft_cache_clear(r->env, NULL, NULL);
        fill_store(r, 1, ROW, N);
        setenv("GRAFT_CACHE_LIMIT", "9000", 1); /* the other store is in the way */
        n_failing = failures;
        n_live = n_asked = 0;
        is_counting = true;
        use(r);
        is_counting = false;
        if (n_live != 0) fail_msg("%ld blocks lost when allocation %ld fails", n_live, failing);
        if (n_asked <= failing) break;
    }
    assert_in_range(failing, 10, 9999);
    failing = -1;
}

static void any_allocation_may_fail(void **state) {
    room *r = *state;
    if (!REPLACED) skip();
    setenv("TZ", "UTC0", 1);
    tzset();
    check_every_allocation(r, use_a_store, 1);
    check_every_allocation(r, use_a_store, 10000);
    check_every_allocation(r, look_and_clear, 1);
    check_every_allocation(r, look_and_clear, 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_allocation_may_fail, room_setup, room_teardown),
    };
    return cmocka_run_group_tests_name("cache memory", tests, NULL, NULL);
}
