#include "cli/cli.h"

#include <stddef.h>
#include <stdlib.h>

typedef struct arguments {
    graft_common common;
} arguments;

static const arguments initial = {.common = {.json = false}};

static const graft_opt_group groups[] = {
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), offsetof(arguments, common)},
};

static void human(const json_t *o) {
    size_t i;
    char score[32], loss[32];
    json_t *run;
    printf("%6s %4s %7s %8s %8s %8s  %s\n", "trial", "rung", "epochs", "score", "loss", "seconds",
           "plan, settings");
    json_array_foreach(json_object_get(o, "runs"), i, run) {
        char *settings =
            json_dumps(json_object_get(run, "settings"), JSON_SORT_KEYS | JSON_REAL_PRECISION(4));
        bool failed = json_object_get(run, "message") && json_is_string(json_object_get(run, "message"));
        printf("%6lld %4lld %7lld ", (long long)json_integer_value(json_object_get(run, "number")),
               (long long)json_integer_value(json_object_get(run, "rung")) + 1,
               (long long)json_integer_value(json_object_get(run, "epochs")));
        if (failed)
            printf("%8s %8s ", "failed", "-");
        else
            printf("%8s %8s ", graft_print_number(run, "score", score, sizeof score),
                   graft_print_number(run, "loss", loss, sizeof loss));
        printf("%8.1f  %s %s\n", json_number_value(json_object_get(run, "seconds")),
               graft_print_text(run, failed ? "message" : "plan"), settings ? settings : "");
        free(settings);
    }
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    (void)env;
    int rc = graft_runs_json(&result, a->common.args[0], err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_runs = {
    .name = "runs",
    .arguments = "OUT",
    .summary = "list the trials of a search",
    .examples = "  graft runs pets\n  graft runs pets/runs.sqlite --json\n",
    .details = "The best of the longest round stand first.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 1,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
