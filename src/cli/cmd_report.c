#include "cli/cli.h"

#include <stddef.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    graft_report_options report;
    const char *out;
} arguments;

static const arguments initial = {.report = GRAFT_REPORT_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "FILE",
     .help = "page that is written; report.html in the run's folder, of several runs report.html here"},
    {.name = "samples",
     .kind = GRAFT_OPT_INT,
     .offset = AT(report.samples),
     .value = "N",
     .least = 8,
     .most = 2000,
     .help = "samples whose features are drawn and looked at; 800, fewer where the model is slow"},
    {.name = "no-cache",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(report.no_cache),
     .help = "neither read nor fill the bottleneck cache"},
    {.name = "no-samples",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(report.no_pictures),
     .help = "show no sample: neither pictures nor texts get into the page"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void human(const json_t *o) {
    char bytes[32];
    const json_t *missing = json_object_get(o, "missing");
    for (size_t i = 0; i < json_array_size(missing); i++) {
        const json_t *gap = json_array_get(missing, i);
        printf("left out: %s: %s\n", graft_print_text(gap, "what"), graft_print_text(gap, "why"));
    }
    double size = json_number_value(json_object_get(o, "bytes"));
    printf("%s (%s)\n", graft_print_text(o, "out"), graft_print_bytes(size, bytes, sizeof bytes));
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    const char *out = a->out;
    if (!out)
        out = a->common.n_args > 1 ? "report.html" : graft_path_join(arena, a->common.args[0], "report.html");
    int rc = out ? graft_report(&result, env, a->common.args, a->common.n_args, out, &a->report, err)
                 : graft_err_nomem(err);
    graft_arena_free(arena);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_report = {
    .name = "report",
    .arguments = "RUN...",
    .heading = "Look at it",
    .summary = "a page about a run, or several side by side",
    .examples = "  graft report pets\n"
                "  graft report pets-head pets-full -o both.html\n",
    .details = "RUN is a folder that graft fit wrote. The page is one file that asks for nothing else: "
               "curves, what was\n"
               "taken for what, the most wrong and the least sure samples, calibration, maps of the features "
               "before\n"
               "and after, what was frozen, doubts about the data, and how to repeat the run. Samples are "
               "read from\n"
               "the data that the run was made of; where these are gone, the page says so.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 32,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
