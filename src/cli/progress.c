/* Log lines and progress on stderr: a bar that is drawn over itself on a terminal, else plain lines, one at
 * the end of each epoch and at most one in two seconds beside. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 20 };

bool graft_console_is_terminal(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && !(term && strcmp(term, "dumb") == 0);
}

void graft_console_init(graft_console *c, bool quiet) {
    *c = (graft_console){.quiet = quiet, .terminal = graft_console_is_terminal()};
}

void graft_console_clear(graft_console *c) {
    if (c->bar) fputs("\r\033[K", stderr);
    c->bar = false;
}

/* Names of files come out as they are, but for what a terminal would act on. */
static void print_line(const char *line) {
    for (const char *s = line; *s; s++) {
        unsigned char b = (unsigned char)*s;
        fputc(b < 0x20 || b == 0x7f ? '?' : b, stderr);
    }
    fputc('\n', stderr);
}

void graft_console_log(void *console, graft_log_level level, const char *line) {
    graft_console *c = console;
    if (c->quiet && level != GRAFT_LOG_WARNING) return;
    flockfile(stderr);
    graft_console_clear(c);
    if (level == GRAFT_LOG_WARNING) fputs("warning: ", stderr);
    print_line(line);
    funlockfile(stderr);
}

int graft_console_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* "12/40  35.2/s  0:08 left  loss 0.41": what is known of it. */
static void print_state(char *out, size_t size, const graft_progress *p) {
    double rate = p->seconds > 0 ? (double)p->done / p->seconds : 0.0;
    graft_buf b;
    graft_buf_init(&b, 400);
    graft_buf_printf(&b, "%lld", (long long)p->done);
    if (p->total > 0) graft_buf_printf(&b, "/%lld", (long long)p->total);
    if (rate > 0) graft_buf_printf(&b, rate < 10 ? "  %.1f/s" : "  %.0f/s", rate);
    if (rate > 0 && p->total > p->done) {
        long long left = (long long)((double)(p->total - p->done) / rate + 0.5);
        if (left >= 3600)
            graft_buf_printf(&b, "  %lld:%02lld:%02lld left", left / 3600, left / 60 % 60, left % 60);
        else
            graft_buf_printf(&b, "  %lld:%02lld left", left / 60, left % 60);
    }
    if (p->metrics && p->metrics[0]) graft_buf_printf(&b, "  %s", p->metrics);
    snprintf(out, size, "%s", b.failed || !b.data ? "" : b.data);
    graft_buf_done(&b);
}

/* Phase, bar and state in one line; the bar gives way where the line is short. */
static void draw_bar(graft_console *c, const graft_progress *p, const char *state) {
    char line[600], bar[BAR + 3] = "";
    int room = graft_console_columns() - 1, width = room - (int)strlen(p->phase) - (int)strlen(state) - 4;
    if (width > BAR) width = BAR;
    if (p->total > 0 && width >= 5) {
        int full = p->done < p->total ? (int)(p->done * width / p->total) : width;
        for (int i = 0; i < width; i++) bar[i] = i < full ? '#' : '-';
        memcpy(bar + width, "  ", 3);
    }
    snprintf(line, sizeof line, "%s  %s%s", p->phase, bar, state);
    fprintf(stderr, "\r\033[K%.*s", room, line);
    fflush(stderr);
    c->bar = true;
}

void graft_console_progress(void *console, const graft_progress *p) {
    graft_console *c = console;
    char state[400];
    if (c->quiet) return;
    double now = graft_now();
    bool is_epoch = strncmp(p->phase, "epoch", 5) == 0, is_last = p->total > 0 && p->done >= p->total;
    if (strcmp(c->phase, p->phase) != 0) {
        snprintf(c->phase, sizeof c->phase, "%s", p->phase);
        c->begun = now - p->seconds;
    }
    bool is_due = now - c->told >= (c->terminal ? 0.1 : 2.0) && now - c->begun >= (c->terminal ? 0.0 : 1.0);
    bool is_worth_saying = is_last && (c->terminal || is_epoch || now - c->begun >= 2.0);
    if (!is_due && !is_worth_saying) return;
    c->told = now;
    print_state(state, sizeof state, p);
    flockfile(stderr);
    if (c->terminal) {
        draw_bar(c, p, state);
        /* an epoch stays on the screen */
        if (is_last && is_epoch) {
            fputc('\n', stderr);
            c->bar = false;
        }
    } else {
        fprintf(stderr, "%s  %s\n", p->phase, state);
    }
    funlockfile(stderr);
}
