/* The command line: one file a command, which is a row of tables. A command names the struct that it works
 * on; the tables say which option fills which field, and --help, the man page and the suggestions for a
 * mistyped option are printed from them. Results go to stdout, everything else to stderr; main turns an error
 * into one line and an exit status. */
#ifndef GRAFT_CLI_H
#define GRAFT_CLI_H

#include "base/base.h"
#include <stdio.h>

/* ---- Options ---- */

typedef enum graft_opt_kind {
    GRAFT_OPT_FLAG,   /* bool: true */
    GRAFT_OPT_SET,    /* int64_t: `given_zero` */
    GRAFT_OPT_TEXT,   /* const char *, borrowed from argv */
    GRAFT_OPT_LIST,   /* graft_opt_list: given several times */
    GRAFT_OPT_CHOICE, /* int: index among the words of `value`, "fp32|bf16" */
    GRAFT_OPT_INT,    /* int64_t */
    GRAFT_OPT_SEED,   /* uint64_t */
    GRAFT_OPT_BYTES,  /* uint64_t, with K, M, G or T of 1024 */
    GRAFT_OPT_REAL    /* double; 5% is 0.05 */
} graft_opt_kind;

/** What an option that is given several times fills; borrowed from argv. */
enum { GRAFT_OPT_MOST = 32 };
typedef struct graft_opt_list {
    const char *items[GRAFT_OPT_MOST];
    size_t n;
} graft_opt_list;

/** One option. Numbers lie in [least, most]. */
typedef struct graft_opt {
    const char *name;
    char letter; /* 0: none */
    graft_opt_kind kind;
    size_t offset; /* of the field in the struct that the group fills */
    const char *value, *help;
    double least, most;
    const char *word;  /* GRAFT_OPT_REAL: this in place of a number means -1; NULL: nothing does */
    double given_zero; /* what a field holds when 0 was given, where 0 in the field means "not given" */
} graft_opt;

/** Options that fill one struct, which lies `offset` bytes into the command's. */
typedef struct graft_opt_group {
    const char *title; /* NULL: it goes on with the group before */
    const graft_opt *rows;
    size_t n_rows, offset;
} graft_opt_group;

/** What every command's struct begins with. */
typedef struct graft_common {
    bool json, quiet;
    struct graft_console *console; /* what it shows while it runs */
    int64_t threads;
    const char *const *args; /* what is no option, in order */
    size_t n_args;
    char *const *words; /* everything after the command's name, as it was given */
    size_t n_words;
} graft_common;

/* ---- Commands ---- */

typedef struct graft_command {
    const char *name, *arguments; /* "fit", "MODEL DATA -o OUT" */
    const char *summary;          /* one line */
    const char *heading;          /* of the commands from here on, in the list of all; NULL: the last one's */
    const char *examples;         /* shown first; lines end in \n */
    const char *details;          /* further sentences; NULL: none */
    const graft_opt_group *groups;
    size_t n_groups;
    size_t min_args, max_args;
    size_t size;         /* of the command's struct */
    const void *initial; /* what it begins as */
    /** `options` is the command's filled struct. Prints its result itself. */
    int (*run)(graft_env *env, const void *options, graft_err *err);
} graft_command;

#define GRAFT_COMMAND(name) extern const graft_command graft_command_##name;
#include "cli/list.h"
#undef GRAFT_COMMAND

/** All commands, in list.h's order. */
const graft_command *const *graft_commands(size_t *n);
const graft_command *graft_command_find(const char *name); /* NULL: none of that name */

/** The groups that commands share: --json, -q, --threads (a graft_common); how data are read, the parts that
 * are made of them, and how many of a class are used (a graft_data_choice). */
extern const graft_opt graft_opts_common[4];
extern const graft_opt graft_opts_data[9];
extern const graft_opt graft_opts_parts[2];
extern const graft_opt graft_opts_per_class[1];
/** Of graft_fit_options: what is read of the model; what the machine gives. */
extern const graft_opt graft_opts_reading[6];
extern const graft_opt graft_opts_machine[3];
/** How training is regularised (a graft_regular). */
extern const graft_opt graft_opts_regular[9];

/** Parses argv[0..n) into `options`, a copy of c->initial, and c's args into `args`, which has room for n.
 * *help: --help was asked for, the rest was not looked at. EUSAGE says what is wrong. */
int graft_opt_parse(const graft_command *c, void *options, const char **args, int n, char **argv, bool *help,
                    graft_err *err);
/** The line that was given, as a shell takes it, without what changes nothing but the telling (-q, --json) or
 * the beginning (--restart). */
void graft_opt_line(graft_buf *out, const graft_command *c, const graft_common *common);
/** The word of `words` (n) that `word` was probably meant to be; NULL when none is near. */
const char *graft_opt_nearest(const char *word, const char *const *words, size_t n);

/* ---- What is printed ---- */

void graft_help_all(FILE *f);
void graft_help_command(FILE *f, const graft_command *c);
void graft_help_man(FILE *f);

/** Prints `result`, JSON from the library, and frees it: as it is with --json, else through `human`. */
int graft_print_result(const graft_common *common, char *result, void (*human)(const json_t *o),
                       graft_err *err);
/** EIO when stdout could not take what was printed. */
int graft_print_end(graft_err *err);
/** A member that is a number: "0.9312" or "120"; "-" when it is none. */
const char *graft_print_number(const json_t *o, const char *key, char *out, size_t size);
/** A member that is a text; "-" when it is none. Borrowed. */
const char *graft_print_text(const json_t *o, const char *key);
/** 123456789 as "117.7 MiB". */
const char *graft_print_bytes(double bytes, char *out, size_t size);

/* ---- While it runs ---- */

/** Log lines and progress on stderr. */
typedef struct graft_console {
    bool quiet, terminal, bar;       /* bar: one is on the screen */
    struct graft_fit_curves *curves; /* of the epochs told of; NULL: none was */
    int rows;                        /* that curves take on the screen, above the bar */
    bool grown;                      /* the curves, since they were drawn */
    char phase[64];                  /* the last one told of */
    double told, begun;
} graft_console;

/** Is stderr a terminal that can draw over what it shows? */
bool graft_console_is_terminal(void);
/** Its size; 80 columns, 24 rows where that is not known. */
int graft_console_columns(void);
int graft_console_rows(void);
void graft_console_init(graft_console *c, bool quiet);
/** Clears it and frees what it holds. */
void graft_console_done(graft_console *c);
void graft_console_log(void *console, graft_log_level level, const char *line);
void graft_console_progress(void *console, const graft_progress *p);
/** Leaves the cursor at the beginning of an empty line. */
void graft_console_clear(graft_console *c);

/** From here SIGINT and SIGTERM cancel env; a second one ends the process. Before any thread is made. */
typedef struct graft_signals graft_signals;
int graft_signals_watch(graft_signals **out, graft_env *env, graft_err *err);
/** Stops watching. NULL allowed. */
void graft_signals_end(graft_signals *s);

#endif
