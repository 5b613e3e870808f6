#include "cli/cli.h"

#include <stddef.h>
#include <stdlib.h>

typedef struct arguments {
    graft_common common;
    graft_tune_options tune;
    const char *out;
} arguments;

static const arguments initial = {.tune = GRAFT_TUNE_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "OUT",
     .help = "folder of the best model and of runs.sqlite; a search there goes on"},
    {.name = "search",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(tune.search),
     .value = "SPACE",
     .help = "options of graft fit and what to try for them: values between bars, or LOW..HIGH for a number; "
             "plan, "
             "rates, label smoothing and augmentation unless given"},
    {.name = "trials",
     .kind = GRAFT_OPT_INT,
     .offset = AT(tune.trials),
     .value = "N",
     .least = 1,
     .most = 1e5,
     .help = "settings that are tried; 18. A third of them goes on to each of two longer rounds"},
    {.name = "budget",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(tune.seconds),
     .value = "SECONDS",
     .least = 0.001,
     .most = 1e9,
     .help = "after these no trial is begun; no limit"},
    {.name = "epochs",
     .kind = GRAFT_OPT_INT,
     .offset = AT(tune.fit.epochs),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "of the last round; chosen from the data's size unless given"},
    {.name = "batch",
     .kind = GRAFT_OPT_INT,
     .offset = AT(tune.fit.batch),
     .value = "N",
     .least = 1,
     .most = 65536,
     .help = "samples an update; 32, less for few samples"},
    {.name = "seed",
     .kind = GRAFT_OPT_SEED,
     .offset = AT(tune.fit.seed),
     .value = "N",
     .help = "of the settings drawn, the split and the training; 0"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Model", graft_opts_reading, GRAFT_COUNT(graft_opts_reading), AT(tune.fit)},
    {"Data", graft_opts_data, GRAFT_COUNT(graft_opts_data), AT(tune.fit.data)},
    {NULL, graft_opts_parts, GRAFT_COUNT(graft_opts_parts), AT(tune.fit.data)},
    {NULL, graft_opts_per_class, GRAFT_COUNT(graft_opts_per_class), AT(tune.fit.data)},
    {"Machine", graft_opts_machine, GRAFT_COUNT(graft_opts_machine), AT(tune.fit)},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void human(const json_t *o) {
    const json_t *best = json_object_get(o, "best"), *fit = json_object_get(o, "fit");
    char n[32], trained[32], failed[32], score[32], test[32];
    char *settings = json_dumps(json_object_get(best, "settings"), JSON_SORT_KEYS | JSON_REAL_PRECISION(4));
    const char *name = graft_print_text(best, "score_name");
    printf("best: trial %s, validation %s %s, plan %s  %s\n", graft_print_number(best, "number", n, sizeof n),
           name, graft_print_number(best, "score", score, sizeof score), graft_print_text(best, "plan"),
           settings ? settings : "");
    if (json_is_object(json_object_get(fit, "test")))
        printf("test %s %s\n", name, graft_print_number(fit, name, test, sizeof test));
    printf("%s runs, %s of them failed; graft runs lists them\n%s\n",
           graft_print_number(o, "trained", trained, sizeof trained),
           graft_print_number(o, "failed", failed, sizeof failed), graft_print_text(o, "out"));
    free(settings);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    if (!a->out) return graft_err_set(err, GRAFT_EUSAGE, "where to? give a folder with -o OUT");
    int rc = graft_tune(&result, env, a->common.args[0], a->common.args[1], a->out, &a->tune, err);
    if (rc == GRAFT_EINTERRUPTED)
        return graft_err_set(err, rc, "interrupted; the same command goes on with the trials that ended");
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_tune = {
    .name = "tune",
    .arguments = "MODEL DATA -o OUT",
    .summary = "search the settings of fit, by successive halving",
    .examples =
        "  graft tune resnet-50 photos -o pets\n"
        "  graft tune resnet-50 photos --search 'train=head|top:1|full lr=1e-4..1e-1' --trials 30 -o pets\n",
    .details =
        "Trials are compared by the validation part and share the bottleneck cache; trial 0 is what fit "
        "would do\n"
        "by itself. The same command goes on with a search that was interrupted, or given more trials.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = 2,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
