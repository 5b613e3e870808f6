#include "cli/cli.h"

#include <stddef.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    const char *family, *train;
} arguments;

static const arguments initial = {.family = NULL};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "train",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(train),
     .value = "PLAN",
     .help = "also what this plan trains, phase by phase; plans as of graft fit"},
    {.name = "family",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(family),
     .value = "NAME",
     .help = "of a checkpoint without config.json; recognised unless given"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

/* One column a phase where there are several. */
static void print_marks(const json_t *phases) {
    size_t n = json_array_size(phases);
    for (size_t i = 0; i < n; i++) {
        const char *mark = json_string_value(json_array_get(phases, i));
        if (n == 1)
            printf("  %s", mark);
        else
            printf("%s %2s", i ? "" : " ",
                   strcmp(mark, "trained") == 0  ? "T"
                   : strcmp(mark, "partly") == 0 ? "t"
                                                 : ".");
    }
}

static void print_stages(const json_t *stages, size_t n_phases) {
    char parameters[32];
    printf("\n  %-12s %12s%s", "stage", "parameters", n_phases == 1 ? "  plan" : n_phases ? " " : "");
    for (size_t i = 0; n_phases > 1 && i < n_phases; i++) printf(" %2zu", i + 1);
    printf("\n");
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *stage = json_array_get(stages, i);
        printf("  %-12s %12s", graft_print_text(stage, "name"),
               graft_print_number(stage, "parameters", parameters, sizeof parameters));
        print_marks(json_object_get(stage, "phases"));
        printf("\n");
    }
    if (n_phases > 1) printf("  (phases: T all of it trains, t some of it, . frozen)\n");
}

static void print_labels(const json_t *o) {
    enum { SHOWN = 20 };
    const json_t *labels = json_object_get(o, "labels");
    size_t n = json_array_size(labels);
    if (!json_is_true(json_object_get(o, "labels_known"))) {
        printf("classes        %zu, not named\n", n);
        return;
    }
    printf("classes        %zu:", n);
    for (size_t i = 0; i < n && i < SHOWN; i++)
        printf("%s %s", i ? "," : "", json_string_value(json_array_get(labels, i)));
    printf("%s\n", n > SHOWN ? ", ..." : "");
}

static void print_kept(const json_t *kept, const char *noun) {
    double sample = json_number_value(json_object_get(kept, "values_a_sample")),
           token = json_number_value(json_object_get(kept, "values_a_token"));
    char bytes[32];
    if (sample > 0) printf(", %s kept a %s", graft_print_bytes(4 * sample, bytes, sizeof bytes), noun);
    if (token > 0) printf(", %s kept a token", graft_print_bytes(4 * token, bytes, sizeof bytes));
}

/* Products are counted a picture, of texts a token. */
static void print_cost(const json_t *phase, bool texts) {
    const json_t *cost = json_object_get(phase, "multiply_adds"), *kept = json_object_get(phase, "kept");
    double frozen = json_number_value(json_object_get(cost, "frozen")) / 1e6;
    if (!cost) return;
    printf("million multiply-adds a %s: %.4g forward and %.4g backward in a step",
           texts ? "token" : "picture", json_number_value(json_object_get(cost, "forward")) / 1e6,
           json_number_value(json_object_get(cost, "backward")) / 1e6);
    if (frozen > 0) printf(", %.4g frozen, once where they are cached", frozen);
    print_kept(kept, texts ? "text" : "picture");
    printf("\n");
}

static void print_phase(const json_t *phase, size_t i, size_t n, const json_t *plan, bool texts) {
    const json_t *norms = json_object_get(phase, "norms");
    char trained[32], frozen[32], epochs[32];
    printf("\n");
    if (n > 1) {
        printf("phase %zu of %zu: ", i + 1, n);
        if (json_object_get(phase, "epochs"))
            printf("%s epochs of ", graft_print_number(phase, "epochs", epochs, sizeof epochs));
    }
    printf("%s trains %s parameters and freezes %s\n",
           n > 1 ? graft_print_text(phase, "plan") : graft_print_text(plan, "train"),
           graft_print_number(phase, "trained_parameters", trained, sizeof trained),
           graft_print_number(phase, "frozen_parameters", frozen, sizeof frozen));
    int layers = (int)json_integer_value(json_object_get(norms, "layers")),
        moving = (int)json_integer_value(json_object_get(norms, "statistics_may_move")),
        statistics = (int)json_integer_value(json_object_get(norms, "with_statistics"));
    if (layers)
        printf("%d of %d norms train", (int)json_integer_value(json_object_get(norms, "trained")), layers);
    if (statistics)
        printf("; running statistics move in %d of them at most (--norm), in the others never", moving);
    if (layers) printf("\n");
    print_cost(phase, texts);
}

/* How inputs are made: of pictures the preprocessing, of texts the tokens. */
static void print_input(const json_t *o) {
    const json_t *text = json_object_get(o, "text");
    char tokens[32], words[32];
    if (!text) {
        printf("preprocessing  %s\n", graft_print_text(o, "preprocessing"));
        return;
    }
    printf("tokens         at most %s a text, of a vocabulary of %s; %s\n",
           graft_print_number(text, "max_length", tokens, sizeof tokens),
           graft_print_number(text, "vocabulary", words, sizeof words),
           json_is_true(json_object_get(text, "tokenizer")) ? "the tokenizer lies beside the weights"
                                                            : "no tokenizer beside the weights");
    printf("pooling        %s%s\n", graft_print_text(text, "pooling"),
           json_is_true(json_object_get(text, "unit")) ? ", scaled to length 1" : "");
    printf("task           %s\n", graft_print_text(text, "task"));
}

static void human_adapter(const json_t *adapter) {
    char layers[32];
    if (!adapter) return;
    printf("adapters       LoRA of rank %d, alpha %g, beside %s layers of %s\n",
           (int)json_integer_value(json_object_get(adapter, "r")),
           json_number_value(json_object_get(adapter, "alpha")),
           graft_print_number(adapter, "layers", layers, sizeof layers), graft_print_text(adapter, "base"));
}

static void human(const json_t *o) {
    char parameters[32], features[32];
    const json_t *plan = json_object_get(o, "plan");
    printf("%s (%s)%s\n", graft_print_text(o, "description"), graft_print_text(o, "family"),
           json_is_true(json_object_get(o, "from_scratch")) ? ", without weights" : "");
    printf("parameters     %s\n", graft_print_number(o, "parameters", parameters, sizeof parameters));
    printf("features       %s\n", graft_print_number(o, "features", features, sizeof features));
    print_input(o);
    human_adapter(json_object_get(o, "adapter"));
    print_labels(o);
    const json_t *phases = json_object_get(plan, "phases");
    size_t n = json_array_size(phases);
    print_stages(json_object_get(o, "stages"), n);
    for (size_t i = 0; i < n; i++)
        print_phase(json_array_get(phases, i), i, n, plan, json_object_get(o, "text") != NULL);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    int rc = graft_inspect(&result, env, a->common.args[0], a->family, a->train, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "family, stages, parameters, features, how inputs are made, labels",
    .examples = "  graft inspect resnet-50\n  graft inspect resnet-50 --train top:1\n"
                "  graft inspect resnet-50 --train 'head@3,full'\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 1,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
