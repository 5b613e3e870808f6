#include "base/base.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <string.h>

/* Known answers of Random123 1.14.0, kat_vectors, "philox4x32 10". */
static void philox_gives_the_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        graft_rng r = {.used = 4};
        memcpy(r.counter, cases[i].counter, sizeof r.counter);
        memcpy(r.key, cases[i].key, sizeof r.key);
        for (int k = 0; k < 4; k++) assert_int_equal(graft_rng_u32(&r), cases[i].want[k]);
    }
}

static void a_stream_depends_on_every_coordinate(void **state) {
    (void)state;
    graft_rng base = graft_rng_at(1, 2, 3, GRAFT_RNG_AUGMENT),
              same = graft_rng_at(1, 2, 3, GRAFT_RNG_AUGMENT);
    graft_rng others[] = {graft_rng_at(9, 2, 3, GRAFT_RNG_AUGMENT), graft_rng_at(1, 9, 3, GRAFT_RNG_AUGMENT),
                          graft_rng_at(1, 2, 9, GRAFT_RNG_AUGMENT), graft_rng_at(1, 2, 3, GRAFT_RNG_MIX)};
    double x = graft_rng_uniform(&base);
    assert_true(x == graft_rng_uniform(&same));
    for (size_t i = 0; i < GRAFT_COUNT(others); i++) assert_false(x == graft_rng_uniform(&others[i]));
}

static void moments_are_those_of_the_distributions(void **state) {
    (void)state;
    graft_rng r = graft_rng_at(5, 0, 0, GRAFT_RNG_TEST);
    enum { N = 200000 };
    double u1 = 0, u2 = 0, n1 = 0, n2 = 0, g1 = 0, g2 = 0, s1 = 0;
    for (int i = 0; i < N; i++) {
        double u = graft_rng_uniform(&r), z = graft_rng_normal(&r), g = graft_rng_gamma(&r, 2.5);
        assert_true(u >= 0 && u < 1);
        u1 += u / N, u2 += u * u / N, n1 += z / N, n2 += z * z / N, g1 += g / N, g2 += g * g / N;
        s1 += graft_rng_gamma(&r, 0.2) / N;
    }
    assert_true(fabs(u1 - 0.5) < 0.003 && fabs(u2 - 1.0 / 3) < 0.003);
    assert_true(fabs(n1) < 0.01 && fabs(n2 - 1) < 0.02);
    assert_true(fabs(g1 - 2.5) < 0.02 && fabs(g2 - g1 * g1 - 2.5) < 0.08);
    assert_true(fabs(s1 - 0.2) < 0.01);
}

static void below_is_even_and_in_range(void **state) {
    (void)state;
    graft_rng r = graft_rng_at(6, 0, 0, GRAFT_RNG_TEST);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t x = graft_rng_below(&r, 7);
        assert_true(x < 7);
        counts[x]++;
    }
    for (int i = 0; i < 7; i++) assert_in_range(counts[i], 9600, 10400);
    assert_int_equal(graft_rng_below(&r, 1), 0);
    assert_true(graft_rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

static void a_shuffle_is_a_permutation(void **state) {
    (void)state;
    int64_t items[100];
    bool seen[100] = {false};
    size_t moved = 0;
    for (int64_t i = 0; i < 100; i++) items[i] = i;
    graft_rng r = graft_rng_at(7, 0, 0, GRAFT_RNG_ORDER);
    graft_rng_shuffle(&r, items, 100);
    for (int64_t i = 0; i < 100; i++) {
        assert_in_range(items[i], 0, 99);
        assert_false(seen[items[i]]);
        seen[items[i]] = true;
        moved += items[i] != i;
    }
    assert_true(moved > 80);
}

static void hashes_are_xxh3_and_the_same_in_pieces(void **state) {
    (void)state;
    char hex[33];
    graft_hash_hex(graft_hash_bytes("", 0), hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f"); /* XXH3-128 of nothing */
    char data[1000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 31);
    graft_arena *a = graft_arena_new(NULL);
    graft_hasher *h = graft_hasher_new(a);
    graft_hasher_add(h, data, 333);
    graft_hasher_add(h, data + 333, sizeof data - 333);
    assert_true(graft_hash_equal(graft_hasher_end(h), graft_hash_bytes(data, sizeof data)));
    graft_hasher *x = graft_hasher_new(a), *y = graft_hasher_new(a);
    graft_hasher_text(x, "ab"), graft_hasher_text(x, "c");
    graft_hasher_text(y, "a"), graft_hasher_text(y, "bc");
    assert_false(graft_hash_equal(graft_hasher_end(x), graft_hasher_end(y)));
    graft_arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(a_stream_depends_on_every_coordinate),
        cmocka_unit_test(moments_are_those_of_the_distributions),
        cmocka_unit_test(below_is_even_and_in_range),
        cmocka_unit_test(a_shuffle_is_a_permutation),
        cmocka_unit_test(hashes_are_xxh3_and_the_same_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
