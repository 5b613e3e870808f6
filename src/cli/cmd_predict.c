#include "cli/cli.h"

#include <stddef.h>
#include <stdlib.h>

typedef struct arguments {
    graft_common common;
    graft_use_options use;
} arguments;

static const arguments initial = {.use = GRAFT_USE_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "top",
     .kind = GRAFT_OPT_INT,
     .offset = AT(use.top),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "tell the N likeliest classes; 1, with --json 5"},
    {.name = "min-confidence",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(use.min_confidence),
     .value = "P",
     .least = 0,
     .most = 1,
     .help = "answer no class below it"},
    {.name = "labels",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.data.labels_file),
     .value = "FILE",
     .help = "class names in the order of the model's outputs, one a line"},
    {.name = "input",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.data.input_column),
     .value = "COLUMN",
     .help = "column of a table that has the pictures' paths"},
    {.name = "strict",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.data.strict),
     .help = "the first unreadable input ends it"},
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
     .help = "pictures at a time; 32"},
    {.name = "dtype",
     .kind = GRAFT_OPT_CHOICE,
     .offset = AT(use.precision),
     .value = "fp32|bf16",
     .help = "numbers to compute with"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

/* A field of a TSV: tabs and line ends in names would be taken for its own. */
static void print_field(const char *text) {
    for (const char *s = text; *s; s++) {
        switch (*s) {
        case '\t':
            fputs("\\t", stdout);
            break;
        case '\n':
            fputs("\\n", stdout);
            break;
        case '\r':
            fputs("\\r", stdout);
            break;
        default:
            putchar(*s);
        }
    }
}

static void print_tsv(const arguments *a, const graft_prediction *p) {
    print_field(p->input);
    if (p->problem) {
        fputs("\t-\t-\t", stdout);
        print_field(p->problem);
    } else {
        putchar('\t');
        print_field(p->label ? p->label : "-");
        printf("\t%.4f", p->confidence);
        for (size_t i = 1; a->use.top > 0 && i < p->n_top; i++) {
            putchar('\t');
            print_field(p->top_labels[i]);
            printf("\t%.4f", p->top_confidences[i]);
        }
    }
    putchar('\n');
}

static int print_json(const graft_prediction *p) {
    json_t *top = json_array(), *o = NULL;
    for (size_t i = 0; i < p->n_top && top; i++) {
        json_array_append_new(top, json_pack("{s:o,s:f}", "label", graft_json_string(p->top_labels[i]),
                                             "confidence", p->top_confidences[i]));
    }
    if (p->problem) {
        o = json_pack("{s:o,s:n,s:o}", "input", graft_json_string(p->input), "label", "error",
                      graft_json_string(p->problem));
    } else {
        o = json_pack("{s:o,s:o,s:f,s:O}", "input", graft_json_string(p->input), "label",
                      p->label ? graft_json_string(p->label) : json_null(), "confidence", p->confidence,
                      "top", top);
    }
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    if (text) puts(text);
    json_decref(o);
    json_decref(top);
    free(text);
    return text ? 0 : GRAFT_ENOMEM;
}

static int print_one(void *user, const graft_prediction *p) {
    const arguments *a = user;
    int rc = 0;
    if (a->common.json)
        rc = print_json(p);
    else
        print_tsv(a, p);
    return rc < 0 ? rc : ferror(stdout) ? GRAFT_EIO : 0;
}

static int run(graft_env *env, const void *options, graft_err *err) {
    arguments a = *(const arguments *)options;
    int rc = graft_predict(env, a.common.args[0], a.common.args + 1, a.common.n_args - 1, &a.use, print_one,
                           &a, err);
    if (rc == GRAFT_ENOMEM && !err->code) rc = graft_err_nomem(err);
    return ferror(stdout) ? graft_print_end(err) : rc;
}

const graft_command graft_command_predict = {
    .name = "predict",
    .arguments = "MODEL INPUT...",
    .summary = "classes of pictures, one line an input",
    .examples = "  graft predict pets new.jpg\n"
                "  graft predict pets holiday/ --top 3 --min-confidence 0.6 --json\n",
    .details =
        "Inputs are pictures, folders of pictures, tables or arrays. A line has the input, its class "
        "(- when\nthere is none) and the confidence, with tabs between; with --json it is an object.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = SIZE_MAX,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
