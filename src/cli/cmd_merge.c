#include "cli/cli.h"

#include <stddef.h>

typedef struct arguments {
    graft_common common;
    const char *out, *adapter;
} arguments;

static const arguments initial = {.common = {.json = false}};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "OUT",
     .help = "folder that is written"},
    {.name = "adapter",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(adapter),
     .value = "DIR",
     .help = "an adapter's folder over MODEL; without it MODEL is one itself"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void human(const json_t *o) {
    char n[32];
    printf("adapters of %s layers are in the weights of %s\n", graft_print_number(o, "layers", n, sizeof n),
           graft_print_text(o, "base"));
    if (json_is_true(json_object_get(o, "verified")))
        printf("the probe inputs answer as before (largest difference of a logit %.2g)\n",
               json_number_value(json_object_get(o, "verify_difference")));
    printf("%s\n", graft_print_text(o, "out"));
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    if (!a->out) return graft_err_set(err, GRAFT_EUSAGE, "where to? give a folder with -o OUT");
    int rc = graft_merge_adapter(&result, env, a->common.args[0], a->adapter, a->out, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_merge = {
    .name = "merge",
    .arguments = "MODEL -o OUT",
    .heading = "Make others of it",
    .summary = "an adapter's folder (LoRA) becomes a whole model",
    .examples = "  graft merge intents-lora -o intents\n"
                "  graft merge bert-base-uncased --adapter their-lora -o merged\n",
    .details =
        "MODEL is a folder that graft fit --train lora or peft wrote. Its base model has to be where it "
        "was, beside\nthe folder, or in the hub's cache; else name it, and the folder with --adapter.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 1,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
