/* What the tests of tensor/ share: golden files and a comparison with listed values. */
#ifndef GRAFT_TENSOR_TESTING_H
#define GRAFT_TENSOR_TESTING_H

#include "tensor/tensor.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#define GOLDEN "tests/golden/tensor/"

/* The tensor `name` has this type and shape, and these values once it is float. */
static inline void assert_tensor(const graft_tensors *ts, const char *name, graft_dtype dtype,
                                 const char *shape, const float *values, size_t n) {
    const graft_tensor *t = graft_tensors_find(ts, name);
    if (!t) fail_msg("there is no tensor '%s'", name);
    char text[128];
    float *got = test_malloc((n + 1) * sizeof *got);
    assert_string_equal(graft_shape_print(&t->shape, text, sizeof text), shape);
    assert_string_equal(graft_dtype_name(t->dtype), graft_dtype_name(dtype));
    assert_int_equal(t->size, n * graft_dtype_size(dtype));
    graft_tensor_to_f32(t, got);
    for (size_t i = 0; i < n; i++) {
        if (got[i] != values[i])
            fail_msg("'%s'[%zu] is %g, not %g", name, i, (double)got[i], (double)values[i]);
    }
    test_free(got);
}

/* One "t.<type>" [2, 3] of each type with the values 0 to 5, a scalar 2.5 and an "empty" [0, 4]. */
static inline void assert_all_types(const graft_tensors *ts) {
    static const struct {
        const char *name;
        graft_dtype dtype;
    } types[] = {{"t.float32", GRAFT_F32},   {"t.float64", GRAFT_F64}, {"t.float16", GRAFT_F16},
                 {"t.bfloat16", GRAFT_BF16}, {"t.int64", GRAFT_I64},   {"t.int32", GRAFT_I32},
                 {"t.int16", GRAFT_I16},     {"t.int8", GRAFT_I8},     {"t.uint64", GRAFT_U64},
                 {"t.uint32", GRAFT_U32},    {"t.uint16", GRAFT_U16},  {"t.uint8", GRAFT_U8}};
    static const float counted[] = {0, 1, 2, 3, 4, 5}, parity[] = {0, 1, 0, 1, 0, 1}, scalar[] = {2.5f};
    for (size_t i = 0; i < GRAFT_COUNT(types); i++) {
        assert_tensor(ts, types[i].name, types[i].dtype, "[2, 3]", counted, 6);
    }
    assert_tensor(ts, "t.bool", GRAFT_BOOL, "[2, 3]", parity, 6);
    assert_tensor(ts, "scalar", GRAFT_F32, "[]", scalar, 1);
    assert_tensor(ts, "empty", GRAFT_F32, "[0, 4]", NULL, 0);
}

/* Opening the golden file fails with this code and a message that has `text` in it. */
static inline void assert_refused(const char *file, int code, const char *text) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    graft_err err = {0};
    char path[256];
    snprintf(path, sizeof path, GOLDEN "%s", file);
    int rc = graft_tensors_open(&ts, arena, path, &err);
    if (rc != code) fail_msg("%s gives %s: %s", file, graft_error_name(rc), err.message);
    if (!strstr(err.message, text)) fail_msg("%s gives '%s', not a word of '%s'", file, err.message, text);
    assert_null(ts.items);
    assert_null(graft_tensors_find(&ts, "a"));
    graft_arena_free(arena);
}

#endif
