/* What a memory plan promises: nothing that lives together shares a byte, and no more is used than need be.
 */
#include "backend/memory.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 120, STEPS = 40 };

static size_t plan(graft_span *spans, size_t n) {
    size_t total = 1;
    graft_err err = {0};
    if (graft_memory_plan(spans, n, &total, &err) < 0) fail_msg("%s", err.message);
    return total;
}

static bool is_used(const graft_span *s) {
    return s->first <= s->last;
}

/* Random lifetimes: most are short, some from before the first step or to the end, some empty, some unused.
 */
static size_t random_spans(graft_span *spans, uint64_t stream) {
    graft_rng r = graft_rng_at(3, 0, stream, GRAFT_RNG_TEST);
    size_t n = 1 + (size_t)graft_rng_below(&r, MOST);
    for (size_t i = 0; i < n; i++) {
        int32_t first = (int32_t)graft_rng_below(&r, STEPS);
        int32_t last = first + (int32_t)graft_rng_below(&r, graft_rng_below(&r, 4) ? 4 : STEPS);
        uint64_t kind = graft_rng_below(&r, 20);
        size_t size = (size_t)graft_rng_below(&r, kind < 10 ? 300 : 70000);
        spans[i] = (graft_span){.size = size, .first = first, .last = last, .offset = SIZE_MAX};
        if (kind == 0) spans[i].first = -1;
        if (kind == 1) spans[i].last = INT32_MAX;
        if (kind == 2) spans[i].first = INT32_MAX, spans[i].last = -1;
    }
    return n;
}

static size_t rounded(size_t size) {
    return graft_size_align(size, 64);
}

/* The most bytes alive in any one step. */
static size_t lower_bound(const graft_span *spans, size_t n) {
    size_t most = 0;
    for (int32_t step = -1; step <= 2 * STEPS; step++) {
        size_t alive = 0;
        for (size_t i = 0; i < n; i++)
            if (spans[i].first <= step && step <= spans[i].last) alive += spans[i].size;
        if (alive > most) most = alive;
    }
    return most;
}

static void check_apart(const graft_span *a, const graft_span *b) {
    bool together = a->first <= b->last && b->first <= a->last;
    bool overlap = a->offset < b->offset + b->size && b->offset < a->offset + a->size;
    if (together && overlap && a->size && b->size)
        fail_msg("[%zu, +%zu) and [%zu, +%zu) live together", a->offset, a->size, b->offset, b->size);
}

static void spans_that_live_together_never_overlap(void **unused) {
    (void)unused;
    for (uint64_t stream = 0; stream < 400; stream++) {
        graft_span spans[MOST];
        size_t n = random_spans(spans, stream), total = plan(spans, n);
        for (size_t i = 0; i < n; i++) {
            if (!is_used(&spans[i])) continue;
            assert_int_equal(spans[i].offset % 64, 0);
            assert_true(spans[i].offset + spans[i].size <= total);
            for (size_t k = 0; k < i; k++)
                if (is_used(&spans[k])) check_apart(&spans[i], &spans[k]);
        }
    }
}

static void no_plan_takes_more_than_all_spans_side_by_side(void **unused) {
    (void)unused;
    double planned = 0, bound = 0;
    for (uint64_t stream = 0; stream < 400; stream++) {
        graft_span spans[MOST];
        size_t n = random_spans(spans, stream), total = plan(spans, n), sum = 0;
        for (size_t i = 0; i < n; i++)
            if (is_used(&spans[i])) sum += rounded(spans[i].size);
        assert_true(total <= sum);
        assert_true(total >= lower_bound(spans, n));
        planned += (double)total;
        bound += (double)lower_bound(spans, n);
    }
    assert_true(planned < 1.15 * bound); /* what a greedy plan wastes on the whole */
}

static void a_chain_takes_its_two_largest_neighbours(void **unused) {
    (void)unused;
    graft_span spans[20];
    size_t most = 0;
    for (size_t i = 0; i < 20; i++) {
        spans[i] = (graft_span){.size = 64 * (1 + i * 7 % 5), .first = (int32_t)i, .last = (int32_t)i + 1};
        if (i && spans[i].size + spans[i - 1].size > most) most = spans[i].size + spans[i - 1].size;
    }
    assert_int_equal(plan(spans, 20), most);
}

static void equal_spans_take_as_many_places_as_live_at_once(void **unused) {
    (void)unused;
    graft_span spans[30];
    for (size_t i = 0; i < 30; i++)
        spans[i] = (graft_span){.size = 4096, .first = (int32_t)i, .last = (int32_t)i + 3};
    assert_int_equal(plan(spans, 30), 4 * 4096);
}

static void spans_that_never_meet_share_one_place(void **unused) {
    (void)unused;
    graft_span spans[] = {{.size = 100, .first = 0, .last = 0},
                          {.size = 1000, .first = 1, .last = 5},
                          {.size = 10, .first = 6, .last = INT32_MAX}};
    assert_int_equal(plan(spans, 3), 1024);
    for (size_t i = 0; i < 3; i++) assert_int_equal(spans[i].offset, 0);
}

static void activations_kept_for_the_backward_pass_stack_up(void **unused) {
    (void)unused;
    graft_span spans[16]; /* forward value i is read again at 31 - i: all live at the turn */
    for (int32_t i = 0; i < 16; i++)
        spans[i] = (graft_span){.size = 64 * (size_t)(i + 1), .first = i, .last = 31 - i};
    assert_int_equal(plan(spans, 16), 64 * 16 * 17 / 2);
}

static void what_is_never_used_takes_nothing(void **unused) {
    (void)unused;
    graft_span spans[] = {{.size = 1 << 20, .first = INT32_MAX, .last = -1},
                          {.size = 64, .first = 0, .last = 0},
                          {.size = 0, .first = 0, .last = 9}};
    assert_int_equal(plan(spans, 3), 64);
    assert_int_equal(plan(NULL, 0), 0);
}

static void the_same_spans_give_the_same_plan(void **unused) {
    (void)unused;
    for (uint64_t stream = 0; stream < 50; stream++) {
        graft_span a[MOST], b[MOST];
        size_t n = random_spans(a, stream);
        memcpy(b, a, sizeof a);
        assert_int_equal(plan(a, n), plan(b, n));
        for (size_t i = 0; i < n; i++) assert_int_equal(a[i].offset, b[i].offset);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_that_live_together_never_overlap),
        cmocka_unit_test(no_plan_takes_more_than_all_spans_side_by_side),
        cmocka_unit_test(a_chain_takes_its_two_largest_neighbours),
        cmocka_unit_test(equal_spans_take_as_many_places_as_live_at_once),
        cmocka_unit_test(spans_that_never_meet_share_one_place),
        cmocka_unit_test(activations_kept_for_the_backward_pass_stack_up),
        cmocka_unit_test(what_is_never_used_takes_nothing),
        cmocka_unit_test(the_same_spans_give_the_same_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
