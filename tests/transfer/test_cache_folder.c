#include "transfer/cache_room.h"

/* ---- Where and how much ---------------------------------------------------------------------------------- */

static void pause_a_little(void) { /* longer than the clock of file times ticks */
    const struct timespec delay = {0, 20000000};
    nanosleep(&delay, NULL);
}

static void the_longest_unused_store_goes_first(void **state) {
    room *r = *state;
    enum { N = 50, STORE = GRAFT_CACHE_HEADER_SIZE + N * STRIDE };
    for (uint64_t key = 1; key <= 3; key++) {
        fill_store(r, key, ROW, N);
        pause_a_little();
    }
    graft_cache_close(open_cache(r, 1, ROW, 0)); /* now 2 is the oldest */
    pause_a_little();
    graft_cache *c = open_cache(r, 4, ROW, 3 * STORE + 600);
    for (uint64_t i = 0; i < N; i++) put_row(c, ROW, i);
    assert_int_equal(graft_cache_flush(c, NULL), 0);
    assert_int_equal(store_size(r, 1), STORE);
    assert_int_equal(store_size(r, 2), -1);
    assert_int_equal(store_size(r, 3), STORE);
    assert_int_equal(store_size(r, 4), STORE);
    for (uint64_t i = N; i < 2 * N; i++) put_row(c, ROW, i);
    graft_cache_close(c);
    assert_int_equal(store_size(r, 3), -1);
    assert_int_equal(store_size(r, 1), STORE);
    assert_int_equal(r->n_warnings, 0);
}

static void a_store_in_use_stays_and_rows_without_room_live_in_memory(void **state) {
    room *r = *state;
    enum { N = 50, STORE = GRAFT_CACHE_HEADER_SIZE + N * STRIDE };
    fill_store(r, 1, ROW, N);
    fill_store(r, 2, ROW, N);
    graft_cache *used = open_cache(r, 1, ROW, 0), *c = open_cache(r, 3, ROW, 2 * STORE + 600);
    for (uint64_t i = 0; i < N; i++) put_row(c, ROW, i); /* in place of 2 */
    assert_int_equal(graft_cache_flush(c, NULL), 0);
    assert_int_equal(store_size(r, 2), -1);
    fill_store(r, 4, ROW, 2);
    for (uint64_t i = N; i < 3 * N; i++) put_row(c, ROW, i);
    const void *address = graft_cache_get(c, content_of(N));
    assert_non_null(address);
    assert_int_equal(r->n_warnings, 1);
    assert_non_null(strstr(r->warning, "GRAFT_CACHE_LIMIT"));
    for (uint64_t i = 3 * N; i < 60000; i++) put_row(c, ROW, i); /* several blocks */
    assert_int_equal(graft_cache_flush(c, NULL), 0);
    assert_int_equal(count_rows(c, ROW, 60000), 60000);
    assert_ptr_equal(graft_cache_get(c, content_of(N)), address);
    assert_int_equal(graft_cache_count(c), 60000);
    assert_true(store_size(r, 4) > 0); /* removing it would not have been enough */
    assert_int_equal(count_rows(used, ROW, N), N);
    graft_cache_close(c);
    graft_cache_close(used);
    assert_int_equal(r->n_warnings, 1);
    assert_int_equal(store_size(r, 3), STORE);
}

static void a_full_disk_does_not_stop_who_fills(void **state) {
    room *r = *state;
    enum { SIZE = 100000, N = 100 };
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit limit = {1234567, 1234567};
        signal(SIGXFSZ, SIG_IGN);
        graft_cache *c = NULL;
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0) _exit(2);
        if (graft_cache_open(&c, r->env, key_of(1), SIZE, NULL, 0, NULL) < 0) _exit(3);
        for (uint64_t i = 0; i < N; i++) {
            if (try_put(c, SIZE, i) < 0) _exit(4);
            if (i == 10 && graft_cache_flush(c, NULL) < 0) _exit(5);
        }
        if (graft_cache_flush(c, NULL) < 0) _exit(6);
        for (uint64_t i = 0; i < N; i++) {
            unsigned char row[SIZE];
            fill_row(row, SIZE, i);
            const void *got = graft_cache_get(c, content_of(i));
            if (!got || memcmp(row, got, SIZE) != 0) _exit(7);
        }
        graft_cache_close(c);
        _exit(r->n_warnings == 1 && strstr(r->warning, "File too large") ? 0 : 8);
    }
    wait_for(pid, 0);
    graft_cache *c = open_cache(r, 1, SIZE, 0);
    assert_int_equal(graft_cache_count(c), 11);
    assert_int_equal(count_rows(c, SIZE, N), 11);
    graft_cache_close(c);
}

static void a_folder_that_cannot_be_written_is_an_error_with_its_path(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_cache *c = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/file", r->dir);
    assert_int_equal(graft_file_write(path, "x", 1, NULL), 0);
    setenv("GRAFT_CACHE", path, 1);
    assert_int_equal(graft_cache_open(&c, r->env, key_of(1), ROW, NULL, 0, &err), GRAFT_EIO);
    assert_non_null(strstr(err.message, path));
    assert_null(c);
    setenv("GRAFT_CACHE", r->dir, 1);
    pid_t pid = fork();
    if (pid == 0) { /* root may write anywhere */
        if (chmod(r->dir, 0555) < 0 || (geteuid() == 0 && setuid(65534) < 0)) _exit(2);
        int rc = graft_cache_open(&c, r->env, key_of(1), ROW, NULL, 0, &err);
        _exit(rc == GRAFT_EIO && !c && strstr(err.message, r->dir) ? 0 : 3);
    }
    wait_for(pid, 0);
}

static json_t *list_of(room *r, graft_arena *arena) {
    char *text = NULL;
    json_t *list = NULL;
    assert_int_equal(graft_cache_list(&text, r->env, NULL), 0);
    assert_int_equal(graft_json_parse(&list, arena, text, strlen(text), "list", NULL), 0);
    graft_text_free(text);
    return list;
}

static void the_folder_is_found_as_the_documents_say(void **state) {
    room *r = *state;
    graft_arena *arena = graft_arena_new(NULL);
    const char *saved_home = graft_arena_strdup(arena, getenv("HOME") ? getenv("HOME") : "");
    const char *expected = graft_arena_printf(arena, "%s/.cache/graft", r->dir);
    char *text = NULL;
    setenv("HOME", r->dir, 1);
    unsetenv("GRAFT_CACHE");
    setenv("XDG_CACHE_HOME", "/somewhere", 1);
    assert_string_equal(json_string_value(json_object_get(list_of(r, arena), "directory")),
                        "/somewhere/graft");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_string_equal(json_string_value(json_object_get(list_of(r, arena), "directory")), expected);
    unsetenv("XDG_CACHE_HOME");
    assert_string_equal(json_string_value(json_object_get(list_of(r, arena), "directory")), expected);
    assert_false(graft_path_is_dir(expected)); /* looking makes nothing */
    uint64_t freed = 1;
    assert_int_equal(graft_cache_clear(r->env, &freed, NULL), 0);
    assert_int_equal(freed, 0);
    assert_false(graft_path_is_dir(expected));
    graft_cache_close(open_cache(r, 1, ROW, 0));
    assert_true(graft_path_is_dir(expected));
    unsetenv("HOME");
    assert_int_equal(graft_cache_list(&text, r->env, NULL), GRAFT_EUSAGE);
    assert_null(text);
    setenv("HOME", saved_home, 1);
    graft_arena_free(arena);
}

static void the_limit_is_read_from_the_environment(void **state) {
    room *r = *state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"1000", 1000},       {"2K", 2000},   {"2.5m", 2500000},
                 {"3 GB", 3000000000}, {"1KiB", 1024}, {"2GiB", (int64_t)2 << 30}};
    graft_arena *arena = graft_arena_new(NULL);
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        setenv("GRAFT_CACHE_LIMIT", cases[i].text, 1);
        assert_int_equal(json_integer_value(json_object_get(list_of(r, arena), "limit")), cases[i].bytes);
    }
    static const char *const bad[] = {"much", "-1", "1X", "G", "1e", "nan", "0x"};
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        graft_err err = {0};
        char *text = NULL;
        setenv("GRAFT_CACHE_LIMIT", bad[i], 1);
        assert_int_equal(graft_cache_list(&text, r->env, &err), GRAFT_EUSAGE);
        assert_non_null(strstr(err.message, "GRAFT_CACHE_LIMIT"));
    }
    setenv("GRAFT_CACHE_LIMIT", "0", 1);
    graft_cache *c = NULL;
    assert_int_equal(graft_cache_open(&c, r->env, key_of(1), ROW, NULL, 0, NULL), GRAFT_EIO);
    assert_int_equal(store_size(r, 1), -1);
    unsetenv("GRAFT_CACHE_LIMIT");
    int64_t limit = json_integer_value(json_object_get(list_of(r, arena), "limit"));
    assert_true(limit > 0 && limit <= 20000000000);
    graft_arena_free(arena);
}

/* ---- For people ------------------------------------------------------------------------------------------ */

static void the_list_tells_what_is_there(void **state) {
    room *r = *state;
    char path[128];
    graft_arena *arena = graft_arena_new(NULL);
    json_t *list = list_of(r, arena);
    assert_int_equal(json_integer_value(json_object_get(list, "bytes")), 0);
    assert_int_equal(json_array_size(json_object_get(list, "entries")), 0);
    fill_store(r, 1, ROW, 3);
    pause_a_little();
    graft_cache *c = NULL;
    assert_int_equal(graft_cache_open(&c, r->env, key_of(2), ROW, "\xff\xfe", 0, NULL), 0);
    graft_cache_close(c);
    list = list_of(r, arena);
    const json_t *entries = json_object_get(list, "entries");
    assert_int_equal(json_array_size(entries), 2);
    const json_t *old = json_array_get(entries, 1);
    char hex[33];
    graft_hash_hex(key_of(1), hex);
    assert_string_equal(json_string_value(json_object_get(old, "key")), hex);
    assert_string_equal(json_string_value(json_object_get(old, "description")), "a description");
    assert_int_equal(json_integer_value(json_object_get(old, "rows")), 3);
    assert_int_equal(json_integer_value(json_object_get(old, "row_size")), ROW);
    assert_int_equal(json_integer_value(json_object_get(old, "bytes")), GRAFT_CACHE_HEADER_SIZE + 3 * STRIDE);
    assert_int_equal(strlen(json_string_value(json_object_get(old, "last_used"))), 20);
    assert_string_equal(json_string_value(json_object_get(json_array_get(entries, 0), "description")), "??");
    assert_int_equal(json_integer_value(json_object_get(list, "bytes")),
                     2 * GRAFT_CACHE_HEADER_SIZE + 3 * STRIDE);
    store_path(r, 1, path, sizeof path);
    assert_int_equal(truncate(path, 100), 0);
    list = list_of(r, arena);
    assert_int_equal(r->n_warnings, 1);
    graft_arena_free(arena);
}

static void clearing_spares_what_is_in_use_and_what_is_not_the_cache_s(void **state) {
    room *r = *state;
    char path[128];
    uint64_t freed = 0;
    snprintf(path, sizeof path, "%s/notes.rows", r->dir);
    assert_int_equal(graft_file_write(path, "x", 1, NULL), 0);
    fill_store(r, 1, ROW, 3);
    fill_store(r, 2, ROW, 3);
    graft_cache *c = open_cache(r, 2, ROW, 0);
    assert_int_equal(graft_cache_clear(r->env, &freed, NULL), 0);
    assert_int_equal(freed, GRAFT_CACHE_HEADER_SIZE + 3 * STRIDE);
    assert_int_equal(store_size(r, 1), -1);
    assert_int_equal(count_rows(c, ROW, 3), 3);
    assert_int_equal(r->n_warnings, 1);
    graft_cache_close(c);
    assert_int_equal(graft_cache_clear(r->env, NULL, NULL), 0);
    assert_int_equal(store_size(r, 2), -1);
    assert_true(graft_path_is_file(path));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, room_setup, room_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_longest_unused_store_goes_first),
        TEST(a_store_in_use_stays_and_rows_without_room_live_in_memory),
        TEST(a_full_disk_does_not_stop_who_fills),
        TEST(a_folder_that_cannot_be_written_is_an_error_with_its_path),
        TEST(the_folder_is_found_as_the_documents_say),
        TEST(the_limit_is_read_from_the_environment),
        TEST(the_list_tells_what_is_there),
        TEST(clearing_spares_what_is_in_use_and_what_is_not_the_cache_s),
    };
    return cmocka_run_group_tests_name("cache folder", tests, NULL, NULL);
}
