#include "learn/learn.h"
#include "model/model_room.h"

static const char *text_of(room *r, const char *path) {
    char *text = NULL;
    size_t size = 0;
    graft_err err = {0};
    assert_ok(graft_file_read(&text, &size, r->arena, path, 1 << 20, &err));
    return text;
}

static void put(graft_runlog *log, int64_t epoch) {
    graft_err err = {0};
    assert_ok(graft_runlog_write(log, "epoch",
                                 json_pack("{s:I,s:f}", "epoch", (json_int_t)epoch, "loss", 0.25), &err));
}

static void an_event_is_a_line_of_json(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_runlog *log = NULL;
    const char *path = in_room(r, "run.jsonl");
    assert_ok(graft_runlog_open(&log, path, &err));
    put(log, 1);
    assert_ok(graft_runlog_write(log, "note", json_pack("{s:s}", "text", "two\nlines \xc3\xa4"), &err));
    assert_int_equal(graft_runlog_count(log), 2);
    assert_string_equal(text_of(r, path), "{\"epoch\":1,\"event\":\"epoch\",\"loss\":0.25}\n"
                                          "{\"event\":\"note\",\"text\":\"two\\nlines \xc3\xa4\"}\n");
    graft_runlog_close(log);
}

static void a_line_that_a_kill_cut_short_is_dropped(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_runlog *log = NULL;
    const char *path = in_room(r, "run.jsonl"), *text = "{\"epoch\":1}\n{\"epoch\":2}\n{\"epo";
    assert_ok(graft_file_write(path, text, strlen(text), &err));
    assert_ok(graft_runlog_open(&log, path, &err));
    assert_int_equal(graft_runlog_count(log), 2);
    put(log, 3);
    assert_int_equal(graft_runlog_count(log), 3);
    assert_string_equal(text_of(r, path),
                        "{\"epoch\":1}\n{\"epoch\":2}\n{\"epoch\":3,\"event\":\"epoch\",\"loss\":0.25}\n");
    graft_runlog_close(log);
}

static void events_past_a_resume_point_are_dropped(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_runlog *log = NULL;
    const char *path = in_room(r, "run.jsonl");
    assert_ok(graft_runlog_open(&log, path, &err));
    for (int64_t i = 1; i <= 4; i++) put(log, i);
    assert_ok(graft_runlog_keep(log, 9, &err)); /* more than there are: nothing happens */
    assert_int_equal(graft_runlog_count(log), 4);
    assert_ok(graft_runlog_keep(log, 1, &err));
    assert_int_equal(graft_runlog_count(log), 1);
    put(log, 7);
    assert_string_equal(text_of(r, path), "{\"epoch\":1,\"event\":\"epoch\",\"loss\":0.25}\n"
                                          "{\"epoch\":7,\"event\":\"epoch\",\"loss\":0.25}\n");
    assert_ok(graft_runlog_keep(log, 0, &err));
    assert_string_equal(text_of(r, path), "");
    graft_runlog_close(log);
}

static void without_a_path_events_are_only_counted(void **state) {
    (void)state;
    graft_err err = {0};
    graft_runlog *log = NULL;
    assert_ok(graft_runlog_open(&log, NULL, &err));
    put(log, 1);
    put(log, 2);
    assert_int_equal(graft_runlog_count(log), 2);
    assert_ok(graft_runlog_keep(log, 1, &err));
    assert_int_equal(graft_runlog_count(log), 1);
    graft_runlog_close(log);
    graft_runlog_close(NULL);
}

static void a_log_that_cannot_be_written_is_an_error(void **state) {
    room *r = *state;
    graft_err err;
    graft_runlog *log = NULL;
    assert_error(graft_runlog_open(&log, in_room(r, "absent/run.jsonl"), &err), GRAFT_EIO,
                 "absent/run.jsonl");
    assert_error(graft_runlog_open(&log, r->dir, &err), GRAFT_EIO, r->dir);
    assert_null(log);
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(symlink("/dev/full", in_room(r, "full")), 0);
        if (graft_runlog_open(&log, in_room(r, "full"), &err) == 0) {
            assert_error(graft_runlog_write(log, "e", json_object(), &err), GRAFT_EIO, "full");
            assert_int_equal(graft_runlog_count(log), 0);
            graft_runlog_close(log);
        }
    }
    assert_ok(graft_runlog_open(&log, NULL, &err));
    assert_error(graft_runlog_write(log, "e", NULL, &err), GRAFT_ENOMEM, "memory");
    graft_runlog_close(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(an_event_is_a_line_of_json),
        room_test(a_line_that_a_kill_cut_short_is_dropped),
        room_test(events_past_a_resume_point_are_dropped),
        room_test(without_a_path_events_are_only_counted),
        room_test(a_log_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
