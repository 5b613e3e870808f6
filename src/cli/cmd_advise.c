#include "cli/cli.h"

#include <stddef.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    graft_advise_options advise;
    const char *data;
} arguments;

static const arguments initial = {.advise = GRAFT_ADVISE_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "data",
     .letter = 'd',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(data),
     .value = "DATA",
     .help = "labelled data, as graft fit takes them"},
    {.name = "boundaries",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(advise.boundaries),
     .value = "PLANS",
     .help = "plans parted by commas, below whose trained part features are judged; head,top:1,top:2,top:3"},
    {.name = "probe",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(advise.probe_seconds),
     .value = "SECONDS",
     .least = 0,
     .most = 1e7,
     .help = "also train the best candidates for about so long, the better half longer"},
    {.name = "samples",
     .kind = GRAFT_OPT_INT,
     .offset = AT(advise.most),
     .value = "N",
     .least = 10,
     .most = 20000,
     .help = "of the training part that are judged by; 1000"},
    {.name = "family",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(advise.family),
     .value = "NAME",
     .help = "of checkpoints without config.json; recognised unless given"},
    {.name = "seed",
     .kind = GRAFT_OPT_SEED,
     .offset = AT(advise.seed),
     .value = "N",
     .help = "of the split; 0"},
    {.name = "dtype",
     .kind = GRAFT_OPT_CHOICE,
     .offset = AT(advise.precision),
     .value = "fp32|bf16|bf16x3",
     .help = "numbers to compute with"},
    {.name = "no-cache",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(advise.no_cache),
     .help = "neither read nor fill the bottleneck cache"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Data", graft_opts_data, GRAFT_COUNT(graft_opts_data), AT(advise.data)},
    {NULL, graft_opts_parts, GRAFT_COUNT(graft_opts_parts), AT(advise.data)},
    {NULL, graft_opts_per_class, GRAFT_COUNT(graft_opts_per_class), AT(advise.data)},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static double real(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

/* A share as per cent; "-" when it is none. */
static const char *percent(const json_t *o, const char *key, char *out, size_t size) {
    const json_t *v = json_object_get(o, key);
    snprintf(out, size, "-");
    if (json_is_number(v)) snprintf(out, size, "%.1f", 100 * json_number_value(v));
    return out;
}

static const char *figure(const json_t *o, const char *key, char *out, size_t size) {
    const json_t *v = json_object_get(o, key);
    snprintf(out, size, "-");
    if (json_is_number(v)) snprintf(out, size, "%.3g", json_number_value(v));
    return out;
}

static void print_model(const json_t *m) {
    static const char *const scores[] = {"logme", "h_score", "transrate", "gbc", "leep", "nce"};
    const json_t *e = json_object_get(m, "evidence"), *b;
    size_t i;
    char text[32];
    printf("\n%s: %s\n", graft_print_text(m, "model"), graft_print_text(m, "description"));
    printf("  %s data, %s: %s\n", graft_print_text(m, "size"), graft_print_text(m, "similarity"),
           graft_print_text(m, "why"));
    printf("  %-10s %7s %7s %6s", "boundary", "probe", "+/-", "kNN");
    for (size_t s = 0; s < GRAFT_COUNT(scores); s++) printf(" %9s", scores[s]);
    printf("\n");
    json_array_foreach(json_object_get(e, "boundaries"), i, b) {
        const json_t *probe = json_object_get(b, "probe");
        printf("  %-10s %7s", graft_print_text(b, "plan"), percent(probe, "accuracy", text, sizeof text));
        printf(" %7s", percent(probe, "standard_error", text, sizeof text));
        printf(" %6s", percent(b, "knn", text, sizeof text));
        for (size_t s = 0; s < GRAFT_COUNT(scores); s++)
            printf(" %9s", figure(b, scores[s], text, sizeof text));
        printf("\n");
    }
    const json_t *input = json_object_get(e, "input");
    printf("  %-10s %7s", "the input", percent(input, "accuracy", text, sizeof text));
    printf(" %7s\n", percent(input, "standard_error", text, sizeof text));
}

static void print_ranking(const json_t *o) {
    const json_t *row;
    size_t i;
    bool probed = real(o, "probe_seconds") > 0;
    char expected[32], measured[32], bytes[32];
    printf("\n  %-28s %-8s %8s %7s%s %10s %10s\n", "model", "plan", "expected", "gain",
           probed ? "   probed" : "", "seconds", "memory");
    json_array_foreach(json_object_get(o, "ranking"), i, row) {
        const char *path = graft_print_text(row, "model");
        size_t n = strlen(path);
        printf("  %-28s %-8s %8s %+7.1f", n > 28 ? path + n - 28 : path, graft_print_text(row, "plan"),
               percent(row, "expected", expected, sizeof expected), 100 * real(row, "gain"));
        bool lost = json_is_string(json_object_get(row, "diverged"));
        if (probed) printf(" %8s", lost ? "diverged" : percent(row, "measured", measured, sizeof measured));
        printf(" %10.1f %10s\n", real(row, "seconds"),
               graft_print_bytes(real(row, "memory"), bytes, sizeof bytes));
    }
}

static void print_command(const json_t *o) {
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(o, "ranking"), i, row) {
        if (strcmp(graft_print_text(row, "model"), graft_print_text(o, "model")) != 0 ||
            strcmp(graft_print_text(row, "plan"), graft_print_text(o, "plan")) != 0)
            continue;
        printf("\n%s\n", graft_print_text(row, "command"));
        return;
    }
}

static void human(const json_t *o) {
    const json_t *models = json_object_get(o, "models");
    const json_t *e = json_object_get(json_array_get(models, 0), "evidence");
    printf("%s\n", graft_print_text(o, "verdict"));
    printf("%lld training samples of %lld classes, %lld to %lld a class; judged by %lld in %.1f s\n",
           (long long)real(e, "n_train"), (long long)real(e, "n_classes"), (long long)real(e, "rarest_class"),
           (long long)real(e, "commonest_class"), (long long)real(e, "n_judged"), real(o, "seconds"));
    for (size_t i = 0; i < json_array_size(models); i++) print_model(json_array_get(models, i));
    print_ranking(o);
    print_command(o);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    if (!a->data) return graft_err_set(err, GRAFT_EUSAGE, "for which data? give them with --data DATA");
    int rc = graft_advise(&result, env, a->common.args, a->common.n_args, a->data, &a->advise, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_advise = {
    .name = "advise",
    .arguments = "MODEL... --data DATA",
    .summary = "which model suits the data, and what of it to train, before training",
    .examples = "  graft advise resnet-18 resnet-50 --data photos\n"
                "  graft advise all-MiniLM-L6-v2 --data reviews.csv --probe 60\n",
    .details =
        "One forward pass over the samples, kept in the bottleneck cache, gives features at several\n"
        "boundaries. They are judged by cross-validated linear heads, nearest neighbours and scores of\n"
        "transferability. The expected accuracy ranks; it is no promise: --probe measures.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 64,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
