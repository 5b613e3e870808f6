/* Fits of several phases: they go on as if nothing had happened, the best of all is kept, what only a worse
 * phase moved is the file's again, and a run that is stopped anywhere ends with the same bits. */
#include "model/model_room.h"
#include "tensor/tensor.h"

#define MODEL    "tests/parity/resnet/hf_basic"
#define PICTURES "tests/cli/pictures"

typedef struct fitting {
    room *r;
    graft_fit_options o;
    const char *out;
    int told, stop_at; /* progress told so far; where to cancel, 0: nowhere */
    graft_env *env;
} fitting;

static void tell(void *user, const graft_progress *p) {
    fitting *f = user;
    if (strncmp(p->phase, "epoch", 5) == 0 && ++f->told == f->stop_at) graft_env_cancel(f->env);
}

static void note(void *user, graft_log_level level, const char *line) {
    room_log(((fitting *)user)->r, level, line);
}

static fitting fitting_of(room *r, const char *out, const char *plan) {
    fitting f = {.r = r, .o = GRAFT_FIT_OPTIONS_INIT, .out = in_room(r, out)};
    setenv("GRAFT_CACHE", in_room(r, "cache"), 1);
    f.o.train = plan;
    f.o.batch = 8;
    f.o.seed = 5;
    return f;
}

static int fit(fitting *f, char **result) {
    graft_err err = {0};
    const graft_env_options eo = {.threads = 1, .progress = tell, .log = note, .user = f};
    assert_ok(graft_env_new(&f->env, &eo, &err));
    int rc = graft_fit(result, f->env, MODEL, PICTURES, f->out, &f->o, &err);
    graft_env_free(f->env);
    if (rc < 0 && rc != GRAFT_EINTERRUPTED) fail_msg("%s: %s", f->o.train, err.message);
    return rc;
}

static json_t *record(const fitting *f) {
    return read_json(f->r, file_of(f->r, f->out, "graft.json"));
}

static const char *text_of(room *r, const char *folder, const char *file, size_t *size) {
    char *text = NULL;
    graft_err err = {0};
    assert_ok(graft_file_read(&text, size, r->arena, file_of(r, folder, file), (size_t)1 << 28, &err));
    return text;
}

static void assert_same_weights(const fitting *a, const fitting *b) {
    size_t n = 0, m = 0;
    const char *x = text_of(a->r, a->out, "model.safetensors", &n),
               *y = text_of(b->r, b->out, "model.safetensors", &m);
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s: other weights than %s", a->out, b->out);
}

/* The run's log without what the clock says. */
static void assert_same_log(const fitting *a, const fitting *b) {
    size_t n = 0;
    const char *text[2] = {text_of(a->r, a->out, "run.jsonl", &n), text_of(b->r, b->out, "run.jsonl", &n)};
    for (int line = 1; *text[0] || *text[1]; line++) {
        json_t *o[2];
        for (int i = 0; i < 2; i++) {
            size_t length = strcspn(text[i], "\n");
            o[i] = json_loadb(text[i], length, 0, NULL);
            if (!o[i]) fail_msg("line %d of %s is no JSON", line, i ? b->out : a->out);
            json_object_del(o[i], "seconds");
            text[i] += length + (text[i][length] == '\n');
        }
        if (!json_equal(o[0], o[1])) fail_msg("line %d of %s differs", line, a->out);
        json_decref(o[0]);
        json_decref(o[1]);
    }
}

static void strip_costs(json_t *o) {
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(o, "history"), i, e) json_object_del(e, "seconds");
    json_object_del(o, "seconds");
    json_object_del(o, "training_seconds");
    json_object_del(o, "peak_memory"); /* of the phases that this process ran */
}

/* One plan twice in a row is that plan for all epochs: moments, update counts, order of the samples,
 * statistics, and the best epoch. */
static void a_plan_in_two_phases_is_that_plan_in_one(void **state) {
    static const char *const optimizers[] = {"adamw", "sgd"}, *const plans[][2] = {
                                                                  {"top:2", "top:2@2,top:2"},
                                                                  {"full", "full@1,full@2,full"},
                                                                  {"head", "head@3,head"},
                                                                  {"norm-only", "norm-only@2,norm-only"}};
    for (size_t i = 0; i < GRAFT_COUNT(optimizers); i++) {
        for (size_t k = 0; k < GRAFT_COUNT(plans); k++) {
            fitting f[2];
            for (size_t p = 0; p < 2; p++) {
                f[p] = fitting_of(
                    *state, graft_arena_printf(((room *)*state)->arena, "%s%zu%zu", optimizers[i], k, p),
                    plans[k][p]);
                f[p].o.optimizer = optimizers[i];
                f[p].o.schedule = "constant";
                f[p].o.warmup = 0;
                f[p].o.lr = 0.01;
                f[p].o.epochs = 5;
                f[p].o.norm = "train";
                assert_int_equal(fit(&f[p], NULL), 0);
            }
            assert_same_weights(&f[0], &f[1]);
            json_t *a = record(&f[0]), *b = record(&f[1]);
            strip_costs(a);
            strip_costs(b);
            assert_true(json_equal(json_object_get(a, "history"), json_object_get(b, "history")));
            assert_true(json_equal(json_object_get(a, "test"), json_object_get(b, "test")));
            assert_int_equal(json_integer_value(json_object_get(a, "best_epoch")),
                             json_integer_value(json_object_get(b, "best_epoch")));
        }
    }
}

/* Gathered gradients are no moments: they end with their update. */
static void micro_batches_go_on_too(void **state) {
    fitting f[2] = {fitting_of(*state, "one", "full"), fitting_of(*state, "two", "full@2,full")};
    for (size_t p = 0; p < 2; p++) {
        f[p].o.schedule = "constant";
        f[p].o.warmup = 0;
        f[p].o.epochs = 3;
        f[p].o.optimizer = "adamw";
        f[p].o.norm = "frozen";
        f[p].o.memory = 1400000;
        assert_int_equal(fit(&f[p], NULL), 0);
        json_t *o = json_object_get(record(&f[p]), "settings");
        assert_true(json_integer_value(json_object_get(o, "micro_batch")) < 8);
    }
    assert_same_weights(&f[0], &f[1]);
}

static void a_run_stopped_in_any_phase_ends_with_the_same_bits(void **state) {
    static const char *const plans[] = {"head@2,top:1@2,full", "gradual:1", "lp-ft:norm-only"};
    for (size_t k = 0; k < GRAFT_COUNT(plans); k++) {
        room *r = *state;
        fitting whole = fitting_of(r, graft_arena_printf(r->arena, "whole%zu", k), plans[k]);
        whole.o.epochs = 7;
        whole.o.lr = 0.02;
        whole.o.norm = "train";
        assert_int_equal(fit(&whole, NULL), 0);
        for (int stop = 1; stop <= whole.told; stop += 2) {
            fitting f = whole;
            f.out = in_room(r, graft_arena_printf(r->arena, "stopped%zu-%d", k, stop));
            f.told = 0;
            f.stop_at = stop;
            bool again = stop % 3 == 0; /* some are stopped twice */
            assert_int_equal(fit(&f, NULL), GRAFT_EINTERRUPTED);
            f.stop_at = again ? f.told + 2 : 0;
            if (fit(&f, NULL) == GRAFT_EINTERRUPTED) {
                assert_true(again);
                f.stop_at = 0;
                assert_int_equal(fit(&f, NULL), 0);
            }
            assert_same_weights(&whole, &f);
            assert_same_log(&whole, &f);
            json_t *a = record(&whole), *b = record(&f);
            strip_costs(a);
            strip_costs(b);
            if (!json_equal(a, b)) fail_msg("%s: another graft.json", f.out);
            assert_false(graft_path_is_dir(file_of(r, f.out, "checkpoint")));
        }
    }
}

/* Though the search knew of micro-batches, which a run that is taken up plans later. */
static void a_rate_that_was_found_is_taken_up_with_the_phases(void **state) {
    room *r = *state;
    fitting whole = fitting_of(r, "whole", "full@2,full"), f = whole;
    whole.o.epochs = 4;
    whole.o.lr = -1;
    whole.o.norm = "frozen";
    whole.o.memory = 1400000;
    f.o = whole.o;
    assert_int_equal(fit(&whole, NULL), 0);
    f.out = in_room(r, "stopped");
    f.stop_at = whole.told - 1;
    assert_int_equal(fit(&f, NULL), GRAFT_EINTERRUPTED);
    f.stop_at = f.told = 0;
    graft_buf_done(&r->log);
    graft_buf_init(&r->log, 0);
    assert_int_equal(fit(&f, NULL), 0);
    assert_null(strstr(r->log.data, "ignored"));
    assert_true(f.told < whole.told / 2);
    assert_same_weights(&whole, &f);
}

/* Phases that make it worse leave the head's phase as the best: the backbone's bytes are the file's. */
static void what_only_a_worse_phase_trained_is_the_file_s(void **state) {
    fitting f = fitting_of(*state, "worse", "head@4,top:1@1,full@1");
    graft_tensors before, after;
    graft_err err = {0};
    char *result = NULL;
    f.o.lr = 50;
    f.o.backbone_lr_scale = 1;
    f.o.head_lr = 0.01;
    f.o.optimizer = "sgd";
    f.o.norm = "train";
    assert_int_equal(fit(&f, &result), 0);
    json_t *o = record(&f), *phases = json_object_get(o, "phases"),
           *stages = json_object_get(o, "trained_stages");
    assert_true(json_is_true(json_object_get(json_array_get(phases, 0), "kept")));
    assert_int_equal(json_array_size(stages), 1);
    assert_ok(graft_tensors_open(&before, f.r->arena, MODEL, &err));
    assert_ok(graft_tensors_open(&after, f.r->arena, f.out, &err));
    for (size_t i = 0; i < before.n_items; i++) {
        const graft_tensor *a = &before.items[i], *b = graft_tensors_find(&after, a->name);
        if (strncmp(a->name, "classifier", 10) == 0) continue;
        if (!b || a->size != b->size || memcmp(a->data, b->data, a->size) != 0)
            fail_msg("%s is not the file's", a->name);
    }
    /* what is said of it is what the folder does */
    json_t *said = json_loads(result, 0, NULL);
    char *evaluated = NULL;
    graft_use_options u = GRAFT_USE_OPTIONS_INIT;
    u.part = "test";
    assert_ok(graft_eval(&evaluated, f.r->env, f.out, PICTURES, &u, &err));
    json_t *found = json_loads(evaluated, 0, NULL);
    assert_true(json_equal(json_object_get(json_object_get(said, "test"), "accuracy"),
                           json_object_get(found, "accuracy")));
    json_decref(said);
    json_decref(found);
    graft_text_free(result);
    graft_text_free(evaluated);
}

static double val_loss(const json_t *history, json_int_t epoch) {
    const json_t *e = json_array_get(history, (size_t)epoch - 1);
    assert_int_equal(json_integer_value(json_object_get(e, "epoch")), epoch);
    return json_real_value(json_object_get(e, "val_loss"));
}

/* A last phase that as good as stands still shows what it began with. */
static void after_an_early_stop_the_next_phase_begins_with_the_best(void **state) {
    static const char *const plans[] = {"head@40,norm-only@1", "head@3,norm-only@1", "head@40,norm-only@1"};
    for (size_t i = 0; i < GRAFT_COUNT(plans); i++) {
        fitting f = fitting_of(*state, graft_arena_printf(((room *)*state)->arena, "early%zu", i), plans[i]);
        f.o.optimizer = "sgd";
        f.o.lr = 1e-12;
        f.o.norm = "frozen";
        f.o.schedule = "constant";
        f.o.early_stop = i != 1 ? 2 : -1;
        f.o.regular.ema = i == 2 ? 0.9 : 0; /* an average goes on from there too */
        assert_int_equal(fit(&f, NULL), 0);
        json_t *o = record(&f), *history = json_object_get(o, "history"),
               *first = json_array_get(json_object_get(o, "phases"), 0);
        json_int_t run = json_integer_value(json_object_get(first, "epochs_run")),
                   best = json_integer_value(json_object_get(first, "best_epoch"));
        bool stopped = json_is_true(json_object_get(first, "stopped_early"));
        assert_int_equal(stopped, i != 1);
        double began = val_loss(history, run + 1), wanted = val_loss(history, stopped ? best : run);
        if (stopped) assert_int_equal(best, run - 2);
        if (fabs(began - wanted) > 1e-6)
            fail_msg("%s: began at a loss of %g, not %g", plans[i], began, wanted);
    }
}

static void epochs_are_shared_among_phases_that_say_none(void **state) {
    static const struct {
        const char *plan;
        int64_t epochs, each[3];
        size_t n;
    } cases[] = {{"lp-ft", 7, {4, 3}, 2},
                 {"lp-ft", 2, {1, 1}, 2},
                 {"head@3,full", 10, {3, 7}, 2},
                 {"head@3,full@2", 5, {3, 2}, 2},
                 {"head@1,lp-ft:top:1", 6, {1, 3, 2}, 3}};
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        fitting f = fitting_of(*state, "dry", cases[i].plan);
        char *result = NULL;
        f.o.epochs = cases[i].epochs;
        f.o.dry_run = true;
        assert_int_equal(fit(&f, &result), 0);
        json_t *o = json_loads(result, 0, NULL), *phases = json_object_get(o, "phases");
        assert_int_equal(json_integer_value(json_object_get(o, "epochs")), cases[i].epochs);
        assert_int_equal(json_array_size(phases), cases[i].n);
        for (size_t k = 0; k < cases[i].n; k++)
            assert_int_equal(json_integer_value(json_object_get(json_array_get(phases, k), "epochs")),
                             cases[i].each[k]);
        json_decref(o);
        graft_text_free(result);
    }
}

/* Pictures that differ from epoch to epoch, and four of each that are kept, are two runs. */
static void a_run_without_a_cache_says_so(void **state) {
    for (int without = 0; without < 2; without++) {
        fitting f = fitting_of(*state, "dry", "head");
        char *result = NULL;
        f.o.augment = "light";
        f.o.cache_variants = without ? -1 : 0;
        f.o.dry_run = true;
        assert_int_equal(fit(&f, &result), 0);
        json_t *o = json_loads(result, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(o, "cache_variants")), without ? 0 : 4);
        json_decref(o);
        graft_text_free(result);
    }
}

static void epochs_that_contradict_the_plan_are_told(void **state) {
    room *r = *state;
    static const struct {
        const char *plan;
        int64_t epochs;
    } cases[] = {{"head@3,full", 3}, {"head@3,full@2", 6}, {"gradual:2", 10}, {"lp-ft", 1}};
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        fitting f = fitting_of(r, "none", cases[i].plan);
        graft_err err = {0};
        f.o.epochs = cases[i].epochs;
        assert_int_equal(graft_fit(NULL, r->env, MODEL, PICTURES, f.out, &f.o, &err), GRAFT_EUSAGE);
        assert_non_null(strstr(err.message, "--epochs"));
        assert_non_null(strstr(err.message, cases[i].plan));
        assert_false(graft_path_is_dir(f.out));
    }
}

static void a_frozen_part_that_fills_the_memory_is_told(void **state) {
    room *r = *state;
    fitting f = fitting_of(r, "none", "head");
    graft_err err = {0};
    f.o.memory = 200000;
    assert_int_equal(graft_fit(NULL, r->env, MODEL, PICTURES, f.out, &f.o, &err), GRAFT_EUSAGE);
    assert_non_null(strstr(err.message, "the frozen part"));
}

/* What was kept between phases and is damaged, or another run's, is passed over with a warning. */
static void a_damaged_relay_is_ignored(void **state) {
    room *r = *state;
    fitting whole = fitting_of(r, "whole", "head@2,full"), f = whole;
    whole.o.epochs = f.o.epochs = 4;
    assert_int_equal(fit(&whole, NULL), 0);
    for (int how = 0; how < 3; how++) {
        f.out = in_room(r, graft_arena_printf(r->arena, "damaged%d", how));
        f.told = 0;
        f.stop_at = whole.told - 1;
        assert_int_equal(fit(&f, NULL), GRAFT_EINTERRUPTED);
        const char *path = file_of(r, f.out, "checkpoint/phases.safetensors");
        graft_err err = {0};
        char *bytes = NULL;
        size_t size = 0;
        assert_ok(graft_file_read(&bytes, &size, r->arena, path, (size_t)1 << 28, &err));
        if (how == 0) size /= 2;
        if (how == 1) bytes[9] ^= 0x20;
        if (how == 2) f.o.lr = 0.5; /* another run's */
        assert_ok(graft_file_write(path, bytes, size, &err));
        f.stop_at = 0;
        graft_buf_done(&r->log);
        graft_buf_init(&r->log, 0);
        assert_int_equal(fit(&f, NULL), 0);
        assert_non_null(strstr(r->log.data, "phases.safetensors is ignored"));
        if (how == 2) continue;
        json_t *o = record(&f);
        assert_int_equal(json_array_size(json_object_get(o, "history")), 4);
        assert_same_weights(&whole, &f);
        assert_same_log(&whole, &f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(a_plan_in_two_phases_is_that_plan_in_one),
        room_test(micro_batches_go_on_too),
        room_test(a_run_stopped_in_any_phase_ends_with_the_same_bits),
        room_test(a_rate_that_was_found_is_taken_up_with_the_phases),
        room_test(what_only_a_worse_phase_trained_is_the_file_s),
        room_test(after_an_early_stop_the_next_phase_begins_with_the_best),
        room_test(epochs_are_shared_among_phases_that_say_none),
        room_test(a_run_without_a_cache_says_so),
        room_test(epochs_that_contradict_the_plan_are_told),
        room_test(a_frozen_part_that_fills_the_memory_is_told),
        room_test(a_damaged_relay_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
