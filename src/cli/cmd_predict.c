#include "cli/cli.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    graft_use_options use;
    graft_opt_list adapters;
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
    {.name = "text",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.inputs_are_texts),
     .help = "the inputs are texts themselves, not files of them"},
    {.name = "input",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.data.input_column),
     .value = "COLUMN",
     .help = "column of a table that has the pictures' paths, or the texts"},
    {.name = "pair",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(use.data.pair_column),
     .value = "COLUMN",
     .help = "column of a table that has the second text of a pair"},
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
    {.name = "adapter",
     .kind = GRAFT_OPT_LIST,
     .offset = AT(adapters),
     .value = "DIR",
     .help = "a LoRA adapter over MODEL; given several times each answers, its folder first in the line"},
    {.name = "uncalibrated",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(use.uncalibrated),
     .help = "without the temperature and the thresholds that the folder keeps"},
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

static void print_class(const char *label, double confidence) {
    putchar('\t');
    print_field(label);
    printf("\t%.4f", confidence);
}

/* What follows the input, by the task. */
static void print_answer(const arguments *a, const graft_prediction *p) {
    if (p->n_words) {
        for (size_t i = 0; i < p->n_words; i++)
            printf("%c%.*s/%s", i ? ' ' : '\t', (int)p->words[i].size, p->words[i].text,
                   p->words[i].label ? p->words[i].label : "-");
        return;
    }
    if (!strcmp(p->task, "regression")) {
        printf("\t%.6g", p->value);
        return;
    }
    bool many = !strcmp(p->task, "multilabel");
    print_class(p->label ? p->label : "-", p->confidence);
    for (size_t i = 1; (many || a->use.top > 0) && i < p->n_top; i++)
        print_class(p->top_labels[i], p->top_confidences[i]);
}

static void print_tsv(const arguments *a, const graft_prediction *p) {
    if (a->adapters.n > 1) {
        print_field(p->adapter);
        putchar('\t');
    }
    print_field(p->input);
    if (p->problem) {
        fputs("\t-\t-\t", stdout);
        print_field(p->problem);
    } else {
        print_answer(a, p);
    }
    putchar('\n');
}

static json_t *classes_json(const graft_prediction *p) {
    json_t *top = json_array();
    for (size_t i = 0; i < p->n_top && top; i++) {
        json_array_append_new(top, json_pack("{s:o,s:f}", "label", graft_json_string(p->top_labels[i]),
                                             "confidence", p->top_confidences[i]));
    }
    return json_pack("{s:o,s:o,s:f,s:o}", "input", graft_json_string(p->input), "label",
                     p->label ? graft_json_string(p->label) : json_null(), "confidence", p->confidence, "top",
                     top);
}

static json_t *words_json(const graft_prediction *p) {
    json_t *words = json_array();
    for (size_t i = 0; i < p->n_words && words; i++) {
        const graft_tagged_word *w = &p->words[i];
        json_array_append_new(words, json_pack("{s:o,s:o,s:f}", "word", json_stringn(w->text, w->size),
                                               "label", w->label ? graft_json_string(w->label) : json_null(),
                                               "confidence", w->confidence));
    }
    return json_pack("{s:o,s:o}", "input", graft_json_string(p->input), "words", words);
}

static int print_json(const graft_prediction *p) {
    json_t *o;
    if (p->problem)
        o = json_pack("{s:o,s:n,s:o}", "input", graft_json_string(p->input), "label", "error",
                      graft_json_string(p->problem));
    else if (!strcmp(p->task, "tagging"))
        o = words_json(p);
    else if (!strcmp(p->task, "regression"))
        o = json_pack("{s:o,s:f}", "input", graft_json_string(p->input), "value", p->value);
    else
        o = classes_json(p);
    if (o && p->adapter) json_object_set_new(o, "adapter", graft_json_string(p->adapter));
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    if (text) puts(text);
    json_decref(o);
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
    a.use.adapters = a.adapters.items;
    a.use.n_adapters = a.adapters.n;
    int rc = graft_predict(env, a.common.args[0], a.common.args + 1, a.common.n_args - 1, &a.use, print_one,
                           &a, err);
    if (rc == GRAFT_ENOMEM && !err->code) rc = graft_err_nomem(err);
    return ferror(stdout) ? graft_print_end(err) : rc;
}

const graft_command graft_command_predict = {
    .name = "predict",
    .arguments = "MODEL INPUT...",
    .heading = "Use it",
    .summary = "classes of pictures or texts, one line an input",
    .examples = "  graft predict pets new.jpg\n"
                "  graft predict pets holiday/ --top 3 --min-confidence 0.6 --json\n"
                "  graft predict intents --text \"where is my parcel?\"\n",
    .details =
        "Inputs are pictures, folders of pictures, tables or arrays; of a model for texts files with a text "
        "a "
        "line,\nfolders and tables of texts, or, with --text, the texts themselves. A line has the input, "
        "its "
        "class (- when\nthere is none) and the confidence, with tabs between; with --json it is an object.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = SIZE_MAX,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
