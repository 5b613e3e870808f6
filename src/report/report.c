/* graft report: folders of runs become a page. */
#include "report/report.h"

#include "report/page.h"

#include <string.h>

enum { MOST_RUNS = 32, CEILING = 256 << 20 };

static int write_page(graft_buf *page, graft_story *stories, size_t n, graft_err *err) {
    if (n > 1) return graft_page_runs(page, stories, n, err);
    int rc = graft_story_look(&stories[0], err);
    return rc == 0 ? graft_page_run(page, &stories[0], err) : rc;
}

/* A comparison has no graft.json of its own. */
static bool is_comparison(const char *folder) {
    graft_arena *arena = graft_arena_new(NULL);
    char *run = arena ? graft_path_join(arena, folder, "graft.json") : NULL;
    char *all = arena ? graft_path_join(arena, folder, "compare.json") : NULL;
    bool is = run && all && !graft_path_is_file(run) && graft_path_is_file(all);
    graft_arena_free(arena);
    return is;
}

static json_t *result_json(const graft_story *stories, const char *const *folders, size_t n, const char *out,
                           size_t size) {
    json_t *missing = json_array(), *runs = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(runs, graft_json_string(folders[i]));
        for (size_t g = 0; g < stories[i].n_gaps && n == 1; g++)
            json_array_append_new(missing,
                                  json_pack("{s:o,s:o}", "what", graft_json_string(stories[i].gaps[g].what),
                                            "why", graft_json_string(stories[i].gaps[g].why)));
    }
    return json_pack("{s:o,s:o,s:I,s:o}", "out", graft_json_string(out), "runs", runs, "bytes",
                     (json_int_t)size, "missing", missing);
}

static int print_result(char **result, json_t *o, graft_err *err) {
    graft_buf text;
    graft_buf_init(&text, 0);
    if (o) graft_json_print(&text, o);
    *result = o ? graft_buf_take(&text) : NULL;
    graft_buf_done(&text);
    json_decref(o);
    return *result ? 0 : graft_err_nomem(err);
}

int graft_report(char **result, graft_env *env, const char *const *runs, size_t n_runs, const char *out,
                 const graft_report_options *options, graft_err *err) {
    static const graft_report_options none = GRAFT_REPORT_OPTIONS_INIT;
    graft_story stories[MOST_RUNS] = {{0}};
    graft_env *quiet = NULL;
    graft_buf page;
    size_t n = 0;
    if (result) *result = NULL;
    if (n_runs == 0 || n_runs > MOST_RUNS)
        return graft_err_set(err, GRAFT_EUSAGE, "a report is of 1 to %d runs, not of %zu", MOST_RUNS, n_runs);
    graft_buf_init(&page, CEILING);
    /* what is wrong stands on the page */
    int rc = graft_env_new_silent(&quiet, env, err);
    bool compared = n_runs == 1 && is_comparison(runs[0]);
    for (; n < n_runs && rc == 0 && !compared; n++)
        rc = graft_story_open(&stories[n], quiet, runs[n], options ? options : &none, err);
    if (rc == 0) rc = compared ? graft_page_compare(&page, runs[0], err) : write_page(&page, stories, n, err);
    if (rc == 0) rc = graft_file_write(out, page.data, page.size, err);
    if (rc == 0 && result) rc = print_result(result, result_json(stories, runs, n_runs, out, page.size), err);
    for (size_t i = 0; i < n; i++) graft_story_close(&stories[i]);
    graft_buf_done(&page);
    graft_env_free(quiet);
    return rc;
}
