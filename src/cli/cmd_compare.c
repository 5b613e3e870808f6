#include "cli/chart.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    graft_compare_options compare;
    const char *out;
} arguments;

static const arguments initial = {.compare = GRAFT_COMPARE_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt main_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "OUT",
     .help = "folder for compare.json and the finished runs, which are not made twice"},
    {.name = "plans",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(compare.plans),
     .value = "LIST",
     .help =
         "what is compared: scratch, and plans as fit --train has them, with commas or semicolons between "
         "them; scratch,head,top:1,full,lora"},
    {.name = "per-class",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(compare.per_class),
     .value = "LIST",
     .help = "labels of a class, fewer among more: 5,10,20,50,all"},
    {.name = "seeds",
     .kind = GRAFT_OPT_INT,
     .offset = AT(compare.seeds),
     .value = "N",
     .least = 1,
     .most = 100,
     .help = "repetitions, each with another split and another start; 3"},
    {.name = "budget",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(compare.budget),
     .value = "SECONDS",
     .least = 1,
     .most = 1e9,
     .help = "begin no run that would end later; the most telling ones come first"},
    {.name = "jobs",
     .kind = GRAFT_OPT_INT,
     .offset = AT(compare.jobs),
     .value = "N",
     .least = 1,
     .most = 4096,
     .help = "runs side by side, which share the threads; as many as are quickest and fit the memory"},
    {.name = "reach",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(compare.reach),
     .value = "SCORE",
     .least = 0.001,
     .most = 1,
     .help = "score whose labels are counted, such as 95%; a point below the best"},
    {.name = "restart",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(compare.fit.restart),
     .help = "forget the runs that OUT has"},
};

static const graft_opt training_options[] = {
    {.name = "epochs",
     .kind = GRAFT_OPT_INT,
     .offset = AT(compare.fit.epochs),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "of every run; chosen from its plan and size unless given"},
    {.name = "batch",
     .kind = GRAFT_OPT_INT,
     .offset = AT(compare.fit.batch),
     .value = "N",
     .least = 1,
     .most = 65536,
     .help = "samples an update; 32, less for few samples"},
    {.name = "augment",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(compare.fit.augment),
     .value = "POLICY",
     .help = "as fit has it"},
    {.name = "early-stop",
     .kind = GRAFT_OPT_INT,
     .offset = AT(compare.fit.early_stop),
     .value = "N",
     .least = -1,
     .most = 1e6,
     .given_zero = -1,
     .help = "evaluations without improvement; 0: never"},
    {.name = "seed",
     .kind = GRAFT_OPT_SEED,
     .offset = AT(compare.fit.seed),
     .value = "N",
     .help = "the first; 0"},
};

static const graft_opt_group groups[] = {
    {"What", main_options, GRAFT_COUNT(main_options), 0},
    {"Model", graft_opts_reading, GRAFT_COUNT(graft_opts_reading), AT(compare.fit)},
    {"Training", training_options, GRAFT_COUNT(training_options), 0},
    {"Data", graft_opts_data, GRAFT_COUNT(graft_opts_data), AT(compare.fit.data)},
    {NULL, graft_opts_parts, GRAFT_COUNT(graft_opts_parts), AT(compare.fit.data)},
    {"Machine", graft_opts_machine, GRAFT_COUNT(graft_opts_machine), AT(compare.fit)},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

/* ---- The table ---- */

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static double mean_of(const json_t *o, const char *key) {
    return number(json_object_get(o, key), "mean");
}

/* "97.6 ± 0.8": in points; the longer side where the other ends at a bound. */
static const char *score_text(const json_t *interval, char *out, size_t size) {
    double mean = number(interval, "mean"), high = number(interval, "high"), low = number(interval, "low");
    if (isnan(mean))
        snprintf(out, size, "-");
    else if (isnan(high))
        snprintf(out, size, "%.1f", 100.0 * mean);
    else
        snprintf(out, size, "%.1f ± %.1f", 100.0 * mean, 100.0 * fmax(high - mean, mean - low));
    return out;
}

static const char *labels_text(const json_t *needed, char *out, size_t size) {
    double n = number(needed, "per_class");
    if (json_is_null(needed) || !needed)
        snprintf(out, size, "-");
    else if (isnan(n) || n > 1e6)
        snprintf(out, size, "never");
    else
        snprintf(out, size, "%s%.0f", json_is_true(json_object_get(needed, "extrapolated")) ? "about " : "",
                 ceil(n));
    return out;
}

static const char *against_text(const json_t *against, char *out, size_t size) {
    double p = number(against, "p_holm"), difference = -mean_of(against, "difference");
    if (isnan(p))
        snprintf(out, size, "-");
    else if (p < 0.001)
        snprintf(out, size, "%+.1f, p < 0.001", 100.0 * difference);
    else
        snprintf(out, size, "%+.1f, p = %.*f", 100.0 * difference, p < 0.1 ? 3 : 2, p);
    return out;
}

/* Columns are as wide as they look: "±" is two bytes and one place. */
static void cell(const char *text, int width) {
    int places = 0;
    for (const char *s = text; *s; s++) places += ((unsigned char)*s & 0xC0) != 0x80;
    printf("  %*s%s", width > places ? width - places : 0, "", text);
}

static void print_plan(const json_t *plan, const char *best) {
    char score[40], gap[24] = "-", seconds[24] = "-", memory[32], labels[40], against[48];
    bool is_best = strcmp(graft_print_text(plan, "plan"), best) == 0;
    if (!isnan(mean_of(plan, "gap"))) snprintf(gap, sizeof gap, "%+.1f", 100.0 * mean_of(plan, "gap"));
    if (!isnan(number(plan, "seconds_to_best")))
        snprintf(seconds, sizeof seconds, "%.2f", number(plan, "seconds_to_best"));
    printf("%-12s", graft_print_text(plan, "plan"));
    bool is_lost = json_is_string(json_object_get(plan, "diverged"));
    cell(is_lost ? "diverged" : score_text(json_object_get(plan, "score"), score, sizeof score), 12);
    cell(gap, 8);
    cell(seconds, 12);
    cell(graft_print_bytes(number(plan, "memory"), memory, sizeof memory), 10);
    cell(labels_text(json_object_get(plan, "labels_needed"), labels, sizeof labels), 14);
    cell(is_best ? "the best" : against_text(json_object_get(plan, "against_best"), against, sizeof against),
         18);
    putchar('\n');
}

static int by_score(const void *x, const void *y) {
    double a = mean_of(*(const json_t *const *)x, "score"), b = mean_of(*(const json_t *const *)y, "score");
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return a > b ? -1 : a < b;
}

/* Why a plan has no score, or none at some size. */
static void print_lost(const json_t *plan) {
    const json_t *all = json_object_get(plan, "diverged"), *size;
    size_t i;
    if (json_is_string(all)) {
        printf("left out: %s: %s\n", graft_print_text(plan, "plan"), json_string_value(all));
        return;
    }
    json_array_foreach(json_object_get(plan, "sizes"), i, size) {
        if (json_is_string(json_object_get(size, "diverged")))
            printf("left out: %s with %.0f labels a class: %s\n", graft_print_text(plan, "plan"),
                   number(size, "per_class"), graft_print_text(size, "diverged"));
    }
}

static void print_table(const json_t *o, const json_t **plans, size_t n) {
    char labels[40], unit[24];
    const char *best = graft_print_text(o, "best");
    snprintf(labels, sizeof labels, "labels for %.1f", 100.0 * number(o, "reach"));
    snprintf(unit, sizeof unit, "%s, %%", graft_print_text(o, "score"));
    printf("%-12s", "plan");
    cell(unit, 12);
    cell("overfit", 8);
    cell("s to best", 12);
    cell("memory", 10);
    cell(labels, 14);
    cell("against the best", 18);
    putchar('\n');
    for (size_t i = 0; i < n; i++) print_plan(plans[i], best);
    for (size_t i = 0; i < n; i++) print_lost(plans[i]);
}

/* ---- The curves ---- */

/* The plan's first letter, in capitals where a plan before has it. */
static char mark_of(const json_t **plans, size_t i, const char *taken) {
    const char *name = graft_print_text(plans[i], "plan");
    char mark = name[0] ? name[0] : '?';
    if (strchr(taken, mark)) mark = (char)toupper((unsigned char)mark);
    for (char c = 'a'; strchr(taken, mark) && c <= 'z'; c++) mark = c;
    return mark;
}

/* Points of one plan: its scores against labels (a class), or its validation scores against seconds of
 * training. */
static size_t label_points(graft_chart_point *out, const json_t *plan, double classes) {
    size_t n = 0, i;
    const json_t *size;
    json_array_foreach(json_object_get(plan, "sizes"), i, size) {
        double x = number(size, "labels") / classes, y = mean_of(size, "score");
        if (x > 0 && !isnan(y)) out[n++] = (graft_chart_point){x, y};
    }
    return n;
}

static size_t second_points(graft_chart_point *out, const json_t *plan) {
    size_t n = 0, i;
    const json_t *epoch;
    json_array_foreach(json_object_get(plan, "epochs"), i, epoch) {
        double x = number(epoch, "seconds"), y = number(epoch, "validation");
        if (x > 0 && !isnan(y) && (n == 0 || x > out[n - 1].x)) out[n++] = (graft_chart_point){x, y};
    }
    return n;
}

static void print_chart(const json_t *o, const json_t **plans, size_t n, bool over_seconds) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_chart_curve *curves = arena ? graft_arena_array(arena, n, sizeof *curves) : NULL;
    char *marks = arena ? graft_arena_alloc(arena, n + 1) : NULL, title[96];
    bool by_class = strcmp(graft_print_text(o, "task"), "classes") == 0;
    double classes = by_class ? number(o, "n_classes") : 1.0;
    bool ok = curves && marks;
    for (size_t i = 0; ok && i < n; i++) {
        size_t room = json_array_size(json_object_get(plans[i], over_seconds ? "epochs" : "sizes")) + 1;
        graft_chart_point *points = graft_arena_array(arena, room, sizeof *points);
        ok = points != NULL;
        if (!ok) break;
        marks[i] = mark_of(plans, i, marks);
        curves[i] = (graft_chart_curve){graft_print_text(plans[i], "about"), marks[i], points, 0};
        curves[i].n =
            over_seconds ? second_points(points, plans[i]) : label_points(points, plans[i], classes);
    }
    const char *score = graft_print_text(o, "score");
    if (over_seconds)
        snprintf(title, sizeof title, "validation %s against seconds of training", score);
    else
        snprintf(title, sizeof title, "%s against labels%s", score, by_class ? " a class" : "");
    const graft_chart_style style = {.title = title,
                                     .x_name = over_seconds ? "s"
                                               : by_class   ? "labels a class"
                                                            : "labels",
                                     .log_x = true};
    if (ok) graft_print_chart(stdout, &style, curves, n);
    graft_arena_free(arena);
}

/* ---- The rest ---- */

static void print_wrapped(const char *text) {
    enum { MOST = 100 };
    int column = 0;
    for (const char *word = text; *word;) {
        int size = (int)strcspn(word, " ");
        if (column && column + 1 + size > MOST) {
            putchar('\n');
            column = 0;
        }
        column += printf("%s%.*s", column ? " " : "", size, word);
        word += size;
        word += strspn(word, " ");
    }
    putchar('\n');
}

static void print_next(const json_t *next) {
    const json_t *classes = json_object_get(next, "classes"), *samples = json_object_get(next, "samples");
    bool unlabelled = strcmp(graft_print_text(next, "of"), "unlabelled") == 0;
    if (json_array_size(classes) == 0) return;
    printf("least sure of");
    for (size_t i = 0; i < 3 && i < json_array_size(classes); i++) {
        const json_t *c = json_array_get(classes, i);
        printf("%s %s", i ? "," : "", graft_print_text(c, "class"));
        if (!unlabelled) printf(" (%.0f %% wrong)", 100.0 * number(c, "error"));
    }
    printf(unlabelled ? "; label first:" : "; label more like:");
    for (size_t i = 0; i < 3 && i < json_array_size(samples); i++)
        printf("%s %s", i ? ";" : "", graft_print_text(json_array_get(samples, i), "input"));
    putchar('\n');
}

static void human(const json_t *o) {
    const json_t *list = json_object_get(o, "plans");
    size_t n = json_array_size(list);
    const json_t **plans = malloc((n + 1) * sizeof *plans);
    if (!plans) return;
    for (size_t i = 0; i < n; i++) plans[i] = json_array_get(list, i);
    qsort(plans, n, sizeof *plans, by_score);
    print_table(o, plans, n);
    if (json_array_size(json_object_get(o, "sizes")) > 1) print_chart(o, plans, n, false);
    print_chart(o, plans, n, true);
    putchar('\n');
    print_wrapped(graft_print_text(json_object_get(o, "conclusion"), "text"));
    print_next(json_object_get(o, "label_next"));
    printf("%s\n", graft_print_text(o, "command"));
    if (json_is_string(json_object_get(o, "out"))) printf("%s/compare.json\n", graft_print_text(o, "out"));
    free(plans);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    int rc = graft_compare(&result, env, a->common.args[0], a->common.args[1], a->out, &a->compare, err);
    if (rc == GRAFT_EINTERRUPTED && a->out)
        return graft_err_set(err, rc,
                             "interrupted; the same command goes on after the runs that are finished");
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_compare = {
    .name = "compare",
    .arguments = "MODEL DATA [-o OUT]",
    .summary = "what transfer is worth: plans, seeds and numbers of labels side by side",
    .examples = "  graft compare resnet-50 photos -o worth\n"
                "  graft compare minilm mails.csv --plans scratch,head,full --per-class 10,all --seeds 5\n",
    .details =
        "Every plan is trained by each seed on the same samples and judged by one test part, which is\n"
        "held out where the data have none. The interval is Student's over the seeds, 95 %; overfit is\n"
        "the score on what was trained on less that of the test; s to best are the seconds of training\n"
        "to within a point of the best plan's validation score; p is McNemar's test against the best,\n"
        "corrected after Holm. Numbers of labels past what was measured are told as 'about'.\n"
        "Runs go side by side (--jobs), and their seconds are those of their share of the threads.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = 2,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
