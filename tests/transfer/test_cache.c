#include "transfer/cache_room.h"

/* ---- Rows ------------------------------------------------------------------------------------------------ */

static void rows_come_back_in_the_same_and_in_the_next_opening(void **state) {
    room *r = *state;
    for (size_t size = 1; size < 200; size += 33) {
        graft_cache *c = open_cache(r, size, size, 0);
        assert_null(graft_cache_get(c, content_of(5)));
        for (uint64_t i = 0; i < 50; i++) put_row(c, size, i);
        put_row(c, size, 7); /* is there already */
        assert_int_equal(graft_cache_count(c), 50);
        assert_int_equal(graft_cache_flush(c, NULL), 0);
        assert_int_equal(count_rows(c, size, 60), 50);
        put_row(c, size, 55);
        graft_cache_close(c);
        c = open_cache(r, size, size, 0);
        assert_int_equal(graft_cache_count(c), 51);
        assert_int_equal(count_rows(c, size, 60), 51);
        graft_cache_close(c);
    }
    assert_int_equal(r->n_warnings, 0);
}

static void an_address_holds_until_the_close(void **state) {
    room *r = *state;
    enum { SIZE = 1 << 20, N = 150 }; /* several blocks and segments */
    const unsigned char *rows[N];
    graft_cache *c = open_cache(r, 1, SIZE, 0);
    for (uint64_t i = 0; i < N; i++) {
        put_row(c, SIZE, i);
        rows[i] = i % 3 ? NULL : graft_cache_get(c, content_of(i));
    }
    for (uint64_t i = 0; i < N; i++) {
        assert_true(has_row(c, SIZE, i));
        if (rows[i]) assert_ptr_equal(rows[i], graft_cache_get(c, content_of(i)));
    }
    graft_cache_close(c);
}

static void every_content_is_one_even_zero(void **state) {
    room *r = *state;
    unsigned char row[ROW] = {1, 2, 3};
    graft_cache *c = open_cache(r, 1, ROW, 0);
    assert_int_equal(graft_cache_put(c, (graft_hash){0, 0}, row, NULL), 0);
    graft_cache_close(c);
    c = open_cache(r, 1, ROW, 0);
    assert_int_equal(graft_cache_count(c), 1);
    assert_memory_equal(graft_cache_get(c, (graft_hash){0, 0}), row, ROW);
    graft_cache_close(c);
}

static void a_key_differs_when_anything_differs(void **state) {
    (void)state;
    const graft_hash a = {1, 2}, b = {3, 4}, other[] = {{9, 2}, {1, 9}};
    const graft_hash key = graft_cache_key(a, b, GRAFT_PRECISION_FP32, -1);
    assert_true(graft_hash_equal(key, graft_cache_key(a, b, GRAFT_PRECISION_FP32, -1)));
    for (int i = 0; i < 2; i++) {
        assert_false(graft_hash_equal(key, graft_cache_key(other[i], b, GRAFT_PRECISION_FP32, -1)));
        assert_false(graft_hash_equal(key, graft_cache_key(a, other[i], GRAFT_PRECISION_FP32, -1)));
    }
    assert_false(graft_hash_equal(key, graft_cache_key(b, a, GRAFT_PRECISION_FP32, -1)));
    assert_false(graft_hash_equal(key, graft_cache_key(a, b, GRAFT_PRECISION_BF16, -1)));
    assert_false(graft_hash_equal(key, graft_cache_key(a, b, GRAFT_PRECISION_FP32, 0)));
}

/* ---- Damage ---------------------------------------------------------------------------------------------- */

static void a_file_cut_anywhere_keeps_its_whole_rows(void **state) {
    room *r = *state;
    char path[128];
    store_path(r, 1, path, sizeof path);
    for (int64_t cut = GRAFT_CACHE_HEADER_SIZE + 3 * STRIDE; cut >= 0; cut -= 5) {
        unlink(path);
        fill_store(r, 1, ROW, 3);
        assert_int_equal(store_size(r, 1), GRAFT_CACHE_HEADER_SIZE + 3 * STRIDE);
        assert_int_equal(truncate(path, cut), 0);
        uint64_t whole =
            cut < GRAFT_CACHE_HEADER_SIZE ? 0 : (uint64_t)(cut - GRAFT_CACHE_HEADER_SIZE) / STRIDE;
        graft_cache *c = open_cache(r, 1, ROW, 0);
        assert_int_equal(graft_cache_count(c), whole);
        for (uint64_t i = 0; i < 3; i++) assert_int_equal(has_row(c, ROW, i), i < whole);
        put_row(c, ROW, 2);
        graft_cache_close(c);
        c = open_cache(r, 1, ROW, 0);
        for (uint64_t i = 0; i < 3; i++) assert_int_equal(has_row(c, ROW, i), i < whole || i == 2);
        graft_cache_close(c);
    }
}

static void a_damaged_byte_costs_its_row_alone_which_can_be_put_again(void **state) {
    room *r = *state;
    char path[128];
    store_path(r, 1, path, sizeof path);
    for (int64_t at = 0; at < GRAFT_CACHE_HEADER_SIZE + 3 * STRIDE; at += 5) {
        unlink(path);
        fill_store(r, 1, ROW, 3);
        damage(r, 1, at);
        int64_t row = at < GRAFT_CACHE_HEADER_SIZE ? -1 : (at - GRAFT_CACHE_HEADER_SIZE) / STRIDE;
        bool is_padding = row >= 0 && (at - GRAFT_CACHE_HEADER_SIZE) % STRIDE >= ROW + 32;
        graft_cache *c = open_cache(r, 1, ROW, 0);
        for (int64_t i = 0; i < 3; i++)
            assert_int_equal(has_row(c, ROW, (uint64_t)i), is_padding || (row >= 0 && i != row));
        for (uint64_t i = 0; i < 3; i++) put_row(c, ROW, i);
        assert_int_equal(count_rows(c, ROW, 3), 3);
        graft_cache_close(c);
        c = open_cache(r, 1, ROW, 0);
        assert_int_equal(count_rows(c, ROW, 3), 3);
        graft_cache_close(c);
    }
}

static void a_damaged_row_is_put_again_without_being_asked_for(void **state) {
    room *r = *state;
    fill_store(r, 1, ROW, 3);
    damage(r, 1, GRAFT_CACHE_HEADER_SIZE + STRIDE + 5);
    graft_cache *c = open_cache(r, 1, ROW, 0);
    put_row(c, ROW, 1);
    assert_true(has_row(c, ROW, 1));
    graft_cache_close(c);
}

static void a_tail_of_zeros_is_no_row(void **state) {
    room *r = *state;
    char path[128];
    store_path(r, 1, path, sizeof path);
    fill_store(r, 1, ROW, 3);
    assert_int_equal(truncate(path, GRAFT_CACHE_HEADER_SIZE + 6 * STRIDE + 7), 0);
    graft_cache *c = open_cache(r, 1, ROW, 0);
    assert_int_equal(graft_cache_count(c), 3);
    for (uint64_t i = 3; i < 6; i++) put_row(c, ROW, i);
    assert_int_equal(count_rows(c, ROW, 9), 6);
    graft_cache_close(c);
}

static void a_store_of_other_rows_is_made_anew_unless_it_is_in_use(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_cache *other = NULL;
    fill_store(r, 1, ROW, 3);
    graft_cache *c = open_cache(r, 1, ROW, 0);
    assert_int_equal(graft_cache_open(&other, r->env, key_of(1), ROW + 1, NULL, 0, &err), GRAFT_EFORMAT);
    assert_null(other);
    assert_non_null(strstr(err.message, "in use"));
    assert_int_equal(count_rows(c, ROW, 3), 3);
    graft_cache_close(c);
    c = open_cache(r, 1, ROW + 1, 0);
    assert_int_equal(graft_cache_count(c), 0);
    put_row(c, ROW + 1, 0);
    assert_true(has_row(c, ROW + 1, 0));
    graft_cache_close(c);
}

static void a_store_under_another_name_is_not_believed(void **state) {
    room *r = *state;
    char from[128], to[128];
    fill_store(r, 1, ROW, 3);
    store_path(r, 1, from, sizeof from);
    store_path(r, 2, to, sizeof to);
    assert_int_equal(rename(from, to), 0);
    graft_cache *c = open_cache(r, 2, ROW, 0);
    assert_int_equal(graft_cache_count(c), 0);
    graft_cache_close(c);
}

static void rows_of_no_size_are_refused(void **state) {
    room *r = *state;
    graft_cache *c = NULL;
    assert_int_equal(graft_cache_open(&c, r->env, key_of(1), 0, NULL, 0, NULL), GRAFT_EUSAGE);
    assert_int_equal(graft_cache_open(&c, r->env, key_of(1), SIZE_MAX, NULL, 0, NULL), GRAFT_EUSAGE);
    assert_null(c);
}

static void a_file_cut_while_open_sends_new_rows_into_memory(void **state) {
    room *r = *state;
    char path[128];
    store_path(r, 1, path, sizeof path);
    fill_store(r, 1, ROW, 3);
    graft_cache *c = open_cache(r, 1, ROW, 0);
    assert_int_equal(truncate(path, GRAFT_CACHE_HEADER_SIZE), 0);
    put_row(c, ROW, 7);
    assert_true(has_row(c, ROW, 7));
    assert_int_equal(r->n_warnings, 1);
    assert_non_null(strstr(r->warning, "was cut"));
    graft_cache_close(c);
}

/* ---- Several openings, several processes ----------------------------------------------------------------- */

static void openings_see_each_other_s_rows_after_a_flush(void **state) {
    room *r = *state;
    graft_cache *a = open_cache(r, 1, ROW, 0), *b = open_cache(r, 1, ROW, 0);
    for (uint64_t i = 0; i < 20; i++) put_row(a, ROW, i);
    for (uint64_t i = 10; i < 30; i++) put_row(b, ROW, i);
    assert_int_equal(graft_cache_flush(a, NULL), 0);
    assert_int_equal(graft_cache_flush(b, NULL), 0);
    assert_int_equal(graft_cache_flush(a, NULL), 0);
    assert_int_equal(count_rows(a, ROW, 40), 30);
    assert_int_equal(count_rows(b, ROW, 40), 30);
    assert_int_equal(graft_cache_count(a), 30);
    assert_int_equal(graft_cache_count(b), 30);
    assert_int_equal(store_size(r, 1), GRAFT_CACHE_HEADER_SIZE + 30 * STRIDE); /* none is there twice */
    graft_cache_close(a);
    graft_cache_close(b);
}

static void rows_are_written_within_a_second_while_more_are_put(void **state) {
    room *r = *state;
    const struct timespec delay = {1, 50000000};
    graft_cache *a = open_cache(r, 1, ROW, 0);
    put_row(a, ROW, 1);
    nanosleep(&delay, NULL);
    put_row(a, ROW, 2);
    graft_cache *b = open_cache(r, 1, ROW, 0);
    assert_int_equal(count_rows(b, ROW, 5), 2);
    graft_cache_close(a);
    graft_cache_close(b);
}

static void a_row_that_comes_in_while_place_is_made_for_it_is_not_put_twice(void **state) {
    room *r = *state;
    enum { BLOCK = (4 << 20) / STRIDE, X = BLOCK + 5 };
    graft_cache *a = open_cache(r, 1, ROW, 0), *b = open_cache(r, 1, ROW, 0);
    for (uint64_t i = 0; i < BLOCK; i++) put_row(a, ROW, i);
    put_row(b, ROW, X);
    assert_int_equal(graft_cache_flush(b, NULL), 0);
    put_row(a, ROW, X);
    assert_int_equal(graft_cache_count(a), BLOCK + 1);
    graft_cache_close(a);
    graft_cache_close(b);
    assert_int_equal(store_size(r, 1), GRAFT_CACHE_HEADER_SIZE + (BLOCK + 1) * STRIDE);
}

static void a_neighbour_s_damaged_row_does_not_replace_one_s_own(void **state) {
    room *r = *state;
    graft_cache *a = open_cache(r, 1, ROW, 0), *b = open_cache(r, 1, ROW, 0);
    put_row(a, ROW, 1);
    put_row(b, ROW, 1);
    assert_int_equal(graft_cache_flush(a, NULL), 0);
    damage(r, 1, GRAFT_CACHE_HEADER_SIZE + 3);
    assert_int_equal(graft_cache_flush(b, NULL), 0);
    assert_true(has_row(b, ROW, 1));
    graft_cache_close(a);
    graft_cache_close(b);
}

/* A child that fills rows from, from + step, ... below `to`; exit status 0 when all went well. */
static pid_t start_filler(room *r, size_t size, uint64_t from, uint64_t to, uint64_t flush_every) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    graft_cache *c = NULL;
    if (graft_cache_open(&c, r->env, key_of(1), size, NULL, 0, NULL) < 0) _exit(2);
    for (uint64_t i = from; i < to; i++) {
        if (try_put(c, size, i) < 0) _exit(3);
        if (flush_every && i % flush_every == 0 && graft_cache_flush(c, NULL) < 0) _exit(4);
    }
    graft_cache_close(c);
    _exit(r->n_warnings ? 5 : 0);
}

static void processes_fill_one_store_at_once(void **state) {
    room *r = *state;
    enum { SIZE = 3000, STRIDE_OF_SIZE = 3072, N = 6000 };
    pid_t a = start_filler(r, SIZE, 0, N, 640), b = start_filler(r, SIZE, 0, N, 500),
          d = start_filler(r, SIZE, 0, N, 0);
    assert_true(a > 0 && b > 0 && d > 0);
    wait_for(a, 0);
    wait_for(b, 0);
    wait_for(d, 0);
    graft_cache *c = open_cache(r, 1, SIZE, 0);
    assert_int_equal(count_rows(c, SIZE, N), N);
    assert_int_equal(store_size(r, 1), GRAFT_CACHE_HEADER_SIZE + N * STRIDE_OF_SIZE);
    graft_cache_close(c);
}

static void a_kill_at_any_moment_loses_only_what_was_not_written(void **state) {
    room *r = *state;
    enum { SIZE = 200000, N = 40, ROUNDS = 30 };
    graft_rng rng = graft_rng_at(11, 0, 0, GRAFT_RNG_TEST);
    int64_t before = 0;
    bool is_cut_short = false;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t first = round * N, other = (ROUNDS + round) * N;
        pid_t killed = start_filler(r, SIZE, first, first + N, round % 8 ? 0 : 7);
        pid_t neighbour = round % 4 ? 0 : start_filler(r, SIZE, other, other + 5, 0);
        const struct timespec delay = {0, (long)graft_rng_below(&rng, 12000000)};
        nanosleep(&delay, NULL);
        kill(killed, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(killed, &status, 0), killed);
        is_cut_short |= WIFSIGNALED(status);
        if (neighbour) wait_for(neighbour, 0);
        graft_cache *c = open_cache(r, 1, SIZE, 0);
        int64_t now = count_rows(c, SIZE, 2 * ROUNDS * N);
        assert_int_equal(now, graft_cache_count(c));
        assert_true(now >= before + (neighbour ? 5 : 0));
        before = now;
        graft_cache_close(c);
    }
    assert_true(is_cut_short);
    wait_for(start_filler(r, SIZE, 0, ROUNDS * N, 0), 0);
    graft_cache *c = open_cache(r, 1, SIZE, 0);
    assert_int_equal(count_rows(c, SIZE, ROUNDS * N), ROUNDS * N);
    graft_cache_close(c);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, room_setup, room_teardown)
    const struct CMUnitTest tests[] = {
        TEST(rows_come_back_in_the_same_and_in_the_next_opening),
        TEST(an_address_holds_until_the_close),
        TEST(every_content_is_one_even_zero),
        TEST(a_key_differs_when_anything_differs),
        TEST(a_file_cut_anywhere_keeps_its_whole_rows),
        TEST(a_damaged_byte_costs_its_row_alone_which_can_be_put_again),
        TEST(a_damaged_row_is_put_again_without_being_asked_for),
        TEST(a_tail_of_zeros_is_no_row),
        TEST(a_store_of_other_rows_is_made_anew_unless_it_is_in_use),
        TEST(a_store_under_another_name_is_not_believed),
        TEST(rows_of_no_size_are_refused),
        TEST(a_file_cut_while_open_sends_new_rows_into_memory),
        TEST(openings_see_each_other_s_rows_after_a_flush),
        TEST(rows_are_written_within_a_second_while_more_are_put),
        TEST(a_row_that_comes_in_while_place_is_made_for_it_is_not_put_twice),
        TEST(a_neighbour_s_damaged_row_does_not_replace_one_s_own),
        TEST(processes_fill_one_store_at_once),
        TEST(a_kill_at_any_moment_loses_only_what_was_not_written),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
