/* Event files byte by byte: records, checksums, the fields of an Event. TensorBoard itself read
 * such files (2.21). */
#include "learn/tensorboard.h"
#include "model/model_room.h"

#include <dirent.h>

/* The one event file of a folder. */
static const char *bytes_of(room *r, const char *folder, size_t *size) {
    char *text = NULL;
    const char *path = NULL;
    graft_err err = {0};
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (strstr(e->d_name, "events.out.tfevents.")) path = graft_path_join(r->arena, folder, e->d_name);
    closedir(dir);
    assert_non_null(path);
    assert_ok(graft_file_read(&text, size, r->arena, path, 1 << 20, &err));
    return text;
}

/* Length of the record at `at`; its bytes begin 12 later and 4 of checksum end it. */
static size_t record(const char *bytes, size_t size, size_t at) {
    uint64_t n;
    assert_true(at + 16 <= size);
    memcpy(&n, bytes + at, sizeof n);
    assert_true(at + 16 + n <= size);
    return (size_t)n;
}

static void points_are_records_of_events(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensorboard *t = NULL;
    const char *folder = in_room(r, "board");
    json_t *fields =
        json_pack("{s:i,s:f,s:f,s:s}", "epoch", 3, "loss", 0.5, "val_loss", 0.25, "event", "epoch");
    assert_ok(graft_tensorboard_open(&t, folder, 3, &err));
    assert_ok(graft_tensorboard_write(t, 3, fields, &err));
    graft_tensorboard_close(t);
    json_decref(fields);
    size_t size = 0, at = 0, n;
    const char *bytes = bytes_of(r, folder, &size);
    n = record(bytes, size, at); /* wall_time, step 0, file_version */
    assert_int_equal(n, 9 + 2 + 2 + 13);
    assert_memory_equal(bytes + 12 + 13, "brain.Event:2", 13);
    at += 16 + n;
    n = record(bytes, size, at); /* wall_time, step 3, session_log of START */
    assert_int_equal(n, 9 + 2 + 2 + 2);
    assert_memory_equal(bytes + at + 12 + 9, "\x10\x03\x3a\x02\x08\x01", 6);
    at += 16 + n;
    n = record(bytes, size, at);
    const char *summary = bytes + at + 12 + 11;
    static const char loss[] = "\x0a\x11\x0a\x0aloss/train\x15\x00\x00\x00\x3f"
                               "\x0a\x16\x0a\x0floss/validation\x15\x00\x00\x80\x3e";
    assert_int_equal(n, 11 + 2 + sizeof loss - 1);
    assert_memory_equal(summary + 2, loss, sizeof loss - 1);
    assert_int_equal(at + 16 + n, size);
}

/* The four bytes are what TensorFlow writes after the length 26. */
static void checksums_are_those_of_tensorflow(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensorboard *t = NULL;
    const char *folder = in_room(r, "sums");
    assert_ok(graft_tensorboard_open(&t, folder, 1, &err));
    graft_tensorboard_close(t);
    size_t size = 0;
    const char *bytes = bytes_of(r, folder, &size);
    assert_memory_equal(bytes, "\x1a\x00\x00\x00\x00\x00\x00\x00\x12\x9b\xd8\x2d", 12);
}

static void two_files_of_one_second_have_names_of_their_own(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensorboard *a = NULL, *b = NULL;
    assert_ok(graft_tensorboard_open(&a, in_room(r, "two"), 1, &err));
    assert_ok(graft_tensorboard_open(&b, in_room(r, "two"), 1, &err));
    graft_tensorboard_close(a);
    graft_tensorboard_close(b);
    assert_int_equal(graft_tensorboard_open(&a, "/proc/none", 1, &err), GRAFT_EIO);
    assert_null(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(points_are_records_of_events),
        room_test(checksums_are_those_of_tensorflow),
        room_test(two_files_of_one_second_have_names_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
