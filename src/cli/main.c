/* graft: finds the command, fills its options, watches for signals, and turns an error into one line and an
 * exit status. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRAFT_COMMAND(name) &graft_command_##name,
static const graft_command *const commands[] = {
#include "cli/list.h"
};
#undef GRAFT_COMMAND

const graft_command *const *graft_commands(size_t *n) {
    *n = GRAFT_COUNT(commands);
    return commands;
}

const graft_command *graft_command_find(const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(commands); i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static int unknown_command(const char *name, graft_err *err) {
    const char *names[GRAFT_COUNT(commands)];
    for (size_t i = 0; i < GRAFT_COUNT(commands); i++) names[i] = commands[i]->name;
    const char *near = graft_opt_nearest(name, names, GRAFT_COUNT(commands));
    if (near) return graft_err_set(err, GRAFT_EUSAGE, "unknown command '%s', did you mean '%s'?", name, near);
    return graft_err_set(err, GRAFT_EUSAGE, "unknown command '%s'; see graft --help", name);
}

/* OpenMP's threads spin for milliseconds when they wait for each other, which costs several times the work
 * where other programs want the processors too. How long is read from the environment before main begins, so
 * the program starts itself once more. */
static void shorten_spinning(char **argv) {
    char path[4096];
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || setenv("GOMP_SPINCOUNT", "2000", 1) != 0) return;
    path[n] = '\0';
    execv(path, argv); /* returns when it cannot; the work is then only slower */
}

/* OpenBLAS takes a processor that is younger than itself for one of 2004, which costs several times the work:
 * it is told what there is. Read when it is loaded. */
static void name_processor(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        setenv("OPENBLAS_CORETYPE", "Haswell", 0);
#endif
}

static int run_command(const graft_command *c, void *options, graft_err *err) {
    graft_common *common = options;
    graft_console console;
    graft_signals *signals = NULL;
    graft_env *env = NULL;
    graft_console_init(&console, common->quiet);
    common->console = &console;
    graft_env_options o = {(int)common->threads, graft_console_log, graft_console_progress, &console};
    int rc = graft_env_new(&env, &o, err);
    if (rc == 0) rc = graft_signals_watch(&signals, env, err);
    if (rc == 0) rc = c->run(env, options, err);
    graft_signals_end(signals);
    graft_env_free(env);
    graft_console_done(&console);
    if (rc == 0) rc = graft_print_end(err);
    return rc;
}

static int parse_and_run(const graft_command *c, int argc, char **argv, graft_err *err) {
    bool help = false;
    int n = argc - 2;
    void *options = malloc(c->size);
    const char **args = malloc(((size_t)n + 1) * sizeof *args);
    int rc = options && args ? 0 : graft_err_nomem(err);
    if (rc == 0) {
        memcpy(options, c->initial, c->size);
        rc = graft_opt_parse(c, options, args, n, argv + 2, &help, err);
    }
    if (rc == 0 && help) {
        graft_help_command(stdout, c);
        rc = graft_print_end(err);
    } else if (rc == 0) {
        shorten_spinning(argv);
        name_processor();
        rc = run_command(c, options, err);
    }
    free(args);
    free(options);
    return rc;
}

static int show_help(const char *topic, graft_err *err) {
    if (!topic) {
        graft_help_all(stdout);
    } else if (strcmp(topic, "--man") == 0) {
        graft_help_man(stdout);
    } else {
        const graft_command *c = graft_command_find(topic);
        if (!c) return unknown_command(topic, err);
        graft_help_command(stdout, c);
    }
    return graft_print_end(err);
}

static int dispatch(int argc, char **argv, graft_err *err) {
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) return graft_err_set(err, GRAFT_EUSAGE, "which command? see graft --help");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return show_help(NULL, err);
    if (strcmp(name, "help") == 0) return show_help(argc > 2 ? argv[2] : NULL, err);
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("graft %s\n", graft_version());
        return graft_print_end(err);
    }
    if (name[0] == '-')
        return graft_err_set(err, GRAFT_EUSAGE, "options follow a command ('%s'); see graft --help", name);
    const graft_command *c = graft_command_find(name);
    if (!c) return unknown_command(name, err);
    return parse_and_run(c, argc, argv, err);
}

/* One line on stderr; with --json the same as an object on stdout. */
static void print_error(int argc, char **argv, const graft_err *err) {
    bool json = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        json = json || strcmp(argv[i], "--json") == 0;
    fprintf(stderr, "graft: %s\n", err->message);
    if (!json) return;
    json_t *o = json_pack("{s:{s:s,s:o,s:i}}", "error", "code", graft_error_name(err->code), "message",
                          graft_json_string(err->message), "exit", graft_error_exit(err->code));
    char *text = o ? json_dumps(o, JSON_SORT_KEYS) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(o);
}

int main(int argc, char **argv) {
    graft_err err = {0};
    int rc = dispatch(argc, argv, &err);
    if (rc < 0) print_error(argc, argv, &err);
    return graft_error_exit(rc);
}
