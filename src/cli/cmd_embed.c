#include "cli/cli.h"

#include <stddef.h>

typedef struct arguments {
    graft_common common;
    graft_use_options use;
    const char *adapter;
    const char *out;
} arguments;

static const arguments initial = {.use = GRAFT_USE_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "FILE",
     .help = "written as .npy, or as .safetensors with the tensor 'features'"},
    {.name = "input",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.data.input_column),
     .value = "COLUMN",
     .help = "column of a table that has the pictures' paths, or the texts"},
    {.name = "text",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.inputs_are_texts),
     .help = "the inputs are texts themselves, not files of them"},
    {.name = "pooling",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.pooling),
     .value = "NAME",
     .help = "of texts: first, last, mean or max; what the model's files say, else mean"},
    {.name = "max-length",
     .kind = GRAFT_OPT_INT,
     .offset = AT(use.max_length),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "tokens of a text, longer ones are cut; what the model's files say"},
    {.name = "stride",
     .kind = GRAFT_OPT_INT,
     .offset = AT(use.stride),
     .value = "N",
     .least = 0,
     .most = 1e6,
     .given_zero = -1,
     .help = "longer texts are read in windows that share N tokens, and their rows averaged; 0: they are "
             "cut; what the model's files say"},
    {.name = "max-bad",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(use.data.max_bad),
     .value = "SHARE",
     .least = 0,
     .most = 1,
     .help = "share of inputs that may be unreadable; their rows are NaN; 0"},
    {.name = "family",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.family),
     .value = "NAME",
     .help = "of a checkpoint without config.json; recognised unless given"},
    {.name = "dtype",
     .kind = GRAFT_OPT_CHOICE,
     .offset = AT(use.precision),
     .value = "fp32|bf16|bf16x3",
     .help = "numbers to compute with; features are written as fp32"},
    {.name = "no-cache",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.no_cache),
     .help = "neither read nor fill the bottleneck cache"},
    {.name = "adapter",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(adapter),
     .value = "DIR",
     .help = "a LoRA adapter over MODEL"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void human(const json_t *o) {
    char n[32], width[32];
    printf("%s\t%s x %s\n", graft_print_text(o, "out"), graft_print_number(o, "n", n, sizeof n),
           graft_print_number(o, "width", width, sizeof width));
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    graft_use_options use = a->use;
    char *result = NULL;
    use.adapters = &a->adapter;
    use.n_adapters = a->adapter != NULL;
    if (!a->out) return graft_err_set(err, GRAFT_EUSAGE, "where to? give a file with -o FILE");
    int rc = graft_embed(&result, env, a->common.args[0], a->common.args + 1, a->common.n_args - 1, a->out,
                         &use, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_embed = {
    .name = "embed",
    .arguments = "MODEL INPUT... -o FILE",
    .summary = "features of pictures or texts, one row an input",
    .examples = "  graft embed resnet-50 photos/ -o photos.npy\n"
                "  graft embed all-MiniLM-L6-v2 sentences.txt -o sentences.npy\n",
    .details = "Writes the pooled features below the head, [inputs, width] float32, in input order.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = SIZE_MAX,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
