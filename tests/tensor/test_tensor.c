#include "tensor_testing.h"

#include <math.h>

static void dtypes_have_sizes_and_names(void **state) {
    (void)state;
    assert_int_equal(graft_dtype_size(GRAFT_BF16), 2);
    assert_int_equal(graft_dtype_size(GRAFT_I64), 8);
    assert_string_equal(graft_dtype_name(GRAFT_BOOL), "BOOL");
    assert_int_equal(graft_dtype_size(GRAFT_N_DTYPES), 0);
    assert_string_equal(graft_dtype_name(GRAFT_N_DTYPES), "?");
}

static void shapes_are_counted_compared_and_printed(void **state) {
    (void)state;
    graft_shape a = {3, {2, 3, 4}}, scalar = {0, {0}}, huge = {3, {INT64_MAX, 3, 2}}, negative = {1, {-1}};
    graft_shape empty = {3, {INT64_MAX, INT64_MAX, 0}}, b = {3, {2, 3, 5}};
    int64_t n = -1;
    char text[64], small[6];
    assert_true(graft_shape_count(&a, &n));
    assert_int_equal(n, 24);
    assert_true(graft_shape_count(&scalar, &n));
    assert_int_equal(n, 1);
    assert_true(graft_shape_count(&empty, &n));
    assert_int_equal(n, 0);
    assert_false(graft_shape_count(&huge, &n));
    assert_false(graft_shape_count(&negative, &n));
    assert_true(graft_shape_equal(&a, &a));
    assert_false(graft_shape_equal(&a, &b));
    assert_false(graft_shape_equal(&a, &scalar));
    assert_string_equal(graft_shape_print(&a, text, sizeof text), "[2, 3, 4]");
    assert_string_equal(graft_shape_print(&scalar, text, sizeof text), "[]");
    assert_string_equal(graft_shape_print(&a, small, sizeof small), "[2, 3");
}

static bool same_float(float a, float b) {
    return (a == b && signbit(a) == signbit(b)) || (isnan(a) && isnan(b));
}

static void halves_become_the_floats_that_torch_gives(void **state) {
    (void)state;
    static const char *const names[][2] = {{"f16", "f16.f32"}, {"bf16", "bf16.f32"}};
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    assert_int_equal(graft_safetensors_open(&ts, arena, GOLDEN "halves.safetensors", NULL), 0);
    for (int k = 0; k < 2; k++) {
        const graft_tensor *h = graft_tensors_find(&ts, names[k][0]),
                           *f = graft_tensors_find(&ts, names[k][1]);
        size_t n = h->size / 2;
        assert_true(n > 200);
        float *got = graft_arena_array(arena, n, sizeof *got),
              *want = graft_arena_array(arena, n, sizeof *want);
        graft_tensor_to_f32(h, got);
        graft_tensor_to_f32(f, want);
        for (size_t i = 0; i < n; i++) assert_true(same_float(got[i], want[i]));
    }
    graft_arena_free(arena);
}

static void floats_round_to_the_halves_that_torch_gives(void **state) {
    (void)state;
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensors ts;
    assert_int_equal(graft_safetensors_open(&ts, arena, GOLDEN "halves.safetensors", NULL), 0);
    const graft_tensor *f = graft_tensors_find(&ts, "floats");
    const graft_tensor *f16 = graft_tensors_find(&ts, "floats.f16"),
                       *bf16 = graft_tensors_find(&ts, "floats.bf16");
    size_t n = f->size / 4;
    assert_true(n > 500);
    float *in = graft_arena_array(arena, n, sizeof *in);
    uint16_t *a = graft_arena_array(arena, n, sizeof *a), *b = graft_arena_array(arena, n, sizeof *b);
    graft_tensor_to_f32(f, in);
    graft_f32_to_f16(in, a, n);
    graft_f32_to_bf16(in, b, n);
    for (size_t i = 0; i < n; i++) {
        uint16_t want_a, want_b;
        memcpy(&want_a, (const char *)f16->data + 2 * i, 2);
        memcpy(&want_b, (const char *)bf16->data + 2 * i, 2);
        if (isnan(in[i])) {
            assert_true((a[i] & 0x7fff) > 0x7c00 && (b[i] & 0x7fff) > 0x7f80);
        } else if (a[i] != want_a || b[i] != want_b) {
            fail_msg("%a rounds to %04x and %04x, not %04x and %04x", (double)in[i], a[i], b[i], want_a,
                     want_b);
        }
    }
    graft_arena_free(arena);
}

static void every_half_comes_back_as_itself(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < 65536; i++) {
            uint16_t h = (uint16_t)i, back;
            graft_tensor t = {.dtype = k ? GRAFT_BF16 : GRAFT_F16, .shape = {0, {0}}, .data = &h, .size = 2};
            float f;
            graft_tensor_to_f32(&t, &f);
            if (k) {
                graft_f32_to_bf16(&f, &back, 1);
            } else {
                graft_f32_to_f16(&f, &back, 1);
            }
            if (isnan(f)) {
                graft_tensor again = t;
                again.data = &back;
                graft_tensor_to_f32(&again, &f);
                assert_true(isnan(f));
            } else {
                assert_int_equal(back, h);
            }
        }
    }
}

static void a_half_is_the_nearest_one(void **state) {
    (void)state;
    graft_rng r = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    for (int i = 0; i < 100000; i++) {
        float x = ldexpf((float)graft_rng_normal(&r), (int)graft_rng_below(&r, 40) - 26), down, up, f;
        uint16_t h;
        graft_f32_to_f16(&x, &h, 1);
        if ((h & 0x7fff) >= 0x7c00 || (h & 0x7fff) == 0) continue;
        uint16_t lower = (uint16_t)(h - 1), higher = (uint16_t)(h + 1);
        graft_tensor t = {.dtype = GRAFT_F16, .data = &h, .size = 2};
        graft_tensor_to_f32(&t, &f);
        t.data = &lower;
        graft_tensor_to_f32(&t, &down);
        t.data = &higher;
        graft_tensor_to_f32(&t, &up);
        assert_true(fabsf(x - f) <= fabsf(x - down) && fabsf(x - f) <= fabsf(x - up));
    }
}

static void unaligned_data_are_read(void **state) {
    (void)state;
    unsigned char bytes[1 + 2 * sizeof(double)];
    const double in[2] = {0.1, -3};
    memcpy(bytes + 1, in, sizeof in);
    graft_tensor t = {.dtype = GRAFT_F64, .shape = {1, {2}}, .data = bytes + 1, .size = sizeof in};
    float out[2];
    graft_tensor_to_f32(&t, out);
    assert_true(out[0] == 0.1f && out[1] == -3.0f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtypes_have_sizes_and_names),
        cmocka_unit_test(shapes_are_counted_compared_and_printed),
        cmocka_unit_test(halves_become_the_floats_that_torch_gives),
        cmocka_unit_test(floats_round_to_the_halves_that_torch_gives),
        cmocka_unit_test(every_half_comes_back_as_itself),
        cmocka_unit_test(a_half_is_the_nearest_one),
        cmocka_unit_test(unaligned_data_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
