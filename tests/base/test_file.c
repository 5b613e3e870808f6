#include "base/base.h"

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct room {
    graft_arena *arena;
    char dir[64];
} room;

static int room_setup(void **state) {
    room *r = calloc(1, sizeof *r);
    if (!r) return -1;
    snprintf(r->dir, sizeof r->dir, "/tmp/graft-test-XXXXXX");
    r->arena = graft_arena_new(NULL);
    *state = r;
    return mkdtemp(r->dir) ? 0 : -1;
}

static int room_teardown(void **state) {
    room *r = *state;
    int rc = graft_dir_remove(r->dir, NULL);
    graft_arena_free(r->arena);
    free(r);
    return rc;
}

static const char *in_room(room *r, const char *name) {
    return graft_path_join(r->arena, r->dir, name);
}

static size_t names_in_room(room *r) {
    char **names;
    size_t n;
    assert_int_equal(graft_dir_list(&names, &n, r->arena, r->dir, NULL), 0);
    return n;
}

static void a_file_is_written_read_mapped_and_copied(void **state) {
    room *r = *state;
    graft_err err;
    char *text;
    size_t size;
    graft_mapped map;
    const char *path = in_room(r, "a.txt"), *copy = in_room(r, "b.txt");
    enum { SIZE = 300000 };
    char *data = graft_arena_alloc(r->arena, SIZE);
    for (size_t i = 0; i < SIZE; i++) data[i] = (char)(i % 251);
    assert_int_equal(graft_file_write(path, data, SIZE, &err), 0);
    assert_int_equal(graft_file_copy(path, copy, &err), 0);
    assert_int_equal(graft_file_read(&text, &size, r->arena, copy, SIZE, &err), 0);
    assert_int_equal(size, SIZE);
    assert_memory_equal(text, data, SIZE);
    assert_int_equal(graft_file_map(&map, r->arena, copy, &err), 0);
    assert_int_equal(map.size, SIZE);
    assert_memory_equal(map.data, data, SIZE);
    assert_int_equal(names_in_room(r), 2);
}

static void an_empty_file_maps_to_nothing(void **state) {
    room *r = *state;
    graft_mapped map;
    char *text;
    size_t size;
    assert_int_equal(graft_file_write(in_room(r, "empty"), NULL, 0, NULL), 0);
    assert_int_equal(graft_file_map(&map, r->arena, in_room(r, "empty"), NULL), 0);
    assert_null(map.data);
    assert_int_equal(map.size, 0);
    assert_int_equal(graft_file_read(&text, &size, r->arena, in_room(r, "empty"), 10, NULL), 0);
    assert_string_equal(text, "");
    assert_int_equal(size, 0);
}

static void reading_names_what_cannot_be_read(void **state) {
    room *r = *state;
    graft_err err;
    graft_mapped map;
    char *text;
    size_t size;
    assert_int_equal(graft_file_map(&map, r->arena, in_room(r, "absent"), &err), GRAFT_EIO);
    assert_non_null(strstr(err.message, "absent': No such file"));
    assert_int_equal(graft_file_map(&map, r->arena, r->dir, &err), GRAFT_EIO);
    assert_non_null(strstr(err.message, "Is a directory"));
    assert_int_equal(graft_file_write(in_room(r, "ten"), "0123456789", 10, NULL), 0);
    assert_int_equal(graft_file_read(&text, &size, r->arena, in_room(r, "ten"), 9, &err), GRAFT_EFORMAT);
    assert_null(text);
    assert_int_equal(graft_file_read(&text, &size, r->arena, "/proc/self/status", 3, &err), GRAFT_EFORMAT);
    assert_int_equal(graft_file_read(&text, &size, r->arena, "/proc/self/status", 100000, &err), 0);
    assert_true(size > 3);
}

static void an_aborted_write_leaves_the_old_file(void **state) {
    room *r = *state;
    graft_writer *w;
    char *text;
    size_t size;
    const char *path = in_room(r, "kept");
    assert_int_equal(graft_file_write(path, "old", 3, NULL), 0);
    assert_int_equal(graft_writer_open(&w, path, NULL), 0);
    assert_int_equal(graft_writer_write(w, "new", 3, NULL), 0);
    graft_writer_abort(w);
    graft_writer_abort(NULL);
    assert_int_equal(graft_file_read(&text, &size, r->arena, path, 10, NULL), 0);
    assert_string_equal(text, "old");
    assert_int_equal(names_in_room(r), 1);
}

/* A limit on the size of files stands in for the full disk: write(2) fails in the middle of the data alike.
 */
static void a_failing_write_leaves_the_old_file(void **state) {
    room *r = *state;
    graft_err err;
    char *text;
    size_t size;
    const char *path = in_room(r, "kept");
    static char data[200000];
    assert_int_equal(graft_file_write(path, "old", 3, NULL), 0);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int whole = graft_file_write(path, data, sizeof data, &err);
    graft_writer *w = NULL;
    int rc = graft_writer_open(&w, path, NULL);
    for (int i = 0; i < 200 && rc == 0; i++) rc = graft_writer_write(w, data, 1000, NULL);
    int end = w ? graft_writer_commit(w, &err) : 0;
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(whole, GRAFT_EIO);
    assert_int_equal(rc, GRAFT_EIO);
    assert_int_equal(end, GRAFT_EIO);
    assert_int_equal(graft_file_read(&text, &size, r->arena, path, 10, NULL), 0);
    assert_string_equal(text, "old");
    assert_int_equal(names_in_room(r), 1);
}

static void writing_into_an_absent_folder_names_the_path(void **state) {
    room *r = *state;
    graft_err err;
    assert_int_equal(graft_file_write(in_room(r, "no/where"), "x", 1, &err), GRAFT_EIO);
    assert_non_null(strstr(err.message, "no/where"));
}

static void folders_are_made_listed_and_removed(void **state) {
    room *r = *state;
    char **names;
    size_t n;
    graft_err err;
    assert_int_equal(graft_dir_make(in_room(r, "x/y/z/"), &err), 0);
    assert_int_equal(graft_dir_make(in_room(r, "x/y/z"), &err), 0);
    assert_true(graft_path_is_dir(in_room(r, "x/y/z")));
    assert_int_equal(graft_file_write(in_room(r, "x/b"), "", 0, NULL), 0);
    assert_int_equal(graft_file_write(in_room(r, "x/A"), "", 0, NULL), 0);
    assert_int_equal(graft_dir_list(&names, &n, r->arena, in_room(r, "x"), &err), 0);
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "A");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "y");
    assert_int_equal(graft_dir_make(in_room(r, "x/b/c"), &err), GRAFT_EIO);
    assert_int_equal(graft_dir_remove(in_room(r, "x"), &err), 0);
    assert_false(graft_path_is_dir(in_room(r, "x")));
    assert_int_equal(graft_dir_remove(in_room(r, "x"), &err), 0);
    assert_int_equal(graft_dir_list(&names, &n, r->arena, in_room(r, "x"), &err), GRAFT_EIO);
}

static void removing_does_not_follow_links(void **state) {
    room *r = *state;
    assert_int_equal(graft_dir_make(in_room(r, "keep"), NULL), 0);
    assert_int_equal(graft_file_write(in_room(r, "keep/file"), "x", 1, NULL), 0);
    assert_int_equal(graft_dir_make(in_room(r, "gone"), NULL), 0);
    assert_int_equal(symlink(in_room(r, "keep"), in_room(r, "gone/link")), 0);
    assert_int_equal(graft_dir_remove(in_room(r, "gone"), NULL), 0);
    assert_true(graft_path_is_file(in_room(r, "keep/file")));
    assert_int_equal(symlink(in_room(r, "keep"), in_room(r, "link")), 0);
    assert_int_equal(graft_dir_remove(in_room(r, "link"), NULL), 0);
    assert_true(graft_path_is_file(in_room(r, "keep/file")));
    assert_int_equal(names_in_room(r), 1);
}

static void paths_are_taken_apart(void **state) {
    room *r = *state;
    assert_string_equal(graft_path_join(r->arena, "a", "b"), "a/b");
    assert_string_equal(graft_path_join(r->arena, "a/", "b"), "a/b");
    assert_string_equal(graft_path_join(r->arena, "", "b"), "b");
    assert_string_equal(graft_path_name("a/b.c"), "b.c");
    assert_string_equal(graft_path_name("b"), "b");
    assert_string_equal(graft_path_extension("a.b/c.JPG"), "JPG");
    assert_string_equal(graft_path_extension("a.b/c"), "");
    assert_string_equal(graft_path_extension(".bashrc"), "");
    assert_string_equal(graft_path_extension("x.tar.gz"), "gz");
    assert_true(graft_disk_free(r->dir) > 0);
    assert_true(graft_disk_free(in_room(r, "not/yet/made")) < UINT64_MAX);
}

int main(void) {
#define IN_ROOM(test) cmocka_unit_test_setup_teardown(test, room_setup, room_teardown)
    const struct CMUnitTest tests[] = {
        IN_ROOM(a_file_is_written_read_mapped_and_copied),
        IN_ROOM(an_empty_file_maps_to_nothing),
        IN_ROOM(reading_names_what_cannot_be_read),
        IN_ROOM(an_aborted_write_leaves_the_old_file),
        IN_ROOM(a_failing_write_leaves_the_old_file),
        IN_ROOM(writing_into_an_absent_folder_names_the_path),
        IN_ROOM(folders_are_made_listed_and_removed),
        IN_ROOM(removing_does_not_follow_links),
        IN_ROOM(paths_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
