/* --help and the man page, printed from the tables. */
#include "cli/cli.h"

#include <string.h>

enum { LEFT = 28, WIDTH = 100 };

/* "  -o, --out OUT", and where the help of it begins on the next line if that is too long. */
static void print_option(FILE *f, const graft_opt *o) {
    char left[80];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "  --%s", o->name);
    if (o->value && n > 0 && (size_t)n < sizeof left)
        snprintf(left + n, sizeof left - (size_t)n, " %s", o->value);
    fprintf(f, "%-*s", LEFT, left);
    if (strlen(left) + 1 >= LEFT) fprintf(f, "\n%*s", LEFT, "");
    int column = LEFT;
    for (const char *word = o->help; *word;) {
        int size = (int)strcspn(word, " ");
        if (column > LEFT && column + 1 + size > WIDTH) {
            fprintf(f, "\n%*s", LEFT, "");
            column = LEFT;
        }
        column += fprintf(f, "%s%.*s", column > LEFT ? " " : "", size, word);
        word += size;
        word += strspn(word, " ");
    }
    fputc('\n', f);
}

void graft_help_command(FILE *f, const graft_command *c) {
    fprintf(f, "%s\n%s\n\nUsage: graft %s %s\n", c->examples, c->summary, c->name, c->arguments);
    if (c->details) fprintf(f, "\n%s", c->details);
    for (size_t g = 0; g < c->n_groups; g++) {
        if (c->groups[g].title) fprintf(f, "\n%s\n", c->groups[g].title);
        for (size_t i = 0; i < c->groups[g].n_rows; i++)
            if (c->groups[g].rows[i].name) print_option(f, &c->groups[g].rows[i]);
    }
}

void graft_help_all(FILE *f) {
    size_t n = 0;
    const graft_command *const *commands = graft_commands(&n);
    fputs("  graft fit resnet-50 photos -o pets        adapt a model to folders of labelled photos\n"
          "  graft predict pets new.jpg                and use it\n\n"
          "graft adapts pretrained models to small data.\n\n"
          "Usage: graft COMMAND ...\n",
          f);
    for (size_t i = 0; i < n; i++) {
        char left[80];
        if (commands[i]->heading) fprintf(f, "\n%s\n", commands[i]->heading);
        snprintf(left, sizeof left, "%s %s", commands[i]->name, commands[i]->arguments);
        if (strlen(left) > 32) fprintf(f, "  %s\n%36s%s\n", left, "", commands[i]->summary);
        if (strlen(left) <= 32) fprintf(f, "  %-32s  %s\n", left, commands[i]->summary);
    }
    fputs(
        "\n  help [COMMAND]                    this text, or that of a command; help --man: the manual page\n"
        "  --version                         the version\n\n"
        "Exit status: 0 done, 1 failed while running, 2 wrong usage, 3 the model or the data are bad.\n",
        f);
}

/* Text for troff: what would be read as a request or an escape is escaped. */
static void print_troff(FILE *f, const char *text) {
    bool begins = true;
    for (const char *c = text; *c; c++) {
        if (begins && (*c == '.' || *c == '\'')) fputs("\\&", f);
        if (*c == '\\') {
            fputs("\\e", f);
        } else if (*c == '-') {
            fputs("\\-", f);
        } else {
            fputc(*c, f);
        }
        begins = *c == '\n';
    }
}

static void print_man_command(FILE *f, const graft_command *c) {
    fprintf(f, ".SS \"graft %s ", c->name);
    print_troff(f, c->arguments);
    fputs("\"\n", f);
    print_troff(f, c->summary);
    fputs(".\n.PP\n.nf\n", f);
    print_troff(f, c->examples);
    fputs(".fi\n", f);
    if (c->details) {
        fputs(".PP\n", f);
        print_troff(f, c->details);
    }
    for (size_t g = 0; g < c->n_groups; g++) {
        for (size_t i = 0; i < c->groups[g].n_rows; i++) {
            const graft_opt *o = &c->groups[g].rows[i];
            if (!o->name) continue;
            fputs(".TP\n.B ", f);
            if (o->letter) fprintf(f, "\\-%c, ", o->letter);
            fputs("\\-\\-", f);
            print_troff(f, o->name);
            if (o->value) {
                fputs(" ", f);
                print_troff(f, o->value);
            }
            fputc('\n', f);
            print_troff(f, o->help);
            fputc('\n', f);
        }
    }
}

void graft_help_man(FILE *f) {
    size_t n = 0;
    const graft_command *const *commands = graft_commands(&n);
    fprintf(
        f,
        ".TH GRAFT 1 \"\" \"graft %s\" \"User commands\"\n.SH NAME\ngraft \\- adapts pretrained models to "
        "small data\n.SH SYNOPSIS\n.B graft\n.I command\n[argument ...]\n.SH COMMANDS\n",
        graft_version());
    for (size_t i = 0; i < n; i++) print_man_command(f, commands[i]);
    fputs(
        ".SH EXIT STATUS\n0 done, 1 failed while running, 2 wrong usage, 3 the model or the data are bad.\n"
        ".SH ENVIRONMENT\n.TP\n.B GRAFT_CACHE\nwhere the bottleneck cache lies; else $XDG_CACHE_HOME/graft, "
        "else ~/.cache/graft.\n.TP\n.B GRAFT_CACHE_LIMIT\nhow large it may grow, such as 500M or 20G; else a "
        "tenth of what the disk has free, 20 GB at most.\n.TP\n.B HF_HUB_CACHE, HF_HOME\nwhere the base "
        "models "
        "of adapters are looked for.\n.TP\n.B GRAFT_OPENBLAS\nthe file of OpenBLAS, which advise and fit "
        "without "
        "\\-\\-train load; else libopenblas.so.0 of the system.\n",
        f);
}
