/* Every allocation of every pass may fail: the answer is ENOMEM and nothing is lost or read that is not
 * there. Without sanitizers only, which have an allocator of their own. */
#include "graph/graph.h"
#include "graph/op.h"
#include "support/small_net.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

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

/* Allocations until one fails; negative: none does. */
static long left = -1;

#if HAS_OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);

static int fails(void) {
    if (left < 0) return 0;
    if (left-- > 0) return 0;
    left = 0; /* and all after it */
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}
#endif

/* Every pass over g, one after the other, each in an arena of its own. */
static int all_passes(const graft_graph *g, graft_err *err) {
    enum { N_ARENAS = 8 };
    graft_arena *arenas[N_ARENAS] = {NULL};
    graft_graph *norms = NULL, *fused = NULL, *again = NULL, *folded = NULL, *part = NULL, *whole = NULL,
                *still = NULL;
    graft_plan plan;
    graft_hash hash;
    graft_buf text;
    int rc = 0;
    graft_buf_init(&text, 0);
    for (int i = 0; i < N_ARENAS; i++) {
        arenas[i] = graft_arena_new(NULL);
        if (!arenas[i]) rc = GRAFT_ENOMEM;
    }
    if (rc == 0) rc = graft_plan_derive(&plan, arenas[0], g, err);
    if (rc == 0)
        rc = graft_graph_extract(&part, arenas[1], g, NULL, NULL, 0,
                                 &(graft_output){"features", graft_graph_find(g, "features")}, 1, err);
    if (rc == 0) rc = graft_graph_without_dropout(&still, arenas[7], part, err);
    if (rc == 0) rc = graft_graph_fold(&folded, arenas[2], still, err);
    if (rc == 0) rc = graft_graph_fuse(&whole, arenas[3], folded, err);
    if (rc == 0) rc = graft_graph_hash(whole, &hash, err);
    if (rc == 0) rc = graft_graph_train_norms(&norms, arenas[4], g, err);
    if (rc == 0) rc = graft_graph_fuse_training(&fused, arenas[5], norms, err);
    if (rc == 0) {
        graft_value wrt = graft_graph_find(fused, "layer1.0.conv1.weight"), d;
        size_t n_forward = graft_graph_n_nodes(fused);
        rc = graft_graph_grad(fused, graft_graph_find(fused, "loss"), &wrt, 1, &d, err);
        if (rc == 0) rc = graft_graph_recompute(&again, arenas[6], fused, n_forward, 3, err);
    }
    if (rc == 0) rc = graft_graph_precision(again, GRAFT_PRECISION_BF16, err);
    if (rc == 0) {
        graft_graph_print(again, &text);
        if (text.failed) rc = GRAFT_ENOMEM;
    }
    graft_buf_done(&text);
    for (int i = 0; i < N_ARENAS; i++) graft_arena_free(arenas[i]);
    return rc;
}

static void a_failed_allocation_is_an_error_wherever_it_happens(void **state) {
    (void)state;
    if (!HAS_OWN_MALLOC) skip();
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = small_net_new(arena);
    small_net_loss(g);
    small_net_mark(g, "layer1", true);
    int rc = -1;
    long n = 0;
    for (; rc != 0 && n < 10000; n++) {
        left = n;
        rc = all_passes(g, NULL);
        left = -1;
        if (rc != 0) assert_int_equal(rc, GRAFT_ENOMEM);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 20);
    graft_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failed_allocation_is_an_error_wherever_it_happens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
