/* Comparisons: which runs are made, what they are judged by, and that nothing is lost when one is
 * interrupted. */
#include "transfer/compare/compare.h"
#include "transfer/fit_room.h"
#include <stdatomic.h>
#include <unistd.h>

static graft_compare_options short_runs(void) {
    graft_compare_options o = GRAFT_COMPARE_OPTIONS_INIT;
    o.plans = "scratch,head,full";
    o.per_class = "4,all";
    o.seeds = 2;
    o.fit.epochs = 1;
    o.fit.batch = 8;
    return o;
}

static json_t *compared(room *r, const char *out, const graft_compare_options *o) {
    graft_err err = {0};
    char *text = NULL;
    json_t *result = NULL;
    if (graft_compare(&text, r->env, MODEL, PICTURES, out, o, &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(graft_json_parse(&result, r->arena, text, strlen(text), "result", &err), 0);
    graft_text_free(text);
    return result;
}

static void every_plan_sees_every_size_and_seed(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    json_t *result = compared(r, NULL, &o);
    const json_t *runs = json_object_get(result, "runs");
    assert_int_equal(json_array_size(runs), 3 * 2 * 2);
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        bool all = json_integer_value(json_object_get(run, "per_class")) == 0;
        assert_int_equal(json_integer_value(json_object_get(run, "labels")), all ? 24 : 8);
    }
    assert_int_equal(json_integer_value(json_object_get(result, "n_test")), 8);
    assert_string_equal(json_string_value(json_object_get(result, "test")), "given");
    const json_t *plan = json_array_get(json_object_get(result, "plans"), 1);
    const json_t *score = json_object_get(plan, "score");
    double mean = json_number_value(json_object_get(score, "mean"));
    assert_int_equal(json_integer_value(json_object_get(score, "n")), 2);
    assert_true(json_number_value(json_object_get(score, "low")) <= mean);
    assert_true(json_number_value(json_object_get(score, "high")) <= 1.0);
    assert_non_null(json_string_value(json_object_get(json_object_get(result, "conclusion"), "text")));
    assert_non_null(strstr(json_string_value(json_object_get(plan, "curve_problem")), "three sizes"));
}

static void with_threads(room *r, int threads) {
    const graft_env_options options = {.threads = threads, .log = keep_log, .user = r};
    graft_env_free(r->env);
    assert_int_equal(graft_env_new(&r->env, &options, NULL), 0);
    r->log[0] = '\0';
}

static void check_same_runs(const json_t *x, const json_t *y) {
    json_t *a = json_object_get(x, "runs"), *b = json_object_get(y, "runs");
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++) {
        const char *const keys[] = {"plan", "seed", "per_class", "test", "validation", "best_epoch"};
        for (size_t k = 0; k < GRAFT_COUNT(keys); k++)
            assert_true(json_equal(json_object_get(json_array_get(a, i), keys[k]),
                                   json_object_get(json_array_get(b, i), keys[k])));
    }
}

static void an_interrupted_comparison_goes_on_and_says_the_same(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    graft_err err = {0};
    json_t *whole = compared(r, NULL, &o);
    r->cancel_after = 3;
    assert_int_equal(graft_compare(NULL, r->env, MODEL, PICTURES, r->out, &o, &err), GRAFT_EINTERRUPTED);
    with_threads(r, 1);
    json_t *resumed = compared(r, r->out, &o);
    assert_non_null(strstr(r->log, "3 finished runs are taken from"));
    check_same_runs(whole, resumed);
    assert_true(json_equal(json_object_get(whole, "conclusion"), json_object_get(resumed, "conclusion")));
    assert_true(json_equal(json_object_get(whole, "label_next"), json_object_get(resumed, "label_next")));
}

static void runs_side_by_side_show_what_they_show_alone(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    with_threads(r, 1);
    json_t *alone = compared(r, NULL, &o);
    assert_null(strstr(r->log, "side by side"));
    with_threads(r, 3);
    o.jobs = 3;
    json_t *together = compared(r, NULL, &o);
    assert_non_null(strstr(r->log, "3 runs side by side, 1 thread each"));
    check_same_runs(alone, together);
    assert_true(json_equal(json_object_get(alone, "conclusion"), json_object_get(together, "conclusion")));
}

/* Else the runs that are left would have other bits than in a comparison that went through. */
static void a_comparison_that_is_taken_up_shares_the_threads_as_before(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.plans = "head";
    o.per_class = "all";
    o.jobs = 2;
    with_threads(r, 2);
    compared(r, r->out, &o);
    const char *path = graft_path_join(r->arena, r->out, "runs.jsonl");
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(graft_file_read(&text, &size, r->arena, path, 1 << 24, NULL), 0);
    assert_int_equal(truncate(path, strchr(text, '\n') + 1 - text), 0);
    r->log[0] = '\0';
    compared(r, r->out, &o);
    assert_non_null(strstr(r->log, "1 finished runs are taken from"));
    assert_non_null(strstr(r->log, "2 runs side by side, 1 thread each"));
}

typedef struct listener {
    atomic_int inside, most, n;
} listener;

static void listen(listener *l) {
    int inside = atomic_fetch_add(&l->inside, 1) + 1;
    if (inside > atomic_load(&l->most)) atomic_store(&l->most, inside);
    atomic_fetch_add(&l->n, 1);
    usleep(20000);
    atomic_fetch_sub(&l->inside, 1);
}

static void listen_to_log(void *user, graft_log_level level, const char *line) {
    (void)level;
    (void)line;
    listen(user);
}

static void listen_to_progress(void *user, const graft_progress *p) {
    (void)p;
    listen(user);
}

static void runs_side_by_side_speak_one_at_a_time(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    listener l = {0};
    const graft_env_options options = {
        .threads = 3, .log = listen_to_log, .progress = listen_to_progress, .user = &l};
    o.jobs = 3;
    graft_env_free(r->env);
    assert_int_equal(graft_env_new(&r->env, &options, NULL), 0);
    compared(r, NULL, &o);
    assert_true(atomic_load(&l.n) > 12);
    assert_int_equal(atomic_load(&l.most), 1);
}

/* The model that is made of word vectors is one that runs of another comparison may be reading. */
static void a_folder_in_use_is_left_as_it_is(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    graft_err err = {0};
    const char vectors[] = "2 2\nred 0.1 0.2\nblue 0.2 0.1\n", texts[] = "a\tred\nb\tblue\n";
    const char *file = graft_path_join(r->arena, r->folder, "tiny.vec");
    const char *data = graft_path_join(r->arena, r->folder, "texts.tsv");
    int lock = -1;
    assert_int_equal(graft_file_write(file, vectors, sizeof vectors - 1, NULL), 0);
    assert_int_equal(graft_file_write(data, texts, sizeof texts - 1, NULL), 0);
    assert_int_equal(graft_dir_make(r->out, NULL), 0);
    assert_int_equal(graft_dir_lock(&lock, r->out, NULL), 0);
    assert_int_equal(graft_compare(NULL, r->env, file, data, r->out, &o, &err), GRAFT_EIO);
    assert_non_null(strstr(err.message, "in use by another run"));
    assert_false(graft_path_is_dir(graft_path_join(r->arena, r->out, "model")));
    graft_dir_unlock(lock);
}

static void other_options_are_another_comparison(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.plans = "head";
    o.per_class = "all";
    o.seeds = 1;
    compared(r, r->out, &o);
    compared(r, r->out, &o);
    assert_non_null(strstr(r->log, "1 finished run"));
    r->log[0] = '\0';
    o.fit.regular.ema = 0.5;
    compared(r, r->out, &o);
    assert_null(strstr(r->log, "finished run"));
}

/* A record that names samples or classes that are not there is no record. */
static void a_record_that_lies_is_made_again(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.plans = "head";
    o.per_class = "all";
    o.seeds = 1;
    compared(r, r->out, &o);
    static const char *const changes[][2] = {{"\"doubts\":[[", "\"doubts\":[[9999999,0,0.5],["},
                                             {"\"losses\":\"", "\"losses\":\"1"},
                                             {"\"score\":", "\"score\":null,\"other\":"},
                                             {"{", "{{"}};
    char *path = graft_path_join(r->arena, r->out, "runs.jsonl"), *text = NULL;
    size_t size = 0;
    graft_err err = {0};
    assert_int_equal(graft_file_read(&text, &size, r->arena, path, 1 << 20, &err), 0);
    for (size_t i = 0; i < GRAFT_COUNT(changes); i++) {
        char *at = strstr(text, changes[i][0]);
        assert_non_null(at);
        char *changed = graft_arena_printf(r->arena, "%.*s%s%s", (int)(at - text), text, changes[i][1],
                                           at + strlen(changes[i][0]));
        assert_int_equal(graft_file_write(path, changed, strlen(changed), &err), 0);
        r->log[0] = '\0';
        compared(r, r->out, &o);
        assert_null(strstr(r->log, "are taken from"));
        assert_non_null(strstr(r->log, "1 of 1: head"));
    }
}

static void other_options_are_other_runs(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.plans = "head";
    o.seeds = 1;
    compared(r, r->out, &o);
    o.fit.epochs = 2;
    r->log[0] = '\0';
    compared(r, r->out, &o);
    assert_null(strstr(r->log, "are taken from"));
}

/* Rewrites the finished runs: each answers all of the eight test samples rightly where its place in `right`
 * has a '1', else none. The places: scratch, head, full on all labels; the same on four a class. */
static void pretend(room *r, const char *right) {
    char *path = graft_path_join(r->arena, r->out, "runs.jsonl"), *text = NULL;
    size_t size = 0;
    graft_err err = {0};
    graft_buf b;
    graft_buf_init(&b, 0);
    assert_int_equal(graft_file_read(&text, &size, r->arena, path, 1 << 20, &err), 0);
    for (char *line; (line = strsep(&text, "\n")) && *line;) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        const char *plan = json_string_value(json_object_get(o, "plan"));
        size_t at = strcmp(plan, "scratch") == 0 ? 0 : strcmp(plan, "head") == 0 ? 1 : 2;
        bool is_right = right[at + (json_integer_value(json_object_get(o, "per_class")) ? 3 : 0)] == '1';
        assert_int_equal(json_string_length(json_object_get(o, "losses")), 8);
        json_object_set_new(o, "losses", json_string(is_right ? "00000000" : "11111111"));
        json_object_set_new(o, "score", json_real(is_right ? 1.0 : 0.0));
        char *changed = json_dumps(o, JSON_COMPACT);
        graft_buf_printf(&b, "%s\n", changed);
        free(changed);
        json_decref(o);
    }
    assert_int_equal(graft_file_write(path, b.data, b.size, &err), 0);
    graft_buf_done(&b);
}

static void the_tests_decide_the_conclusion(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.seeds = 1;
    compared(r, r->out, &o);
    static const struct {
        const char *right;
        const char *verdict, *plan, *text;
    } cases[] = {
        {"011011", "a linear head is enough", "head", "Transfer is worth +100.0 points"},
        {"001001", "fine-tuning is worth it", "full", "Fine-tuning by 'full' is worth +100.0 points"},
        {"100100", "transfer does not help", "scratch", "training from scratch is 100.0 points better"},
        {"111111", "transfer does not help", "head", "within chance (p = 1.00)"},
        {"111011", "a linear head is enough", "head", "with 4 a class it is worth +100.0 points"},
        {"000000", "nothing was learned", NULL, "always giving one answer 50.0 %"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        pretend(r, cases[i].right);
        r->log[0] = '\0';
        const json_t *conclusion = json_object_get(compared(r, r->out, &o), "conclusion");
        const char *text = json_string_value(json_object_get(conclusion, "text"));
        assert_non_null(strstr(r->log, "6 finished runs are taken from"));
        assert_string_equal(json_string_value(json_object_get(conclusion, "verdict")), cases[i].verdict);
        if (!strstr(text, cases[i].text)) fail_msg("'%s' does not say '%s'", text, cases[i].text);
        if (cases[i].plan)
            assert_string_equal(json_string_value(json_object_get(conclusion, "plan")), cases[i].plan);
    }
}

static void arguments_of_a_plan_stay_with_it(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    graft_err err = {0};
    o.plans = "head, nothing:r=8,alpha=16";
    assert_int_equal(graft_compare(NULL, r->env, MODEL, PICTURES, NULL, &o, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "nothing:r=8,alpha=16"));
    o.plans = "head;head@1,full;head@1,full";
    assert_int_equal(graft_compare(NULL, r->env, MODEL, PICTURES, NULL, &o, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "'head@1,full' twice"));
}

static void a_schedule_is_one_plan(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.plans = "head@1,full,head";
    o.per_class = "all";
    o.seeds = 1;
    o.fit.epochs = 2;
    json_t *result = compared(r, NULL, &o);
    const json_t *plans = json_object_get(result, "plans");
    assert_int_equal(json_array_size(plans), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(plans, 0), "plan")), "head@1,full");
}

/* Rates of the backbone that no number can follow. */
static graft_compare_options runaway(void) {
    graft_compare_options o = short_runs();
    o.plans = "full,head";
    o.fit.lr = 0.01;
    o.fit.backbone_lr_scale = 1e30;
    o.fit.clip_norm = -1;
    o.fit.optimizer = "sgd";
    return o;
}

static void a_plan_that_diverges_is_left_out_and_the_others_go_on(void **state) {
    room *r = *state;
    graft_compare_options o = runaway();
    json_t *result = compared(r, r->out, &o);
    const json_t *full = json_array_get(json_object_get(result, "plans"), 0);
    const json_t *head = json_array_get(json_object_get(result, "plans"), 1);
    const char *why = json_string_value(json_object_get(full, "diverged"));
    assert_non_null(why);
    assert_non_null(strstr(why, "not finite at epoch 1"));
    assert_true(json_is_null(json_object_get(head, "diverged")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(head, "score"), "n")), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(full, "score"), "n")), 0);
    assert_string_equal(json_string_value(json_object_get(result, "best")), "head");
    /* once is enough: its other seed and size are not run */
    assert_int_equal(json_array_size(json_object_get(result, "runs")), 1 + 4);
    assert_non_null(strstr(r->log, "diverged: the loss is not finite at epoch 1"));
    const char *text = json_string_value(json_object_get(json_object_get(result, "conclusion"), "text"));
    assert_non_null(strstr(text, "'full' diverged and is left out."));
    r->log[0] = '\0';
    json_t *again = compared(r, r->out, &o);
    assert_non_null(strstr(r->log, "5 finished runs are taken from"));
    assert_true(json_equal(json_object_get(result, "conclusion"), json_object_get(again, "conclusion")));
}

static void when_every_plan_diverges_it_is_an_error(void **state) {
    room *r = *state;
    graft_compare_options o = runaway();
    graft_err err = {0};
    o.plans = "full";
    assert_int_equal(graft_compare(NULL, r->env, MODEL, PICTURES, NULL, &o, &err), GRAFT_EDIVERGED);
    assert_non_null(strstr(err.message, "the plan diverged, 'full' with: the loss is not finite at epoch 1"));
}

static void commas_of_adapters_part_no_plans(void **state) {
    room *r = *state;
    graft_compare_options o = short_runs();
    o.plans = "head,lora:r=2,rslora,alpha=4";
    o.per_class = "all";
    o.seeds = 1;
    const json_t *plans = json_object_get(compared(r, NULL, &o), "plans");
    assert_int_equal(json_array_size(plans), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(plans, 1), "plan")),
                        "lora:r=2,rslora,alpha=4");
}

static void options_begin_as_the_initialiser_says(void **state) {
    (void)state;
    graft_compare_options o = GRAFT_COMPARE_OPTIONS_INIT;
    graft_fit_options fit = GRAFT_FIT_OPTIONS_INIT;
    assert_memory_equal(&o.fit, &fit, sizeof fit);
    assert_true(!o.plans && !o.per_class && o.seeds == 0 && o.budget == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fit_test(every_plan_sees_every_size_and_seed),
        fit_test(other_options_are_another_comparison),
        fit_test(an_interrupted_comparison_goes_on_and_says_the_same),
        fit_test(runs_side_by_side_show_what_they_show_alone),
        fit_test(a_comparison_that_is_taken_up_shares_the_threads_as_before),
        fit_test(runs_side_by_side_speak_one_at_a_time),
        fit_test(a_folder_in_use_is_left_as_it_is),
        fit_test(a_record_that_lies_is_made_again),
        fit_test(other_options_are_other_runs),
        fit_test(the_tests_decide_the_conclusion),
        fit_test(arguments_of_a_plan_stay_with_it),
        fit_test(a_schedule_is_one_plan),
        fit_test(a_plan_that_diverges_is_left_out_and_the_others_go_on),
        fit_test(when_every_plan_diverges_it_is_an_error),
        fit_test(commas_of_adapters_part_no_plans),
        fit_test(options_begin_as_the_initialiser_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
