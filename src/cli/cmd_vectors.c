#include "cli/cli.h"

#include <stddef.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    int64_t top, first;
    const char *list, *out, *encoder, *into;
    bool product;
} arguments;

static const arguments initial = {.top = 0};

#define AT(field) offsetof(arguments, field)
static const graft_opt own_options[] = {
    {.name = "top",
     .kind = GRAFT_OPT_INT,
     .offset = AT(top),
     .value = "N",
     .least = 1,
     .most = 1000000,
     .help = "similar, analogy: words told; 10"},
    {.name = "product",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(product),
     .help = "analogy: likenesses are multiplied, not added, so that none decides alone (3CosMul)"},
    {.name = "first",
     .letter = 'n',
     .kind = GRAFT_OPT_INT,
     .offset = AT(first),
     .value = "N",
     .least = 1,
     .most = 4294967295.0,
     .help = "trim, model: the file's first N words, which are its most frequent ones; model: 50000 with "
             "--words"},
    {.name = "words",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(list),
     .value = "LIST",
     .help =
         "trim: the words of this file, one a line; model: data whose words are taken, by subwords if need "
         "be"},
    {.name = "encoder",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(encoder),
     .value = "NAME",
     .help = "model: what reads the vectors, mean, cnn or lstm; mean"},
    {.name = "into",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(into),
     .value = "MODEL",
     .help = "model: the folder of a text model, such as BERT, whose token vectors these take the place of"},
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "OUT",
     .help = "trim: written as text, or in word2vec's binary format when it ends in .bin; model: a folder"},
};

static const graft_opt_group groups[] = {
    {"What", own_options, GRAFT_COUNT(own_options), 0},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void human_neighbours(const json_t *o) {
    const json_t *list = json_object_get(o, "neighbours");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        printf("%.6f  %s\n", json_number_value(json_object_get(e, "score")), graft_print_text(e, "word"));
    }
}

static void human_vectors(const json_t *o) {
    const json_t *list = json_object_get(o, "vectors");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i), *values = json_object_get(e, "values");
        printf("%s", graft_print_text(e, "word"));
        for (size_t k = 0; k < json_array_size(values); k++)
            printf(" %.9g", json_number_value(json_array_get(values, k)));
        putchar('\n');
    }
}

static void human_trim(const json_t *o) {
    char n[32], width[32], missing[32];
    printf("%s\t%s words x %s; %s left out\n", graft_print_text(o, "out"),
           graft_print_number(o, "n", n, sizeof n), graft_print_number(o, "width", width, sizeof width),
           graft_print_number(o, "missing", missing, sizeof missing));
}

static int trim(graft_env *env, const arguments *a, graft_err *err) {
    char *result = NULL;
    if (!a->out) return graft_err_set(err, GRAFT_EUSAGE, "where to? give a file with -o OUT");
    if (a->common.n_args > 2)
        return graft_err_set(err, GRAFT_EUSAGE, "'vectors trim' takes its words from a file: --words LIST");
    if (!a->first == !a->list)
        return graft_err_set(err, GRAFT_EUSAGE, "which words? give either -n N or --words LIST");
    int rc = graft_words_trim(&result, env, a->common.args[1], a->out, a->first, a->list, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human_trim, err);
}

static void human_model(const json_t *o) {
    char n[32], subwords[32];
    printf("%s\t%s words, %s by subwords; read by: %s\n", graft_print_text(o, "out"),
           graft_print_number(o, "n", n, sizeof n),
           graft_print_number(o, "by_subwords", subwords, sizeof subwords), graft_print_text(o, "encoder"));
}

static void human_into(const json_t *o) {
    char n[32], shared[32];
    printf("%s\t%s words, %s with the vectors of %s\n", graft_print_text(o, "out"),
           graft_print_number(o, "n", n, sizeof n), graft_print_number(o, "shared", shared, sizeof shared),
           graft_print_text(o, "model"));
}

static int model(graft_env *env, const arguments *a, graft_err *err) {
    char *result = NULL;
    if (!a->out) return graft_err_set(err, GRAFT_EUSAGE, "where to? give a folder with -o OUT");
    if (a->common.n_args > 2)
        return graft_err_set(err, GRAFT_EUSAGE, "'vectors model' takes its words from data: --words DATA");
    if (a->into && a->encoder)
        return graft_err_set(err, GRAFT_EUSAGE, "--into MODEL brings the encoder: leave --encoder out");
    if (a->into) {
        int into =
            graft_words_into(&result, env, a->common.args[1], a->into, a->out, a->list, NULL, a->first, err);
        return into < 0 ? into : graft_print_result(&a->common, result, human_into, err);
    }
    int rc =
        graft_words_model(&result, env, a->common.args[1], a->out, a->encoder, a->list, NULL, a->first, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human_model, err);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    const char *verb = a->common.args[0], *file = a->common.args[1];
    const char *const *words = a->common.args + 2;
    size_t n = a->common.n_args - 2;
    char *result = NULL;
    if (strcmp(verb, "trim") == 0) return trim(env, a, err);
    if (strcmp(verb, "model") == 0) return model(env, a, err);
    bool similar = strcmp(verb, "similar") == 0, get = strcmp(verb, "get") == 0;
    if (!similar && !get && strcmp(verb, "analogy") != 0) {
        return graft_err_set(err, GRAFT_EUSAGE,
                             "unknown 'vectors %s', one of: similar, analogy, get, trim, model", verb);
    }
    if (similar || get ? n < 1 : n != 3) {
        return graft_err_set(err, GRAFT_EUSAGE, "'vectors %s' needs %s", verb,
                             similar || get ? "a word" : "three words: A is to B as C is to what?");
    }
    if (a->product && (similar || get))
        return graft_err_set(err, GRAFT_EUSAGE, "--product goes with 'vectors analogy'");
    int rc = similar      ? graft_words_similar(&result, env, file, words, n, a->top, err)
             : get        ? graft_words_get(&result, env, file, words, n, err)
             : a->product ? graft_words_analogy_product(&result, env, file, words, a->top, err)
                          : graft_words_analogy(&result, env, file, words, a->top, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, get ? human_vectors : human_neighbours, err);
}

const graft_command graft_command_vectors = {
    .name = "vectors",
    .arguments = "similar|analogy|get|trim|model FILE [WORD...]",
    .summary = "nearest words, analogies and values of word vectors, and models over them",
    .examples = "  graft vectors similar cc.en.300.bin coffee\n"
                "  graft vectors analogy glove.txt man king woman\n"
                "  graft vectors trim cc.en.300.bin -n 50000 -o small.vec\n"
                "  graft vectors model cc.en.300.bin --encoder cnn --words reviews.csv -o start\n"
                "  graft vectors model cc.de.300.bin --words rezensionen.csv --into bert-base -o start\n",
    .details =
        "Reads word2vec (text, binary), GloVe and fastText (.vec, .bin, .ftz); the file is mapped, not\n"
        "loaded. A word that is not there goes by its character n-grams where the file has them.\n"
        "analogy A B C: A is to B as C is to what?\n"
        "model: a folder for graft fit, which also takes the file itself.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = SIZE_MAX,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
