#include "tensor_testing.h"

#include <stdlib.h>

static void shards_are_joined_by_their_index(void **state) {
    (void)state;
    static const char *const paths[] = {GOLDEN "sharded", GOLDEN "sharded/model.safetensors.index.json"};
    const float a[] = {1}, b[] = {2, 3}, c[] = {4};
    for (size_t i = 0; i < GRAFT_COUNT(paths); i++) {
        graft_arena *arena = graft_arena_new(NULL);
        graft_tensors ts;
        assert_int_equal(graft_tensors_open(&ts, arena, paths[i], NULL), 0);
        assert_int_equal(ts.n_items, 3);
        assert_string_equal(ts.format, "safetensors");
        assert_tensor(&ts, "a", GRAFT_F32, "[1]", a, 1);
        assert_tensor(&ts, "b", GRAFT_F32, "[2]", b, 2);
        assert_tensor(&ts, "c", GRAFT_I64, "[1]", c, 1);
        graft_arena_free(arena);
    }
}

static void bad_indices_are_refused(void **state) {
    (void)state;
    assert_refused("sharded/bad_escape.safetensors.index.json", GRAFT_EFORMAT,
                   "tensor 'c' is said to be in '../all_types");
    assert_refused("sharded/bad_absent.safetensors.index.json", GRAFT_EFORMAT,
                   "tensor 'd' is not in its shard");
    assert_refused("sharded/bad_no_shard.safetensors.index.json", GRAFT_EIO,
                   "model-00003-of-00003.safetensors");
    assert_refused("sharded/bad_twice.safetensors.index.json", GRAFT_EFORMAT, "'a' is there twice");
}

typedef struct room {
    char dir[64];
    graft_arena *arena;
} room;

static int room_setup(void **state) {
    room *r = calloc(1, sizeof *r);
    if (!r) return -1;
    snprintf(r->dir, sizeof r->dir, "/tmp/graft-test-XXXXXX");
    r->arena = graft_arena_new(NULL);
    *state = r;
    return mkdtemp(r->dir) ? 0 : -1;
}

static int room_teardown(void **state) {
    room *r = *state;
    int rc = graft_dir_remove(r->dir, NULL);
    graft_arena_free(r->arena);
    free(r);
    return rc;
}

static void safetensors_go_before_pickles_in_a_folder(void **state) {
    room *r = *state;
    graft_tensors ts;
    graft_err err;
    assert_int_equal(graft_tensors_open(&ts, r->arena, r->dir, &err), GRAFT_EFORMAT);
    assert_non_null(strstr(err.message, "no weights in this folder"));
    const char *bin = graft_path_join(r->arena, r->dir, "pytorch_model.bin");
    assert_int_equal(graft_file_copy(GOLDEN "plain.pth", bin, &err), 0);
    assert_int_equal(graft_tensors_open(&ts, r->arena, r->dir, &err), 0);
    assert_string_equal(ts.format, "pytorch zip");
    const char *safe = graft_path_join(r->arena, r->dir, "model.safetensors");
    assert_int_equal(graft_file_copy(GOLDEN "all_types.safetensors", safe, &err), 0);
    assert_int_equal(graft_tensors_open(&ts, r->arena, r->dir, &err), 0);
    assert_string_equal(ts.format, "safetensors");
}

/* The first bytes are the header's size, and may be those of a pickle or of a zip. */
static void headers_of_every_size_are_read(void **state) {
    room *r = *state;
    static const size_t sizes[] = {640, 896, 1152, 1408, 19280, 66176};
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    const float one[] = {1};
    const char *path = graft_path_join(r->arena, r->dir, "weights.bin");
    for (size_t i = 0; i < GRAFT_COUNT(sizes); i++) {
        graft_tensors ts;
        char *bytes = graft_arena_alloc(r->arena, sizes[i] + 12);
        memset(bytes, ' ', sizes[i] + 8);
        for (size_t k = 0; k < 8; k++) bytes[k] = (char)(sizes[i] >> 8 * k & 255);
        memcpy(bytes + 8, header, sizeof header - 1);
        memcpy(bytes + 8 + sizes[i], one, 4);
        assert_int_equal(graft_file_write(path, bytes, sizes[i] + 12, NULL), 0);
        assert_int_equal(graft_tensors_open(&ts, r->arena, path, NULL), 0);
        assert_string_equal(ts.format, "safetensors");
        assert_tensor(&ts, "a", GRAFT_F32, "[1]", one, 1);
    }
}

static void other_files_are_called_what_they_are(void **state) {
    room *r = *state;
    static const struct {
        const char *bytes, *text;
        int code;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS", GRAFT_EUNSUPPORTED},
        {"<!DOCTYPE html><html></html>", "web page", GRAFT_EUNSUPPORTED},
        {"\x89HDF\r\n\x1a\n........", "HDF5", GRAFT_EUNSUPPORTED},
        {"just some words of text", "neither safetensors", GRAFT_EFORMAT},
        {"x", "neither safetensors", GRAFT_EFORMAT},
    };
    const char *path = graft_path_join(r->arena, r->dir, "weights.bin");
    graft_tensors ts;
    graft_err err;
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        assert_int_equal(graft_file_write(path, cases[i].bytes, strlen(cases[i].bytes), NULL), 0);
        assert_int_equal(graft_tensors_open(&ts, r->arena, path, &err), cases[i].code);
        if (!strstr(err.message, cases[i].text)) fail_msg("'%s' has no '%s'", err.message, cases[i].text);
    }
    assert_int_equal(graft_tensors_open(&ts, r->arena, "no/such/file", &err), GRAFT_EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_joined_by_their_index),
        cmocka_unit_test(bad_indices_are_refused),
        cmocka_unit_test_setup_teardown(safetensors_go_before_pickles_in_a_folder, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(headers_of_every_size_are_read, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(other_files_are_called_what_they_are, room_setup, room_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
