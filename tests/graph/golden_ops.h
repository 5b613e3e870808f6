/* Golden files of ops (tests/parity): a list of cases in JSON, and their tensors under "<case>/<role>". */
#ifndef GRAFT_TESTS_GOLDEN_OPS_H
#define GRAFT_TESTS_GOLDEN_OPS_H

#include "graph/op.h"
#include "support/evaluate.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

/* Opens <path>.safetensors and returns the "cases" of <path>.json. */
static inline const json_t *golden_cases(graft_arena *arena, const char *path, graft_tensors *tensors) {
    graft_err err = {0};
    json_t *file = NULL;
    if (graft_safetensors_open(tensors, arena, graft_arena_printf(arena, "%s.safetensors", path), &err) < 0 ||
        graft_json_read(&file, arena, graft_arena_printf(arena, "%s.json", path), &err) < 0)
        fail_msg("%s", err.message);
    return json_object_get(file, "cases");
}

static inline double *golden_values(graft_arena *arena, const graft_tensor *t, int64_t *count) {
    assert_true(graft_shape_count(&t->shape, count));
    float *narrow = graft_arena_array(arena, (size_t)*count, sizeof *narrow);
    double *out = graft_arena_array(arena, (size_t)*count, sizeof *out);
    assert_true(narrow && out);
    graft_tensor_to_f32(t, narrow);
    for (int64_t i = 0; i < *count; i++) out[i] = (double)narrow[i];
    return out;
}

#endif
