/* graft_report through the public API: its pages are well-formed whatever a run says, stay small whatever its
 * size, and leave out what is gone. */
#include "transfer/transfer.h"

#include "model/model_room.h"
#include "report/html_check.h"
#include "report/story.h"

#include <sys/resource.h>

#define MODEL    "tests/parity/resnet/hf_basic"
#define TEXTS    "tests/parity/text/bert_bare"
#define PICTURES "tests/cli/pictures"

static int enter(void **state) {
    int rc = room_setup(state);
    room *r = *state;
    char cache[96];
    snprintf(cache, sizeof cache, "%s/cache", r->dir);
    return rc ? rc : setenv("GRAFT_CACHE", cache, 1);
}

static char *path_of(room *r, const char *name) {
    return graft_path_join(r->arena, r->dir, name);
}

static void fit(room *r, const char *model, const char *data, const char *out, const char *plan) {
    graft_fit_options o = GRAFT_FIT_OPTIONS_INIT;
    graft_err err = {0};
    o.train = plan;
    o.epochs = 3;
    o.from_scratch = strcmp(model, MODEL) == 0;
    if (graft_fit(NULL, r->env, model, data, out, &o, &err) < 0) fail_msg("%s", err.message);
}

/* The page about runs, which has to be well-formed. */
static char *report_with(room *r, const char *const *runs, size_t n, const graft_report_options *o,
                         char **result) {
    char *path = path_of(r, "page.html"), *page = NULL;
    const char *where = NULL;
    size_t size = 0;
    graft_err err = {0};
    if (graft_report(result, r->env, runs, n, path, o, &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(graft_file_read(&page, &size, r->arena, path, 64 << 20, NULL), 0);
    assert_int_equal(strlen(page), size);
    const char *problem = html_check(page, &where);
    if (problem) fail_msg("%s: %.80s", problem, where);
    return page;
}

static char *report(room *r, const char *run) {
    return report_with(r, &run, 1, NULL, NULL);
}

static void assert_says(const char *page, const char *text) {
    if (!strstr(page, text)) fail_msg("the page does not say '%s'", text);
}

static void assert_does_not_say(const char *page, const char *text) {
    if (strstr(page, text)) fail_msg("the page says '%s'", text);
}

static void a_run_over_pictures_has_every_part(void **state) {
    static const char *const ids[] = {"plan",        "curves", "confusion", "examples", "classes",
                                      "calibration", "map",    "data",      "cost",     "repeat"};
    room *r = *state;
    char *out = path_of(r, "run"), id[64];
    fit(r, MODEL, PICTURES, out, "top:1");
    const char *page = report(r, out);
    for (size_t i = 0; i < GRAFT_COUNT(ids); i++) {
        snprintf(id, sizeof id, "<section id=\"%s\"", ids[i]);
        assert_int_equal(html_count(page, id), 1);
        snprintf(id, sizeof id, "href=\"#%s\"", ids[i]);
        assert_int_equal(html_count(page, id), 1);
    }
    assert_true(html_count(page, "src=\"data:image/") >= 8);
    assert_int_equal(html_count(page, "<svg class=\"tsne\""), 2);
    assert_says(page, "<em>frozen</em>");
    assert_says(page, "graft fit tests/parity/resnet/hf_basic tests/cli/pictures -o ");
    assert_does_not_say(page, "Not on this page");

    const graft_report_options shy = {.no_pictures = true};
    const char *run = out;
    page = report_with(r, &run, 1, &shy, NULL);
    assert_does_not_say(page, "src=\"data:image/");
    assert_says(page, "<svg class=\"tsne\"");
}

static void what_is_gone_is_left_out_and_said(void **state) {
    room *r = *state;
    char *out = path_of(r, "run"), *data = path_of(r, "photos"), *result = NULL, command[256];
    snprintf(command, sizeof command, "%s/train", data);
    assert_int_equal(graft_dir_make(data, NULL), 0);
    const char *const classes[] = {"down", "across"};
    for (size_t c = 0; c < GRAFT_COUNT(classes); c++) {
        char **names;
        size_t n = 0;
        char *from = graft_arena_printf(r->arena, PICTURES "/train/%s", classes[c]);
        char *to = graft_path_join(r->arena, data, classes[c]);
        assert_int_equal(graft_dir_make(to, NULL), 0);
        assert_int_equal(graft_dir_list(&names, &n, r->arena, from, NULL), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(graft_file_copy(graft_path_join(r->arena, from, names[i]),
                                             graft_path_join(r->arena, to, names[i]), NULL),
                             0);
    }
    fit(r, MODEL, data, out, "full");
    assert_says(report(r, out), "Most wrong");
    assert_int_equal(graft_dir_remove(data, NULL), 0);
    const char *run = out, *page = report_with(r, &run, 1, NULL, &result);
    assert_says(page, "Not on this page");
    assert_says(page, "<section id=\"confusion\"");
    assert_does_not_say(page, "<section id=\"map\"");
    assert_non_null(strstr(result, "\"why\""));
    graft_text_free(result);

    /* other pictures in the place of the old */
    fit(r, MODEL, PICTURES, path_of(r, "other"), "head");
    assert_int_equal(graft_file_copy(path_of(r, "other/graft_answers.safetensors"),
                                     path_of(r, "run/graft_answers.safetensors"), NULL),
                     0);
    assert_int_equal(graft_dir_make(data, NULL), 0);
    assert_says(report(r, out), "Not on this page");
    assert_int_equal(unlink(path_of(r, "run/graft_answers.safetensors")), 0);
    assert_says(report(r, out), "<section id=\"classes\"");
}

static void hostile_names_and_texts_stay_text(void **state) {
    static const char rows[] =
        "\"%d </script><script>alert(1)</script> & <b>\",\"</script><script>alert(2)</script>\"\n"
        "\"%d <!-- <img src=x onerror=alert(3)>\",\"\"\"><img src=x onerror=alert(4)>\"\n"
        "\"%d &lt;b&gt; ]]> '\"\" onclick='x\",\"' onmouseover='alert(5)\"\n";
    room *r = *state;
    char *model = path_of(r, "model"), *data = path_of(r, "hostile.csv"), *out = path_of(r, "<i>&out\"'");
    graft_buf table;
    graft_buf_init(&table, 0);
    graft_buf_text(&table, "text,label\n");
    for (int i = 0; i < 9; i++) graft_buf_printf(&table, rows, i, i, i);
    assert_int_equal(graft_file_write(data, table.data, table.size, NULL), 0);
    graft_buf_done(&table);
    assert_int_equal(graft_dir_make(model, NULL), 0);
    assert_int_equal(graft_file_copy(TEXTS "/config.json", path_of(r, "model/config.json"), NULL), 0);
    assert_int_equal(graft_file_copy(TEXTS "/model.safetensors", path_of(r, "model/model.safetensors"), NULL),
                     0);
    static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n<\n>\n&\nb\nscript\nalert\n";
    assert_int_equal(graft_file_write(path_of(r, "model/vocab.txt"), words, sizeof words - 1, NULL), 0);
    fit(r, model, data, out, "head");
    const char *page = report(r, out);
    assert_does_not_say(page, "<script>alert");
    assert_does_not_say(page, "<img src=x");
    assert_does_not_say(page, "<i>&out");
    assert_says(page, "&lt;/script&gt;&lt;script&gt;alert(2)&lt;/script&gt;");
    assert_says(page, "<blockquote dir=\"auto\">");
    const char *both[] = {out, out};
    page = report_with(r, both, 2, NULL, NULL);
    assert_says(page, "2 runs side by side");
    assert_does_not_say(page, "<i>&out");
}

/* A folder as a fit over n samples and k classes would leave it, the data given as text and not kept. */
static void make_run(room *r, const char *out, int64_t n, int64_t k) {
    graft_model *m = NULL;
    graft_data *data = NULL;
    graft_arena *arena = graft_arena_new(r->arena);
    const char **names = graft_arena_array(arena, (size_t)k, sizeof *names);
    const char **texts = graft_arena_array(arena, (size_t)n, sizeof *texts);
    graft_answers a = {.n = n, .k = k, .n_samples = n};
    a.logits = graft_arena_array(arena, (size_t)n, (size_t)k * sizeof *a.logits);
    a.labels = graft_arena_array(arena, (size_t)n, sizeof *a.labels);
    a.samples = graft_arena_array(arena, (size_t)n, sizeof *a.samples);
    for (int64_t c = 0; c < k; c++) names[c] = graft_arena_printf(arena, "class number %lld", (long long)c);
    for (int64_t i = 0; i < n; i++) {
        texts[i] = "a text";
        a.samples[i] = i;
        a.labels[i] = (int32_t)(i * 7919 % k);
        a.logits[i * k + (i % 3 ? a.labels[i] : i * 31 % k)] = 1.0F + (float)(i % 11);
    }
    graft_data_options texts_only = GRAFT_DATA_OPTIONS_INIT;
    texts_only.modality = GRAFT_TEXTS;
    assert_int_equal(graft_model_open(&m, r->env, MODEL, NULL, NULL), 0);
    assert_int_equal(graft_model_head(m, "linear", names, (size_t)k, 0, NULL, NULL), 0);
    assert_int_equal(graft_data_open_texts(&data, r->env, texts, (size_t)n, &texts_only, NULL), 0);
    json_t *metrics = NULL;
    assert_int_equal(graft_answers_json(&metrics, &a, GRAFT_TASK_CLASSES, names, NULL), 0);
    json_t *record = json_pack("{s:{s:s,s:s,s:i},s:s,s:s,s:o}", "settings", "plan", "head", "task", "classes",
                               "seed", 0, "model", MODEL, "data", "/nowhere", "validation", metrics);
    const graft_save_info info = {.record = record};
    assert_int_equal(graft_model_save(m, r->env, out, &info, NULL), 0);
    assert_int_equal(graft_answers_keep(out, &a, GRAFT_TASK_CLASSES, data, GRAFT_VAL, NULL), 0);
    json_decref(record);
    graft_data_close(data);
    graft_model_close(m);
    graft_arena_free(arena);
}

static void ten_thousand_classes_stay_openable(void **state) {
    room *r = *state;
    char *out = path_of(r, "wide");
    make_run(r, out, 2000, 10000);
    const char *page = report(r, out);
    print_message("10,000 classes: %zu bytes\n", strlen(page));
    assert_true(strlen(page) < 1 << 20);
    assert_says(page, "Of 10000 classes, the 30 with the most mistakes");
    assert_says(page, "The 200 of 10000 with the lowest F1");
}

static void a_hundred_thousand_samples_stay_openable(void **state) {
    room *r = *state;
    char *out = path_of(r, "long");
    graft_kept_answers kept;
    make_run(r, out, 100000, 3);
    const char *page = report(r, out);
    print_message("100,000 samples: %zu bytes\n", strlen(page));
    assert_true(strlen(page) < 1 << 20);
    assert_int_equal(graft_answers_open(&kept, r->arena, out, NULL), 0);
    assert_int_equal(kept.answers.n_samples, 20000);
    assert_int_equal(kept.n_all, 100000);
    assert_int_equal(kept.answers.samples[19999], 99995);
    assert_int_equal(kept.answers.labels[1], 5 * 7919 % 3);
}

static void damaged_answers_are_refused_and_the_page_is_made(void **state) {
    room *r = *state;
    char *out = path_of(r, "run"), *path = path_of(r, "run/graft_answers.safetensors");
    graft_tensors file;
    graft_kept_answers kept;
    graft_err err = {0};
    make_run(r, out, 20, 3);
    assert_int_equal(graft_answers_open(&kept, r->arena, out, NULL), 0);
    assert_int_equal(graft_safetensors_open(&file, r->arena, path, NULL), 0);
    for (size_t t = 0; t < file.n_items; t++) {
        graft_tensor *items = graft_arena_array(r->arena, file.n_items, sizeof *items);
        memcpy(items, file.items, file.n_items * sizeof *items);
        unsigned char *data = graft_arena_alloc(r->arena, items[t].size);
        memset(data, 0x7F, items[t].size);
        items[t].data = data;
        bool looked_up = strcmp(items[t].name, "facts") == 0 || strcmp(items[t].name, "samples") == 0 ||
                         strcmp(items[t].name, "words") == 0 || strcmp(items[t].name, "labels") == 0;
        assert_int_equal(graft_safetensors_write(path, items, file.n_items, NULL, NULL), 0);
        assert_int_equal(graft_answers_open(&kept, r->arena, out, &err), looked_up ? GRAFT_EFORMAT : 0);
        report(r, out);
        items[t] = items[file.n_items - 1]; /* one is missing */
        assert_int_equal(graft_safetensors_write(path, items, file.n_items - 1, NULL, NULL), 0);
        assert_int_equal(graft_answers_open(&kept, r->arena, out, &err), GRAFT_EFORMAT);
    }
    assert_says(report(r, out), "Not on this page");
}

/* The kept answers with other logits and the record with another member. */
static void change_run(room *r, const char *out, const float *logits, json_t *more) {
    char *path = graft_path_join(r->arena, out, "graft_answers.safetensors"),
         *record_path = graft_path_join(r->arena, out, "graft.json");
    graft_tensors file;
    json_t *record = NULL;
    assert_int_equal(graft_safetensors_open(&file, r->arena, path, NULL), 0);
    graft_tensor *items = graft_arena_array(r->arena, file.n_items, sizeof *items);
    memcpy(items, file.items, file.n_items * sizeof *items);
    for (size_t t = 0; t < file.n_items && logits; t++)
        if (strcmp(items[t].name, "logits") == 0) items[t].data = logits;
    assert_int_equal(graft_safetensors_write(path, items, file.n_items, NULL, NULL), 0);
    assert_int_equal(graft_json_read(&record, r->arena, record_path, NULL), 0);
    json_object_update(record, more);
    assert_int_equal(graft_json_write(record_path, record, NULL), 0);
    json_decref(more);
}

static void answers_that_are_no_numbers_are_wrong_answers(void **state) {
    enum { N = 40, K = 3 };
    room *r = *state;
    char *out = path_of(r, "run");
    float *logits = graft_arena_array(r->arena, N * K, sizeof *logits);
    make_run(r, out, N, K);
    for (size_t i = 0; i < N * K; i++) logits[i] = i % 3 ? NAN : i % 2 ? INFINITY : -INFINITY;
    /* without counts in the record they are made of the answers */
    change_run(r, out, logits, json_pack("{s:{s:i}}", "validation", "n", N));
    const char *page = report(r, out);
    assert_says(page, "<section id=\"confusion\"");
    assert_does_not_say(page, ">nan");
    assert_does_not_say(page, "\"nan");
    assert_does_not_say(page, "\"-nan");
}

static void thresholds_decide_on_the_page_too(void **state) {
    enum { N = 40, K = 2 };
    room *r = *state;
    char *out = path_of(r, "run");
    float *logits = graft_arena_array(r->arena, N * K, sizeof *logits);
    make_run(r, out, N, K);
    for (size_t i = 0; i < N; i++) logits[K * i + 1] = 1.0F; /* the second class, at 0.73 */
    change_run(r, out, logits, json_pack("{s:{s:i}}", "validation", "n", N));
    assert_says(report(r, out), "taken for class number 1:");
    change_run(r, out, NULL,
               json_pack("{s:{s:f,s:f}}", "thresholds", "class number 0", 0.2, "class number 1", 0.8));
    const char *page = report(r, out);
    assert_says(page, "taken for class number 0:");
    assert_does_not_say(page, "taken for class number 1:");
}

static void answers_of_another_run_are_not_shown(void **state) {
    room *r = *state;
    char *out = path_of(r, "run");
    make_run(r, out, 20, 3);
    make_run(r, path_of(r, "other"), 30, 3);
    assert_int_equal(graft_file_copy(path_of(r, "other/graft_answers.safetensors"),
                                     path_of(r, "run/graft_answers.safetensors"), NULL),
                     0);
    assert_says(report(r, out), "are another run&#39;s");
}

/* A step from tick to tick that changes nothing would never end. */
static void epochs_that_are_absurd_are_drawn(void **state) {
    static const char log[] = "{\"event\": \"epoch\", \"epoch\": 1e20, \"loss\": 1.0, \"seconds\": 1}\n"
                              "{\"event\": \"epoch\", \"epoch\": 1.0000000000000001e20, \"loss\": 1e300}\n"
                              "{\"event\": \"epoch\", \"epoch\": 1.0000000000000003e20, \"loss\": -1e308}\n";
    room *r = *state;
    char *out = path_of(r, "run");
    make_run(r, out, 20, 3);
    assert_int_equal(graft_file_write(path_of(r, "run/run.jsonl"), log, sizeof log - 1, NULL), 0);
    assert_says(report(r, out), "<section id=\"curves\"");
}

static size_t most_memory(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (size_t)use.ru_maxrss * 1024;
}

static void a_long_log_is_thinned_and_an_empty_one_costs_nothing(void **state) {
    enum { EPOCHS = 50000, BLANKS = 8 << 20 };
    room *r = *state;
    char *out = path_of(r, "run");
    graft_err err = {0};
    graft_story s;
    graft_buf b;
    const graft_report_options o = GRAFT_REPORT_OPTIONS_INIT;
    double seconds = 0.0;
    make_run(r, out, 20, 3);
    graft_buf_init(&b, 0);
    for (int i = 1; i <= EPOCHS; i++)
        graft_buf_printf(&b, "{\"event\": \"epoch\", \"epoch\": %d, \"seconds\": %d, \"loss\": 1}\n", i,
                         2 * i);
    assert_int_equal(graft_file_write(path_of(r, "run/run.jsonl"), b.data, b.size, &err), 0);
    graft_buf_done(&b);
    assert_int_equal(graft_story_open(&s, r->env, out, &o, &err), 0);
    assert_int_equal(s.n_epochs, EPOCHS);
    assert_true(s.n_moments > 4000 && s.n_moments <= 1 << 14);
    for (size_t i = 0; i < s.n_moments; i++) seconds += s.moments[i].seconds;
    assert_true(fabs(seconds - 2.0 * EPOCHS) < 10.0); /* but for those past the last moment */
    for (size_t i = 1; i < s.n_moments; i++) assert_true(s.moments[i].epoch > s.moments[i - 1].epoch);
    graft_story_close(&s);
    char *blank = malloc(BLANKS);
    assert_non_null(blank);
    memset(blank, '\n', BLANKS);
    assert_int_equal(graft_file_write(path_of(r, "run/run.jsonl"), blank, BLANKS, &err), 0);
    free(blank);
    size_t before = most_memory();
    assert_int_equal(graft_story_open(&s, r->env, out, &o, &err), 0);
    graft_story_close(&s);
    assert_true(most_memory() - before < (size_t)64 << 20);
}

static void a_comparison_has_a_page_of_its_own(void **state) {
    static const char text[] =
        "{\"score\": \"accuracy\", \"n_classes\": 2, \"n_test\": 80, \"seeds\": [0, 1], \"model\": \"m\", "
        "\"data\": "
        "\"d<b>\", \"seconds\": 3.5, \"finished\": false, \"command\": \"graft fit m d -o OUT --train "
        "head\", "
        "\"conclusion\": {\"verdict\": \"a linear head is enough\", \"text\": "
        "\"<script>alert(1)</script>\"}, \"plans\": ["
        "{\"plan\": \"head\", \"about\": \"pretrained\", \"score\": {\"mean\": 0.8, \"low\": 0.7, \"high\": "
        "0.9}, "
        "\"against_best\": null, \"sizes\": [{\"labels\": 20, \"score\": {\"mean\": 0.6}}, {\"labels\": 100, "
        "\"score\": "
        "{\"mean\": 0.8}}], \"curve\": {\"points\": [{\"per_class\": 50, \"score\": 0.8}, {\"per_class\": "
        "200, "
        "\"score\": 0.9}]}, \"more\": {\"per_class\": 50, \"gain\": 0.03, \"low\": 0.01, \"high\": 0.05}},"
        "{\"plan\": \"full\", \"score\": {\"mean\": 0.7, \"low\": null, \"high\": null}, \"sampling\": "
        "{\"low\": 0.6, "
        "\"high\": 0.8}, \"against_best\": {\"p_holm\": 0.01, \"differs\": true}, \"sizes\": 3, \"curve\": "
        "null}, {\"plan\": \"wild\", \"score\": {\"mean\": null}, \"against_best\": null, \"diverged\": \"at "
        "<epoch> "
        "1\"}], "
        "\"label_next\": {\"of\": \"unlabelled\", \"samples\": [{\"input\": \"x<y.png\", \"label\": null, "
        "\"predicted\": \"a\", \"doubt\": 0.9}]}}";
    room *r = *state;
    char *out = path_of(r, "worth");
    assert_int_equal(graft_dir_make(out, NULL), 0);
    assert_int_equal(graft_file_write(path_of(r, "worth/compare.json"), text, sizeof text - 1, NULL), 0);
    const char *page = report(r, out);
    assert_says(page, "<h1>a linear head is enough</h1>");
    assert_says(page, "Score by labels a class");
    assert_says(page, "more labels a class would gain about");
    assert_says(page, "Label these next");
    assert_says(page, "Left out, since it diverged: <b>wild</b>: at &lt;epoch&gt; 1");
    assert_does_not_say(page, "<script>alert");
    const char *folder = out;
    graft_err err = {0};
    assert_int_equal(graft_file_write(path_of(r, "worth/compare.json"), "{\"plans\": 1}", 12, NULL), 0);
    assert_int_equal(graft_report(NULL, r->env, &folder, 1, path_of(r, "page.html"), NULL, &err),
                     GRAFT_EFORMAT);
}

static void what_is_no_run_is_an_error(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *nowhere = path_of(r, "nowhere"), *model = MODEL, *page = path_of(r, "page.html");
    assert_int_equal(graft_report(NULL, r->env, &nowhere, 1, page, NULL, &err), GRAFT_EIO);
    assert_int_equal(graft_report(NULL, r->env, &model, 1, page, NULL, &err), GRAFT_EIO);
    assert_int_equal(graft_report(NULL, r->env, &model, 0, page, NULL, &err), GRAFT_EUSAGE);
    make_run(r, path_of(r, "run"), 20, 3);
    const char *run = path_of(r, "run");
    assert_int_equal(graft_file_write(path_of(r, "run/graft.json"), "[1]\n", 4, NULL), 0);
    assert_int_equal(graft_report(NULL, r->env, &run, 1, page, NULL, &err), GRAFT_EFORMAT);
    /* a record whose members are all of another type */
    static const char odd[] =
        "{\"settings\": {\"plan\": 3, \"seed\": \"x\"}, \"history\": 7, \"stages\": {\"a\": 1}, "
        "\"found\": [], \"validation\": {\"accuracy\": \"high\", \"confusion\": [1, 2, 3], "
        "\"classes\": 5}, \"model\": [], \"data\": 1, \"phases\": \"none\", \"choices\": null}";
    assert_int_equal(graft_file_write(path_of(r, "run/graft.json"), odd, sizeof odd - 1, NULL), 0);
    report(r, run);
    const char *both[] = {run, run};
    report_with(r, both, 2, NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_over_pictures_has_every_part, enter, room_teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_is_left_out_and_said, enter, room_teardown),
        cmocka_unit_test_setup_teardown(hostile_names_and_texts_stay_text, enter, room_teardown),
        cmocka_unit_test_setup_teardown(ten_thousand_classes_stay_openable, enter, room_teardown),
        cmocka_unit_test_setup_teardown(a_hundred_thousand_samples_stay_openable, enter, room_teardown),
        cmocka_unit_test_setup_teardown(damaged_answers_are_refused_and_the_page_is_made, enter,
                                        room_teardown),
        cmocka_unit_test_setup_teardown(answers_that_are_no_numbers_are_wrong_answers, enter, room_teardown),
        cmocka_unit_test_setup_teardown(thresholds_decide_on_the_page_too, enter, room_teardown),
        cmocka_unit_test_setup_teardown(answers_of_another_run_are_not_shown, enter, room_teardown),
        cmocka_unit_test_setup_teardown(epochs_that_are_absurd_are_drawn, enter, room_teardown),
        cmocka_unit_test_setup_teardown(a_long_log_is_thinned_and_an_empty_one_costs_nothing, enter,
                                        room_teardown),
        cmocka_unit_test_setup_teardown(a_comparison_has_a_page_of_its_own, enter, room_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_run_is_an_error, enter, room_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
