#include "cli/cli.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
} arguments;

static const arguments initial = {.common = {.json = false}};

static const graft_opt_group groups[] = {
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), offsetof(arguments, common)},
};

static double number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static void human(const json_t *o) {
    const json_t *entries = json_object_get(o, "entries");
    char bytes[32], limit[32], rows[32];
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *e = json_array_get(entries, i);
        printf("%12s  %8s rows  %s  %s\n", graft_print_bytes(number(e, "bytes"), bytes, sizeof bytes),
               graft_print_number(e, "rows", rows, sizeof rows), graft_print_text(e, "last_used"),
               graft_print_text(e, "description"));
    }
    printf("%s: %s of at most %s\n", graft_print_text(o, "directory"),
           graft_print_bytes(number(o, "bytes"), bytes, sizeof bytes),
           graft_print_bytes(number(o, "limit"), limit, sizeof limit));
}

static int clear(graft_env *env, const arguments *a, graft_err *err) {
    uint64_t freed = 0;
    char bytes[32];
    int rc = graft_cache_clear(env, &freed, err);
    if (rc < 0) return rc;
    if (a->common.json)
        printf("{\"freed\": %" PRIu64 "}\n", freed);
    else
        printf("%s freed\n", graft_print_bytes((double)freed, bytes, sizeof bytes));
    return 0;
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    const char *verb = a->common.args[0];
    char *result = NULL;
    if (strcmp(verb, "clear") == 0) return clear(env, a, err);
    if (strcmp(verb, "ls") != 0)
        return graft_err_set(err, GRAFT_EUSAGE, "unknown 'cache %s', one of: ls, clear", verb);
    int rc = graft_cache_list(&result, env, err);
    return rc < 0 ? rc : graft_print_result(&a->common, result, human, err);
}

const graft_command graft_command_cache = {
    .name = "cache",
    .arguments = "ls|clear",
    .heading = "Keep house",
    .summary = "what the bottleneck cache holds; empty it",
    .examples = "  graft cache ls\n",
    .details = "The cache lies in $GRAFT_CACHE, else $XDG_CACHE_HOME/graft, else ~/.cache/graft.\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 1,
    .max_args = 1,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
