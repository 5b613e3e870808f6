/* Option tables fill structs by offset. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const graft_opt graft_opts_common[4] = {
    {.name = "json",
     .kind = GRAFT_OPT_FLAG,
     .offset = offsetof(graft_common, json),
     .help = "results (and an error) as JSON on stdout"},
    {.name = "quiet",
     .letter = 'q',
     .kind = GRAFT_OPT_FLAG,
     .offset = offsetof(graft_common, quiet),
     .help = "no progress and no notes on stderr; warnings remain"},
    {.name = "threads",
     .kind = GRAFT_OPT_INT,
     .offset = offsetof(graft_common, threads),
     .value = "N",
     .least = 1,
     .most = 4096,
     .help = "threads to compute with; one a processor unless given"},
    {.name = "help", .letter = 'h', .kind = GRAFT_OPT_FLAG, .help = "this text"},
};

#define DATA(field) offsetof(graft_data_choice, field)
const graft_opt graft_opts_data[9] = {
    {.name = "input",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(input_column),
     .value = "COLUMN",
     .help = "column of a table that has the pictures' paths, or the texts"},
    {.name = "pair",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(pair_column),
     .value = "COLUMN",
     .help = "column of a table that has the second text of a pair"},
    {.name = "task",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(task),
     .value = "NAME",
     .help = "of texts: classes, multilabel or regression; tagged words are tagging by themselves"},
    {.name = "label",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(label_column),
     .value = "COLUMN",
     .help = "column that has the class"},
    {.name = "group",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(group_column),
     .value = "COLUMN",
     .help = "samples with one value of it stay on one side of a split"},
    {.name = "group-pattern",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(group_pattern),
     .value = "REGEX",
     .help = "the same for files: the first capture in the path is the group"},
    {.name = "labels",
     .kind = GRAFT_OPT_TEXT,
     .offset = DATA(labels_file),
     .value = "FILE",
     .help = "class names in order, one a line"},
    {.name = "max-bad",
     .kind = GRAFT_OPT_REAL,
     .offset = DATA(max_bad),
     .value = "SHARE",
     .least = 0,
     .most = 1,
     .given_zero = -1,
     .help = "share of samples that may be unreadable; 1%"},
    {.name = "strict",
     .kind = GRAFT_OPT_FLAG,
     .offset = DATA(strict),
     .help = "the first unreadable sample is an error"},
};

const graft_opt graft_opts_parts[2] = {
    {.name = "validation",
     .kind = GRAFT_OPT_REAL,
     .offset = DATA(validation),
     .value = "SHARE",
     .least = 0,
     .most = 0.9,
     .given_zero = -1,
     .help = "share kept for validation where the data have no such part; 20%"},
    {.name = "test",
     .kind = GRAFT_OPT_REAL,
     .offset = DATA(test),
     .value = "SHARE",
     .least = 0,
     .most = 0.95,
     .help = "share kept for a test where the data have no such part, the same for every seed; none"},
};

const graft_opt graft_opts_per_class[1] = {
    {.name = "per-class",
     .kind = GRAFT_OPT_INT,
     .offset = DATA(per_class),
     .value = "N",
     .least = 1,
     .most = 1e9,
     .help = "use no more labelled samples of a class than these; all"},
};
#undef DATA

/* ---- Finding ---- */

const char *graft_opt_nearest(const char *word, const char *const *words, size_t n) {
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = graft_text_distance(word, words[i]);
        if (d <= least && (!best || d < least)) {
            least = d;
            best = words[i];
        }
    }
    return best;
}

typedef struct found {
    const graft_opt *opt;
    size_t offset; /* of the struct that it fills */
} found;

static found find(const graft_command *c, const char *name, size_t size, char letter) {
    for (size_t g = 0; g < c->n_groups; g++) {
        const graft_opt_group *group = &c->groups[g];
        for (size_t i = 0; i < group->n_rows; i++) {
            const graft_opt *o = &group->rows[i];
            if (!o->name) continue;
            bool same = name ? strlen(o->name) == size && memcmp(o->name, name, size) == 0
                             : letter && o->letter == letter;
            if (same) return (found){o, group->offset};
        }
    }
    return (found){NULL, 0};
}

static int unknown(const graft_command *c, const char *text, size_t size, graft_err *err) {
    char word[48];
    size_t n = 0, most = 0;
    for (size_t g = 0; g < c->n_groups; g++) most += c->groups[g].n_rows;
    const char **names = calloc(most + 1, sizeof *names);
    if (!names) return graft_err_nomem(err);
    for (size_t g = 0; g < c->n_groups; g++)
        for (size_t i = 0; i < c->groups[g].n_rows; i++)
            if (c->groups[g].rows[i].name) names[n++] = c->groups[g].rows[i].name;
    snprintf(word, sizeof word, "%.*s", (int)(size < 47 ? size : 47), text);
    const char *near = graft_opt_nearest(word, names, n);
    free(names);
    if (near)
        return graft_err_set(err, GRAFT_EUSAGE, "unknown option '--%s', did you mean '--%s'?", word, near);
    return graft_err_set(err, GRAFT_EUSAGE, "unknown option '--%s'; see graft %s --help", word, c->name);
}

/* ---- Values ---- */

static int out_of_range(const graft_opt *o, const char *text, graft_err *err) {
    if (isinf(o->most)) {
        return graft_err_set(err, GRAFT_EUSAGE, "--%s %s is not possible: at least %g", o->name, text,
                             o->least);
    }
    return graft_err_set(err, GRAFT_EUSAGE, "--%s %s is not possible: %g to %g", o->name, text, o->least,
                         o->most);
}

static int take_int(const graft_opt *o, void *field, const char *text, graft_err *err) {
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return graft_err_set(err, GRAFT_EUSAGE, "--%s needs a whole number, not '%s'", o->name, text);
    if ((double)x < o->least || (double)x > o->most) return out_of_range(o, text, err);
    *(int64_t *)field = x == 0 && o->given_zero < 0 ? (int64_t)o->given_zero : (int64_t)x;
    return 0;
}

static int take_seed(const graft_opt *o, void *field, const char *text, graft_err *err) {
    char *end;
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    if (end == text || *end || errno || text[0] < '0' || text[0] > '9') {
        return graft_err_set(err, GRAFT_EUSAGE, "--%s needs a whole number that is not negative, not '%s'",
                             o->name, text);
    }
    *(uint64_t *)field = x;
    return 0;
}

static int take_bytes(const graft_opt *o, void *field, const char *text, graft_err *err) {
    static const char units[] = "KMGT";
    char *end;
    double x = strtod(text, &end), factor = 1;
    if (end != text && *end) {
        const char *unit = strchr(units, *end & ~0x20);
        if (unit) {
            factor = ldexp(1.0, 10 * (int)(unit - units + 1));
            end++;
            if (*end == 'i') end++;
            if (*end == 'B' || *end == 'b') end++;
        }
    }
    if (end == text || *end || !(x > 0) || x * factor >= 0x1p63 || x * factor < 1)
        return graft_err_set(err, GRAFT_EUSAGE, "--%s needs a size such as 512M or 2G, not '%s'", o->name,
                             text);
    *(uint64_t *)field = (uint64_t)(x * factor);
    return 0;
}

static int take_real(const graft_opt *o, void *field, const char *text, graft_err *err) {
    char *end;
    if (o->word && strcmp(text, o->word) == 0) {
        *(double *)field = -1.0;
        return 0;
    }
    double x = strtod(text, &end);
    if (end != text && *end == '%') {
        x /= 100;
        end++;
    }
    if (end == text || *end || !isfinite(x))
        return graft_err_set(err, GRAFT_EUSAGE, "--%s needs a number%s%s, not '%s'", o->name,
                             o->word ? " or " : "", o->word ? o->word : "", text);
    if (x < o->least || x > o->most) return out_of_range(o, text, err);
    *(double *)field = !(fabs(x) > 0) && o->given_zero < 0 ? o->given_zero : x;
    return 0;
}

static int take_choice(const graft_opt *o, void *field, const char *text, graft_err *err) {
    size_t size = strlen(text);
    int i = 0;
    for (const char *word = o->value; *word; i++) {
        size_t n = strcspn(word, "|");
        if (n == size && memcmp(word, text, n) == 0) {
            *(int *)field = i;
            return 0;
        }
        word += n + (word[n] == '|');
    }
    return graft_err_set(err, GRAFT_EUSAGE, "--%s is one of %s, not '%s'", o->name, o->value, text);
}

static int take_one_more(const graft_opt *o, graft_opt_list *list, const char *text, graft_err *err) {
    if (list->n == GRAFT_OPT_MOST)
        return graft_err_set(err, GRAFT_EUSAGE, "--%s is given more than %d times", o->name, GRAFT_OPT_MOST);
    list->items[list->n++] = text;
    return 0;
}

static int take(const graft_opt *o, void *field, const char *text, graft_err *err) {
    switch (o->kind) {
    case GRAFT_OPT_FLAG:
        *(bool *)field = true;
        return 0;
    case GRAFT_OPT_SET:
        *(int64_t *)field = (int64_t)o->given_zero;
        return 0;
    case GRAFT_OPT_TEXT:
        *(const char **)field = text;
        return 0;
    case GRAFT_OPT_LIST:
        return take_one_more(o, field, text, err);
    case GRAFT_OPT_CHOICE:
        return take_choice(o, field, text, err);
    case GRAFT_OPT_INT:
        return take_int(o, field, text, err);
    case GRAFT_OPT_SEED:
        return take_seed(o, field, text, err);
    case GRAFT_OPT_BYTES:
        return take_bytes(o, field, text, err);
    case GRAFT_OPT_REAL:
        return take_real(o, field, text, err);
    }
    return 0;
}

/* ---- The line ---- */

static bool has_value(const graft_opt *o) {
    return o->kind != GRAFT_OPT_FLAG && o->kind != GRAFT_OPT_SET;
}

/* Takes argv[*i], an option, and its value, which may be the next argument. */
static int parse_one(const graft_command *c, char *options, int *i, int n, char **argv, bool *help,
                     graft_err *err) {
    const char *text = argv[*i], *value = NULL;
    found f;
    if (text[1] == '-') {
        size_t size = strcspn(text + 2, "=");
        f = find(c, text + 2, size, 0);
        if (!f.opt) return unknown(c, text + 2, size, err);
        if (text[2 + size] == '=') value = text + 3 + size;
    } else {
        f = find(c, NULL, 0, text[1]);
        if (!f.opt) {
            return graft_err_set(err, GRAFT_EUSAGE, "unknown option '%s'; see graft %s --help", text,
                                 c->name);
        }
        if (text[2]) value = text + 2;
    }
    if (!has_value(f.opt) && value)
        return graft_err_set(err, GRAFT_EUSAGE, "--%s takes no value ('%s')", f.opt->name, text);
    if (strcmp(f.opt->name, "help") == 0) {
        *help = true;
        return 0;
    }
    if (has_value(f.opt) && !value) {
        bool is_option = *i + 1 < n && strncmp(argv[*i + 1], "--", 2) == 0;
        if (*i + 1 >= n || is_option || !argv[*i + 1][0])
            return graft_err_set(err, GRAFT_EUSAGE, "--%s needs a value: %s", f.opt->name, f.opt->value);
        value = argv[++*i];
    }
    return take(f.opt, options + f.offset + f.opt->offset, value, err);
}

int graft_opt_parse(const graft_command *c, void *options, const char **args, int n, char **argv, bool *help,
                    graft_err *err) {
    graft_common *common = options;
    bool only_args = false;
    size_t n_args = 0;
    *help = false;
    for (int i = 0; i < n && !*help; i++) {
        const char *text = argv[i];
        if (!only_args && strcmp(text, "--") == 0) {
            only_args = true;
        } else if (!only_args && text[0] == '-' && text[1]) {
            int rc = parse_one(c, options, &i, n, argv, help, err);
            if (rc < 0) return rc;
        } else {
            args[n_args++] = text;
        }
    }
    common->args = args;
    common->n_args = n_args;
    common->words = argv;
    common->n_words = (size_t)n;
    if (*help) return 0;
    if (n_args < c->min_args || n_args > c->max_args) {
        return graft_err_set(err, GRAFT_EUSAGE, "%s: graft %s %s; see graft %s --help",
                             n_args < c->min_args ? "something is missing" : "too many arguments", c->name,
                             c->arguments, c->name);
    }
    for (size_t i = 0; i < n_args; i++)
        if (!args[i][0])
            return graft_err_set(err, GRAFT_EUSAGE, "an argument is empty; see graft %s --help", c->name);
    return 0;
}

/* ---- The line again ---- */

void graft_opt_line(graft_buf *out, const graft_command *c, const graft_common *common) {
    static const char *const left_out[] = {"-q", "--quiet", "--json", "--restart"};
    graft_buf_printf(out, "graft %s", c->name);
    for (size_t i = 0; i < common->n_words; i++) {
        bool out_of_it = false;
        for (size_t k = 0; k < GRAFT_COUNT(left_out); k++)
            out_of_it = out_of_it || strcmp(common->words[i], left_out[k]) == 0;
        if (out_of_it) continue;
        graft_buf_text(out, " ");
        graft_buf_shell(out, common->words[i]);
    }
}
