#include "base/base.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void errors_have_names_and_exit_statuses(void **state) {
    (void)state;
    assert_int_equal(graft_error_exit(0), 0);
    assert_int_equal(graft_error_exit(GRAFT_EIO), 1);
    assert_int_equal(graft_error_exit(GRAFT_EUSAGE), 2);
    assert_int_equal(graft_error_exit(GRAFT_EFORMAT), 3);
    assert_int_equal(graft_error_exit(-999), 1);
    assert_string_equal(graft_error_name(GRAFT_ESHAPE), "ESHAPE");
    assert_string_equal(graft_version(), "0.1.0");
}

static void messages_stay_on_one_line(void **state) {
    (void)state;
    graft_err err;
    assert_int_equal(graft_err_set(&err, GRAFT_EFORMAT, "tensor 'a\nb\033[31m'"), GRAFT_EFORMAT);
    assert_string_equal(err.message, "tensor 'a?b?[31m'");
    assert_int_equal(err.code, GRAFT_EFORMAT);
    assert_int_equal(graft_err_set(NULL, GRAFT_EIO, "x"), GRAFT_EIO);
    graft_err_set(&err, GRAFT_EIO, "inner");
    graft_err_set(&err, GRAFT_EDATA, "outer: %s", err.message);
    assert_string_equal(err.message, "outer: inner");
    errno = ENOSPC;
    assert_int_equal(graft_err_errno(&err, "write", "model.safetensors"), GRAFT_EIO);
    assert_string_equal(err.message, "cannot write 'model.safetensors': No space left on device");
}

static void a_cut_message_ends_in_whole_letters(void **state) {
    (void)state;
    graft_err err;
    char text[601] = "a";
    for (size_t i = 1; i < 600; i += 2) memcpy(text + i, i < 599 ? "\xc3\xa9" : "b", i < 599 ? 2 : 1);
    graft_err_set(&err, GRAFT_EIO, "%s", text);
    assert_int_equal(strlen(err.message), 511);
    graft_err_set(&err, GRAFT_EIO, "%s", text + 1);
    assert_int_equal(strlen(err.message), 510);
    assert_int_equal((unsigned char)err.message[509], 0xa9);
}

static void json_is_parsed_and_its_members_typed(void **state) {
    (void)state;
    graft_err err;
    json_t *o;
    graft_arena *a = graft_arena_new(NULL);
    const char *text = "{\"n\": 3, \"x\": 0.5, \"b\": true, \"s\": \"hi\", \"z\": null}";
    assert_int_equal(graft_json_parse(&o, a, text, strlen(text), "c.json", &err), 0);
    int64_t n;
    double x;
    bool b;
    const char *s;
    assert_int_equal(graft_json_int(o, "n", 9, &n, "c.json", &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(graft_json_int(o, "z", 9, &n, "c.json", &err), 0);
    assert_int_equal(n, 9);
    assert_int_equal(graft_json_real(o, "n", 0, &x, "c.json", &err), 0);
    assert_true(x == 3);
    assert_int_equal(graft_json_bool(o, "b", false, &b, "c.json", &err), 0);
    assert_true(b);
    assert_int_equal(graft_json_text(o, "s", NULL, &s, "c.json", &err), 0);
    assert_string_equal(s, "hi");
    assert_int_equal(graft_json_text(o, "absent", "d", &s, "c.json", &err), 0);
    assert_string_equal(s, "d");
    assert_int_equal(graft_json_int(o, "x", 0, &n, "c.json", &err), GRAFT_EFORMAT);
    assert_string_equal(err.message, "c.json: 'x' must be an integer, not a real number");
    assert_int_equal(graft_json_bool(o, "n", 0, &b, "c.json", &err), GRAFT_EFORMAT);
    assert_int_equal(graft_json_text(o, "n", "", &s, "c.json", &err), GRAFT_EFORMAT);
    assert_int_equal(graft_json_real(o, "s", 0, &x, "c.json", &err), GRAFT_EFORMAT);
    graft_arena_free(a);
}

static void bad_json_is_refused_with_its_place(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",           "{",          "{\"a\":1,\"a\":2}", "[1,]",          "{\"a\":1} x", "nul",
        "[1e999999]", "[\"\xff\"]", "{\"a\":00}",        "[\"\\u0000\"]", "{1:2}"};
    graft_arena *a = graft_arena_new(NULL);
    for (size_t i = 0; i < GRAFT_COUNT(bad); i++) {
        json_t *o;
        graft_err err;
        assert_int_equal(graft_json_parse(&o, a, bad[i], strlen(bad[i]), "c.json", &err), GRAFT_EFORMAT);
        assert_null(o);
        assert_non_null(strstr(err.message, "c.json: not JSON, line "));
    }
    graft_arena_free(a);
}

static void json_is_written_sorted_and_short(void **state) {
    (void)state;
    char dir[] = "/tmp/graft-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    graft_arena *a = graft_arena_new(NULL);
    graft_err err;
    json_t *o, *back;
    const char *in =
        "{\"b\":0.1,\"a\":[1,\"q\\\"\\n\xc3\xa9\"],\"c\":{},\"d\":1e-12,\"e\":2.0,\"f\":[],\"g\":null}";
    const char *want = "{\n  \"a\": [\n    1,\n    \"q\\\"\\n\xc3\xa9\"\n  ],\n  \"b\": 0.1,\n  \"c\": {},\n"
                       "  \"d\": 1e-12,\n  \"e\": 2.0,\n  \"f\": [],\n  \"g\": null\n}\n";
    const char *path = graft_path_join(a, dir, "x.json");
    char *text;
    size_t size;
    assert_int_equal(graft_json_parse(&o, a, in, strlen(in), "in", &err), 0);
    assert_int_equal(graft_json_write(path, o, &err), 0);
    assert_int_equal(graft_file_read(&text, &size, a, path, 1000, &err), 0);
    assert_string_equal(text, want);
    assert_int_equal(graft_json_read(&back, a, path, &err), 0);
    assert_true(json_equal(o, back));
    assert_int_equal(graft_dir_remove(dir, NULL), 0);
    graft_arena_free(a);
}

typedef struct tally {
    atomic_int seen[1000];
    atomic_int wrong_thread;
    int threads;
    size_t fail_from;
} tally;

static int count_one(void *user, size_t i, int thread) {
    tally *t = user;
    atomic_fetch_add(&t->seen[i], 1);
    if (thread < 0 || thread >= t->threads) atomic_fetch_add(&t->wrong_thread, 1);
    return i >= t->fail_from ? -(int)i : 0;
}

static void every_index_runs_once(void **state) {
    (void)state;
    for (int threads = 0; threads <= 8; threads += 4) {
        static tally t;
        memset(&t, 0, sizeof t);
        t.threads = threads ? threads : 1;
        t.fail_from = 1000;
        assert_int_equal(graft_parallel_for(threads, 1000, count_one, &t), 0);
        for (size_t i = 0; i < 1000; i++) assert_int_equal(t.seen[i], 1);
        assert_int_equal(t.wrong_thread, 0);
    }
}

static void a_failure_stops_and_the_lowest_is_told(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        static tally t;
        memset(&t, 0, sizeof t);
        t.threads = threads;
        t.fail_from = 300;
        assert_int_equal(graft_parallel_for(threads, 1000, count_one, &t), -300);
        assert_int_equal(t.seen[999], 0);
    }
    assert_int_equal(graft_parallel_for(4, 0, count_one, NULL), 0);
}

static void note_line(void *user, graft_log_level level, const char *line) {
    snprintf(user, 64, "%d %s", (int)level, line);
}

static void the_environment_logs_counts_and_cancels(void **state) {
    (void)state;
    graft_env *env;
    graft_err err;
    char line[64] = "";
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    assert_int_equal(graft_env_new(&env, &o, &err), 0);
    assert_in_range(graft_env_threads(env), 1, sysconf(_SC_NPROCESSORS_ONLN));
    graft_env_log(env, GRAFT_LOG_INFO, "to nobody");
    graft_env_free(env);
    o.threads = 3;
    o.log = note_line;
    o.user = line;
    assert_int_equal(graft_env_new(&env, &o, &err), 0);
    assert_int_equal(graft_env_threads(env), 3);
    graft_env_log(env, GRAFT_LOG_WARNING, "%d bad", 2);
    assert_string_equal(line, "1 2 bad");
    assert_int_equal(graft_env_check(env, &err), 0);
    graft_env_cancel(env);
    assert_true(graft_env_is_cancelled(env));
    assert_int_equal(graft_env_check(env, &err), GRAFT_EINTERRUPTED);
    graft_env_free(env);
    o.threads = -1;
    assert_int_equal(graft_env_new(&env, &o, &err), GRAFT_EUSAGE);
    assert_null(env);
    double t = graft_now();
    assert_true(graft_now() >= t);
}

static void sizes_are_checked(void **state) {
    (void)state;
    size_t out = 5;
    assert_true(graft_size_mul(3, 4, &out));
    assert_int_equal(out, 12);
    assert_false(graft_size_mul(SIZE_MAX, 2, &out));
    assert_false(graft_size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 12);
    assert_int_equal(graft_size_align(65, 64), 128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_names_and_exit_statuses),
        cmocka_unit_test(messages_stay_on_one_line),
        cmocka_unit_test(a_cut_message_ends_in_whole_letters),
        cmocka_unit_test(json_is_parsed_and_its_members_typed),
        cmocka_unit_test(bad_json_is_refused_with_its_place),
        cmocka_unit_test(json_is_written_sorted_and_short),
        cmocka_unit_test(every_index_runs_once),
        cmocka_unit_test(a_failure_stops_and_the_lowest_is_told),
        cmocka_unit_test(the_environment_logs_counts_and_cancels),
        cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
