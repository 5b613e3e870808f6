#include "cli/cli.h"

#include <stddef.h>

typedef struct arguments {
    graft_common common;
    graft_blend_options blend;
    const char *out;
} arguments;

static const arguments initial = {.blend = GRAFT_BLEND_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "OUT",
     .help = "folder that is written"},
    {.name = "alpha",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(blend.alpha),
     .value = "A[,A...]",
     .help = "share of the second of two folders; several with --data: the best one; 0.5, with --data "
             "0,0.1,...,1"},
    {.name = "soup",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(blend.soup),
     .value = "NAME",
     .help =
         "uniform: equal shares; greedy: with --data, from the best on each that does no harm; of more than "
         "two"},
    {.name = "data",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(blend.data_path),
     .value = "DATA",
     .help = "labelled data, on whose validation part shares are chosen and the result is calibrated"},
    {.name = "seed",
     .kind = GRAFT_OPT_SEED,
     .offset = AT(blend.seed),
     .value = "N",
     .help = "of the split of the data, as fit has it; 0"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Data", graft_opts_data, GRAFT_COUNT(graft_opts_data), AT(blend.data)},
    {NULL, graft_opts_parts, GRAFT_COUNT(graft_opts_parts), AT(blend.data)},
    {NULL, graft_opts_per_class, GRAFT_COUNT(graft_opts_per_class), AT(blend.data)},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void print_shares(const json_t *shares) {
    for (size_t i = 0; i < json_array_size(shares); i++)
        printf("%s%.3g", i ? " " : "", json_number_value(json_array_get(shares, i)));
}

static void human(const json_t *o) {
    const char *name = graft_print_text(o, "score");
    const json_t *tried = json_object_get(o, "tried");
    char score[32], n[32];
    for (size_t i = 0; i < json_array_size(tried); i++) {
        const json_t *one = json_array_get(tried, i);
        printf("%s %s, loss %.4f: ", name, graft_print_number(one, name, score, sizeof score),
               json_number_value(json_object_get(one, "loss")));
        print_shares(json_object_get(one, "shares"));
        printf("\n");
    }
    printf("shares ");
    print_shares(json_object_get(o, "shares"));
    printf(", head %s\n", graft_print_text(o, "head"));
    if (json_object_get(o, name))
        printf("%s %s on %s %s samples\n", name, graft_print_number(o, name, score, sizeof score),
               graft_print_number(o, "n", n, sizeof n),
               json_is_object(json_object_get(o, "test")) ? "test" : "validation");
    printf("%s\n", graft_print_text(o, "out"));
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    if (!a->out) return graft_err_set(err, GRAFT_EUSAGE, "where to? give a folder with -o OUT");
    int rc = graft_blend_models(&result, env, a->common.args, a->common.n_args, a->out, &a->blend, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_blend = {
    .name = "blend",
    .arguments = "FOLDER FOLDER... -o OUT",
    .summary = "average the weights of models of one architecture",
    .examples = "  graft blend resnet-50 pets --data photos -o pets-blend\n"
                "  graft blend resnet-50 pets --alpha 0.7 -o pets-blend\n"
                "  graft blend run1 run2 run3 --data photos -o soup\n",
    .details = "Of a pretrained and an adapted model, in this order, a point between them (WiSE-FT) is often "
               "as good on\n"
               "the new data and better on what differs from them; of several runs, their average (a soup). "
               "The last\n"
               "folder gives the classes; a model with others lends what lies below its head.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = SIZE_MAX,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
