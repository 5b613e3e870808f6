#include "cli/cli.h"

#include <stddef.h>

typedef struct arguments {
    graft_common common;
} arguments;

static const arguments initial = {.common = {.json = false}};

static const graft_opt_group groups[] = {
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), offsetof(arguments, common)},
};

static void human(const json_t *o) {
    char n[32];
    printf("%s probe inputs answer as when the model was saved (largest difference of a logit %.2g)\n",
           graft_print_number(o, "n_inputs", n, sizeof n),
           json_real_value(json_object_get(o, "max_difference")));
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    int rc = graft_verify(&result, env, a->common.args[0], err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_verify = {
    .name = "verify",
    .arguments = "OUT",
    .summary = "replay the probe inputs that every saved model carries",
    .examples = "  graft verify pets\n",
    .details = "Exit status 3 when the model answers differently than when it was saved.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 1,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
