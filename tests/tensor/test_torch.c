#include "tensor_testing.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static void assert_checkpoint(const char *path, const char *format) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    graft_err err = {0};
    if (graft_torch_open(&ts, arena, path, &err) != 0) fail_msg("%s", err.message);
    assert_string_equal(ts.format, format);
    assert_int_equal(ts.n_items, 21);
    assert_string_equal(ts.items[0].name, "t.float32"); /* file order, "module." gone */
    assert_all_types(&ts);
    float counted[24], transposed[24];
    for (int i = 0; i < 24; i++) counted[i] = (float)i;
    for (int i = 0; i < 24; i++) {
        int row = i / 4, column = i % 4;
        transposed[i] = (float)(column * 6 + row);
    }
    const float sliced[] = {8, 9, 10, 14, 15, 16}, sevens[] = {7, 7, 7, 7, 7, 7}, parameter[] = {1.5f, 1.5f};
    assert_tensor(&ts, "transposed", GRAFT_F32, "[6, 4]", transposed, 24);
    assert_tensor(&ts, "sliced", GRAFT_F32, "[2, 3]", sliced, 6);
    assert_tensor(&ts, "tail", GRAFT_F32, "[4]", counted + 20, 4);
    assert_tensor(&ts, "expanded", GRAFT_F32, "[3, 2]", sevens, 6);
    assert_tensor(&ts, "channels_last", GRAFT_F32, "[1, 2, 3, 4]", counted, 24);
    assert_tensor(&ts, "parameter", GRAFT_F32, "[2]", parameter, 2);
    graft_arena_free(arena);
}

static void a_training_checkpoint_is_read_in_every_container(void **state) {
    (void)state;
    assert_checkpoint(GOLDEN "checkpoint_zip.pth", "pytorch zip");
    assert_checkpoint(GOLDEN "checkpoint_deflated.pth", "pytorch zip");
    assert_checkpoint(GOLDEN "checkpoint_protocol4.pth", "pytorch zip");
    assert_checkpoint(GOLDEN "checkpoint_legacy.pth", "pytorch legacy");
}

static void stored_tensors_are_not_copied(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    graft_mapped map;
    assert_int_equal(graft_file_map(&map, arena, GOLDEN "plain.pth", NULL), 0);
    assert_int_equal(graft_torch_parse(&ts, arena, map.data, map.size, "plain", NULL), 0);
    const unsigned char *p = graft_tensors_find(&ts, "w")->data;
    assert_true(p > map.data && p + 8 <= map.data + map.size);
    graft_arena_free(arena);
}

static void names_of_wrappers_are_taken_off(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    const float one[] = {1}, view[] = {1, 2, 3};
    assert_int_equal(graft_tensors_open(&ts, arena, GOLDEN "wrapped.pth", NULL), 0);
    assert_tensor(&ts, "w", GRAFT_F32, "[1]", one, 1);
    assert_int_equal(graft_tensors_open(&ts, arena, GOLDEN "good_view.pth", NULL), 0);
    assert_tensor(&ts, "w", GRAFT_F32, "[3]", view, 3);
    graft_arena_free(arena);
}

/* Each would leave a file "graft-pickle-ran" in this folder if anything of it were run. */
static void hostile_pickles_run_nothing_and_are_named(void **state) {
    (void)state;
    assert_int_not_equal(access("graft-pickle-ran", F_OK), 0);
    assert_refused("evil_system.pth", GRAFT_EUNSUPPORTED, "refuses to run 'posix.system'");
    assert_refused("evil_legacy.pth", GRAFT_EUNSUPPORTED, "refuses to run 'posix.system'");
    assert_refused("evil_inst.pth", GRAFT_EUNSUPPORTED, "refuses to run 'os.system'");
    assert_refused("evil_eval.pth", GRAFT_EUNSUPPORTED, "refuses to run 'builtins.eval'");
    assert_refused("evil_getattr.pth", GRAFT_EUNSUPPORTED, "refuses to run 'builtins.getattr'");
    assert_refused("evil_storage_class.pth", GRAFT_EUNSUPPORTED, "'os.system' is no class of tensor storage");
    assert_int_not_equal(access("graft-pickle-ran", F_OK), 0);
}

static void broken_checkpoints_are_refused_with_the_reason(void **state) {
    (void)state;
    assert_refused("bad_view_past_end.pth", GRAFT_EFORMAT,
                   "tensor 'w' ([3], offset 2) reaches past its storage '0' of 16");
    assert_refused("bad_view_stride.pth", GRAFT_EFORMAT,
                   "tensor 'w' ([2, 2], offset 0) reaches past its storage");
    assert_refused("bad_view_negative.pth", GRAFT_EFORMAT, "arguments that do not fit");
    assert_refused("bad_view_bomb.pth", GRAFT_EFORMAT, "out of proportion");
    assert_refused("bad_view_bomb_bytes.pth", GRAFT_EFORMAT, "out of proportion");
    assert_refused("bad_view_overflow.pth", GRAFT_EFORMAT, "too large");
    assert_refused("bad_storage_missing.pth", GRAFT_EFORMAT, "storage '0' is missing");
    assert_refused("bad_pickle_cut.pth", GRAFT_EFORMAT, "broken at its byte 110");
    assert_refused("bad_memo.pth", GRAFT_EFORMAT, "broken at its byte 2");
    assert_refused("bad_checksum.pth", GRAFT_EFORMAT,
                   "member 'archive/data/0' cannot be read: its checksum is wrong");
    assert_refused("bad_zip_cut.pth", GRAFT_EFORMAT, "not a whole zip archive");
    assert_refused("bad_legacy_cut.pth", GRAFT_EFORMAT, "cut short");
    assert_refused("bad_plain_pickle.pkl", GRAFT_EUNSUPPORTED, "not one that torch.save wrote");
    assert_refused("bad_no_tensors.pth", GRAFT_EFORMAT, "no dict of tensors");
    assert_refused("bad_complex.pth", GRAFT_EUNSUPPORTED,
                   "tensor 'w' has elements of 'torch.ComplexFloatStorage'");
    assert_refused("bad_whole_model.pth", GRAFT_EUNSUPPORTED, "class 'torch.nn.modules.linear.Linear'");
    assert_refused("bad_torchscript.pt", GRAFT_EUNSUPPORTED, "TorchScript");
}

static void every_cut_of_a_good_stream_is_refused(void **state) {
    (void)state;
    graft_mapped map;
    graft_tensors ts;
    graft_arena *arena = graft_arena_new(NULL);
    assert_int_equal(graft_file_map(&map, arena, GOLDEN "checkpoint_legacy.pth", NULL), 0);
    for (size_t size = 0; size < map.size; size++) {
        graft_arena *a = graft_arena_new(NULL);
        assert_int_equal(graft_torch_parse(&ts, a, map.data, size, "cut", NULL), GRAFT_EFORMAT);
        graft_arena_free(a);
    }
    graft_arena_free(arena);
}

typedef struct known {
    const char *name, *shape;
    float first, last;
    double sum;
} known;

/* Values that torch 2.15.0 gives for the same files. */
static void check_known(const char *path, size_t n_tensors, const known *expected, size_t n) {
    if (access(path, R_OK) != 0) {
        print_message("%s is not here; skipped\n", path);
        skip();
    }
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    assert_int_equal(graft_tensors_open(&ts, arena, path, NULL), 0);
    assert_int_equal(ts.n_items, n_tensors);
    for (size_t i = 0; i < n; i++) {
        const graft_tensor *t = graft_tensors_find(&ts, expected[i].name);
        char shape[64];
        assert_non_null(t);
        assert_string_equal(graft_shape_print(&t->shape, shape, sizeof shape), expected[i].shape);
        size_t count = t->size / 4;
        float *x = graft_arena_array(arena, count, sizeof *x);
        graft_tensor_to_f32(t, x);
        double sum = 0;
        for (size_t k = 0; k < count; k++) sum += (double)x[k];
        assert_true(x[0] == expected[i].first && x[count - 1] == expected[i].last);
        assert_true(fabs(sum - expected[i].sum) < 1e-6);
    }
    graft_arena_free(arena);
}

static void a_published_legacy_checkpoint_has_torchs_values(void **state) {
    (void)state;
    static const known expected[] = {
        {"conv1.weight", "[16, 3, 3, 3]", -0.13818146288394928f, 0.3087101876735687f, 1.3100982000032673},
        {"layer3.2.bn2.running_var", "[64]", 0.3016022741794586f, 0.17508132755756378f, 10.665690739639103},
        {"linear.weight", "[10, 64]", -1.0598125457763672f, 0.22667697072029114f, -0.04562738863751292},
    };
    check_known("../shared/data/cifar_resnet20.th", 97, expected, GRAFT_COUNT(expected));
}

static void a_published_zip_checkpoint_has_torchs_values(void **state) {
    (void)state;
    static const known expected[] = {
        {"features.0.weight", "[64, 3, 3, 3]", 18.362489700317383f, 4.2022705078125f, -173.92812607082305},
        {"classifier.1.weight", "[1000, 512, 1, 1]", -0.03582763671875f, -0.021087646484375f,
         3444.610087931156},
        {"classifier.1.bias", "[1000]", 0.036029595881700516f, 0.06161154806613922f, 10.936995808340725},
    };
    check_known("../shared/data/squeezenet1_1.pth", 52, expected, GRAFT_COUNT(expected));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_training_checkpoint_is_read_in_every_container),
        cmocka_unit_test(stored_tensors_are_not_copied),
        cmocka_unit_test(names_of_wrappers_are_taken_off),
        cmocka_unit_test(hostile_pickles_run_nothing_and_are_named),
        cmocka_unit_test(broken_checkpoints_are_refused_with_the_reason),
        cmocka_unit_test(every_cut_of_a_good_stream_is_refused),
        cmocka_unit_test(a_published_legacy_checkpoint_has_torchs_values),
        cmocka_unit_test(a_published_zip_checkpoint_has_torchs_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
