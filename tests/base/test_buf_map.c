#include "base/base.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

static void what_is_appended_stands_there_with_a_nul(void **state) {
    (void)state;
    graft_buf b;
    graft_buf_init(&b, 0);
    assert_string_equal(b.data, "");
    graft_buf_printf(&b, "%03d", 7);
    graft_buf_text(&b, ",x");
    for (int i = 0; i < 1000; i++) graft_buf_append(&b, "y", 1);
    assert_false(b.failed);
    assert_int_equal(b.size, 1005);
    assert_int_equal(strlen(b.data), 1005);
    assert_memory_equal(b.data, "007,xyyy", 8);
    graft_buf_clear(&b);
    assert_string_equal(b.data, "");
    graft_buf_done(&b);
}

static void the_ceiling_is_kept_and_the_failure_remembered(void **state) {
    (void)state;
    graft_buf b;
    graft_buf_init(&b, 4);
    graft_buf_text(&b, "abcd");
    assert_false(b.failed);
    graft_buf_text(&b, "e");
    assert_true(b.failed);
    graft_buf_clear(&b);
    graft_buf_text(&b, "ab");
    graft_buf_text(&b, "cdefgh");
    graft_buf_text(&b, "c");
    assert_true(b.failed);
    assert_string_equal(b.data, "ab");
    graft_buf_done(&b);
}

static void a_map_finds_what_was_put(void **state) {
    (void)state;
    graft_arena *a = graft_arena_new(NULL);
    graft_map *m = graft_map_new(a);
    char key[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "layer.%d.weight", i);
        assert_int_equal(graft_map_put_str(m, key, i), 0);
    }
    memset(key, 'z', sizeof key - 1); /* keys were copied */
    assert_int_equal(graft_map_count(m), 20000);
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "layer.%d.weight", i);
        assert_int_equal(graft_map_get_str(m, key), i);
    }
    assert_int_equal(graft_map_get_str(m, "layer.20000.weight"), -1);
    assert_int_equal(graft_map_put_str(m, "layer.5.weight", 77), 0);
    assert_int_equal(graft_map_get_str(m, "layer.5.weight"), 77);
    assert_int_equal(graft_map_count(m), 20000);
    graft_arena_free(a);
}

static void map_keys_are_bytes(void **state) {
    (void)state;
    graft_arena *a = graft_arena_new(NULL);
    graft_map *m = graft_map_new(a);
    assert_int_equal(graft_map_put(m, "a\0b", 3, 1), 0);
    assert_int_equal(graft_map_put(m, "a\0c", 3, 2), 0);
    assert_int_equal(graft_map_put(m, "", 0, 3), 0);
    assert_int_equal(graft_map_get(m, "a\0b", 3), 1);
    assert_int_equal(graft_map_get(m, "a\0c", 3), 2);
    assert_int_equal(graft_map_get(m, "a", 1), -1);
    assert_int_equal(graft_map_get(m, "", 0), 3);
    graft_arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_stands_there_with_a_nul),
        cmocka_unit_test(the_ceiling_is_kept_and_the_failure_remembered),
        cmocka_unit_test(a_map_finds_what_was_put),
        cmocka_unit_test(map_keys_are_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
