#include "tensor_testing.h"

#include <stdlib.h>

static void arrays_of_all_types_are_read(void **state) {
    (void)state;
    static const struct {
        const char *file;
        graft_dtype dtype;
    } cases[] = {{"float32", GRAFT_F32}, {"float64", GRAFT_F64}, {"float16", GRAFT_F16},
                 {"int64", GRAFT_I64},   {"int32", GRAFT_I32},   {"int16", GRAFT_I16},
                 {"int8", GRAFT_I8},     {"uint64", GRAFT_U64},  {"uint32", GRAFT_U32},
                 {"uint16", GRAFT_U16},  {"uint8", GRAFT_U8},    {"version2", GRAFT_F32}};
    const float counted[] = {0, 1, 2, 3, 4, 5, 6, 7}, parity[] = {0, 1, 0, 1, 0, 1, 0, 1}, scalar[] = {2.5f};
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        char path[128];
        snprintf(path, sizeof path, GOLDEN "%s.npy", cases[i].file);
        assert_int_equal(graft_tensors_open(&ts, arena, path, NULL), 0);
        assert_string_equal(ts.format, "npy");
        assert_tensor(&ts, "", cases[i].dtype, "[2, 4]", counted, 8);
    }
    assert_int_equal(graft_npy_open(&ts, arena, GOLDEN "bool.npy", NULL), 0);
    assert_tensor(&ts, "", GRAFT_BOOL, "[2, 4]", parity, 8);
    assert_int_equal(graft_npy_open(&ts, arena, GOLDEN "scalar.npy", NULL), 0);
    assert_tensor(&ts, "", GRAFT_F32, "[]", scalar, 1);
    assert_int_equal(graft_npy_open(&ts, arena, GOLDEN "empty.npy", NULL), 0);
    assert_tensor(&ts, "", GRAFT_F32, "[0, 5]", NULL, 0);
    graft_arena_free(arena);
}

static void fortran_order_and_big_endian_are_set_right(void **state) {
    (void)state;
    float counted[24];
    for (int i = 0; i < 24; i++) counted[i] = (float)i;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    assert_int_equal(graft_npy_open(&ts, arena, GOLDEN "fortran.npy", NULL), 0);
    assert_tensor(&ts, "", GRAFT_F32, "[2, 3, 4]", counted, 24);
    assert_int_equal(graft_npy_open(&ts, arena, GOLDEN "big.npy", NULL), 0);
    assert_tensor(&ts, "", GRAFT_F64, "[2, 3, 4]", counted, 24);
    assert_int_equal(graft_npy_open(&ts, arena, GOLDEN "big_fortran.npy", NULL), 0);
    assert_tensor(&ts, "", GRAFT_I16, "[2, 3, 4]", counted, 24);
    graft_arena_free(arena);
}

static void archives_give_one_tensor_a_member(void **state) {
    (void)state;
    static const char *const files[] = {GOLDEN "stored.npz", GOLDEN "deflated.npz"};
    float counted[24];
    for (int i = 0; i < 24; i++) counted[i] = (float)i;
    for (size_t i = 0; i < GRAFT_COUNT(files); i++) {
        graft_arena *arena = graft_arena_new(NULL);
        graft_tensors ts;
        assert_int_equal(graft_tensors_open(&ts, arena, files[i], NULL), 0);
        assert_string_equal(ts.format, "npz");
        assert_int_equal(ts.n_items, 2);
        assert_tensor(&ts, "x", GRAFT_F32, "[2, 3, 4]", counted, 24);
        assert_tensor(&ts, "y", GRAFT_I64, "[3]", counted, 3);
        graft_arena_free(arena);
    }
}

static void broken_arrays_are_refused_with_the_reason(void **state) {
    (void)state;
    assert_refused("bad_cut.npy", GRAFT_EFORMAT, "F32 of shape [2] takes 8 bytes, but 7 follow");
    assert_refused("bad_trailing.npy", GRAFT_EFORMAT, "takes 8 bytes, but 9 follow");
    assert_refused("bad_no_shape.npy", GRAFT_EFORMAT, "'shape' is missing");
    assert_refused("bad_negative.npy", GRAFT_EFORMAT, "a dimension is not a number");
    assert_refused("bad_overflow.npy", GRAFT_EFORMAT, "too large");
    assert_refused("bad_huge_dimension.npy", GRAFT_EFORMAT, "too large");
    assert_refused("bad_call.npy", GRAFT_EFORMAT, "'descr' is not a text");
    assert_refused("bad_rank.npy", GRAFT_EUNSUPPORTED, "more than 8 dimensions");
    assert_refused("bad_header_past_end.npy", GRAFT_EFORMAT, "past the end");
    assert_refused("bad_version.npy", GRAFT_EFORMAT, "version");
    assert_refused("bad_repeated.npy", GRAFT_EFORMAT, "repeated key");
    assert_refused("bad_record.npy", GRAFT_EUNSUPPORTED, "records");
    assert_refused("bad_object.npy", GRAFT_EUNSUPPORTED, "'|O'");
    assert_refused("bad_text.npy", GRAFT_EUNSUPPORTED, "'<U2'");
}

static void every_cut_of_a_good_archive_is_refused(void **state) {
    (void)state;
    graft_mapped map;
    graft_arena *arena = graft_arena_new(NULL);
    assert_int_equal(graft_file_map(&map, arena, GOLDEN "deflated.npz", NULL), 0);
    for (size_t size = 0; size < map.size; size++) {
        graft_arena *a = graft_arena_new(NULL);
        graft_tensors ts;
        assert_int_equal(graft_npy_parse(&ts, a, map.data, size, "cut", NULL), GRAFT_EFORMAT);
        graft_arena_free(a);
    }
    graft_arena_free(arena);
}

static void what_is_written_is_byte_for_byte_numpys(void **state) {
    (void)state;
    static const char *const files[] = {"float32", "float16", "int64", "uint8", "bool", "scalar", "empty"};
    char dir[] = "/tmp/graft-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    graft_arena *arena = graft_arena_new(NULL);
    const char *out = graft_path_join(arena, dir, "out.npy");
    graft_err err;
    for (size_t i = 0; i < GRAFT_COUNT(files); i++) {
        graft_tensors ts;
        char path[128], *ours, *theirs;
        size_t our_size, their_size;
        snprintf(path, sizeof path, GOLDEN "%s.npy", files[i]);
        assert_int_equal(graft_npy_open(&ts, arena, path, NULL), 0);
        assert_int_equal(graft_npy_write(out, &ts.items[0], &err), 0);
        assert_int_equal(graft_file_read(&ours, &our_size, arena, out, 10000, NULL), 0);
        assert_int_equal(graft_file_read(&theirs, &their_size, arena, path, 10000, NULL), 0);
        assert_int_equal(our_size, their_size);
        assert_memory_equal(ours, theirs, our_size);
    }
    const graft_tensor bf16 = {"x", GRAFT_BF16, {0, {0}}, "ab", 2};
    assert_int_equal(graft_npy_write(out, &bf16, &err), GRAFT_EDTYPE);
    graft_arena_free(arena);
    assert_int_equal(graft_dir_remove(dir, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_all_types_are_read),
        cmocka_unit_test(fortran_order_and_big_endian_are_set_right),
        cmocka_unit_test(archives_give_one_tensor_a_member),
        cmocka_unit_test(broken_arrays_are_refused_with_the_reason),
        cmocka_unit_test(every_cut_of_a_good_archive_is_refused),
        cmocka_unit_test(what_is_written_is_byte_for_byte_numpys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
