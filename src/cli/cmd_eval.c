#include "cli/cli.h"

#include <stddef.h>

typedef struct arguments {
    graft_common common;
    graft_use_options use;
    const char *adapter;
} arguments;

static const arguments initial = {.use = GRAFT_USE_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "part",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.part),
     .value = "PART",
     .help = "train, val, test or all; test where the data have one, else val, else all"},
    {.name = "family",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.family),
     .value = "NAME",
     .help = "of a checkpoint without config.json; recognised unless given"},
    {.name = "batch",
     .kind = GRAFT_OPT_INT,
     .offset = AT(use.batch),
     .value = "N",
     .least = 1,
     .most = 65536,
     .help = "samples at a time; 32"},
    {.name = "stride",
     .kind = GRAFT_OPT_INT,
     .offset = AT(use.stride),
     .value = "N",
     .least = 0,
     .most = 1e6,
     .given_zero = -1,
     .help = "longer texts are read in windows that share N tokens, and their answers joined; 0: they are "
             "cut; what the model's files say"},
    {.name = "dtype",
     .kind = GRAFT_OPT_CHOICE,
     .offset = AT(use.precision),
     .value = "fp32|bf16|bf16x3",
     .help = "numbers to compute with"},
    {.name = "no-cache",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.no_cache),
     .help = "neither read nor fill the bottleneck cache"},
    {.name = "adapter",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(adapter),
     .value = "DIR",
     .help = "a LoRA adapter over MODEL"},
    {.name = "uncalibrated",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.uncalibrated),
     .help = "without the temperature and the thresholds that the folder keeps"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Data", graft_opts_data, GRAFT_COUNT(graft_opts_data), AT(use.data)},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void print_class(const json_t *classes, const char *name) {
    static const char *const keys[] = {"precision", "recall", "f1", "support"};
    const json_t *row = json_object_get(classes, name);
    char text[32];
    for (size_t i = 0; i < GRAFT_COUNT(keys); i++)
        printf("%9s  ", graft_print_number(row, keys[i], text, sizeof text));
    printf("%s\n", name);
}

/* One row a class, or a kind of entity where words were tagged. */
static void print_classes(const json_t *o) {
    const json_t *labels = json_object_get(o, "labels"), *classes = json_object_get(o, "classes");
    json_t *types = json_object_get(o, "types");
    const char *name;
    json_t *type;
    if (!classes && !types) return;
    printf("\n%9s  %9s  %9s  %9s  %s\n", "precision", "recall", "f1", types ? "entities" : "samples",
           types ? "type" : "class");
    for (size_t i = 0; classes && i < json_array_size(labels); i++)
        print_class(classes, json_string_value(json_array_get(labels, i)));
    json_object_foreach(types, name, type) {
        print_class(types, name);
    }
}

static void human(const json_t *o) {
    /* of every task; what a task does not measure is not there */
    static const char *const keys[] = {"accuracy",
                                       "top5",
                                       "balanced_accuracy",
                                       "macro_f1",
                                       "subset_accuracy",
                                       "precision",
                                       "recall",
                                       "f1",
                                       "spearman",
                                       "pearson",
                                       "mse",
                                       "mae",
                                       "mean_average_precision",
                                       "r2",
                                       "hamming_loss",
                                       "log_loss",
                                       "ece",
                                       "temperature"};
    char text[32];
    printf("%-23s %s (part %s)\n", "n", graft_print_number(o, "n", text, sizeof text),
           graft_print_text(o, "part"));
    for (size_t i = 0; i < GRAFT_COUNT(keys); i++)
        if (json_object_get(o, keys[i]))
            printf("%-23s %s\n", keys[i], graft_print_number(o, keys[i], text, sizeof text));
    print_classes(o);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    graft_use_options use = a->use;
    char *result = NULL;
    use.adapters = &a->adapter;
    use.n_adapters = a->adapter != NULL;
    int rc = graft_eval(&result, env, a->common.args[0], a->common.args[1], &use, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_eval = {
    .name = "eval",
    .arguments = "MODEL DATA",
    .summary = "metrics on labelled data",
    .examples = "  graft eval pets photos\n  graft eval resnet20.th cifar/test --labels classes.txt --json\n",
    .details = "Labels are matched by name. A checkpoint that names no classes takes the data's, in "
               "alphabetical order,\nunless --labels says otherwise.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = 2,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
