#include "tensor_testing.h"

#include <stdlib.h>
#include <unistd.h>

static void all_types_are_read(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    graft_err err;
    assert_int_equal(graft_safetensors_open(&ts, arena, GOLDEN "all_types.safetensors", &err), 0);
    assert_string_equal(ts.format, "safetensors");
    assert_int_equal(ts.n_items, 15);
    assert_all_types(&ts);
    assert_null(graft_tensors_find(&ts, "__metadata__"));
    graft_arena_free(arena);
}

static void tensors_come_in_file_order_whatever_the_header_says(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    const float one[] = {1}, two[] = {2, 3};
    assert_int_equal(graft_safetensors_open(&ts, arena, GOLDEN "unordered.safetensors", NULL), 0);
    assert_int_equal(ts.n_items, 3);
    assert_string_equal(ts.items[0].name, "a");
    assert_string_equal(ts.items[1].name, "b/\xc3\xbc");
    assert_string_equal(ts.items[2].name, "");
    assert_tensor(&ts, "a", GRAFT_F32, "[]", one, 1);
    assert_tensor(&ts, "b/\xc3\xbc", GRAFT_F32, "[2]", two, 2);
    graft_arena_free(arena);
}

static void broken_files_are_refused_with_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *file, *text;
    } cases[] = {
        {"header_past_end", "header is said to take 10000 bytes"},
        {"header_huge", "9223372036854775808"},
        {"header_space_first", "byte 8"},
        {"header_not_json", "not JSON"},
        {"header_list", "byte 8"},
        {"overlap", "tensor 'b' begins at file byte 135, not at 139: it overlaps"},
        {"gap", "tensor 'b' begins at file byte 144, not at 140: a gap"},
        {"gap_at_start", "tensor 'a' begins at file byte 74, not at 70"},
        {"duplicate", "duplicate object key near '\"a\"'"},
        {"trailing", "the file at 148: 1 bytes too many"},
        {"truncated", "tensor 'b' ends at byte 16 of the data, past their end at byte 15 (file byte 146)"},
        {"wrong_size", "tensor 'a' at file byte 69 has 8 bytes, but F32 of shape [3] takes 12"},
        {"overflow", "tensor 'a' has a shape [1099511627776, 1099511627776] too large"},
        {"overflow_bytes", "tensor 'a' has a shape [4611686018427387904] too large"},
        {"negative_shape", "tensor 'a' has a dimension that is not a size"},
        {"negative_offset", "tensor 'a' has no valid pair of 'data_offsets'"},
        {"reversed", "tensor 'a' has no valid pair of 'data_offsets'"},
        {"real_shape", "tensor 'a' has a dimension that is not a size"},
        {"no_dtype", "tensor 'a' has no 'dtype'"},
        {"no_offsets", "tensor 'a' has no valid pair of 'data_offsets'"},
        {"entry_number", "tensor 'a' has no 'dtype'"},
        {"metadata_number", "'__metadata__' is not a map from text to text"},
        {"empty_file", "is empty"},
        {"short_file", "9 bytes are too few"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        char file[128];
        snprintf(file, sizeof file, "bad_%s.safetensors", cases[i].file);
        assert_refused(file, GRAFT_EFORMAT, cases[i].text);
    }
    assert_refused("bad_unsupported_f8.safetensors", GRAFT_EUNSUPPORTED,
                   "tensor 'a' has elements of type 'F8_E4M3'");
    assert_refused("bad_unsupported_rank.safetensors", GRAFT_EUNSUPPORTED, "tensor 'a' has 9 dimensions");
}

static void every_cut_of_a_good_file_is_refused(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_mapped map;
    graft_tensors ts;
    assert_int_equal(graft_file_map(&map, arena, GOLDEN "all_types.safetensors", NULL), 0);
    for (size_t size = 0; size < map.size; size++) {
        assert_int_equal(graft_safetensors_parse(&ts, arena, map.data, size, "cut", NULL), GRAFT_EFORMAT);
    }
    assert_int_equal(graft_safetensors_parse(&ts, arena, map.data, map.size, "whole", NULL), 0);
    graft_arena_free(arena);
}

typedef struct room {
    char dir[64], path[128];
    graft_arena *arena;
} room;

static void room_open(room *r) {
    snprintf(r->dir, sizeof r->dir, "/tmp/graft-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/model.safetensors", r->dir);
    r->arena = graft_arena_new(NULL);
}

static void room_close(room *r) {
    graft_arena_free(r->arena);
    assert_int_equal(graft_dir_remove(r->dir, NULL), 0);
}

static void what_is_written_is_what_the_reference_writes(void **state) {
    (void)state;
    room r;
    graft_tensors ts;
    graft_err err;
    char *ours, *theirs;
    size_t our_size, their_size;
    room_open(&r);
    assert_int_equal(graft_safetensors_open(&ts, r.arena, GOLDEN "all_types.safetensors", &err), 0);
    graft_tensor *shuffled = graft_arena_array(r.arena, ts.n_items, sizeof *shuffled);
    for (size_t i = 0; i < ts.n_items; i++) shuffled[i] = ts.items[ts.n_items - 1 - i];
    assert_int_equal(graft_safetensors_write(r.path, shuffled, ts.n_items, NULL, &err), 0);
    assert_int_equal(graft_file_read(&ours, &our_size, r.arena, r.path, 1 << 20, NULL), 0);
    assert_int_equal(
        graft_file_read(&theirs, &their_size, r.arena, GOLDEN "all_types.safetensors", 1 << 20, NULL), 0);
    assert_int_equal(our_size, their_size);
    uint64_t header;
    memcpy(&header, ours, sizeof header);
    assert_int_equal(header % 8, 0);
    assert_memory_equal(ours, theirs, our_size);
    graft_tensors back;
    assert_int_equal(graft_tensors_open(&back, r.arena, r.dir, &err), 0); /* the folder finds it */
    assert_all_types(&back);
    for (size_t i = 0; i < back.n_items; i++) {
        assert_int_equal((uintptr_t)back.items[i].data % graft_dtype_size(back.items[i].dtype), 0);
        assert_int_equal(graft_dtype_size(back.items[i].dtype), graft_dtype_size(ts.items[i].dtype));
    }
    room_close(&r);
}

static void metadata_and_odd_names_are_written(void **state) {
    (void)state;
    room r;
    graft_err err;
    graft_tensors ts;
    char *text;
    size_t size;
    const float x[1] = {4};
    const graft_tensor items[] = {{"a\"\\\n", GRAFT_F32, {0, {0}}, x, 4}, {"", GRAFT_F32, {1, {0}}, x, 0}};
    const char *const metadata[] = {"made by", "graft", NULL};
    room_open(&r);
    assert_int_equal(graft_safetensors_write(r.path, items, 2, metadata, &err), 0);
    assert_int_equal(graft_file_read(&text, &size, r.arena, r.path, 1000, NULL), 0);
    assert_non_null(strstr(text + 8, "\"__metadata__\":{\"format\":\"pt\",\"made by\":\"graft\"}"));
    assert_int_equal(graft_safetensors_open(&ts, r.arena, r.path, &err), 0);
    assert_tensor(&ts, "a\"\\\n", GRAFT_F32, "[]", x, 1);
    assert_tensor(&ts, "", GRAFT_F32, "[0]", NULL, 0);
    assert_int_equal(graft_safetensors_write(r.path, NULL, 0, NULL, &err), 0);
    assert_int_equal(graft_safetensors_open(&ts, r.arena, r.path, &err), 0);
    assert_int_equal(ts.n_items, 0);
    room_close(&r);
}

static void what_cannot_be_written_leaves_no_file(void **state) {
    (void)state;
    room r;
    graft_err err;
    const float x[1] = {4};
    const graft_tensor twice[] = {{"a", GRAFT_F32, {0, {0}}, x, 4}, {"a", GRAFT_F32, {0, {0}}, x, 4}};
    const graft_tensor not_utf8 = {"\xff", GRAFT_F32, {0, {0}}, x, 4},
                       lying = {"a", GRAFT_F32, {1, {2}}, x, 4};
    room_open(&r);
    assert_int_equal(graft_safetensors_write(r.path, twice, 2, NULL, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "two tensors are named 'a'"));
    assert_int_equal(graft_safetensors_write(r.path, &not_utf8, 1, NULL, &err), GRAFT_EUSAGE);
    assert_int_equal(graft_safetensors_write(r.path, &lying, 1, NULL, &err), GRAFT_EINTERNAL);
    assert_false(graft_path_is_file(r.path));
    room_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types_are_read),
        cmocka_unit_test(tensors_come_in_file_order_whatever_the_header_says),
        cmocka_unit_test(broken_files_are_refused_with_the_reason),
        cmocka_unit_test(every_cut_of_a_good_file_is_refused),
        cmocka_unit_test(what_is_written_is_what_the_reference_writes),
        cmocka_unit_test(metadata_and_odd_names_are_written),
        cmocka_unit_test(what_cannot_be_written_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
