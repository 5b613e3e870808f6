#include "base/base.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

static void memory_is_zeroed_and_aligned(void **state) {
    (void)state;
    graft_arena *a = graft_arena_new(NULL);
    for (size_t size = 0; size < 3000; size += 7) {
        unsigned char *p = graft_arena_alloc_aligned(a, size, 64);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        if (size) memset(p, 0xff, size);
    }
    graft_arena_free(a);
}

static void pieces_do_not_overlap(void **state) {
    (void)state;
    graft_arena *a = graft_arena_new(NULL);
    enum { N = 500 };
    unsigned char *p[N];
    size_t size[N];
    for (size_t i = 0; i < N; i++) {
        size[i] = i * 37 % 5000;
        p[i] = graft_arena_alloc(a, size[i]);
        assert_non_null(p[i]);
        memset(p[i], (int)(i & 0xff), size[i]);
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < size[i]; k++) assert_int_equal(p[i][k], i & 0xff);
    }
    graft_arena_free(a);
}

static void impossible_sizes_give_null(void **state) {
    (void)state;
    graft_arena *a = graft_arena_new(NULL);
    volatile size_t huge = SIZE_MAX;
    assert_null(graft_arena_alloc(a, huge));
    assert_null(graft_arena_alloc(a, huge / 2));
    assert_null(graft_arena_array(a, huge / 2, 3));
    assert_non_null(graft_arena_array(a, 0, 8));
    graft_arena_free(a);
}

typedef struct trail {
    char text[16];
    size_t n;
} trail;
typedef struct mark {
    trail *t;
    char letter;
} mark;

static void leave_mark(void *obj) {
    mark *m = obj;
    m->t->text[m->t->n++] = m->letter;
}

static void callbacks_run_last_first_and_children_before_parents(void **state) {
    (void)state;
    trail t = {0};
    mark a = {&t, 'a'}, b = {&t, 'b'}, c = {&t, 'c'}, d = {&t, 'd'};
    graft_arena *parent = graft_arena_new(NULL), *child = graft_arena_new(parent);
    assert_int_equal(graft_arena_defer(parent, leave_mark, &a), 0);
    assert_int_equal(graft_arena_defer(child, leave_mark, &b), 0);
    assert_int_equal(graft_arena_defer(parent, leave_mark, &c), 0);
    assert_int_equal(graft_arena_defer(child, leave_mark, &d), 0);
    graft_arena_free(parent);
    assert_string_equal(t.text, "dbca");
}

static void reset_empties_and_a_child_may_go_first(void **state) {
    (void)state;
    trail t = {0};
    mark a = {&t, 'a'}, b = {&t, 'b'};
    graft_arena *parent = graft_arena_new(NULL);
    graft_arena *one = graft_arena_new(parent), *two = graft_arena_new(parent),
                *three = graft_arena_new(parent);
    assert_non_null(three);
    graft_arena_defer(two, leave_mark, &a);
    graft_arena_free(two);
    graft_arena_free(one);
    assert_string_equal(t.text, "a");
    graft_arena_defer(parent, leave_mark, &b);
    graft_arena_reset(parent);
    assert_string_equal(t.text, "ab");
    assert_non_null(graft_arena_alloc(parent, 10));
    graft_arena_free(parent);
    assert_string_equal(t.text, "ab");
    graft_arena_free(NULL);
}

static void texts_are_copied_and_printed(void **state) {
    (void)state;
    graft_arena *a = graft_arena_new(NULL);
    assert_string_equal(graft_arena_strdup(a, "leaf"), "leaf");
    assert_string_equal(graft_arena_strndup(a, "leaves", 4), "leav");
    assert_string_equal(graft_arena_strndup(a, "ab", 100), "ab");
    assert_string_equal(graft_arena_printf(a, "%d-%s", 7, "x"), "7-x");
    graft_arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(impossible_sizes_give_null),
        cmocka_unit_test(callbacks_run_last_first_and_children_before_parents),
        cmocka_unit_test(reset_empties_and_a_child_may_go_first),
        cmocka_unit_test(texts_are_copied_and_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
