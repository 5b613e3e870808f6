/* A run that is killed or cancelled at any moment and started again ends with the bits of one that was not.
 * Killed runs are processes of their own: this program started again with arguments. */
#include "toy.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char RESUME[] = "checkpoint/resume.safetensors";

/* ---- The process that is killed ----------------------------------------------------------------------------- */

typedef struct plan {
    int micro_batch;
    double interval;
    int delay; /* microseconds a batch, so that a kill falls somewhere */
    double ema, swa;
} plan;

static int run_in(const char *dir, const plan *p, graft_env *env) {
    graft_err err = {0};
    graft_buf out;
    graft_runlog *log = NULL;
    graft_arena *arena = graft_arena_new(NULL);
    toy t = toy_new(arena, env);
    t.recipe.micro_batch = p->micro_batch;
    t.recipe.ema = p->ema;
    t.recipe.swa = p->swa;
    t.io.checkpoint_dir = graft_path_join(arena, dir, "checkpoint");
    t.io.checkpoint_seconds = p->interval;
    ((toy_data *)t.train.self)->delay = (unsigned)p->delay;
    ((toy_data *)t.validation.self)->delay = (unsigned)p->delay;
    int rc = graft_runlog_open(&log, graft_path_join(arena, dir, "run.jsonl"), &err);
    t.io.log = log;
    if (rc == 0) rc = toy_run(&t, &err);
    if (rc == 0) {
        graft_buf_init(&out, 0);
        toy_bytes(&t, &out);
        rc = graft_file_write(graft_path_join(arena, dir, "result"), out.data, out.size, &err);
        graft_buf_done(&out);
    } else if (rc != GRAFT_EINTERRUPTED) {
        fprintf(stderr, "%s\n", err.message);
    }
    toy_done(&t);
    graft_runlog_close(log);
    graft_arena_free(arena);
    return rc;
}

static int child(char **argv) {
    graft_env *env = NULL;
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    plan p = {atoi(argv[3]), strtod(argv[4], NULL), atoi(argv[5]), strtod(argv[6], NULL),
              strtod(argv[7], NULL)};
    o.threads = 1;
    if (graft_env_new(&env, &o, NULL) < 0) return 1;
    int rc = run_in(argv[2], &p, env);
    graft_env_free(env);
    return rc == 0 ? 0 : 1;
}

/* ---- Starting and killing it -------------------------------------------------------------------------------- */

static pid_t start(const char *dir, const plan *p) {
    char micro[16], interval[40], delay[16], ema[40], swa[40];
    snprintf(micro, sizeof micro, "%d", p->micro_batch);
    snprintf(interval, sizeof interval, "%.9g", p->interval);
    snprintf(delay, sizeof delay, "%d", p->delay);
    snprintf(ema, sizeof ema, "%.9g", p->ema);
    snprintf(swa, sizeof swa, "%.9g", p->swa);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test_resume", "run", dir, micro, interval, delay, ema, swa, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static int wait_for(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static const char *bytes_of(room *r, const char *path, size_t *size) {
    char *text = NULL;
    graft_err err = {0};
    assert_ok(graft_file_read(&text, size, r->arena, path, (size_t)1 << 28, &err));
    return text;
}

static void assert_same_file(room *r, const char *a, const char *b) {
    size_t n = 0, m = 0;
    const char *x = bytes_of(r, a, &n), *y = bytes_of(r, b, &m);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s (%zu bytes) differs from %s (%zu bytes)", a, n, b, m);
}

/* The run's log without what the clock says. */
static void assert_same_log(room *r, const char *a, const char *b) {
    size_t n = 0;
    const char *text[2] = {bytes_of(r, a, &n), bytes_of(r, b, &n)};
    for (int line = 1; *text[0] || *text[1]; line++) {
        json_t *o[2];
        for (int i = 0; i < 2; i++) {
            size_t length = strcspn(text[i], "\n");
            o[i] = json_loadb(text[i], length, 0, NULL);
            if (!o[i]) fail_msg("line %d of %s is no JSON", line, i ? b : a);
            json_object_del(o[i], "seconds");
            text[i] += length + (text[i][length] == '\n');
        }
        if (!json_equal(o[0], o[1])) fail_msg("line %d of %s differs", line, a);
        json_decref(o[0]);
        json_decref(o[1]);
    }
}

static const char *new_dir(room *r, const char *name) {
    graft_err err = {0};
    const char *dir = in_room(r, name);
    assert_ok(graft_dir_make(dir, &err));
    return dir;
}

static const char *whole_run(room *r, const char *name, const plan *p) {
    const char *dir = new_dir(r, name);
    plan quiet = {p->micro_batch, 1e6, 0, p->ema, p->swa};
    assert_int_equal(wait_for(start(dir, &quiet)), 0);
    return dir;
}

/* Waits until the process has written a resume point that was not there before, or has ended. */
static bool wait_for_point(pid_t pid, const char *path, ino_t before) {
    struct stat s;
    siginfo_t info = {0};
    for (;;) {
        if (stat(path, &s) == 0 && s.st_ino != before) return true;
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
            return false;
        usleep(500);
    }
}

/* Starts the run again and again; kills it at once the first time, then some moments after it came further.
 */
static void kill_until_done(room *r, plan p, uint64_t seed) {
    p.interval = 1e-9;
    p.delay = 3000;
    graft_rng rng = graft_rng_at(seed, 0, 0, GRAFT_RNG_TEST);
    const char *whole = whole_run(r, graft_arena_printf(r->arena, "whole%d", (int)seed), &p);
    const char *dir = new_dir(r, graft_arena_printf(r->arena, "killed%d", (int)seed));
    const char *point = file_of(r, dir, RESUME);
    int n_kills = 0, n_resumed = 0, status;
    do {
        struct stat s = {0};
        n_resumed += stat(point, &s) == 0;
        pid_t pid = start(dir, &p);
        if (n_kills == 0 || (n_kills < 9 && wait_for_point(pid, point, s.st_ino))) {
            usleep((unsigned)(graft_rng_uniform(&rng) * 25000));
            kill(pid, SIGKILL);
            n_kills++;
        }
        status = wait_for(pid);
    } while (WIFSIGNALED(status));
    assert_int_equal(status, 0);
    print_message("micro-batch %d: %d kills, %d starts from a resume point\n", p.micro_batch, n_kills,
                  n_resumed);
    assert_true(n_kills >= 3 && n_resumed >= 2);
    assert_same_file(r, file_of(r, dir, "result"), file_of(r, whole, "result"));
    assert_same_log(r, file_of(r, dir, "run.jsonl"), file_of(r, whole, "run.jsonl"));
}

static void a_killed_run_ends_with_the_same_bits(void **state) {
    kill_until_done(*state, (plan){.micro_batch = TOY_BATCH}, 1);
}

static void a_killed_run_of_micro_batches_ends_with_the_same_bits(void **state) {
    kill_until_done(*state, (plan){.micro_batch = 3}, 2);
}

static void a_killed_run_with_an_average_ends_with_the_same_bits(void **state) {
    kill_until_done(*state, (plan){.micro_batch = TOY_BATCH, .ema = 0.9}, 3);
    kill_until_done(*state, (plan){.micro_batch = TOY_BATCH, .swa = 0.6}, 4);
}

/* ---- Cancelling --------------------------------------------------------------------------------------------- */

typedef struct canceller {
    graft_env *env;
    int left;
    graft_buf log;
} canceller;

static void cancel_in_time(void *user, const graft_progress *p) {
    canceller *c = user;
    (void)p;
    if (--c->left == 0) graft_env_cancel(c->env);
}

static void keep_log(void *user, graft_log_level level, const char *line) {
    canceller *c = user;
    if (level == GRAFT_LOG_WARNING) graft_buf_printf(&c->log, "%s\n", line);
}

/* Runs in `dir`, cancelled after the n-th update (0: not at all). The warnings stay in *log where it is asked
 * for. */
static int run_cancelled(const char *dir, const plan *p, int n, graft_buf *log) {
    canceller c = {.left = n};
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    graft_err err = {0};
    o.threads = 1;
    o.progress = cancel_in_time;
    o.log = keep_log;
    o.user = &c;
    graft_buf_init(&c.log, 0);
    assert_ok(graft_env_new(&c.env, &o, &err));
    int rc = run_in(dir, p, c.env);
    graft_env_free(c.env);
    if (log)
        *log = c.log;
    else
        graft_buf_done(&c.log);
    return rc;
}

static void a_cancelled_run_ends_with_the_same_bits(void **state) {
    room *r = *state;
    plan p = {TOY_BATCH, 1e6, 0};
    const char *whole = whole_run(r, "whole", &p), *dir = new_dir(r, "cancelled");
    static const int after[] = {1, 3, 4, 8, 5};
    int n_left = 24;
    for (size_t i = 0; i < GRAFT_COUNT(after); i++) {
        assert_int_equal(run_cancelled(dir, &p, after[i], NULL), GRAFT_EINTERRUPTED);
        assert_true(graft_path_is_file(file_of(r, dir, RESUME)));
        n_left -= after[i];
    }
    assert_int_equal(run_cancelled(dir, &p, n_left + 1, NULL),
                     0); /* it makes just the updates that are left */
    assert_same_file(r, file_of(r, dir, "result"), file_of(r, whole, "result"));
    assert_same_log(r, file_of(r, dir, "run.jsonl"), file_of(r, whole, "run.jsonl"));
}

static void how_often_a_resume_point_is_written_changes_nothing(void **state) {
    room *r = *state;
    plan never = {TOY_BATCH, 1e6, 0}, always = {TOY_BATCH, 1e-9, 0};
    const char *one = new_dir(r, "never"), *two = new_dir(r, "always");
    assert_int_equal(run_cancelled(one, &never, 0, NULL), 0);
    assert_int_equal(run_cancelled(two, &always, 0, NULL), 0);
    assert_false(graft_path_is_file(file_of(r, one, RESUME)));
    assert_true(graft_path_is_file(file_of(r, two, RESUME)));
    assert_same_file(r, file_of(r, one, "result"), file_of(r, two, "result"));
}

/* ---- Resume points that are of no use ----------------------------------------------------------------------- */

/* Runs in `dir`, whose resume point was damaged: a warning that holds `text`, and the whole run's bits. */
static void assert_ignored(room *r, const char *dir, const char *whole, const char *text) {
    plan p = {TOY_BATCH, 1e6, 0};
    graft_buf log;
    assert_int_equal(run_cancelled(dir, &p, 0, &log), 0);
    if (!log.data || !strstr(log.data, "is ignored")) fail_msg("no warning for %s", text);
    if (!strstr(log.data, text)) fail_msg("'%s' is not in '%s'", text, log.data);
    assert_same_file(r, file_of(r, dir, "result"), file_of(r, whole, "result"));
    graft_buf_done(&log);
}

static const char *interrupted(room *r, const char *name) {
    plan p = {TOY_BATCH, 1e6, 0};
    const char *dir = new_dir(r, name);
    assert_int_equal(run_cancelled(dir, &p, 6, NULL), GRAFT_EINTERRUPTED);
    return dir;
}

static void truncated_and_damaged_resume_points_are_ignored(void **state) {
    room *r = *state;
    graft_err err = {0};
    plan p = {TOY_BATCH, 1e6, 0};
    const char *whole = whole_run(r, "whole", &p), *dir = interrupted(r, "cut"),
               *path = file_of(r, dir, RESUME);
    size_t size = 0;
    const char *bytes = bytes_of(r, path, &size);
    const size_t sizes[] = {0, 5, 200, size / 2, size - 1};
    for (size_t i = 0; i < GRAFT_COUNT(sizes); i++) {
        assert_ok(graft_file_write(path, bytes, sizes[i], &err));
        assert_ignored(r, dir, whole, "resume.safetensors");
    }
}

/* Writes the resume point again with one thing changed in what it says of the run, or without one tensor. */
static void change(room *r, const char *dir, const char *key, json_t *value, const char *without) {
    graft_err err = {0};
    graft_tensors ts;
    const char *path = file_of(r, dir, RESUME);
    graft_arena *arena = graft_arena_new(NULL);
    assert_ok(graft_safetensors_open(&ts, arena, path, &err));
    graft_tensor *run = tensor_named(&ts, "run");
    json_t *o = json_loadb(run->data, run->size, 0, NULL);
    assert_non_null(o);
    if (key) json_object_set_new(o, key, value);
    char *text = json_dumps(o, JSON_COMPACT);
    run->data = text;
    run->size = strlen(text);
    run->shape.dims[0] = (int64_t)run->size;
    if (without) drop_tensor(&ts, without);
    assert_ok(graft_safetensors_write(path, ts.items, ts.n_items, NULL, &err));
    free(text);
    json_decref(o);
    graft_arena_free(arena);
}

static void foreign_and_lying_resume_points_are_ignored(void **state) {
    room *r = *state;
    plan p = {TOY_BATCH, 1e6, 0};
    const char *whole = whole_run(r, "whole", &p);
    static const struct {
        const char *key, *value, *without, *says;
    } cases[] = {
        {"identity", "\"0123456789abcdef0123456789abcdef\"", NULL, "other data or options"},
        {"identity", "null", NULL, "other data or options"},
        {"epoch", "-1", NULL, "no place"},
        {"epoch", "1000000", NULL, "no place"},
        {"batch", "77", NULL, "no place"},
        {"update", "3", NULL, "no place"},
        {"best_epoch", "5", NULL, "no place"},
        {"history", "[]", NULL, "no place"},
        {NULL, "null", "state/conv1.weight", "missing"},
        {NULL, "null", "best/conv1.weight", "missing"},
        {NULL, "null", "run", "where the run stood"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        const char *dir = interrupted(r, graft_arena_printf(r->arena, "lying%zu", i));
        change(r, dir, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL), cases[i].without);
        assert_ignored(r, dir, whole, cases[i].says);
    }
}

/* ---- A disk that is full ------------------------------------------------------------------------------------ */

static void a_full_disk_costs_no_run_and_no_older_resume_point(void **state) {
    room *r = *state;
    plan quiet = {TOY_BATCH, 1e6, 0}, always = {TOY_BATCH, 1e-9, 0};
    const char *whole = whole_run(r, "whole", &quiet), *dir = interrupted(r, "full");
    const char *path = file_of(r, dir, RESUME);
    size_t size = 0, after = 0;
    const char *before = bytes_of(r, path, &size);
    struct rlimit limit, small;
    graft_buf log;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = size / 2; /* a resume point does not fit, the small result and the log do */
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = run_cancelled(dir, &always, 7, &log);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, old);
    assert_int_equal(rc, GRAFT_EINTERRUPTED);
    assert_non_null(strstr(log.data, "no resume point was written"));
    graft_buf_done(&log);
    const char *kept = bytes_of(r, path, &after);
    assert_int_equal(after, size);
    assert_memory_equal(kept, before, size);
    char **names;
    size_t n;
    assert_int_equal(graft_dir_list(&names, &n, r->arena, file_of(r, dir, "checkpoint"), NULL), 0);
    assert_int_equal(n, 1); /* nothing half-written lies about */
    assert_int_equal(run_cancelled(dir, &quiet, 0, NULL), 0);
    assert_same_file(r, file_of(r, dir, "result"), file_of(r, whole, "result"));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        room_test(a_killed_run_ends_with_the_same_bits),
        room_test(a_killed_run_of_micro_batches_ends_with_the_same_bits),
        room_test(a_killed_run_with_an_average_ends_with_the_same_bits),
        room_test(a_cancelled_run_ends_with_the_same_bits),
        room_test(how_often_a_resume_point_is_written_changes_nothing),
        room_test(truncated_and_damaged_resume_points_are_ignored),
        room_test(foreign_and_lying_resume_points_are_ignored),
        room_test(a_full_disk_costs_no_run_and_no_older_resume_point),
    };
    if (argc == 8 && !strcmp(argv[1], "run")) return child(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
